"""`ddpmcodec install-desktop`."""

import shutil
import subprocess

import click

from ddpmcodec import atomic
from ddpmcodec.cli import desktop
from ddpmcodec.errors import OutputError


def apply(change: desktop.Change) -> None:
    """Write or remove a file.

    Raises:
        OutputError: it cannot be done.
    """
    try:
        if change.text is None:
            change.path.unlink(missing_ok=True)
        else:
            change.path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(change.path, change.text.encode())
    except OSError as e:
        raise OutputError(f"{change.path}: {e.strerror} (--user: for you alone)") from e


@click.command("install-desktop", short_help="Make desktops and ImageMagick know .ddpm files.")
@click.option("--user", is_flag=True, help="For you alone, in your home directory; else for all users, which takes root.")
@click.option("--uninstall", is_flag=True, help="Take it back.")
@click.option("--dry-run", is_flag=True, help="Only print what would be written where.")
def command(user, uninstall, dry_run):
    """Install a MIME type, a thumbnailer of file managers, and the lines with which ImageMagick reads and writes .ddpm files.

    They name this installation of ddpmcodec: install again when it has moved. File managers that run thumbnailers in a sandbox see
    programs below /usr only. Of a delegates.xml that is there all other lines stay.

    \b
    ddpmcodec install-desktop --user
    ddpmcodec install-desktop --user --dry-run
    ddpmcodec install-desktop --user --uninstall
    """
    data, magick = desktop.directories(user)
    changes = desktop.changes(None if uninstall else desktop.program(), data, magick)
    for change in changes:
        if dry_run:
            click.echo(f"# remove {change.path}" if change.text is None else f"# {change.path}\n{change.text}")
            continue
        apply(change)
        click.echo(f"{change.path}: {'removed' if change.text is None else 'written'}", err=True)
    if not dry_run and (data / "mime/packages").is_dir():
        updated = shutil.which("update-mime-database")
        if updated is None:
            click.echo("without update-mime-database the MIME type is known from the next login on, or later", err=True)
        elif subprocess.run([updated, str(data / "mime")], capture_output=True, check=False).returncode:
            raise OutputError(f"update-mime-database fails on {data / 'mime'}")

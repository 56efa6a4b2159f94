"""The `ddpmcodec` command: finds subcommands lazily and turns typed errors into one line and an exit code."""

import importlib
import io
import os
import sys
from errno import EPIPE

import click

from ddpmcodec import __version__, errors
from ddpmcodec.cli import files, words
from ddpmcodec.format import container
from ddpmcodec.models import libraries

HEADINGS = {
    "Codec": {
        "encode": "encode",
        "decode": "decode",
        "info": "info",
        "truncate": "truncate",
        "view": "view",
        "install-desktop": "install_desktop",
    },
    "Evaluate": {"compare": "compare", "eval": "eval", "plot": "plot", "report": "report", "bd-rate": "bd_rate", "bench": "bench"},
    "Paper": {"bpd": "bpd", "train": "train", "sample": "sample", "interpolate": "interpolate", "fid": "fid"},
    "Models": {"models": "list_models", "import": "import_model", "export": "export_model"},
}  # of --help: the commands below each, and the module of each
COMMANDS = {name: module for group in HEADINGS.values() for name, module in group.items()}
REPORTED = ("torch", "ncnn", "numba", "numpy", "constriction")  # whose versions a report of a fault should have


def show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Print versions, from what is installed: none of it is imported."""
    if not value:
        return
    import platform
    from importlib import metadata

    versions = [f"ddpmcodec {__version__}", f"format {container.VERSION}"]
    for package in REPORTED:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} missing")
    click.echo(", ".join([*versions, f"Python {platform.python_version()}"]))
    ctx.exit()


class Commands(click.Group):
    """The commands, each imported when it is used, or its help is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return importlib.import_module(f"ddpmcodec.cli.{COMMANDS[name]}").command if name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]):
        name, command, rest = super().resolve_command(ctx, args)
        ctx.meta[words.COMMAND] = command
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each heading, their columns aligned."""
        widest = max(map(len, COMMANDS))
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                commands = ((name, self.get_command(ctx, name)) for name in names)
                formatter.write_dl([(name.ljust(widest), command.get_short_help_str(100)) for name, command in commands if command])

    def invoke(self, ctx: click.Context):
        files.open_standard_streams()
        try:
            return super().invoke(ctx)
        except errors.DdpmcodecError as e:
            click.echo(words.line(e), err=True)
            ctx.exit(e.exit_code)
        except ModuleNotFoundError as e:
            if e.name != "torch":
                raise
            click.echo(f"ddpmcodec: this {libraries.NEEDS_TORCH}", err=True)
            ctx.exit(errors.ModelError.exit_code)
        except OSError as e:
            if e.errno == EPIPE:  # the reader has gone: click ends quietly
                raise
            sys.stdout = io.StringIO()  # what could not be written would be tried, and complained of, again at exit
            click.echo(f"ddpmcodec: {e.strerror or e}", err=True)
            ctx.exit(errors.OutputError.exit_code)
        except KeyboardInterrupt:
            click.echo("ddpmcodec: interrupted", err=True)
            ctx.exit(130)


EXIT_CODES = """\b
Exit codes: 2 usage, 3 input unreadable, 4 not a picture that can be coded, 5 not a .ddpm file, 6 unsupported version,
7 cut too short, 8 corrupt, 9 model missing or wrong, 10 over a limit, 11 size not reachable, 12 output not writable,
13 codec to compare with missing, 14 training configuration wrong, 15 training failed, 16 lossless picture not recoverable here,
17 a worker process died, or a cluster cannot be reached, 130 interrupted.
"""


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.option("-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Print versions and exit.")
def main() -> None:
    """A trained DDPM as a progressive image codec.

    \b
    ddpmcodec encode photo.png -o photo.ddpm --bpp 0.5
    ddpmcodec decode photo.ddpm -o out.png
    ddpmcodec info photo.ddpm
    ddpmcodec COMMAND --help
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: large pages, which the network's layers are 10 % faster in

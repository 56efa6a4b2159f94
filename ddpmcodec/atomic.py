"""Files and folders that appear whole or not at all. A leaf, like the errors: the models' files are written with it too."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES
from pathlib import Path

from ddpmcodec.errors import OutputError


def _temporary(path: Path) -> Path:
    """Return a name beside a path that nothing else has."""
    return path.with_name(f".ddpmcodec-{secrets.token_hex(8)}.tmp")


def _unnamed(directory: Path) -> int | None:
    """Open a file that has no name yet, of which nothing is left if the process is killed; None where the system has no such files."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:
        return None


def write(path: Path, data: bytes) -> None:
    """Write a file. An existing one is replaced only by a whole new one, and keeps its permissions; one that is read-only stays.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
        temporary = _temporary(target)
        try:
            unnamed = _unnamed(target.parent)
            with open(temporary, "xb") if unnamed is None else open(unnamed, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
                if unnamed is not None:  # given any src_dir_fd, Python follows the link, which is how a file gets a name
                    os.link(f"/proc/self/fd/{unnamed}", temporary, src_dir_fd=unnamed)
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Make a folder: what is written to the one that is yielded has the path's name if all goes well.

    Raises:
        OutputError: the path is there already, or a file cannot be written; nothing is left behind.
    """
    temporary = _temporary(path)
    try:
        if path.exists():
            raise OutputError(f"{path} exists already")
        temporary.mkdir()
        yield temporary
        temporary.rename(path)
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

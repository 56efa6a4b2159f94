"""Reading and writing files and pipes. Output appears whole or not at all."""

import os
import sys
from pathlib import Path

from ddpmcodec.errors import InputError, OutputError


def read(path: str) -> bytes:
    """All bytes of a file, or of stdin for "-".

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as e:
        raise InputError(f"{path}: {e.strerror or e}") from e


def check_writable(path: str) -> None:
    """Fail before long work rather than after it.

    Raises:
        OutputError: `write` to this path could not succeed.
    """
    if path == "-":
        return
    target = Path(path)
    try:
        if target.is_dir():
            raise OutputError(f"{path} is a directory")
    except OSError as e:  # a name that no file can have
        raise OutputError(f"{path}: {e.strerror}") from e
    if not target.parent.is_dir():
        raise OutputError(f"{path}: the directory {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: the directory {target.parent} is not writable")


def write(path: str, data: bytes) -> None:
    """Write a file, or stdout for "-". An existing file is replaced only by a whole new one.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    try:
        if path == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():  # a pipe or device is written to, not replaced
            target.write_bytes(data)
            return
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "xb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e

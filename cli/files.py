"""Reading and writing files and pipes. Output appears whole or not at all."""

import csv
import io
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EPIPE
from pathlib import Path
from typing import Any

from ddpmcodec import atomic
from ddpmcodec.errors import DdpmcodecError, InputError, OutputError


def open_standard_streams() -> None:
    """Put /dev/null where stdin, stdout or stderr is closed.

    A file opened later would have its number, and a library's warning would go into it; and libraries write to `sys.stderr` unasked.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(number, True)  # of workers too
        os.close(number)
        if sys.stderr is None:
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lasts


def named(path: str, stream: str) -> str:
    """Return what errors call a path: "-" is a stream."""
    return stream if path == "-" else path


def read(path: str) -> bytes:
    """Read all bytes of a file, or of stdin for "-".

    Raises:
        InputError: it cannot be read.
    """
    try:
        if path != "-":
            return Path(path).read_bytes()
        if sys.stdin is None:
            raise InputError("stdin is closed")
        return sys.stdin.buffer.read()
    except OSError as e:
        raise InputError(f"{named(path, 'stdin')}: {e.strerror or e}") from e


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Begin typed errors about what was read from a file with its name."""
    try:
        yield
    except DdpmcodecError as e:
        raise type(e)(f"{named(path, 'stdin')}: {e}", parameter=e.parameter) from e


def make_directory(path: str | Path) -> None:
    """Make a directory, and those above it, where it is not there yet.

    Raises:
        OutputError: it cannot be made, or "-", stdout, was meant.
    """
    if str(path) == "-":
        raise OutputError("several pictures need a directory to go to, not stdout")
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror}") from e


def _identity(path: str, stream: Any) -> tuple[int, int] | None:
    """Return what tells a regular file from all others, whatever its name; None for what is none, or is not there.

    Args:
        stream: what "-" stands for.
    """
    try:
        found = os.fstat(stream.fileno()) if path == "-" else os.stat(path)
    except (OSError, ValueError, AttributeError):  # a stream may be closed, or no file
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def check_apart(outputs: Iterable[str], inputs: Iterable[str | None]) -> None:
    """Refuse to replace what is read, by whatever name: another spelling, a link. None and the names of models are no files.

    Raises:
        OutputError: an output is one of the inputs.
    """
    read = {_identity(source, sys.stdin): source for source in inputs if source is not None}
    for output in outputs:
        identity = _identity(output, sys.stdout)
        if identity is not None and (source := read.get(identity)) is not None:
            same = output != "-" and os.path.normpath(source) == os.path.normpath(output)
            raise OutputError(f"{named(output, 'stdout')} would replace its own input{'' if same else ' ' + named(source, 'stdin')}")


def check_writable(path: str, inputs: Iterable[str | None] = (), stdout: bool = True) -> None:
    """Fail before long work rather than after it.

    Args:
        inputs: what the command reads, which the output must not replace.
        stdout: whether "-" will do.

    Raises:
        OutputError: `write` to this path could not succeed, or would replace an input.
    """
    check_apart([path], inputs)
    if path == "-":
        if not stdout:
            raise OutputError("a model is written to a file, not to stdout")
        return
    try:
        if os.path.isdir(path) or path.endswith("/"):
            raise OutputError(f"{path} is a directory")
        if Path(path).exists() and not os.access(path, os.W_OK):
            raise OutputError(f"{path} is read-only")
    except OSError as e:  # a name that no file can have
        raise OutputError(f"{path}: {e.strerror}") from e
    parent = Path(os.path.realpath(path)).parent
    if not parent.is_dir():
        raise OutputError(f"{path}: the directory {parent} does not exist")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{path}: the directory {parent} is not writable")


def write(path: str, data: bytes) -> None:
    """Write a file, or stdout for "-". An existing file is replaced only by a whole new one, and keeps its permissions.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
        BrokenPipeError: who read stdout has gone.
    """
    try:
        if path == "-":
            if sys.stdout is None:
                raise OutputError("stdout is closed")
            sys.stdout.flush()
            raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)  # a buffer would keep what fails, and fail again at exit
            rest = memoryview(data)
            while rest:  # a full disk takes a part, and says so only when asked for more
                rest = rest[raw.write(rest) :]
            return
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe or device is written to, not replaced
            Path(path).write_bytes(data)
            return
        atomic.write(Path(path), data)
    except OSError as e:
        if path == "-" and e.errno == EPIPE:
            raise
        raise OutputError(f"{named(path, 'stdout')}: {e.strerror or e}") from e


def finite(value: Any) -> Any:
    """The same with None for every number that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def write_json(path: str, document: Any) -> None:
    """Write a document as JSON, with null for what is infinite or no number.

    Raises:
        As `write`.
    """
    write(path, (json.dumps(finite(document), indent=1, allow_nan=False) + "\n").encode())


def write_csv(path: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows under a line of their names, which all of them share; an empty file for no rows.

    Raises:
        As `write`.
    """
    text = io.StringIO(newline="")
    for i, row in enumerate(rows):
        if i == 0:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    write(path, text.getvalue().encode())


def prepare(directory: str, names: Iterable[str], inputs: Sequence[str | None] = ()) -> dict[str, str]:
    """Make a directory for results, where there is one to be made; the path of each result's JSON file in it, by name.

    Raises:
        OutputError: the directory cannot be made, or a file in it not written, or it is one of the inputs.
    """
    make_directory(directory)
    paths = {name: str(Path(directory) / f"{name}.json") for name in names}
    for path in paths.values():
        check_writable(path, inputs)
    return paths

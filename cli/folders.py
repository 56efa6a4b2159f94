"""Folders among the inputs: their files, and where below the output each goes."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ddpmcodec.errors import InputError

SUFFIX = ".ddpm"


def is_coded(path: Path) -> bool:
    """Whether a file has our extension."""
    return path.suffix.lower() == SUFFIX


def is_other(path: Path) -> bool:
    """Whether a file has not."""
    return not is_coded(path)


def listed(inputs: Iterable[str], output: str | None, recursive: bool, wanted: Callable[[Path], bool]) -> list[tuple[str, str]]:
    """Return the inputs with files in place of folders, each with the folder below the output to which it goes: "" for the output itself.

    Hidden files, and those in the output, are passed over.

    Args:
        recursive: take the folders in folders, too, as a tree that the output will have again.
        wanted: says which files of folders to take.

    Raises:
        InputError: a folder cannot be listed, or has no such file.
    """
    found: list[tuple[str, str]] = []
    for source in inputs:
        if source == "-" or not os.path.isdir(source):
            found.append((source, ""))
            continue
        inside = [path for path in _files(Path(source), output, recursive) if wanted(path)]
        if not inside:
            raise InputError(f"{source}: no file to take is in this folder{'' if recursive else ' (--recursive: or below it)'}")
        found += [(str(path), str(path.parent.relative_to(source)).removeprefix(".")) for path in sorted(inside)]
    return found


def _is_to_be_read(path: str) -> bool:
    """Whether a name is that of a file, or a link to none, which is to be named; not of a pipe or device."""
    return os.path.isfile(path) or not os.path.exists(path)


def _files(folder: Path, output: str | None, recursive: bool) -> Iterator[Path]:
    """Yield the visible files of a folder."""
    target = None if output is None else os.path.realpath(output)
    errors: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=errors.append):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        if target != os.path.realpath(place) or Path(place) == folder:
            yield from (Path(place) / name for name in names if not name.startswith(".") and _is_to_be_read(os.path.join(place, name)))
        else:
            folders.clear()
    for e in errors:
        raise InputError(f"{e.filename or folder}: {e.strerror}")

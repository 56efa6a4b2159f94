"""The pictures that an evaluation runs over."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ddpmcodec import picture
from ddpmcodec.errors import DdpmcodecError, InputError, printable
from ddpmcodec.models import datasets


def find(paths: Sequence[str], stride: int = 1) -> list[Path]:
    """The files named, and those in the directories named in sorted order, each once; every `stride`-th of them all.

    Raises:
        InputError: a path does not exist or cannot be listed, or there is no file.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path} does not exist")
        try:
            found += sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")) if path.is_dir() else [path]
        except OSError as e:
            raise InputError(f"{path}: {e.strerror}") from e
    if not found:
        raise InputError(f"no pictures in {', '.join(paths)}")
    return list(dict.fromkeys(found))[::stride]


def load(
    paths: Sequence[Path], skipped: Callable[[Path, DdpmcodecError], None], page: int | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Name, fit to be printed (the whole path where two files share one), and (H, W, 3) uint8 pixels.

    Args:
        skipped: told of pictures that cannot be read.
        page: the number of the one to take of files with several, from 1 on; of others the only one.
    """
    names = Counter(path.name for path in paths)
    for path in paths:
        try:
            pixels = picture.read(path.read_bytes(), page=page, or_only=True).pixels
        except DdpmcodecError as e:
            skipped(path, e)
        except OSError as e:
            skipped(path, InputError(e.strerror or str(e)))
        else:
            yield printable(path.name if names[path.name] == 1 else str(path)), pixels


def load_any(
    paths: Sequence[str], skipped: Callable[[Path, DdpmcodecError], None], limit: int | None = None, page: int | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """As `load` of `find`, and the pictures of CIFAR10 and of .npz and .npy files too; the first `limit`.

    Raises:
        InputError: as `find`, or a set is damaged.
    """
    files: list[str] = []
    arrays: list[tuple[str, np.ndarray]] = []
    for path in paths:
        found = datasets.read(Path(path))
        if found is None:
            files.append(path)
        else:
            arrays += [(f"{path}[{i}]", array) for i, array in enumerate(found[:limit])]
    named = load(find(files), skipped, page) if files else iter(())
    yield from itertools.islice(itertools.chain(arrays, named), limit)

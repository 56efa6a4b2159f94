"""Training data: folders of pictures, CIFAR10, LSUN's lmdb, arrays.

Nothing is fetched. CIFAR10 is at https://www.cs.toronto.edu/~kriz/cifar.html, its python or binary version, unpacked or not; LSUN's
downloader at https://github.com/fyu/lsun; CelebA-HQ, a folder of pictures, is made by
https://github.com/tkarras/progressive_growing_of_gans.
"""

import gzip
import io
import math
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ddpmcodec import opening
from ddpmcodec.errors import InputError
from ddpmcodec.models import crops
from ddpmcodec.models.configuration import Data

KINDS = "folder of pictures, CIFAR10 (its folder, .tar.gz or a batch), lmdb environment (a folder with data.mdb), .npz or .npy file"

CIFAR_RECORD = 1 + 3 * 32 * 32  # label, then red, green and blue planes
CIFAR_BATCH = re.compile(r"(data_batch_\d+|test_batch)(\.bin)?")
TRAINING = re.compile(r"data_batch_.*")

LEFT_OUT_IN_A_ROW = 16  # damaged pictures of an lmdb environment, before it is called unreadable

# Changes to (N, H, W, 3) by augmentation, each with probability 1/2, where no place of a crop is drawn.
CHANGES: dict[str, list[Callable[[torch.Tensor], torch.Tensor]]] = {
    "none": [],
    "flip": [lambda x: x.flip(2)],
    "dihedral": [lambda x: x.flip(1), lambda x: x.flip(2), lambda x: x.transpose(1, 2)],
}


class Source(Protocol):
    """The pictures that batches are drawn from."""

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw crops, (count, 3, side, side) float32 in [-1, 1], on the generator's device; they depend on the generator alone."""

    def description(self) -> str:
        """Return the amount of data, in words."""


# ---- memory


def _available_bytes() -> int:
    """Return the bytes of memory that can be had without swapping, as Linux estimates them; elsewhere 64 GiB."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        return 1 << 36


def _check_fits(name: str, size: int) -> None:
    """Raise InputError where so many bytes do not fit in memory: to be asked before unpacking, as a small file may claim any size."""
    if size > (available := _available_bytes()):
        raise InputError(f"{name} takes {size / 2**30:.1f} GiB, {available / 2**30:.1f} GiB are available")


# ---- CIFAR10


class _Pickled:
    """A stand-in for a part of numpy in a pickle, which keeps the arguments and the state that it is given.

    Numpy itself trusts its pickles: it takes the bytes of a forged array for pointers.
    """

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """Return the array that the pickle describes, of uint8, the only type there is in CIFAR10."""
        _version, shape, dtype, fortran_order, content = self.state
        if dtype.arguments[0] not in (b"u1", "u1"):
            raise ValueError(f"its data is of type {dtype.arguments[0]!r}")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran_order else "C")


PARTS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Pickled,  # numpy 1, with which the files were made
    ("numpy._core.multiarray", "_reconstruct"): _Pickled,
    ("numpy", "ndarray"): _Pickled,
    ("numpy", "dtype"): _Pickled,
    ("_codecs", "encode"): str.encode,  # how Python 3 writes bytes that Python 2 can read
}


class _BatchUnpickler(pickle.Unpickler):
    """An unpickler of containers, and of arrays as `_Pickled`, which refuses everything that would run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PARTS:
            raise InputError(f"it is a pickle that would run code, {module}.{name}: it is not read")
        return PARTS[module, name]


def _python_batch(data: bytes) -> np.ndarray:
    """Return the planes of the pictures in a batch of the python version, (N, 3072) uint8."""
    try:
        planes = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()[b"data"].array()
        if planes.ndim != 2 or planes.shape[1] != CIFAR_RECORD - 1:
            raise ValueError(f"its data has the shape {planes.shape}")
    except InputError:
        raise
    except Exception as e:  # a damaged pickle raises whatever its instructions lead to
        raise InputError(f"it is no batch of CIFAR10's python version: {_reason(e)}") from e
    return planes


def _binary_batch(data: bytes) -> np.ndarray:
    """Return the planes of the pictures in a batch of the binary version, (N, 3072) uint8."""
    if not data or len(data) % CIFAR_RECORD:
        raise InputError(f"it has {len(data)} bytes, no multiple of the {CIFAR_RECORD} of a record of CIFAR10's binary version")
    return np.frombuffer(data, np.uint8).reshape(-1, CIFAR_RECORD)[:, 1:]


def _cifar(batches: dict[str, bytes]) -> np.ndarray:
    """Return the pictures, (N, 32, 32, 3) uint8, of batches by their file names: of the training ones, where there are any."""
    chosen = {name: data for name, data in sorted(batches.items()) if TRAINING.fullmatch(name)} or batches
    parts = []
    for name, data in chosen.items():
        try:
            parts.append(_binary_batch(data) if name.endswith(".bin") else _python_batch(data))
        except InputError as e:
            raise InputError(f"{name}: {e}") from e
    return np.concatenate(parts).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _packed(path: Path) -> dict[str, bytes]:
    """Return the batches in a .tar.gz or .tar, by name; nothing is unpacked to the disk."""
    batches: dict[str, bytes] = {}
    with open(path, "rb") if path.suffix == ".tar" else gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and CIFAR_BATCH.fullmatch(name) and (content := archive.extractfile(member)) is not None:
                    _check_fits(path.name, sum(map(len, batches.values())) + member.size)
                    batches[name] = content.read()
        while stream.read(1 << 20):  # read on to the checksum at the end, which gzip verifies
            pass
    if not batches:
        raise InputError("no batches of CIFAR10 in it")
    return batches


# ---- arrays


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and type that an .npy file claims."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _first_pictures(files: Iterator[tuple[str, IO[bytes]]]) -> np.ndarray:
    """Return the first array of .npy files that holds pictures, (N, H, W, 3) uint8."""
    others = []
    for name, file in files:
        with file:
            shape, dtype = _npy_header(file)
            if dtype == np.uint8 and len(shape) == 4 and shape[3] == 3 and min(shape) > 0:
                _check_fits(name, math.prod(shape))
                file.seek(0)
                return np.lib.format.read_array(file, allow_pickle=False)
            others.append(f"{name} is {dtype} {shape}")
    raise InputError(f"{', '.join(others[:4])}{', ...' * (len(others) > 4)}: not uint8 (N, H, W, 3)" if others else "it holds no arrays")


def _arrays(path: Path) -> np.ndarray:
    """Return the array of an .npy file, or of an .npz file the first that holds pictures: images or arr_0 before others."""
    if path.suffix.lower() == ".npy":
        return _first_pictures(iter([(path.name, open(path, "rb"))]))
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        members.sort(key=lambda name: ["images.npy", "arr_0.npy", name].index(name))
        return _first_pictures((name.removesuffix(".npy"), archive.open(name)) for name in members)


def _reason(error: Exception) -> str:
    """Return an error's text on one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def read(path: Path) -> np.ndarray | None:
    """Read pictures that come as arrays: CIFAR10's (the training batches, where there are any), or those of an .npz or .npy file.

    Returns:
        (N, H, W, 3) uint8; None where the path is of another kind.

    Raises:
        InputError: the file is damaged, or not what it seems; the message names it.
    """
    try:
        if path.is_dir():
            batches = {p.name: p.read_bytes() for p in path.iterdir() if CIFAR_BATCH.fullmatch(p.name) and p.is_file()}
            return _cifar(batches) if batches else None
        if CIFAR_BATCH.fullmatch(path.name):
            return _cifar({path.name: path.read_bytes()})
        if path.name.endswith((".tar.gz", ".tgz", ".tar")):
            return _cifar(_packed(path))
        return _arrays(path) if path.suffix.lower() in (".npz", ".npy") else None
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    except Exception as e:  # what damaged archives raise is up to each format's library
        if isinstance(e, OSError) and e.strerror:
            raise InputError(f"{e.filename or path}: {e.strerror}") from e
        raise InputError(f"{path} is damaged: {_reason(e)}") from e


# ---- LSUN


class Lmdb:
    """Pictures of an lmdb environment, as LSUN has them, decoded when they are drawn: the sets do not fit in memory.

    They become squares of `data.side` as ProgressiveGAN's dataset_tool.py makes them of LSUN: cut from the middle, reduced or enlarged.
    A damaged picture is replaced by the next one, so that a draw still depends on the generator alone.

    Args:
        path: its directory.
        note: called with a sentence for each picture that is left out.

    Raises:
        InputError: lmdb is not installed, or the path is no environment, is cut short, or has no entries.
    """

    def __init__(self, path: Path, data: Data, device: torch.device, note: Callable[[str], None] = lambda text: None):
        try:
            import lmdb
        except ImportError as e:
            raise InputError(f"{path} is an lmdb environment, which needs the package lmdb: pip install lmdb") from e
        try:
            self.environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, max_readers=256)
            size = (self.environment.info()["last_pgno"] + 1) * self.environment.stat()["psize"]
            if os.path.getsize(path / "data.mdb") < size:  # which would end the process: the file is mapped into memory
                self.environment.close()
                raise InputError(f"{path / 'data.mdb'} is cut short: it has not the {size} bytes that it should")
            with self.environment.begin() as transaction:
                self.keys = list(transaction.cursor().iternext(keys=True, values=False))
        except (lmdb.Error, OSError) as e:
            raise InputError(f"{path} cannot be read as an lmdb environment: {_reason(e)}") from e
        if not self.keys:
            raise InputError(f"{path} has no entries")
        self.path, self.data, self.device, self.note = path, data, device, note
        self.left_out: set[bytes] = set()
        self.pool = ThreadPoolExecutor()

    def description(self) -> str:
        """Return the number of pictures, in words."""
        return f"{len(self.keys)} pictures of an lmdb environment"

    def _decode(self, key: bytes) -> np.ndarray:
        with self.environment.begin() as transaction, Image.open(io.BytesIO(transaction.get(key) or b"")) as image:
            return crops.squared(crops.rgb(image), self.data.side, enlarge=True)

    def _read(self, place: int) -> torch.Tensor:
        """Return the picture of an entry, or of the next one that can be read, (side, side, 3) uint8."""
        for i in range(place, place + LEFT_OUT_IN_A_ROW):
            key = self.keys[i % len(self.keys)]
            try:
                return torch.from_numpy(self._decode(key).copy())
            except UnidentifiedImageError:  # whose text has an address in it
                reason = "no picture"
            except Exception as e:  # what Pillow raises for damaged pictures is up to each format's library
                reason = _reason(e)
            if key not in self.left_out:
                self.left_out.add(key)
                self.note(f"{self.path}: the picture {key!r} is left out: {reason}")
        raise InputError(f"{self.path}: {LEFT_OUT_IN_A_ROW} pictures in a row cannot be read, such as {key!r}: {reason}")

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw pictures (`Source.draw`).

        Raises:
            InputError: `LEFT_OUT_IN_A_ROW` entries in a row cannot be read.
        """
        places = torch.randint(len(self.keys), (count,), generator=generator, device=self.device).tolist()
        x = torch.stack(list(self.pool.map(self._read, places))).to(self.device)
        for change in CHANGES[self.data.augment]:
            changed = torch.rand(count, generator=generator, device=self.device) < 0.5
            x = torch.where(changed[:, None, None, None], change(x), x)
        return x.permute(0, 3, 1, 2).float() / 127.5 - 1


# ---- any of them


def source(path: Path, data: Data, device: torch.device, note: Callable[[str], None] = lambda text: None) -> Source:
    """Return the pictures of a path, of whatever kind it is.

    Args:
        note: called with a sentence for each picture that is left out.

    Raises:
        InputError: there is nothing, or nothing that can be read, or nothing that a crop fits in.
    """
    opening.register_plugins()
    if os.path.isfile(path / "data.mdb"):  # unlike Path.is_file, also False where it may not be looked at
        return Lmdb(path, data, device, note)
    arrays = read(path)
    if arrays is None:
        if not path.exists():
            raise InputError(f"{path} is not a directory or a file; looked for a {KINDS}")
        if not path.is_dir():
            raise InputError(f"{path} is no {KINDS}")
        return crops.Crops(crops.load(path, data, note), data.side, device, data.augment)
    height, width = arrays.shape[1:3]
    if min(height, width) < data.side:
        raise InputError(f"{path}: pictures of {width}x{height} are smaller than the crop of {data.side} pixels")
    pictures = [crops.squared(Image.fromarray(a), data.side) for a in arrays] if data.square else list(arrays)
    return crops.Crops(pictures, data.side, device, data.augment)

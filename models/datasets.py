"""What a network is trained on: folders of pictures, CIFAR10, LSUN's lmdb, arrays.

Nothing is fetched. CIFAR10 is at https://www.cs.toronto.edu/~kriz/cifar.html, its python or binary version, unpacked or not; LSUN's
downloader at https://github.com/fyu/lsun; CelebA-HQ, a folder of pictures, is made by
https://github.com/tkarras/progressive_growing_of_gans.
"""

import io
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from ddpmcodec.errors import InputError
from ddpmcodec.models import crops
from ddpmcodec.models.configuration import Data

CIFAR_RECORD = 1 + 3 * 32 * 32  # label, then red, green and blue planes
CIFAR_BATCH = re.compile(r"(data_batch_\d+|test_batch)(\.bin)?")
TRAINING = re.compile(r"data_batch_.*")
MAX_ARRAY_BYTES = 1 << 36

# What CIFAR10's python batches, pickled by Python 2, need of the world.
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy._core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    ("numpy", "ndarray"): "numpy",
    ("numpy", "dtype"): "numpy",
    ("_codecs", "encode"): "_codecs",
}


class Source(Protocol):
    """Where batches come from."""

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count, 3, side, side) float32 in [-1, 1], on the generator's device; which ones depends on the generator alone."""

    def description(self) -> str:
        """How much there is."""


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles arrays and containers; what would run code is refused."""

    def find_class(self, module: str, name: str):
        if (module, name) not in _HARMLESS:
            raise InputError(f"it is a pickle that would run code, {module}.{name}: it is not read")
        return super().find_class(_HARMLESS[module, name], name)


def _python_batch(data: bytes) -> np.ndarray:
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        planes = np.asarray(batch[b"data"])
        if planes.dtype != np.uint8 or planes.ndim != 2 or planes.shape[1] != CIFAR_RECORD - 1:
            raise ValueError(f"data is {planes.dtype} {planes.shape}")
    except InputError:
        raise
    except Exception as e:  # a damaged pickle raises whatever its instructions lead to
        raise InputError(f"it is no batch of CIFAR10's python version: {' '.join(str(e).split()) or type(e).__name__}") from e
    return planes


def _binary_batch(data: bytes) -> np.ndarray:
    if not data or len(data) % CIFAR_RECORD:
        raise InputError(f"it has {len(data)} bytes, no multiple of the {CIFAR_RECORD} of a record of CIFAR10's binary version")
    return np.frombuffer(data, np.uint8).reshape(-1, CIFAR_RECORD)[:, 1:]


def _cifar(batches: dict[str, bytes]) -> np.ndarray:
    """(N, 32, 32, 3) of batches by their file names: the training ones, where there are any."""
    chosen = {name: data for name, data in sorted(batches.items()) if TRAINING.fullmatch(name)} or batches
    parts = []
    for name, data in chosen.items():
        try:
            parts.append(_binary_batch(data) if name.endswith(".bin") else _python_batch(data))
        except InputError as e:
            raise InputError(f"{name}: {e}") from e
    return np.concatenate(parts).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _packed(path: Path) -> dict[str, bytes]:
    """The batches in a .tar.gz, by name; nothing is unpacked to the disk."""
    batches = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).name
            if member.isfile() and CIFAR_BATCH.fullmatch(name) and (content := archive.extractfile(member)) is not None:
                batches[name] = content.read()
    if not batches:
        raise InputError("no batches of CIFAR10 in it")
    return batches


def _npy_header(file) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _check_array(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise InputError(f"{name} is {dtype} {shape}, not uint8 (N, H, W, 3)")
    if np.prod([float(n) for n in shape]) > MAX_ARRAY_BYTES:
        raise InputError(f"{name} has the shape {shape}: more than {MAX_ARRAY_BYTES >> 30} GiB")


def _arrays(path: Path) -> np.ndarray:
    """The array of an .npy file, or of an .npz file the one called images or arr_0, or the first."""
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as f:
            _check_array(path.name, *_npy_header(f))
        return np.load(path, allow_pickle=False)
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        members.sort(key=lambda name: ["images.npy", "arr_0.npy", name].index(name))
        if not members:
            raise InputError("it holds no arrays")
        with archive.open(members[0]) as member:  # what is claimed is checked before it is unpacked
            _check_array(members[0].removesuffix(".npy"), *_npy_header(member))
        with archive.open(members[0]) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def read(path: Path) -> np.ndarray | None:
    """Pictures that come as arrays, CIFAR10's (the training batches, where a folder or archive has them) or those of an .npz or .npy file:
    (N, H, W, 3) uint8. None where the path is of another kind.

    Raises:
        InputError: it is damaged, or not what it seems; the message names it.
    """
    try:
        if path.is_dir():
            batches = {p.name: p.read_bytes() for p in path.iterdir() if CIFAR_BATCH.fullmatch(p.name)}
            return _cifar(batches) if batches else None
        if CIFAR_BATCH.fullmatch(path.name):
            return _cifar({path.name: path.read_bytes()})
        if path.name.endswith((".tar.gz", ".tgz", ".tar")):
            return _cifar(_packed(path))
        return _arrays(path) if path.suffix.lower() in (".npz", ".npy") else None
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    except (FileNotFoundError, PermissionError) as e:
        raise InputError(f"{e.filename or path}: {e.strerror}") from e
    except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile) as e:
        raise InputError(f"{path} is damaged: {' '.join(str(e).split())}") from e


class Lmdb:
    """Pictures of an lmdb environment, as LSUN has them, decoded when they are drawn: the sets do not fit in memory.

    Args:
        path: its directory.
        data: pictures are reduced to squares of `data.crop`.

    Raises:
        InputError: lmdb is not installed, or the path is no environment, or has no entries.
    """

    def __init__(self, path: Path, data: Data, device: torch.device):
        try:
            import lmdb
        except ImportError as e:
            raise InputError(f"{path} is an lmdb environment, which needs the package lmdb: pip install lmdb") from e
        try:
            self.environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, max_readers=256)
            with self.environment.begin() as transaction:
                self.keys = list(transaction.cursor().iternext(keys=True, values=False))
        except lmdb.Error as e:
            raise InputError(f"{path} cannot be read as an lmdb environment: {e}") from e
        if not self.keys:
            raise InputError(f"{path} has no entries")
        self.path, self.data, self.device = path, data, device
        self.pool = ThreadPoolExecutor()

    def description(self) -> str:
        return f"{len(self.keys)} pictures of an lmdb environment"

    def _read(self, key: bytes) -> torch.Tensor:
        with self.environment.begin() as transaction:
            value = transaction.get(key) or b""
        try:
            with Image.open(io.BytesIO(value)) as image:
                pixels = crops.squared(image.convert("RGB"), self.data.crop)
        except Exception as e:  # what Pillow raises for damaged pictures is up to each format's library
            raise InputError(f"{self.path}: the picture {key!r} cannot be read: {' '.join(str(e).split())}") from e
        if pixels.shape[0] < self.data.crop:
            raise InputError(f"{self.path}: the picture {key!r} is smaller than {self.data.crop} pixels")
        return torch.from_numpy(pixels.copy())

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        places = torch.randint(len(self.keys), (count,), generator=generator, device=self.device).tolist()
        pixels = torch.stack(list(self.pool.map(self._read, [self.keys[i] for i in places]))).to(self.device)
        if self.data.augment != "none":
            mirrored = torch.rand(count, generator=generator, device=self.device) < 0.5
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def source(path: Path, data: Data, device: torch.device, note: Callable[[str], None] = lambda text: None) -> Source:
    """The pictures of a path, of whatever kind it is.

    Raises:
        InputError: there is nothing, or nothing that can be read, or nothing that a crop fits in.
    """
    if os.path.isfile(path / "data.mdb"):  # unlike Path.is_file, also False where it may not be looked at
        return Lmdb(path, data, device)
    arrays = read(path)
    if arrays is None:
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is no folder, no .npz or .npy file and no batch or archive of CIFAR10")
        return crops.Crops(crops.load(path, data, note), data.crop, device, data.augment)
    pictures = list(_prepared(arrays, data))
    if min(pictures[0].shape[:2]) < data.crop:
        height, width = pictures[0].shape[:2]
        raise InputError(f"{path}: pictures of {width}x{height} are smaller than the crop of {data.crop} pixels")
    return crops.Crops(pictures, data.crop, device, data.augment)


def _prepared(arrays: np.ndarray, data: Data) -> Iterator[np.ndarray]:
    for array in arrays:
        yield crops.squared(Image.fromarray(array), data.crop) if data.square else np.ascontiguousarray(array)

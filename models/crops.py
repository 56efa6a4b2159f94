"""Training data: photos in memory, and random crops of them cut on the device."""

import fnmatch
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddpmcodec.errors import InputError
from ddpmcodec.models.configuration import Data, Reduce

OTHER_KINDS = "nor batches of CIFAR10, nor an lmdb environment (data.mdb)"  # which a directory may hold, too: models/datasets.py


def find(directory: Path) -> list[Path]:
    """Return all files below a directory, in sorted order, but for hidden ones.

    Raises:
        InputError: it is no directory, cannot be listed, or has no files.
    """
    try:
        if not directory.is_dir():
            raise InputError(f"{directory} is not a directory")
        visible = (p for p in directory.rglob("*") if not any(part.startswith(".") for part in p.relative_to(directory).parts))
        found = sorted(p for p in visible if p.is_file())
    except OSError as e:
        raise InputError(f"{e.filename or directory}: {e.strerror}") from e
    if not found:
        raise InputError(f"no pictures in {directory}, {OTHER_KINDS}")
    return found


def rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB.

    Raises:
        ValueError: its values do not fit 8 bits, or it is a program that Pillow has Ghostscript run.
    """
    if image.format == "EPS":
        raise ValueError("EPS is a program")
    if image.mode.startswith(("I", "F")):  # which Pillow would clip to 255
        raise ValueError("more than 8 bits a channel")
    return image.convert("RGB")


def read(path: Path, data: Data) -> list[np.ndarray]:
    """Read one picture file as arrays, (H, W, 3) uint8, one for each reduction that the configuration asks for.

    Raises:
        OSError, ValueError: it cannot be read. Pillow has more for damaged files.
    """
    with Image.open(path) as image:
        whole = rgb(image)
    if data.square:
        return [squared(whole, data.side)]
    rule = _rule(path, data)
    return [np.asarray(_reduced(whole, scale)) for scale in (rule.scales(*whole.size) if rule else [1.0])]


def _rule(path: Path, data: Data) -> Reduce | None:
    """Return the reduction that the configuration has for a file."""
    return next((rule for rule in data.reduce if fnmatch.fnmatch(path.name, rule.files)), None)


def _too_small(path: Path, arrays: list[np.ndarray], data: Data) -> str:
    """Say why no crop fits in a picture, of which these are the reductions."""
    height, width = max((array.shape[:2] for array in arrays), key=min)
    with Image.open(path) as image:
        reduced = not data.square and image.size != (width, height)
    how = f"reduced to {width}x{height} pixels as the configuration says, it is " if reduced else ""
    return f"{how}smaller than the crop of {data.side} pixels"


def squared(image: Image.Image, side: int, enlarge: bool = False) -> np.ndarray:
    """Return the square in the middle of an RGB image, reduced to (side, side, 3) uint8; smaller ones keep their size or are enlarged."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = image.crop((left, top, left + short, top + short))
    if short == side or (short < side and not enlarge):
        return np.asarray(square)
    if short % side == 0:
        return np.asarray(square.reduce(short // side))
    return np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))


def _reduced(image: Image.Image, scale: float) -> Image.Image:
    """Reduce an image by a factor, by means over squares where its inverse is a whole number, else with Lanczos' filter."""
    if scale == 1:
        return image
    if (1 / scale).is_integer():
        return image.reduce(int(1 / scale))
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def load(directory: Path, data: Data, note: Callable[[str], None] = lambda text: None) -> list[np.ndarray]:
    """Load all pictures below a directory that a crop fits in, (H, W, 3) uint8, reduced as the configuration says.

    Args:
        note: called with a sentence for each file that is left out.

    Raises:
        InputError: none is left.
    """
    paths = find(directory)

    def read_or_error(path: Path) -> list[np.ndarray] | Exception:
        try:
            return read(path, data)
        except Exception as e:  # what Pillow raises for damaged files is up to each format's library
            return e

    pictures: list[np.ndarray] = []
    readable, reasons = 0, []
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # Pillow's on odd metadata
        for path, result in zip(paths, pool.map(read_or_error, paths), strict=True):
            if isinstance(result, Exception):
                note(f"{path}: left out: {' '.join(str(result).split()) or type(result).__name__}")
                continue
            readable += 1
            large = [array for array in result if min(array.shape[:2]) >= data.side]
            if not large:
                reasons.append(_too_small(path, result, data))
                note(f"{path}: left out: {reasons[-1]}")
            pictures += large
    if not readable:
        raise InputError(f"no readable pictures in {directory}, {OTHER_KINDS}")
    if not pictures:
        how = " once reduced as the configuration says" if any(reason.startswith("reduced") for reason in reasons) else ""
        raise InputError(f"all pictures in {directory} are smaller than the crop of {data.side} pixels{how}")
    return pictures


class Crops:
    """Random crops from pictures kept on the device as one flat array.

    A picture is drawn with a probability in proportion to the square root of its area.

    Args:
        pictures: (H, W, 3) uint8 arrays, no side shorter than `size`. The list is emptied, since both copies need not fit in memory.
        size: side of the crops in pixels.
        augment: "dihedral": flipped both ways and transposed at random; "flip": left and right exchanged; or "none".
    """

    def __init__(self, pictures: list[np.ndarray], size: int, device: torch.device, augment: str = "dihedral"):
        shape = torch.tensor([p.shape[:2] for p in pictures])
        area = shape.prod(1)
        self.pixels = torch.empty((int(area.sum()), 3), dtype=torch.uint8, device=device)
        self.begin = (area.cumsum(0) - area).to(device)
        pictures.reverse()  # since only pops from the end of a list are fast
        for begin, n in zip(self.begin.tolist(), area.tolist(), strict=True):
            self.pixels[begin : begin + n] = torch.from_numpy(pictures.pop().reshape(-1, 3).copy())
        self.height, self.width = shape.to(device).unbind(1)
        self.weights = area.double().sqrt().to(device)
        self.size = size
        self.augment = augment

    def description(self) -> str:
        """Return the number of pictures and of pixels, in words."""
        return f"{self.height.numel()} pictures, {len(self.pixels) / 1e6:.1f} million pixels"

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw crops, (count, 3, size, size) float32 in [-1, 1]."""
        device = self.pixels.device
        i = torch.multinomial(self.weights, count, replacement=True, generator=generator)

        def uniform() -> torch.Tensor:
            return torch.rand(count, device=device, generator=generator)

        top = (uniform() * (self.height[i] - self.size + 1)).long()
        left = (uniform() * (self.width[i] - self.size + 1)).long()
        forward = torch.arange(self.size, device=device).expand(count, -1)

        def coins(augmented: bool) -> torch.Tensor:
            return uniform() < 0.5 if augmented else torch.zeros(count, dtype=torch.bool, device=device)

        dihedral = self.augment == "dihedral"
        y = torch.where(coins(dihedral)[:, None], forward.flip(1), forward)
        x = torch.where(coins(self.augment != "none")[:, None], forward.flip(1), forward)
        transposed = coins(dihedral)[:, None, None]
        row = torch.where(transposed, y[:, None, :], y[:, :, None])
        column = torch.where(transposed, x[:, :, None], x[:, None, :])
        begin, width, top, left = (v[:, None, None] for v in (self.begin[i], self.width[i], top, left))
        places = begin + (top + row) * width + left + column
        return self.pixels[places].permute(0, 3, 1, 2).float() / 127.5 - 1

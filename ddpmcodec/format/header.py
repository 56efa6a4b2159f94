"""The header of a file: what picture it holds, and where its chain begins."""

import struct
from dataclasses import dataclass

from ddpmcodec.channel import codeword
from ddpmcodec.errors import CorruptFileError, TruncatedFileError, UnsupportedVersionError
from ddpmcodec.format.sections import Reader, check, unzigzag, varint, zigzag
from ddpmcodec.models.identity import HASH_BYTES, NAME
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels, Levels

CHANNELS = 3
MAX_SIDE = 1 << 20  # in pixels, so that the number of elements fits 63 bits
MAX_PICTURES = 1 << 20
MODE_RGB, MODE_GRAY = range(2)
NETWORK_STRIDE = 16  # both sides are padded to multiples of it by the bundled denoiser


@dataclass(frozen=True)
class Header:
    """The fields of the H section.

    Attributes:
        width, height: of one picture, in pixels.
        model_name, model_hash: the denoiser that the file needs (models/identity.py).
        levels: the numbering of noise levels.
        start: the level of x_T, where the chain begins.
        seed: of the shared randomness.
        orientation: EXIF's, 1 ... 8, of the coded picture.
        pictures: P, the number of pictures of this size that are coded together.
        gray: whether of a picture's three dimensions of colour only luma is coded.
    """

    width: int
    height: int
    model_name: str
    model_hash: bytes
    levels: Levels
    start: int
    seed: int = 0
    orientation: int = 1
    pictures: int = 1
    gray: bool = False

    @property
    def pixels(self) -> int:
        """The number of pixels of all pictures together."""
        return self.width * self.height * self.pictures

    @property
    def network_pixels(self) -> int:
        """The number of pixels as a denoiser sees them, padded, on which the time of decoding depends: 256 for a picture of 1 x 1."""
        width, height = (-(-side // NETWORK_STRIDE) * NETWORK_STRIDE for side in (self.width, self.height))
        return width * height * self.pictures

    @property
    def elements(self) -> int:
        """N, the number of coded elements."""
        return self.pixels if self.gray else CHANNELS * self.pixels

    @property
    def dimensions(self) -> int:
        """D, N padded to whole rotation blocks."""
        return codeword.padded_size(self.elements, self.width)


def encode(h: Header) -> bytes:
    """Return the body of the H section."""
    name = h.model_name.encode()
    body = varint(h.width) + varint(h.height) + varint(h.pictures) + varint(MODE_GRAY if h.gray else MODE_RGB) + varint(h.orientation)
    body += varint(len(name)) + name + h.model_hash
    if isinstance(h.levels, DiscreteLevels):
        schedule = DiscreteLevels.SCHEDULES.index(h.levels.schedule)
        body += varint(1) + varint(schedule) + varint(h.levels.T) + struct.pack(">dd", h.levels.beta_1, h.levels.beta_T)
    else:
        body += varint(0)
    return body + varint(zigzag(h.start)) + varint(h.seed)


def decode(body: bytes) -> Header:
    """Return the header in the body of an H section.

    Raises:
        CorruptFileError: fields are missing, or out of their ranges.
        UnsupportedVersionError: the mode or the kind of noise levels is not known here.
    """
    r = Reader(body)
    try:
        width, height = r.varint(), r.varint()
        pictures, mode, orientation = r.varint(), r.varint(), r.varint()
        name = r.take(r.varint()).decode("latin-1")
        model_hash = r.take(HASH_BYTES)
        if (kind := r.varint()) > 1:
            raise UnsupportedVersionError(f"noise levels of kind {kind} are not supported by this version")
        levels: Levels = ContinuousLevels()
        if kind == 1:
            schedule, T = r.varint(), r.varint()
            check(schedule < len(DiscreteLevels.SCHEDULES), f"unknown schedule {schedule}")
            levels = DiscreteLevels(DiscreteLevels.SCHEDULES[schedule], T, *struct.unpack(">dd", r.take(16)))
        start, seed = unzigzag(r.varint()), r.varint()
    except TruncatedFileError as e:
        raise CorruptFileError("the header is shorter than its fields") from e
    except ValueError as e:
        raise CorruptFileError(f"the header's noise levels: {e}") from e
    check(r.at == len(body), "the header is longer than its fields")
    check(1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE, f"the header's size {width} x {height} is not in 1 ... {MAX_SIDE}")
    check(1 <= pictures <= MAX_PICTURES, f"the header's number of pictures {pictures} is not in 1 ... {MAX_PICTURES}")
    check(NAME.fullmatch(name) is not None, "the model's name in the header is not a name")
    check(1 <= orientation <= 8, f"the header's orientation {orientation} is not in 1 ... 8")
    check(levels.contains(start), "the header's start level is out of range")
    if mode not in (MODE_RGB, MODE_GRAY):
        raise UnsupportedVersionError(f"pictures of mode {mode} are not supported by this version")
    return Header(width, height, name, model_hash, levels, start, seed, orientation, pictures, mode == MODE_GRAY)

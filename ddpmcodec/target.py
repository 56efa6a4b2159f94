"""Where an encode is to end: one of a quality, a rate, a size, a PSNR, noise levels to visit, or the exact picture.

A target knows the noise that it ends at and what it leaves of a file's bytes to its steps. Its constructor is where ranges are checked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ddpmcodec.errors import RateError
from ddpmcodec.format.header import Header
from ddpmcodec.models.levels import Levels

MAX_BPP = 24.0
DEFAULT_BPP = 1.0
DEFAULT_MIN_BYTES = 512  # without an explicit rate, small pictures get at least this
TAIL_SIGMA = 1.0  # of 255: where the payload of a lossless file ends (measured: docs/lossless.md)
FINEST_SIGMA = 0.5  # of 255: below it a picture gains nothing that 8 bits would show


class ConflictError(ValueError):
    """More than one target is given."""


@dataclass(frozen=True)
class Target:
    """About 1 bit per pixel beside alpha and metadata, or 512 bytes where that is more: the target where none is given."""

    @property
    def sigma(self) -> float:
        """The noise of 255 at which to end at the latest."""
        return FINEST_SIGMA

    @property
    def has_end(self) -> bool:
        """Whether there is an end to be reached, rather than bytes or levels to be used up."""
        return False

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """The most bytes that the file may have; None where the target does not count them.

        Args:
            extra: bytes of alpha and metadata.
            least: bytes of a file without steps, `extra` included.
        """
        return extra + max(DEFAULT_MIN_BYTES, int(DEFAULT_BPP * header.pixels / 8))

    def description(self, max_bytes: int) -> str:
        """What was asked for, in words."""
        return f"{max_bytes} bytes"

    def check_levels(self, levels: Levels, start: int) -> None:
        """Raise ValueError where the target names levels that a model does not have, or in a wrong order."""


@dataclass(frozen=True)
class Quality(Target):
    """End at this noise: 100 of 255 at 0, 10 at 50, 1 at 100, and as much less for each unit."""

    quality: float

    def __post_init__(self):
        if not 0 <= self.quality <= 100:
            raise ValueError(f"quality = {self.quality} is out of range: 0 ... 100")

    @property
    def sigma(self) -> float:
        return sigma_of_quality(self.quality)

    @property
    def has_end(self) -> bool:
        return True

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        return _most_bytes(header, least)


@dataclass(frozen=True)
class Rate(Target):
    """At most so many bits per pixel, in (0, 24], alpha and metadata included."""

    bpp: float

    def __post_init__(self):
        if not 0 < self.bpp <= MAX_BPP:
            raise ValueError(f"bpp = {self.bpp} is out of range: (0, {MAX_BPP:g}]")

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        return int(self.bpp * header.pixels / 8)

    def description(self, max_bytes: int) -> str:
        return f"{self.bpp:g} bpp is {max_bytes} bytes"


@dataclass(frozen=True)
class Bytes(Target):
    """At most so many bytes."""

    count: int

    def __post_init__(self):
        if self.count < 0:
            raise ValueError(f"max_bytes = {self.count} is out of range: it is negative")

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        return self.count


@dataclass(frozen=True)
class Psnr(Target):
    """At least this PSNR of the decoded picture, in dB, and .3 more at most; the best there is where 24 bits per pixel do not reach it."""

    psnr: float

    def __post_init__(self):
        if not (self.psnr > 0 and math.isfinite(self.psnr)):
            raise ValueError(f"psnr = {self.psnr} is out of range: it is no positive number of dB")

    @property
    def has_end(self) -> bool:
        return True

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        return _most_bytes(header, least)


@dataclass(frozen=True)
class VisitedLevels(Target):
    """Visit exactly these noise levels (of a model of the paper's kind: timesteps) after the first, however many bits that takes."""

    visited: tuple[int, ...]

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        return None

    def check_levels(self, levels: Levels, start: int) -> None:
        _check_order(levels, start, self.visited)


@dataclass(frozen=True)
class Lossless(Target):
    """To the last bit; by way of these levels where they are given."""

    visited: tuple[int, ...] | None = None

    @property
    def sigma(self) -> float:
        return TAIL_SIGMA

    @property
    def has_end(self) -> bool:
        return True

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        return None

    def check_levels(self, levels: Levels, start: int) -> None:
        _check_order(levels, start, self.visited or ())


def _most_bytes(header: Header, least: int) -> int:
    return least + int(MAX_BPP * header.pixels / 8) + DEFAULT_MIN_BYTES


def sigma_of_quality(quality: float) -> float:
    """The noise of 255 that a file of this quality ends at."""
    return 100 ** (1 - quality / 100)


def _check_order(kind: Levels, start: int, levels: Sequence[int]) -> None:
    for before, level in pairwise((start, *levels)):
        if not (kind.contains(level) and kind.distance(before, level) > 0):
            raise ValueError(f"level {level} does not follow level {before}")


def choose(
    *,
    quality: float | None = None,
    bpp: float | None = None,
    max_bytes: int | None = None,
    psnr: float | None = None,
    lossless: bool = False,
    levels: Sequence[int] | None = None,
) -> Target:
    """The target of the one that is given; `levels` may stand beside `lossless`.

    Raises:
        ConflictError: several are given.
        ValueError: it is out of its range.
    """
    found: list[Target] = []
    if quality is not None:
        found.append(Quality(quality))
    if bpp is not None:
        found.append(Rate(bpp))
    if max_bytes is not None:
        found.append(Bytes(max_bytes))
    if psnr is not None:
        found.append(Psnr(psnr))
    if lossless:
        found.append(Lossless(None if levels is None else tuple(levels)))
    elif levels is not None:
        found.append(VisitedLevels(tuple(levels)))
    if len(found) > 1:
        raise ConflictError(
            "at most one of quality, bpp, max_bytes, psnr, lossless and levels says where to end; levels may go with lossless"
        )
    return found[0] if found else Target()


def check_budget(target: Target, header: Header, extra: int, least: int) -> int | None:
    """Bytes that the file may have beside alpha and metadata; None where they are not counted.

    Raises:
        RateError: not even a file without steps is small enough.
    """
    limit = target.max_bytes(header, extra, least)
    if limit is None:
        return None
    if least > limit:
        beside = f", {extra} of them alpha and metadata" if extra else ""
        smallest = f"this picture's smallest file has {least}: {8 * least / header.pixels:.3g} bpp{beside}"
        raise RateError(f"{target.description(limit)}, and {smallest}")
    return limit - extra

"""Targets of an encode: a quality, a rate, a size, a PSNR, a score, noise levels to visit, or the exact picture.

A target knows the noise at which to end and the bytes that the file may have. Its constructor checks ranges.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ddpmcodec import arguments
from ddpmcodec.errors import RateError
from ddpmcodec.format.header import Header
from ddpmcodec.models.levels import Levels

MAX_BPP = 24.0
DEFAULT_BPP = 1.0
DEFAULT_MIN_BYTES = 512  # which small pictures get where no rate is given
TAIL_SIGMA = 1.0  # of 255: where the payload of a lossless file ends (measured: docs/lossless.md)
FINEST_SIGMA = 0.5  # of 255: below it a picture gains nothing that 8 bits would show


class ConflictError(ValueError):
    """More than one target is given."""


class Aim(NamedTuple):
    """A measure of the decoded picture that is to be reached.

    Attributes:
        value: of the measure, which rises with quality.
        excess: by which it may be exceeded.
        per_db: of the measure, what it gains at least, at first, and at most, where a typical picture gains 1 dB of PSNR.
        is_score: whether it is costly to measure, so that it is to be done seldom, and rises less evenly than PSNR.
    """

    value: float
    excess: float
    per_db: tuple[float, float, float]
    is_score: bool = False


@dataclass(frozen=True)
class Target:
    """About 1 bit per pixel beside alpha and metadata, or 512 bytes where that is more: the target where none is given."""

    @property
    def sigma(self) -> float:
        """The noise, of 255, at which to end at the latest."""
        return FINEST_SIGMA

    @property
    def has_end(self) -> bool:
        """Whether there is an end to be reached, rather than bytes or levels to be used up."""
        return False

    @property
    def aim(self) -> Aim | None:
        """What is to be measured of the decoded picture and reached; None where nothing is."""
        return None

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """Return the most bytes that the file may have; None where the target does not limit them.

        Args:
            extra: bytes of alpha and metadata.
            least: bytes of a file without steps, `extra` included.
        """
        return extra + max(DEFAULT_MIN_BYTES, int(DEFAULT_BPP * header.pixels / 8))

    def description(self, max_bytes: int) -> str:
        """Return what was asked for, in words."""
        return f"{max_bytes} bytes"

    def check_levels(self, levels: Levels, start: int) -> None:
        """Raise ValueError where the target visits levels that a model does not have, or in a wrong order."""


@dataclass(frozen=True)
class _ToBeReached(Target):
    """A target with an end of its own, however many bytes it takes up to `MAX_BPP`."""

    @property
    def has_end(self) -> bool:
        """True: what the target names."""
        return True

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """Return a size that only a picture out of the target's reach would exceed."""
        return least + int(MAX_BPP * header.pixels / 8) + DEFAULT_MIN_BYTES


@dataclass(frozen=True)
class Quality(_ToBeReached):
    """A quality in [0, 100]: the noise to end at, from 100 of 255 at 0 over 10 at 50 to 1 at 100, in equal ratios."""

    quality: float

    def __post_init__(self):
        if not 0 <= arguments.number("quality", self.quality) <= 100:
            raise ValueError(f"quality = {self.quality} is out of range: 0 ... 100")

    @property
    def sigma(self) -> float:
        """The noise of the quality, of 255."""
        return sigma_of_quality(self.quality)


@dataclass(frozen=True)
class Rate(Target):
    """A rate that is not exceeded, in bits per pixel, in (0, 24]; alpha and metadata count."""

    bpp: float

    def __post_init__(self):
        if not 0 < arguments.number("bpp", self.bpp) <= MAX_BPP:
            raise ValueError(f"bpp = {self.bpp} is out of range: (0, {MAX_BPP:g}]")

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """Return the bytes of the rate."""
        return int(self.bpp * header.pixels / 8)

    def description(self, max_bytes: int) -> str:
        """Return the rate, and the bytes that it is, in words."""
        return f"{self.bpp:g} bpp is {max_bytes} bytes"


@dataclass(frozen=True)
class Bytes(Target):
    """A size that is not exceeded, in bytes; alpha and metadata count."""

    count: int

    def __post_init__(self):
        if not 0 <= arguments.number("max_bytes", self.count) < math.inf:
            raise ValueError(f"max_bytes = {self.count} is out of range: it is no number of bytes")
        object.__setattr__(self, "count", math.floor(self.count))

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """Return the size itself."""
        return self.count


@dataclass(frozen=True)
class Psnr(_ToBeReached):
    """A PSNR of the decoded picture in dB, reached and below 54 dB exceeded by .3 at most; the best there is within 24 bits per pixel."""

    psnr: float

    def __post_init__(self):
        if not 0 < arguments.number("psnr", self.psnr) < math.inf:
            raise ValueError(f"psnr = {self.psnr} is out of range: it is no positive number of dB")

    @property
    def aim(self) -> Aim:
        """The PSNR in dB."""
        return Aim(self.psnr, 0.3, (0.5, 1.0, 2.0))


@dataclass(frozen=True)
class Score(_ToBeReached):
    """A score of the decoded picture by a metric that rises with quality, reached and exceeded by `excess` at most; else the best there is.

    Attributes:
        score: to be reached.
        measure: the metric of the original and a decoded picture, (H, W, 3) uint8.
        excess: by which the score may be exceeded.
        per_db: as of `Aim`.
        name: of the metric.
    """

    score: float
    measure: Callable[[np.ndarray, np.ndarray], float] = field(repr=False)
    excess: float
    per_db: tuple[float, float, float]
    name: str = "score"

    def __post_init__(self):
        if not math.isfinite(arguments.number(self.name, self.score)):
            raise ValueError(f"{self.name} = {self.score} is out of range: it is no number")

    @property
    def aim(self) -> Aim:
        """The score."""
        return Aim(self.score, self.excess, self.per_db, is_score=True)


@dataclass(frozen=True)
class VisitedLevels(Target):
    """Noise levels (of a model of the paper's kind: timesteps) to visit after the first, however many bits that takes."""

    visited: tuple[int, ...]

    def __post_init__(self):
        object.__setattr__(self, "visited", arguments.integers("levels", self.visited))

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """Return None: the target takes as many bytes as it takes."""
        return None

    def check_levels(self, levels: Levels, start: int) -> None:
        """Raise ValueError where a model does not have the levels to visit, or they are in a wrong order."""
        _check_order(levels, start, self.visited)


@dataclass(frozen=True)
class Lossless(Target):
    """The exact picture; the noise levels to visit on the way, after the first, where they are given."""

    visited: tuple[int, ...] | None = None

    def __post_init__(self):
        if self.visited is not None:
            object.__setattr__(self, "visited", arguments.integers("levels", self.visited))

    @property
    def sigma(self) -> float:
        """The noise at which the tail takes over, of 255."""
        return TAIL_SIGMA

    @property
    def has_end(self) -> bool:
        """True: the start of the tail."""
        return True

    def max_bytes(self, header: Header, extra: int, least: int) -> int | None:
        """Return None: the target takes as many bytes as it takes."""
        return None

    def check_levels(self, levels: Levels, start: int) -> None:
        """Raise ValueError where a model does not have the levels to visit, or they are in a wrong order."""
        _check_order(levels, start, self.visited or ())


def sigma_of_quality(quality: float) -> float:
    """Return the noise, of 255, that a file of this quality ends at."""
    return 100 ** (1 - quality / 100)


def _check_order(levels: Levels, start: int, visited: Sequence[int]) -> None:
    """Raise ValueError unless visited levels exist and each has less noise than the one before."""
    for before, level in pairwise((start, *visited)):
        if not (levels.contains(level) and levels.distance(before, level) > 0):
            raise ValueError(f"level {level} does not follow level {before}")


def choose(
    *,
    quality: float | None = None,
    bpp: float | None = None,
    max_bytes: int | None = None,
    psnr: float | None = None,
    score: Score | None = None,
    lossless: bool = False,
    levels: Sequence[int] | None = None,
) -> Target:
    """Return the target of the one argument that is given; `levels` may stand beside `lossless`.

    The arguments are those of `ddpmcodec.encode`, and a score.

    Raises:
        ConflictError: several are given.
        ValueError: the one given is out of its range.
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
    if score is not None:
        found.append(score)
    if lossless:
        found.append(Lossless(None if levels is None else arguments.integers("levels", levels)))
    elif levels is not None:
        found.append(VisitedLevels(arguments.integers("levels", levels)))
    if len(found) > 1:
        raise ConflictError(
            "at most one of quality, bpp, max_bytes, psnr, score, lossless and levels says where to end; levels may go with lossless"
        )
    return found[0] if found else Target()


def check_budget(target: Target, header: Header, extra: int, least: int) -> int | None:
    """Return the number of bytes that the file may have beside alpha and metadata; None where there is no limit.

    Args:
        extra: bytes of alpha and metadata.
        least: bytes of a file without steps, `extra` included.

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

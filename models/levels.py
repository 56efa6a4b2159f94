"""Numberings of noise levels: the integers by which files and networks name them.

There are two kinds: `ContinuousLevels` for models conditioned on continuous noise, L = round(256 log2 snr), and `DiscreteLevels` for
models conditioned on the timestep. They need numpy only, so that a file can be described without torch.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ddpmcodec.errors import ModelError
from ddpmcodec.models import process


@dataclass(frozen=True)
class ContinuousLevels:
    """A numbering in which level L has snr 2^(L / 256); less noise is a larger L."""

    kind = "continuous"
    counts_timesteps = False
    UNITS = 256  # levels an octave of snr
    LOWEST, HIGHEST = -(1 << 13), 1 << 13

    def snr(self, level: int) -> float:
        """Return the signal-to-noise ratio of a level."""
        return 2.0 ** (level / self.UNITS)

    def nearest(self, snr: float) -> int:
        """Return the level whose log snr is nearest."""
        return max(self.LOWEST, min(self.HIGHEST, round(self.UNITS * math.log2(snr))))

    def descend(self, level: int, distance: int) -> int:
        """Return the level that has `distance` levels less noise."""
        return level + distance

    def distance(self, a: int, b: int) -> int:
        """Return by how many levels b has less noise than a."""
        return b - a

    def finest(self, snr: float) -> int:
        """Return the level at which a chain ends that is to reach x_0: the one nearest to `snr`."""
        return self.nearest(snr)

    def contains(self, level: int) -> bool:
        """Whether there is such a level."""
        return self.LOWEST <= level <= self.HIGHEST


@dataclass(frozen=True)
class DiscreteLevels:
    """A numbering in which level t is a timestep of a schedule of T betas; less noise is a smaller t, and 1 is a network's last.

    Attributes:
        schedule: of the betas (`models/process.py`), "linear" from beta_1 to beta_T or "cosine".

    Raises:
        ValueError: there is no such schedule.
    """

    schedule: str
    T: int
    beta_1: float = 1e-4
    beta_T: float = 0.02

    kind = "discrete"
    counts_timesteps = True
    SCHEDULES = ("linear", "cosine")
    MAX_T = 1 << 14

    def __post_init__(self):
        if self.schedule not in self.SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}")
        if type(self.T) is not int or not 2 <= self.T <= self.MAX_T:
            raise ValueError(f"T = {self.T} is not in 2 ... {self.MAX_T}")
        if not 0 < self.beta_1 <= self.beta_T < 1:
            raise ValueError(f"betas {self.beta_1} ... {self.beta_T} are not in (0, 1)")
        if not (self.alpha_bars[-1] > 0 and np.all(np.diff(self.alpha_bars) < 0)):
            raise ValueError(f"betas {self.beta_1} ... {self.beta_T} over {self.T} steps leave nothing between neighbouring levels")

    @cached_property
    def alpha_bars(self) -> np.ndarray:
        """The alpha_bars abar_0 = 1 ... abar_T, (T + 1,) float64."""
        linear = self.schedule == "linear"
        return process.alpha_bars(process.linear_betas(self.T, self.beta_1, self.beta_T) if linear else process.cosine_betas(self.T))

    def snr(self, level: int) -> float:
        """Return the signal-to-noise ratio of a level."""
        return process.snr(float(self.alpha_bars[level]))

    def nearest(self, snr: float) -> int:
        """Return the level in 1 ... T whose log snr is nearest."""
        abar = self.alpha_bars[1:]
        return 1 + int(np.abs(np.log(abar / (1 - abar)) - math.log(snr)).argmin())

    def descend(self, level: int, distance: int) -> int:
        """Return the level that has `distance` levels less noise."""
        return level - distance

    def distance(self, a: int, b: int) -> int:
        """Return by how many levels b has less noise than a."""
        return a - b

    def finest(self, snr: float) -> int:
        """Return the level at which a chain ends that is to reach x_0: the last timestep, whatever its snr."""
        return 1

    def contains(self, level: int) -> bool:
        """Whether there is such a level."""
        return 1 <= level <= self.T


Levels = ContinuousLevels | DiscreteLevels


def sigma(levels: Levels, level: int) -> float:
    """Return the standard deviation of a level's noise on [0, 255]."""
    return process.sigma_of_snr(levels.snr(level))


def build_levels(config: dict) -> Levels:
    """Return the numbering of noise levels that a model's configuration describes.

    Raises:
        ModelError: it is not understood.
    """
    try:
        levels = {**config["levels"]}  # a mapping, not pairs
        kind = levels.pop("kind")
        return {"continuous": ContinuousLevels, "discrete": DiscreteLevels}[kind](**levels)
    except (KeyError, TypeError, ValueError) as e:
        raise ModelError(f"the model's noise levels are not understood: {e}") from e

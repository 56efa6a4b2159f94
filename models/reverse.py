"""The reverse process p_theta(x_s | x_t) from one visited level to the next, for sampling, the variational bound and interpolation.

The variance of p is one of those below. Those that are not fixed are a point f on the line from ln beta-tilde_t to ln beta_t (Nichol &
Dhariwal 2021, arXiv 2102.09672, equation 15), the two ends that the best variance lies between (Ho et al., section 3.2); so they serve
any subsequence of the timesteps.

    beta            beta_t, fixed; of a subsequence 1 - abar_t / abar_s
    beta-tilde      beta-tilde_t, fixed: the posterior's
    fitted          f for each timestep, fitted to data after training (`fit` in eval/bits_per_dimension.py)
    learned         f for each timestep, trained with the bound
    learned-range   f for each element, from three more channels of the network
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ddpmcodec.models.levels import Levels
from ddpmcodec.models.model import Model
from ddpmcodec.models.process import abar_of_snr, posterior, snr_of_sigma

LEAST_SIGMA = 1.0  # of 255: where a model of continuous levels ends


class Reverse(NamedTuple):
    """p(x_s | x_t): its x0hat and mean (B, 3, H, W), and log variance in nats, which broadcasts with them."""

    x_0: torch.Tensor
    mean: torch.Tensor
    log_variance: torch.Tensor


def subsequence(levels: Levels, start: int, count: int) -> list[int]:
    """Return `count` levels to visit from `start` to the last: evenly spaced timesteps, or on continuous levels evenly spaced ln snr.

    Raises:
        ValueError: there are not so many.
    """
    last = levels.finest(snr_of_sigma(LEAST_SIGMA))
    if not 1 <= count <= abs(start - last) + 1:
        raise ValueError(f"{count} steps: from level {start} to {last} there are 1 ... {abs(start - last) + 1}")
    return np.linspace(start, last, count).round().astype(int).tolist()


def variance_range(abar_s: float, abar_t: float, least: float) -> tuple[float, float]:
    """Return ln beta-tilde and ln beta of a step from t to s; `least` stands for a beta-tilde of 0, which the step to x_0 has."""
    return math.log(posterior(abar_s, abar_t).variance or least), math.log(1 - abar_t / abar_s)


class ReverseProcess:
    """The reverse process p_theta along visited levels, and from the last of them to x_0.

    Args:
        visited: levels from much noise to little, as `subsequence` gives them; all T timesteps are the paper's process.
        variance: "beta" or "beta-tilde", in place of the model's.

    Attributes:
        abars: alpha_bar of each visited level, and 1 for x_0.
        posteriors: q(x_s | x_t, x_0) of each step.
        ranges: ln beta-tilde and ln beta of each step.
    """

    def __init__(self, model: Model, visited: Sequence[int], variance: str | None = None):
        self.model = model
        self.visited = list(visited)
        self.variance = variance or model.variance
        self.abars = [abar_of_snr(model.levels.snr(level)) for level in visited] + [1.0]
        pairs = list(zip(self.abars[1:], self.abars, strict=False))
        self.posteriors = [posterior(s, t) for s, t in pairs]
        # As in the paper's code: the last step has the beta-tilde of the one before.
        least = self.posteriors[-2].variance if len(pairs) > 1 else 1 - self.abars[0]
        self.ranges = [variance_range(s, t, least) for s, t in pairs]

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.visited)

    def __call__(self, i: int, x_t: torch.Tensor) -> Reverse:
        """Return p(x_s | x_t) of step i, from visited[i] to the next level; x0hat is clamped to [-1, 1].

        Raises:
            ModelError: the network predicts values that are not numbers.
        """
        prediction = self.model.predict(x_t, self.visited[i])
        x_0 = prediction.x_0.clamp(-1, 1)
        low, high = self.ranges[i]
        f = prediction.variance_fraction
        if self.variance in ("beta", "beta-tilde"):
            log_variance = torch.tensor(high if self.variance == "beta" and i < len(self) - 1 else low)
        else:
            assert f is not None
            log_variance = low + f * (high - low)
        return Reverse(x_0, self.posteriors[i].mean(x_0, x_t), log_variance)

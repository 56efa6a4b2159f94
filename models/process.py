"""The diffusion process of Ho, Jain & Abbeel 2020 (arXiv 2006.11239): schedules of betas, forward process, posteriors.

The variance-preserving process has x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps (equation 4), x in [-1, 1]. Everything is written
for any pair of noise levels s < t, of which the paper's (t - 1, t) is the finest. Numbers that depend on the level alone are
float64; the functions on x take numpy arrays or tensors.
"""

import math
from typing import Any, NamedTuple

import numpy as np


def linear_betas(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> np.ndarray:
    """Return the betas of the paper's schedule (section 4), (T,) float64."""
    return np.linspace(beta_1, beta_T, T)


def cosine_betas(T: int = 1000, s: float = 0.008, beta_max: float = 0.999) -> np.ndarray:
    """Return the betas of the cosine schedule (arXiv 2102.09672, equation 17), (T,) float64."""
    f = np.cos((np.arange(T + 1) / T + s) / (1 + s) * math.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], beta_max)


def alpha_bars(betas: np.ndarray) -> np.ndarray:
    """Return abar_0 = 1 and abar_t = prod_{i <= t} (1 - beta_i), (T + 1,) float64, indexed by timestep."""
    return np.concatenate([[1.0], np.cumprod(1 - betas)])


def snr(abar):
    """Return the signal-to-noise ratio abar / (1 - abar)."""
    return abar / (1 - abar)


def abar_of_snr(snr):
    """Return abar: the inverse of `snr`."""
    return snr / (1 + snr)


def sigma_of_snr(snr):
    """Return the noise's standard deviation over the signal's scale, on [0, 255]: x_t / sqrt(abar_t) is x_0 plus this much noise."""
    return 127.5 / snr**0.5


def snr_of_sigma(sigma):
    """Return the signal-to-noise ratio: the inverse of `sigma_of_snr`."""
    return (127.5 / sigma) ** 2


def bits_of_nats(nats):
    """Return an amount of information in bits."""
    return nats / math.log(2)


def nats_of_bits(bits):
    """Return an amount of information in nats."""
    return bits * math.log(2)


def root(value):
    """Return the square root of a number, an array or a tensor."""
    return math.sqrt(value) if isinstance(value, float | int) else value**0.5


def q_sample(x_0, abar: float, eps):
    """Return x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps (equation 4)."""
    return root(abar) * x_0 + root(1 - abar) * eps


class Posterior(NamedTuple):
    """The posterior q(x_s | x_t, x_0) = N(x_0_weight x_0 + x_t_weight x_t, variance), equations 6 and 7 for s = t - 1."""

    x_0_weight: Any
    x_t_weight: Any
    variance: Any

    def mean(self, x_0, x_t):
        """Return the mean given x_0 and x_t."""
        return self.x_0_weight * x_0 + self.x_t_weight * x_t


def posterior(abar_s, abar_t) -> Posterior:
    """Return q(x_s | x_t, x_0) for abar_s > abar_t: numbers, arrays or tensors. abar_s = 1 is x_0 itself."""
    a = abar_t / abar_s
    b = 1 - a
    return Posterior(
        root(abar_s) * b / (1 - abar_t),
        root(a) * (1 - abar_s) / (1 - abar_t),
        b * (1 - abar_s) / (1 - abar_t),
    )


def gaussian_kl(mean_q, variance_q, mean_p, variance_p):
    """Return KL(N(mean_q, variance_q) || N(mean_p, variance_p)) in nats, one value an element."""
    ratio = variance_q / variance_p
    log_ratio = ratio.log() if hasattr(ratio, "log") else np.log(ratio)  # tensors have their own
    return 0.5 * (ratio - 1 - log_ratio + (mean_q - mean_p) ** 2 / variance_p)


def typical_relative_error(sigma):
    """Return mse / sigma^2 of a good denoiser of photos at `sigma` (of 255), up to a factor that depends on the picture."""
    return 1 / (1 + sigma / 1.4)

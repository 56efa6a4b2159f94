"""The noise of the chain: white, or shaped in frequency, colour and place (models/whitening.py).

A noise knows how x_T begins, what of x_t the network sees, which picture its prediction is, and where q(x_s | x_t, x_0) lies. The chain
knows nothing else of it. Everything here is part of the format, but for `flow`.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol

import numpy as np

from ddpmcodec import gray, prediction
from ddpmcodec.format.header import Header
from ddpmcodec.format.shape import COLOURS, Shape, grid
from ddpmcodec.models import whitening
from ddpmcodec.models.levels import Levels
from ddpmcodec.models.process import Posterior, abar_of_snr, posterior
from ddpmcodec.prediction import Folds

MOST_KEPT = 1 << 22  # pixels, beyond which multipliers are computed at each use: their memory counts, and their time does not
Multipliers = tuple[slice, np.ndarray]  # elements of T, and what is theirs: a plane (H, W) float32


class Noise(Protocol):
    """White or shaped noise, of pictures (P, 3, H, W) float32."""

    folds: Folds  # levels at which the network sees fewer pixels
    clamps: bool  # whether the network's predictions are clamped to [-1, 1] before they are interpolated

    def start(self, normals: np.ndarray) -> np.ndarray:
        """Return x_T of independent standard normal values."""

    def seen(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return what the network sees of x_t: pictures in white noise, variance preserving."""

    def picture(self, predicted: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat in [-1, 1] of the network's prediction of what it sees, whose memory is reused."""

    def sample(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int, z: np.ndarray) -> np.ndarray:
        """Return x_s: p's mean plus q's standard deviation times z, whose memory is reused."""

    def flow(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int) -> np.ndarray:
        """Return x_s by a step of DDIM without noise (arXiv 2010.02502, equation 12), in the memory of x_t, which is reused.

        Only what is shown has it, not the chain.
        """


def step_posterior(levels: Levels, level_s: int, level_t: int) -> Posterior:
    """Return q(x_s | x_t, x_0) between two levels (equations 6 and 7)."""
    return posterior(abar_of_snr(levels.snr(level_s)), abar_of_snr(levels.snr(level_t)))


def coded_elements(x: np.ndarray, header: Header) -> np.ndarray:
    """Return the elements of x (P, 3, H, W) that steps code, (N,)."""
    return (gray.luma(x) if header.gray else x).reshape(-1)


def delta_of(error: np.ndarray, q: Posterior) -> np.ndarray:
    """Return delta = (q's mean - p's mean) / q's standard deviation, (N,), for an error x_0 - x0hat, (N,), in white noise."""
    return error * error.dtype.type(q.x_0_weight / math.sqrt(q.variance))


class White:
    """White noise in RGB: the variance-preserving process of the paper."""

    folds = prediction.FOLDS
    clamps = True

    def __init__(self, header: Header):
        self.header = header

    def start(self, normals: np.ndarray) -> np.ndarray:
        """Return the values themselves: next to nothing of x_0 is in x_T."""
        return normals

    def seen(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x_t itself."""
        return x_t

    def picture(self, predicted: np.ndarray, level: int) -> np.ndarray:
        """Return the prediction, without chroma where the pictures are gray."""
        return gray.without_chroma(predicted) if self.header.gray else predicted

    def sample(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int, z: np.ndarray) -> np.ndarray:
        """Return a sample of q(x_s | x_t, x_0), or of p (`Noise.sample`)."""
        q = step_posterior(self.header.levels, level_s, level_t)
        z *= np.float32(math.sqrt(q.variance))
        for x_s, known, before in zip(z, x0hat, x_t, strict=True):  # temporaries of one picture's size
            x_s += np.float32(q.x_0_weight) * known
            x_s += np.float32(q.x_t_weight) * before
        return z

    def flow(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int) -> np.ndarray:
        """Return sqrt(abar_s) x0hat + sqrt(1 - abar_s) eps for the eps that x0hat leaves of x_t (`Noise.flow`)."""
        abar_t, abar_s = (abar_of_snr(self.header.levels.snr(level)) for level in (level_t, level_s))
        x_t_weight = math.sqrt((1 - abar_s) / (1 - abar_t))
        x_t *= np.float32(x_t_weight)
        for x_s, known in zip(x_t, x0hat, strict=True):  # temporaries of one picture's size
            x_s += np.float32(math.sqrt(abar_s) - x_t_weight * math.sqrt(abar_t)) * known
        return x_t


class Shaped:
    """Shaped noise: u_t = u_0 + sigma_i(t) eps for u_0 = DCT(T x_0 / G), with sigma_i = sigma m_i^w, variance exploding."""

    clamps = False

    def __init__(self, header: Header, shape: Shape):
        self.header, self.shape, self.levels = header, shape, header.levels
        self.folds = folds_of(header, shape)
        self.field: np.ndarray | None = None
        if shape.cell:
            cells = np.frombuffer(shape.cells, np.uint8).reshape(grid(header.height, header.width, shape.cell)) / 4
            self.field = np.exp2(whitening.log2_field(cells, shape.cell, header.height, header.width))
        self.log2_m: list[Multipliers] = []  # log2 m_i; neighbours of the same row share it
        for row, same in groupby(range(COLOURS), shape.table.__getitem__):
            first, *others = same
            plane = whitening.log2_multipliers(header.height, header.width, [row])[0].astype(np.float32)
            self.log2_m.append((slice(first, first + 1 + len(others)), plane))
        self.places = None if shape.gains is None else whitening.FrequencyPlaces(header.height, header.width)
        self._kept: tuple[float, list[Multipliers]] | None = None

    def power(self, level: int) -> float:
        """Return w, the multipliers' power at a level."""
        return whitening.power(math.log2(self.levels.snr(level)), self.shape.ramp)

    def raised(self, power: float) -> Iterator[Multipliers]:
        """Yield m_i^power for the elements of T that share it; (1, 1) where it is 1 everywhere."""
        for colours, plane in self.log2_m:
            raised = plane * np.float32(power * math.log(2)) if power else np.zeros((1, 1), np.float32)
            yield colours, np.exp(raised, out=raised)

    def multipliers(self, level: int) -> Iterable[Multipliers]:
        """Return m_i^w at a level, as `raised` yields them; those of the last power asked for are kept, unless they are large."""
        w = self.power(level)
        if self.header.height * self.header.width > MOST_KEPT:
            return self.raised(w)
        if self._kept is None or self._kept[0] != w:
            self._kept = w, [*self.raised(w)]
        return self._kept[1]

    def start(self, normals: np.ndarray) -> np.ndarray:
        """Return u_T = sigma_i(T) times the values: next to nothing of u_0 is in it."""
        normals *= np.float32(self.levels.snr(self.header.start) ** -0.5)
        for colours, m in self.multipliers(self.header.start):
            normals[:, colours] *= m
        return normals

    def seen(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return sqrt(abar) O^T IDCT(u_t / m^w), whose noise is white (`Noise.seen`)."""
        y = np.empty_like(x_t)
        for colours, m in self.multipliers(level):
            np.divide(x_t[:, colours], m, out=y[:, colours])
        for u in y:
            whitening.synthesis_(u, math.sqrt(abar_of_snr(self.levels.snr(level))))
        return y

    def picture(self, predicted: np.ndarray, level: int) -> np.ndarray:
        """Return the picture that was whitened to the prediction, clamped (`Noise.picture`)."""
        for y in predicted:
            whitening.analysis_(y)
        for colours, m in self.multipliers(level):
            predicted[:, colours] *= m
        if self.places is not None and self.shape.gains and prediction.fold_of(self.levels, level, self.folds) == 1:
            for colours, rows in zip((slice(1), slice(1, None)), self.shape.gains, strict=True):
                self.places.apply_(predicted[:, colours], whitening.gains_at(math.log2(self.levels.snr(level)), rows))
        if self.header.gray:
            predicted[:, 1:] = 0
        for u in predicted:
            x = whitening.picture_(u, self.field)
            np.clip(x, -1, 1, out=x)
        return predicted

    def sample(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int, z: np.ndarray) -> np.ndarray:
        """Return a sample of q(u_s | u_t, u_0), or of p: equation 7 for each coefficient (`Noise.sample`)."""
        snr_s = self.levels.snr(level_s)
        ratio = np.float32(self.levels.snr(level_t) / snr_s)
        for eps in z:
            whitening.analysis_(eps)
        r_of_colours = self.raised(2 * (self.power(level_s) - self.power(level_t)))
        for (colours, m_s), (_, r) in zip(self.multipliers(level_s), r_of_colours, strict=True):
            r *= ratio
            spread = 1 - r
            np.sqrt(np.maximum(spread, 0, out=spread), out=spread)
            spread *= np.float32(snr_s**-0.5)
            z[:, colours] *= spread * m_s
            self._add_mean(z, x_t, x0hat, colours, r)
        return z

    def flow(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int) -> np.ndarray:
        """Return u_0hat + sigma_i(s) / sigma_i(t) (u_t - u_0hat) (`Noise.flow`)."""
        ratio = np.float32(math.sqrt(self.levels.snr(level_t) / self.levels.snr(level_s)))
        for colours, r in self.raised(self.power(level_s) - self.power(level_t)):
            r *= ratio
            for x, u in zip(x0hat, x_t, strict=True):
                for c in range(COLOURS)[colours]:
                    known = whitening.coefficient_plane(x, c, self.field)
                    u[c] -= known
                    u[c] *= r
                    u[c] += known
        return x_t

    def _add_mean(self, u_s: np.ndarray, u_t: np.ndarray, x0hat: np.ndarray, colours: slice, r: np.ndarray) -> None:
        """Add u_0hat + r (u_t - u_0hat) to u_s, for some elements of T."""
        for after, x, before in zip(u_s, x0hat, u_t, strict=True):
            for c in range(COLOURS)[colours]:
                known = whitening.coefficient_plane(x, c, self.field)
                after[c] += known
                np.subtract(before[c], known, out=known)
                known *= r
                after[c] += known


def folds_of(header: Header, shape: Shape | None) -> Folds:
    """Return the levels at which the network sees fewer pixels, as `prediction.FOLDS`."""
    return prediction.FOLDS if shape is None else ((4, shape.quarter), (2, shape.half))


def noise_of(header: Header, shape: Shape | None) -> Noise:
    """Return the noise of a file."""
    return White(header) if shape is None else Shaped(header, shape)

"""The noise of the chain: white, or shaped in frequency, colour and place (models/whitening.py).

A noise knows how x_T begins, what of x_t the network sees, which picture its prediction is, and where q(x_s | x_t, x_0) lies. The chain
knows nothing else of it. Everything here is part of the format.
"""

import math
from collections.abc import Iterator
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
        # log2 m_i, (H, W) float32, after the elements of T that have it: neighbours of the same row share a plane.
        self.log2_m: list[tuple[slice, np.ndarray]] = []
        for row, same in groupby(range(COLOURS), shape.table.__getitem__):
            first, *others = same
            plane = whitening.log2_multipliers(header.height, header.width, [row])[0].astype(np.float32)
            self.log2_m.append((slice(first, first + 1 + len(others)), plane))
        self.places = None if shape.gains is None else whitening.FrequencyPlaces(header.height, header.width)
        self._kept: tuple[float, list[np.ndarray]] | None = None

    def power(self, level: int) -> float:
        """Return w, the multipliers' power at a level."""
        return whitening.power(math.log2(self.levels.snr(level)), self.shape.ramp)

    def raised(self, power: float) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield m_i^power, (H, W) float32, each after the elements of T that have it."""
        for colours, plane in self.log2_m:
            raised = plane * np.float32(power * math.log(2))
            yield colours, np.exp(raised, out=raised)

    def multipliers(self, level: int) -> list[np.ndarray]:
        """Return m_i^w at a level, three planes (H, W) float32; those of the last power asked for are kept, unless they are large."""
        w = self.power(level)
        if self.header.height * self.header.width > MOST_KEPT:
            return self._planes(w)
        if self._kept is None or self._kept[0] != w:
            self._kept = None
            self._kept = w, self._planes(w)
        return self._kept[1]

    def _planes(self, power: float) -> list[np.ndarray]:
        """Return m_i^power for each element of T."""
        return [m for colours, m in self.raised(power) for _ in range(COLOURS)[colours]]

    def start(self, normals: np.ndarray) -> np.ndarray:
        """Return u_T = sigma_i(T) times the values: next to nothing of u_0 is in it."""
        scale = np.float32(self.levels.snr(self.header.start) ** -0.5)
        for u in normals:
            for plane, m in zip(u, self.multipliers(self.header.start), strict=True):
                plane *= m
                plane *= scale
        return normals

    def seen(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return sqrt(abar) O^T IDCT(u_t / m^w), whose noise is white (`Noise.seen`)."""
        y, m, scale = x_t.copy(), self.multipliers(level), math.sqrt(abar_of_snr(self.levels.snr(level)))
        for u in y:
            whitening.whiten_(u, m, scale)
        return y

    def picture(self, predicted: np.ndarray, level: int) -> np.ndarray:
        """Return the picture that was whitened to the prediction, clamped (`Noise.picture`)."""
        m, log2_snr = self.multipliers(level), math.log2(self.levels.snr(level))
        whole = prediction.fold_of(self.levels, level, self.folds) == 1
        gains = [whitening.gains_at(log2_snr, rows) for rows in self.shape.gains] if self.shape.gains and whole else []
        for y in predicted:
            u = whitening.unwhiten_(y, m)
            if self.places is not None and gains:
                for planes, of_colour in zip((u[:1], u[1:]), gains, strict=True):
                    self.places.apply_(planes, of_colour)
            if self.header.gray:
                u[1:] = 0
            x = whitening.picture_(u, self.field)
            np.clip(x, -1, 1, out=x)
        return predicted

    def sample(self, x_t: np.ndarray, x0hat: np.ndarray, level_t: int, level_s: int, z: np.ndarray) -> np.ndarray:
        """Return a sample of q(u_s | u_t, u_0), or of p: equation 7 for each coefficient (`Noise.sample`)."""
        snr_s, snr_t = self.levels.snr(level_s), self.levels.snr(level_t)
        m_s, power = self.multipliers(level_s), 2 * (self.power(level_s) - self.power(level_t))
        ratio = snr_t / snr_s
        for u_s, x, u_t in zip(z, x0hat, x_t, strict=True):
            whitening.dct_(whitening.colours_(whitening.O, u_s))
            for colours, m in self.raised(power) if power else [(slice(COLOURS), np.ones((), np.float32))]:
                r = np.float32(ratio) * m
                spread = np.asarray(np.maximum(1 - r, 0))  # of a number, too
                np.sqrt(spread, out=spread)
                spread *= np.float32(snr_s**-0.5)
                u_s[colours] *= spread
                for c in range(COLOURS)[colours]:
                    u_s[c] *= m_s[c]
                    known = whitening.coefficient_plane(x, c, self.field)
                    u_s[c] += known
                    np.subtract(u_t[c], known, out=known)
                    known *= r
                    u_s[c] += known
        return z


def folds_of(header: Header, shape: Shape | None) -> Folds:
    """Return the levels at which the network sees fewer pixels, as `prediction.FOLDS`."""
    return prediction.FOLDS if shape is None else ((4, shape.quarter), (2, shape.half))


def noise_of(header: Header, shape: Shape | None) -> Noise:
    """Return the noise of a file."""
    return White(header) if shape is None else Shaped(header, shape)

"""The residual x_0 - x0hat that is not yet sent, as the encoder measures it at a level: what steps from there cost, and delta.

Only the encoder has it; nothing here is part of the format but delta.
"""

import math
from typing import Protocol

import numpy as np

from ddpmcodec import arrays
from ddpmcodec.models import whitening
from ddpmcodec.noise import Noise, Shaped, White, coded_elements, delta_of, step_posterior

BINS = 64  # of log2 m, an octave, in which squared errors are summed up
PART = 1 << 20  # values at a time: more would take too much memory
FARTHEST = 64.0  # octaves of snr that a step is looked for in


class Residual(Protocol):
    """What is not known of x_0 at a level, in the units in which noise is measured there."""

    def rate(self) -> float:
        """Return twice the nats per coded element that a step costs per unit of ln snr: mse / sigma^2 where noise is white."""

    def energy(self, level: int) -> float:
        """Return |delta|^2 of a step to a level."""

    def snr_of(self, energy: float) -> float:
        """Return the snr that a step with |delta|^2 = `energy` leads to: the inverse of `energy`."""

    def delta(self, level: int) -> np.ndarray:
        """Return delta = (q's mean - p's mean) / q's standard deviation of a step to a level, (N,) float32, in the order of pixels.

        May be called once: the residual's memory is reused.
        """


class WhiteResidual:
    """The residual in white noise, of which the squared error is all that matters."""

    def __init__(self, noise: White, error: np.ndarray, level: int):
        self.header, self.level = noise.header, level
        self.error = coded_elements(error, noise.header)
        self.snr = noise.header.levels.snr(level)
        self.squared = arrays.squared_norm(self.error)

    def rate(self) -> float:
        """Return mse / sigma^2 (`Residual.rate`)."""
        return self.squared * self.snr / self.header.elements

    def energy(self, level: int) -> float:
        """Return |x_0 - x0hat|^2 (snr_s - snr_t) (`Residual.energy`)."""
        return self.squared * (self.header.levels.snr(level) - self.snr)

    def snr_of(self, energy: float) -> float:
        """Return the snr that is so much energy away (`Residual.snr_of`)."""
        return self.snr + energy / max(self.squared, 1e-12)

    def delta(self, level: int) -> np.ndarray:
        """Return the error in units of q's standard deviation (`Residual.delta`)."""
        return delta_of(self.error, step_posterior(self.header.levels, level, self.level))


class ShapedResidual:
    """The residual in shaped noise: squared errors of coefficients, summed up by the coefficients' multipliers."""

    def __init__(self, noise: Shaped, error: np.ndarray, level: int):
        self.noise, self.level = noise, level
        self.coefficients = error
        for each in error:
            whitening.coefficients_(each, noise.field)
        self.log2_m, self.squared = self._squared_by_multiplier()
        self.log2_snr = math.log2(noise.levels.snr(level))

    def _squared_by_multiplier(self) -> tuple[np.ndarray, np.ndarray]:
        """Return classes of log2 m, and the sum of the squared errors of each."""
        coefficients = self.coefficients[:, :1] if self.noise.header.gray else self.coefficients
        log2_m = [(coefficients[:, colours], plane) for colours, plane in self.noise.log2_m if colours.start < coefficients.shape[1]]
        lowest = min(float(plane.min()) for _, plane in log2_m)
        count = 1 + round(BINS * (max(float(plane.max()) for _, plane in log2_m) - lowest))
        sums = np.zeros(count)
        for of_colours, plane in log2_m:
            rows = max(1, PART // plane.shape[1])
            for begin in range(0, len(plane), rows):
                part = slice(begin, begin + rows)
                classes = np.rint((plane[part] - np.float32(lowest)) * BINS).astype(np.intp)
                squares = np.square(of_colours[:, :, part]).sum((0, 1))
                sums += np.bincount(classes.reshape(-1), squares.reshape(-1), count)
        return lowest + np.arange(count) / BINS, sums

    def _precision(self, log2_snr: float) -> np.ndarray:
        """Return 1 / sigma_i^2 for each class."""
        return np.exp2(log2_snr - 2 * whitening.power(log2_snr, self.noise.shape.ramp) * self.log2_m)

    def _energy(self, log2_snr: float) -> float:
        """Return sum e_i^2 (1 / sigma_i(s)^2 - 1 / sigma_i(t)^2)."""
        return float((self.squared * (self._precision(log2_snr) - self._precision(self.log2_snr))).sum())

    def rate(self) -> float:
        """Return sum (e_i / sigma_i)^2 d ln sigma_i^-2 / d ln snr per element (`Residual.rate`)."""
        full, none = self.noise.shape.ramp
        speed = 1 + 512 * self.log2_m / (none - full) if full <= 256 * self.log2_snr < none else 1.0
        return float((self.squared * self._precision(self.log2_snr) * speed).sum()) / self.noise.header.elements

    def energy(self, level: int) -> float:
        """Return the energy of a step from its coefficients' noise (`Residual.energy`)."""
        return self._energy(math.log2(self.noise.levels.snr(level)))

    def snr_of(self, energy: float) -> float:
        """Return the snr that is so much energy away, by bisection (`Residual.snr_of`)."""
        low, high = self.log2_snr, self.log2_snr + FARTHEST
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if self._energy(middle) > energy else (middle, high)
        return 2.0**low

    def delta(self, level: int) -> np.ndarray:
        """Return O^T IDCT of the coefficients' delta: their energy is uneven, that of pixels hardly (`Residual.delta`)."""
        noise, levels = self.noise, self.noise.levels
        snr_s, snr_t = np.float32(levels.snr(level)), np.float32(levels.snr(self.level))
        precisions = zip(noise.raised(-2 * noise.power(level)), noise.raised(-2 * noise.power(self.level)), strict=True)
        for (colours, of_s), (_, of_t) in precisions:
            scale = snr_s * of_s - snr_t * of_t  # where one of them is a number: of the other's shape
            np.sqrt(np.maximum(scale, 0, out=scale), out=scale)
            self.coefficients[:, colours] *= scale
        for u in self.coefficients:
            whitening.synthesis_(u)
        return coded_elements(self.coefficients, noise.header)


def residual_of(noise: Noise, error: np.ndarray, level: int) -> Residual:
    """Return the residual of x_0 - x0hat = `error`, (P, 3, H, W) float32, whose memory is reused."""
    if isinstance(noise, Shaped):
        return ShapedResidual(noise, error, level)
    assert isinstance(noise, White)
    return WhiteResidual(noise, error, level)

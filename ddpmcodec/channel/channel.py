"""Channel simulation: sending a sample z of q = N(delta, 1) to a receiver that knows only p.

Minimal random coding over 2^n candidates that are the words of a convolutional code. The word is rescaled so that z - delta has
the variance q demands and is orthogonal to delta; the shared rotation makes it Gaussian. `docs/format.md` derives it.
"""

from typing import Protocol

import numpy as np

from ddpmcodec import threads
from ddpmcodec.channel import codeword, rotation
from ddpmcodec.channel.randomness import STREAM_CODE, STREAM_POLYNOMIALS, STREAM_ROTATION, SharedRandomness


class Channel(Protocol):
    """The channel coder as the chain of steps uses it."""

    def send(self, delta: np.ndarray, step: int, n: int, nu: int) -> bytes:
        """Return the message by which the receiver gets a z close to a sample of N(delta, 1).

        Args:
            delta: (N,), in units of q's standard deviation: q's mean less p's.
            step: number of the step, from 0, which selects the shared randomness.
            n: path bits.
            nu: memory of the code.

        Returns:
            n bits, padded with zeros to bytes.
        """

    def receive(self, message: bytes, step: int, n: int, nu: int) -> np.ndarray:
        """Return z, (N,) float32, in units of q's standard deviation around p's mean: the arguments as `send`."""


class TrellisChannel:
    """The channel coder of the format.

    Args:
        randomness: the file's shared randomness.
        count: N, the number of coded elements.
        width: the picture's width, on which the interleaving depends.
    """

    def __init__(self, randomness: SharedRandomness, count: int, width: int):
        self.randomness = randomness
        self.count = count
        self.dimensions = codeword.padded_size(count, width)

    def _code(self, step: int, n: int, nu: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the code of a step: where the shares of its path bits start, its polynomials, and its signs."""
        starts = codeword.share_starts(n, self.dimensions)
        count = codeword.polynomial_count(n, nu, self.dimensions)
        middle = self.randomness.permutation(count, 1 << (nu - 1), STREAM_POLYNOMIALS, step)
        return starts, codeword.polynomials(middle, nu), self.randomness.signs(self.dimensions, STREAM_CODE, step)

    def _rotation_signs(self, step: int) -> np.ndarray:
        return self.randomness.signs(self.dimensions, STREAM_ROTATION, step)

    def send(self, delta: np.ndarray, step: int, n: int, nu: int) -> bytes:
        """Search for the word nearest to delta and return its path bits (`Channel.send`)."""
        from ddpmcodec.channel import trellis  # imported here since only the encoder needs numba

        starts, polynomials, signs = self._code(step, n, nu)
        target = rotation.rotate(delta.astype(np.float32, copy=False), self._rotation_signs(step))
        target *= signs
        bits = trellis.search(target, starts, polynomials, nu, codeword.blocks_of(n), threads.count())
        return np.packbits(bits).tobytes()

    def receive(self, message: bytes, step: int, n: int, nu: int) -> np.ndarray:
        """Return the z that a message names (`Channel.receive`)."""
        starts, polynomials, signs = self._code(step, n, nu)
        bits = np.unpackbits(np.frombuffer(message, np.uint8), count=n)
        z = codeword.word(bits, nu, starts, polynomials, signs).astype(np.float32)
        z *= np.float32(codeword.scale(n, nu, self.dimensions))
        return rotation.unrotate_(z, self._rotation_signs(step), self.count)

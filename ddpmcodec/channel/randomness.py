"""Shared randomness: the values that encoder and decoder both draw from nothing but the seed in the file.

Raw words of the Philox4x64-10 generator (Salmon et al. 2011; numpy keeps them stable by policy), one independent sequence for
every (seed, stream, step, block): key = (seed, format version), counter = (0, stream, step, block). Like numpy, the generator
counts the counter's first word up before each group of four words. Everything here is part of the format.
"""

import numpy as np
from numpy.random import Philox

from ddpmcodec.channel.normal import inverse_cdf

# Streams: the counter's second word.
STREAM_START = 1  # x_T
STREAM_ROTATION = 2  # signs before the Walsh-Hadamard transform
STREAM_CODE = 3  # signs of the code word
STREAM_POLYNOMIALS = 4  # the order of the generator polynomials
STREAM_SAMPLING = 5  # the decoder's own noise when it samples the rest of the chain
STREAM_CHROMA = 6  # the noise in the chroma of a gray picture
PART = 1 << 20  # values at a time: all at once in float64 would take too much memory


class SharedRandomness:
    """The random streams of one file.

    Args:
        seed: in [0, 2^64).
        version: the format version.
    """

    def __init__(self, seed: int, version: int):
        self.key = np.array([seed, version], np.uint64)

    def words(self, count: int, stream: int, step: int = 0, block: int = 0) -> np.ndarray:
        """Return the first `count` raw words of a sequence, (count,) uint64."""
        counter = np.array([0, stream, step, block], np.uint64)
        return Philox(key=self.key, counter=counter).random_raw(count)

    def signs(self, count: int, stream: int, step: int = 0) -> np.ndarray:
        """Return signs +1 and -1, (count,) int8: bit i of the words, least significant first, is 1 where sign i is -1."""
        octets = self.words(-(-count // 64), stream, step).astype("<u8").view(np.uint8)
        bits = np.unpackbits(octets, count=count, bitorder="little").view(np.int8)
        bits *= -2
        bits += 1
        return bits

    def gaussians(self, count: int, stream: int, step: int = 0) -> np.ndarray:
        """Return standard normal values, (count,) float32, two a word (low half first): Phi^-1((half + 1/2) / 2^32) in float64."""
        halves = self.words(-(-count // 2), stream, step).astype("<u8", copy=False).view("<u4")[:count]
        values = np.empty(count, np.float32)
        for begin in range(0, count, PART):
            values[begin : begin + PART] = inverse_cdf((halves[begin : begin + PART].astype(np.float64) + 0.5) / 2.0**32)
        return values

    def permutation(self, count: int, size: int, stream: int, step: int = 0) -> np.ndarray:
        """Return the first `count` places of a Fisher-Yates shuffle of 0 ... size - 1, (count,) int64.

        Place i is exchanged with place i + (word i mod (places left)).
        """
        moved: dict[int, int] = {}  # what stands in a place that has been exchanged: others have their own number
        chosen = np.empty(count, np.int64)
        for i, word in enumerate(self.words(count, stream, step).tolist()):
            j = i + word % (size - i)
            chosen[i] = moved.get(j, j)
            moved[j] = moved.get(i, i)
        return chosen

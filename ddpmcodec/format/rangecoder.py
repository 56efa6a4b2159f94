"""The range coder of a file: constriction's, its 32-bit words big endian, and symbols of fixed distributions."""

from collections.abc import Sequence

import constriction
import numpy as np


def to_bytes(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    """Return the words that an encoder has written."""
    return encoder.get_compressed().astype(">u4").tobytes()


def from_bytes(data: bytes) -> constriction.stream.queue.RangeDecoder:
    """Return a decoder of words; the length of `data` is a multiple of 4."""
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, ">u4").astype(np.uint32))


def categorical(weights: Sequence[int] | np.ndarray):
    """Return the distribution with these integer weights: no table depends on a platform's logarithms."""
    shares = np.asarray(weights, np.float64)
    return constriction.stream.model.Categorical(shares / shares.sum(), perfect=False)


class Writer:
    """An encoder of symbols, which returns each value that it writes."""

    def __init__(self):
        self.coder = constriction.stream.queue.RangeEncoder()

    def symbol(self, model, value) -> int:
        """Write a value, distributed as `model` says."""
        self.coder.encode(value, model)
        return value

    def body(self) -> bytes:
        """Return what has been written."""
        return to_bytes(self.coder)


class Source:
    """A decoder with the methods of `Writer`, which ignores the values given and returns those that it reads.

    Raises:
        AssertionError: (any method) constriction's own word for data that cannot be.
    """

    def __init__(self, body: bytes):
        self.coder = from_bytes(body)

    def symbol(self, model, value=None) -> int:
        """Read a value, distributed as `model` says."""
        return int(self.coder.decode(model))

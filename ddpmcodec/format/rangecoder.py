"""The bytes of constriction's range coder in a file: its 32-bit words, big endian."""

import constriction
import numpy as np


def to_bytes(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    """Return the words that an encoder has written."""
    return encoder.get_compressed().astype(">u4").tobytes()


def from_bytes(data: bytes) -> constriction.stream.queue.RangeDecoder:
    """Return a decoder of words; the length of `data` is a multiple of 4."""
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, ">u4").astype(np.uint32))

"""How files hold what constriction's range coder writes: its 32-bit words, big endian."""

import constriction
import numpy as np


def to_bytes(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    return encoder.get_compressed().astype(">u4").tobytes()


def from_bytes(data: bytes) -> constriction.stream.queue.RangeDecoder:
    """The decoder of such words; the length of `data` is a multiple of 4."""
    return constriction.stream.queue.RangeDecoder(np.frombuffer(data, ">u4").astype(np.uint32))

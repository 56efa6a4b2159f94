"""The identity of a model: its name, and a hash of its configuration and its tensors, not of a file. Needs no torch.

The same model has the same hash in every format: SHA-256 of the canonical JSON of the configuration, then for each tensor in sorted order
of names: the name, a zero byte, the shape as JSON, a zero byte and the values as little-endian float32.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

NAME = re.compile(r"[a-z0-9._-]{1,64}")
HASH_BYTES = 8  # of the SHA-256, which files carry


def canonical_json(value: Any) -> str:
    """Return the JSON of a configuration in the one form that is hashed: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def hash_of(config: dict, tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return the first `HASH_BYTES` of a model's SHA-256, given its tensors as arrays of numbers of any type."""
    digest = hashlib.sha256(canonical_json(config).encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name], "<f4").reshape(np.shape(tensors[name]))
        digest.update(f"{name}\0{canonical_json(list(values.shape))}\0".encode())
        digest.update(values.reshape(-1).data)  # not copied
    return digest.digest()[:HASH_BYTES]

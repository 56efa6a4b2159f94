"""Descriptions of model files, made without torch: name, hash, sizes, noise levels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, deserialize

from ddpmcodec.errors import ModelError
from ddpmcodec.models.identity import NAME, hash_of
from ddpmcodec.models.levels import Levels, build_levels

DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
ARCHITECTURES = ("photo-unet", "ddpm-unet")


@dataclass(frozen=True)
class Description:
    """The facts of a model that need no network.

    Attributes:
        name, hash: as files carry them.
        config: as the model's file has it.
        parameters: the number of elements in all of its tensors.
        levels: the numbering of its noise levels.
    """

    name: str
    hash: bytes
    config: dict[str, Any]
    parameters: int
    levels: Levels


def _array(tensor: dict[str, Any]) -> np.ndarray:
    """Return a tensor of a safetensors file, float32."""
    data, shape = tensor["data"], tensor["shape"]
    if tensor["dtype"] == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if tensor["dtype"] not in DTYPES:
        raise ModelError(f"it has tensors of type {tensor['dtype']}: known are BF16, {', '.join(sorted(DTYPES))}")
    return np.frombuffer(data, DTYPES[tensor["dtype"]]).astype("<f4").reshape(shape)


def describe(path: Path) -> Description:
    """Describe the model in a safetensors file; whether its tensors fit its network shows only when it is loaded.

    Raises:
        ModelError: the file cannot be read, or is no model of this package.
    """
    try:
        data = path.read_bytes()
        found = deserialize(data)
        size = int.from_bytes(data[:8], "little")
        header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, Any])
    except (OSError, SafetensorError, ValueError, RecursionError) as e:
        raise ModelError(f"{path} cannot be read as a safetensors model: {e}") from e
    try:
        metadata = header.get("__metadata__") or {}
        config, name = msgspec.json.decode(metadata["config"], type=dict[str, Any]), str(metadata["name"])
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise ModelError(f"{path} holds no ddpmcodec model: its metadata lack a name or a configuration") from e
    if config.get("architecture") not in ARCHITECTURES or not NAME.fullmatch(name):
        raise ModelError(f"{path} holds no ddpmcodec model: its name or its architecture is not known")
    try:
        levels = build_levels(config)
        tensors = {key: _array(tensor) for key, tensor in found}
    except (ModelError, ValueError, OverflowError) as e:
        raise ModelError(f"{path}: {e}") from e
    return Description(name, hash_of(config, tensors), config, sum(array.size for array in tensors.values()), levels)

"""Models as files: safetensors, the configuration as canonical JSON in the metadata (`models/identity.py`). Never pickle, and no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, deserialize, safe_open

from ddpmcodec import atomic
from ddpmcodec.errors import ModelError
from ddpmcodec.models.identity import canonical_json
from ddpmcodec.models.model import Model

DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}  # of tensors in files, as numpy reads them


def _array(tensor: dict[str, Any]) -> np.ndarray:
    """Return a tensor of a safetensors file, float32."""
    values = np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]])
    if tensor["dtype"] == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    return values.astype("<f4", copy=False).reshape(tensor["shape"])


def load(path: Path) -> Model:
    """Load the model in a safetensors file.

    Raises:
        ModelError: the file cannot be read, is no model of this package, or its tensors do not fit its configuration.
    """
    try:
        with safe_open(path, framework="numpy") as f:
            metadata = f.metadata() or {}
            if foreign := sorted({f.get_slice(name).get_dtype() for name in f.keys()} - DTYPES.keys()):  # noqa: SIM118 - not a mapping
                raise ModelError(f"{path} has tensors of type {foreign[0]}: known are {', '.join(sorted(DTYPES))}")
        config = msgspec.json.decode(metadata["config"], type=dict[str, Any])
        name = str(metadata["name"])
        best_visited = msgspec.json.decode(metadata.get("schedules", "{}"), type=dict[int, tuple[int, ...]])
        tensors = {key: _array(tensor) for key, tensor in deserialize(path.read_bytes())}
    except (OSError, SafetensorError) as e:
        raise ModelError(f"{path} cannot be read as a safetensors model: {e}") from e
    except (KeyError, ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
        raise ModelError(f"{path} holds no ddpmcodec model: its metadata lack a name or a configuration") from e
    try:
        return Model(name, config, tensors, best_visited)
    except ModelError as e:
        raise ModelError(f"{path}: {e}") from e
    except RecursionError as e:
        raise ModelError(f"{path} holds no ddpmcodec model: its configuration is nested too deeply") from e


def write(path: Path, tensors: Mapping[str, Any], metadata: dict[str, str]) -> None:
    """Write a safetensors file of arrays, or of torch's tensors on the CPU. One that exists is replaced only by a whole new one.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    atomic.write(path, safetensors.numpy.save({name: np.asarray(value, order="C") for name, value in tensors.items()}, metadata))


def save(
    path: Path, name: str, config: dict[str, Any], tensors: Mapping[str, Any], best_visited: Mapping[int, Sequence[int]] | None = None
) -> None:
    """Write a model as `write` does, in float16 those tensors that it holds exactly.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    metadata = {"name": name, "config": canonical_json(config)}
    if best_visited:
        metadata["schedules"] = canonical_json({str(count): list(levels) for count, levels in best_visited.items()})
    write(path, {key: _stored(np.asarray(value)) for key, value in tensors.items()}, metadata)


def _stored(value: np.ndarray) -> np.ndarray:
    """Return a tensor in float16 if that holds it exactly, else as it is."""
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    return half if value.dtype == np.float32 and np.array_equal(half.astype(np.float32), value) else value

"""Models as files: safetensors, the configuration as canonical JSON in the metadata (`models/identity.py`). Never pickle."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from ddpmcodec import atomic
from ddpmcodec.errors import ModelError
from ddpmcodec.models import planes
from ddpmcodec.models.ddpm_unet import DDPMUNet, DDPMUNetConfig
from ddpmcodec.models.identity import NAME, canonical_json, hash_of
from ddpmcodec.models.levels import DiscreteLevels, build_levels
from ddpmcodec.models.parameterization import x_0_of
from ddpmcodec.models.photo_unet import PhotoUNet
from ddpmcodec.models.process import abar_of_snr

DTYPES = {"F16", "BF16", "F32", "F64"}
CHANNELS = 3
BATCH_PIXELS = 1 << 16  # pixels of many small pictures that are evaluated at once
MAX_BLOCKS, MAX_STRIDE = 64, 256  # a picture is padded to the stride, so a larger one would cost memory that no picture has

Network = PhotoUNet | DDPMUNet


def model_hash(config: dict, tensors: dict[str, torch.Tensor]) -> bytes:
    """Return the hash of a model's configuration and tensors (`identity.hash_of`)."""
    return hash_of(config, {name: value.detach().cpu().float().numpy() for name, value in tensors.items()})


def build_network(config: dict, dropout: float = 0.0) -> Network:
    """Build the network that a configuration describes, with new weights.

    Args:
        dropout: of the paper's U-Net, in training.

    Raises:
        ModelError: the configuration is not understood.
    """
    architecture = config.get("architecture")
    if architecture == "photo-unet":
        return _photo_unet(config)
    if architecture == "ddpm-unet":
        return _ddpm_unet(config, dropout)
    raise ModelError(f"unknown architecture {architecture!r}")


def _photo_unet(config: dict) -> PhotoUNet:
    """Build a photo denoiser; ModelError where the configuration has other fields, or sizes out of their ranges."""
    known = {"architecture", "channels", "blocks", "embedding", "unshuffle", "levels", "start"}
    if unknown := sorted(set(config) - known):
        raise ModelError(f"the model's configuration has an unknown field {unknown[0]!r}")
    if missing := sorted(known - set(config)):
        raise ModelError(f"the model's configuration lacks {missing[0]!r}")
    channels, blocks = config["channels"], config["blocks"]
    counts = blocks if isinstance(blocks, list) else [blocks]
    sizes = [*channels, *counts, config["embedding"], config["unshuffle"]] if isinstance(channels, list) else [0]
    if not all(type(v) is int and 1 <= v <= 4096 for v in sizes) or not 1 <= len(channels) <= 8:
        raise ModelError("the model's configuration has sizes that are not in 1 ... 4096")
    if isinstance(blocks, list) and len(blocks) != len(channels):
        raise ModelError(f"the model's configuration has blocks for {len(blocks)} levels and channels for {len(channels)}")
    if max(counts) > MAX_BLOCKS or config["unshuffle"] << (len(channels) - 1) > MAX_STRIDE:
        raise ModelError(f"the model has more than {MAX_BLOCKS} blocks a level or a stride over {MAX_STRIDE}")
    return PhotoUNet(tuple(channels), tuple(blocks) if isinstance(blocks, list) else blocks, config["embedding"], config["unshuffle"])


class DDPMConfig(DDPMUNetConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration of a model of the paper's kind: its U-Net, what that predicts, and its process (`models/reverse.py`)."""

    architecture: Literal["ddpm-unet"] = "ddpm-unet"
    prediction: Literal["epsilon", "x_0", "mu", "v"] = "epsilon"
    variance: Literal["beta", "beta-tilde", "fitted", "learned", "learned-range"] = "beta"
    levels: dict[str, Any]
    start: int


def _ddpm_unet(config: dict, dropout: float) -> DDPMUNet:
    """Build the paper's U-Net, with the variance that a model keeps for each timestep."""
    c = _ddpm_config(config)
    levels = build_levels(config)
    if not isinstance(levels, DiscreteLevels):
        raise ModelError("the model's noise levels are not discrete, which the paper's network needs")
    network = DDPMUNet(c, 2 * c.planes if c.variance == "learned-range" else c.planes, dropout)
    if c.variance in ("fitted", "learned"):
        network.variance_fraction = torch.nn.Parameter(torch.ones(levels.T), requires_grad=c.variance == "learned")
    return network


def _ddpm_config(config: dict) -> DDPMConfig:
    """Check a configuration; ModelError where it is not understood."""
    try:
        return msgspec.convert(config, DDPMConfig)
    except ValueError as e:  # msgspec's errors are ValueErrors
        raise ModelError(f"the model's configuration: {e}") from e


def complete(config: dict) -> dict:
    """Return a configuration with every field that it leaves to its default, as checkpoints carry it.

    Raises:
        ModelError: it is not understood.
    """
    if config.get("architecture") != "ddpm-unet":
        return config
    whole = msgspec.json.decode(msgspec.json.encode(_ddpm_config(config)))  # lists in place of tuples, as in a file
    if whole["planes"] == CHANNELS:  # the hashes of models in colour are older than the field
        del whole["planes"]
    return whole


class Prediction(NamedTuple):
    """The prediction of a network for x_t.

    Attributes:
        x_0: (B, 3, H, W), not clamped.
        variance_fraction: f of `models/reverse.py`, which broadcasts with x_0; None where the variance is fixed.
    """

    x_0: torch.Tensor
    variance_fraction: torch.Tensor | None


class Model:
    """A denoiser, and everything that a codec must know of it.

    Attributes:
        name: the name by which files refer to it.
        config: its configuration, complete.
        network: in fp32, for evaluation only.
        hash: the first `HASH_BYTES` bytes of its SHA-256 (models/identity.py).
        levels: the numbering of its noise levels.
        start: the level of x_T.
        prediction: what its network predicts (`models/parameterization.py`).
        variance: of its reverse process (`models/reverse.py`), which the codec has no use for.
        best_visited: lists of the levels to visit that were found best for it, by their length (`ddpmcodec bpd --search`).

    Raises:
        ModelError: its name, its noise levels or the lists of `best_visited` are not legal.
    """

    def __init__(self, name: str, config: dict, network: Network, best_visited: Mapping[int, Sequence[int]] | None = None):
        self.name = name
        self.config = config
        self.hash = model_hash(config, network.state_dict())
        self.levels = build_levels(config)
        self.start = config["start"]
        self.prediction: str = config.get("prediction", "v")
        self.variance: str = config.get("variance", "beta-tilde")
        self.best_visited = {count: tuple(visited) for count, visited in (best_visited or {}).items()}
        if not NAME.fullmatch(name):
            raise ModelError(f"the model's name {name!r} is not 1 ... 64 characters of a-z, 0-9, '.', '_', '-'")
        if type(self.start) is not int or not self.levels.contains(self.start):
            raise ModelError(f"the model's start level {self.start} is out of range")
        for visited in self.best_visited.values():
            if not all(self.levels.contains(b) and self.levels.distance(a, b) > 0 for a, b in pairwise([self.start, *visited[1:]])):
                raise ModelError(f"the model's schedule of {len(visited)} levels is none")
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def planes(self) -> int:
        """The channels of the pictures that it knows: 3, or 1 where they are gray."""
        return self.config.get("planes", CHANNELS)

    @property
    def supports_bfloat16(self) -> bool:
        """Whether its convolutions may be computed in bfloat16 (`models/arithmetic.py`)."""
        return isinstance(self.network, PhotoUNet)

    def identity(self) -> dict[str, str]:
        """Return its name and hash as results have them, JSON-serializable."""
        return {"name": self.name, "hash": self.hash.hex()}

    @torch.no_grad()
    def predict(self, x_t: torch.Tensor, level: int, bfloat16: bool = False) -> Prediction:
        """Evaluate the network at x_t (B, 3, H, W), of any size.

        Its input is padded to a multiple of its stride, in the network's precision; many pictures are evaluated `BATCH_PIXELS` at a time.

        Raises:
            ModelError: it predicts values that are not numbers.
        """
        if self.planes == 1:
            x_t, level = planes.merged(x_t, level, self.levels)
        snr = self.levels.snr(level)
        height, width = x_t.shape[2:]
        stride, parameter = self.network.stride, next(self.network.parameters())
        area = -(-height // stride) * -(-width // stride) * stride**2
        parts = (pad_to_multiple(part, stride).to(parameter) for part in x_t.split(max(1, BATCH_PIXELS // area)))
        parts = (part.contiguous(memory_format=torch.channels_last) for part in parts)
        with (
            torch.autocast(parameter.device.type, torch.bfloat16, enabled=bfloat16),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            outputs = [self.network(part, self.network.condition(level, snr, part))[:, :, :height, :width].to(x_t) for part in parts]
        output = torch.cat(outputs)
        abar_s = float(self.levels.alpha_bars[level - 1]) if isinstance(self.levels, DiscreteLevels) else None
        x_0 = x_0_of(self.prediction, output[:, : self.planes], x_t, abar_of_snr(snr), abar_s)
        if not math.isfinite(float(x_0.sum())):
            raise ModelError(f"model {self.name!r} predicts values that are not numbers")
        return Prediction(x_0.repeat(1, CHANNELS // self.planes, 1, 1), variance_fraction(self.network, output, level, self.planes))

    def predict_x_0(self, x_t: torch.Tensor, level: int, bfloat16: bool = False) -> torch.Tensor:
        """Return x0hat(x_t, t), (B, 3, H, W), not clamped; errors as `predict`."""
        return self.predict(x_t, level, bfloat16).x_0


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad x (B, C, H, W) at the bottom and on the right by reflection, as often as it takes, until both sides are multiples."""
    height, width = x.shape[2:]
    padding = [(0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)]
    return torch.from_numpy(np.pad(x.cpu().numpy(), padding, mode="reflect")) if any(map(any, padding)) else x


def variance_fraction(network: Callable, output: torch.Tensor, t, planes: int = CHANNELS) -> torch.Tensor | None:
    """Return f of `models/reverse.py` at timestep t (a number or one a picture); None where the variance is fixed.

    It is in the network's output, one for each element, or the network has one for each timestep.
    """
    if output.shape[1] > planes:
        return (output[:, planes:] + 1) / 2
    fractions = getattr(network, "variance_fraction", None)
    return None if fractions is None else fractions[t - 1].view(-1, 1, 1, 1)


def load(path: Path) -> Model:
    """Load the model in a safetensors file.

    Raises:
        ModelError: the file cannot be read, is no model of this package, or its tensors do not fit its configuration.
    """
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            names = list(f.keys())
            if foreign := sorted({f.get_slice(name).get_dtype() for name in names} - DTYPES):
                raise ModelError(f"{path} has tensors of type {foreign[0]}: known are {', '.join(sorted(DTYPES))}")
            tensors = {name: f.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as e:
        raise ModelError(f"{path} cannot be read as a safetensors model: {e}") from e
    try:
        config = json.loads(metadata["config"])
        name = metadata["name"]
        if not isinstance(config, dict):
            raise ValueError("not an object")
        best_visited = msgspec.json.decode(metadata.get("schedules", "{}"), type=dict[int, tuple[int, ...]])
    except (KeyError, ValueError, RecursionError) as e:
        raise ModelError(f"{path} holds no ddpmcodec model: its metadata lack a name or a configuration") from e
    try:
        return assemble(name, config, tensors, best_visited)
    except ModelError as e:
        raise ModelError(f"{path}: {e}") from e
    except RecursionError as e:
        raise ModelError(f"{path} holds no ddpmcodec model: its configuration is nested too deeply") from e


def assemble(name: str, config: dict, tensors: dict[str, torch.Tensor], best_visited: Mapping[int, Sequence[int]] | None = None) -> Model:
    """Make a model of a configuration and its tensors, in float32.

    Raises:
        ModelError: the tensors do not fit the configuration, or it is not understood.
    """
    with torch.device("meta"):  # sizes that the tensors do not have cost no memory
        network = build_network(config)
    sizes = {name: value.shape for name, value in network.state_dict().items()}
    try:
        # Tensors that do not fit are not converted: a file may claim a huge one without having its values.
        fitting = {name: value.float() if sizes.get(name) == value.shape else value for name, value in tensors.items()}
        network.load_state_dict(fitting, assign=True)
    except RuntimeError as e:
        raise ModelError(f"the tensors do not fit the configuration: {' '.join(str(e).split())[:200]}") from e
    return Model(name, complete(config), network, best_visited)


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file. One that exists is replaced only by a whole new one.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    atomic.write(path, safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()}, metadata))


def save(
    path: Path, name: str, config: dict, tensors: dict[str, torch.Tensor], best_visited: Mapping[int, Sequence[int]] | None = None
) -> None:
    """Write a model as `write` does, in float16 those tensors that it holds exactly.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    metadata = {"name": name, "config": canonical_json(config)}
    if best_visited:
        metadata["schedules"] = canonical_json({str(count): list(levels) for count, levels in best_visited.items()})
    stored = {key: value.half() if _is_half(value) else value for key, value in tensors.items()}
    write(path, stored, metadata)


def _is_half(value: torch.Tensor) -> bool:
    """Whether float16 holds a float32 tensor exactly."""
    return value.dtype == torch.float32 and torch.equal(value.half().float(), value)

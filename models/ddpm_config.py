"""The configuration of models of the paper's kind: the U-Net (models/ddpm_unet.py), what it predicts, and its process. Needs no torch."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ddpmcodec.errors import ModelError

ARCHITECTURE = "ddpm-unet"
COLOURS = 3
Size = Annotated[int, Meta(ge=1, le=4096)]
MAX_CHANNELS = 4096
MAX_LEVELS = 8
MAX_BLOCKS = 64


class DDPMUNetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sizes and variations of a U-Net; the defaults are the paper's for CIFAR10.

    Attributes:
        resolution: side of the pictures in training, to which `attention` refers.
        channels, multipliers: a level has `channels` times its multiplier.
        blocks: residual blocks a level (and one more on the way up).
        attention: resolutions with self-attention; the middle always has it.
        heads: number of heads of the attention; with `head_channels`, the channels of each, it follows from these.
        groups, norm_eps: of the group normalization.
        scale_shift: the timestep scales and shifts behind the second normalization (Dhariwal & Nichol 2021), instead of being added.
        resample: "conv", or "residual" blocks between the levels (Dhariwal & Nichol's resblock_updown).
        pad: a strided convolution pads "after" the picture, as TensorFlow does, or on "both" sides.
        flip_sin_to_cos: the embedding of the timestep has its cosines first.
        freq_shift: half the width less this is the denominator in the exponent of its frequencies.
        time_scale: the factor of timesteps before they are embedded.
        planes: channels of its pictures; configurations have the field where they are gray (`models/planes.py`).

    Raises:
        ValueError: they do not fit each other.
    """

    resolution: Size = 32
    channels: Size = 128
    multipliers: Annotated[tuple[Size, ...], Meta(min_length=1, max_length=MAX_LEVELS)] = (1, 2, 2, 2)
    blocks: Annotated[int, Meta(ge=1, le=MAX_BLOCKS)] = 2
    attention: tuple[Size, ...] = (16,)
    heads: Size = 1
    head_channels: Size | None = None
    groups: Size = 32
    norm_eps: Annotated[float, Meta(gt=0, lt=1)] = 1e-6
    scale_shift: bool = False
    resample: Literal["conv", "residual"] = "conv"
    pad: Literal["after", "both"] = "after"
    flip_sin_to_cos: bool = False
    freq_shift: Literal[0, 1] = 1
    time_scale: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    planes: Literal[1, 3] = 3

    def __post_init__(self):
        stride = 1 << (len(self.multipliers) - 1)
        if self.resolution % stride:
            raise ValueError(f"resolution {self.resolution} is no multiple of {stride}, which {len(self.multipliers)} levels need")
        resolutions = [self.resolution >> i for i in range(len(self.multipliers))]
        if foreign := [r for r in self.attention if r not in resolutions]:
            raise ValueError(f"attention at resolution {foreign[0]}, which is none of {', '.join(map(str, resolutions))}")
        for width in self.widths:
            if width > MAX_CHANNELS:
                raise ValueError(f"a level has {width} channels, more than {MAX_CHANNELS}")
            if width % self.groups:
                raise ValueError(f"a level has {width} channels, no multiple of {self.groups} groups")
            if width % (self.head_channels or self.heads):
                raise ValueError(f"a level has {width} channels, no multiple of {self.head_channels or self.heads} for the heads")
        if self.channels % 2 or self.channels // 2 <= self.freq_shift:
            raise ValueError(f"an embedding of {self.channels} channels")

    @property
    def widths(self) -> list[int]:
        """The channels of each level."""
        return [self.channels * m for m in self.multipliers]

    @property
    def attends(self) -> list[bool]:
        """Whether each level has self-attention."""
        return [self.resolution >> i in self.attention for i in range(len(self.multipliers))]


class DDPMConfig(DDPMUNetConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The configuration of a model of the paper's kind: its U-Net, what that predicts, and its process (`models/reverse.py`)."""

    architecture: Literal["ddpm-unet"] = "ddpm-unet"
    prediction: Literal["epsilon", "x_0", "mu", "v"] = "epsilon"
    variance: Literal["beta", "beta-tilde", "fitted", "learned", "learned-range"] = "beta"
    levels: dict[str, Any]
    start: int


def parse(config: dict[str, Any]) -> DDPMConfig:
    """Check the configuration of a model.

    Raises:
        ModelError: it is not understood.
    """
    try:
        return msgspec.convert(config, DDPMConfig)
    except ValueError as e:  # msgspec's errors are ValueErrors
        raise ModelError(f"the model's configuration: {e}") from e


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with every field that it leaves to its default, as checkpoints carry it.

    Raises:
        ModelError: it is not understood.
    """
    whole = msgspec.json.decode(msgspec.json.encode(parse(config)))  # lists in place of tuples, as in a file
    if whole["planes"] == COLOURS:  # the hashes of models in colour are older than the field
        del whole["planes"]
    return whole

"""Training configurations: TOML files, checked against these classes."""

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ddpmcodec.errors import ConfigurationError

BUNDLED = Path(__file__).parent / "configs"

Count = Annotated[int, Meta(ge=1, le=1 << 20)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]  # no infinity
Decay = Annotated[float, Meta(ge=0, lt=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Reduce(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How pictures whose name matches `files` are reduced: to `factor`, and to each longer side of `longest`.

    `shortest` is the least that a shorter side is reduced to, in pixels.
    """

    files: str
    factor: Annotated[float, Meta(gt=0, le=1)] = 1.0
    longest: tuple[Count, ...] = ()
    shortest: Annotated[int, Meta(ge=0)] = 0

    def scales(self, width: int, height: int) -> list[float]:
        """Factors, at most 1, for a picture of that size."""
        wanted = [min(self.factor, longest / max(width, height)) for longest in self.longest] or [self.factor]
        return sorted({min(1.0, max(scale, self.shortest / min(width, height))) for scale in wanted}, reverse=True)


class Whitening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `share` of the crops is whitened (`models/whitened_crops.py`).

    `power`: that the table's multipliers are raised to, at most. `field_share`: of the whitened crops that are divided by a field as well.
    `field`: its largest value over its smallest, at most. `margin`: pixels around a crop that are filtered with it, then cut off.
    """

    share: Share
    power: Annotated[float, Meta(ge=0, le=4)]
    field_share: Share
    field: Annotated[float, Meta(ge=1, le=64)]
    margin: Annotated[int, Meta(ge=0, le=1 << 10)] = 16


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`crop`: side of the training crops in pixels. `square`: pictures are reduced to squares of that side, in place of `reduce`.

    `augment`: all eight flips and rotations of a crop, its mirror image, or neither. `whiten`: some crops, or none.
    """

    crop: Count
    reduce: tuple[Reduce, ...] = (Reduce("*"),)
    augment: Literal["dihedral", "flip", "none"] = "dihedral"
    square: bool = False
    whiten: Whitening | None = None

    @property
    def side(self) -> int:
        """Side in pixels of what is cut out of a picture: the crop, and the margin that whitening takes."""
        return self.crop + 2 * (self.whiten.margin if self.whiten else 0)


class RelativeError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="loss", tag="relative-error"):
    """The squared eps-error over a good denoiser's at that noise level, for models that any noise level is told to or the nearest timestep.

    ln sigma is uniform between neighbours of `sigma` (of 255), which get these shares of the draws.
    """

    sigma: tuple[Positive, ...]
    share: tuple[Share, ...]

    def __post_init__(self):
        if any(a >= b for a, b in zip(self.sigma, self.sigma[1:], strict=False)):
            raise ValueError("sigma does not increase")
        if len(self.share) != len(self.sigma) - 1 or not math.isclose(sum(self.share), 1, rel_tol=1e-6):
            raise ValueError("share has not one value for each interval of sigma, or their sum is not 1")


class Simple(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="loss", tag="simple"):
    """L_simple of the paper's equation 14, with its counterpart for predictions other than epsilon; t is uniform."""


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="loss", tag="bound"):
    """The variational bound L of the paper's equation 5, in bits per dimension; t is uniform."""


class Optimizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW; with a `muon_factor`, Muon at so many times its rate for the hidden convolutions.

    `batch`: crops an iteration, over all processes. `iterations`: of a whole run. `warmup`: iterations over which the rate rises. `clip`:
    norm of AdamW's gradients. `dropout`: in the paper's U-Net.
    """

    batch: Count
    learning_rate: Positive
    warmup: Annotated[int, Meta(ge=0)]
    clip: Positive
    ema: Decay
    muon_factor: Positive | None = None
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    weight_decay: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    dropout: Decay = 0.0
    iterations: Annotated[int, Meta(ge=1)] | None = None


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a training run depends on but its data and seed. `model` is the one that checkpoints carry."""

    model: dict[str, Any]
    data: Data
    objective: RelativeError | Simple | Bound
    optimizer: Optimizer


def load(name: str) -> Configuration:
    """The bundled configuration of that name, or the one in the file of that path.

    Raises:
        ConfigurationError: there is none, or a field is missing, unknown or out of its range.
    """
    bundled = BUNDLED / f"{name}.toml"
    path = bundled if os.path.isfile(bundled) else Path(name)
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Configuration)
    except OSError as e:
        known = ", ".join(sorted(path.stem for path in BUNDLED.glob("*.toml")))
        raise ConfigurationError(f"no configuration {name!r}: known are {known}; a path to a TOML file works too") from e
    except (ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
        raise ConfigurationError(f"{path}: {e}") from e

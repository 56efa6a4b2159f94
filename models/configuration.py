"""Training configurations: TOML files that are checked against these classes."""

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
    """The reduction of training pictures, before crops are cut.

    Attributes:
        files: the pattern of the names of the pictures that it applies to.
        factor: of both sides.
        longest: longer sides in pixels, to each of which a picture is reduced, in place of `factor` alone.
        shortest: the least that a shorter side is reduced to, in pixels.
    """

    files: str
    factor: Annotated[float, Meta(gt=0, le=1)] = 1.0
    longest: tuple[Count, ...] = ()
    shortest: Annotated[int, Meta(ge=0)] = 0

    def scales(self, width: int, height: int) -> list[float]:
        """Return the factors, at most 1, of a picture of that size."""
        wanted = [min(self.factor, longest / max(width, height)) for longest in self.longest] or [self.factor]
        return sorted({min(1.0, max(scale, self.shortest / min(width, height))) for scale in wanted}, reverse=True)


class Whitening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whitening of crops (`models/whitened_crops.py`).

    Attributes:
        share: of the crops that are whitened.
        power: the largest that the table's multipliers are raised to.
        field_share: of the whitened crops, those that are divided by a field as well.
        field: the most that its largest value is over its smallest.
        margin: pixels around a crop that are filtered with it, then cut off.
    """

    share: Share
    power: Annotated[float, Meta(ge=0, le=4)]
    field_share: Share
    field: Annotated[float, Meta(ge=1, le=64)]
    margin: Annotated[int, Meta(ge=0, le=1 << 10)] = 16


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The crops that a network is trained on.

    Attributes:
        crop: their side in pixels.
        reduce: how pictures are reduced before; the first rule whose pattern matches applies.
        augment: by all eight flips and rotations of a crop, its mirror image, or neither.
        square: whether pictures are reduced to squares of the crop's side, in place of `reduce`.
        whiten: how some crops are whitened, if any.
    """

    crop: Count
    reduce: tuple[Reduce, ...] = (Reduce("*"),)
    augment: Literal["dihedral", "flip", "none"] = "dihedral"
    square: bool = False
    whiten: Whitening | None = None

    @property
    def side(self) -> int:
        """The side in pixels that is cut out of a picture: that of the crop, and the margin that whitening takes."""
        return self.crop + 2 * (self.whiten.margin if self.whiten else 0)


class RelativeError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="loss", tag="relative-error"):
    """The squared eps-error over that of a good denoiser at the same noise level, for models of either kind of levels.

    Attributes:
        sigma: noise levels of 255, increasing; ln sigma is drawn uniformly between neighbours.
        share: of the draws, for each interval between neighbours; they add up to 1.
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
    """The optimizer, AdamW, and beside it Muon where it is asked for.

    Attributes:
        batch: crops an iteration, over all processes.
        learning_rate, betas, weight_decay: of AdamW.
        warmup: iterations over which the learning rate rises.
        clip: the largest norm of AdamW's gradients.
        ema: decay of the exponential moving average of the weights.
        muon_factor: Muon's learning rate over AdamW's, for the hidden convolutions; None: AdamW trains these too.
        dropout: in the paper's U-Net.
        iterations: of a whole run at constant rate; None: until it is stopped.
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
    """Everything that a training run depends on but its data and seed; `model` is the configuration that checkpoints carry."""

    model: dict[str, Any]
    data: Data
    objective: RelativeError | Simple | Bound
    optimizer: Optimizer


def load(name: str) -> Configuration:
    """Load the bundled configuration of that name, or the one in the file of that path.

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

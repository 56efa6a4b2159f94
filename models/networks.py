"""The torch networks of models: built, evaluated, and made models of."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ddpmcodec import threads
from ddpmcodec.errors import ModelError
from ddpmcodec.models import ddpm_config, photo_layout, planes
from ddpmcodec.models.ddpm_unet import DDPMUNet
from ddpmcodec.models.levels import DiscreteLevels, build_levels
from ddpmcodec.models.model import Model
from ddpmcodec.models.padding import pad_to_multiple
from ddpmcodec.models.parameterization import x_0_of
from ddpmcodec.models.photo_unet import PhotoUNet
from ddpmcodec.models.process import abar_of_snr

CHANNELS = 3
BATCH_PIXELS = 1 << 16  # pixels of many small pictures that are evaluated at once

Network = PhotoUNet | DDPMUNet


def build(config: dict[str, Any], dropout: float = 0.0) -> Network:
    """Build the network that a configuration describes, with new weights.

    Args:
        dropout: of the paper's U-Net, in training.

    Raises:
        ModelError: the configuration is not understood.
    """
    architecture = config.get("architecture")
    if architecture == photo_layout.ARCHITECTURE:
        layout = photo_layout.parse(config)
        return PhotoUNet(layout.channels, layout.blocks, layout.embedding, layout.unshuffle)
    if architecture == ddpm_config.ARCHITECTURE:
        return _ddpm_unet(config, dropout)
    raise ModelError(f"unknown architecture {architecture!r}")


def _ddpm_unet(config: dict[str, Any], dropout: float) -> DDPMUNet:
    """Build the paper's U-Net, with the variance that a model keeps for each timestep."""
    c = ddpm_config.parse(config)
    levels = build_levels(config)
    if not isinstance(levels, DiscreteLevels):
        raise ModelError("the model's noise levels are not discrete, which the paper's network needs")
    network = DDPMUNet(c, 2 * c.planes if c.variance == "learned-range" else c.planes, dropout)
    if c.variance in ("fitted", "learned"):
        network.variance_fraction = torch.nn.Parameter(torch.ones(levels.T), requires_grad=c.variance == "learned")
    return network


def of(model: Model) -> Network:
    """Build the network of a model, in fp32, for evaluation only.

    Raises:
        ModelError: the tensors do not fit the configuration, or it is not understood.
    """
    with torch.device("meta"):  # sizes that the tensors do not have cost no memory
        network = build(model.config)
    try:
        network.load_state_dict({name: torch.tensor(value) for name, value in model.tensors.items()}, assign=True)
    except RuntimeError as e:
        raise ModelError(f"the tensors do not fit the configuration: {' '.join(str(e).split())[:200]}") from e
    network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def model_of(
    name: str, config: dict[str, Any], tensors: Mapping[str, torch.Tensor], best_visited: Mapping[int, Sequence[int]] | None = None
) -> Model:
    """Make a model of a configuration and tensors, whose network has been built once.

    Raises:
        ModelError: the tensors do not fit the configuration, or it is not understood.
    """
    with torch.device("meta"):
        sizes = {key: value.shape for key, value in build(config).state_dict().items()}
    for key in sorted(sizes.keys() | tensors.keys()):  # what does not fit is not converted: it may claim to be huge without having values
        if key not in tensors or tensors[key].shape != sizes.get(key):
            raise ModelError(f"the tensors do not fit the configuration: {key} is missing, not known, or of another shape")
    return Model(name, config, {key: value.detach().cpu().float().numpy() for key, value in tensors.items()}, best_visited)


class Prediction(NamedTuple):
    """The prediction of a network for x_t.

    Attributes:
        x_0: (B, 3, H, W), not clamped.
        variance_fraction: f of `models/reverse.py`, which broadcasts with x_0; None where the variance is fixed.
    """

    x_0: torch.Tensor
    variance_fraction: torch.Tensor | None


@torch.no_grad()
def predict(model: Model, x_t: torch.Tensor, level: int, bfloat16: bool = False) -> Prediction:
    """Evaluate a model's network at x_t (B, 3, H, W), of any size.

    Its input is padded to a multiple of its stride, in the network's precision; many pictures are evaluated `BATCH_PIXELS` at a time.

    Raises:
        ModelError: it predicts values that are not numbers, or cannot be built.
    """
    threads.tell(torch)
    if model.planes == 1:
        x_t, level = planes.merged(x_t, level, model.levels)
    network, snr = model.network, model.levels.snr(level)
    height, width = x_t.shape[2:]
    stride, parameter = network.stride, next(network.parameters())
    area = -(-height // stride) * -(-width // stride) * stride**2
    parts = (torch.from_numpy(pad_to_multiple(part.cpu().numpy(), stride)) for part in x_t.split(max(1, BATCH_PIXELS // area)))
    parts = (part.to(parameter).contiguous(memory_format=torch.channels_last) for part in parts)
    with (
        torch.autocast(parameter.device.type, torch.bfloat16, enabled=bfloat16),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
    ):
        outputs = [network(part, network.condition(level, snr, part))[:, :, :height, :width].to(x_t) for part in parts]
    output = torch.cat(outputs)
    abar_s = float(model.levels.alpha_bars[level - 1]) if isinstance(model.levels, DiscreteLevels) else None
    x_0 = x_0_of(model.prediction, output[:, : model.planes], x_t, abar_of_snr(snr), abar_s)
    if not math.isfinite(float(x_0.sum())):
        raise ModelError(f"model {model.name!r} predicts values that are not numbers")
    return Prediction(x_0.repeat(1, CHANNELS // model.planes, 1, 1), variance_fraction(network, output, level, model.planes))


def predict_x_0(model: Model, x_t: torch.Tensor, level: int, bfloat16: bool = False) -> torch.Tensor:
    """Return x0hat(x_t, t), (B, 3, H, W), not clamped; errors as `predict`."""
    return predict(model, x_t, level, bfloat16).x_0


def variance_fraction(network: Callable, output: torch.Tensor, t, channels: int = CHANNELS) -> torch.Tensor | None:
    """Return f of `models/reverse.py` at timestep t (a number or one a picture); None where the variance is fixed.

    It is in the network's output, one for each element, or the network has one for each timestep.
    """
    if output.shape[1] > channels:
        return (output[:, channels:] + 1) / 2
    fractions = getattr(network, "variance_fraction", None)
    return None if fractions is None else fractions[t - 1].view(-1, 1, 1, 1)

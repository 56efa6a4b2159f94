"""The device that a network runs on, and its precision.

bfloat16 is for convolutions alone: the noise level, which scales and shifts their output, stays in fp32, and sums are fp32 everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddpmcodec.errors import ModelError

if TYPE_CHECKING:  # the command line needs the names, and no torch
    import torch

    from ddpmcodec.models.model import Model
    from ddpmcodec.models.torch_denoiser import TorchDenoiser

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast there: on a CPU it is where the processor multiplies it."""
    import torch

    return torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()


def find_device(name: str) -> torch.device:
    """Return the device of one of `DEVICES`: "auto" is a GPU where there is one.

    Raises:
        ModelError: there is no such device.
        ValueError: the name is not one of `DEVICES`.
    """
    import torch

    if name not in DEVICES:
        raise ValueError(f"device {name!r} is not one of {DEVICES}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise ModelError("torch finds no CUDA device here")
    return torch.device(name)


def denoiser(model: Model, device: str = "auto", precision: str = "fp32", *, bfloat16_from: int = 0) -> TorchDenoiser:
    """Return a model as a denoiser that is ready to run on a device.

    Args:
        device: one of `DEVICES`.
        precision: one of `PRECISIONS`; "auto" is bf16 where that is fast.
        bfloat16_from: the first level at which bf16 is used, where it is.

    Raises:
        ModelError: there is no such device, or the network is one for fp32 only.
        ValueError: the device or the precision has no such name.
    """
    from ddpmcodec.models.torch_denoiser import TorchDenoiser

    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {PRECISIONS}")
    place = find_device(device)
    if precision == "bf16" and not model.supports_bfloat16:
        raise ModelError(f"model {model.name!r} runs in fp32 only")
    fast = precision == "bf16" or (precision == "auto" and model.supports_bfloat16 and has_bfloat16(place))
    return TorchDenoiser(model, place, bfloat16_from if fast else None)

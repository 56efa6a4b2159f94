"""The library that a network runs on, its device, and its precision.

Photo models run on ncnn or torch, the paper's on torch; torch is imported only where it is to run, or where there may be a GPU.
bfloat16 is for convolutions alone: the noise level, which scales and shifts their output, stays in fp32, and sums are fp32 everywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ddpmcodec.errors import ModelError
from ddpmcodec.models import ncnn_runtime, processor
from ddpmcodec.models.libraries import is_installed, require_torch

if TYPE_CHECKING:  # the command line needs the names, and no torch
    from ddpmcodec.denoiser import Denoiser
    from ddpmcodec.models.model import Model

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
BACKENDS = ("auto", "ncnn", "torch")
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap")  # one is there where Linux has a GPU of torch's


def has_bfloat16(kind: str) -> bool:
    """Whether bfloat16 is fast on a device of this kind, "cpu" or "cuda": on a CPU it is where the processor multiplies it."""
    if kind != "cuda":
        return processor.multiplies_bfloat16()
    import torch

    return torch.cuda.is_bf16_supported()


def may_have_gpu() -> bool:
    """Whether it is worth to import torch to look for a GPU."""
    return is_installed("torch") and (sys.platform != "linux" or any(Path(path).exists() for path in GPUS))


def kind_of_device(name: str) -> str:
    """Return the kind, "cpu" or "cuda", of one of `DEVICES`: "auto" is a GPU where there is one.

    Raises:
        ModelError: there is no such device, or torch is missing, which it needs.
        ValueError: the name is not one of `DEVICES`.
    """
    if name not in DEVICES:
        raise ValueError(f"device {name!r} is not one of {DEVICES}")
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    require_torch(f"device {name}")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise ModelError("torch finds no CUDA device here")
    return "cpu"


def denoiser(model: Model, device: str = "auto", precision: str = "fp32", *, backend: str = "auto", bfloat16_from: int = 0) -> Denoiser:
    """Return a model as a denoiser that is ready to run on a device.

    Args:
        device: one of `DEVICES`.
        precision: one of `PRECISIONS`; "auto" is bf16 where that is fast.
        backend: one of `BACKENDS`; "auto" is ncnn for photo models on the CPU, where it is installed and bf16 is not to run. A `network`
            that has been put in a model's place runs on torch only.
        bfloat16_from: the first level at which bf16 is used, where it is.

    Raises:
        ModelError: there is no such device or library, the network is one for fp32 only, or the backend cannot run it so.
        ValueError: the device, the precision or the backend has no such name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {PRECISIONS}")
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {BACKENDS}")
    if precision == "bf16" and not model.is_photo:
        raise ModelError(f"model {model.name!r} runs in fp32 only")
    if backend == "ncnn":
        _check_ncnn(model, device, precision)
    kind = "cpu" if backend == "ncnn" else kind_of_device(device)
    can_be_fast = precision != "fp32" and model.is_photo and backend != "ncnn" and is_installed("torch")
    fast = precision == "bf16" or (can_be_fast and has_bfloat16(kind))
    if backend == "ncnn" or (backend == "auto" and kind == "cpu" and model.is_photo and not fast and ncnn_runtime.is_available()):
        from ddpmcodec.models.ncnn_denoiser import NcnnDenoiser

        return NcnnDenoiser(model)
    require_torch(f"model {model.name!r}")
    import torch

    from ddpmcodec.models.torch_denoiser import TorchDenoiser

    return TorchDenoiser(model, torch.device(kind), bfloat16_from if fast else None)


def _check_ncnn(model: Model, device: str, precision: str) -> None:
    """Raise the errors of `denoiser` that are of ncnn."""
    if device not in DEVICES:
        raise ValueError(f"device {device!r} is not one of {DEVICES}")
    if not model.is_photo:
        raise ModelError(f"model {model.name!r} is no photo model, and ncnn runs no other")
    if precision == "bf16":
        raise ModelError("ncnn runs in fp32, not in bf16")
    if device == "cuda":
        raise ModelError("ncnn runs on the CPU, not on CUDA")
    if not ncnn_runtime.is_available():
        raise ModelError(f"backend {ncnn_runtime.NEEDS_NCNN}")

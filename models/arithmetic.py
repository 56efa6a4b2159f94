"""The library that a network runs on, its device, and its precision.

Photo models run on ncnn, on the CPU or through Vulkan, or on torch, the paper's on torch; torch is imported only where it is to run, or
where there may be CUDA. bfloat16 is for convolutions alone: the noise level, which scales and shifts their output, stays in fp32,
and sums are fp32 everywhere. fp16 is how Vulkan stores what it computes in fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddpmcodec.errors import ModelError
from ddpmcodec.models import devices, ncnn_runtime, processor
from ddpmcodec.models.devices import VulkanDevice
from ddpmcodec.models.libraries import is_installed, require_torch

if TYPE_CHECKING:  # the command line needs the names, and no torch
    from ddpmcodec.denoiser import Denoiser
    from ddpmcodec.models.model import Model

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BACKENDS = ("auto", "ncnn", "torch")


def has_bfloat16(kind: str) -> bool:
    """Whether bfloat16 is known to be fast on a device of this kind, "cpu" or one of `devices.OF_TORCH`: where it is multiplied."""
    if kind == "cpu":
        return processor.multiplies_bfloat16()
    import torch

    return kind == "cuda" and torch.cuda.is_bf16_supported()


def kind_of_device(name: str) -> str:
    """Return the kind, "cpu" or one of `devices.OF_TORCH`, of a device that is not Vulkan's: "auto" is cuda where there is one.

    Raises:
        ModelError: there is no such device, or torch is missing, which it needs.
    """
    if name == "cpu" or (name == "auto" and not (is_installed("torch") and devices.may_have_cuda())):
        return "cpu"
    require_torch(f"device {name}")
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return devices.of_torch(name, None if accelerator is None else accelerator.type)


def vulkan_device(name: str) -> VulkanDevice:
    """Return the device that "vulkan" or "vulkan:N" stands for.

    Raises:
        ModelError: there is none, or ncnn is missing.
    """
    if not ncnn_runtime.is_available():
        raise ModelError(f"device {name} needs ncnn: {ncnn_runtime.NEEDS_NCNN}")
    return devices.named(name, ncnn_runtime.vulkan_devices())


def check_device(name: str) -> None:
    """Do nothing where a device is here, or is "auto".

    Raises:
        ModelError: it is not here, or a library that it needs is missing.
        ValueError: there is no such name.
    """
    devices.check(name)
    if devices.is_vulkan(name):
        vulkan_device(name)
    elif name != "auto":
        kind_of_device(name)


def denoiser(
    model: Model,
    device: str = "auto",
    precision: str = "fp32",
    *,
    backend: str = "auto",
    bfloat16_from: int = 0,
    vulkan: bool = False,
) -> Denoiser:
    """Return a model as a denoiser that is ready to run on a device.

    Args:
        device: one of `devices.DEVICES`, or vulkan:N; "auto" is cuda where there is one, else Vulkan where it may be and is better
            (`devices.is_better`), else the CPU. Vulkan that does not compute what the CPU does, or fails, is passed over.
        precision: one of `PRECISIONS`; "auto" is bf16 where that is fast.
        backend: one of `BACKENDS`; "auto" is ncnn for photo models on Vulkan, and on the CPU, where it is installed and bf16 is not to run.
            A `network` that has been put in a model's place runs on torch only.
        bfloat16_from: the first level at which bf16 is used, where it is.
        vulkan: whether device "auto" may be Vulkan.

    Raises:
        ModelError: there is no such device or library, the network is one for fp32 only, or the backend or the device cannot run it so.
        ValueError: the device, the precision or the backend has no such name.
    """
    devices.check(device)
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {PRECISIONS}")
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is not one of {BACKENDS}")
    if precision in ("bf16", "fp16") and not model.is_photo:
        raise ModelError(f"model {model.name!r} runs in fp32 only")
    if precision == "fp16" and not devices.is_vulkan(device):
        raise ModelError(f"fp16 is for Vulkan, and the device is {device}")
    if backend == "ncnn" or devices.is_vulkan(device):
        _check_ncnn(model, device, precision, backend)
    kind = "cpu" if backend == "ncnn" or devices.is_vulkan(device) else kind_of_device(device)
    can_be_fast = precision != "fp32" and model.is_photo and backend != "ncnn" and is_installed("torch")
    fast = precision == "bf16" or (can_be_fast and has_bfloat16(kind))
    if kind == "cpu" and backend != "torch" and precision != "bf16" and model.is_photo and ncnn_runtime.is_available():
        from ddpmcodec.models.ncnn_denoiser import NcnnDenoiser

        if devices.is_vulkan(device):
            return NcnnDenoiser(model, vulkan_device(device), precision == "fp16")
        found = _on_better_gpu(model, fast) if vulkan and device == "auto" else None
        if found is not None or not fast:
            return found or NcnnDenoiser(model)
    require_torch(f"model {model.name!r}")
    import torch

    from ddpmcodec.models.torch_denoiser import TorchDenoiser

    return TorchDenoiser(model, torch.device(kind), bfloat16_from if fast else None)


def _on_better_gpu(model: Model, bfloat16: bool) -> Denoiser | None:
    """Return a photo model on the Vulkan device that is better than the CPU, which may be fast at bfloat16; None where none is."""
    from ddpmcodec.models.ncnn_denoiser import NcnnDenoiser

    if not devices.may_have_vulkan():
        return None
    gpu = devices.best(ncnn_runtime.vulkan_devices())
    if gpu is None or not devices.is_better(gpu, bfloat16):
        return None
    try:
        return NcnnDenoiser(model, gpu, or_cpu=True)
    except ModelError:
        return None


def _check_ncnn(model: Model, device: str, precision: str, backend: str) -> None:
    """Raise the errors of `denoiser` that are of ncnn, and of Vulkan, for which it is needed."""
    name = f"device {device}" if devices.is_vulkan(device) else "ncnn"
    if backend == "torch":
        raise ModelError(f"{name} needs the backend ncnn, not torch")
    if not model.is_photo:
        raise ModelError(f"model {model.name!r} is no photo model, and {name} runs no other")
    if precision == "bf16":
        raise ModelError(f"{name} runs no bf16")
    if device in devices.OF_TORCH:
        raise ModelError(f"ncnn runs on the CPU and on Vulkan, not on {device.upper()}")
    if not ncnn_runtime.is_available():
        raise ModelError(f"{name}: {ncnn_runtime.NEEDS_NCNN}")

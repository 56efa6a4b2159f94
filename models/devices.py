"""The devices that networks run on: their names, and which of those that are here a name stands for. No library is imported for it."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ddpmcodec.errors import ModelError

DEVICES = ("auto", "cpu", "vulkan", "cuda", "mps", "xpu")  # and vulkan:N
OF_TORCH = ("cuda", "mps", "xpu")
GPUS = ("discrete", "integrated")  # what "vulkan" stands for, best first
ONE_OF_VULKAN = re.compile("vulkan:([0-9]{1,3})")
# Linux has one of these where torch's CUDA (which AMD's GPUs are to it, too), or Vulkan, may find a GPU.
NODES_OF_CUDA = ("nvidiactl", "kfd", "dxg", "nvmap")
NODES_OF_VULKAN = ("nvidia[0-9]*", "dri/renderD*", "kgsl-3d0", "mali[0-9]*")


class VulkanDevice(NamedTuple):
    """A device that ncnn lists.

    Attributes:
        number: its place in the list, from 0 on.
        kind: one of `GPUS`, "virtual" or "software".
    """

    number: int
    kind: str
    name: str

    def __str__(self) -> str:
        return f"vulkan:{self.number} {self.name}"


def check(name: str) -> None:
    """Do nothing where a name is one of `DEVICES`, or vulkan:N.

    Raises:
        ValueError: it is not.
    """
    if name not in DEVICES and not ONE_OF_VULKAN.fullmatch(name):
        raise ValueError(f"device {name!r} is not one of {', '.join(DEVICES)}, vulkan:N")


def is_vulkan(name: str) -> bool:
    """Whether a name asks for Vulkan."""
    return name.startswith("vulkan")


def best(found: Sequence[VulkanDevice]) -> VulkanDevice | None:
    """Return the first of the best kind of `GPUS`; None where there is none, whatever else is listed."""
    return min((each for each in found if each.kind in GPUS), key=lambda each: GPUS.index(each.kind), default=None)


def named(name: str, found: Sequence[VulkanDevice]) -> VulkanDevice:
    """Return the device that "vulkan" or "vulkan:N" stands for, among those listed.

    Raises:
        ModelError: there is none.
    """
    numbered = ONE_OF_VULKAN.fullmatch(name)
    chosen = next((each for each in found if each.number == int(numbered[1])), None) if numbered else best(found)
    if chosen is None:
        wanted = name if numbered else "GPU with Vulkan"
        others = ", ".join(f"{each} ({each.kind})" for each in found)
        raise ModelError(f"there is no {wanted} here, only {others}" if found else "there is no Vulkan device here")
    return chosen


def of_torch(name: str, found: str | None) -> str:
    """Return the kind, "cpu" or one of `OF_TORCH`, that a name stands for: "auto" is cuda where that is here, and no other.

    Args:
        found: the kind of accelerator that torch finds here; None where it finds none.

    Raises:
        ModelError: it is another one.
    """
    if name == "auto":
        return "cuda" if found == "cuda" else "cpu"
    if name != found:
        raise ModelError(f"torch finds no {name.upper()} device here")
    return name


def is_better(gpu: VulkanDevice, bfloat16: bool) -> bool:
    """Whether "auto" prefers a GPU to the processor, which may be fast at bfloat16: to such a one only a GPU with memory of its own."""
    return gpu.kind == "discrete" or not bfloat16


def may_have_cuda(system: str = sys.platform, root: Path = Path("/dev")) -> bool:
    """Whether it is worth to import torch to look for CUDA."""
    return system != "darwin" and _has_node(NODES_OF_CUDA, system, root)


def may_have_vulkan(system: str = sys.platform, root: Path = Path("/dev")) -> bool:
    """Whether it is worth to start a process to look for a GPU with Vulkan."""
    return _has_node(NODES_OF_VULKAN, system, root)


def _has_node(patterns: Sequence[str], system: str, root: Path) -> bool:
    """Whether there is one of these device nodes; True where the system is not Linux, and has none of any device."""
    return system != "linux" or any(any(root.glob(pattern)) for pattern in patterns)

"""Networks on ncnn: all that is to be known of the package, so that nothing else imports it.

- It computes in half precision by default, and an option that is changed after loading makes garbage of the output.
- By default it takes all processors, whatever the process may use; a number that is changed after loading is obeyed in part only.
- Weights and arrays that it is given it may keep a pointer to, may overwrite, and reads as contiguous float32 whatever they are.
- Inputs of another shape than the network's give zeros, and errors are return codes.
- A forked child hangs if it computes with several threads where its parent did (`threads.count`), and cannot use its parent's Vulkan.
- Without a Vulkan driver it computes on the CPU, saying nothing; with a broken one it may crash, as soon as devices are listed.
- It writes some lines a Vulkan device to stderr. Its drivers have gone when Python's last objects go, networks among them.
"""

import atexit
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from ddpmcodec.errors import ModelError
from ddpmcodec.models.devices import VulkanDevice
from ddpmcodec.models.libraries import is_installed

IN_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")
NEEDS_NCNN = "ncnn is not installed: pip install ncnn"
KINDS = ("discrete", "integrated", "virtual", "software")  # of Vulkan devices, as ncnn numbers them
LIST = """
import json, ncnn
found = [ncnn.get_gpu_info(index) for index in range(ncnn.get_gpu_count())]
print(json.dumps([(each.type(), each.device_name()) for each in found]))
"""
LISTING_SECONDS = 60  # in which a driver has to answer

_process_of_vulkan: int | None = None  # the process that has started it, this one or one that it was forked from
_on_vulkan: "WeakSet[Network]" = WeakSet()


def is_available() -> bool:
    """Whether ncnn is installed; it is not imported."""
    return is_installed("ncnn")


@cache
def vulkan_devices() -> tuple[VulkanDevice, ...]:
    """List the Vulkan devices here, by a process of its own: none where that fails."""
    if not is_available() or not sys.executable:
        return ()
    with suppress(OSError, ValueError, IndexError, subprocess.SubprocessError):
        command = [sys.executable, "-P", "-c", LIST]  # -P: nothing is imported from the directory it runs in
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LISTING_SECONDS, check=True)
        return tuple(VulkanDevice(i, KINDS[kind], name) for i, (kind, name) in enumerate(json.loads(done.stdout)))
    return ()


def start_vulkan() -> None:
    """Start Vulkan in this process, where it has not been.

    Raises:
        ModelError: a process from which this one was forked has started it.
    """
    global _process_of_vulkan
    if _process_of_vulkan is None:
        import ncnn

        _process_of_vulkan = os.getpid()
        with _silent_stderr():
            ncnn.get_gpu_count()
        atexit.register(_clear)
    elif _process_of_vulkan != os.getpid():
        raise ModelError("a forked process cannot use Vulkan, which its parent has used: start it by spawn, or use the CPU")


def _clear() -> None:
    for network in _on_vulkan:
        network.clear()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Let nothing be written to stderr, not even by libraries."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Network:
    """A network that has been loaded.

    Args:
        text: of its layers, or the file that has it.
        weights: of the layers, in their order, or the file that has them.
        inputs: the shape of each input, by name; None for sizes that may be any.
        threads: the number that it computes with.
        gpu: the Vulkan device that it runs on; None for the CPU.
        half: keep weights and what layers compute in fp16, where the device can; they compute in fp32.

    Raises:
        ModelError: ncnn cannot load it, or has no such device.
    """

    def __init__(
        self,
        text: str | Path,
        weights: bytes | Path,
        inputs: Mapping[str, tuple[int | None, ...]],
        threads: int,
        gpu: VulkanDevice | None = None,
        half: bool = False,
    ):
        import ncnn

        self.inputs, self.gpu = dict(inputs), gpu
        self._mat = ncnn.Mat
        self._net = ncnn.Net()
        for option in IN_HALF:
            setattr(self._net.opt, option, half and option == "use_fp16_storage")
        self._net.opt.use_vulkan_compute = gpu is not None
        # The network's own would keep what the largest picture took.
        self._allocators = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        self._net.opt.blob_allocator, self._net.opt.workspace_allocator = self._allocators
        self._net.opt.num_threads = self.threads = threads
        if gpu is not None:
            start_vulkan()
            if gpu.number >= ncnn.get_gpu_count():
                raise ModelError(f"there is no {gpu} here any more")
            self._net.set_vulkan_device(gpu.number)
            _on_vulkan.add(self)
        _check(self._net.load_param_mem(text) if isinstance(text, str) else self._net.load_param(str(text)), "read the layers")
        if isinstance(weights, Path):
            _check(self._net.load_model(str(weights)), "read the weights")
            return
        reader = _reader(weights)
        _check(self._net.load_model(reader), "read the weights")
        if reader.position != len(weights):
            raise ModelError("ncnn has not read all of the network's weights")

    def __call__(self, output: str, **arrays: np.ndarray) -> np.ndarray:
        """Return an output, float32, for the inputs by name, whose shapes are checked.

        Raises:
            ModelError: ncnn fails.
            ValueError: an input is missing, not known, or not of its shape.
        """
        if arrays.keys() != self.inputs.keys():
            raise ValueError(f"the network's inputs are {', '.join(self.inputs)}, not {', '.join(arrays)}")
        with self._net.create_extractor() as extractor:
            for name, value in arrays.items():
                _check_shape(name, value, self.inputs[name])
                own = np.ascontiguousarray(value, np.float32)
                _check(extractor.input(name, self._mat(own).clone()), f"take {name}")
            code, found = extractor.extract(output)
            _check(code, "compute" if self.gpu is None else f"compute on {self.gpu}, whose memory may not be enough")
            result = np.array(found)  # a copy: the extractor's memory goes
            del found
        for allocator in self._allocators:
            allocator.clear()
        return result

    def clear(self) -> None:
        """Give up what it has loaded; it computes no more."""
        self._net.clear()


def _check(code: int, what: str) -> None:
    if code != 0:
        raise ModelError(f"ncnn cannot {what}: code {code}")


def _check_shape(name: str, value: np.ndarray, shape: tuple[int | None, ...]) -> None:
    if value.ndim != len(shape) or not value.size or any(b not in (None, a) for a, b in zip(value.shape, shape, strict=True)):
        raise ValueError(f"{name} is of shape {value.shape}, not {shape}")


def _reader(data: bytes) -> Any:
    """Return ncnn's reader of bytes. What is read so is copied; from memory given as such, ncnn would keep pointers to it."""
    import ncnn

    address, name = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_GetName
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]

    class Reader(ncnn.DataReader):
        position = 0

        def read(self, buffer: Any, size: int) -> int:
            part = data[self.position : self.position + size]
            ctypes.memmove(address(buffer, name(buffer)), part, len(part))
            self.position += len(part)
            return len(part)

    return Reader()

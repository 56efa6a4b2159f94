"""Networks on ncnn: all that is to be known of the package, so that nothing else imports it.

- It computes in half precision by default, and an option that is changed after loading makes garbage of the output.
- By default it takes all processors, whatever the process may use; a number that is changed after loading is obeyed in part only.
- Weights and arrays that it is given it may keep a pointer to, may overwrite, and reads as contiguous float32 whatever they are.
- Inputs of another shape than the network's give zeros, and errors are return codes.
- A forked child hangs if it computes with several threads where its parent did (`threads.count`).
"""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddpmcodec.errors import ModelError
from ddpmcodec.models.libraries import is_installed

IN_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage")
NEEDS_NCNN = "ncnn is not installed: pip install ncnn"


def is_available() -> bool:
    """Whether ncnn is installed; it is not imported."""
    return is_installed("ncnn")


class Network:
    """A network that has been loaded.

    Args:
        text: of its layers, or the file that has it.
        weights: of the layers, in their order, or the file that has them.
        inputs: the shape of each input, by name; None for sizes that may be any.
        threads: the number that it computes with.

    Raises:
        ModelError: ncnn cannot load it.
    """

    def __init__(self, text: str | Path, weights: bytes | Path, inputs: Mapping[str, tuple[int | None, ...]], threads: int):
        import ncnn

        self.inputs = dict(inputs)
        self._mat = ncnn.Mat
        self._net = ncnn.Net()
        for option in IN_HALF:
            setattr(self._net.opt, option, False)
        self._net.opt.use_vulkan_compute = False
        # The network's own would keep what the largest picture took.
        self._allocators = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        self._net.opt.blob_allocator, self._net.opt.workspace_allocator = self._allocators
        self._net.opt.num_threads = self.threads = threads
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
            _check(code, "compute")
            result = np.array(found)  # a copy: the extractor's memory goes
            del found
        for allocator in self._allocators:
            allocator.clear()
        return result


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

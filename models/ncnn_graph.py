"""A photo denoiser as a network of ncnn's: the text of its layers, and the bytes of their weights. Needs no ncnn."""

from collections.abc import Mapping

import numpy as np

from ddpmcodec.models import photo_graph
from ddpmcodec.models.photo_layout import Layout

MAGIC = 7767517  # first line of every text
MULTIPLY, ADD = 2, 0  # of a BinaryOp
RAW = bytes(4)  # before weights that are float32 as they are


def graph(layout: Layout, tensors: Mapping[str, np.ndarray]) -> tuple[str, bytes]:
    """Return the text of the layers of a photo denoiser (`photo_graph`), and their weights, given its tensors by name.

    Raises:
        KeyError: a tensor of the layout is missing.
    """
    g = _Graph(tensors)
    photo_graph.append(g, layout, g.layer("Input", "x", []), g.layer("Input", "e", []), "v")
    return g.text(), b"".join(g.weights)


def inputs(layout: Layout) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of the inputs, by name; None for sizes that may be any."""
    return {"x": (3, None, None), "e": (layout.embedding,)}


class _Graph:
    """The layers so far (`photo_graph.Graph`); each has one output of its own name, but for those of `split`."""

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        self.tensors = tensors
        self.lines: list[str] = []
        self.weights: list[bytes] = []
        self.blobs = 0

    def layer(self, kind: str, name: str, inputs: list[str], parameters: str = "", outputs: list[str] | None = None) -> str:
        """Append a layer; return its first output."""
        outputs = outputs or [name]
        self.blobs += len(outputs)
        self.lines.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, parameters]).rstrip())
        return outputs[0]

    def split(self, value: str, count: int) -> list[str]:
        """Layers may overwrite their input: hence a copy for each use."""
        names = [f"{value}/{k}" for k in range(count)]
        self.layer("Split", f"{value}/split", [value], outputs=names)
        return names

    def unshuffle(self, name: str, value: str, factor: int) -> str:
        return self.layer("Reorg", name, [value], f"0={factor} 1=0")

    def shuffle(self, name: str, value: str, factor: int) -> str:
        return self.layer("PixelShuffle", name, [value], f"0={factor} 1=0")

    def convolution(self, name: str, value: str, stride: int = 1, padding: int = 1) -> str:
        weight = self.tensors[f"{name}.weight"]
        self._store(weight, self.tensors[f"{name}.bias"])
        parameters = f"0={weight.shape[0]} 1={weight.shape[2]} 3={stride} 4={padding} 5=1 6={weight.size}"
        return self.layer("Convolution", name, [value], parameters)

    def deconvolution(self, name: str, value: str) -> str:
        weight = self.tensors[f"{name}.weight"].transpose(1, 0, 2, 3)
        self._store(weight, self.tensors[f"{name}.bias"])
        return self.layer("Deconvolution", name, [value], f"0={weight.shape[0]} 1=2 3=2 5=1 6={weight.size}")

    def vector(self, name: str, value: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Append a linear layer, whose output (C,) becomes (C, 1, 1): it is to broadcast with pictures."""
        self._store(weight, bias)
        flat = self.layer("InnerProduct", f"{name}/flat", [value], f"0={len(bias)} 1=1 2={weight.size}")
        return self.layer("Reshape", name, [flat], f"0=1 1=1 2={len(bias)}")

    def silu(self, name: str, value: str) -> str:
        return self.layer("Swish", name, [value])

    def add(self, name: str, one: str, other: str) -> str:
        return self.layer("BinaryOp", name, [one, other], f"0={ADD}")

    def multiply(self, name: str, one: str, other: str) -> str:
        return self.layer("BinaryOp", name, [one, other], f"0={MULTIPLY}")

    def _store(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self.weights += [RAW, *(np.ascontiguousarray(each, "<f4").tobytes() for each in (weight, bias))]

    def text(self) -> str:
        """Return the text of all layers."""
        return "\n".join([str(MAGIC), f"{len(self.lines)} {self.blobs}", *self.lines, ""])

"""The photo denoiser as a network of ncnn's: the text of its layers, and the bytes of their weights. Needs no ncnn.

Its inputs are x, (3, H, W), and e, the embedding of the noise level, (width,); its output is v, (3, H, W).
"""

from collections.abc import Mapping

import numpy as np

from ddpmcodec.models.photo_layout import Layout

MAGIC = 7767517  # first line of every text
MULTIPLY, ADD = 2, 0  # of a BinaryOp
RAW = bytes(4)  # before weights that are float32 as they are


def graph(layout: Layout, tensors: Mapping[str, np.ndarray]) -> tuple[str, bytes]:
    """Return the text of the layers of a photo denoiser, and their weights, given its tensors by name.

    Raises:
        KeyError: a tensor of the layout is missing.
    """
    g = _Graph(tensors)
    channels, unshuffle = layout.channels, layout.unshuffle
    g.layer("Input", "x", [])
    g.layer("Input", "e", [])
    embeddings = iter(g.split("e", 2 * len(layout.residual_blocks())))

    def blocks(side: str, i: int, h: str) -> str:
        for j in range(layout.blocks[i]):
            h = _block(g, f"{side}.{i}.{j}", h, next(embeddings), next(embeddings))
        return h

    h = g.convolution("inp", g.layer("Reorg", "unshuffled", ["x"], f"0={unshuffle} 1=0"))
    skips = []
    for i in range(len(channels)):
        h = blocks("enc", i, h)
        if i < len(channels) - 1:
            skip, h = g.split(h, 2)
            skips.append(skip)
            h = g.convolution(f"down.{i}", h, stride=2, padding=0)
    for i in reversed(range(len(channels))):
        h = blocks("dec", i, h)
        if i:
            h = g.layer("BinaryOp", f"skip.{i - 1}", [g.deconvolution(f"up.{i - 1}", h), skips.pop()], f"0={ADD}")
    g.layer("PixelShuffle", "v", [g.convolution("out", h)], f"0={unshuffle} 1=0")
    return g.text(), b"".join(g.weights)


def _block(g: "_Graph", name: str, h: str, e_factor: str, e_shift: str) -> str:
    """Append a residual block, given two blobs of the embedding; return its output."""
    h, skip = g.split(h, 2)
    weight, bias = g.tensors[f"{name}.m.weight"], g.tensors[f"{name}.m.bias"]
    count = len(bias) // 2
    factor = g.vector(f"{name}.factor", e_factor, weight[:count], bias[:count] + np.float32(1))
    shift = g.vector(f"{name}.shift", e_shift, weight[count:], bias[count:])
    h = g.layer("BinaryOp", f"{name}.scaled", [g.convolution(f"{name}.c1", h), factor], f"0={MULTIPLY}")
    h = g.layer("BinaryOp", f"{name}.shifted", [h, shift], f"0={ADD}")
    h = g.convolution(f"{name}.c2", g.layer("Swish", f"{name}.silu", [h]))
    return g.layer("BinaryOp", f"{name}.sum", [h, skip], f"0={ADD}")


class _Graph:
    """Layers in the order of their evaluation; each has one output of its own name, but for those of `split`."""

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

    def split(self, blob: str, count: int) -> list[str]:
        """Return names of a blob, each for one use: layers may overwrite their input."""
        names = [f"{blob}/{k}" for k in range(count)]
        self.layer("Split", f"{blob}/split", [blob], outputs=names)
        return names

    def convolution(self, name: str, blob: str, stride: int = 1, padding: int = 1) -> str:
        """Append the convolution of that name."""
        weight = self.tensors[f"{name}.weight"]
        self._store(weight, self.tensors[f"{name}.bias"])
        parameters = f"0={weight.shape[0]} 1={weight.shape[2]} 3={stride} 4={padding} 5=1 6={weight.size}"
        return self.layer("Convolution", name, [blob], parameters)

    def deconvolution(self, name: str, blob: str) -> str:
        """Append the transposed convolution 2 x 2 of that name, which doubles the sides."""
        weight = self.tensors[f"{name}.weight"].transpose(1, 0, 2, 3)
        self._store(weight, self.tensors[f"{name}.bias"])
        return self.layer("Deconvolution", name, [blob], f"0={weight.shape[0]} 1=2 3=2 5=1 6={weight.size}")

    def vector(self, name: str, blob: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Append a linear layer, whose output (C,) becomes (C, 1, 1): it is to broadcast with pictures."""
        self._store(weight, bias)
        flat = self.layer("InnerProduct", f"{name}/flat", [blob], f"0={len(bias)} 1=1 2={weight.size}")
        return self.layer("Reshape", name, [flat], f"0=1 1=1 2={len(bias)}")

    def _store(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self.weights += [RAW, *(np.ascontiguousarray(each, "<f4").tobytes() for each in (weight, bias))]

    def text(self) -> str:
        """Return the text of all layers."""
        return "\n".join([str(MAGIC), f"{len(self.lines)} {self.blobs}", *self.lines, ""])

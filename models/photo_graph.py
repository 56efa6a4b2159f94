"""The photo denoiser (models/photo_unet.py) as a graph of layers, for runtimes other than torch. Needs none of them.

Its inputs are x, (3, H, W), and e, the embedding of the noise level, (width,); its output is v, (3, H, W).
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ddpmcodec.models.photo_layout import Layout


class Graph(Protocol):
    """A graph that layers are appended to, in the order of their evaluation. Each method returns the name of what its layer computes.

    Attributes:
        tensors: of the denoiser, by name.
    """

    tensors: Mapping[str, np.ndarray]

    def split(self, value: str, count: int) -> list[str]:
        """Return names of a value, each for one use."""

    def unshuffle(self, name: str, value: str, factor: int) -> str:
        """Append a pixel-unshuffle: factor^2 times the channels, in torch's order."""

    def shuffle(self, name: str, value: str, factor: int) -> str:
        """Append its inverse."""

    def convolution(self, name: str, value: str, stride: int = 1, padding: int = 1) -> str:
        """Append the convolution whose tensors have that name."""

    def deconvolution(self, name: str, value: str) -> str:
        """Append the transposed convolution 2 x 2 of that name, which doubles the sides."""

    def vector(self, name: str, value: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Append a linear layer, whose output is to broadcast with pictures: (C, 1, 1)."""

    def silu(self, name: str, value: str) -> str: ...

    def add(self, name: str, one: str, other: str) -> str: ...

    def multiply(self, name: str, one: str, other: str) -> str: ...


def append(g: Graph, layout: Layout, x: str, e: str, v: str) -> None:
    """Append the layers of a denoiser to a graph that has its inputs.

    Args:
        x, e, v: the names of the inputs, and that of the output.
    """
    channels, unshuffle = layout.channels, layout.unshuffle
    embeddings = iter(g.split(e, 2 * len(layout.residual_blocks())))

    def blocks(side: str, i: int, h: str) -> str:
        for j in range(layout.blocks[i]):
            h = _block(g, f"{side}.{i}.{j}", h, next(embeddings), next(embeddings))
        return h

    h = g.convolution("inp", g.unshuffle("unshuffled", x, unshuffle))
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
            h = g.add(f"skip.{i - 1}", g.deconvolution(f"up.{i - 1}", h), skips.pop())
    g.shuffle(v, g.convolution("out", h), unshuffle)


def _block(g: Graph, name: str, h: str, e: str, e_again: str) -> str:
    """Append a residual block."""
    h, skip = g.split(h, 2)
    weight, bias = g.tensors[f"{name}.m.weight"], g.tensors[f"{name}.m.bias"]
    count = len(bias) // 2
    factor = g.vector(f"{name}.factor", e, weight[:count], bias[:count] + np.float32(1))
    shift = g.vector(f"{name}.shift", e_again, weight[count:], bias[count:])
    h = g.multiply(f"{name}.scaled", g.convolution(f"{name}.c1", h), factor)
    h = g.silu(f"{name}.silu", g.add(f"{name}.shifted", h, shift))
    return g.add(f"{name}.sum", g.convolution(f"{name}.c2", h), skip)

"""The layout of a photo denoiser (models/photo_unet.py): its sizes, and the names and shapes of its tensors. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ddpmcodec.errors import ModelError

ARCHITECTURE = "photo-unet"
FIELDS = {"architecture", "channels", "blocks", "embedding", "unshuffle", "levels", "start"}
FREQUENCIES = 32  # of the embedding of the noise level
MAX_SIZE = 4096
MAX_LEVELS, MAX_BLOCKS, MAX_STRIDE = 8, 64, 256  # a picture is padded to the stride: a larger one would cost memory that no picture has


@dataclass(frozen=True)
class Layout:
    """The sizes of a photo denoiser.

    Attributes:
        channels: of each level, from 1/`unshuffle` of the picture's sides down.
        blocks: on each side of each level.
        embedding: width of the embedding of the noise level.
        unshuffle: pixels of a side that become channels.
    """

    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    embedding: int
    unshuffle: int

    @property
    def stride(self) -> int:
        """What the sides of its input are multiples of, in pixels."""
        return self.unshuffle << (len(self.channels) - 1)

    @property
    def pixel(self) -> int:
        """The number of channels that a square of `unshuffle` pixels becomes."""
        return 3 * self.unshuffle**2

    def residual_blocks(self) -> dict[str, int]:
        """Return the channels of each residual block, by name."""
        levels = enumerate(zip(self.channels, self.blocks, strict=True))
        return {f"{side}.{i}.{j}": c for i, (c, count) in levels for side in ("enc", "dec") for j in range(count)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor, by name."""
        width, pixel, channels = self.embedding, self.pixel, self.channels
        out: dict[str, tuple[int, ...]] = {"emb.f": (FREQUENCIES,)}

        def add(name: str, *shape: int, outputs: int | None = None) -> None:
            out[f"{name}.weight"], out[f"{name}.bias"] = shape, (outputs or shape[0],)

        add("emb.l1", width, 2 * FREQUENCIES)
        add("emb.l2", width, width)
        add("inp", channels[0], pixel, 3, 3)
        add("out", pixel, channels[0], 3, 3)
        for block, c in self.residual_blocks().items():
            add(f"{block}.c1", c, c, 3, 3)
            add(f"{block}.c2", c, c, 3, 3)
            add(f"{block}.m", 2 * c, width)
        for i, (fine, coarse) in enumerate(pairwise(channels)):
            add(f"down.{i}", coarse, fine, 2, 2)
            add(f"up.{i}", coarse, fine, 2, 2, outputs=fine)
        return out


def parse(config: Mapping[str, Any]) -> Layout:
    """Return the layout that a model's configuration describes.

    Raises:
        ModelError: it has other fields, or sizes out of their ranges.
    """
    if unknown := sorted(set(config) - FIELDS):
        raise ModelError(f"the model's configuration has an unknown field {unknown[0]!r}")
    if missing := sorted(FIELDS - set(config)):
        raise ModelError(f"the model's configuration lacks {missing[0]!r}")
    channels, blocks, unshuffle = config["channels"], config["blocks"], config["unshuffle"]
    counts = blocks if isinstance(blocks, list) else [blocks]
    sizes = [*channels, *counts, config["embedding"], unshuffle] if isinstance(channels, list) else [0]
    if not all(type(v) is int and 1 <= v <= MAX_SIZE for v in sizes) or not 1 <= len(channels) <= MAX_LEVELS:
        raise ModelError(f"the model's configuration has sizes that are not in 1 ... {MAX_SIZE}")
    if isinstance(blocks, list) and len(blocks) != len(channels):
        raise ModelError(f"the model's configuration has blocks for {len(blocks)} levels and channels for {len(channels)}")
    layout = Layout(tuple(channels), tuple(counts if isinstance(blocks, list) else counts * len(channels)), config["embedding"], unshuffle)
    if max(counts) > MAX_BLOCKS or layout.stride > MAX_STRIDE:
        raise ModelError(f"the model has more than {MAX_BLOCKS} blocks a level or a stride over {MAX_STRIDE}")
    return layout


def check(layout: Layout, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the shapes of tensors, by name, with a layout's.

    Raises:
        ModelError: one is missing, of another shape, or not known.
    """
    wanted = layout.shapes()
    for name in sorted(wanted.keys() | shapes.keys()):
        if name not in shapes:
            raise ModelError(f"the tensors do not fit the configuration: {name} is missing")
        if name not in wanted:
            raise ModelError(f"the tensors do not fit the configuration: {name} is not known")
        if tuple(shapes[name]) != wanted[name]:
            sizes = " x ".join(map(str, wanted[name]))
            raise ModelError(f"the tensors do not fit the configuration: {name} is {' x '.join(map(str, shapes[name]))}, not {sizes}")

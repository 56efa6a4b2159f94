"""What a large picture will take, said before it does."""

import time
from collections.abc import Callable

import torch

from ddpmcodec import decoder, picture
from ddpmcodec.format.container import Container
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.prediction import fold_of, predict_x_0

LARGE = 3_000_000  # pixels
SAMPLE = 512  # pixels of a side, on which the network's time is measured


def announce(say: Callable[[str], None], name: str, pixels: int, model: Model, evaluations: float, padding: float = 1.0) -> None:
    """Say what a picture will take of memory and of time in the network, if it is large.

    Args:
        evaluations: of all its pixels.
        padding: how many times as many pixels the network sees: 16 of a picture one pixel wide.
    """
    seen = pixels * padding
    if seen < LARGE:
        return
    x, level = torch.zeros(1, 3, SAMPLE, SAMPLE), model.levels.nearest(1.0)
    predict_x_0(model, x, level)
    begin = time.perf_counter()
    predict_x_0(model, x, level)
    seconds = (time.perf_counter() - begin) * evaluations * seen / SAMPLE**2
    time_taken = f"{seconds / 60:.0f} minutes" if seconds > 100 else f"{seconds:.0f} s"
    memory = picture.memory(round(seen)) / 1e9
    say(f"{name}: {pixels / 1e6:.1f} megapixels: about {time_taken} in the network, and {memory:.1f} GB of memory")


def announce_decoding(say: Callable[[str], None], name: str, parsed: Container, model: Model) -> None:
    """`announce` of a file's picture."""
    header, evaluations = parsed.header, sum(fold_of(model, level) ** -2 for level in decoder.evaluated(parsed))
    announce(say, name, header.pixels, model, evaluations, header.network_pixels / header.pixels)

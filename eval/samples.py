"""Samples of a model as pictures: (H, W, 3) uint8 arrays, alone, on their way, between two, and beside those they resemble."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ddpmcodec import arrays
from ddpmcodec.errors import DdpmcodecError, InputError
from ddpmcodec.eval import pictures as sets
from ddpmcodec.eval.progress import Counter
from ddpmcodec.models import sampling
from ddpmcodec.models.model import Model
from ddpmcodec.models.reverse import ReverseProcess
from ddpmcodec.models.sampling import Sampler
from ddpmcodec.progress import Note, Progress, silent

PROGRESSIVE = 10  # pictures of a progressive row, and rows
Row = list[np.ndarray]


def split(x: torch.Tensor) -> Row:
    """Return the pictures of (P, 3, H, W) in [-1, 1]."""
    return np.split(arrays.to_pixels(x.numpy()), len(x))


def draw(sampler: Sampler, count: int, shared: int | None = None, progress: Progress = silent) -> tuple[Row, list[Row]]:
    """Draw pictures, and how the first `PROGRESSIVE` of them come about (figure 6): a row of x0hat for each.

    Args:
        shared: the level of an x_t that all pictures are completed from (figure 7).
    """
    latent = None
    if shared is not None:
        sampler, latent = sampler.latent(shared, count)  # a picture of its own
    steps = len(sampler.process)
    shown = np.linspace(0, steps, PROGRESSIVE).round().astype(int).tolist()
    drawn: Row = []
    rows: list[Row] = []
    for x_0, on_the_way in sampling.draw(sampler, count, latent, shown, Counter(progress, count * steps)):
        drawn += split(x_0)
        if len(rows) < PROGRESSIVE:
            rows += [list(row) for row in zip(*map(split, on_the_way), strict=True)]
    return drawn, rows[:PROGRESSIVE]


def beside_nearest(
    drawn: Row, references: Sequence[Path], skipped: Callable[[Path, DdpmcodecError], None], note: Note, page: int | None = None
) -> list[Row]:
    """Put beside each sample the picture that is nearest to it, which `note` is told of; `skipped` and `page` as of `pictures.load`.

    Raises:
        InputError: no picture has the samples' size.
    """
    found = sampling.nearest(np.stack(drawn), (pixels for _, pixels in sets.load(references, skipped, page)))
    wanted = {number for number, _ in found}
    if -1 in wanted:
        raise InputError(f"no picture there has the samples' size, {drawn[0].shape[1]}x{drawn[0].shape[0]}")
    kept = {i: named for i, named in enumerate(sets.load(references, silent, page)) if i in wanted}
    for i, (number, rmse) in enumerate(found):
        note(f"sample {i}: nearest is {kept[number][0]}, RMSE {rmse:.1f} of 255")
    return [[sample, kept[number][1]] for sample, (number, _) in zip(drawn, found, strict=True)]


def between(
    model: Model,
    a: np.ndarray,
    b: np.ndarray,
    visited: Sequence[Sequence[int]],
    lambdas: Sequence[float],
    variance: str | None = None,
    seed: int = 0,
    shared_noise: bool = False,
    progress: Progress = silent,
) -> list[Row]:
    """Interpolate between two pictures of one size (figures 8 and 9): for each list of levels a row of `a`, those of each lambda, `b`.

    Args:
        visited: lists of levels, the first of which both pictures are diffused to.
        shared_noise: as of `sampling.interpolate`.
    """
    x_a, x_b = (torch.from_numpy(arrays.from_pixels(pixels)) for pixels in (a, b))
    advance = Counter(progress, len(visited))
    rows = []
    for levels in visited:
        x = sampling.interpolate(ReverseProcess(model, levels, variance), x_a, x_b, lambdas, seed, shared_noise)
        rows.append([a, *split(x), b])
        advance()
    return rows

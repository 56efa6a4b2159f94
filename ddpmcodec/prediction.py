"""The prediction x0hat of a picture of any size: in tiles where it is large, and with fewer pixels where noise hides the details.

A network for continuous noise sees at high noise the means of 2 x 2 or 4 x 4 pixels, which is a picture with a half or a quarter of the
noise, and its prediction is interpolated: faster, and closer to x_0. Everything here is part of the format.
"""

import functools
import math

import numpy as np

from ddpmcodec.denoiser import Predictor
from ddpmcodec.models.levels import Levels
from ddpmcodec.models.process import abar_of_snr

# Fold, the pixels of a side that the network sees as one, and the last level that has it (sigma 1020 and 361 of 255), in white noise:
# where it does no harm (docs/benchmarks.md).
Folds = tuple[tuple[int, int], ...]
FOLDS: Folds = ((4, -1536), (2, -768))
TILE = 1024  # pixels of a side that are one tile
GRAIN = 64  # tiles begin at multiples of it
HALO = 64  # pixels that a tile's prediction sees beyond it: enough that no seam was measured (up to 128 were tried)


def predict_x_0(denoiser: Predictor, x_t: np.ndarray, level: int, folds: Folds = FOLDS, clamps: bool = True) -> np.ndarray:
    """Return x0hat(x_t, t), (P, 3, H, W) float32, of x_t of the same shape in white noise.

    Args:
        folds: as `FOLDS`.
        clamps: clamp what the network predicts to [-1, 1].

    Raises:
        ModelError: the network predicts values that are not numbers.
    """
    levels = denoiser.levels
    fold = fold_of(levels, level, folds)
    if fold == 1:
        return _tiled(denoiser, x_t, level, clamps)
    height, width = x_t.shape[2:]
    folded_level = levels.nearest(levels.snr(level) * fold**2)
    scale = math.sqrt(abar_of_snr(levels.snr(folded_level)) / abar_of_snr(levels.snr(level)))
    x0hat = _tiled(denoiser, _means(x_t, fold) * np.float32(scale), folded_level, clamps)
    return np.ascontiguousarray(_interpolated(_interpolated(x0hat, fold, 2), fold, 3)[:, :, :height, :width])


def fold_of(levels: Levels, level: int, folds: Folds = FOLDS) -> int:
    """Return the number of pixels of a side that a network with these levels sees as one: 1, 2 or 4."""
    if levels.kind == "continuous":
        for fold, highest in folds:
            if level <= highest:
                return fold
    return 1


def _means(x: np.ndarray, fold: int) -> np.ndarray:
    """Return means of fold x fold pixels of x (P, 3, H, W), which is continued by reflection to multiples of it."""
    height, width = x.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), (0, -height % fold), (0, -width % fold)], mode="reflect")
    rows = functools.reduce(np.add, (padded[:, :, i::fold] for i in range(fold)))
    return functools.reduce(np.add, (rows[..., i::fold] for i in range(fold))) / np.float32(fold**2)


def _interpolated(x: np.ndarray, fold: int, axis: int) -> np.ndarray:
    """Interpolate linearly along a side, to `fold` times as many pixels."""
    places = np.arange(x.shape[axis])
    out = np.empty((*x.shape[: axis + 1], fold, *x.shape[axis + 1 :]), x.dtype)
    for k in range(fold):
        offset = (2 * k + 1 - fold) / (2 * fold)  # from the middle of a pixel, in pixels
        neighbour = np.clip(places + (1 if offset > 0 else -1), 0, len(places) - 1)
        np.add(x, np.float32(abs(offset)) * (x.take(neighbour, axis) - x), out=np.moveaxis(out, axis + 1, 0)[k])
    return out.reshape(*x.shape[:axis], fold * x.shape[axis], *x.shape[axis + 1 :])


def tiles(size: int) -> list[tuple[int, int]]:
    """Return begin and end of the tiles of a side: as few as `TILE` allows, about equally long."""
    count = -(-size // TILE)
    step = -(-size // (count * GRAIN)) * GRAIN if count > 1 else size
    return [(begin, min(begin + step, size)) for begin in range(0, size, step)]


def _tiled(denoiser: Predictor, x_t: np.ndarray, level: int, clamps: bool) -> np.ndarray:
    """Return x0hat, (P, 3, H, W), evaluated tile by tile."""
    rows, columns = (tiles(size) for size in x_t.shape[2:])
    x0hat = np.empty_like(x_t)
    for top, bottom in rows:
        for left, right in columns:
            outer_top, outer_left = max(top - HALO, 0), max(left - HALO, 0)
            outer = denoiser.predict_x_0(x_t[:, :, outer_top : bottom + HALO, outer_left : right + HALO], level)
            inner = outer[:, :, top - outer_top : bottom - outer_top, left - outer_left : right - outer_left]
            x0hat[:, :, top:bottom, left:right] = np.clip(inner, -1, 1) if clamps else inner
    return x0hat

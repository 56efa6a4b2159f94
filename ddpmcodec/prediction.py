"""x0hat of a picture of any size: in tiles where it is large, and with fewer pixels where noise hides the details.

A network for continuous noise sees at high noise the means of 2 x 2 or 4 x 4 pixels, which is a picture with a half or a quarter of the
noise, and its prediction is interpolated: faster, and closer to x_0. Everything here but precision is part of the format.
"""

import math

import torch
import torch.nn.functional as F

from ddpmcodec.models.checkpoint import Model, pad_to_multiple
from ddpmcodec.models.levels import ContinuousLevels
from ddpmcodec.models.process import abar_of_snr

# Pixels of a side that the network sees as one, up to which level (sigma 1020 and 361 of 255): where it does no harm (docs/benchmarks.md).
FOLDS = ((4, -1536), (2, -768))
TILE = 1024  # pixels of a side that are one tile

# Not part of the format: what bfloat16 will do for, so that the pictures of two machines differ by less than 0.1 dB. Levels from sigma
# 127.5 of 255 on, as errors at higher noise persist as low frequencies; files down to this noise; and pictures that take some time.
BFLOAT16_FROM = 0
BFLOAT16_SIGMA = 1.5
BFLOAT16_PIXELS = 1 << 16
GRAIN = 64  # tiles begin at multiples of it
HALO = 64  # pixels that a tile's prediction sees beyond it: where a seam was seen no more (measured up to 128)


def predict_x_0(model: Model, x_t: torch.Tensor, level: int) -> torch.Tensor:
    """x0hat(x_t, t): (P, 3, H, W) in [-1, 1]."""
    fold = fold_of(model, level)
    if fold == 1:
        return _tiled(model, x_t, level, model.bfloat16 and level >= BFLOAT16_FROM)
    height, width = x_t.shape[2:]
    folded_level = model.levels.nearest(model.levels.snr(level) * fold**2)
    scale = math.sqrt(abar_of_snr(model.levels.snr(folded_level)) / abar_of_snr(model.levels.snr(level)))
    means = F.avg_pool2d(pad_to_multiple(x_t, fold), fold).mul_(scale)
    x0hat = _tiled(model, means, folded_level, False)
    return _interpolated(_interpolated(x0hat, fold, 2), fold, 3)[:, :, :height, :width]


def fold_of(model: Model, level: int) -> int:
    """How many pixels of a side the network sees as one."""
    if isinstance(model.levels, ContinuousLevels):
        for fold, highest in FOLDS:
            if level <= highest:
                return fold
    return 1


def _interpolated(x: torch.Tensor, fold: int, dim: int) -> torch.Tensor:
    """Linearly along a side, to `fold` times as many pixels. (torch's own rounds differently on other numbers of threads.)"""
    places = torch.arange(x.shape[dim])
    parts = []
    for k in range(fold):
        offset = (2 * k + 1 - fold) / (2 * fold)  # from the middle of a pixel, in pixels
        neighbour = (places + (1 if offset > 0 else -1)).clamp_(0, len(places) - 1)
        parts.append(x.lerp(x.index_select(dim, neighbour), abs(offset)))
    return torch.stack(parts, dim + 1).flatten(dim, dim + 1)


def tiles(size: int) -> list[tuple[int, int]]:
    """Begin and end of the tiles of a side: as few as `TILE` allows, about equally long."""
    count = -(-size // TILE)
    step = -(-size // (count * GRAIN)) * GRAIN if count > 1 else size
    return [(begin, min(begin + step, size)) for begin in range(0, size, step)]


def _tiled(model: Model, x_t: torch.Tensor, level: int, bfloat16: bool) -> torch.Tensor:
    """(P, 3, H, W) in [-1, 1]."""
    rows, columns = (tiles(size) for size in x_t.shape[2:])
    x0hat = torch.empty_like(x_t)
    for top, bottom in rows:
        for left, right in columns:
            above, before = max(top - HALO, 0), max(left - HALO, 0)
            seen = model.predict_x_0(x_t[:, :, above : bottom + HALO, before : right + HALO], level, bfloat16)
            x0hat[:, :, top:bottom, left:right] = seen[:, :, top - above : bottom - above, left - before : right - before]
    return x0hat.clamp_(-1, 1)

"""The shared random rotation: signs, then Walsh-Hadamard transforms of 4096 interleaved elements.

p and q are isotropic, so rotating both is free; it spreads the picture's energy evenly over the path bits and makes the channel's
noise Gaussian. Element i of the picture (channel, row, column order) stands in block i mod B at place i div B, where B is coprime
to the picture's width so that no block collects a few columns only. Everything here is part of the format.
"""

import numpy as np
import torch

# Where all at once would take too much memory.
BLOCKS_AT_ONCE = 1024
FLIPPED_AT_ONCE = 1 << 22


def _hadamard(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(64, 64) Sylvester-Hadamard matrix over 8, its own inverse; two of them make the transform of 4096."""
    h = torch.ones(1, 1, dtype=dtype, device=device)
    while h.shape[0] < 64:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)], 0)
    return h / 8


def _transform_(x: torch.Tensor) -> torch.Tensor:
    """Orthonormal Walsh-Hadamard transform of each block of x (D,), in place, rotated dimensions numbered place by place. Self-inverse."""
    h = _hadamard(x.dtype, x.device)
    for blocks in x.view(64, 64, -1).split(BLOCKS_AT_ONCE, dim=2):
        blocks.copy_((h @ (h @ blocks).reshape(64, -1)).view_as(blocks))
    return x


def _flip_(x: torch.Tensor, signs: np.ndarray) -> torch.Tensor:
    """x (D,) times the signs, in place."""
    for part, its_signs in zip(x.split(FLIPPED_AT_ONCE), torch.from_numpy(signs).split(FLIPPED_AT_ONCE), strict=True):
        part.mul_(its_signs)
    return x


def rotate(x: torch.Tensor, signs: np.ndarray) -> torch.Tensor:
    """x (N,) zero-padded, signed and transformed: (D,), D = len(signs)."""
    padded = x.new_zeros(signs.size)
    padded[: x.numel()] = x
    return _transform_(_flip_(padded, signs))


def unrotate_(y: torch.Tensor, signs: np.ndarray, count: int) -> torch.Tensor:
    """The inverse of `rotate`: y (D,), which is used up, to (count,)."""
    return _flip_(_transform_(y), signs)[:count]

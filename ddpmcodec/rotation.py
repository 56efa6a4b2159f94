"""The shared random rotation: signs, then Walsh-Hadamard transforms of 4096 interleaved elements.

p and q are isotropic, so rotating both is free; it spreads the picture's energy evenly over the path bits and makes the channel's
noise Gaussian. Element i of the picture (channel, row, column order) stands in block i mod B at place i div B, where B is coprime
to the picture's width so that no block collects a few columns only. Everything here is part of the format.
"""

import numpy as np
import torch


def _hadamard(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(64, 64) Sylvester-Hadamard matrix over 8, its own inverse; two of them make the transform of 4096."""
    h = torch.ones(1, 1, dtype=dtype, device=device)
    while h.shape[0] < 64:
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)], 0)
    return h / 8


def _transform(x: torch.Tensor) -> torch.Tensor:
    """Orthonormal Walsh-Hadamard transform of each block of x (D,), rotated dimensions numbered place by place. Self-inverse."""
    h = _hadamard(x.dtype, x.device)
    x = x.view(64, 64, -1)
    return (h @ (h @ x).reshape(64, -1)).reshape(-1)


def rotate(x: torch.Tensor, signs: np.ndarray) -> torch.Tensor:
    """x (N,) zero-padded, signed and transformed: (D,), D = len(signs)."""
    padded = torch.nn.functional.pad(x, (0, signs.size - x.numel()))
    return _transform(padded * torch.from_numpy(signs).to(x))


def unrotate(y: torch.Tensor, signs: np.ndarray, count: int) -> torch.Tensor:
    """The inverse of `rotate`: y (D,) to (count,)."""
    return (_transform(y) * torch.from_numpy(signs).to(y))[:count]

"""Gray pictures: of the three dimensions of a pixel only luma is coded.

In the orthonormal colour system of `AXES` noise is as white as in RGB, and a gray x_0 has no chroma. So both sides know the chroma of
q(x_s | x_t, x_0) and draw it from the randomness that they share, at no cost.
"""

import math

import torch

# Rows: luma, and two axes of chroma.
AXES = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]) / torch.tensor([[3.0], [2.0], [6.0]]).sqrt()


def luma(x: torch.Tensor) -> torch.Tensor:
    """(P, 3, H, W) to (P, 1, H, W)."""
    return x.sum(1, keepdim=True) / math.sqrt(3)


def with_chroma(y: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """Luma (P, 1, H, W) and chroma (P, 2, H, W) to (P, 3, H, W)."""
    return torch.einsum("pahw,ac->pchw", torch.cat([y, chroma], 1), AXES)


def without_chroma(x: torch.Tensor) -> torch.Tensor:
    """The gray picture nearest to x, (P, 3, H, W)."""
    return x.mean(1, keepdim=True).expand_as(x)

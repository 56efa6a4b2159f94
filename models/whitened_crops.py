"""Random whitening of training crops (`models/whitening.py`), as a codec with shaped noise would show them to its network."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from ddpmcodec.models import whitening
from ddpmcodec.models.configuration import Whitening

FIELD_CELLS = 3  # a side, between whose random values a field is interpolated


class Batch(NamedTuple):
    """A batch of crops, (B, 3, H, W) float32, and whether each is whitened, (B,)."""

    x_0: torch.Tensor
    whitened: torch.Tensor


class RandomWhitening:
    """The whitening of a share of crops, with the multipliers raised to a random power and, for a share of these, a random smooth field.

    Args:
        side: of the crops that come in; a margin of `options.margin` pixels on each side is cut off.
    """

    def __init__(self, options: Whitening, side: int, device: torch.device):
        def on_device(array):
            return torch.from_numpy(array).float().to(device)

        self.options = options
        self.side = side
        self.dct = on_device(whitening.dct_matrix(side))
        self.log2_m = on_device(whitening.log2_multipliers(side, side))
        self.T, self.O = on_device(whitening.T), on_device(whitening.O)

    def whiten(self, x: torch.Tensor, power: torch.Tensor, log2_field: torch.Tensor) -> torch.Tensor:
        """Return y of pictures x, both (B, 3, side, side), given the multipliers' power (B,) and log2 G (B, side, side)."""
        planes = torch.einsum("cd,bdhw->bchw", self.T, x) * torch.exp2(-log2_field)[:, None]
        u = self.dct @ planes @ self.dct.T
        u *= torch.exp2(-power[:, None, None, None] * self.log2_m)
        return torch.einsum("cd,bchw->bdhw", self.O, self.dct.T @ u @ self.dct)

    def fields(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw log2 G, (count, side, side): bilinear between random values that span at most `options.field`, or 0 for the other crops."""
        device, options = generator.device, self.options
        spans = torch.rand(count, device=device, generator=generator) * torch.tensor(options.field).log2()
        spans *= torch.rand(count, device=device, generator=generator) < options.field_share
        values = torch.rand((count, 1, FIELD_CELLS, FIELD_CELLS), device=device, generator=generator)
        return spans[:, None, None] * F.interpolate(values, (self.side, self.side), mode="bilinear", align_corners=True)[:, 0]

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> Batch:
        """Return the crops without their margins, round(share B) of them whitened; which and how depends on the generator alone."""
        device, margin, count = x.device, self.options.margin, len(x)
        chosen = torch.randperm(count, device=device, generator=generator)[: round(self.options.share * count)]
        power = torch.rand(len(chosen), device=device, generator=generator) * self.options.power
        fields = self.fields(len(chosen), generator)
        inner = slice(margin, self.side - margin)
        out = x[:, :, inner, inner].clone()
        out[chosen] = self.whiten(x[chosen], power, fields)[:, :, inner, inner]
        whitened = torch.zeros(count, dtype=torch.bool, device=device)
        whitened[chosen] = True
        return Batch(out, whitened)

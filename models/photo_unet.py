"""The photo denoiser: a convolutional U-Net for pictures of any size, fast enough for a CPU.

Pixel-unshuffle 2, a 3x3 convolution, levels at 1/2, 1/4, ... with residual blocks (convolution, scale and shift from the noise
level, SiLU, convolution), strided 2x2 convolutions down and up, skips added. No normalization, no attention. It predicts
v = sqrt(abar) eps - sqrt(1 - abar) x_0 (Salimans & Ho 2022, arXiv 2202.00512) from x_t, conditioned on ln(sigma) / 2 with
sigma = sqrt((1 - abar) / abar).
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ddpmcodec.models.photo_layout import FREQUENCIES


class NoiseEmbedding(nn.Module):
    """The embedding of ln(sigma) / 2, (B,), in (B, width) by random Fourier features and two linear layers."""

    def __init__(self, width: int):
        super().__init__()
        self.f = nn.Parameter(torch.randn(FREQUENCIES), requires_grad=False)
        self.l1 = nn.Linear(2 * FREQUENCIES, width)
        self.l2 = nn.Linear(width, width)

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        """Return the embedding, (B, width), of c = ln(sigma) / 2, (B,)."""
        angle = c[:, None] * self.f * (math.pi / 2)
        return F.silu(self.l2(F.silu(self.l1(torch.cat([angle.sin(), angle.cos()], 1)))))


class ResidualBlock(nn.Module):
    """Two convolutions, scaled and shifted in between by the embedded noise level, added to the input."""

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.c1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.c2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.m = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.m.weight)
        nn.init.zeros_(self.m.bias)
        with torch.no_grad():
            self.c2.weight *= 0.1

    def forward(self, x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Return (B, channels, H, W) of x of the same shape, given the embedding e, (B, embedding) or (1, embedding)."""
        with torch.autocast(e.device.type, enabled=False):
            scale, shift = self.m(e)[:, :, None, None].chunk(2, 1)
        if len(e) > 1:
            h = self.c1(x)
            h = h * (1 + scale).to(h.dtype) + shift.to(h.dtype)
        else:  # one noise level: the convolution scales and shifts at no cost
            factor = 1 + scale.flatten()
            h = F.conv2d(x, self.c1.weight * factor[:, None, None, None], self.c1.bias * factor + shift.flatten(), padding=1)
        return self.c2(F.silu(h, inplace=not torch.is_grad_enabled())).add_(x)


class PhotoUNet(nn.Module):
    """The network: x_t (B, 3, H, W), H and W multiples of `stride`, and c = ln(sigma) / 2, (B,) or (1,), to v (B, 3, H, W).

    Args:
        channels: of each level, from 1/`unshuffle` of the picture's sides down.
        blocks: on each side of each level, or one number for all of them.
        embedding: width of the embedding of the noise level.
        unshuffle: pixels of a side that become channels.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 96, 128, 160),
        blocks: int | tuple[int, ...] = 2,
        embedding: int = 128,
        unshuffle: int = 2,
    ):
        super().__init__()
        counts = (blocks,) * len(channels) if isinstance(blocks, int) else blocks
        self.unshuffle = unshuffle
        self.stride = unshuffle << (len(channels) - 1)
        pixel = 3 * unshuffle**2
        self.emb = NoiseEmbedding(embedding)
        self.inp = nn.Conv2d(pixel, channels[0], 3, padding=1)
        self.out = nn.Conv2d(channels[0], pixel, 3, padding=1)

        def columns() -> nn.ModuleList:
            levels = zip(channels, counts, strict=True)
            return nn.ModuleList(nn.ModuleList(ResidualBlock(c, embedding) for _ in range(count)) for c, count in levels)

        self.enc = columns()
        self.dec = columns()
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)

    def grow(self, weights: dict[str, torch.Tensor]) -> None:
        """Load the weights of a network with fewer blocks; the new blocks add nothing, so the function is the same.

        Raises:
            RuntimeError: the weights are not of such a network.
        """
        missing, unexpected = self.load_state_dict(weights, strict=False)
        blocks = {name: block for name, block in self.named_modules() if isinstance(block, ResidualBlock)}
        new = {name for name in blocks if f"{name}.c2.weight" in missing}
        if unexpected or any(name.rsplit(".", 2)[0] not in new for name in missing):
            raise RuntimeError("the weights are not of a smaller network of the same kind")
        for name in new:
            for parameter in blocks[name].c2.parameters():
                nn.init.zeros_(parameter)

    @staticmethod
    def condition(level: int, snr: float, x: torch.Tensor) -> torch.Tensor:
        """Return what the network is told of the one level of all of x, (1,): ln(sigma) / 2, on x's device, in its precision."""
        return torch.tensor([-math.log(snr) / 4]).to(x)

    @staticmethod
    def _column(blocks: nn.Module, h: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Apply the blocks of one side of one level."""
        for block in blocks.children():
            h = block(h, e)
        return h

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Return v, (B, 3, H, W)."""
        with torch.autocast(c.device.type, enabled=False):  # errors of scale and shift are the same everywhere, and add up over the steps
            e = self.emb(c)
        h = self.inp(F.pixel_unshuffle(x, self.unshuffle))
        skips = []
        for i in range(len(self.enc)):
            h = self._column(self.enc[i], h, e)
            if i < len(self.down):
                skips.append(h)
                h = self.down[i](h)
        for i in reversed(range(len(self.dec))):
            h = self._column(self.dec[i], h, e)
            if i:
                h = self.up[i - 1](h).add_(skips.pop())
        return F.pixel_shuffle(self.out(h), self.unshuffle)

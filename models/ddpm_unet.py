"""The U-Net of Ho, Jain & Abbeel 2020 (arXiv 2006.11239, appendix B), and the variations on it that published checkpoints have.

Levels at 1, 1/2, 1/4, ... with residual blocks (group normalization, SiLU, 3x3 convolution, the timestep added, the same again),
self-attention at some of them and in the middle, skips concatenated. It is told the timestep by a sinusoidal embedding.

The state dict has the keys of diffusers' UNet2DModel, so that such a checkpoint loads as it is.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ddpmcodec.models.ddpm_config import DDPMUNetConfig


def timestep_embedding(t: torch.Tensor, c: DDPMUNetConfig) -> torch.Tensor:
    """Return sinusoids of timesteps (B,) at geometric frequencies, (B, channels)."""
    half = c.channels // 2
    frequencies = torch.exp(-math.log(10000) / (half - c.freq_shift) * torch.arange(half, dtype=torch.float32, device=t.device))
    angle = c.time_scale * t.float()[:, None] * frequencies
    parts = [angle.cos(), angle.sin()] if c.flip_sin_to_cos else [angle.sin(), angle.cos()]
    return torch.cat(parts, 1)


def _initialize(layer: nn.Conv2d | nn.Linear, scale: float = 1.0) -> nn.Module:
    """Initialize a layer as the paper does: uniform with variance `scale` over the mean of fan-in and fan-out; zero biases."""
    weight = layer.weight
    receptive = math.prod(weight.shape[2:])
    variance = 2 * max(scale, 1e-10) / (receptive * (weight.shape[0] + weight.shape[1]))
    bound = math.sqrt(3 * variance)
    nn.init.uniform_(weight, -bound, bound)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _conv(i: int, o: int, size: int = 3, scale: float = 1.0, **options) -> nn.Module:
    return _initialize(nn.Conv2d(i, o, size, padding=size // 2, **options), scale)


def _linear(i: int, o: int, scale: float = 1.0) -> nn.Module:
    return _initialize(nn.Linear(i, o), scale)


class TimeEmbedding(nn.Module):
    """Two linear layers behind the sinusoids, to four times their width."""

    def __init__(self, width: int):
        super().__init__()
        self.linear_1 = _linear(width, 4 * width)
        self.linear_2 = _linear(4 * width, 4 * width)

    def forward(self, e: torch.Tensor) -> torch.Tensor:
        """Return (B, 4 width) of sinusoids (B, width)."""
        return self.linear_2(F.silu(self.linear_1(e)))


class ResidualBlock(nn.Module):
    """A residual block of i to o channels; with `resample` -1 or 1 it halves or doubles the resolution, on both of its branches."""

    def __init__(self, c: DDPMUNetConfig, i: int, o: int, dropout: float, resample: int = 0):
        super().__init__()
        self.scale_shift = c.scale_shift
        self.resample = resample
        self.norm1 = nn.GroupNorm(c.groups, i, c.norm_eps)
        self.conv1 = _conv(i, o)
        self.time_emb_proj = _linear(4 * c.channels, 2 * o if c.scale_shift else o)
        self.norm2 = nn.GroupNorm(c.groups, o, c.norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv(o, o, scale=0)
        self.conv_shortcut = _conv(i, o, 1) if i != o else None

    def _resampled(self, x: torch.Tensor) -> torch.Tensor:
        if self.resample < 0:
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample > 0 else x

    def forward(self, x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Return (B, o, H, W) of x (B, i, H, W), given the embedding of the timestep, (B, 4 channels)."""
        h = self.conv1(self._resampled(F.silu(self.norm1(x))))
        t = self.time_emb_proj(F.silu(e))[:, :, None, None]
        if self.scale_shift:
            scale, shift = t.chunk(2, 1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + t)
        h = self.conv2(self.dropout(F.silu(h)))
        x = self._resampled(x)
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Self-attention over all places of a picture, added to its input."""

    def __init__(self, c: DDPMUNetConfig, width: int):
        super().__init__()
        self.heads = width // c.head_channels if c.head_channels else c.heads
        self.group_norm = nn.GroupNorm(c.groups, width, c.norm_eps)
        self.to_q, self.to_k, self.to_v = (_linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([_linear(width, width, 0)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, width, H, W) of x of the same shape."""
        h = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (to(h).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out[0](h).transpose(1, 2).view_as(x)


class Downsample(nn.Module):
    """A strided convolution, which halves both sides."""

    def __init__(self, width: int, pad: str):
        super().__init__()
        self.pad = pad
        self.conv = _initialize(nn.Conv2d(width, width, 3, stride=2, padding=0 if pad == "after" else 1))

    def forward(self, x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Return (B, width, H / 2, W / 2); e is not used."""
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.pad == "after" else x)


class Upsample(nn.Module):
    """A convolution of the picture enlarged by repetition, which doubles both sides."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = _conv(width, width)

    def forward(self, x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Return (B, width, 2 H, 2 W); e is not used."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """One level of one side: residual blocks, each followed by attention where the level `attends`."""

    def __init__(self, c: DDPMUNetConfig, inputs: list[int], width: int, attends: bool, dropout: float):
        super().__init__()
        self.resnets = nn.ModuleList(ResidualBlock(c, i, width, dropout) for i in inputs)
        self.attentions = nn.ModuleList(Attention(c, width) for _ in inputs) if attends else None

    def block(self, j: int, h: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Apply residual block j and its attention."""
        h = self.resnets[j](h, e)
        return h if self.attentions is None else self.attentions[j](h)


class Down(Level):
    """One level on the way down, and what leads to the next one."""

    def __init__(self, c: DDPMUNetConfig, inputs: list[int], width: int, attends: bool, dropout: float, sampler: nn.Module | None):
        super().__init__(c, inputs, width, attends, dropout)
        self.downsamplers = None if sampler is None else nn.ModuleList([sampler])

    def forward(self, h: torch.Tensor, e: torch.Tensor) -> list[torch.Tensor]:
        """Return all outputs that the way up is given as skips; the last one goes on to the next level."""
        outputs = []
        for j in range(len(self.resnets)):
            h = self.block(j, h, e)
            outputs.append(h)
        return outputs if self.downsamplers is None else [*outputs, self.downsamplers[0](h, e)]


class Up(Level):
    """One level on the way up, and what leads to the next one."""

    def __init__(self, c: DDPMUNetConfig, inputs: list[int], width: int, attends: bool, dropout: float, sampler: nn.Module | None):
        super().__init__(c, inputs, width, attends, dropout)
        self.upsamplers = None if sampler is None else nn.ModuleList([sampler])

    def forward(self, h: torch.Tensor, e: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Return the level's output; its share of `skips` is taken off their end."""
        for j in range(len(self.resnets)):
            h = self.block(j, torch.cat([h, skips.pop()], 1), e)
        return h if self.upsamplers is None else self.upsamplers[0](h, e)


class Middle(nn.Module):
    """The blocks between the way down and the way up: residual, attention, residual."""

    def __init__(self, c: DDPMUNetConfig, width: int, dropout: float):
        super().__init__()
        self.attentions = nn.ModuleList([Attention(c, width)])
        self.resnets = nn.ModuleList(ResidualBlock(c, width, width, dropout) for _ in range(2))

    def forward(self, h: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        """Return (B, width, H, W) of h of the same shape."""
        return self.resnets[1](self.attentions[0](self.resnets[0](h, e)), e)


class DDPMUNet(nn.Module):
    """The network: x_t (B, planes, H, W), H and W multiples of `stride`, and the paper's t less 1, (B,), to (B, out_channels, H, W).

    Args:
        out_channels: as many as planes, or twice as many with a variance for each element.
        dropout: the share of dropout in training.
    """

    def __init__(self, config: DDPMUNetConfig, out_channels: int = 3, dropout: float = 0.0):
        super().__init__()
        c = self.config = config
        widths = c.widths
        last = len(widths) - 1
        self.stride = 1 << last
        self.conv_in = _conv(c.planes, c.channels)
        self.time_embedding = TimeEmbedding(c.channels)

        def sampler(level: int, direction: int) -> nn.Module | None:
            if level == (last if direction < 0 else 0):
                return None
            if c.resample == "residual":
                return ResidualBlock(c, widths[level], widths[level], dropout, direction)
            return Downsample(widths[level], c.pad) if direction < 0 else Upsample(widths[level])

        skips = [c.channels]  # their channels
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            inputs = [skips[-1], *[width] * (c.blocks - 1)]
            self.down_blocks.append(Down(c, inputs, width, c.attends[i], dropout, sampler(i, -1)))
            skips += [width] * (c.blocks + (i < last))
        self.mid_block = Middle(c, widths[-1], dropout)
        self.up_blocks = nn.ModuleList()
        before = widths[-1]
        for i in reversed(range(len(widths))):
            inputs = [before + skips.pop(), *[widths[i] + skips.pop() for _ in range(c.blocks)]]
            self.up_blocks.append(Up(c, inputs, widths[i], c.attends[i], dropout, sampler(i, 1)))
            before = widths[i]
        self.conv_norm_out = nn.GroupNorm(c.groups, widths[0], c.norm_eps)
        self.conv_out = _conv(widths[0], out_channels, scale=0)

    @staticmethod
    def condition(level: int, snr: float, x: torch.Tensor) -> torch.Tensor:
        """Return what the network is told of a timestep t, (B,): t - 1, with x's B, device and precision."""
        return torch.full((x.shape[0],), float(level - 1)).to(x)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Return the prediction for x, (B, out_channels, H, W), and its variance where it has learned one; t as `condition` has it."""
        e = self.time_embedding(timestep_embedding(t, self.config).to(x))
        skips = [self.conv_in(x)]
        for down in self.down_blocks:
            skips += down(skips[-1], e)
        h = self.mid_block(skips[-1], e)
        for up in self.up_blocks:
            h = up(h, e, skips)
        return self.conv_out(F.silu(self.conv_norm_out(h)))

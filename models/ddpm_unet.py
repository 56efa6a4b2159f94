"""Placeholder, to be overwritten by the real module."""
import msgspec
from torch import nn


class DDPMUNetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    resolution: int = 32


class DDPMUNet(nn.Module):
    stride = 1

"""The embedding of the noise level that a photo denoiser is told, in numpy."""

import math
from collections.abc import Mapping

import numpy as np


def embedding(tensors: Mapping[str, np.ndarray], snr: float) -> np.ndarray:
    """Return the embedding, (width,) float32, of c = ln(sigma) / 2 = -ln(snr) / 4: Fourier features and two linear layers, in float64."""
    angle = -math.log(snr) / 4 * math.pi / 2 * tensors["emb.f"].astype(float)
    h = np.concatenate([np.sin(angle), np.cos(angle)])
    for name in ("emb.l1", "emb.l2"):
        h = _silu(tensors[f"{name}.weight"].astype(float) @ h + tensors[f"{name}.bias"])
    return h.astype(np.float32)


def _silu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(x / 2)) / 2  # x / (1 + exp(-x)), which would overflow

"""Denoising PSNR: what every change of the photo model's weights is judged by.

The usual protocol: Gaussian noise of a standard deviation given on [0, 255], seeded by the picture's place in the list; the output in
floating point, clamped; PSNR over all channels, averaged over pictures. Whitened, the picture is replaced by y of `models/whitening.py`,
with the table at full strength, which is what a codec with shaped noise shows the network; y has no range to be clamped to.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddpmcodec import arrays
from ddpmcodec.errors import DdpmcodecError
from ddpmcodec.eval import pictures as sets
from ddpmcodec.eval.progress import Counter
from ddpmcodec.models import networks, whitening
from ddpmcodec.models.model import Model
from ddpmcodec.models.process import abar_of_snr, snr_of_sigma
from ddpmcodec.progress import Progress, silent


def denoised_psnr(model: Model, pixels: np.ndarray, sigma: float, seed: int, whitened: bool = False) -> float:
    """PSNR in dB of x0hat given (H, W, 3) uint8 pixels plus noise of `sigma` of 255, told to the model as its nearest noise level."""
    x_0 = torch.from_numpy(arrays.from_pixels(pixels))
    if whitened:
        u_0 = whitening.coefficients(x_0[0].numpy())
        x_0 = torch.from_numpy(whitening.whiten(u_0, np.exp2(whitening.log2_multipliers(*pixels.shape[:2]))))[None]
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(seed))
    level = model.levels.nearest(snr_of_sigma(sigma))
    x_t = math.sqrt(abar_of_snr(model.levels.snr(level))) * (x_0 + sigma / 127.5 * noise)
    x0hat = networks.predict_x_0(model, x_t, level)
    if not whitened:
        x0hat = x0hat.clamp(-1, 1)
    return 10 * math.log10(4 / float((x0hat - x_0).square().mean(dtype=torch.float64)))


def evaluate(
    pictures: Iterable[tuple[str, np.ndarray]], model: Model, sigmas: Sequence[float], whitened: bool = False
) -> Iterator[tuple[str, list[float]]]:
    """Yield each picture's name with its PSNR in dB at each sigma of 255."""
    for seed, (name, pixels) in enumerate(pictures):
        yield name, [denoised_psnr(model, pixels, sigma, seed, whitened) for sigma in sigmas]


def measure(
    paths: Sequence[Path],
    model: Model,
    sigmas: Sequence[float],
    whitened: bool = False,
    skipped: Callable[[Path, DdpmcodecError], None] = silent,
    progress: Progress = silent,
    page: int | None = None,
) -> dict[str, list[float]]:
    """Measure pictures in files: the PSNR in dB at each sigma of 255, by name; `skipped` and `page` as of `pictures.load`."""
    advance = Counter(progress, len(paths))
    psnrs = {}
    for name, values in evaluate(sets.load(paths, skipped, page), model, sigmas, whitened):
        psnrs[name] = values
        advance()
    return psnrs


def results(psnrs: Mapping[str, Sequence[float]], model: Model, sigmas: Sequence[float], whitened: bool = False) -> dict[str, Any]:
    """Return everything, JSON-serializable: by picture, in dB, at each sigma."""
    mean = np.mean(list(psnrs.values()), axis=0).tolist()
    return {"model": model.identity(), "whitened": whitened, "sigmas": [*sigmas], "mean": mean, "pictures": dict(psnrs)}


def table(psnrs: Mapping[str, Sequence[float]], model: Model, sigmas: Sequence[float], whitened: bool = False) -> str:
    """Format the mean over pictures at each sigma as a Markdown table."""
    cells = " | ".join(f"{v:.2f}" for v in np.mean(list(psnrs.values()), axis=0))
    heads = " | ".join(f"{sigma:g}" for sigma in sigmas)
    rule = "---:|" * len(sigmas)
    kind = "PSNR of whitened pictures" if whitened else "PSNR"
    return f"| {kind} in dB, noise | {heads} |\n|---|{rule}\n| {model.name}, {len(psnrs)} pictures | {cells} |"

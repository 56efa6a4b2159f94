"""How far two pictures are apart, on 8-bit RGB, by the metrics' names in results. PSNR is `ddpmcodec.picture.psnr`."""

import io
import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ddpmcodec import picture
from ddpmcodec.errors import ModelError
from ddpmcodec.eval.fid import load_features

MS_SSIM_SIDE = 161  # the least that five scales of a window of 11 fit in
SSIMULACRA2_SIDE = 8


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), mean over the channels, by pytorch-msssim.

    Args:
        a, b: (H, W, 3) uint8.

    Returns:
        None where a side is shorter than `MS_SSIM_SIDE`, or the package is missing.
    """
    if min(a.shape[:2]) < MS_SSIM_SIDE:
        return None
    try:
        from pytorch_msssim import ms_ssim as measure
    except ImportError:
        return None
    tensors = [torch.from_numpy(v.copy()).permute(2, 0, 1)[None].float() for v in (a, b)]
    return float(measure(*tensors, data_range=255))


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float | None:
    """SSIMULACRA2 (Sneyers 2022): 100 is equal, 70 high, 50 medium, 30 low quality; by the package ssimulacra2. As `ms_ssim`."""
    if min(a.shape[:2]) < SSIMULACRA2_SIDE:
        return None
    try:
        from ssimulacra2 import compute_ssimulacra2
    except ImportError:
        return None
    files = [io.BytesIO(), io.BytesIO()]
    for pixels, file in zip((a, b), files, strict=True):
        Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return float(compute_ssimulacra2(*files))


@cache
def load_lpips(path: str) -> torch.nn.Module:
    """The feature network of `lpips`, as TorchScript: NVIDIA publishes its vgg16.pt with StyleGAN2-ADA. It is code: take it from a place
    you trust.

    Raises:
        ModelError: it cannot be read, or returns no LPIPS features.
    """
    network = load_features(Path(path))
    try:
        network(torch.zeros(1, 3, 64, 64), resize_images=False, return_lpips=True)
    except RuntimeError as e:
        raise ModelError(f"{path} is no network of LPIPS features: {str(e).strip().splitlines()[-1]}") from e
    return network


def lpips(a: np.ndarray, b: np.ndarray, network: torch.nn.Module) -> float:
    """Learned perceptual distance (Zhang et al. 2018), 0 where equal: the squared distance of weighted features. For a, b see `ms_ssim`."""
    with torch.inference_mode():
        pair = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).float()
        first, second = network(pair, resize_images=False, return_lpips=True)
    return float((first - second).square().sum())


def quality(original: np.ndarray, decoded: np.ndarray, lpips_network: str | None = None) -> dict[str, float | None]:
    """Every metric of two (H, W, 3) uint8 pictures, by name; None where it is infinite or cannot be measured.

    Args:
        lpips_network: path, see `load_lpips`.
    """
    psnr = picture.psnr(original, decoded)
    return {
        "psnr-rgb": psnr if math.isfinite(psnr) else None,
        "ms-ssim-rgb": ms_ssim(original, decoded),
        "ssimulacra2": ssimulacra2(original, decoded),
        "lpips": None if lpips_network is None else lpips(original, decoded, load_lpips(lpips_network)),
    }


NAMES = ("psnr-rgb", "ms-ssim-rgb", "ssimulacra2", "lpips")

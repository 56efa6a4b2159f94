"""How far two pictures are apart, on 8-bit RGB. PSNR is `ddpmcodec.picture.psnr`."""

import numpy as np
import torch

MS_SSIM_SIDE = 161  # the least that five scales of a window of 11 fit in


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

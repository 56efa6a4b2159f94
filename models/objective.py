"""What the photo denoiser is trained for: the variational bound, reweighted so that a gain of 1 % counts the same at every noise level.

L_simple (equation 14 of arXiv 2006.11239) weights the eps-error equally over timesteps; here it is taken relative to the typical error
of a good denoiser at its noise level, and the noise levels are drawn where the codec spends its bits.
"""

from collections.abc import Callable

import numpy as np
import torch

from ddpmcodec.models.configuration import Noise
from ddpmcodec.models.process import typical_relative_error


def draw_sigmas(u: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Quantiles u in [0, 1), (B,), of the noise distribution: sigma (B,) in units of [-1, 1]."""
    shares = np.concatenate([[0.0], np.cumsum(noise.share)])
    log_sigma = np.interp(u.cpu().numpy(), shares / shares[-1], np.log(np.array(noise.sigma) / 127.5))
    return torch.from_numpy(log_sigma).float().to(u.device).exp()


def stratified(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) float32 in [0, 1): one uniform draw in each of `count` equal intervals, in order."""
    device = generator.device
    return (torch.arange(count, device=device) + torch.rand(count, device=device, generator=generator)) / count


def relative_error(predict_v: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x_0, sigma, eps) -> torch.Tensor:
    """Per picture, the squared eps-error over the typical one at its noise level.

    Args:
        predict_v: v from x_t (B, 3, H, W) and ln(sigma) / 2 (B,).
        x_0, eps: (B, 3, H, W).
        sigma: (B,), in units of [-1, 1].
    """
    s = sigma[:, None, None, None]
    r = (1 + s * s).sqrt()  # 1 / sqrt(abar)
    x_t = (x_0 + s * eps) / r
    v = predict_v(x_t, sigma.log() / 2).float()
    x0hat = x_t / r - (s / r) * v
    mse = ((x0hat - x_0) / s).square().mean((1, 2, 3))
    return mse / typical_relative_error(127.5 * sigma)

"""The objectives that a network is trained for.

bound           L of equation 5 of arXiv 2006.11239, at one uniform timestep a picture (the paper's L): bits per dimension
simple          L_simple of equation 14, the same without its weights; for predictions other than epsilon the squared error of those
relative-error  the same weighted so that a gain of 1 % counts the same at every noise level: the squared eps-error over the typical one
                of a good denoiser there, the noise levels drawn where the codec spends its bits
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from ddpmcodec.errors import ConfigurationError
from ddpmcodec.models.bound import discretized_log_likelihood
from ddpmcodec.models.configuration import Bound, Configuration, RelativeError, Simple
from ddpmcodec.models.levels import DiscreteLevels, build_levels
from ddpmcodec.models.model import complete
from ddpmcodec.models.networks import CHANNELS, variance_fraction
from ddpmcodec.models.parameterization import target, x_0_of
from ddpmcodec.models.process import bits_of_nats, gaussian_kl, posterior, snr, typical_relative_error
from ddpmcodec.models.reverse import variance_range


def draw_sigmas(u: torch.Tensor, noise: RelativeError) -> torch.Tensor:
    """Return sigma, (B,) in units of [-1, 1], at quantiles u in [0, 1), (B,), of the noise distribution."""
    shares = np.concatenate([[0.0], np.cumsum(noise.share)])
    log_sigma = np.interp(u.cpu().numpy(), shares / shares[-1], np.log(np.array(noise.sigma) / 127.5))
    return torch.from_numpy(log_sigma).float().to(u.device).exp()


def stratified(count: int, generator: torch.Generator) -> torch.Tensor:
    """Return one uniform draw from each of `count` equal intervals of [0, 1), in order, (count,) float32."""
    device = generator.device
    return (torch.arange(count, device=device) + torch.rand(count, device=device, generator=generator)) / count


def relative_error(predict_v: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x_0, sigma, eps) -> torch.Tensor:
    """Return the squared eps-error of each picture, (B,), over the typical one at its noise level.

    Args:
        predict_v: the network: v from x_t (B, 3, H, W) and ln(sigma) / 2 (B,).
        x_0, eps: pictures in [-1, 1] and noise, (B, 3, H, W).
        sigma: their noise levels in units of [-1, 1], (B,).
    """
    s = sigma[:, None, None, None]
    r = (1 + s * s).sqrt()  # 1 / sqrt(abar)
    x_t = (x_0 + s * eps) / r
    v = predict_v(x_t, sigma.log() / 2).float()
    x0hat = x_t / r - (s / r) * v
    mse = ((x0hat - x_0) / s).square().mean((1, 2, 3))
    return mse / typical_relative_error(127.5 * sigma)


class ContinuousObjective:
    """The relative error of a network that is told any noise level and predicts v."""

    def __init__(self, options: RelativeError):
        self.options = options

    def __call__(self, network: Callable, x_0: torch.Tensor, u: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """Return the loss of each picture, (B,).

        Args:
            x_0, eps: pictures in [-1, 1] and noise, (B, 3, H, W).
            u: quantiles of their noise levels, in [0, 1), (B,).
        """
        return relative_error(network, x_0, draw_sigmas(u, self.options), eps)


class TimestepObjective:
    """The losses of a network that is told the timestep: any of the three.

    Args:
        config: the model's configuration, complete.
    """

    def __init__(self, options: RelativeError | Simple | Bound, config: dict, levels: DiscreteLevels, device: torch.device):
        self.options = options
        self.prediction = config["prediction"]
        self.variance = config["variance"]
        self.T = levels.T
        abars = levels.alpha_bars
        least = posterior(abars[1], abars[2]).variance
        ranges = [variance_range(s, t, least) for s, t in pairwise(abars)]
        self.low, self.high = torch.tensor(ranges, dtype=torch.float64, device=device).T
        if self.variance == "beta":  # as in `models/reverse.py`: the step to x_0 has beta-tilde_2
            self.high[0] = self.low[0]
        self.abars = torch.from_numpy(abars).to(device)
        self.log_snrs = snr(self.abars[1:]).log()

    def timesteps(self, u: torch.Tensor) -> torch.Tensor:
        """Return t in 1 ... T, (B,), at quantiles u in [0, 1), (B,), of its distribution."""
        if isinstance(self.options, RelativeError):
            wanted = -2 * draw_sigmas(u, self.options).double().log()
            return 1 + (self.log_snrs - wanted[:, None]).abs().argmin(1)
        return 1 + (u * self.T).long().clamp_(max=self.T - 1)

    def __call__(self, network: Callable, x_0: torch.Tensor, u: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """Return the loss of each picture, (B,), in bits per dimension for the bound; the arguments are those of `ContinuousObjective`."""
        t = self.timesteps(u)
        abar_t, abar_s, low, high = (
            v[i].view(-1, 1, 1, 1) for v, i in ((self.abars, t), (self.abars, t - 1), (self.low, t - 1), (self.high, t - 1))
        )
        x_t = (abar_t**0.5 * x_0 + (1 - abar_t) ** 0.5 * eps).float()
        output = network(x_t, (t - 1).float()).float()
        predicted = output[:, :CHANNELS]
        if isinstance(self.options, Simple):
            return (predicted - target(self.prediction, x_0, eps, abar_t, abar_s)).square().mean((1, 2, 3)).float()
        x0hat = x_0_of(self.prediction, predicted, x_t, abar_t, abar_s)
        if isinstance(self.options, RelativeError):
            ratio = snr(abar_t).view(-1)
            return ((x0hat - x_0).square().mean((1, 2, 3)) * ratio / typical_relative_error(127.5 / ratio**0.5)).float()
        q = posterior(abar_s, abar_t)
        mean = q.mean(x0hat, x_t)
        f = variance_fraction(network, output, t)
        fixed = low if self.variance == "beta-tilde" else high
        log_variance = fixed if f is None else low + f * (high - low)
        kl = gaussian_kl(q.mean(x_0, x_t), low.exp(), mean, log_variance.exp()).mean((1, 2, 3))
        likelihood = discretized_log_likelihood(x_0, mean, log_variance).mean((1, 2, 3))
        return bits_of_nats(self.T * torch.where(t == 1, -likelihood, kl)).float()


def build(configuration: Configuration, device: torch.device) -> ContinuousObjective | TimestepObjective:
    """Return the objective of a configuration.

    Raises:
        ConfigurationError: the model cannot be trained for it.
    """
    options = configuration.objective
    levels = build_levels(configuration.model)
    if configuration.model["architecture"] == "photo-unet":
        if not isinstance(options, RelativeError):
            raise ConfigurationError("a photo-unet is trained for the relative error, objective.loss = 'relative-error'")
        return ContinuousObjective(options)
    assert isinstance(levels, DiscreteLevels)  # networks.build has refused others
    config = complete(configuration.model)
    if config["variance"] in ("learned", "learned-range") and not isinstance(options, Bound):
        raise ConfigurationError(f"a variance that is {config['variance']} is trained by the bound, objective.loss = 'bound'")
    return TimestepObjective(options, config, levels, device)

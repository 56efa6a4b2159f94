"""The parts of the variational bound (equations 5 and 13 of arXiv 2006.11239), in nats and element by element."""

import torch

HALF_LEVEL = 1 / 255  # half of the distance of two gray levels in [-1, 1]
INFINITY = 1e6  # in standard deviations: a true infinity has no gradient


def discretized_log_likelihood(x_0: torch.Tensor, mean: torch.Tensor, log_variance) -> torch.Tensor:
    """Return ln p_theta(x_0 | x_1) of equation 13 in nats: the Gaussian's mass on x_0's gray level; the first and last have open ends.

    Args:
        x_0: gray levels in [-1, 1].
        mean, log_variance: of the Gaussian; they broadcast.

    Returns:
        float64 of x_0's shape, exact in the tails too, where the mass is a difference of nearly equal numbers.
    """
    x_0, mean = x_0.double(), mean.double()
    inverse_deviation = (-0.5 * torch.as_tensor(log_variance, dtype=torch.float64, device=x_0.device)).exp()
    low = torch.where(x_0 < -1 + HALF_LEVEL, -INFINITY, (x_0 - mean - HALF_LEVEL) * inverse_deviation)
    high = torch.where(x_0 > 1 - HALF_LEVEL, INFINITY, (x_0 - mean + HALF_LEVEL) * inverse_deviation)
    # By symmetry on the side where Phi is small: ln(Phi(b) - Phi(a)) = ln Phi(b) + ln(1 - Phi(a) / Phi(b)).
    mirrored = low > 0
    a, b = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    log_b = torch.special.log_ndtr(b)
    return log_b + torch.log(-torch.expm1(torch.special.log_ndtr(a) - log_b))

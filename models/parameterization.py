"""The quantities that a network may predict (section 3.2 of arXiv 2006.11239), and x_0 from them.

    epsilon   the noise of equation 4, as in equation 11
    x_0       the picture itself
    mu        the posterior mean of x_{t-1}, equation 7
    v         sqrt(abar) eps - sqrt(1 - abar) x_0 (Salimans & Ho 2022, arXiv 2202.00512)

abar_t, and abar_s of the timestep before it, are numbers or tensors that broadcast with x, which is an array or a tensor.
"""

from typing import Any

from ddpmcodec.models.process import posterior, root

PREDICTIONS = ("epsilon", "x_0", "mu", "v")


def target(prediction: str, x_0: Any, eps: Any, abar_t, abar_s) -> Any:
    """Return the prediction of a perfect network for x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps, of x_0's shape."""
    if prediction == "epsilon":
        return eps
    if prediction == "x_0":
        return x_0
    signal, noise = root(abar_t), root(1 - abar_t)
    if prediction == "v":
        return signal * eps - noise * x_0
    return posterior(abar_s, abar_t).mean(x_0, signal * x_0 + noise * eps)


def x_0_of(prediction: str, output: Any, x_t: Any, abar_t, abar_s) -> Any:
    """Return the x_0 that a network's output stands for: the inverse of `target`."""
    if prediction == "x_0":
        return output
    signal, noise = root(abar_t), root(1 - abar_t)
    if prediction == "v":
        return signal * x_t - noise * output
    if prediction == "epsilon":
        return (x_t - noise * output) / signal
    q = posterior(abar_s, abar_t)
    return (output - q.x_t_weight * x_t) / q.x_0_weight

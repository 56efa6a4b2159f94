"""What a network predicts and x_0 are each other's inverse, and the targets are the paper's."""

import numpy as np
import pytest
import torch

from ddpmcodec.models import process
from ddpmcodec.models.parameterization import PREDICTIONS, target, x_0_of

ABARS = process.alpha_bars(process.linear_betas())


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    x_0, eps = (torch.rand(4, 3, 5, 6, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2))
    t = torch.tensor([1, 2, 500, 1000])
    abars = torch.from_numpy(ABARS)
    return x_0, eps, abars[t].view(-1, 1, 1, 1), abars[t - 1].view(-1, 1, 1, 1)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_x_0_comes_back(prediction, sample):
    x_0, eps, abar_t, abar_s = sample
    x_t = process.q_sample(x_0, abar_t, eps)
    output = target(prediction, x_0, eps, abar_t, abar_s)
    torch.testing.assert_close(x_0_of(prediction, output, x_t, abar_t, abar_s), x_0, rtol=0, atol=1e-7)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_numbers_are_as_good_as_tensors(prediction, sample):
    x_0, eps, abar_t, abar_s = sample
    together = target(prediction, x_0, eps, abar_t, abar_s)
    for i in range(len(x_0)):
        alone = target(prediction, x_0[i], eps[i], float(abar_t[i]), float(abar_s[i]))
        torch.testing.assert_close(alone, together[i])


def test_mu_is_the_mean_of_equation_7(sample):
    x_0, eps, abar_t, abar_s = (np.asarray(v) for v in sample)
    alpha = abar_t / abar_s
    x_t = np.sqrt(abar_t) * x_0 + np.sqrt(1 - abar_t) * eps
    mean = np.sqrt(abar_s) * (1 - alpha) / (1 - abar_t) * x_0 + np.sqrt(alpha) * (1 - abar_s) / (1 - abar_t) * x_t
    np.testing.assert_allclose(target("mu", *sample), mean, atol=1e-12)
    # equation 11: the same from eps
    np.testing.assert_allclose(mean, (x_t - (1 - alpha) / np.sqrt(1 - abar_t) * eps) / np.sqrt(alpha), atol=1e-9)


def test_epsilon_and_v_are_what_they_are_called(sample):
    x_0, eps, abar_t, _ = sample
    assert torch.equal(target("epsilon", *sample), eps) and torch.equal(target("x_0", *sample), x_0)
    torch.testing.assert_close(target("v", *sample), abar_t.sqrt() * eps - (1 - abar_t).sqrt() * x_0)

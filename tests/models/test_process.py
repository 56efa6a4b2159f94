"""The diffusion process against the definitions of arXiv 2006.11239, and against torch.distributions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from ddpmcodec.models import process

PAIRS = [(0, 1), (1, 2), (1, 1000), (10, 11), (250, 500), (400, 401), (999, 1000)]


def test_linear_schedule_is_the_papers():
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    np.testing.assert_allclose(process.linear_betas(), betas, rtol=1e-12)
    abars = process.alpha_bars(process.linear_betas())
    product = 1.0
    for t in range(1001):
        assert abars[t] == pytest.approx(product, rel=1e-10)
        if t < 1000:
            product *= 1 - betas[t]


def test_cosine_schedule_is_nichol_and_dhariwals():
    def f(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = process.cosine_betas()
    abars = process.alpha_bars(betas)
    for t in range(1, 1001):
        assert betas[t - 1] == pytest.approx(min(1 - f(t) / f(t - 1), 0.999), rel=1e-9)
        if t < 999:  # below the clip, the products telescope to f(t) / f(0)
            assert abars[t] == pytest.approx(f(t) / f(0), rel=1e-7)
    assert betas[-1] == 0.999


@given(st.floats(1e-8, 1 - 1e-8))
def test_snr_and_its_inverse(abar):
    assert process.abar_of_snr(process.snr(abar)) == pytest.approx(abar, rel=1e-9)


def test_sigma_is_the_noise_on_the_pictures_scale():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, 1000)
    eps = rng.standard_normal(1000)
    for abar in (0.01, 0.3, 0.999):
        x_t = process.q_sample(pixels / 127.5 - 1, abar, eps)
        seen = (x_t / math.sqrt(abar) + 1) * 127.5
        np.testing.assert_allclose(seen, pixels + process.sigma_of_snr(process.snr(abar)) * eps, rtol=1e-9, atol=1e-9)


def test_q_sample_keeps_unit_variance():
    rng = np.random.default_rng(1)
    x_0, eps = rng.standard_normal((2, 100_000))
    for abar in (0.01, 0.5, 0.99):
        assert np.var(process.q_sample(x_0, abar, eps)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("s", "t"), PAIRS[1:])
def test_posterior_is_the_product_of_gaussians(s, t):
    """q(x_s | x_t, x_0) is proportional to q(x_s | x_0) q(x_t | x_s): multiplied and integrated on a grid."""
    abars = process.alpha_bars(process.linear_betas())
    a = abars[t] / abars[s]
    for x_0, x_t in [(0.3, -0.7), (-1.0, 2.0)]:
        prior = Normal(math.sqrt(abars[s]) * x_0, math.sqrt(1 - abars[s]))
        center = prior.mean.item()
        x_s = torch.linspace(center - 12, center + 12, 2_000_001, dtype=torch.float64)
        log_density = prior.log_prob(x_s) + Normal(math.sqrt(a) * x_s, math.sqrt(1 - a)).log_prob(torch.tensor(x_t, dtype=torch.float64))
        weight = (log_density - log_density.max()).exp()
        weight /= weight.sum()
        mean = (weight * x_s).sum()
        variance = (weight * (x_s - mean) ** 2).sum()
        q = process.posterior(abars[s], abars[t])
        assert q.mean(x_0, x_t) == pytest.approx(mean.item(), abs=1e-6)
        assert q.variance == pytest.approx(variance.item(), rel=1e-4)


@given(st.floats(-8, 8), st.floats(1e-3, 3))
def test_posterior_weights_precisions(log_snr_t, log_ratio):
    """Precisions add, means are weighted with them."""
    abar_t = process.abar_of_snr(math.exp(log_snr_t))
    abar_s = process.abar_of_snr(math.exp(log_snr_t + log_ratio))
    a = abar_t / abar_s
    from_x_0, from_x_t = 1 / (1 - abar_s), a / (1 - a)  # of x_s given x_0; of x_s given x_t
    variance = 1 / (from_x_0 + from_x_t)
    q = process.posterior(abar_s, abar_t)
    assert q.variance == pytest.approx(variance, rel=1e-6)
    assert q.x_0_weight == pytest.approx(variance * from_x_0 * math.sqrt(abar_s), rel=1e-6)
    assert q.x_t_weight == pytest.approx(variance * from_x_t / math.sqrt(a), rel=1e-6)


def test_posterior_of_neighbours_is_equation_7():
    betas = process.linear_betas()
    abars = process.alpha_bars(betas)
    for t in (1, 2, 500, 1000):
        beta, abar, before = betas[t - 1], abars[t], abars[t - 1]
        q = process.posterior(before, abar)
        assert q.x_0_weight == pytest.approx(math.sqrt(before) * beta / (1 - abar), rel=1e-9)
        assert q.x_t_weight == pytest.approx(math.sqrt(1 - beta) * (1 - before) / (1 - abar), rel=1e-9, abs=1e-12)
        assert q.variance == pytest.approx((1 - before) / (1 - abar) * beta, rel=1e-9, abs=1e-12)


def test_posterior_steps_compose():
    """Going from t to s by a level between, given x_0, has the same marginal as q(x_s | x_0)."""
    abars = process.alpha_bars(process.linear_betas())
    x_0 = 0.6
    mean, variance = math.sqrt(abars[800]) * x_0, 1 - abars[800]
    for s, t in [(500, 800), (100, 500), (3, 100)]:
        q = process.posterior(abars[s], abars[t])
        mean, variance = q.mean(x_0, mean), q.x_t_weight**2 * variance + q.variance
        assert mean == pytest.approx(math.sqrt(abars[s]) * x_0, rel=1e-9)
        assert variance == pytest.approx(1 - abars[s], rel=1e-9)


@given(st.floats(-5, 5), st.floats(0.01, 9), st.floats(-5, 5), st.floats(0.01, 9))
def test_gaussian_kl_is_torchs(mean_q, variance_q, mean_p, variance_p):
    q = Normal(torch.tensor(mean_q, dtype=torch.float64), torch.tensor(variance_q, dtype=torch.float64).sqrt())
    p = Normal(torch.tensor(mean_p, dtype=torch.float64), torch.tensor(variance_p, dtype=torch.float64).sqrt())
    expected = kl_divergence(q, p).item()
    assert process.gaussian_kl(mean_q, variance_q, mean_p, variance_p) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_gaussian_kl_of_arrays():
    rng = np.random.default_rng(2)
    mean_q, mean_p = rng.standard_normal((2, 50))
    variance_q, variance_p = rng.uniform(0.1, 3, (2, 50))
    each = [process.gaussian_kl(*map(float, v)) for v in zip(mean_q, variance_q, mean_p, variance_p, strict=True)]
    np.testing.assert_allclose(process.gaussian_kl(mean_q, variance_q, mean_p, variance_p), each, rtol=1e-12)


@pytest.mark.parametrize(("s", "t"), PAIRS[1:])
def test_step_kl_is_the_riemann_sum_of_snr(s, t):
    """KL of a step with p's variance q's own: |x_0 - x0hat|^2 (snr_s - snr_t) / 2 nats."""
    abars = process.alpha_bars(process.linear_betas())
    rng = np.random.default_rng(3)
    x_0, x0hat = rng.uniform(-1, 1, (2, 20))
    x_t = rng.standard_normal(20)
    q = process.posterior(abars[s], abars[t])
    deviation = torch.tensor(math.sqrt(q.variance), dtype=torch.float64)
    kl = kl_divergence(Normal(torch.from_numpy(q.mean(x_0, x_t)), deviation), Normal(torch.from_numpy(q.mean(x0hat, x_t)), deviation))
    expected = np.sum((x_0 - x0hat) ** 2) * (process.snr(abars[s]) - process.snr(abars[t])) / 2
    assert kl.sum().item() == pytest.approx(expected, rel=1e-6)


def test_the_typical_error_is_all_of_the_noise_where_there_is_little_and_falls_from_there():
    error = process.typical_relative_error(np.geomspace(0.01, 1e4, 50))
    assert np.all(np.diff(error) < 0) and 0.99 < error[0] < 1 and 0 < error[-1] < 0.001

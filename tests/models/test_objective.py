"""The training objective: where the noise levels are drawn, and errors that are known in closed form."""

import math

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from ddpmcodec.errors import ConfigurationError
from ddpmcodec.models import networks, objective, process
from ddpmcodec.models.bound import discretized_log_likelihood
from ddpmcodec.models.configuration import Configuration, RelativeError
from ddpmcodec.models.parameterization import PREDICTIONS, target
from ddpmcodec.models.reverse import ReverseProcess

NOISE = RelativeError((1.0, 2.0, 120.0, 800.0, 20000.0), (0.08, 0.64, 0.18, 0.10))
SIGMAS = torch.tensor([1.0, 5.0, 25.0, 120.0, 800.0, 20000.0]) / 127.5


def quantiles(count):
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


@pytest.mark.parametrize("noise", [NOISE, RelativeError((5.0, 50.0), (1.0,)), RelativeError((1.0, 3.0, 9.0, 27.0), (0.5, 0.0, 0.5))])
def test_each_interval_gets_its_share_log_uniformly(noise):
    sigma = 127.5 * objective.draw_sigmas(quantiles(100_000), noise).double().numpy()
    assert np.all(np.diff(sigma) >= 0)
    for low, high, share in zip(noise.sigma[:-1], noise.sigma[1:], noise.share, strict=True):
        inside = sigma[(low * 1.000001 < sigma) & (sigma < high * 0.999999)]
        assert len(inside) / len(sigma) == pytest.approx(share, abs=1e-3)
        if share:
            place = np.log(inside / low) / math.log(high / low)
            np.testing.assert_allclose(np.sort(place), (np.arange(len(place)) + 0.5) / len(place), atol=1e-3)


def test_quantiles_at_and_between_the_ends():
    u = torch.tensor([0.0, 0.04, 0.08, 0.40, 0.72, 0.90, 1.0])
    expected = [1, math.sqrt(2), 2, math.sqrt(2 * 120), 120, 800, 20000]
    torch.testing.assert_close(127.5 * objective.draw_sigmas(u, NOISE), torch.tensor(expected, dtype=torch.float32), rtol=1e-4, atol=0)


@given(st.integers(1, 200), st.integers(0, 2**40))
def test_one_draw_in_each_of_equal_intervals(count, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = objective.stratified(count, generator), objective.stratified(count, generator)
    for u in (a, b):
        assert u.shape == (count,) and u.dtype == torch.float32
        lower = torch.arange(count) / count
        assert torch.all(u >= lower - 1e-6) and torch.all(u <= lower + 1 / count + 1e-6)
    assert not torch.equal(a, b)


def test_draws_are_uniform_within_their_intervals():
    generator = torch.Generator().manual_seed(0)
    u = torch.stack([objective.stratified(4, generator) for _ in range(4000)])
    within = 4 * u.double() - torch.arange(4)
    for column in within.T:
        counts = torch.histc(column, 10, 0, 1)
        assert (counts - 400).abs().max() < 4.5 * 400**0.5
    assert torch.corrcoef(within.T).fill_diagonal_(0).abs().max() < 0.07  # the intervals do not know of one another


# ---- errors


def typical(sigma):
    """mse / sigma^2 that the objective divides by: 1 / (1 + sigma / 1.4), sigma of 255."""
    return 1 / (1 + 127.5 * sigma.double() / 1.4)


@pytest.fixture
def sample():
    """x_0, sigma and eps for each of `SIGMAS`."""
    generator = torch.Generator().manual_seed(0)
    x_0 = torch.rand(len(SIGMAS), 3, 8, 12, generator=generator) * 2 - 1
    return x_0, SIGMAS, torch.randn(x_0.shape, generator=generator)


def levels(sigma):
    """sqrt(abar) and sqrt(1 - abar), as (B, 1, 1, 1) float64."""
    s = sigma.double()[:, None, None, None]
    return (1 / (1 + s * s)).sqrt(), (s * s / (1 + s * s)).sqrt()


def test_the_network_sees_x_t_and_half_the_log_of_sigma(sample):
    x_0, sigma, eps = sample
    seen = []
    objective.relative_error(lambda x_t, c: seen.append((x_t, c)) or x_t, x_0, sigma, eps)
    ((x_t, c),) = seen
    signal, noise = levels(sigma)
    torch.testing.assert_close(x_t, (signal * x_0 + noise * eps).float())
    torch.testing.assert_close(c, torch.tensor([math.log(s) / 2 for s in sigma.tolist()]))


def test_the_true_v_has_no_error(sample):
    x_0, sigma, eps = sample
    signal, noise = levels(sigma)
    v = (signal * eps - noise * x_0).float()
    error = objective.relative_error(lambda x_t, c: v, x_0, sigma, eps)
    assert error.shape == sigma.shape and error.abs().max() < 1e-8


def test_an_estimate_that_is_off_by_a_constant(sample):
    """v of x0hat = x_0 + d, by v = (sqrt(abar) x_t - x0hat) / sqrt(1 - abar): the error is (d / sigma)^2 over the typical one."""
    x_0, sigma, eps = sample
    signal, noise = levels(sigma)
    d = torch.tensor([0.01, -0.02, 0.1, 0.3, -1.0, 2.0], dtype=torch.float64)

    def predict_v(x_t, c):
        return (signal * x_t - (x_0 + d[:, None, None, None])) / noise

    error = objective.relative_error(predict_v, x_0, sigma, eps)
    torch.testing.assert_close(error.double(), (d / sigma.double()) ** 2 / typical(sigma), rtol=1e-3, atol=1e-8)


def test_the_noisy_picture_itself_has_the_noises_error(sample):
    """x0hat = x_t / sqrt(abar) = x_0 + sigma eps: an eps-error of mean eps^2."""
    x_0, sigma, eps = sample
    signal, noise = levels(sigma)
    error = objective.relative_error(lambda x_t, c: (signal - 1 / signal) * x_t / noise, x_0, sigma, eps)
    torch.testing.assert_close(error.double(), eps.double().square().mean((1, 2, 3)) / typical(sigma), rtol=1e-3, atol=0)


def test_the_error_of_x_0_over_sigma_is_the_error_of_eps(sample):
    """For any v, with epshat = sqrt(1 - abar) x_t + sqrt(abar) v."""
    x_0, sigma, eps = sample
    signal, noise = levels(sigma)
    v = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(1))
    x_t = signal * x_0 + noise * eps
    mse = (noise * x_t + signal * v - eps).square().mean((1, 2, 3))
    error = objective.relative_error(lambda x_t, c: v, x_0, sigma, eps)
    torch.testing.assert_close(error.double(), mse / typical(sigma), rtol=1e-3, atol=1e-8)


def test_pictures_do_not_mix(sample):
    x_0, sigma, eps = sample
    together = objective.relative_error(lambda x_t, c: x_t * c[:, None, None, None], x_0, sigma, eps)
    for i in range(len(sigma)):
        one = slice(i, i + 1)
        alone = objective.relative_error(lambda x_t, c: x_t * c[:, None, None, None], x_0[one], sigma[one], eps[one])
        torch.testing.assert_close(alone, together[one])


@pytest.mark.parametrize("level", [-3000, -1000, 0, 1000, 2500])
def test_what_is_trained_is_what_the_codec_evaluates(model, sample, level):
    """The network's error as the objective has it, and that of the model's x0hat at the same level."""
    x_0, _, eps = sample
    snr = model.levels.snr(level)
    sigma = torch.full((len(x_0),), snr**-0.5)
    error = objective.relative_error(model.network, x_0, sigma, eps)
    x_t = (snr / (1 + snr)) ** 0.5 * x_0 + (1 / (1 + snr)) ** 0.5 * eps
    mse = (networks.predict_x_0(model, x_t, level) - x_0).double().square().mean((1, 2, 3)) * snr
    torch.testing.assert_close(error.double(), mse / typical(sigma), rtol=1e-3, atol=0)


# --- the paper's objectives, of networks that are told the timestep


def paper_objective(loss, model_config, **options):
    fields = {"model": model_config, "data": {"crop": 16}, "objective": {"loss": loss, **options}}
    fields["optimizer"] = {"batch": 4, "learning_rate": 1e-3, "warmup": 0, "clip": 1.0, "ema": 0.9}
    return objective.build(msgspec.convert(fields, Configuration), torch.device("cpu"))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (6, 3, 16, 16), generator=generator)
    return pixels / 127.5 - 1, (torch.arange(6) + 0.5) / 6, torch.randn(6, 3, 16, 16, generator=generator)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_l_simple_is_equation_14(prediction, paper_model, batch):
    """And its counterpart for other predictions: the squared error of what is predicted."""
    model = paper_model(prediction=prediction)
    x_0, u, eps = batch
    losses = paper_objective("simple", model.config)(model.network, x_0, u, eps)
    for i, loss in enumerate(losses.tolist()):
        t = 1 + int(50 * float(u[i]))
        abar_t, abar_s = float(model.levels.alpha_bars[t]), float(model.levels.alpha_bars[t - 1])
        x_t = process.q_sample(x_0[i : i + 1], abar_t, eps[i : i + 1])
        output = model.network(x_t, torch.tensor([t - 1.0]))
        expected = (output - target(prediction, x_0[i], eps[i], abar_t, abar_s)).square().mean()
        assert loss == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("variance", ["beta", "beta-tilde", "learned", "learned-range"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_bound_is_a_term_of_equation_5(variance, prediction, paper_model, batch):
    """T times the term at t, as the evaluation computes it: the KL against the posterior, or for t = 1 the discretized decoder."""
    model = paper_model(variance=variance, prediction=prediction)
    x_0, _, eps = batch
    x_0 = x_0 * 0.5
    bound = paper_objective("bound", model.config)
    reverse = ReverseProcess(model, range(50, 0, -1))
    for t in (1, 2, 17, 50):
        u = torch.full((6,), (t - 0.5) / 50)
        losses = bound(model.network, x_0, u, eps)
        assert bound.timesteps(u).tolist() == [t] * 6
        i = 50 - t
        x_t = process.q_sample(x_0, reverse.abars[i], eps)
        p = reverse(i, x_t)
        raw = networks.predict(model, x_t, t).x_0  # which training does not clamp
        mean = reverse.posteriors[i].mean(raw, x_t).double()
        if t == 1:
            nats = -discretized_log_likelihood(x_0, mean, p.log_variance)
        else:
            q = Normal(reverse.posteriors[i].mean(x_0, x_t).double(), reverse.posteriors[i].variance ** 0.5)
            nats = kl_divergence(q, Normal(mean, (p.log_variance.double() / 2).exp().expand(mean.shape)))
        torch.testing.assert_close(losses, (50 * nats.mean((1, 2, 3)) / math.log(2)).float(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variance", ["learned", "learned-range"])
def test_the_bound_trains_variances(variance, paper_model, batch):
    network = networks.build(paper_model(variance=variance).config)
    paper_objective("bound", paper_model(variance=variance).config)(network, *batch).mean().backward()
    gradient = network.variance_fraction.grad if variance == "learned" else network.conv_out.bias.grad[3:]
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_relative_error_at_timesteps(paper_model, batch):
    """The nearest timestep to the sigma drawn, and the squared eps-error over the typical one."""
    model = paper_model(prediction="epsilon")
    x_0, u, eps = batch
    loss = paper_objective("relative-error", model.config, sigma=[2.0, 200.0], share=[1.0])
    t = loss.timesteps(u)
    wanted = 127.5 * objective.draw_sigmas(u, RelativeError((2.0, 200.0), (1.0,)))
    assert t.tolist() == [model.levels.nearest((127.5 / s) ** 2) for s in wanted.tolist()]
    losses = loss(model.network, x_0, u, eps)
    for i in range(6):
        snr = model.levels.snr(int(t[i]))
        x_t = process.q_sample(x_0[i : i + 1], process.abar_of_snr(snr), eps[i : i + 1])
        mse = float((model.network(x_t, t[i : i + 1] - 1.0) - eps[i]).square().mean())
        assert float(losses[i]) == pytest.approx(mse / process.typical_relative_error(process.sigma_of_snr(snr)), rel=1e-3)


def test_what_cannot_be_trained(paper_model, model):
    for variance in ("learned", "learned-range"):
        with pytest.raises(ConfigurationError, match="trained by the bound"):
            paper_objective("simple", paper_model(variance=variance).config)
    for loss in ("simple", "bound"):
        with pytest.raises(ConfigurationError, match="relative error"):
            paper_objective(loss, model.config)

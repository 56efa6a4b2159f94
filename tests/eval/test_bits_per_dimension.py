"""The bound against closed forms: a linear-Gaussian model, the variances of the paper, brute force for the schedules."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from ddpmcodec.errors import ModelError, PictureError
from ddpmcodec.eval import bits_per_dimension as bpd
from ddpmcodec.models import process
from ddpmcodec.models.bound import discretized_log_likelihood
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels
from ddpmcodec.models.networks import Prediction
from ddpmcodec.models.reverse import ReverseProcess, subsequence

LAMBDA = 0.01 + (2 / 255) ** 2 / 12  # variance of the data, the rounding to gray levels included
LINEAR = DiscreteLevels("linear", 1000)


class LinearGaussian:
    """The optimal denoiser of x_0 ~ N(0, LAMBDA), with the part of Model that the bound needs."""

    def __init__(self, levels=LINEAR, start=1000, variance="beta-tilde"):
        self.levels, self.start, self.variance = levels, start, variance

    def predict(self, x_t, level):
        abar = process.abar_of_snr(self.levels.snr(level))
        return Prediction(math.sqrt(abar) * LAMBDA / (abar * LAMBDA + 1 - abar) * x_t, None)


def gaussian_pictures(count=40, side=128):
    """Pictures of N(0, .01), its quantiles in random order, so that the sample's variance is the distribution's."""
    u = (torch.arange(count * side * side * 3, dtype=torch.float64) + 0.5) / (count * side * side * 3)
    x = 0.1 * torch.special.ndtri(u)[torch.randperm(len(u), generator=torch.Generator().manual_seed(0))]
    pixels = ((x + 1) * 127.5).round().clamp(0, 255).byte().numpy().reshape(count, side, side, 3)
    return [(str(i), p) for i, p in enumerate(pixels)]


def mse_of(snr):
    return LAMBDA / (1 + LAMBDA * snr)


def test_a_linear_gaussian_model_has_its_closed_form():
    every = range(1000, 0, -1)
    levels = bpd.best_levels(LINEAR, every, mse_of(np.array([LINEAR.snr(t) for t in every])), 25)
    bound = bpd.evaluate(LinearGaussian(), gaussian_pictures(), levels)
    snr = np.array([LINEAR.snr(t) for t in levels])
    kl = mse_of(snr[:-1]) / 2 * np.diff(snr) / math.log(2)
    np.testing.assert_allclose(bound.steps[:, :-1].mean(0), kl, atol=1e-3)
    assert bound.steps[:, :-1].sum(1).mean() == pytest.approx(kl.sum(), abs=1e-3)
    np.testing.assert_allclose([row["rmse"] for row in bound.progressive()], 127.5 * np.sqrt(mse_of(snr)), rtol=2e-3)
    abar = float(LINEAR.alpha_bars[-1])
    prior = 0.5 * (abar * LAMBDA + (1 - abar) - 1 - math.log(1 - abar)) / math.log(2)
    assert bound.prior.mean() == pytest.approx(prior, abs=1e-6)
    codec = 0.5 * np.log2(1 + mse_of(snr[:-1]) * np.diff(snr))
    np.testing.assert_allclose(bound.codec.mean(0), codec, atol=1e-3)
    received = [row["bits_per_dimension"] for row in bound.progressive()]
    np.testing.assert_allclose(received, prior + np.cumsum([0, *kl]), atol=1e-3)
    assert np.all(bound.total == bound.prior + bound.steps.sum(1)) and np.allclose(bound.rate + bound.distortion, bound.total)


def test_the_finest_schedule_has_the_limit_of_the_rate():
    """Infinitely fine steps send the information of x_1 on x_0, 1/2 log2 (1 + lambda snr). (From t = 2 to 1 the snr still doubles.)"""
    bound = bpd.evaluate(LinearGaussian(), gaussian_pictures(2), range(1000, 0, -1))
    snr = LINEAR.snr(1)
    ideal = 0.5 * math.log2(1 + LAMBDA * snr)
    assert ideal < bound.rate.mean() < 1.2 * ideal


def test_beta_costs_what_the_unequal_variances_cost():
    """With a perfect mean the KL of beta_t against beta-tilde_t sums to .486 bits per dimension over t >= 2 (T = 1000, linear)."""
    betas, abars = process.linear_betas(), LINEAR.alpha_bars
    tilde = betas[1:] * (1 - abars[1:-1]) / (1 - abars[2:])
    ratio = tilde / betas[1:]
    closed = float(np.sum(0.5 * (ratio - 1 - np.log(ratio))) / math.log(2))
    assert closed == pytest.approx(0.486, abs=1e-3)

    class Perfect(LinearGaussian):
        def predict(self, x_t, level):
            return Prediction(torch.full_like(x_t, 127 / 127.5 - 1), None)

    gray = [("gray", np.full((4, 4, 3), 127, np.uint8))]
    of = {v: bpd.evaluate(Perfect(variance=v), gray, range(1000, 0, -1)) for v in ("beta", "beta-tilde")}
    assert (of["beta"].rate - of["beta"].prior).mean() == pytest.approx(closed, abs=1e-6)
    assert of["beta-tilde"].rate.mean() == pytest.approx(of["beta-tilde"].prior.mean(), abs=1e-6)


@pytest.mark.parametrize("log_variance", [-14.0, -9.0, -4.0, 1.0])
def test_the_discretized_decoder_sums_to_one(log_variance):
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean in (-1.3, -0.999, 0.1234, 1.0):
        log_p = discretized_log_likelihood(x, torch.tensor(mean).expand(256), log_variance)
        assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9)


def test_the_discretized_decoder_is_exact_in_the_middle_and_finite_in_the_tails():
    x = torch.tensor([-1.0, -0.2, 0.6, 1.0], dtype=torch.float64)
    mean = torch.tensor([-0.98, -0.21, 0.61, 0.97], dtype=torch.float64, requires_grad=True)
    normal = Normal(mean.detach(), math.exp(-4 / 2))
    low, high = normal.cdf(x - 1 / 255), normal.cdf(x + 1 / 255)
    low[0], high[-1] = 0, 1
    torch.testing.assert_close(discretized_log_likelihood(x, mean, -4.0).detach(), (high - low).log())
    far = discretized_log_likelihood(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64), -9.0)
    assert torch.isfinite(far).all() and (far < -4000).all()
    discretized_log_likelihood(x, mean, -12.0).sum().backward()
    assert torch.isfinite(mean.grad).all()


def test_a_subsequence_costs_more_and_all_of_it_is_the_paper():
    assert subsequence(LINEAR, 1000, 1000) == list(range(1000, 0, -1))
    pictures = gaussian_pictures(2)
    rates = [bpd.evaluate(LinearGaussian(), pictures, subsequence(LINEAR, 1000, count)).rate.mean() for count in (10, 50, 250)]
    assert rates[0] > rates[1] > rates[2]


def test_a_pictures_noise_is_its_own(paper_model, photo):
    model = paper_model()
    a, b, c = photo[:16, :16], photo[16:32, 16:32], photo[:16, 32:48]
    levels = subsequence(model.levels, model.start, 5)
    together = bpd.evaluate(model, [("a", a), ("b", b), ("c", c)], levels, seed=3)
    mixed = bpd.evaluate(model, [("a", a), ("b", b[:, :12]), ("c", c)], levels, seed=3)
    np.testing.assert_allclose(together.total[[0, 2]], mixed.total[[0, 2]], rtol=1e-5)
    assert mixed.dimensions.tolist() == [768, 576, 768]
    assert not np.allclose(together.total, bpd.evaluate(model, [("a", a), ("b", b), ("c", c)], levels, seed=4).total, rtol=1e-5)


def test_the_mean_and_its_standard_error():
    assert bpd.mean_and_error(np.array([1.0, 2.0, 3.0, 6.0])) == (3.0, pytest.approx(math.sqrt(14 / 3 / 4)))
    assert bpd.mean_and_error(np.array([2.5])) == (2.5, 0.0)


@pytest.mark.parametrize("kind", [ContinuousLevels(), DiscreteLevels("cosine", 100)])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_best_levels_is_the_best_of_all(kind, count):
    levels = [-800, -500, -420, -100, 33, 200, 700, 1500] if isinstance(kind, ContinuousLevels) else [100, 90, 71, 60, 44, 20, 7, 1]
    rng = np.random.default_rng(count)
    snr = np.array([kind.snr(level) for level in levels])
    mse = mse_of(snr) * rng.uniform(0.5, 1.5, len(levels))

    def cost(places):
        return sum(mse[i] / 2 * (snr[j] - snr[i]) for i, j in itertools.pairwise(places))

    inner = itertools.combinations(range(1, len(levels) - 1), count - 2)
    best = min(cost((0, *places, len(levels) - 1)) for places in inner)
    found = bpd.best_levels(kind, levels, mse, count)
    assert (found[0], found[-1], len(found)) == (levels[0], levels[-1], count)
    assert cost([levels.index(level) for level in found]) == pytest.approx(best, rel=1e-12)


def test_the_best_levels_beat_even_spacing():
    levels = list(range(1000, 0, -1))
    snr = np.array([LINEAR.snr(t) for t in levels])
    found = bpd.best_levels(LINEAR, levels, mse_of(snr), 20)

    def rate(visited):
        s = np.array([LINEAR.snr(t) for t in visited])
        return float(np.sum(mse_of(s[:-1]) / 2 * np.diff(s)))

    assert rate(found) < 0.8 * rate(subsequence(LINEAR, 1000, 20))
    for count in (1, 1001):
        with pytest.raises(ValueError, match="levels are not 2"):
            bpd.best_levels(LINEAR, levels, mse_of(snr), count)


def test_a_fitted_variance_is_the_best(paper_model, photo):
    model = paper_model()
    pictures = [(str(i), photo[16 * i : 16 * i + 16, :16]) for i in range(4)]
    levels = subsequence(model.levels, model.start, model.start)
    of = {v: bpd.evaluate(model, pictures, levels, variance=v) for v in ("beta", "beta-tilde")}
    fitted = bpd.fit(model, pictures, of["beta"])
    assert fitted.variance == "fitted" and fitted.hash != model.hash
    bound = bpd.evaluate(fitted, pictures, levels)
    np.testing.assert_allclose(bound.mse, of["beta"].mse, rtol=1e-5)
    for fixed in of.values():
        assert (bound.steps.mean(0) <= fixed.steps.mean(0) + 1e-6).all()
    # closed form: sigma^2 = beta-tilde + w^2 mse, where the KL is ln(sigma^2 / beta-tilde) / 2
    reverse = ReverseProcess(model, levels)
    for i, q in enumerate(reverse.posteriors[:-1]):
        best = 0.5 * math.log2(1 + q.x_0_weight**2 * of["beta"].mse[:, i].mean() / q.variance)
        assert bound.steps[:, i].mean() == pytest.approx(best, rel=1e-3)


def test_what_cannot_be_fitted(model, paper_model, photo):
    with pytest.raises(ModelError):
        bpd.fit(model, [], SimpleNamespace())
    with pytest.raises(ModelError):
        bpd.fit(paper_model(variance="learned-range"), [], SimpleNamespace())
    with pytest.raises(PictureError):
        bpd.evaluate(model, [], [model.start])


def test_models_of_continuous_levels_have_a_bound_too(model, photo):
    levels = subsequence(model.levels, model.start, 12)
    bound = bpd.evaluate(model, [("photo", photo[:32, :32])], levels)
    assert np.isfinite(bound.total).all() and 0 < float(bound.rate.mean()) < 24
    assert len(bpd.candidates(model)) == bpd.CANDIDATES


def test_learned_variances_count(paper_model, photo):
    """With all f at 1, which new weights have, "learned" is beta but at the step to x_0."""
    levels = subsequence(paper_model().levels, 50, 50)
    a, b = (bpd.evaluate(paper_model(variance=v), [("a", photo[:16, :16])], levels) for v in ("beta", "learned"))
    np.testing.assert_allclose(a.steps[:, :-1], b.steps[:, :-1], rtol=1e-4)

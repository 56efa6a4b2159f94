"""Sampling against closed forms of a Gaussian model, and what seeds, batches and interpolation promise."""

import math

import numpy as np
import pytest
import torch

from ddpmcodec.models import networks, process, sampling
from ddpmcodec.models.levels import DiscreteLevels
from ddpmcodec.models.networks import Prediction
from ddpmcodec.models.reverse import ReverseProcess, subsequence
from ddpmcodec.models.sampling import Noise, ancestral, ddim, interpolate, last

LINEAR = DiscreteLevels("linear", 1000)
MEAN, LAMBDA = 0.2, 0.01


class Gaussian:
    """The optimal denoiser of x_0 ~ N(MEAN, LAMBDA)."""

    levels, start, variance = LINEAR, 1000, "beta-tilde"

    def predict(self, x_t, level):
        abar = process.abar_of_snr(self.levels.snr(level))
        gain = math.sqrt(abar) * LAMBDA / (abar * LAMBDA + 1 - abar)
        return Prediction(MEAN + gain * (x_t - math.sqrt(abar) * MEAN), None)


def start(noise, side=64):
    return noise.draw(side, side)


@pytest.mark.parametrize("sampler", [ancestral, ddim, lambda p, x, n: ddim(p, x, n, 1.0)])
def test_samples_have_the_datas_distribution(sampler):
    noise = Noise(0, range(8))
    x = last(sampler(ReverseProcess(Gaussian(), range(1000, 0, -1)), start(noise), noise))
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.002)
    assert float(x.var()) == pytest.approx(LAMBDA, rel=0.1)  # beta-tilde is a little too small


def test_few_steps_of_ddim_are_deterministic_and_enough():
    reverse = ReverseProcess(Gaussian(), subsequence(LINEAR, 1000, 50))
    x_t = start(Noise(0, range(4)))
    a, b = (last(ddim(reverse, x_t, Noise(seed, range(4)))) for seed in (1, 2))
    assert torch.equal(a, b) and float(a.mean()) == pytest.approx(MEAN, abs=0.01)


def test_ddim_of_all_noise_is_algorithm_2(paper_model):
    reverse = ReverseProcess(paper_model(), range(50, 0, -1), "beta-tilde")
    x_t = start(Noise(0, range(2)), 8)
    a, b = last(ancestral(reverse, x_t, Noise(1, range(2)))), last(ddim(reverse, x_t, Noise(1, range(2)), 1.0))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


def test_algorithm_2_step_by_step(paper_model):
    model = paper_model(variance="beta")
    levels = [50, 20, 1]
    reverse = ReverseProcess(model, levels)
    x = start(Noise(5, [0]), 8)
    states = list(ancestral(reverse, x, Noise(6, [0])))
    assert [s.level for s in states] == [50, 20, 1, None]
    noise = Noise(6, [0])
    abars = [*abars_of(model, levels), 1.0]
    for i in range(3):
        torch.testing.assert_close(states[i].x_t, x)
        q = process.posterior(abars[i + 1], abars[i])
        x = q.mean(networks.predict_x_0(model, x, levels[i]).clamp(-1, 1), x)
        if i < 2:
            x = x + math.sqrt(1 - abars[i] / abars[i + 1]) * noise.draw(8, 8)
    torch.testing.assert_close(states[3].x_0, x)


def abars_of(model, levels):
    return [float(model.levels.alpha_bars[t]) for t in levels]


def test_a_sample_is_the_same_in_any_batch(paper_model):
    reverse = ReverseProcess(paper_model(), [50, 30, 10, 1])

    def draw(numbers, seed=3):
        noise = Noise(seed, numbers)
        return last(ancestral(reverse, start(noise, 8), noise))

    together = draw(range(5))
    torch.testing.assert_close(draw([3]), together[3:4], rtol=0, atol=1e-4)
    torch.testing.assert_close(draw([4, 0]), together[[4, 0]], rtol=0, atol=1e-4)
    assert torch.equal(draw(range(5)), together) and not torch.allclose(draw(range(5), 4), together, atol=1e-2)


def test_interpolation_decodes_both_ends_and_what_is_between(paper_model):
    model = paper_model()
    a, b = (torch.full((1, 3, 8, 8), v) for v in (-0.4, 0.6))
    reverse = ReverseProcess(model, [20, 9, 1])
    between = interpolate(reverse, a, b, [0, 0.5, 1], seed=1, shared_noise=True)
    assert between.shape == (3, 3, 8, 8)
    # lambda = 0 is a's latent, decoded with the noise that all share; it does not depend on b
    for shared in (False, True):
        torch.testing.assert_close(interpolate(reverse, a, -b, [0], 1, shared), between[:1], rtol=0, atol=1e-4)
    x_b = process.q_sample(b, reverse.abars[0], Noise(1, [1]).draw(8, 8))
    torch.testing.assert_close(last(ancestral(reverse, x_b, Noise(1, [2]))), between[2:], rtol=0, atol=1e-4)
    assert not torch.allclose(between[0], between[2], atol=1e-2)
    same = [interpolate(reverse, a, b, [0, 0], 1, shared) for shared in (False, True)]
    assert [torch.allclose(*pair, atol=1e-4) for pair in same] == [False, True]


def test_from_little_noise_the_pictures_come_back():
    a, b = torch.full((1, 3, 32, 32), 0.1), torch.full((1, 3, 32, 32), 0.3)
    reverse = ReverseProcess(Gaussian(), [2, 1])
    between = interpolate(reverse, a, b, [0, 0.25, 1], seed=0)
    np.testing.assert_allclose(between.mean((1, 2, 3)), [0.1, 0.15, 0.3], atol=0.004)
    far = interpolate(ReverseProcess(Gaussian(), range(1000, 0, -50)), a, b, [0, 1], seed=0)
    np.testing.assert_allclose(far.mean((1, 2, 3)), [MEAN, MEAN], atol=0.02)


def test_the_nearest_picture():
    rng = np.random.default_rng(0)
    training = rng.integers(0, 256, (20, 6, 5, 3), np.uint8)
    query = training[[7, 3]].copy()
    query[1] = np.clip(query[1].astype(int) + 2, 0, 255)
    other = [np.zeros((9, 9, 3), np.uint8), *training]
    found = sampling.nearest(query, iter(other))
    assert [number for number, _ in found] == [8, 4]
    assert found[0][1] == 0 and 1.9 < found[1][1] <= 2
    distances = np.sqrt(np.square(query[1].astype(float) - training).mean((1, 2, 3)))
    assert found[1][1] == pytest.approx(distances.min())
    assert sampling.nearest(query, iter(other[:1])) == [(-1, math.inf)] * 2


def test_pictures_are_the_same_in_any_batch(paper_model, monkeypatch):
    """And so are their x0hat on the way; all of one latent begin there."""
    sampler = sampling.Sampler(ReverseProcess(paper_model(), range(50, 0, -10)), (8, 8), seed=4)
    done: list[int] = []
    [(whole, shown)] = sampling.draw(sampler, 3, places=[0, 5], progress=done.append)
    monkeypatch.setattr(sampling, "BATCH_PIXELS", 64)
    single = list(sampling.draw(sampler, 3, places=[0, 5]))
    torch.testing.assert_close(torch.cat([x for x, _ in single]), whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.cat([on_the_way[0] for _, on_the_way in single]), shown[0], rtol=0, atol=1e-4)
    assert torch.equal(shown[1], whole) and sum(done) == 15
    rest, latent = sampler.latent(27, 9)
    assert rest.process.visited == [30, 20, 10]
    for _, on_the_way in sampling.draw(rest, 2, latent, places=[0]):
        expected = rest.process(0, latent).x_0
        torch.testing.assert_close(on_the_way[0], expected.expand(len(on_the_way[0]), -1, -1, -1), rtol=0, atol=1e-4)

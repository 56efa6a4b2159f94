"""p(x_s | x_t): its variances are the paper's, for all timesteps and for subsequences of them."""

import numpy as np
import pytest
import torch

from ddpmcodec.models import process
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels
from ddpmcodec.models.reverse import ReverseProcess, subsequence

LEVELS = DiscreteLevels("linear", 50, 1e-4, 0.3)
BETAS = process.linear_betas(50, 1e-4, 0.3)
TILDE = BETAS[1:] * (1 - LEVELS.alpha_bars[1:-1]) / (1 - LEVELS.alpha_bars[2:])


def log_variances(model, levels, x=None, **options):
    reverse = ReverseProcess(model, levels, **options)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) if x is None else x
    return [reverse(i, x).log_variance for i in range(len(reverse))]


def test_fixed_variances(paper_model):
    """beta_t and beta-tilde_t; at t = 1, where beta-tilde is 0, both are beta-tilde_2, as in the paper's code."""
    every = range(50, 0, -1)
    small = np.exp(log_variances(paper_model(variance="beta-tilde"), every))[::-1]
    large = np.exp(log_variances(paper_model(variance="beta"), every))[::-1]
    np.testing.assert_allclose(small, [TILDE[0], *TILDE], rtol=1e-6)
    np.testing.assert_allclose(large, [TILDE[0], *BETAS[1:]], rtol=1e-6)
    assert log_variances(paper_model(variance="beta"), every, variance="beta-tilde") == log_variances(
        paper_model(variance="beta-tilde"), every
    )


def test_fitted_and_learned_ones_lie_between(paper_model):
    for variance in ("fitted", "learned"):
        model = paper_model(variance=variance)
        model.network.variance_fraction.data = torch.linspace(0, 1, 50)
        values = log_variances(model, range(50, 0, -1))
        t = 20
        expected = (1 - (t - 1) / 49) * np.log(TILDE[t - 2]) + (t - 1) / 49 * np.log(BETAS[t - 1])
        assert float(values[50 - t]) == pytest.approx(expected, rel=1e-5)


def test_learned_range_is_nichol_and_dhariwals(paper_model):
    """Their v = (output + 1) / 2, on the three channels after epsilon."""
    model = paper_model(variance="learned-range")
    x = torch.randn(2, 3, 8, 8)
    output = model.network(x, torch.full((2,), 19.0))
    v = (output[:, 3:] + 1) / 2
    expected = (1 - v) * np.log(TILDE[18]) + v * np.log(BETAS[19])
    torch.testing.assert_close(log_variances(model, [50, 20, 3], x)[1].shape, x.shape)
    torch.testing.assert_close(log_variances(model, range(50, 0, -1), x)[30], expected.float(), rtol=1e-5, atol=1e-5)


def test_a_subsequence_is_a_process_of_its_own(paper_model):
    """Its betas are those that give its abar (Nichol & Dhariwal 2021, section 4)."""
    visited = [50, 31, 12, 1]
    abars = LEVELS.alpha_bars[visited]
    betas = 1 - abars / np.append(abars[1:], 1.0)
    tilde = betas[:-1] * (1 - abars[1:]) / (1 - abars[:-1])
    np.testing.assert_allclose(np.exp(log_variances(paper_model(variance="beta"), visited)), [*betas[:-1], tilde[-1]], rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_variances(paper_model(variance="beta-tilde"), visited)), [*tilde, tilde[-1]], rtol=1e-6)
    reverse = ReverseProcess(paper_model(), visited)
    x = torch.randn(1, 3, 8, 8)
    p = reverse(3, x)
    torch.testing.assert_close(p.mean, p.x_0)
    assert p.x_0.abs().max() <= 1


def test_subsequences():
    assert subsequence(LEVELS, 50, 50) == list(range(50, 0, -1))
    assert subsequence(LEVELS, 50, 2) == [50, 1] and subsequence(LEVELS, 50, 1) == [50]
    few = subsequence(LEVELS, 50, 7)
    assert (few[0], few[-1], len(set(few))) == (50, 1, 7)
    levels = subsequence(ContinuousLevels(), -3734, 10)
    assert levels[0] == -3734 and np.ptp(np.diff(levels)) <= 1
    assert process.sigma_of_snr(ContinuousLevels().snr(levels[-1])) == pytest.approx(1, abs=0.01)
    for count in (0, 51):
        with pytest.raises(ValueError, match=r"1 \.\.\. 50"):
            subsequence(LEVELS, 50, count)

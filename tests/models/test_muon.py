"""Muon against the singular value decomposition, and its steps against the same written in numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from ddpmcodec.models.muon import QUINTICS, Muon, orthogonalize

SHAPES = [(16, 16), (24, 10), (10, 24), (64, 576), (300, 20), (1, 9), (9, 1), (1, 1)]


def random_matrix(m, n, singular_values, seed=0):
    """U, V and U diag(s) V^T, in float64."""
    rng = np.random.default_rng(seed)
    k = min(m, n)
    u, v = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in (m, n))
    return u, v, (u * singular_values) @ v.T


def spectrum(k):
    """k singular values of a matrix of norm 1, from .0045 up in equal ratios."""
    values = np.ones(k)
    for _ in range(50):
        values = np.geomspace(1, 0.0045 * np.linalg.norm(values), k)
    return values / np.linalg.norm(values)


@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e4])
def test_all_singular_values_become_about_1_and_their_vectors_stay(m, n, norm):
    u, v, matrix = random_matrix(m, n, norm * spectrum(min(m, n)))
    out = orthogonalize(torch.from_numpy(matrix).float()).double().numpy()
    inner = u.T @ out @ v
    assert np.all((np.diag(inner) > 0.85) & (np.diag(inner) < 1.16))
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=2e-4)
    np.testing.assert_allclose(out, u @ inner @ v.T, atol=2e-4)  # nothing outside of the matrix's own spaces


@pytest.mark.parametrize(("m", "n"), [(32, 288), (288, 32), (64, 64)])
def test_gaussian_matrices_against_their_decomposition(m, n):
    matrix = torch.randn(m, n, generator=torch.Generator().manual_seed(m))
    u, s, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    out = orthogonalize(matrix).double()
    large = s > 0.0045 * s.norm()  # a square one has some that are smaller
    assert large.sum() >= 0.95 * min(m, n)
    assert torch.linalg.matrix_norm(u[:, large].T @ (out - u @ vt) @ vt[large].T, 2) < 0.16


def test_few_singular_values_vanish():
    """What has no direction gets none: a matrix of rank 2."""
    *_, matrix = random_matrix(12, 20, np.array([3.0, 1.0] + [0.0] * 10))
    out = orthogonalize(torch.from_numpy(matrix).float()).double().numpy()
    values = np.linalg.svd(out, compute_uv=False)
    assert np.all(np.abs(values[:2] - 1) < 0.15) and np.all(values[2:] < 1e-3)


def test_nothing_stays_nothing():
    assert torch.equal(orthogonalize(torch.zeros(5, 8)), torch.zeros(5, 8))


def test_matrices_of_one_shape_at_once():
    matrices = torch.randn(3, 12, 30, generator=torch.Generator().manual_seed(4)) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    torch.testing.assert_close(orthogonalize(matrices), torch.stack([orthogonalize(m) for m in matrices]))


def polynomial(singular_values):
    for a, b, c in QUINTICS:
        singular_values = a * singular_values + b * singular_values**3 + c * singular_values**5
    return singular_values


def reference_steps(weight, gradients, lr, momentum):
    """The weight after a step for each gradient: a matrix (out, in) in float64."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        velocity = momentum * velocity + (1 - momentum) * gradient
        update = (1 - momentum) * gradient + momentum * velocity
        u, s, vt = np.linalg.svd(update, full_matrices=False)
        factor = lr * max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
        weight = weight - factor * (u * polynomial(s / (1.01 * np.linalg.norm(update)))) @ vt
    return weight


@pytest.mark.parametrize("shape", [(8, 8, 3, 3), (16, 8, 2, 2), (40, 4, 1, 1), (50, 2, 3, 3), (7, 30)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_steps(shape, channels_last):
    generator = torch.Generator().manual_seed(1)
    memory = torch.channels_last if channels_last and len(shape) == 4 else torch.contiguous_format
    p = nn.Parameter(torch.randn(shape, generator=generator).to(memory_format=memory))
    gradients = [torch.randn(shape, generator=generator) for _ in range(4)]
    matrices = [g.flatten(1).double().numpy() for g in gradients]
    expected = reference_steps(p.detach().flatten(1).double().numpy(), matrices, 0.05, 0.9)
    optimizer = Muon([p], 0.05, momentum=0.9)
    before = p.detach().clone()
    for gradient in gradients:
        p.grad = gradient.to(memory_format=memory)
        optimizer.step()
    np.testing.assert_allclose(p.detach().flatten(1).numpy(), expected, atol=1e-4)
    assert (p.detach() - before).abs().mean() > 20 * 1e-4  # the steps are not lost in that tolerance
    assert p.is_contiguous(memory_format=memory) and p.shape == shape


def test_the_size_of_a_step_is_the_learning_rate_and_not_the_gradients():
    """Singular values of about lr, sqrt(out / in) times more where there are more outputs than inputs."""
    for shape, scale in [((8, 4, 3, 3), 1.0), ((36, 4, 1, 1), 3.0)]:
        for size in (1e-6, 1.0, 1e6):
            p = nn.Parameter(torch.zeros(shape))
            p.grad = size * torch.randn(shape, generator=torch.Generator().manual_seed(2))
            Muon([p], 0.1).step()
            values = torch.linalg.svdvals(p.detach().flatten(1))
            assert 0.85 * 0.1 * scale < values.min() and values.max() < 1.16 * 0.1 * scale


def test_weights_of_several_shapes_move_as_each_would_alone():
    generator = torch.Generator().manual_seed(5)
    gradients = [torch.randn(shape, generator=generator) for shape in [(4, 6), (6, 4), (4, 6), (4, 3, 2)]]

    def moved(gradients):
        weights = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
        optimizer = Muon(weights, 0.1)
        for _ in range(2):
            for p, g in zip(weights, gradients, strict=True):
                p.grad = g
            optimizer.step()
        return [p.detach() for p in weights]

    for together, gradient in zip(moved(gradients), gradients, strict=True):
        torch.testing.assert_close(together, moved([gradient])[0])


def test_groups_have_their_own_rates():
    a, b = (nn.Parameter(torch.zeros(6, 6)) for _ in range(2))
    a.grad = b.grad = torch.randn(6, 6, generator=torch.Generator().manual_seed(3))
    Muon([{"params": [a], "lr": 0.1}, {"params": [b]}], 0.3).step()
    torch.testing.assert_close(3 * a.detach(), b.detach())

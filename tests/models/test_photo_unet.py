"""The photo denoiser against a forward pass written in numpy, and its structure before training."""

import math

import numpy as np
import pytest
import torch

from ddpmcodec.models.photo_unet import PhotoUNet, ResidualBlock


def silu(x):
    return x / (1 + np.exp(-x))


def convolution(x, weight, bias):
    """3x3 with a border of zeros: x (channels, height, width)."""
    height, width = x.shape[1:]
    x = np.pad(x, [(0, 0), (1, 1), (1, 1)])
    parts = [np.tensordot(weight[:, :, i, j], x[:, i : i + height, j : j + width], 1) for i in range(3) for j in range(3)]
    return sum(parts) + bias[:, None, None]


def reference(config, w, x, c):
    """v of one picture x (3, height, width) at c = ln(sigma) / 2, from the weights w, all float64."""
    u, channels = config["unshuffle"], config["channels"]

    angle = c * w["emb.f"] * math.pi / 2
    e = np.concatenate([np.sin(angle), np.cos(angle)])
    for layer in ("emb.l1", "emb.l2"):
        e = silu(w[f"{layer}.weight"] @ e + w[f"{layer}.bias"])

    def column(part, h):
        for b in range(config["blocks"]):
            p = f"{part}.{b}"
            modulation = w[f"{p}.m.weight"] @ e + w[f"{p}.m.bias"]
            scale, shift = modulation.reshape(2, -1, 1, 1)
            inner = convolution(h, w[f"{p}.c1.weight"], w[f"{p}.c1.bias"]) * (1 + scale) + shift
            h = h + convolution(silu(inner), w[f"{p}.c2.weight"], w[f"{p}.c2.bias"])
        return h

    h = np.stack([x[k, i::u, j::u] for k in range(3) for i in range(u) for j in range(u)])
    h = convolution(h, w["inp.weight"], w["inp.bias"])
    skips = []
    for level in range(len(channels)):
        h = column(f"enc.{level}", h)
        if level < len(channels) - 1:
            skips.append(h)
            weight = w[f"down.{level}.weight"]
            h = sum(np.tensordot(weight[:, :, i, j], h[:, i::2, j::2], 1) for i in range(2) for j in range(2))
            h = h + w[f"down.{level}.bias"][:, None, None]
    for level in reversed(range(len(channels))):
        h = column(f"dec.{level}", h)
        if level:
            weight, fine = w[f"up.{level - 1}.weight"], skips[level - 1].copy()
            for i in range(2):
                for j in range(2):
                    fine[:, i::2, j::2] += np.tensordot(weight[:, :, i, j].T, h, 1)
            h = fine + w[f"up.{level - 1}.bias"][:, None, None]
    h = convolution(h, w["out.weight"], w["out.bias"])
    v = np.empty_like(x)
    for k in range(3):
        for i in range(u):
            for j in range(u):
                v[k, i::u, j::u] = h[(k * u + i) * u + j]
    return v


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def fresh():
    """A network before training, with three levels of two blocks."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PhotoUNet((8, 12, 16), 2, 16, 2).requires_grad_(False)


@pytest.mark.parametrize("c", [-2.5, 0.0, 1.7])
def test_the_forward_pass_of_the_test_model(model, c):
    x = noise(1, 3, 12, 20)
    weights = {name: values.double().numpy() for name, values in model.network.state_dict().items()}
    expected = reference(model.config, weights, x[0].double().numpy(), c)
    np.testing.assert_allclose(model.network(x, torch.tensor([c]))[0].numpy(), expected, atol=2e-5, rtol=1e-4)


def test_the_forward_pass_of_more_levels_and_blocks(fresh):
    with torch.no_grad():
        for i, (name, p) in enumerate(fresh.named_parameters()):
            if ".m." in name:
                p.copy_(0.2 * noise(*p.shape, seed=i))
    x = noise(1, 3, 16, 8, seed=1)
    weights = {name: values.double().numpy() for name, values in fresh.state_dict().items()}
    expected = reference({"unshuffle": 2, "channels": [8, 12, 16], "blocks": 2}, weights, x[0].double().numpy(), 0.4)
    np.testing.assert_allclose(fresh(x, torch.tensor([0.4]))[0].numpy(), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("channels", "unshuffle", "stride"), [((4,), 1, 1), ((4,), 2, 2), ((4, 6), 2, 4), ((4, 6, 8), 3, 12)])
def test_sizes_are_multiples_of_the_stride(channels, unshuffle, stride):
    network = PhotoUNet(channels, 1, 8, unshuffle)
    assert network.stride == stride
    for rows, columns in [(1, 1), (2, 3)]:
        x = noise(2, 3, rows * stride, columns * stride)
        assert network(x, torch.zeros(2)).shape == x.shape
    if stride > 1:
        with pytest.raises(RuntimeError):
            network(noise(1, 3, stride + 1, stride), torch.zeros(1))


def test_the_noise_level_matters_only_once_trained(model, fresh):
    """Scale and shift begin at zero."""
    x, a, b = noise(1, 3, 16, 16), torch.tensor([-1.0]), torch.tensor([1.0])
    assert torch.equal(fresh(x, a), fresh(x, b))
    assert (model.network(x, a) - model.network(x, b)).abs().mean() > 0.01


def test_a_block_adds_to_its_input():
    """Without its second convolution a block passes its input on; with scale -1 what it adds depends on the shift alone."""
    block = ResidualBlock(6, 5).requires_grad_(False)
    x, e = noise(1, 6, 9, 7), noise(1, 5, seed=1)
    block.m.bias[:6], block.m.bias[6:] = -1, 0.5
    torch.testing.assert_close(block(x, e) - x, block(0 * x, e), atol=1e-6, rtol=0)
    assert block(0 * x, e).abs().max() > 0.01
    block.m.bias[:6] = 0
    assert (block(x, e) - x - block(0 * x, e)).abs().max() > 0.001
    block.c2.weight.zero_()
    block.c2.bias.zero_()
    assert torch.equal(block(x, e), x)


def test_pictures_of_a_batch_do_not_mix(model):
    x, c = noise(3, 3, 8, 12), torch.tensor([-2.0, 0.0, 2.0])
    alone = [model.network(x[i : i + 1], c[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(model.network(x, c), torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_a_shifted_picture_gives_a_shifted_prediction(model):
    """Far from the border, by multiples of the stride."""
    x, c, stride = noise(1, 3, 96, 96), torch.zeros(1), model.network.stride
    moved = model.network(x.roll((stride, 2 * stride), (2, 3)), c).roll((-stride, -2 * stride), (2, 3))
    inner = slice(40, 56)
    torch.testing.assert_close(moved[:, :, inner, inner], model.network(x, c)[:, :, inner, inner], atol=1e-5, rtol=1e-4)


def test_every_weight_but_the_frequencies_learns(fresh):
    for p in fresh.parameters():
        p.requires_grad_(True)
    fresh.emb.f.requires_grad_(False)
    assert not PhotoUNet((4,), 1, 8, 2).emb.f.requires_grad
    with torch.no_grad():
        for name, p in fresh.named_parameters():
            if name.endswith(".m.weight"):
                p.add_(0.1)  # at zero, it passes nothing on to the embedding
    fresh(noise(1, 3, 16, 16), torch.tensor([0.3])).square().sum().backward()
    idle = [name for name, p in fresh.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == ["emb.f"]

"""The paper's U-Net: its size, its structure before training, and what configurations cannot be."""

import msgspec
import pytest
import torch

from ddpmcodec.models import checkpoint, configuration, networks
from ddpmcodec.models.ddpm_unet import DDPMUNet, DDPMUNetConfig, timestep_embedding
from ddpmcodec.models.model import complete

LARGE = (1, 1, 2, 2, 4, 4)
SMALL = DDPMUNetConfig(resolution=16, channels=8, multipliers=(1, 2), blocks=1, attention=(8,), groups=4)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [("cifar10", 35_746_307), ("celeba_hq_256", 113_673_219), ("lsun_church", 113_673_219), ("lsun_bedroom_large", 255_677_955)],
)
def test_the_papers_models_have_their_size(name, count):
    """35.7, 114 and 256 million (appendix B); the first two to the parameter, as google/ddpm-cifar10-32 and google/ddpm-celebahq-256."""
    with torch.device("meta"):
        network = networks.build(configuration.load(name).model)
    assert parameters(network) == count


def test_tiny_is_tiny():
    with torch.device("meta"):
        network = networks.build(configuration.load("tiny").model)
    assert 2 * parameters(network) < 4e6  # bytes, in half precision


@pytest.mark.parametrize("scale_shift", [False, True])
@pytest.mark.parametrize("resample", ["conv", "residual"])
def test_new_weights_predict_nothing(scale_shift, resample):
    network = DDPMUNet(msgspec.structs.replace(SMALL, scale_shift=scale_shift, resample=resample, pad="both"), 6)
    out = network(torch.randn(2, 3, 16, 24), torch.tensor([0.0, 999.0])).detach()
    assert out.shape == (2, 6, 16, 24) and 0 < float(out.abs().max()) < 1e-3


def test_the_embedding_is_sinusoidal():
    t = torch.tensor([0.0, 1.0, 999.0])
    e = timestep_embedding(t, DDPMUNetConfig(channels=8, groups=4))
    frequencies = 10000.0 ** (-torch.arange(4) / 3)
    torch.testing.assert_close(e, torch.cat([(t[:, None] * frequencies).sin(), (t[:, None] * frequencies).cos()], 1), rtol=0, atol=1e-3)
    flipped = timestep_embedding(t, DDPMUNetConfig(channels=8, groups=4, flip_sin_to_cos=True, freq_shift=0, time_scale=0.5))
    frequencies = 0.5 * 10000.0 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(
        flipped, torch.cat([(t[:, None] * frequencies).cos(), (t[:, None] * frequencies).sin()], 1), rtol=0, atol=1e-3
    )


def test_the_timestep_and_all_pixels_matter(paper_model):
    network = paper_model().network
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([3.0])
    base = network(x, t)
    assert not torch.allclose(base, network(x, t + 20), atol=1e-4)
    moved = x.clone()
    moved[0, 0, 15, 15] += 1
    assert (network(moved, t) - base)[0, :, 0, 0].abs().max() > 1e-7  # by the attention


def test_pictures_of_a_batch_do_not_matter_to_each_other(paper_model):
    network = paper_model().network
    x, t = torch.randn(3, 3, 8, 12), torch.tensor([1.0, 20.0, 49.0])
    together = network(x, t)
    for i in range(3):
        torch.testing.assert_close(network(x[i : i + 1], t[i : i + 1]), together[i : i + 1], rtol=1e-4, atol=1e-5)


def test_dropout_is_of_training_alone():
    network = DDPMUNet(SMALL, dropout=0.5)
    for p in network.parameters():
        p.data += 0.05 * torch.randn_like(p)
    x, t = torch.randn(1, 3, 16, 16), torch.zeros(1)
    assert not torch.equal(network.train()(x, t), network(x, t))
    assert torch.equal(network.eval()(x, t), network(x, t))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 15}, "no multiple of 2"),
        ({"attention": [4]}, "attention at resolution 4"),
        ({"channels": 6}, "no multiple of 4 groups"),
        ({"groups": 3}, "no multiple of 3 groups"),
        ({"heads": 3}, "for the heads"),
        ({"head_channels": 3}, "for the heads"),
        ({"channels": 4096, "multipliers": [1, 2]}, "more than 4096"),
        ({"multipliers": []}, "multipliers"),
        ({"multipliers": [1] * 9}, "multipliers"),
        ({"multipliers": [1, 0]}, "multipliers"),
        ({"blocks": 65}, "blocks"),
        ({"norm_eps": 0}, "norm_eps"),
        ({"resample": "pool"}, "resample"),
        ({"pad": "none"}, "pad"),
        ({"freq_shift": 2}, "freq_shift"),
        ({"time_scale": float("inf")}, "time_scale"),
        ({"colour": True}, "colour"),
        ({"prediction": "noise"}, "prediction"),
        ({"variance": "large"}, "variance"),
        ({"start": "50"}, "start"),
        ({"levels": {"kind": "continuous"}}, "discrete"),
        ({"levels": {"kind": "discrete", "schedule": "linear", "T": 1}}, "T = 1"),
    ],
)
def test_what_no_configuration_can_be(change, message, paper_model):
    config = paper_model().config | change
    with pytest.raises(checkpoint.ModelError, match=message):
        networks.build(config)


def test_a_configuration_is_completed(paper_model):
    model = paper_model()
    short = {
        k: model.config[k]
        for k in ("architecture", "resolution", "channels", "multipliers", "blocks", "attention", "groups", "levels", "start")
    }
    assert complete(short) == model.config
    assert complete(model.config) == model.config


@pytest.mark.parametrize("variance", ["beta", "learned", "fitted", "learned-range"])
@pytest.mark.parametrize("prediction", ["epsilon", "x_0", "mu", "v"])
def test_models_are_saved_and_loaded(variance, prediction, paper_model, tmp_path):
    model = paper_model(variance=variance, prediction=prediction)
    checkpoint.save(tmp_path / "m.safetensors", "m", model.config, model.network.state_dict(), {5: [50, 30, 10, 5, 1]})
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert loaded.hash == model.hash and loaded.best_visited == {5: (50, 30, 10, 5, 1)} and loaded.variance == variance
    x = torch.randn(2, 3, 16, 16)
    a, b = networks.predict(model, x, 17), networks.predict(loaded, x, 17)
    assert torch.equal(a.x_0, b.x_0)
    assert (a.variance_fraction is None) == (variance == "beta")


def test_pictures_of_any_size_in_any_number(paper_model):
    model = paper_model()
    assert networks.predict_x_0(model, torch.randn(1, 3, 7, 9), 3).shape == (1, 3, 7, 9)
    x = torch.randn(200, 3, 32, 32)  # more than are evaluated at once
    together = networks.predict_x_0(model, x, 20)
    torch.testing.assert_close(together[150:151], networks.predict_x_0(model, x[150:151], 20), rtol=1e-3, atol=1e-4)

"""diffusers' folders, against diffusers itself."""

import json
import pickle

import numpy as np
import pytest
import torch

import ddpmcodec
from ddpmcodec.errors import ModelError, OutputError, PictureError
from ddpmcodec.models import diffusers_layout, networks, registry
from ddpmcodec.models.ddpm_unet import DDPMUNetConfig
from ddpmcodec.models.model import complete

# The configuration of google/ddpm-cifar10-32.
CIFAR10 = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
# That of google/ddpm-celebahq-256 and ddpm-church-256, with an eighth of the channels.
CELEBA_HQ = CIFAR10 | {
    "block_out_channels": [16, 16, 32, 32, 64, 64],
    "norm_num_groups": 4,
    "sample_size": 256,
    "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
}
SMALL = CIFAR10 | {"block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1, "sample_size": 16}
SMALL |= {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}
VARIATIONS = {
    "cifar10": CIFAR10,
    "celeba-hq": CELEBA_HQ,
    "defaults": SMALL | {"norm_eps": 1e-5, "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0, "attention_head_dim": 8},
    "scale-shift": SMALL | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4},
    "six": SMALL | {"out_channels": 6},
    "residual": SMALL
    | {"down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"]}
    | {"downsample_type": "resnet", "upsample_type": "resnet"},
}


@pytest.fixture(scope="module")
def diffusers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield pytest.importorskip("diffusers")


@pytest.fixture
def pipeline(diffusers, tmp_path):
    """Saves a pipeline of random weights, none of them 0; its network and the folder."""

    def make(network=SMALL, **scheduler):
        torch.manual_seed(0)
        unet = diffusers.UNet2DModel(**network).eval()
        with torch.no_grad():
            for p in unet.parameters():
                p.add_(0.05 * torch.randn_like(p))
        folder = tmp_path / "pipeline"
        diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(**scheduler)).save_pretrained(folder)
        return unet, folder

    return make


def outputs(network, resolution):
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(2, 3, resolution, resolution, generator=generator), torch.tensor([0.0, 731.0])
    with torch.no_grad():
        out = network(x, t)
    return getattr(out, "sample", out)


@pytest.mark.parametrize("name", VARIATIONS)
def test_the_network_is_the_same(name, pipeline):
    learned = {"variance_type": "learned_range"} if name == "six" else {}
    unet, folder = pipeline(VARIATIONS[name], **learned)
    model = registry.find(str(folder))
    size = 64 if name == "celeba-hq" else VARIATIONS[name]["sample_size"]
    theirs, ours = outputs(unet, size), outputs(model.network, size)
    assert theirs.std() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", VARIATIONS)
def test_export_is_read_by_diffusers(name, diffusers, pipeline, tmp_path):
    unet, folder = pipeline(VARIATIONS[name], **({"variance_type": "learned_range"} if name == "six" else {}))
    config, tensors = diffusers_layout.read(folder)
    diffusers_layout.write(tmp_path / "export", config, tensors)
    again = diffusers.DDPMPipeline.from_pretrained(str(tmp_path / "export"))
    size = 64 if name == "celeba-hq" else VARIATIONS[name]["sample_size"]
    torch.testing.assert_close(outputs(again.unet, size), outputs(unet, size), rtol=0, atol=1e-5)
    assert diffusers_layout.read(tmp_path / "export")[0] == config
    assert not list(tmp_path.glob(".*"))


def test_the_published_configurations_are_the_papers(pipeline):
    _, folder = pipeline(CIFAR10, variance_type="fixed_large")
    config, _ = diffusers_layout.read(folder)
    from ddpmcodec.models import configuration

    ours = complete(configuration.load("cifar10").model)
    assert config == ours


def test_the_scheduler_says_what_is_predicted(pipeline):
    _, folder = pipeline(
        num_train_timesteps=500, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", variance_type="fixed_large"
    )
    config, tensors = diffusers_layout.read(folder)
    model = networks.model_of("a", config, tensors)
    assert (model.prediction, model.variance, model.start) == ("v", "beta", 500)
    assert (model.levels.schedule, model.levels.T) == ("cosine", 500)


def test_its_schedules_are_ours(diffusers):
    from ddpmcodec.models.levels import DiscreteLevels

    for theirs, ours in diffusers_layout.SCHEDULES.items():
        abars = diffusers.DDPMScheduler(beta_schedule=theirs).alphas_cumprod.double()
        torch.testing.assert_close(torch.from_numpy(DiscreteLevels(ours, 1000).alpha_bars[1:]), abars, rtol=1e-4, atol=1e-9)


def test_a_network_alone_has_the_papers_process(pipeline, tmp_path):
    _, folder = pipeline()
    config, _ = diffusers_layout.read(folder / "unet")
    assert config["levels"] == {"kind": "discrete", "schedule": "linear", "T": 1000, "beta_1": 1e-4, "beta_T": 0.02}
    assert registry.find(str(folder / "unet")).hash == registry.find(str(folder)).hash


def test_old_names_of_attention_and_a_bin_file(pipeline):
    unet, folder = pipeline()
    new_to_old = {new: old for old, new in diffusers_layout.OLD_NAMES.items()}
    old = {}
    for name, value in unet.state_dict().items():
        for new, before in new_to_old.items():
            name = name.replace(f".{new}.", f".{before}.")
        old[name] = value
    expected = registry.find(str(folder)).hash
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(old, folder / "unet" / "diffusion_pytorch_model.bin")
    assert networks.model_of("a", *diffusers_layout.read(folder)).hash == expected


class Code:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_that_runs_code_is_refused(pipeline, capsys):
    _, folder = pipeline()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Code()}, folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="nothing else is loaded"):
        diffusers_layout.read(folder)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Code()))
    with pytest.raises(ModelError, match="cannot be read"):
        diffusers_layout.read(folder)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "tensors",
    [{1: torch.ones(2)}, {"a": torch.ones(2, 2).to_sparse()}, {"a": torch.ones(2, device="meta")}, {"a": [1.0]}, [torch.ones(2)]],
)
def test_dictionaries_of_other_things(tmp_path, tensors):
    torch.save(tensors, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="no dictionary of tensors"):
        diffusers_layout._tensors(tmp_path)


def test_an_empty_file_in_place_of_the_tensors(tmp_path):
    """torch has no word for it."""
    (tmp_path / "diffusion_pytorch_model.bin").touch()
    with pytest.raises(ModelError, match="cannot be read"):
        diffusers_layout._tensors(tmp_path)


NETWORKS = [
    ("act_fn", "gelu"),
    ("center_input_sample", True),
    ("class_embed_type", "timestep"),
    ("in_channels", 6),
    ("down_block_types", ["DownBlock2D", "SkipDownBlock2D"]),
    ("up_block_types", ["UpBlock2D", "AttnUpBlock2D"]),
    ("block_out_channels", [8, 12]),
    ("block_out_channels", [8]),
    ("block_out_channels", "many"),
    ("norm_num_groups", 3),
    ("time_embedding_type", "fourier"),
    ("layers_per_block", 1000),
    ("out_channels", 4),
    ("_class_name", "UNet2DConditionModel"),
]
PROCESSES = [
    ("beta_schedule", "sigmoid"),
    ("trained_betas", [0.1]),
    ("prediction_type", "noise"),
    ("variance_type", "learned"),
    ("variance_type", "learned_range"),
    ("clip_sample_range", 2.0),
    ("rescale_betas_zero_snr", True),
    ("num_train_timesteps", 1),
    ("num_train_timesteps", "many"),
    ("beta_start", 0.5),
]


@pytest.mark.parametrize(("field", "value"), NETWORKS + PROCESSES)
def test_what_is_not_ours_is_refused(field, value, pipeline):
    _, folder = pipeline()
    path = folder / ("unet/config.json" if (field, value) in NETWORKS else "scheduler/scheduler_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ModelError) as caught:
        networks.model_of("a", *diffusers_layout.read(folder))
    assert "\n" not in str(caught.value)


def test_every_field_is_honoured_or_irrelevant_or_refused_by_name(pipeline):
    _, folder = pipeline()
    network, process, index = (folder / name for name in ("unet/config.json", "scheduler/scheduler_config.json", "model_index.json"))

    def changed(path, field, value):
        before = path.read_text()
        path.write_text(json.dumps(json.loads(before) | {field: value}))
        try:
            return networks.model_of("a", *diffusers_layout.read(folder)).hash
        finally:
            path.write_text(before)

    same = networks.model_of("a", *diffusers_layout.read(folder)).hash
    for field, value in (("sample_size", [16, 16]), ("act_fn", "swish"), ("dropout", 0.5), ("attn_norm_num_groups", 4), ("_note", 3)):
        assert changed(network, field, value) == same
    assert changed(process, "timestep_spacing", "trailing") == changed(process, "_class_name", "DDIMScheduler") == same
    for path, field, value in (
        (network, "attn_norm_num_groups", 2),
        (network, "sample_size", [16, 8]),
        (network, "sample_size", "16"),
        (network, "downsample_type", "pool"),
        (network, "a_new_field", 1),
        (process, "a_new_field", None),
        (process, "_class_name", "KarrasVeScheduler"),
        (index, "_class_name", "LDMPipeline"),
    ):
        with pytest.raises(ModelError, match=value if field == "_class_name" else field):
            changed(path, field, value)


def test_a_network_of_one_channel_is_of_gray_pictures(diffusers, pipeline, tmp_path):
    unet, folder = pipeline(SMALL | {"in_channels": 1, "out_channels": 1})
    config, tensors = diffusers_layout.read(folder)
    model = networks.model_of("gray", config, tensors)
    assert model.planes == 1 and "planes" not in diffusers_layout.read(pipeline_of_colours(diffusers, tmp_path))[0]
    # Three channels of equal x_0 at t = 300 are, as their mean, one channel of x_t at three times the snr.
    x_0 = torch.rand(1, 1, 16, 16) * 2 - 1
    noise = torch.randn(1, 3, 16, 16)
    abars = diffusers.DDPMScheduler().alphas_cumprod.double()
    x_t = abars[299].sqrt() * x_0 + (1 - abars[299]).sqrt() * noise
    snrs = abars / (1 - abars)
    index = int((snrs.log() - (3 * snrs[299]).log()).abs().argmin())
    one = (abars[index] / abars[299]).sqrt() * x_t.mean(1, keepdim=True)
    with torch.no_grad():
        eps = unet(one.float(), index).sample
    expected = (one - (1 - abars[index]).sqrt() * eps) / abars[index].sqrt()
    torch.testing.assert_close(networks.predict_x_0(model, x_t.float(), 300), expected.float().repeat(1, 3, 1, 1), rtol=1e-3, atol=1e-3)
    diffusers_layout.write(tmp_path / "export", config, tensors)
    assert diffusers_layout.read(tmp_path / "export")[0] == config
    picture = (127.5 * (x_0[0, 0] + 1)).byte().numpy()
    data = ddpmcodec.encode(picture, model=model, evaluations=3, effort=1, lossless=True)
    assert np.array_equal(np.asarray(ddpmcodec.decode(data, model=model)), picture)
    with pytest.raises(PictureError, match="is of gray pictures"):
        ddpmcodec.encode(np.stack([picture] * 3, 2), model=model)


def pipeline_of_colours(diffusers, tmp_path):
    diffusers.UNet2DModel(**SMALL).save_pretrained(tmp_path / "colours")
    return tmp_path / "colours"


def test_weights_of_another_network_are_refused(pipeline):
    _, folder = pipeline()
    config, tensors = diffusers_layout.read(folder)
    with pytest.raises(ModelError, match="do not fit"):
        networks.model_of("a", config | {"blocks": 2}, tensors)
    with pytest.raises(ModelError, match="do not fit"):
        networks.model_of("a", config, {k: v for k, v in tensors.items() if k != "conv_in.bias"})


def test_folders_of_nothing(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        diffusers_layout.read(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ModelError):
        diffusers_layout.read(tmp_path)


def test_a_folder_that_is_there_is_kept(tmp_path, model):
    (tmp_path / "export").mkdir()
    config = DDPMUNetConfig(channels=8, groups=4, multipliers=(1,), attention=())
    import msgspec

    full = {"architecture": "ddpm-unet", "levels": {"kind": "discrete", "schedule": "linear", "T": 10}, "start": 10}
    full = complete(full | msgspec.to_builtins(config))
    full["levels"] |= {"beta_1": 1e-4, "beta_T": 0.02}
    with pytest.raises(OutputError, match="exists"):
        diffusers_layout.write(tmp_path / "export", full, {})
    with pytest.raises(OutputError):
        diffusers_layout.write(tmp_path / "nowhere" / "export", full, {})
    with pytest.raises(ModelError, match="mu"):
        diffusers_layout.write(tmp_path / "other", full | {"prediction": "mu"}, {})

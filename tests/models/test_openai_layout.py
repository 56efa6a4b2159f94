"""OpenAI's state dicts, against a forward pass written down from improved-diffusion's and guided-diffusion's definitions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddpmcodec.errors import ModelError
from ddpmcodec.models import networks, openai_layout, process


class Reference:
    """UNetModel of improved-diffusion and guided-diffusion as a function of a state dict, which it makes as it goes when there is none."""

    def __init__(
        self,
        channels,
        multipliers,
        blocks,
        attention,
        heads=1,
        head_channels=None,
        scale_shift=True,
        updown=False,
        new_order=False,
        outputs=6,
    ):
        self.channels, self.multipliers, self.blocks, self.attention = channels, multipliers, blocks, attention
        self.heads, self.head_channels, self.scale_shift, self.updown, self.new_order = heads, head_channels, scale_shift, updown, new_order
        self.outputs = outputs
        self.state = {}
        self.generator = torch.Generator().manual_seed(0)

    def tensor(self, name, *shape, center=0.0):
        if name not in self.state:
            fan = math.prod(shape[1:]) or 1
            self.state[name] = center + torch.randn(shape, generator=self.generator) * (fan**-0.5 if len(shape) > 1 else 0.2)
        return self.state[name]

    def norm(self, name, x):
        return F.group_norm(x, 32, self.tensor(f"{name}.weight", x.shape[1], center=1.0), self.tensor(f"{name}.bias", x.shape[1]), 1e-5)

    def conv(self, name, x, o, size=3, **options):
        return F.conv2d(
            x, self.tensor(f"{name}.weight", o, x.shape[1], size, size), self.tensor(f"{name}.bias", o), padding=size // 2, **options
        )

    def linear(self, name, x, o):
        return F.linear(x, self.tensor(f"{name}.weight", o, x.shape[1]), self.tensor(f"{name}.bias", o))

    def block(self, name, x, emb, o, resample=None):
        h = F.silu(self.norm(f"{name}.in_layers.0", x))
        if resample:
            h, x = resample(h), resample(x)
        h = self.conv(f"{name}.in_layers.2", h, o)
        e = self.linear(f"{name}.emb_layers.1", F.silu(emb), 2 * o if self.scale_shift else o)[..., None, None]
        if self.scale_shift:
            scale, shift = torch.chunk(e, 2, dim=1)
            h = self.norm(f"{name}.out_layers.0", h) * (1 + scale) + shift
        else:
            h = self.norm(f"{name}.out_layers.0", h + e)
        h = self.conv(f"{name}.out_layers.3", F.silu(h), o)
        return h + (x if x.shape[1] == o else self.conv(f"{name}.skip_connection", x, o, 1))

    def attend(self, name, x):
        b, c, *spatial = x.shape
        heads = c // self.head_channels if self.head_channels else self.heads
        flat = x.reshape(b, c, -1)
        normed = self.norm(f"{name}.norm", flat)
        qkv = F.conv1d(normed, self.tensor(f"{name}.qkv.weight", 3 * c, c, 1), self.tensor(f"{name}.qkv.bias", 3 * c))
        ch = c // heads
        scale = 1 / math.sqrt(math.sqrt(ch))
        if self.new_order:
            q, k, v = (part.reshape(b * heads, ch, -1) for part in qkv.chunk(3, dim=1))
        else:
            q, k, v = qkv.reshape(b * heads, ch * 3, -1).split(ch, dim=1)
        weight = torch.softmax(torch.einsum("bct,bcs->bts", q * scale, k * scale), dim=-1)
        a = torch.einsum("bts,bcs->bct", weight, v).reshape(b, c, -1)
        h = F.conv1d(a, self.tensor(f"{name}.proj_out.weight", c, c, 1), self.tensor(f"{name}.proj_out.bias", c))
        return (flat + h).reshape(b, c, *spatial)

    def __call__(self, x, t):
        half = self.channels // 2
        args = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half).float() / half)[None]
        emb = torch.cat([torch.cos(args), torch.sin(args)], dim=-1)
        emb = self.linear("time_embed.2", F.silu(self.linear("time_embed.0", emb, 4 * self.channels)), 4 * self.channels)
        h = self.conv("input_blocks.0.0", x, self.channels)
        hs = [h]
        n, last = 1, len(self.multipliers) - 1
        for level, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                h = self.block(f"input_blocks.{n}.0", h, emb, multiplier * self.channels)
                if level in self.attention:
                    h = self.attend(f"input_blocks.{n}.1", h)
                hs.append(h)
                n += 1
            if level != last:
                o = h.shape[1]
                if self.updown:
                    h = self.block(f"input_blocks.{n}.0", h, emb, o, lambda v: F.avg_pool2d(v, 2))
                else:
                    h = self.conv(f"input_blocks.{n}.0.op", h, o, stride=2)
                hs.append(h)
                n += 1
        h = self.block("middle_block.0", h, emb, h.shape[1])
        h = self.block("middle_block.2", self.attend("middle_block.1", h), emb, h.shape[1])
        n = 0
        double = lambda v: F.interpolate(v, scale_factor=2, mode="nearest")  # noqa: E731
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for i in range(self.blocks + 1):
                h = self.block(f"output_blocks.{n}.0", torch.cat([h, hs.pop()], dim=1), emb, multiplier * self.channels)
                k = 1
                if level in self.attention:
                    h = self.attend(f"output_blocks.{n}.1", h)
                    k = 2
                if level and i == self.blocks:
                    if self.updown:
                        h = self.block(f"output_blocks.{n}.{k}", h, emb, h.shape[1], double)
                    else:
                        h = self.conv(f"output_blocks.{n}.{k}.conv", double(h), h.shape[1])
                n += 1
        return self.conv("out.2", F.silu(self.norm("out.0", h)), self.outputs)


MODELS = {
    # as cifar10_uncond and imagenet64_uncond, lsun_uncond, 256x256_diffusion_uncond, with fewer channels
    "improved": (dict(channels=32, multipliers=(1, 2, 2), blocks=2, attention=(1, 2), heads=4), {"heads": 4}),
    "paper's variance": (dict(channels=32, multipliers=(1, 2), blocks=1, attention=(), scale_shift=False, outputs=3), {}),
    "guided": (dict(channels=32, multipliers=(1, 1, 2), blocks=1, attention=(1,), head_channels=16, updown=True), {"head_channels": 16}),
    "new order": (
        dict(channels=64, multipliers=(1, 2), blocks=1, attention=(0, 1), head_channels=32, new_order=True),
        {"head_channels": 32, "new_attention_order": True},
    ),
}


@pytest.fixture
def saved(tmp_path):
    """The state dict of a reference; the reference, the path and what the shapes don't tell."""

    def save(name="improved", **changes):
        sizes, flags = MODELS[name]
        reference = Reference(**sizes | changes)
        with torch.no_grad():
            reference(torch.zeros(1, 3, 16, 16), torch.zeros(1))
        path = tmp_path / "model.pt"
        torch.save(reference.state, path)
        return reference, path, {"resolution": 16, **flags}

    return save


@pytest.mark.parametrize("name", MODELS)
def test_the_network_is_the_same(name, saved):
    reference, path, flags = saved(name)
    model = networks.model_of("a", *openai_layout.read(path, **flags))
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(2, 3, 16, 16, generator=generator), torch.tensor([0.0, 321.0])
    with torch.no_grad():
        ours, theirs = model.network(x, t), reference(x, t)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert model.variance == ("beta" if name == "paper's variance" else "learned-range")


def test_timesteps_are_rescaled(saved):
    reference, path, flags = saved()
    model = networks.model_of("a", *openai_layout.read(path, **flags, schedule="cosine", T=4000, rescale_timesteps=True))
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.network(x, torch.tensor([400.0])), reference(x, torch.tensor([100.0])), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("schedule", "T"), [("linear", 1000), ("linear", 4000), ("cosine", 4000)])
def test_the_schedules_are_theirs(schedule, T, saved):
    """get_named_beta_schedule: linear scales with the number of timesteps."""
    _, path, flags = saved()
    model = networks.model_of("a", *openai_layout.read(path, **flags, schedule=schedule, T=T))
    betas = np.linspace(1000 / T * 0.0001, 1000 / T * 0.02, T) if schedule == "linear" else process.cosine_betas(T)
    np.testing.assert_allclose(model.levels.alpha_bars[1:], np.cumprod(1 - betas), rtol=1e-12)


def test_learned_variances_are_read(saved):
    _, path, flags = saved()
    model = networks.model_of("a", *openai_layout.read(path, **flags))
    prediction = networks.predict(model, torch.randn(2, 3, 16, 16), 500)
    assert prediction.x_0.shape == prediction.variance_fraction.shape == (2, 3, 16, 16)


def test_what_is_not_ours_is_refused(saved):
    reference, path, flags = saved()
    state = reference.state
    for changed, message in [
        (state | {"label_emb.weight": torch.zeros(10, 128)}, "class"),
        (state | {"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}, "6 channels"),
        (state | {"input_blocks.1.0.extra.weight": torch.zeros(1)}, "extra"),
        ({k: v for k, v in state.items() if k != "out.2.bias"}, r"out\.2\.bias"),
        ({k: v for k, v in state.items() if not k.startswith("output_blocks.8")}, "up"),
        ({}, "input_blocks"),
    ]:
        torch.save(changed, path)
        with pytest.raises(ModelError, match=message):
            openai_layout.read(path, **flags)


def test_shapes_that_do_not_fit_are_refused(saved):
    reference, path, flags = saved()
    torch.save(reference.state | {"out.2.weight": torch.zeros(6, 40, 3, 3)}, path)
    with pytest.raises(ModelError, match="do not fit"):
        networks.model_of("a", *openai_layout.read(path, **flags))


@pytest.mark.parametrize("flags", [{"heads": 3}, {"resolution": 3}, {"T": 1}, {"schedule": "sigmoid"}])
def test_flags_that_cannot_be(flags, saved):
    _, path, given = saved()
    with pytest.raises(ModelError):
        networks.model_of("a", *openai_layout.read(path, **given | flags))


class Code:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", [{"a": Code()}, [1, 2], {"a": 1}, {1: torch.zeros(1)}])
def test_what_is_no_state_dict_is_refused(content, tmp_path, capsys):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError):
        openai_layout.read(tmp_path / "model.pt", resolution=16)
    assert "executed" not in capsys.readouterr().out


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"garbage")
    for path in (tmp_path / "model.pt", tmp_path / "nothing.pt", tmp_path):
        with pytest.raises(ModelError):
            openai_layout.read(path, resolution=16)

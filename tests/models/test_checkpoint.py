import copy
import hashlib
import json
import math
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint, networks
from ddpmcodec.models.identity import canonical_json, hash_of


@pytest.fixture
def tensors(model_path):
    return load_file(model_path)


@pytest.fixture
def write(tmp_path):
    """Writes a safetensors file with this metadata and returns its path."""

    def write(tensors, name="test-model", config=None, metadata=None) -> Path:
        path = tmp_path / "model.safetensors"
        save_file(tensors, path, metadata if metadata is not None else {"name": name, "config": json.dumps(config)})
        return path

    return write


def test_hash_is_of_the_values_not_of_their_type(tensors, model, write):
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    wide = {name: t.float() for name, t in tensors.items()}
    shuffled = dict(reversed(wide.items()))
    config = dict(reversed(model.config.items()))
    assert checkpoint.load(write(shuffled, config=config)).hash == model.hash
    assert hash_of(config, tensors) == hash_of(config, {name: t.double() for name, t in tensors.items()}) == model.hash
    half = {name: t.bfloat16() for name, t in tensors.items()}
    assert checkpoint.load(write(half, config=model.config)).hash == hash_of(model.config, {name: t.float() for name, t in half.items()})


def test_hash_as_documented(tensors, model):
    """SHA-256 of canonical JSON, then sorted tensors: name, zero, shape, zero, little-endian float32."""
    text = json.dumps(model.config, sort_keys=True, separators=(",", ":")).encode()
    for name, values in sorted(tensors.items()):
        shape = "[" + ",".join(str(n) for n in values.shape) + "]"
        flat = [float(v) for v in values.reshape(-1)]
        text += name.encode() + b"\0" + shape.encode() + b"\0" + struct.pack(f"<{len(flat)}f", *flat)
    assert hashlib.sha256(text).digest()[:8] == model.hash


def test_hash_changes_with_one_weight_and_with_the_configuration(tensors, model):
    base = hash_of(model.config, tensors)
    assert base == model.hash
    changed = {name: t.float() for name, t in tensors.items()}
    name = sorted(changed)[3]
    changed[name] = changed[name].clone()
    changed[name].view(-1)[0] += 1e-3
    assert hash_of(model.config, changed) != base
    assert hash_of({**model.config, "start": model.start + 1}, tensors) != base
    assert hash_of(model.config, {**tensors, name: tensors[name][None]}) != base  # the same values in another shape
    renamed = dict(tensors)
    renamed["other"] = renamed.pop(name)
    assert hash_of(model.config, renamed) != base


def test_save_and_load(tmp_path, model, model_path):
    path = tmp_path / "copy.safetensors"
    checkpoint.save(path, "copy-1", model.config, model.network.state_dict())
    loaded = checkpoint.load(path)
    assert (loaded.name, loaded.hash, loaded.config, loaded.start) == ("copy-1", model.hash, model.config, model.start)
    assert [p.name for p in tmp_path.iterdir()] == ["copy.safetensors"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), pickle.dumps({"weight": [1.0]}), b"\xff" * 64, struct.pack("<Q", 2) + b"{}"],
    ids=["empty", "png", "pickle", "huge length", "no tensors"],
)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=re.escape(str(path))):
        checkpoint.load(path)


def test_torch_pickles_are_refused_unread(tmp_path):
    class Exploit:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    path = tmp_path / "model.safetensors"
    torch.save({"weight": Exploit()}, path)
    with pytest.raises(ModelError):
        checkpoint.load(path)
    assert not (tmp_path / "executed").exists()


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(ModelError, match=r"none\.safetensors cannot be read"):
        checkpoint.load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        checkpoint.load(tmp_path)


def test_cut_file(tmp_path, model_path):
    data = Path(model_path).read_bytes()
    path = tmp_path / "cut.safetensors"
    for size in (4, 100, 5000, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(ModelError):
            checkpoint.load(path)


@pytest.mark.parametrize("kind", ["missing", "not known", "2 x 3 x 5"])
def test_tensors_that_do_not_fit(tensors, model, write, kind):
    name = sorted(tensors)[0]
    if kind == "missing":
        del tensors[name]
    elif kind == "not known":
        name = "further"
        tensors[name] = torch.zeros(3)
    else:
        tensors[name] = torch.zeros(2, 3, 5)
    with pytest.raises(ModelError, match=f"do not fit.*{re.escape(name)} is {kind}"):
        checkpoint.load(write(tensors, config=model.config))


LIMITED = """
import resource, sys
from pathlib import Path
from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    checkpoint.load(Path(sys.argv[1]))
except ModelError as e:
    print(e)
"""


def test_sizes_that_only_the_configuration_has_cost_no_memory(tensors, model, write):
    """19 GB of weights are announced; with 4 GB, the file is refused like any whose tensors do not fit."""
    path = write(tensors, config={**model.config, "channels": [4096] * 8})
    result = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True)
    assert "do not fit" in result.stdout, result.stderr[-300:]


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "transformer"},
        {"channels": []},
        {"channels": [16, 0]},
        {"channels": "16,24"},
        {"channels": [16, 24.5]},
        {"channels": [16, True]},
        {"blocks": 0},
        {"blocks": 1 << 40},
        {"embedding": "wide"},
        {"unshuffle": -2},
        {"levels": {"kind": "quantum"}},
        {"levels": {}},
        {"levels": "continuous"},
        {"levels": {"kind": "discrete", "schedule": "linear", "T": 0}},
        {"levels": {"kind": "discrete", "schedule": "linear", "T": "many"}},
        {"levels": {"kind": "discrete", "schedule": "linear", "T": 1000.5}, "start": 5},
        {"levels": {"kind": "continuous", "T": 1000}},
        {"start": 1 << 20},
        {"start": "noise"},
        {"start": None},
        {"start": True},
        {"further": 1},
    ],
    ids=str,
)
def test_configurations_that_make_no_sense(tensors, model, write, change):
    cause = {"architecture": "transformer", "levels": "noise levels", "start": "start level", "further": "unknown field 'further'"}
    with pytest.raises(ModelError, match=cause.get(next(iter(change)), "sizes")):
        checkpoint.load(write(tensors, config={**model.config, **change}))


@pytest.mark.parametrize("field", ["architecture", "channels", "blocks", "embedding", "unshuffle", "levels", "start"])
def test_configurations_that_lack_a_field(tensors, model, write, field):
    config = {k: v for k, v in model.config.items() if k != field}
    with pytest.raises(ModelError, match=field):
        checkpoint.load(write(tensors, config=config))


@pytest.mark.parametrize("config", [None, "", "{", "[]", "7", "[" * 100_000], ids=["none", "empty", "cut", "list", "number", "deep"])
def test_metadata_of_no_model(tensors, write, config):
    with pytest.raises(ModelError, match="lack a name or a configuration"):
        checkpoint.load(write(tensors, metadata={"name": "a"} if config is None else {"name": "a", "config": config}))


def test_metadata_without_a_name(tensors, model, write):
    for metadata in ({}, {"config": json.dumps(model.config)}):
        with pytest.raises(ModelError, match="lack a name or a configuration"):
            checkpoint.load(write(tensors, metadata=metadata))


@pytest.mark.parametrize("name", ["", "My Model", "Ünet", "a" * 65, "../photo"])
def test_names_that_no_file_could_carry(tensors, model, write, name):
    with pytest.raises(ModelError, match="name"):
        checkpoint.load(write(tensors, name=name, config=model.config))


def reflected(i, size):
    """The place among `size` whose value padding puts at i: back and forth between the borders, which are not repeated."""
    step, at = 1, 0
    for _ in range(i):
        if size > 1:
            step = -step if not 0 <= at + step < size else step
            at += step
    return at


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 1), (17, 5), (16, 16)])
def test_any_size_is_padded_right_and_bottom_by_reflection(model, size):
    """To the next multiple of the stride, 4, and cut again: the same as predicting the padded picture."""
    assert model.network.stride == 4
    x_t = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    rows, columns = ([reflected(i, n) for i in range((n + 3) // 4 * 4)] for n in size)
    padded = x_t[:, :, rows][:, :, :, columns]
    snr = 2 ** (100 / 256)
    v = model.network(padded, torch.full((2,), math.log(snr**-0.5) / 2))
    x_0 = (snr / (1 + snr)) ** 0.5 * padded - (1 / (1 + snr)) ** 0.5 * v
    out = networks.predict_x_0(model, x_t, 100)
    assert out.shape == x_t.shape and out.dtype == x_t.dtype
    torch.testing.assert_close(out, x_0[:, :, : size[0], : size[1]], atol=2e-6, rtol=1e-5)


def test_x_0_follows_from_v(model):
    """v = sqrt(abar) eps - sqrt(1 - abar) x_0 and x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps, solved for x_0."""
    x_t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    for level in (-2000, 0, 1500):
        snr = 2 ** (level / 256)
        sigma = snr**-0.5
        v = model.network(x_t, torch.tensor([math.log(sigma) / 2], dtype=torch.float32))
        abar = 1 / (1 + sigma**2)
        rows = torch.tensor([[abar**0.5, (1 - abar) ** 0.5], [-((1 - abar) ** 0.5), abar**0.5]], dtype=torch.float64)
        x_0, _ = torch.linalg.solve(rows, torch.stack([x_t.reshape(-1), v.reshape(-1)]).double())
        torch.testing.assert_close(networks.predict_x_0(model, x_t, level).reshape(-1), x_0.float(), atol=1e-4, rtol=1e-4)


def test_the_test_model_denoises(model, photo):
    x_0 = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None].float() / 127.5 - 1
    level = model.levels.nearest((127.5 / 25) ** 2)
    abar = model.levels.snr(level) / (1 + model.levels.snr(level))
    x_t = abar**0.5 * x_0 + (1 - abar) ** 0.5 * torch.randn(x_0.shape, generator=torch.Generator().manual_seed(3))
    mse = (networks.predict_x_0(model, x_t, level) - x_0).square().mean().sqrt().item() * 127.5
    assert mse < 25 / 2


def test_models_do_not_share_weights(model_path):
    a, b = checkpoint.load(Path(model_path)), checkpoint.load(Path(model_path))
    copied = copy.deepcopy(a.network.state_dict())
    with torch.no_grad():
        next(b.network.parameters()).add_(1)
    assert all(torch.equal(v, copied[k]) for k, v in a.network.state_dict().items())


def test_what_float16_holds_is_stored_in_it(paper_model, tmp_path):
    """A model read and written again keeps its size and its hash."""
    model = paper_model()
    tensors = {k: v.half() for k, v in model.network.state_dict().items()}
    tensors["conv_in.bias"] = torch.full((8,), 0.1)
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    checkpoint.save(once, "m", model.config, tensors)
    loaded = checkpoint.load(once)
    checkpoint.save(twice, "m", loaded.config, loaded.network.state_dict())
    assert checkpoint.load(twice).hash == loaded.hash and twice.stat().st_size == once.stat().st_size
    stored = load_file(twice)
    assert stored["conv_in.bias"].dtype == torch.float32 and stored["conv_in.weight"].dtype == torch.float16


@pytest.mark.parametrize("schedules", ['{"4": [0, 100000]}', '{"4": [5, 5, 4]}', '{"4": [-3734, -3734]}'])
def test_schedules_that_are_none(tensors, model, write, schedules):
    metadata = {"name": "m", "config": canonical_json(model.config), "schedules": schedules}
    with pytest.raises(ModelError, match="schedule"):
        checkpoint.load(write(tensors, metadata=metadata))


def test_configurations_nested_too_deeply(tensors, model, write):
    """Also where they can just be read."""
    for depth in range(700, 1000):
        config = canonical_json(model.config | {"levels": "@"}).replace('"@"', "[" * depth + "]" * depth)
        with pytest.raises(ModelError):
            checkpoint.load(write(tensors, metadata={"name": "m", "config": config}))

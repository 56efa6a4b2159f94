"""The photo denoiser on ncnn: as on torch, and without it."""

import copy
import gc
import math
import platform
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import ddpmcodec
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import ModelError
from ddpmcodec.models import arithmetic, checkpoint, ncnn_denoiser, ncnn_runtime, photo_layout, processor, registry
from ddpmcodec.models.embedding import embedding
from ddpmcodec.models.ncnn_denoiser import NcnnDenoiser
from ddpmcodec.models.ncnn_graph import graph
from ddpmcodec.models.ncnn_runtime import Network
from ddpmcodec.picture import Picture
from ddpmcodec.target import Lossless, Rate

pytest.importorskip("ncnn")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(shape, np.float32)


@pytest.fixture
def without(monkeypatch):
    """Makes a library one that is not installed."""

    def remove(name):
        monkeypatch.setattr(arithmetic, "is_installed", lambda each: each != name)
        monkeypatch.setattr("ddpmcodec.models.libraries.is_installed", lambda each: each != name)
        monkeypatch.setattr(ncnn_runtime, "is_installed", lambda each: each != name)

    return remove


@pytest.mark.parametrize("name", ["test-model", "photo-3"])
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 40)])
def test_as_on_torch(name, size):
    found = registry.find(name)
    ours, theirs = (arithmetic.denoiser(found, "cpu", "fp32", backend=backend) for backend in ("ncnn", "torch"))
    assert (ours.backend, ours.precision, theirs.backend) == ("ncnn", "fp32", "torch")
    for level in (-1500, 1200):
        x_t = noise(2, 3, *size)
        before = x_t.copy()
        np.testing.assert_allclose(ours.predict_x_0(x_t, level), theirs.predict_x_0(x_t, level), rtol=0, atol=5e-5)
        assert np.array_equal(x_t, before)


def test_as_on_torch_with_timesteps(discrete_model):
    ours, theirs = (arithmetic.denoiser(discrete_model, "cpu", "fp32", backend=backend) for backend in ("ncnn", "torch"))
    x_t = noise(1, 3, 21, 30)
    for level in (1, 1000):
        np.testing.assert_allclose(ours.predict_x_0(x_t, level), theirs.predict_x_0(x_t, level), rtol=0, atol=5e-5)


@pytest.mark.parametrize(("channels", "blocks", "unshuffle"), [([5], 1, 1), ([8, 12, 4], [2, 1, 3], 4)])
def test_other_layouts(channels, blocks, unshuffle, model):
    config = model.config | {"channels": channels, "blocks": blocks, "unshuffle": unshuffle, "embedding": 7}
    rng = np.random.default_rng(1)
    shapes = photo_layout.parse(config).shapes()
    tensors = {name: (rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32) for name, shape in shapes.items()}
    other = ddpmcodec.models.model.Model("other", config, tensors)
    ours, theirs = (
        arithmetic.denoiser(other, "cpu", "fp32", backend=backend).predict_x_0(noise(1, 3, 17, 26), 100) for backend in ("ncnn", "torch")
    )
    assert np.abs(theirs).mean() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_embedding(model):
    for snr in (1e-4, 1.0, 1e5):
        expected = model.network.emb(torch.tensor([-math.log(snr) / 4])).numpy()[0]
        np.testing.assert_allclose(embedding(model.tensors, snr), expected, rtol=1e-4, atol=1e-5)


def test_one_thread_and_two_give_the_same_bits(thread_counts):
    ours, x_t, found = NcnnDenoiser(registry.find("photo-3")), noise(1, 3, 130, 140), []
    for count in (1, 2, 1):
        thread_counts(count)
        found.append(ours.predict_x_0(x_t, 300))
        assert ncnn_denoiser.network_of(ours.model, 130 * 140).threads == count
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_a_small_picture_takes_one_thread_unless_the_network_has_more(thread_counts, model_path):
    thread_counts(2)
    own = checkpoint.load(Path(model_path))
    assert [ncnn_denoiser.network_of(own, pixels).threads for pixels in (64, ncnn_denoiser.SMALL, 1 << 20, 64)] == [1, 1, 2, 2]


def test_a_network_is_loaded_once_and_goes_with_its_model(model_path):
    own = checkpoint.load(Path(model_path))
    network = weakref.ref(ncnn_denoiser.network_of(own, 64))
    assert network() is ncnn_denoiser.network_of(own, 64)
    assert network() is not ncnn_denoiser.network_of(copy.copy(own), 64)
    del own
    gc.collect()
    assert network() is None


def test_any_arrays(model):
    """Views, other orders and float64: ncnn reads memory as if it were contiguous float32."""
    ours, x_t = NcnnDenoiser(model), noise(1, 3, 24, 40)
    expected = ours.predict_x_0(x_t, 0)
    wide = noise(1, 3, 24, 80)
    wide[..., ::2] = x_t
    for other in (wide[..., ::2], np.asfortranarray(x_t), x_t.astype(float)):
        np.testing.assert_allclose(ours.predict_x_0(other, 0), expected, rtol=0, atol=1e-6)


def test_shapes_are_checked(model):
    layout = photo_layout.parse(model.config)
    network, e = ncnn_denoiser.network_of(model, 64), np.zeros(layout.embedding, np.float32)
    for x in (noise(1, 8, 8), noise(3, 8), noise(3, 0, 8)):
        with pytest.raises(ValueError, match="shape"):
            network("v", x=x, e=e)
    with pytest.raises(ValueError, match="shape"):
        network("v", x=noise(3, 8, 8), e=e[1:])
    with pytest.raises(ValueError, match="inputs are x, e"):
        network("v", x=noise(3, 8, 8))
    with pytest.raises(ModelError, match="ncnn cannot compute"):
        network("w", x=noise(3, layout.stride, layout.stride), e=e)


def test_a_network_that_cannot_be_loaded(model):
    text, weights = graph(photo_layout.parse(model.config), model.tensors)
    for each in (("", weights), (text, weights[:-4]), (text, weights + bytes(4))):
        with pytest.raises(ModelError, match="ncnn"):
            Network(*each, {}, 1)


def test_values_that_are_not_numbers(model):
    tensors = {name: 1e30 * value if name.startswith("dec") else value for name, value in model.tensors.items()}
    broken = ddpmcodec.models.model.Model("broken", model.config, tensors)
    with pytest.raises(ModelError, match="not numbers"):
        NcnnDenoiser(broken).predict_x_0(noise(1, 3, 16, 16), 0)


@pytest.mark.parametrize("target", [Rate(2), Lossless()])
def test_files_of_one_backend_decode_on_the_other(target, photo, model):
    part = photo[:40, :50]
    for ours, theirs in (("ncnn", "torch"), ("torch", "ncnn")):
        encoding = encode_pixels(Picture(part), model, target, EncodeOptions(5, 1, backend=ours))
        assert encoding.backend == ours and f"s network ({ours}, cpu)" in encoding.summary()
        decoded = np.asarray(ddpmcodec.decode(encoding.data, reconstruct="mean", orientations=1, backend=theirs)).astype(int)
        assert np.abs(decoded - encoding.pixels).max() <= (0 if isinstance(target, Lossless) else 1)


COMMANDS = """
import sys
{before}
from ddpmcodec import cli
for arguments in (["encode", sys.argv[1], "-o", "a.ddpm", "--evaluations", "3"], ["decode", "a.ddpm", "-o", "a.png"]):
    cli.main([*arguments, *sys.argv[2:]], standalone_mode=False)
print(sorted(name for name in sys.modules if name.split(".")[0] in ("torch", "ncnn") and "." not in name))
"""
BLOCK = """
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("torch is blocked", name="torch")
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def picture_file(tmp_path_factory, photo):
    path = tmp_path_factory.mktemp("ncnn") / "a.png"
    ddpmcodec.picture.Image.fromarray(photo[:32, :32]).save(path)
    return str(path)


@pytest.mark.parametrize(("before", "options"), [("", ["--backend", "ncnn"]), (BLOCK, ["--precision", "auto"])])
def test_commands_without_torch(before, options, picture_file, tmp_path):
    command = [sys.executable, "-c", COMMANDS.format(before=before), picture_file, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "['ncnn']\n", done.stderr
    assert "s network (ncnn, cpu)" in done.stderr and (tmp_path / "a.png").exists()


@pytest.mark.parametrize("arguments", [["sample", "-o", "a.png"], ["train", "--config", "tiny", "--data", ".", "--dry-run"]])
def test_commands_that_need_torch_say_so(arguments, tmp_path):
    program = f"import sys\n{BLOCK}\nfrom ddpmcodec import cli\ncli.main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (9, "ddpmcodec: this needs torch, which is not installed: pip install torch\n")


def test_auto(model, paper_model, monkeypatch, without):
    def backend(found=model, *args):
        return arithmetic.denoiser(found, "cpu", *args).backend

    for fast in (False, True):
        monkeypatch.setattr(arithmetic, "has_bfloat16", lambda kind, fast=fast: fast)
        assert backend(model, "fp32") == "ncnn"
        assert backend(model, "auto") == ("torch" if fast else "ncnn")
        assert backend(model, "bf16") == backend(paper_model(), "auto") == "torch"
    without("torch")
    assert backend(model, "auto") == "ncnn"
    without("ncnn")
    assert backend(model, "fp32") == "torch"


def test_what_ncnn_cannot_do(photo, model, paper_model, without):
    for found, device, precision, text in (
        (paper_model(), "auto", "fp32", "no photo model"),
        (model, "auto", "bf16", "ncnn runs no bf16"),
        (model, "cuda", "fp32", "not on CUDA"),
    ):
        with pytest.raises(ModelError, match=text):
            arithmetic.denoiser(found, device, precision, backend="ncnn")
    for call in (EncodeOptions, lambda backend: arithmetic.denoiser(model, backend=backend)):
        with pytest.raises(ValueError, match="backend"):
            call(backend="tpu")
    with pytest.raises(ValueError, match="device"):
        arithmetic.denoiser(model, "tpu", backend="ncnn")
    without("ncnn")
    with pytest.raises(ModelError, match="ncnn is not installed"):
        arithmetic.denoiser(model, "cpu", backend="ncnn")


def test_what_needs_torch_says_so(model, paper_model, without, tmp_path):
    paper = copy.copy(paper_model())
    without("torch")
    for call in (
        lambda: arithmetic.denoiser(model, "cpu", backend="torch"),
        lambda: arithmetic.denoiser(model, "cpu", "bf16"),
        lambda: arithmetic.denoiser(paper),
        lambda: arithmetic.kind_of_device("cuda"),
        lambda: registry.find(str(tmp_path)),
    ):
        with pytest.raises(ModelError, match="needs torch, which is not installed: pip install torch"):
            call()


def test_processors_that_multiply_bfloat16(monkeypatch, tmp_path):
    for flags, expected in (("sse avx512_bf16 x", True), ("amx_bf16", True), ("avx2 avx512_bf16x", False)):
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        processor.CPUINFO.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs: avx512_bf16\n")
        assert processor.multiplies_bfloat16() == expected == arithmetic.has_bfloat16("cpu")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert not processor.multiplies_bfloat16()


def test_the_name_of_a_processor(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    processor.CPUINFO.write_text("processor\t: 0\nmodel name\t: Some CPU 3000\nflags\t\t: fpu avx512_bf16 avx2 avx512f_x\n")
    assert processor.name() == "Some CPU 3000 (avx2, avx512_bf16)"
    processor.CPUINFO.write_text("processor\t: 0\nFeatures\t: asimd\n")
    assert processor.name() == (platform.processor() or platform.machine())

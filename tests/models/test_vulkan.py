"""The photo denoiser through Vulkan, on whatever device is here: Mesa's software driver is one."""

import os
import subprocess
import sys

import numpy as np
import pytest

import ddpmcodec
from ddpmcodec import quality
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import ModelError
from ddpmcodec.models import arithmetic, devices, ncnn_runtime, registry
from ddpmcodec.models.devices import VulkanDevice
from ddpmcodec.models.ncnn_denoiser import NcnnDenoiser
from ddpmcodec.picture import Picture
from ddpmcodec.target import Lossless, Psnr, Rate

pytest.importorskip("ncnn")
NONE = {"VK_DRIVER_FILES": os.devnull, "VK_ICD_FILENAMES": os.devnull}  # what a loader of Vulkan finds no driver with


@pytest.fixture(scope="module")
def gpu() -> VulkanDevice:
    if not (found := ncnn_runtime.vulkan_devices()):
        pytest.skip("needs a Vulkan device: Debian's mesa-vulkan-drivers is enough")
    return found[0]


@pytest.fixture
def listed(monkeypatch):
    """Makes other devices those that are listed, on a machine that looks for them, and has no CUDA."""

    def put(*found):
        monkeypatch.setattr(ncnn_runtime, "vulkan_devices", lambda: found)
        monkeypatch.setattr(devices, "may_have_vulkan", lambda: True)
        monkeypatch.setattr(devices, "may_have_cuda", lambda: False)

    return put


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(shape, np.float32)


@pytest.mark.parametrize("size", [(1, 1), (33, 47)])
def test_as_on_the_cpu_from_the_first_run_on(gpu, model, size):
    ours, theirs = arithmetic.denoiser(model, "vulkan:0"), arithmetic.denoiser(model, "cpu", backend="ncnn")
    assert (ours.backend, ours.precision, ours.device, theirs.device) == ("ncnn", "fp32", str(gpu), "cpu")
    for level in (-1500, 1200):
        x_t = noise(2, 3, *size)
        before = x_t.copy()
        first, second = (ours.predict_x_0(x_t, level) for _ in range(2))
        np.testing.assert_allclose(first, theirs.predict_x_0(x_t, level), rtol=0, atol=5e-5)
        assert np.array_equal(first, second) and np.array_equal(x_t, before)


def test_fp16_errs_by_its_rounding(gpu, model):
    half, exact = (arithmetic.denoiser(model, "vulkan:0", precision) for precision in ("fp16", "auto"))
    assert (half.precision, exact.precision) == ("fp16", "fp32")
    for level in (-1500, 1200):
        expected = exact.predict_x_0(noise(1, 3, 33, 47), level)
        assert 1e-4 < np.abs(half.predict_x_0(noise(1, 3, 33, 47), level) - expected).max() / np.abs(expected).max() < 2e-2


def test_fp16_moves_a_picture_of_36_dB_by_less_than_a_tenth(gpu, photo):
    fine = encode_pixels(Picture(photo[:48, :64]), registry.find(), Psnr(36), EncodeOptions(evaluations=12, effort=1, device="cpu"))
    pixels = np.asarray(ddpmcodec.decode(fine.data, reconstruct="mean", orientations=1, device="vulkan:0", precision="fp16"))
    assert fine.psnr >= 36 and abs(quality.psnr(photo[:48, :64], pixels) - fine.psnr) < 0.1
    assert not np.array_equal(pixels, fine.pixels)


@pytest.mark.parametrize("target", [Rate(2), Lossless()])
def test_files_of_one_device_decode_on_the_other(gpu, target, photo, model):
    for ours, theirs in (("vulkan:0", "cpu"), ("cpu", "vulkan:0")):
        encoding = encode_pixels(Picture(photo[:24, :32]), model, target, EncodeOptions(4, 1, device=ours, backend="ncnn"))
        assert encoding.device.startswith(ours) and f"s network (ncnn, {encoding.device})" in encoding.summary()
        decoded = np.asarray(ddpmcodec.decode(encoding.data, reconstruct="mean", orientations=1, device=theirs)).astype(int)
        assert np.abs(decoded - encoding.pixels).max() <= (0 if isinstance(target, Lossless) else 1)


def test_lossless_files_are_fp32_whatever_is_asked(gpu, photo, model):
    options = EncodeOptions(4, 1, device="vulkan:0", precision="fp16")
    made = [encode_pixels(Picture(photo[:24, :32]), model, target, options) for target in (Rate(2), Lossless())]
    assert [encoding.precision for encoding in made] == ["fp16", "fp32"]
    assert np.array_equal(np.asarray(ddpmcodec.decode(made[1].data, device="vulkan:0", precision="fp16")), photo[:24, :32])
    *_, (_, last) = ddpmcodec.Decoder(device="vulkan:0", precision="fp16").feed(made[1].data)
    assert np.array_equal(np.asarray(last), photo[:24, :32])


def test_auto(gpu, model, listed, monkeypatch):
    def chosen(**options):
        return arithmetic.denoiser(model, "auto", options.pop("precision", "fp32"), **{"vulkan": True} | options).device

    for kind, with_bfloat16 in (("integrated", "cpu"), ("discrete", str(gpu))):
        listed(gpu._replace(kind=kind))
        assert chosen() == chosen(backend="ncnn") == str(gpu)
        assert chosen(vulkan=False) == chosen(backend="torch") == chosen(precision="bf16") == "cpu"
        monkeypatch.setattr(arithmetic, "has_bfloat16", lambda kind: True)
        assert chosen(precision="auto") == with_bfloat16
    listed(gpu._replace(kind="software"))
    assert chosen() == "cpu"


def test_a_device_that_computes_something_else_is_refused_and_auto_passes_it_over(gpu, model, listed, monkeypatch):
    wrong = gpu._replace(kind="discrete", name="wrong")
    listed(wrong)
    compute = ncnn_runtime.Network.__call__
    runs = []

    def second_is_wrong(network, output, **arrays):
        v = compute(network, output, **arrays)
        if network.gpu is not None:
            runs.append(0)
        return v + 0.1 * (len(runs) == 2)

    monkeypatch.setattr(ncnn_runtime.Network, "__call__", second_is_wrong)
    for _ in range(2):
        with pytest.raises(ModelError, match="vulkan:0 wrong computes something else than the CPU does"):
            arithmetic.denoiser(model, "vulkan")
        assert arithmetic.denoiser(model, vulkan=True).device == "cpu"
    assert len(runs) == 2  # tried once


def test_where_a_device_fails_on_the_way_the_cpu_takes_over_for_auto(gpu, model, listed, monkeypatch):
    listed(gpu._replace(kind="discrete"))
    asked, auto = (arithmetic.denoiser(model, device, vulkan=True) for device in ("vulkan", "auto"))
    x_t, expected = noise(1, 3, 20, 30), arithmetic.denoiser(model, "cpu").predict_x_0(noise(1, 3, 20, 30), 0)
    compute = ncnn_runtime.Network.__call__

    def out_of_memory(network, output, **arrays):
        if network.gpu is not None:
            ncnn_runtime._check(-100, "compute")
        return compute(network, output, **arrays)

    monkeypatch.setattr(ncnn_runtime.Network, "__call__", out_of_memory)
    with pytest.raises(ModelError, match="ncnn cannot compute"):
        asked.predict_x_0(x_t, 0)
    assert auto.device.startswith("vulkan:0") and np.array_equal(auto.predict_x_0(x_t, 0), expected) and auto.device == "cpu"


def test_a_device_that_has_gone(gpu, model):
    with pytest.raises(ModelError, match="no vulkan:99 gone here any more"):
        NcnnDenoiser(model, VulkanDevice(99, "discrete", "gone"))


def test_what_vulkan_cannot_do(gpu, model, paper_model):
    for found, options, text in (
        (paper_model(), {}, "no photo model, and device vulkan:0 runs no other"),
        (model, {"backend": "torch"}, "needs the backend ncnn, not torch"),
        (model, {"precision": "bf16"}, "device vulkan:0 runs no bf16"),
        (paper_model(), {"precision": "fp16"}, "runs in fp32 only"),
    ):
        with pytest.raises(ModelError, match=text):
            arithmetic.denoiser(found, "vulkan:0", **options)
    for device in ("auto", "cpu"):
        with pytest.raises(ModelError, match=f"fp16 is for Vulkan, and the device is {device}"):
            arithmetic.denoiser(model, device, "fp16")


def test_a_listing_that_crashes_or_says_nothing_of_use_lists_nothing(monkeypatch):
    for program in ("import os; os.abort()", "import sys; sys.exit(1)", "print('device')", "print('[[7, 8]]')", "import no_such_module"):
        monkeypatch.setattr(ncnn_runtime, "LIST", program)
        assert ncnn_runtime.vulkan_devices.__wrapped__() == (), program
    monkeypatch.setattr(ncnn_runtime, "LIST", 'print(\'[[2, "x"], [0, "y"]]\')')
    assert ncnn_runtime.vulkan_devices.__wrapped__() == (VulkanDevice(0, "virtual", "x"), VulkanDevice(1, "discrete", "y"))


FORKED = """
import os, sys
from ddpmcodec.errors import ModelError
from ddpmcodec.models import arithmetic, registry
import numpy as np

model, x_t = registry.find("test-model"), np.zeros((1, 3, 16, 16), np.float32)
denoiser = arithmetic.denoiser(model, "vulkan:0")
denoiser.predict_x_0(x_t, 0)
child = os.fork()
if not child:
    try:
        denoiser.predict_x_0(x_t, 0)
    except ModelError as e:
        print(e, flush=True)
        arithmetic.denoiser(model, "cpu", backend="ncnn").predict_x_0(x_t, 0)
        os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_refused_its_parents_vulkan_and_nothing_else_is_written(gpu):
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "a forked process cannot use Vulkan, which its parent has used: start it by spawn, or use the CPU\n0\n"


def command(*arguments, directory, **environment):
    """Runs ddpmcodec in a process of its own: exit code and stderr."""
    program = "from ddpmcodec import cli\ncli.main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True, text=True, cwd=directory, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture
def picture(tmp_path, photo):
    ddpmcodec.picture.Image.fromarray(photo[:24, :32]).save(tmp_path / "a.png")
    return tmp_path


def test_the_commands_say_where_it_ran(gpu, picture, model_path):
    options = ["--evaluations", "3", "--effort", "1", "--device", "vulkan:0"]
    code, said = command("encode", "a.png", "-o", "a.ddpm", "--model", model_path, *options, directory=picture)
    assert code == 0 and f"s network (ncnn, {gpu})" in said and said.count("\n") == 1
    assert command("decode", "a.ddpm", "-o", "b.png", "--device", "vulkan:0", directory=picture)[0] == 0
    assert (picture / "b.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' ncnn brings a driver along")
@pytest.mark.parametrize("device", ["vulkan", "vulkan:0"])
def test_a_machine_without_vulkan_says_so(device, picture, model_path):
    said = command("encode", "a.png", "-o", "a.ddpm", "--model", model_path, "--device", device, directory=picture, **NONE)
    assert said == (9, "ddpmcodec: there is no Vulkan device here\n") and not (picture / "a.ddpm").exists()
    options = ["--evaluations", "3", "--effort", "1", "--quiet"]
    assert command("encode", "a.png", "-o", "a.ddpm", "--model", model_path, *options, directory=picture, **NONE) == (0, "")

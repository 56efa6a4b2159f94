"""Decoders of other arithmetic: the picture within rounding, and the exact one or none."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ddpmcodec.cli import main
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.eval import drift
from ddpmcodec.format import tail
from ddpmcodec.models import ncnn_runtime
from ddpmcodec.picture import Picture
from ddpmcodec.target import Lossless, Rate


@pytest.fixture(scope="module")
def files(photo, model):
    pixels = photo[:41, :53]
    lossless = encode_pixels(Picture(pixels), model, Lossless(), EncodeOptions(evaluations=5, effort=1))
    return drift.Files(
        pixels, model, encode_pixels(Picture(pixels), model, Rate(3), EncodeOptions(evaluations=5, effort=1)), lossless
    ), lossless.data


@pytest.mark.parametrize("name", ["fp32, 1 thread", "fp32, 2 threads", "float64", "without channels_last"])
def test_rounding_does_not_show(files, name):
    d = drift.measure(files[0], name)
    assert d.exact and d.psnr < 0.01 and d.pixel <= 1 and d.x0hat < 2.5e-4
    assert (d.x0hat > 0) == (name in ("float64", "without channels_last"))  # that one was another network at all


def test_onnxruntime(files):
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module)
    d = drift.measure(files[0], "onnxruntime")
    assert d.exact and d.psnr < 0.01 and d.pixel <= 1 and 0 < d.x0hat < 2.5e-4


@pytest.mark.parametrize("name", ["ncnn", "Vulkan"])
def test_ncnn(files, name):
    pytest.importorskip("ncnn")
    if name == "Vulkan" and not ncnn_runtime.vulkan_devices():
        pytest.skip("needs a Vulkan device: Debian's mesa-vulkan-drivers is enough")
    d = drift.measure(files[0], name)
    assert d.exact and d.psnr < 0.01 and d.pixel <= 1 and 0 < d.x0hat < tail.MARGIN * tail.MARGIN_UNIT
    assert d.device == (str(ncnn_runtime.vulkan_devices()[0]) if name == "Vulkan" else "cpu")


def test_a_device_that_is_not_here_has_a_row_that_says_so(files, monkeypatch):
    pytest.importorskip("ncnn")
    monkeypatch.setattr(ncnn_runtime, "vulkan_devices", tuple)
    assert drift.row(files[0], "Vulkan") == "| Vulkan | there is no Vulkan device here | | | |"


def test_too_little_precision_is_refused(files):
    d = drift.measure(files[0], "bfloat16")
    assert not d.exact and 0 < d.psnr < 0.1 and d.x0hat > 0.01


def test_decoding_needs_no_numba(files, model_path):
    assert np.array_equal(drift.decoded_without_numba(files[1], model_path), files[0].pixels)


def test_the_table(photo, tmp_path, model_path, monkeypatch):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    monkeypatch.setattr(drift, "DECODERS", {name: drift.DECODERS[name] for name in ("float64", "bfloat16")})
    options = ["--size", "24x20", "--bpp", "8", "--evaluations", "3", "--model", model_path]
    done = CliRunner().invoke(main, ["eval", "drift", str(tmp_path / "photo.png"), *options], catch_exceptions=False)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| decoder", "| float64", "| bfloat16", "| without numba"]
    assert [row[-1] for row in rows[1:]] == ["exact |", "refused |", "| exact |"]
    assert "of 1440 means are resolved" in done.stdout


def test_a_crop_larger_than_the_picture(photo, tmp_path, model_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = CliRunner().invoke(main, ["eval", "drift", str(tmp_path / "photo.png"), "--size", "101x20", "--model", model_path])
    assert done.exit_code == 4 and "no 101x20 in the picture's 100x80" in done.stderr

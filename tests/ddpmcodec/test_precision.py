"""Encoder and decoder may compute in different precisions, and on different devices."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import ddpmcodec
from ddpmcodec import arrays, decoder, prediction, quality
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import ModelError
from ddpmcodec.format import container
from ddpmcodec.models import arithmetic, registry
from ddpmcodec.picture import Picture
from ddpmcodec.target import Psnr


def decoded(data, denoiser):
    return arrays.to_pixels(decoder.last_state(container.parse(data), denoiser).evaluate())


@pytest.fixture(scope="module")
def photo_model():
    return registry.find()


@pytest.fixture(scope="module")
def photo(photo):
    """A part of it, as bfloat16 is slow where the processor has none."""
    return photo[:48, :64]


@pytest.fixture(scope="module")
def fine(photo, photo_model):
    """The photo at 41 dB, up to which `auto` uses bf16, made in fp32, with noise of three seeds."""
    return [encode_pixels(Picture(photo), photo_model, Psnr(41), EncodeOptions(30, 1, seed)) for seed in range(3)]


@pytest.mark.parametrize("other", ["bf16", "float64"])
def test_another_precision_moves_a_picture_of_41_dB_by_less_than_a_tenth(other, fine, photo, photo_model):
    if other == "float64":
        precise = registry._loaded.__wrapped__(registry.available()[photo_model.name], 0)
        precise.network.double()
        denoiser = arithmetic.denoiser(precise, "cpu", "fp32", backend="torch")
    else:
        denoiser = arithmetic.denoiser(photo_model, "cpu", "bf16")
    pixels = [decoded(encoding.data, denoiser) for encoding in fine]
    assert denoiser.precision == ("bf16" if other == "bf16" else "fp32")
    assert not np.array_equal(pixels[0], fine[0].pixels) or other == "float64"
    moved = [abs(quality.psnr(photo, shown) - encoding.psnr) for shown, encoding in zip(pixels, fine, strict=True)]
    assert min(encoding.psnr for encoding in fine) >= 41 and max(moved) < 0.1


def test_bf16_makes_files_for_fp32(photo, photo_model):
    e = encode_pixels(Picture(photo), photo_model, Psnr(40), EncodeOptions(effort=1, precision="bf16"))
    assert abs(quality.psnr(photo, decoded(e.data, arithmetic.denoiser(photo_model, "cpu", "fp32"))) - e.psnr) < 0.1


def test_much_noise_is_always_fp32(photo_model):
    x_t = np.random.default_rng(3).standard_normal((1, 3, 64, 64), np.float32)
    for level, same in ((-2000, True), (-1000, True), (-1, True), (0, False), (1500, False)):
        exact, fast = (arithmetic.denoiser(photo_model, "cpu", precision, backend="torch") for precision in ("fp32", "bf16"))
        a, b = (prediction.predict_x_0(denoiser, x_t, level) for denoiser in (exact, fast))
        assert np.array_equal(a, b) == same, level
        assert fast.precision == ("fp32" if same else "bf16")  # what has run, not what might


def test_lossless_files_are_fp32_whatever_is_asked(photo, model):
    data = ddpmcodec.encode(photo[:40, :50], lossless=True, evaluations=6, effort=1, model=str(model.name), precision="bf16")
    assert np.array_equal(np.asarray(ddpmcodec.decode(data, precision="bf16")), photo[:40, :50])


@pytest.fixture
def asked(monkeypatch):
    """What is asked for on a machine where bfloat16 is fast: whether it is given."""
    given = []
    denoiser = arithmetic.denoiser

    def spy(*args, **kwargs):
        given.append(getattr(denoiser(*args, **kwargs), "bfloat16_from", None) is not None)
        return denoiser(args[0], "cpu", "fp32")

    monkeypatch.setattr(arithmetic, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(arithmetic, "denoiser", spy)
    return given


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ({"bpp": 0.05}, True),
        ({"bpp": 3.5}, False),
        ({"psnr": 24}, True),
        ({"psnr": 46}, False),
        ({"quality": 10}, True),
        ({"quality": 95}, False),
        ({"max_bytes": 900}, True),
        ({"lossless": True}, False),
    ],
)
def test_auto_is_bf16_where_it_does_not_show(end, expected, asked, model):
    pixels = np.zeros((256, 257, 3), np.uint8)
    pixels[:, 100:] = 200
    data = ddpmcodec.encode(pixels, model=model.name, evaluations=2, effort=1, **end)
    assert asked[0] == expected and not any(asked[1:])  # where there may be room for it, the lossless file has been tried
    asked.clear()
    ddpmcodec.decode(data)
    about = ddpmcodec.info(data)
    assert asked == [about["steps"][-1]["sigma"] >= 2.5 and not about["lossless"]]


def test_auto_is_fp32_for_small_pictures(asked, model):
    ddpmcodec.decode(ddpmcodec.encode(np.zeros((100, 100, 3), np.uint8), model=model.name, evaluations=2, effort=1, bpp=0.1))
    assert asked and not any(asked)


def test_a_device_that_is_not_there(photo, model, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert arithmetic.kind_of_device("auto") == "cpu"
    with pytest.raises(ModelError, match="CUDA"):
        ddpmcodec.encode(photo[:8, :8], model=model.name, device="cuda")
    with pytest.raises(ValueError, match="device"):
        ddpmcodec.encode(photo[:8, :8], model=model.name, device="tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu(fine, photo, photo_model):
    for precision in ("fp32", "bf16"):
        assert abs(quality.psnr(photo, decoded(fine[0].data, arithmetic.denoiser(photo_model, "cuda", precision))) - fine[0].psnr) < 0.1


def test_the_papers_network_is_fp32(paper_model, monkeypatch):
    monkeypatch.setattr(arithmetic, "has_bfloat16", lambda device: True)
    assert arithmetic.denoiser(paper_model(), "cpu", "auto").bfloat16_from is None
    with pytest.raises(ModelError, match="fp32 only"):
        arithmetic.denoiser(paper_model(), "cpu", "bf16")


def test_encoding_leaves_the_number_of_threads_alone(model_path):
    """numba's threads, when they start, set the number of OpenMP's to theirs."""
    program = (
        "import sys, numpy, torch, ddpmcodec; from ddpmcodec import threads; threads.use(3);"
        "pixels = numpy.random.default_rng(0).integers(0, 256, (80, 100, 3), numpy.uint8);"
        "ddpmcodec.encode(pixels, model=sys.argv[1], bpp=12, effort=3, evaluations=3, backend='torch');"
        "print(threads.count(), torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, model_path], capture_output=True, text=True, check=True, env=os.environ | {"NUMBA_NUM_THREADS": "2"}
    )
    assert done.stdout == "3 3\n"

"""Metrics against known values, and those that are missing or fail."""

import pickle
import stat
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval import metrics, ssimulacra2
from ddpmcodec.eval.metrics import METRICS, Metric

COFFEE = Path(__file__).parents[2] / "docs/coffee.png"


def noisy(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return (pixels + np.random.default_rng(0).normal(0, sigma, pixels.shape)).round().clip(0, 255).astype(np.uint8)


def coarse(pixels: np.ndarray) -> np.ndarray:
    return pixels // 16 * 16 + 8


def shifted(pixels: np.ndarray) -> np.ndarray:
    return np.roll(pixels, 1, axis=1)


def patterned(pixels: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    pattern = ((37 * x + 101 * y) % 23 - 11)[..., None] * np.array([1, -1, 2])
    return np.clip(pixels.astype(int) + pattern, 0, 255).astype(np.uint8)


# What the C++ program (version 2.1, libjxl's colour management, float32) prints of crops of docs/coffee.png.
PUBLISHED = [
    (400, 600, coarse, 65.0618),
    (400, 600, shifted, -12.0252),
    (400, 600, patterned, 82.8588),
    (150, 121, coarse, 64.0681),  # six scales, where the package has five
    (150, 121, shifted, -18.6650),
    (150, 121, patterned, 85.2639),
    (60, 90, coarse, 59.4332),
    (60, 90, shifted, 37.6217),
    (60, 90, patterned, 20.8403),
]


@pytest.mark.parametrize(("height", "width", "change", "published"), PUBLISHED)
def test_ssimulacra2_against_the_authors_program(height, width, change, published):
    pytest.importorskip("ssimulacra2")
    pixels = np.asarray(Image.open(COFFEE).convert("RGB"))[:height, :width]
    other = change(pixels)
    score = ssimulacra2.ssimulacra2(pixels, other)
    assert score == pytest.approx(published, abs=0.15)
    transposed = ssimulacra2.ssimulacra2(pixels.transpose(1, 0, 2), other.transpose(1, 0, 2))
    assert transposed == pytest.approx(score, abs=1e-6)


def test_the_gaussian_is_one():
    """It sums to 1, its variance is that of the width asked for, and a blurred impulse is its outer product, cut at the borders."""
    kernel = ssimulacra2.gaussian(1.5)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1) and kernel @ offsets**2 == pytest.approx(1.5**2, rel=1e-6)
    impulse = np.zeros((9, 12, 3))
    impulse[1, 10] = 1
    expected = np.zeros((9, 12))
    for y, x in np.ndindex(9, 12):
        if abs(y - 1) <= 5 and abs(x - 10) <= 5:
            expected[y, x] = kernel[5 + y - 1] * kernel[5 + x - 10]
    np.testing.assert_allclose(ssimulacra2.blur(impulse), np.repeat(expected[..., None], 3, 2), atol=1e-15)


def test_ssimulacra2_of_the_same_picture_is_100_and_falls_with_noise(photo: np.ndarray):
    pytest.importorskip("ssimulacra2")
    scores = [ssimulacra2.ssimulacra2(photo, noisy(photo, sigma)) for sigma in (0, 3, 12)]
    assert scores[0] == pytest.approx(100) and scores[0] > scores[1] > scores[2]


@pytest.mark.parametrize("name", METRICS)
def test_each_orders_pictures_by_their_noise(name: str, photo: np.ndarray):
    metric = METRICS[name]
    if reason := metrics.missing(metric):
        pytest.skip(reason)
    large = np.tile(photo, (3, 2, 1))
    little, much = (metric.measure(large, noisy(large, sigma)) for sigma in (2, 25))
    assert (little > much) == metric.rises and little != much
    assert metrics.rises(name) == metric.rises and metrics.rises("unheard-of")
    assert pickle.loads(pickle.dumps(metric)).settings() == metric.settings()  # it goes to other processes
    assert isinstance(metric.settings(), dict) and metric.heading.startswith(metric.title)


@pytest.mark.parametrize("name", ["ms-ssim-rgb", "ssimulacra2", "butteraugli-3norm", "cvvdp", "st-lpips"])
def test_a_picture_that_is_too_small_is_named(name: str):
    side = METRICS[name].side
    small = np.zeros((side - 1, side + 9, 3), np.uint8)
    values, failures = metrics.quality(small, small, [METRICS[name], METRICS["psnr-rgb"]])
    assert values == {name: None, "psnr-rgb": None} and failures == {name: f"takes no picture with a side under {side} pixels"}


def test_lpips_is_the_squared_distance_of_features(photo: np.ndarray, monkeypatch):
    class Means(torch.nn.Module):
        def forward(self, x, resize_images: bool, return_lpips: bool):
            return x.mean((2, 3))

    monkeypatch.setattr(metrics, "load_lpips", lambda path: Means())
    other = noisy(photo, 30)
    expected = np.square(photo.mean((0, 1)) - other.mean((0, 1))).sum()
    assert metrics.lpips(photo, other, "means.pt") == pytest.approx(expected, rel=1e-3)
    assert not metrics.rises("lpips")


def test_a_metric_that_is_missing_or_fails_ends_nothing(photo: np.ndarray):
    def fails(a, b, error):
        raise error

    broken = [Metric("a", "A", "", 1, partial(fails, error=ValueError("two\nlines")), dict),
              Metric("b", "B", "", 1, partial(fails, error=EvaluationError("needs a package")), dict)]  # fmt: skip
    values, failures = metrics.quality(photo, noisy(photo, 5), [*broken, METRICS["psnr-rgb"]])
    assert values["a"] is values["b"] is None and 30 < (values["psnr-rgb"] or 0) < 40
    assert failures == {"a": "fails: ValueError: two lines", "b": "needs a package"}


def test_no_number_is_no_value(photo: np.ndarray):
    assert metrics.quality(photo, photo, [METRICS["psnr-rgb"]]) == ({"psnr-rgb": None}, {})


def program(directory: Path, script: str) -> None:
    path = directory / metrics.BUTTERAUGLI
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_butteraugli_is_what_the_program_says(photo: np.ndarray, tmp_path, monkeypatch):
    """The line of the 3-norm, not the first; and a program that fails, or says nothing, is an error."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program(tmp_path, 'echo 7.5; test -s "$1" && test -s "$2" && test "$4" = 80 && echo "3-norm: 2.25"')
    assert metrics.butteraugli(photo, photo) == 2.25
    assert metrics.METRICS["butteraugli-3norm"].settings()["intensity_target"] == 80
    for script, message in (("echo oh no >&2; exit 4", "exit code 4: oh no"), ("echo 7.5", "failed"), ("echo 3-norm: x", "failed")):
        program(tmp_path, script)
        with pytest.raises(EvaluationError, match=message):
            metrics.butteraugli(photo, photo)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(EvaluationError, match="needs the program"):
        metrics.butteraugli(photo, photo)


@pytest.mark.parametrize(("name", "module", "package"), [("cvvdp", "pycvvdp", "cvvdp"), ("st-lpips", "stlpips_pytorch", "stlpips-pytorch"),
                                                         ("ms-ssim-rgb", "pytorch_msssim", "'ddpmcodec[eval]'")])  # fmt: skip
def test_what_is_missing_says_how_to_install_it(name: str, module: str, package: str, monkeypatch):
    for load in (metrics._cvvdp, metrics._st_lpips):
        load.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    assert (metrics.missing(METRICS[name]) or "").endswith(f"pip install {package}")


def test_what_is_available():
    found, absent = metrics.available()
    assert {metric.name for metric in found} | set(absent) == set(METRICS) and "psnr-rgb" not in absent
    with pytest.raises(EvaluationError, match="no metric 'psnr'"):
        metrics.available(["psnr"])

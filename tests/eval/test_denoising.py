"""Denoising PSNR: the protocol, worked out by hand beside the library's."""

import math

import numpy as np
import pytest
import torch

from ddpmcodec.eval import denoising
from ddpmcodec.models import networks, whitening
from ddpmcodec.models.model import Model


def by_hand(model: Model, pixels: np.ndarray, sigma: float, seed: int) -> float:
    """x_0 + noise of `sigma` in [-1, 1], scaled to variance preserving at exactly that noise."""
    x_0 = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    s = sigma / 127.5
    noisy = x_0 + s * torch.randn(x_0.shape, generator=torch.Generator().manual_seed(seed))
    level = round(256 * math.log2(1 / s**2))
    output = networks.predict_x_0(model, noisy / math.sqrt(1 + s * s), level).clamp(-1, 1)
    return 10 * math.log10(4 / float((output - x_0).pow(2).mean()))


@pytest.mark.parametrize("sigma", [0.7, 15, 25, 50])
def test_protocol(model: Model, photo: np.ndarray, sigma: float):
    """At .7 of 255 it shows that the output is not rounded to 8 bits."""
    assert denoising.denoised_psnr(model, photo, sigma, 3) == pytest.approx(by_hand(model, photo, sigma, 3), abs=0.01)


def test_the_denoiser_removes_noise(model: Model, photo: np.ndarray):
    assert denoising.denoised_psnr(model, photo, 50, 0) > 20 * math.log10(255 / 50) + 3


def test_pictures_are_seeded_by_their_place(model: Model, photo: np.ndarray):
    torch.manual_seed(1)
    rows = dict(denoising.evaluate([("a", photo), ("b", photo)], model, [25, 50]))
    torch.manual_seed(2)
    assert rows == dict(denoising.evaluate([("a", photo), ("b", photo)], model, [25, 50]))
    assert rows["a"][0] == denoising.denoised_psnr(model, photo, 25, 0)
    assert rows["b"][1] == denoising.denoised_psnr(model, photo, 50, 1)
    assert rows["a"] != rows["b"]


def test_a_model_of_timesteps(discrete_model: Model, photo: np.ndarray):
    assert math.isfinite(denoising.denoised_psnr(discrete_model, photo, 25, 0))


def test_table(model: Model):
    lines = denoising.table({"a": [30, 28.004], "b": [32, 29]}, model, [15, 25]).splitlines()
    assert lines == ["| PSNR in dB, noise | 15 | 25 |", "|---|---:|---:|", f"| {model.name}, 2 pictures | 31.00 | 28.50 |"]


def test_whitened_pictures_are_measured_as_the_network_sees_them(model: Model, photo: np.ndarray):
    """y of the picture with noise, written out; and the errors of x follow from those of y."""
    u_0 = whitening.coefficients((photo.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1))
    y = whitening.whiten(u_0, np.exp2(whitening.log2_multipliers(*photo.shape[:2])))
    noise = torch.randn((1, *y.shape), generator=torch.Generator().manual_seed(3)).numpy()[0]
    snr = model.levels.snr(model.levels.nearest((127.5 / 25) ** 2))
    y_t = math.sqrt(snr / (1 + snr)) * (y + 25 / 127.5 * noise)
    yhat = networks.predict_x_0(model, torch.from_numpy(y_t)[None].float(), model.levels.nearest(snr)).numpy()[0]
    expected = 10 * math.log10(4 / float(np.square(yhat - y).mean()))
    assert denoising.denoised_psnr(model, photo, 25, 3, whitened=True) == pytest.approx(expected, abs=0.01)
    assert abs(expected - denoising.denoised_psnr(model, photo, 25, 3)) > 0.5
    lines = denoising.table({"a": [30.0]}, model, [25], whitened=True).splitlines()
    assert lines[0] == "| PSNR of whitened pictures in dB, noise | 25 |"

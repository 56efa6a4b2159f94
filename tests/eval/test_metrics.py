"""Metrics against known values."""

import numpy as np
import pytest
import torch

from ddpmcodec.eval import metrics


def noisy(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return (pixels + np.random.default_rng(0).normal(0, sigma, pixels.shape)).round().clip(0, 255).astype(np.uint8)


def test_ssimulacra2_of_the_same_picture_is_100_and_falls_with_noise(photo: np.ndarray):
    pytest.importorskip("ssimulacra2")
    scores = [metrics.ssimulacra2(photo, noisy(photo, sigma)) for sigma in (0, 3, 12)]
    assert scores[0] == pytest.approx(100) and scores[0] > scores[1] > scores[2]
    assert metrics.ssimulacra2(photo[:7], photo[:7]) is None


def test_ms_ssim_is_one_of_the_same_picture_and_none_of_small_ones(photo: np.ndarray):
    pytest.importorskip("pytorch_msssim")
    large = np.tile(photo, (3, 2, 1))
    assert metrics.ms_ssim(large, large) == pytest.approx(1) and metrics.ms_ssim(large, noisy(large, 20)) < 0.999
    assert metrics.ms_ssim(photo, photo) is None


def test_lpips_is_the_squared_distance_of_features(photo: np.ndarray):
    class Means(torch.nn.Module):
        def forward(self, x, resize_images: bool, return_lpips: bool):
            return x.mean((2, 3))

    other = noisy(photo, 30)
    expected = np.square(photo.mean((0, 1)) - other.mean((0, 1))).sum()
    assert metrics.lpips(photo, other, Means()) == pytest.approx(expected, rel=1e-3)


def test_quality_has_none_where_there_is_no_number(photo: np.ndarray):
    quality = metrics.quality(photo, photo)
    assert set(quality) == set(metrics.NAMES) and quality["psnr-rgb"] is None and quality["lpips"] is None

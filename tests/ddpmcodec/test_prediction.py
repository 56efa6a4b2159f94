import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ddpmcodec import arrays, prediction, quality
from ddpmcodec.models import arithmetic, networks, process, registry
from ddpmcodec.models.padding import pad_to_multiple


@pytest.fixture(scope="module")
def photo_model():
    return arithmetic.denoiser(registry.find(), "cpu", "fp32")


@pytest.fixture
def denoiser(model):
    return arithmetic.denoiser(model, "cpu", "fp32")


@pytest.fixture(scope="module")
def raccoon(data_dir):
    with Image.open(data_dir / "raccoon-1021x683.jpg") as image:
        return arrays.from_pixels(np.asarray(image.convert("RGB")))


def noisy(model, x_0, sigma):
    """x_t and its level."""
    level = model.levels.nearest(process.snr_of_sigma(sigma))
    noise = np.random.default_rng(1).standard_normal(x_0.shape, np.float32)
    return process.q_sample(x_0, process.abar_of_snr(model.levels.snr(level)), noise), level


@given(st.integers(1, 1 << 20))
def test_tiles_cover_a_side(size):
    tiles = prediction.tiles(size)
    assert tiles[0][0] == 0 and tiles[-1][1] == size
    assert all(end == begin for (_, end), (begin, _) in itertools.pairwise(tiles))
    assert all(0 < end - begin <= prediction.TILE for begin, end in tiles)
    assert all(begin % prediction.GRAIN == 0 for begin, _ in tiles)


@pytest.mark.parametrize(("size", "count"), [(1024, 1), (1025, 2), (2048, 2), (2049, 3), (6000, 6)])
def test_as_few_tiles_as_there_can_be(size, count):
    assert len(prediction.tiles(size)) == count


@pytest.mark.parametrize("sigma", [4, 25, 120, 300, 600, 3000])
def test_no_seam(sigma, photo_model, raccoon, monkeypatch):
    """Within 2 pixels of a seam the squared error is what it is without tiles, to 2 %, and the picture hardly another."""
    side = 384 if sigma < 361 else 640  # without folding, and with it
    x_0 = raccoon[:, :, 683 - side :, 100 : 100 + side]
    x_t, level = noisy(photo_model, x_0, sigma)
    fold = prediction.fold_of(photo_model.levels, level)
    whole = prediction.predict_x_0(photo_model, x_t, level)
    monkeypatch.setattr(prediction, "TILE", 192 if fold == 1 else 128)
    tiled = prediction.predict_x_0(photo_model, x_t, level)
    beside = np.zeros(side, bool)
    for begin, _ in prediction.tiles(side // fold)[1:]:
        beside[fold * begin - 2 : fold * begin + 2] = True
    beside = beside[:, None] | beside
    assert 0.01 < beside.mean() < 0.2
    assert not np.array_equal(tiled, whole)
    assert np.square(tiled - x_0)[..., beside].mean() / np.square(whole - x_0)[..., beside].mean() <= 1.02
    assert quality.psnr(arrays.to_pixels(tiled), arrays.to_pixels(whole)) > 45


@pytest.mark.parametrize("fold", [2, 4])
def test_a_folded_prediction_is_that_of_the_means(fold, model, denoiser, photo):
    """With torch's own interpolation, and the noise of the means in units of the picture's."""
    x_0 = arrays.from_pixels(photo[:77, :99])
    level = dict(prediction.FOLDS)[fold]
    x_t, level = noisy(model, x_0, process.sigma_of_snr(model.levels.snr(level)))
    assert prediction.fold_of(model.levels, level) == fold
    abar = process.abar_of_snr(model.levels.snr(level))
    means = F.avg_pool2d(torch.from_numpy(pad_to_multiple(x_t, fold)), fold) / math.sqrt(abar)  # the picture, and noise of sigma / fold
    snr = model.levels.snr(level) * fold**2
    small = networks.predict_x_0(model, means * math.sqrt(process.abar_of_snr(snr)), model.levels.nearest(snr)).clamp(-1, 1)
    expected = F.interpolate(small, scale_factor=fold, mode="bilinear", align_corners=False)[:, :, :77, :99]
    np.testing.assert_allclose(prediction.predict_x_0(denoiser, x_t, level), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("fold", [2, 4])
def test_where_it_begins_folding_does_no_harm(fold, photo_model, raccoon, monkeypatch):
    x_0 = raccoon[:, :, 100:500, 300:900]
    x_t, level = noisy(photo_model, x_0, process.sigma_of_snr(photo_model.levels.snr(dict(prediction.FOLDS)[fold])))
    folded = np.square(prediction.predict_x_0(photo_model, x_t, level) - x_0).mean()
    monkeypatch.setattr(prediction, "FOLDS", ())
    assert folded <= np.square(prediction.predict_x_0(photo_model, x_t, level) - x_0).mean()


def test_models_of_timesteps_see_all_pixels(discrete_model):
    assert {prediction.fold_of(discrete_model.levels, t) for t in (1, 500, 1000)} == {1}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 70), (3, 2)])
def test_small_pictures_are_folded_too(height, width, denoiser):
    x_t = np.random.default_rng(2).standard_normal((2, 3, height, width), np.float32)
    x0hat = prediction.predict_x_0(denoiser, x_t, -3000)
    assert x0hat.shape == x_t.shape and np.abs(x0hat).max() <= 1
    np.testing.assert_allclose(x0hat[1:], prediction.predict_x_0(denoiser, x_t[1:], -3000), atol=1e-6)

import itertools
from pathlib import Path

import numpy as np
import pytest

from ddpmcodec import arrays, decoder, quality
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.format import container
from ddpmcodec.models import arithmetic, checkpoint
from ddpmcodec.picture import Picture
from ddpmcodec.target import Rate


def last_picture(data, model, backend="auto"):
    denoiser = arithmetic.denoiser(model, "cpu", "fp32", backend=backend)
    return arrays.to_pixels(decoder.last_state(container.parse(data), denoiser).evaluate())


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding"])
def test_threads_change_nothing_that_shows(fixture, photo, model, thread_counts, request):
    e = request.getfixturevalue(fixture)
    for count in (1, 2):
        thread_counts(count)
        assert quality.psnr(photo, last_picture(e.data, model)) == pytest.approx(e.psnr, abs=0.05)


def test_encoding_with_two_threads_decodes_with_one(photo, model, thread_counts):
    thread_counts(2)
    e = encode_pixels(Picture(photo), model, Rate(3), EncodeOptions(evaluations=8, effort=1))
    thread_counts(1)
    pixels = last_picture(e.data, model)
    assert quality.psnr(photo, pixels) == pytest.approx(e.psnr, abs=0.05)
    assert np.abs(pixels.astype(int) - e.pixels).max() <= 3


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding"])
def test_a_network_in_double_precision_decodes_the_same(fixture, photo, model_path, request):
    e = request.getfixturevalue(fixture)
    double = checkpoint.load(Path(model_path))
    double.network.double()
    pixels = last_picture(e.data, double, "torch")
    assert quality.psnr(photo, pixels) == pytest.approx(e.psnr, abs=0.05)
    assert quality.psnr(e.pixels, pixels) > 55


def test_pictures_get_better_step_by_step(large_encoding, photo, model):
    parsed = container.parse(large_encoding.data)
    psnr = [
        quality.psnr(photo, arrays.to_pixels(state.evaluate()))
        for state in decoder.states(parsed, arithmetic.denoiser(model, "cpu", "fp32"))
    ]
    assert len(psnr) == len(parsed.steps) + 1
    assert psnr[-1] > psnr[0] + 25
    assert all(after > before - 0.5 for before, after in itertools.pairwise(psnr))

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from ddpmcodec import decoder, picture
from ddpmcodec.encoder import encode_pixels
from ddpmcodec.format import container
from ddpmcodec.models import checkpoint


def last_picture(data, model):
    return picture.to_pixels(decoder.last_state(container.parse(data), model, lambda done, total: None).x0hat)


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding"])
def test_threads_change_nothing_that_shows(fixture, photo, model, thread_counts, request):
    e = request.getfixturevalue(fixture)
    for count in (1, 2):
        thread_counts(count)
        assert picture.psnr(photo, last_picture(e.data, model)) == pytest.approx(e.psnr, abs=0.05)


def test_encoding_with_two_threads_decodes_with_one(photo, model, thread_counts):
    thread_counts(2)
    e = encode_pixels(photo, model, bpp=3, evaluations=8, effort=1)
    thread_counts(1)
    pixels = last_picture(e.data, model)
    assert picture.psnr(photo, pixels) == pytest.approx(e.psnr, abs=0.05)
    assert np.abs(pixels.astype(int) - e.pixels).max() <= 3


@pytest.mark.parametrize("fixture", ["encoding", "large_encoding"])
def test_a_network_in_double_precision_decodes_the_same(fixture, photo, model_path, request):
    e = request.getfixturevalue(fixture)
    double = checkpoint.load(Path(model_path))
    double.network.double()
    pixels = last_picture(e.data, double)
    assert picture.psnr(photo, pixels) == pytest.approx(e.psnr, abs=0.05)
    assert picture.psnr(e.pixels, pixels) > 55


def test_pictures_get_better_step_by_step(large_encoding, photo, model):
    parsed = container.parse(large_encoding.data)
    psnr = [picture.psnr(photo, picture.to_pixels(state.x0hat)) for state in decoder.states(parsed, model)]
    assert len(psnr) == len(parsed.steps) + 1
    assert psnr[-1] > psnr[0] + 25
    assert all(after > before - 0.5 for before, after in itertools.pairwise(psnr))


def test_sampling_draws_from_p(encoding, photo, model):
    """The stochastic decoder: seeded, and as far from x0hat as x0hat is from the picture, where the network knows its error."""
    parsed = container.parse(encoding.data).first(6)
    state = decoder.last_state(parsed, model, lambda done, total: None)
    progress = []
    a = decoder.sample(state, 1, lambda *p: progress.append(p))
    assert progress[-1][0] == progress[-1][1] == len(progress)
    b, c = decoder.sample(state, 1), decoder.sample(state, 2)
    assert bool((a == b).all()) and not bool((a == c).all())
    assert a.abs().max() <= 1
    x_0 = picture.to_tensor(photo)
    error = [(x - x_0).square().mean().item() for x in (state.x0hat, a, c)]
    assert error[0] < error[1] and error[0] < error[2]
    rms = math.sqrt((a - state.x0hat).square().mean().item() / error[0])
    assert 0.3 < rms < 2


def test_sampling_adds_what_the_mean_lacks(encoding, photo, model):
    """Neighbouring pixels of a sample differ about as much as the photo's; those of x0hat at high noise much less."""
    parsed = container.parse(encoding.data).first(4)
    state = decoder.last_state(parsed, model, lambda done, total: None)

    def roughness(x):
        return (x[..., 1:] - x[..., :-1]).square().mean().item()

    assert roughness(state.x0hat) < roughness(decoder.sample(state, 0))


def test_sampling_of_a_discrete_chain(photo, discrete_model):
    e = encode_pixels(photo[:20, :20], discrete_model, bpp=10, evaluations=5, effort=1)
    state = decoder.last_state(container.parse(e.data), discrete_model, lambda done, total: None)
    x = decoder.sample(state, 3)
    assert x.shape == (1, 3, 20, 20) and bool(x.isfinite().all())

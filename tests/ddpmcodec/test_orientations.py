"""Orientations against numpy's own turns, and what a mean over a group of them has to be."""

import numpy as np
import pytest

from ddpmcodec.models import arithmetic
from ddpmcodec.models.levels import ContinuousLevels
from ddpmcodec.orientations import COUNTS, ORIENTATIONS, Oriented, turned, turned_back


class Toy:
    """A denoiser that is a function of pictures."""

    levels = ContinuousLevels()

    def __init__(self, function):
        self.function = function

    def predict_x_0(self, x_t, level):
        return self.function(x_t)


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(-1, 1, (2, 3, 9, 14)).astype(np.float32)


def test_they_are_the_eight_of_a_rectangle(x):
    ways = [turned(x, *orientation) for orientation in ORIENTATIONS]
    of_numpy = [np.rot90(each, quarters, (2, 3)) for each in (x, x[..., ::-1]) for quarters in range(4)]
    assert len(ways) == len(of_numpy) == 8
    assert {way.tobytes() for way in ways} == {way.tobytes() for way in of_numpy}
    for way, orientation in zip(ways, ORIENTATIONS, strict=True):
        assert np.array_equal(turned_back(way, *orientation), x)


@pytest.mark.parametrize("count", COUNTS)
def test_a_denoiser_that_knows_no_directions_stays_as_it_is(x, count):
    around = Toy(lambda x_t: x_t**2 / 2 + x_t.mean((2, 3), keepdims=True))
    np.testing.assert_allclose(Oriented(around, count).predict_x_0(x, 0), around.predict_x_0(x, 0), atol=1e-6)


def test_opposite_errors_cancel(x):
    """A denoiser that is too bright at the left and too dark at the right is right in the mean of both."""
    ramp = np.linspace(-1, 1, x.shape[3], dtype=np.float32)

    def biased(x_t):
        return x_t + np.linspace(-1, 1, x_t.shape[3], dtype=np.float32)

    assert np.array_equal(Oriented(Toy(biased), 1).predict_x_0(x, 0), x + ramp)
    for count in (2, 4, 8):
        np.testing.assert_allclose(Oriented(Toy(biased), count).predict_x_0(x, 0), x, atol=1e-6)


@pytest.mark.parametrize("count", COUNTS)
def test_a_turned_picture_has_the_turned_prediction(x, count, model):
    """As the orientations are a group: it makes no difference how the picture is held."""
    denoiser = Oriented(arithmetic.denoiser(model, "cpu", "fp32"), count)
    x_0 = denoiser.predict_x_0(x, 700)
    for orientation in ORIENTATIONS[:count]:
        again = denoiser.predict_x_0(np.ascontiguousarray(turned(x, *orientation)), 700)
        np.testing.assert_allclose(turned_back(again, *orientation), x_0, atol=1e-5)

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpmcodec.models import process
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels, sigma

CONTINUOUS = ContinuousLevels()
LINEAR = DiscreteLevels("linear", 1000)
COSINE = DiscreteLevels("cosine", 1000)
ALL = [CONTINUOUS, LINEAR, COSINE, DiscreteLevels("linear", 50, 1e-3, 0.3)]


def range_of(levels):
    return (1, levels.T) if isinstance(levels, DiscreteLevels) else (levels.LOWEST, levels.HIGHEST)


@pytest.mark.parametrize("levels", ALL, ids=str)
@given(data=st.data())
def test_nearest_finds_each_level(levels, data):
    level = data.draw(st.integers(*range_of(levels)))
    assert levels.nearest(levels.snr(level)) == level


@pytest.mark.parametrize("levels", ALL, ids=str)
@given(data=st.data())
def test_descend_goes_the_distance_and_lowers_the_noise(levels, data):
    low, high = range_of(levels)
    a = data.draw(st.integers(low, high))
    b = data.draw(st.integers(low, high))
    assert levels.descend(a, levels.distance(a, b)) == b
    if levels.distance(a, b) > 0:
        assert levels.snr(b) > levels.snr(a)
        assert sigma(levels, b) < sigma(levels, a)


@given(st.floats(-25, 25))
def test_continuous_level_is_256_log2_snr(log2_snr):
    level = CONTINUOUS.nearest(2.0**log2_snr)
    assert abs(level - 256 * log2_snr) <= 0.5 + 1e-6
    assert math.log2(CONTINUOUS.snr(level)) == pytest.approx(level / 256)


def test_continuous_levels_are_clamped_to_their_range():
    assert CONTINUOUS.nearest(1e-30) == CONTINUOUS.LOWEST
    assert CONTINUOUS.nearest(1e30) == CONTINUOUS.HIGHEST


@given(st.floats(-12, 12))
def test_discrete_nearest_is_the_nearest_log_snr(log_snr):
    distances = [abs(math.log(LINEAR.snr(t)) - log_snr) for t in range(1, 1001)]
    assert distances[LINEAR.nearest(math.exp(log_snr)) - 1] == pytest.approx(min(distances), abs=1e-9)


def test_discrete_snr_is_the_schedules():
    product = 1.0
    for t in range(1, 1001):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * (t - 1) / 999)
        assert LINEAR.snr(t) == pytest.approx(product / (1 - product), rel=1e-9)
    assert COSINE.snr(500) == pytest.approx(process.snr(float(process.alpha_bars(process.cosine_betas(1000))[500])))


def test_sigma_of_known_levels():
    assert sigma(CONTINUOUS, 0) == pytest.approx(127.5)  # snr 1 on a scale of 127.5
    assert sigma(CONTINUOUS, 512) == pytest.approx(127.5 / 2)
    assert sigma(CONTINUOUS, -512) == pytest.approx(255)


@pytest.mark.parametrize("levels", ALL, ids=str)
def test_contains_ends_at_the_range(levels):
    low, high = range_of(levels)
    assert levels.contains(low) and levels.contains(high)
    assert not levels.contains(low - 1) and not levels.contains(high + 1)


@pytest.mark.parametrize(
    "arguments",
    [("square", 1000), ("linear", 1), ("linear", 1 << 15), ("linear", 10, 0.0, 0.1), ("linear", 10, 0.2, 0.1), ("linear", 10, 0.1, 1.0),
     ("linear", 10, math.nan, 0.1)],
)  # fmt: skip
def test_impossible_schedules_are_refused(arguments):
    with pytest.raises(ValueError):
        DiscreteLevels(*arguments)

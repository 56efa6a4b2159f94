"""The planner of levels: it may be crude, but a walk by it ends where it should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpmcodec import spacing
from ddpmcodec.models import process


def walk(start, last, evaluations, nats, relative_error):
    """Step sizes, and the nats left, of a chain whose relative error is `relative_error(log_snr)`."""
    log_snr, steps = start, []
    for left in range(evaluations, 0, -1):
        if log_snr >= last or nats <= 0:
            break
        h = spacing.next_step(spacing.WHITE, log_snr, relative_error(log_snr), left, nats, last)
        h = min(h, last - log_snr)
        steps.append(h)
        nats -= relative_error(log_snr) * math.expm1(h) / 2
        log_snr += h
    return steps, nats


@given(
    st.floats(-10, 9), st.floats(1e-6, 1e3), st.integers(1, 1000), st.floats(1e-9, 50), st.floats(-10, 12)
)  # fmt: skip
def test_steps_are_positive_and_finite(log_snr, relative_error, evaluations, nats, last):
    h = spacing.next_step(spacing.WHITE, log_snr, relative_error, evaluations, nats, last)
    assert math.isfinite(h) and h > 0


@given(st.floats(-10, 5), st.floats(0.01, 1), st.integers(2, 60), st.floats(0.01, 1))
def test_more_evaluations_make_shorter_steps(log_snr, relative_error, evaluations, nats):
    few = spacing.next_step(spacing.WHITE, log_snr, relative_error, evaluations, nats, 10)
    many = spacing.next_step(spacing.WHITE, log_snr, relative_error, 2 * evaluations, nats, 10)
    assert many <= few + 1e-9


@pytest.mark.parametrize("evaluations", [10, 30, 100])
@pytest.mark.parametrize("nats", [0.05, 0.3, 1.0])
def test_the_steps_spend_the_budget(evaluations, nats):
    def relative_error(log_snr):
        return process.typical_relative_error(process.sigma_of_snr(math.exp(log_snr)))

    steps, left = walk(-10.0, 11.0, evaluations, nats, relative_error)
    assert abs(left) < 0.35 * nats and len(steps) >= 0.6 * evaluations
    # few steps where there are few bits: the first, at high noise, are the longest
    assert steps[0] == max(steps) > 1.5 * np.median(steps) or evaluations == 10

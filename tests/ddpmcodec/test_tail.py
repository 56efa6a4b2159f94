"""The lossless tail: its tables against float64 probabilities, its code against every kind of picture, and what drift does to it."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor
from torch.distributions import Normal

from ddpmcodec import tail
from ddpmcodec.errors import CorruptFileError, DriftError


def prediction(pixels, spread=0.7, seed=0):
    """An x0hat that misses a picture by noise of `spread` gray levels."""
    noise = np.random.default_rng(seed).normal(0, spread, pixels.shape)
    return np.clip((pixels + noise).transpose(2, 0, 1) / 127.5 - 1, -1, 1).astype(np.float32)


def smooth(height, width, seed=0):
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 100 * np.sin(x / 9 + y / 13 + c + seed) for c in range(3)], axis=-1).round().astype(np.uint8)


@pytest.mark.parametrize("scale", [0, 16, 30, tail.SCALES - 1])
@pytest.mark.parametrize("offset", range(tail.OFFSETS))
def test_tables_are_the_discretized_gaussian(scale, offset):
    frequencies = tail.frequencies()[scale, offset]
    normal = Normal(tensor((offset - 4) / 8).double(), tensor(2.0 ** ((scale - 16) / 6)).double())
    edges = normal.cdf(tensor(np.arange(-31.5, 32)).double()).numpy()
    p = np.append(np.diff(edges), 1 - (edges[-1] - edges[0]))
    np.testing.assert_allclose(frequencies - 1, p * 2**20, atol=0.51)
    # what coding with the table costs over coding with the probabilities
    q = frequencies / frequencies.sum()
    positive = p > 0
    assert 0 <= np.sum(p[positive] * np.log2(p[positive] / q[positive])) < 2e-4


def test_no_table_entry_depends_on_the_last_digits_of_a_platforms_erf():
    """Frequencies are rounded: none lies where an error of 1e-9 in a probability, a million times what erf is wrong by, would change it."""
    for scale in range(tail.SCALES):
        s = tail.standard_deviation(scale)
        for offset in range(-4, 4):
            x = np.arange(-tail.LARGEST, tail.LARGEST + 1)
            mass = np.array([tail.gaussian_mass(v - offset / 8 - 0.5, v - offset / 8 + 0.5, s) for v in x]) * 2**20
            assert np.abs(mass - np.floor(mass) - 0.5).min() > 1e-6


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["smooth", "noise", "black", "white", "steps"]),
    spread=st.sampled_from([0.0, 0.3, 1.0, 5.0, 80.0]),
)
def test_every_picture_comes_back(height, width, seed, kind, spread):
    rng = np.random.default_rng(seed)
    shape = (height, width, 3)
    pixels = {
        "smooth": smooth(height, width, seed % 100),
        "noise": rng.integers(0, 256, shape, np.uint8),
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "steps": (rng.integers(0, 2, shape) * 255).astype(np.uint8),
    }[kind]
    x0hat = prediction(pixels, spread, seed)
    np.testing.assert_array_equal(tail.decode(tail.encode(pixels, x0hat), x0hat), pixels)


def test_means_at_boundaries_of_rounding_come_back_through_drift():
    """Every mean lies on a boundary, or within drift of one: the marks decide."""
    pixels = smooth(40, 50)
    rng = np.random.default_rng(1)
    doubled = 2 * pixels.transpose(2, 0, 1) + rng.choice([-0.5, 0.5, 1.5], (3, 40, 50)) + rng.uniform(-2e-4, 2e-4, (3, 40, 50))
    x0hat = (np.clip(doubled, 0, 510) / 255 - 1).astype(np.float32)
    body = tail.encode(pixels, x0hat)
    for _ in range(5):
        drifted = (x0hat + rng.uniform(-2e-6, 2e-6, x0hat.shape)).astype(np.float32)
        assert (np.round(255.0 * (drifted + 1.0)) != np.round(255.0 * (x0hat + 1.0))).sum() > 100
        np.testing.assert_array_equal(tail.decode(body, drifted), pixels)


@pytest.mark.parametrize("drift", [3e-5, 1e-3, 0.5])
def test_more_drift_than_the_margin_is_refused_and_never_wrong(drift):
    pixels = smooth(60, 70)
    x0hat = prediction(pixels)
    body = tail.encode(pixels, x0hat)
    rng = np.random.default_rng(0)
    for _ in range(20):
        with pytest.raises(DriftError, match="of a gray level"):
            tail.decode(body, (x0hat + rng.uniform(-drift, drift, x0hat.shape)).astype(np.float32))


def test_the_cost_is_that_of_the_noise():
    """Independent noise of known spread: nothing to predict, so the tail costs its entropy, a little for marks, and the head."""
    pixels = smooth(300, 300)
    x0hat = prediction(np.clip(pixels, 12, 243), 2.0)
    pixels = np.clip(pixels, 12, 243)
    body = tail.encode(pixels, x0hat)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * (4 + 1 / 48))  # rounding to half levels adds 1/48
    bits = 8 * len(body) / pixels.size
    assert entropy < bits < entropy + 0.06


def test_what_neighbours_tell_is_used():
    """Errors that the channels share cost little more than those of one channel."""
    pixels = np.clip(smooth(200, 200), 12, 243)
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 2, (200, 200, 1)) + rng.normal(0, 0.3, (200, 200, 3))
    apart = rng.normal(0, 2, (200, 200, 3))
    sizes = [len(tail.encode(pixels, ((pixels + e).transpose(2, 0, 1) / 127.5 - 1).astype(np.float32))) for e in (shared, apart)]
    assert sizes[0] < 0.7 * sizes[1]


def test_the_scale_adapts():
    """A picture half exact, half noisy costs less than one with the mean spread everywhere."""
    pixels = np.clip(smooth(200, 200), 30, 220)
    noise = np.random.default_rng(0).normal(0, 1, pixels.shape)
    half = noise * np.where(np.arange(200) < 100, 0.05, 4)[:, None, None]
    even = noise * half.std()
    sizes = [len(tail.encode(pixels, ((pixels + e).transpose(2, 0, 1) / 127.5 - 1).astype(np.float32))) for e in (half, even)]
    assert sizes[0] < 0.75 * sizes[1]


@given(data=st.data())
def test_a_damaged_body_is_refused(data):
    pixels = smooth(9, 11)
    x0hat = prediction(pixels)
    body = tail.encode(pixels, x0hat)
    i = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:i] + bytes([body[i] ^ data.draw(st.integers(1, 255))]) + body[i + 1 :]
    with contextlib.suppress(CorruptFileError, DriftError):
        np.testing.assert_array_equal(tail.decode(damaged, x0hat), pixels)  # the last words may hold bits that decide nothing
    with pytest.raises((CorruptFileError, DriftError)):
        tail.decode(body[: i // 4], x0hat)

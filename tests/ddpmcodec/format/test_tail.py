"""The lossless tail: its tables against float64 probabilities, its code against every kind of picture, and what drift does to it."""

import contextlib
import math
from functools import cache
from itertools import pairwise

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor
from torch.distributions import Normal

from ddpmcodec.errors import CorruptFileError, DriftError
from ddpmcodec.format import tail


def prediction(pixels, spread=0.7, seed=0):
    """An x0hat that misses a picture by noise of `spread` gray levels."""
    noise = np.random.default_rng(seed).normal(0, spread, pixels.shape)
    return np.clip((pixels + noise).transpose(2, 0, 1) / 127.5 - 1, -1, 1).astype(np.float32)


def smooth(height, width, seed=0):
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 100 * np.sin(x / 9 + y / 13 + c + seed) for c in range(3)], axis=-1).round().astype(np.uint8)


@cache
def model_of(weights):
    p = np.array(weights, np.float64)
    return constriction.stream.model.Categorical(p / p.sum(), perfect=False)


@cache
def documented_frequencies(scale, offset):
    """Of the symbols, from the distribution function."""
    edges = [math.erf((k - 31.5 - offset / 8) / 2 ** ((scale - 16) / 6) / math.sqrt(2)) / 2 for k in range(64)]
    p = [b - a for a, b in pairwise(edges)]
    return tuple(1 + round(2**20 * max(0, x)) for x in (*p, 1 - sum(p)))


CONTEXTS = {1: (8, 16, 8), 0: (4, 8, 4, 8, 2, 2, 2, 2), 2: (4, 8, 4, 4, 1, 1, 1, 1, 4, 1, 1, 1, 1)}


def documented(body, x0hat):
    """The picture of a body as docs/format.md has it, one subpixel after the other."""
    margin, weights, scales = body[4], np.frombuffer(body[5:29], np.int8).tolist(), body[29:53]
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(body[53:], ">u4").astype(np.uint32))
    share = 2 * margin / 8192
    r = {}
    for at, x in np.ndenumerate(x0hat):
        mean = 255 * (float(x) + 1)
        mark = coder.decode(model_of((1 - 2 * share, share, share)))
        assert (mark > 0) == (abs(mean - math.floor(mean) - 0.5) <= share)
        r[at] = math.floor(mean) + mark - 1 if mark else round(mean)
        assert abs(r[at] - mean) <= 0.5
    residual, deviation, pixels = {}, {}, np.zeros(x0hat.shape, int)
    of_channel = {1: weights[:3], 0: weights[3:11], 2: weights[11:]}
    order = (1, 0, 2)
    for i, c in enumerate(order):
        for y in range(x0hat.shape[1]):
            means, escapes = [], []
            for x in range(x0hat.shape[2]):
                near = [(c, y - 1, x - 1), (c, y - 1, x), (c, y - 1, x + 1)]
                for b in order[:i]:
                    near += [(b, y, x), (b, y - 1, x), (b, y, x - 1), (b, y, x + 1), (b, y + 1, x)]
                M = 4 * r[c, y, x] + (sum(w * residual.get(at, 0) for w, at in zip(of_channel[c], near, strict=True)) + 8) // 16
                context = sum(w * deviation.get(at, 0) for w, at in zip(CONTEXTS[c], near, strict=True))
                scale = scales[sum(math.floor(12 * 2 ** (k / 3)) <= context for k in range(23))]
                center = (M + 4) // 8
                symbol = coder.decode(model_of(documented_frequencies(scale, M - 8 * center)))
                pixels[c, y, x] = center + symbol - 31
                means.append(M)
                escapes += [x] if symbol == 63 else []
            for x in escapes:
                pixels[c, y, x] = coder.decode(constriction.stream.model.Uniform(256))
            for x, M in enumerate(means):
                residual[c, y, x], deviation[c, y, x] = 2 * pixels[c, y, x] - r[c, y, x], abs(8 * pixels[c, y, x] - M)
    return pixels.transpose(1, 2, 0)


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.7, 3.0, 30.0]), st.booleans())
def test_the_body_is_the_documented_one(height, width, seed, spread, marked):
    pixels = smooth(height, width, seed % 100)
    x0hat = prediction(pixels, np.linspace(0.1, 2 * spread, width)[:, None], seed)  # every class of contexts, and escapes
    if marked:  # means near boundaries of rounding
        near = 0.5 - 2 * tail.MARGIN / 8192 * np.array([1.2, 0.7, 0.1, -0.1])
        doubled = np.floor(255.0 * (x0hat + 1.0)) + np.random.default_rng(seed).choice(near, x0hat.shape)
        x0hat = (doubled / 255 - 1).astype(np.float32)
    np.testing.assert_array_equal(documented(tail.encode(pixels, x0hat), x0hat), pixels)


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
    """Every mean lies on a boundary, or within the margin of one: the marks decide, as long as drift is below the margin."""
    pixels = smooth(40, 50)
    rng = np.random.default_rng(1)
    margin = tail.MARGIN / 8192  # of a gray level
    near = rng.uniform(-2.05 * margin, 2.05 * margin, (3, 40, 50))
    doubled = 2.0 * pixels.transpose(2, 0, 1) + rng.choice([-0.5, 0.5, 1.5], (3, 40, 50)) + near
    x0hat = (np.clip(doubled, 0, 510) / 255 - 1).astype(np.float32)
    body = tail.encode(pixels, x0hat)
    most = 0.95 * margin / 127.5
    for _ in range(5):
        drifted = (x0hat + rng.uniform(-most, most, x0hat.shape)).astype(np.float32)
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


@pytest.mark.parametrize(("factor", "weight"), [(1, 64), (-0.5, -32), (3, 127), (-3, -128)])
def test_weights_are_least_squares(factor, weight):
    """Where the errors in R are a multiple of those in G, in half gray levels, nothing else has a weight."""
    pixels = np.clip(smooth(40, 40), 80, 170)
    errors = 4 * np.random.default_rng(0).integers(-9, 10, (40, 40))
    doubled = 2.0 * pixels.transpose(2, 0, 1) + np.stack([factor * errors, errors, errors[::-1]])
    body = tail.encode(pixels, (doubled / 255 - 1).astype(np.float32))
    assert np.frombuffer(body[5:29], np.int8)[3:11].tolist() == [0, 0, 0, weight, 0, 0, 0, 0]


@pytest.mark.parametrize("dx", [-1, 0, 1])
def test_a_row_like_the_one_above_is_predicted_from_it(dx):
    """Where the error is half that of the row above, dx to the side, that alone has a weight, but for what chance does at the edges."""
    y, x = np.mgrid[:6, :300]
    errors = 64 * np.random.default_rng(0).integers(-3, 4, 320)[10 + x + dx * y] >> y
    doubled = 256 + np.stack([errors[:, ::-1], errors, errors[::-1]])
    pixels = np.full((6, 300, 3), 128, np.uint8)
    weights = np.frombuffer(tail.encode(pixels, (doubled / 255 - 1).astype(np.float32))[5:8], np.int8)
    assert np.abs(weights - 32 * (np.arange(-1, 2) == dx)).max() < 8


def test_symbols_reach_31_gray_levels_to_either_side():
    """M = 803 is 3 eighths above 100, M = 804 as near to 100 as to 101."""
    x = np.array([68, 69, 70, 99, 100, 101, 130, 131, 132])
    symbols, center, offset = tail._symbols(x, np.full(9, 803))
    assert symbols.tolist() == [63, 0, 1, 30, 31, 32, 61, 62, 63] and set(center) == {100} and set(offset) == {7}
    symbols, center, offset = tail._symbols(x, np.full(9, 804))
    assert symbols.tolist() == [63, 63, 0, 29, 30, 31, 60, 61, 62] and set(center) == {101} and set(offset) == {0}


def test_limits_of_the_fields():
    def body(margin, scale, words=b""):
        return bytes(4) + bytes([margin]) + bytes(24) + bytes(23) + bytes([scale]) + words

    for good in (body(1, 43), body(255, 0), body(4, 0, bytes(8))):
        tail.check(good)
    for bad in (body(0, 0), body(1, 44), body(1, 0, bytes(2)), body(1, 0)[:-1], body(1, 0)[:49]):
        with pytest.raises(CorruptFileError):
            tail.check(bad)


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

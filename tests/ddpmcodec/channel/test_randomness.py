from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Philox

from ddpmcodec.channel import randomness
from ddpmcodec.channel.randomness import SharedRandomness

STREAMS = [
    randomness.STREAM_START,
    randomness.STREAM_ROTATION,
    randomness.STREAM_CODE,
    randomness.STREAM_POLYNOMIALS,
    randomness.STREAM_SAMPLING,
]
MASK = (1 << 64) - 1


def philox4x64_10(counter, key):
    """The four words of one counter value, from Salmon et al. 2011."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [b >> 64 ^ c[1] ^ k[0], b & MASK, a >> 64 ^ c[3] ^ k[1], a & MASK]
        k = [k[0] + 0x9E3779B97F4A7C15 & MASK, k[1] + 0xBB67AE8584CAA73B & MASK]
    return c


def test_the_reference_generator_gives_the_published_vector():
    """The first known answer for philox4x64-10 of the Random123 distribution."""
    expected = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox4x64_10([0] * 4, [0] * 2) == expected


@given(st.integers(0, MASK), st.integers(0, 3), st.sampled_from(STREAMS), st.integers(0, 1 << 20), st.integers(0, 9), st.integers(0, 23))
def test_words_are_philox(seed, version, stream, step, block, count):
    words = SharedRandomness(seed, version).words(count, stream, step, block)
    expected = [w for i in range(6) for w in philox4x64_10([i + 1, stream, step, block], [seed, version])]
    assert words.dtype == np.uint64 and words.tolist() == expected[:count]
    assert words.tolist() == Philox(key=np.array([seed, version], np.uint64), counter=[0, stream, step, block]).random_raw(count).tolist()


@given(st.integers(0, 200), st.integers(0, MASK))
def test_signs_are_the_words_bits(count, seed):
    shared = SharedRandomness(seed, 0)
    words = shared.words(4, randomness.STREAM_CODE, 5).tolist()
    expected = [-1 if words[i // 64] >> i % 64 & 1 else 1 for i in range(count)]
    assert shared.signs(count, randomness.STREAM_CODE, 5).tolist() == expected


def test_gaussians_are_the_inverse_distribution_of_half_words():
    shared = SharedRandomness(11, 0)
    words = shared.words(501, randomness.STREAM_START, 2).tolist()
    halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)][:1001]
    expected = [NormalDist().inv_cdf((half + 0.5) / 2**32) for half in halves]
    np.testing.assert_allclose(shared.gaussians(1001, randomness.STREAM_START, 2), expected, rtol=1e-6, atol=1e-7)


def test_gaussians_are_standard_normal():
    x = SharedRandomness(0, 0).gaussians(400_000, randomness.STREAM_START).astype(np.float64)
    assert abs(x.mean()) < 0.008
    assert x.var() == pytest.approx(1, abs=0.01)
    assert (((x - x.mean()) / x.std()) ** 4).mean() == pytest.approx(3, abs=0.05)
    assert np.isfinite(x).all()


@settings(max_examples=50)
@given(st.integers(1, 512).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))), st.integers(0, MASK))
def test_permutation_is_the_beginning_of_a_fisher_yates_shuffle(count_and_size, seed):
    count, size = count_and_size
    shared = SharedRandomness(seed, 0)
    places = shared.permutation(count, size, randomness.STREAM_POLYNOMIALS, 1).tolist()
    assert len(set(places)) == count and all(0 <= p < size for p in places)
    assert places == shared.permutation(size, size, randomness.STREAM_POLYNOMIALS, 1).tolist()[:count]
    words = shared.words(count, randomness.STREAM_POLYNOMIALS, 1).tolist()
    left = {i: i for i in range(size)}
    for i in range(count):
        j = i + words[i] % (size - i)
        left[i], left[j] = left[j], left[i]
        assert places[i] == left[i]


def test_a_whole_permutation_has_every_number():
    assert sorted(SharedRandomness(4, 0).permutation(512, 512, randomness.STREAM_POLYNOMIALS)) == list(range(512))


def test_streams_steps_blocks_seeds_and_versions_differ():
    shared = SharedRandomness(1, 0)
    sequences = [tuple(shared.words(8, stream, step, block)) for stream in STREAMS for step in (0, 1) for block in (0, 1)]
    sequences += [tuple(SharedRandomness(*key).words(8, STREAMS[0])) for key in [(0, 0), (1, 1), (2, 0)]]
    assert len(set(sequences)) == len(sequences)
    assert len(set(STREAMS)) == len(STREAMS)

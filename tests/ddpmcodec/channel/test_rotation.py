import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpmcodec.channel import rotation
from ddpmcodec.channel.codeword import padded_size


def signs(size, seed=0):
    return (2 * np.random.default_rng(seed).integers(0, 2, size) - 1).astype(np.int8)


def vector(size, seed=1):
    return np.random.default_rng(seed).standard_normal(size)


def naive_hadamard(x):
    """Orthonormal Walsh-Hadamard transform of one block by its definition, H_ij = (-1)^popcount(i & j)."""
    place = np.arange(x.size)
    matrix = 1 - 2 * (np.bitwise_count(place[:, None] & place[None, :]) & 1).astype(np.float64)
    return matrix @ x / math.sqrt(x.size)


def test_one_block_is_signs_and_a_hadamard_transform():
    x, s = vector(4096), signs(4096)
    np.testing.assert_allclose(rotation.rotate(x, s), naive_hadamard(x * s), atol=1e-10)


def test_three_blocks_are_interleaved():
    """Element i in block i mod 3 at place i div 3; rotated dimensions place by place."""
    count = 3 * 4096 - 1000
    x, s = vector(count), signs(3 * 4096)
    padded = np.concatenate([x, np.zeros(1000)]) * s
    expected = np.empty(3 * 4096)
    for block in range(3):
        expected[block::3] = naive_hadamard(np.array([padded[3 * place + block] for place in range(4096)]))
    np.testing.assert_allclose(rotation.rotate(x, s), expected, atol=1e-10)


@pytest.mark.parametrize("blocks", [1, 2, 5, 12])
def test_lengths_and_angles_are_kept(blocks):
    size = 4096 * blocks
    s = signs(size)
    a, b = vector(size - 77, 2), vector(size - 77, 3)
    ra, rb = rotation.rotate(a, s), rotation.rotate(b, s)
    assert ra.shape == (size,)
    assert ra @ rb == pytest.approx(a @ b, rel=1e-9)
    assert ra @ ra == pytest.approx(a @ a, rel=1e-9)


@pytest.mark.parametrize("count", [3, 4096, 4097, 20_000])
def test_unrotate_inverts(count):
    size = padded_size(count, 100)
    s = signs(size)
    x = vector(count)
    np.testing.assert_allclose(rotation.unrotate_(rotation.rotate(x, s), s, count), x, atol=1e-6)
    y = vector(size, 4)
    np.testing.assert_allclose(rotation.rotate(rotation.unrotate_(y.copy(), s, size), s), y, atol=1e-6)


def test_energy_of_a_corner_is_spread():
    x = np.zeros(3 * 4096)
    x[:30] = 1
    rotated = rotation.rotate(x, signs(x.size))
    assert np.square(rotated).reshape(-1, 512).sum(1).max() < 2 * 30 / 24


@given(st.integers(1, 10**8), st.integers(1, 1 << 20))
def test_padded_size_is_the_least_whole_number_of_blocks_coprime_to_the_width(count, width):
    blocks, rest = divmod(padded_size(count, width), 4096)
    assert rest == 0 and blocks * 4096 >= count
    assert math.gcd(blocks, width) == 1
    assert all(math.gcd(fewer, width) > 1 for fewer in range(-(-count // 4096), blocks))

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddpmcodec.channel import codeword


def blocks_by_the_rule(n):
    """One below 4096 bits, else floor(n / 2048)."""
    return 1 if n < 4096 else n // 2048


def naive_word(bits, nu, dimensions, polynomials, signs):
    """The code word, dimension by dimension."""
    n = len(bits)
    if n == 0:
        return list(signs)
    length = n // blocks_by_the_rule(n)
    out = [0] * dimensions
    for j in range(n):
        block = j // length * length
        w = 0
        for age in range(nu + 1):
            if j - age >= block:
                w += bits[j - age] << age
        for k, dimension in enumerate(range(j * dimensions // n, (j + 1) * dimensions // n)):
            parity = bin(w & polynomials[k % len(polynomials)]).count("1") % 2
            out[dimension] = signs[dimension] * (-1) ** parity
    return out


@st.composite
def codes(draw):
    nu = draw(st.sampled_from([2, 5, 8, 10, 12, 14, 16]))
    dimensions = 4096 * draw(st.integers(1, 4))
    n = draw(st.one_of(st.integers(0, 40), st.integers(0, dimensions // 2)))
    return nu, dimensions, codeword.legal_bits(n), draw(st.integers(0, 2**32 - 1))


@settings(max_examples=40)
@given(codes())
def test_word_is_the_documented_one(code):
    nu, dimensions, n, seed = code
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, n).astype(np.uint8)
    signs = (2 * rng.integers(0, 2, dimensions) - 1).astype(np.int8)
    polynomials = codeword.polynomials(rng.permutation(1 << (nu - 1))[: codeword.polynomial_count(n, nu, dimensions)].astype(np.int64), nu)
    word = codeword.word(bits, nu, codeword.share_starts(n, dimensions), polynomials, signs)
    assert word.dtype == np.int8
    assert word.tolist() == naive_word(bits.tolist(), nu, dimensions, polynomials.tolist(), signs.tolist())


@pytest.mark.parametrize("part", [1, 100, 4096])
def test_a_word_made_in_parts_is_the_same(monkeypatch, part):
    """Of a large picture, some path bits are worked on at a time: here 1, 10 and 449 of 899."""
    monkeypatch.setattr(codeword, "PART", part)
    nu, n, dimensions = 10, 899, 2 * 4096
    rng = np.random.default_rng(0)
    bits, signs = rng.integers(0, 2, n).astype(np.uint8), (2 * rng.integers(0, 2, dimensions) - 1).astype(np.int8)
    polynomials = codeword.polynomials(rng.permutation(1 << (nu - 1))[:10].astype(np.int64), nu)
    word = codeword.word(bits, nu, codeword.share_starts(n, dimensions), polynomials, signs)
    assert word.tolist() == naive_word(bits.tolist(), nu, dimensions, polynomials.tolist(), signs.tolist())


@pytest.mark.parametrize(("nu", "blocks", "length"), [(2, 3, 7), (8, 1, 5), (8, 2, 40), (16, 1, 17)])
def test_windows_are_the_last_bits_of_their_block(nu, blocks, length):
    bits = np.random.default_rng(1).integers(0, 2, blocks * length).astype(np.uint8)
    texts = ["".join(map(str, block)) for block in bits.reshape(blocks, length).tolist()]
    assert codeword.windows(bits, nu, blocks).tolist() == [int(t[max(0, j - nu) : j + 1], 2) for t in texts for j in range(length)]


def test_no_bits_share_nothing():
    assert codeword.share_starts(0, 4096).tolist() == [0] and codeword.polynomial_count(0, 8, 4096) == 0
    signs = np.array([1, -1, -1], np.int8)
    assert codeword.word(np.zeros(0, np.uint8), 8, codeword.share_starts(0, 3), np.zeros(0, np.int64), signs).tolist() == [1, -1, -1]


def test_word_with_fewer_polynomials_than_a_share_cycles_them():
    """nu = 2 has 2 generator polynomials, 101 and 111, the shares here 1365 dimensions."""
    assert codeword.polynomial_count(3, 2, 4096) == 2
    polynomials = codeword.polynomials(np.array([1, 0]), 2)
    assert polynomials.tolist() == [7, 5]
    word = codeword.word(np.array([1, 0, 1], np.uint8), 2, codeword.share_starts(3, 4096), polynomials, np.ones(4096, np.int8))
    assert word.tolist() == naive_word([1, 0, 1], 2, 4096, polynomials.tolist(), [1] * 4096)


@example(4095)
@example(4096)
@given(st.integers(0, 10**7))
def test_blocks_follow_the_rule(n):
    blocks = codeword.blocks_of(n)
    assert blocks == blocks_by_the_rule(n)
    if n >= 2048:
        assert 2048 <= n / blocks < 4096


@given(st.integers(0, 10**7))
def test_legal_bits_are_the_largest_multiple_of_their_own_blocks(n):
    legal = codeword.legal_bits(n)
    assert 0 <= legal <= n
    assert legal % codeword.blocks_of(legal) == 0
    assert all(more % codeword.blocks_of(more) for more in range(legal + 1, n + 1))
    assert codeword.legal_bits(legal) == legal


@given(st.integers(1, 5000), st.integers(0, 10**5))
def test_shares_partition_the_dimensions(n, more):
    dimensions = 2 * n + more
    starts = codeword.share_starts(n, dimensions)
    assert starts[0] == 0 and starts[-1] == dimensions and starts.size == n + 1
    sizes = np.diff(starts)
    assert sizes.max() - sizes.min() <= 1
    assert starts.tolist() == [j * dimensions // n for j in range(n + 1)]


@given(st.integers(1024, 40_000), st.integers(1, 20))
def test_blocks_own_whole_shares(n, blocks):
    """Block m of M owns the dimensions floor(mD/M) ... floor((m+1)D/M) - 1."""
    n, dimensions = codeword.legal_bits(n), 4096 * (20 + blocks)
    m = codeword.blocks_of(n)
    starts = codeword.share_starts(n, dimensions)
    assert starts[:: n // m].tolist() == [i * dimensions // m for i in range(m + 1)]


@given(st.integers(1, 20_000), st.sampled_from([8, 10, 12, 14, 16]))
def test_polynomials_suffice_for_the_longest_share(n, nu):
    dimensions = 2 * n + 4096
    longest = int(np.diff(codeword.share_starts(n, dimensions)).max())
    assert codeword.polynomial_count(n, nu, dimensions) == min(longest, 2 ** (nu - 1))


@pytest.mark.parametrize("nu", [8, 10, 12, 14, 16])
def test_scale_is_the_standard_deviation_of_p(nu):
    """With n = D/2 log2(1 + d^2) / eta, the scale is sqrt(1 + d^2)."""
    eta = {8: 0.902, 10: 0.925, 12: 0.941, 14: 0.952, 16: 0.961}[nu]
    dimensions, square = 8192, 0.37
    n = dimensions / 2 * np.log2(1 + square) / eta
    assert codeword.scale(n, nu, dimensions) == pytest.approx(np.sqrt(1 + square), rel=1e-12)
    assert codeword.scale(0, nu, dimensions) == 1

import itertools
import math

import numpy as np
import pytest

from ddpmcodec import codeword, trellis
from ddpmcodec.randomness import STREAM_POLYNOMIALS, SharedRandomness


def block_word(bits, nu, shares, polynomials):
    """The +-1 word of one block without signs, bit by bit: `shares` are the sizes of its bits' shares."""
    w, out = 0, []
    for bit, size in zip(bits, shares, strict=True):
        w = (2 * w + bit) % (2 << nu)
        out += [(-1) ** bin(w & polynomials[k % len(polynomials)]).count("1") for k in range(size)]
    return np.array(out)


def best(target, nu, shares, polynomials):
    """The largest inner product of all words of a block."""
    words = itertools.product((0, 1), repeat=len(shares))
    return max(float(block_word(bits, nu, shares, polynomials) @ target) for bits in words)


@pytest.mark.parametrize(("nu", "n", "dimensions"), [(2, 1, 9), (2, 8, 60), (3, 9, 21), (4, 10, 33), (4, 3, 500), (3, 10, 20), (8, 10, 77)])
def test_one_block_is_searched_exhaustively(nu, n, dimensions):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        target = rng.standard_normal(dimensions).astype(np.float32)
        polynomials = codeword.polynomials(rng.permutation(1 << (nu - 1))[: -(-dimensions // n)].astype(np.int64), nu)
        starts = codeword.share_starts(n, dimensions)
        bits = trellis.search(target, starts, polynomials, nu, 1)
        assert bits.shape == (n,) and bits.dtype == np.uint8 and set(bits.tolist()) <= {0, 1}
        shares = np.diff(starts).tolist()
        found = float(block_word(bits.tolist(), nu, shares, polynomials.tolist()) @ target)
        assert found == pytest.approx(best(target, nu, shares, polynomials.tolist()), rel=1e-5)


def search_with(kernel, target, starts, polynomials, nu, blocks):
    """`trellis.search` by one of its two kernels: which it takes depends on the blocks and threads there are."""
    bits = np.zeros(starts.size - 1, np.uint8)
    kernel(target, starts, polynomials >> 1 & (1 << (nu - 1)) - 1, nu, bits.size // blocks, bits)
    return bits


@pytest.mark.parametrize(("kernel", "blocks"), [(trellis._search_groups, 16), (trellis._search_blocks, 16), (trellis._search_blocks, 3)])
def test_each_of_many_blocks_is_searched_exhaustively(kernel, blocks):
    nu, length, dimensions = 5, 7, 16 * 7 * 3 + 11
    rng = np.random.default_rng(5)
    n = blocks * length
    target = rng.standard_normal(dimensions).astype(np.float32)
    polynomials = codeword.polynomials(rng.permutation(1 << (nu - 1))[: -(-dimensions // n)].astype(np.int64), nu)
    starts = codeword.share_starts(n, dimensions)
    bits = search_with(kernel, target, starts, polynomials, nu, blocks)
    for m in range(blocks):
        part = slice(m * length, (m + 1) * length)
        shares = np.diff(starts[m * length : (m + 1) * length + 1]).tolist()
        own = target[starts[m * length] : starts[(m + 1) * length]]
        found = float(block_word(bits[part].tolist(), nu, shares, polynomials.tolist()) @ own)
        assert found == pytest.approx(best(own, nu, shares, polynomials.tolist()), rel=1e-5)


@pytest.mark.parametrize("nu", [8, 10])
@pytest.mark.parametrize("blocks", [16, 48])
def test_both_kernels_agree(nu, blocks):
    """In lanes and one by one, each block's word is equally good; `search` gives one of the two, with any number of threads."""
    n, dimensions = blocks * 512, blocks * 4096
    target = np.random.default_rng(6).standard_normal(dimensions).astype(np.float32)
    starts = codeword.share_starts(n, dimensions)
    polynomials = codeword.polynomials(SharedRandomness(0, 0).permutation(8, 1 << (nu - 1), STREAM_POLYNOMIALS), nu)
    ones = np.ones(dimensions, np.int8)

    def products(bits):
        return (codeword.word(bits, nu, starts, polynomials, ones) * target).astype(np.float64).reshape(blocks, -1).sum(1)

    lanes, single = (search_with(k, target, starts, polynomials, nu, blocks) for k in (trellis._search_groups, trellis._search_blocks))
    np.testing.assert_allclose(products(lanes), products(single), rtol=1e-5)
    np.testing.assert_allclose(products(trellis.search(target, starts, polynomials, nu, blocks)), products(single), rtol=1e-5)


@pytest.mark.parametrize(("nu", "ratio"), [(8, 2), (8, 4), (8, 16), (10, 8)])
def test_efficiency_is_the_formats_eta(nu, ratio):
    """-(D/2) log2(1 - rho^2) / n for independent Gaussian targets, rho the cosine of word and target; the mean of six steps."""
    n = 16 * 512
    dimensions = ratio * n
    target = np.random.default_rng(7).standard_normal(dimensions).astype(np.float32)
    starts = codeword.share_starts(n, dimensions)
    efficiency = []
    for step in range(6):
        used = codeword.polynomial_count(n, nu, dimensions)
        polynomials = codeword.polynomials(SharedRandomness(3, 0).permutation(used, 1 << (nu - 1), STREAM_POLYNOMIALS, step), nu)
        bits = trellis.search(target, starts, polynomials, nu, codeword.blocks_of(n))
        word = codeword.word(bits, nu, starts, polynomials, np.ones(dimensions, np.int8)).astype(np.float64)
        rho = word @ target / np.linalg.norm(word) / np.linalg.norm(target)
        efficiency.append(-dimensions / 2 * math.log2(1 - rho**2) / n)
    assert np.mean(efficiency) == pytest.approx({8: 0.9, 10: 0.92}[nu], abs=0.015)


def test_more_memory_finds_better_words():
    n, dimensions = 1000, 8000
    target = np.random.default_rng(8).standard_normal(dimensions).astype(np.float32)
    starts = codeword.share_starts(n, dimensions)
    found = []
    for nu in (4, 8, 12):
        polynomials = codeword.polynomials(SharedRandomness(0, 0).permutation(8, 1 << (nu - 1), STREAM_POLYNOMIALS), nu)
        bits = trellis.search(target, starts, polynomials, nu, 1)
        found.append(float(codeword.word(bits, nu, starts, polynomials, np.ones(dimensions, np.int8)) @ target))
    assert found == sorted(found) and found[0] < found[2]


def test_no_bits():
    assert trellis.search(np.ones(10, np.float32), np.zeros(1, np.int64), np.zeros(0, np.int64), 8, 1).size == 0

import math

import numba
import numpy as np
import pytest

from ddpmcodec.channel import codeword, trellis
from ddpmcodec.channel.randomness import STREAM_POLYNOMIALS, SharedRandomness


def polynomials_of(n, nu, dimensions, step=0):
    used = codeword.polynomial_count(n, nu, dimensions)
    return codeword.polynomials(SharedRandomness(3, 0).permutation(used, 1 << (nu - 1), STREAM_POLYNOMIALS, step), nu)


def parity_signs(windows, polynomial):
    return 1.0 - 2.0 * (np.bitwise_count(windows & polynomial) & 1)


def edges(target, nu, shares, polynomials, windows_of):
    """For each path bit j, the inner product of its share of the target with its word under each of the windows windows_of(j)."""
    at = 0
    for j, size in enumerate(shares):
        windows = windows_of(j)
        total = np.zeros(windows.shape)
        for k in range(size):
            total += float(target[at + k]) * parity_signs(windows, polynomials[k % len(polynomials)])
        yield total
        at += size


def block_product(bits, target, nu, shares, polynomials):
    """The inner product of one block's target with the word of its path bits. `shares`: how many dimensions each bit has."""
    windows = [int("".join(map(str, bits[max(0, j - nu) : j + 1])), 2) for j in range(len(bits))]
    return sum(float(e) for e in edges(target, nu, shares, polynomials, lambda j: np.array(windows[j])))


def best_of_all(target, nu, shares, polynomials):
    """The largest inner product of all 2^n words of a block."""
    n = len(shares)
    paths = np.arange(1 << n)
    return float(sum(edges(target, nu, shares, polynomials, lambda j: paths >> (n - 1 - j) & (2 << nu) - 1)).max())


def best_by_viterbi(target, nu, shares, polynomials):
    """The same in double precision over the trellis, without keeping paths."""
    states = np.arange(1 << nu)
    metric = np.where(states == 0, 0.0, -np.inf)
    for e in edges(target, nu, shares, polynomials, lambda j: np.arange(2 << nu)):
        metric = (metric[np.arange(2 << nu) >> 1] + e).reshape(2, -1).max(0)  # by window: its last nu bits are the new state
    return float(metric.max())


def rounding(target, nu, shares, polynomials):
    """By how much rounding may let the found inner product fall short of the largest."""
    ends = np.cumsum(shares)
    own = [np.abs(target[end - size : end].astype(np.float64)) for end, size in zip(ends, shares, strict=True)]
    unit = max(min(t.sum(), 8 * math.sqrt((t**2).sum())) for t in own) / 32000
    return 2 * unit * sum(size / 2 + 32 for size in shares) + 1e-9 * unit


def check_blocks(bits, target, starts, polynomials, nu, blocks, best):
    """That each block's word is the best, but for rounding. The relative loss in all."""
    n = starts.size - 1
    assert bits.shape == (n,) and bits.dtype == np.uint8 and set(bits.tolist()) <= {0, 1}
    found, largest = 0.0, 0.0
    for at in range(0, n, n // blocks):
        end = at + n // blocks
        own, shares = target[starts[at] : starts[end]], np.diff(starts[at : end + 1]).tolist()
        product, most = (
            block_product(bits[at:end].tolist(), own, nu, shares, polynomials),
            best(own, nu, shares, polynomials),
        )
        assert most - rounding(own, nu, shares, polynomials) <= product <= most * (1 + 1e-12)
        found, largest = found + product, largest + most
    return 1 - found / largest if largest else 0.0


@pytest.mark.parametrize("nu", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(("n", "dimensions"), [(1, 1), (1, 9), (2, 77), (3, 900), (7, 300), (8, 60), (9, 21), (10, 10), (12, 155)])
def test_one_block_is_searched_exhaustively(nu, n, dimensions):
    for seed in range(3):
        target = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
        starts = codeword.share_starts(n, dimensions)
        polynomials = polynomials_of(n, nu, dimensions, seed)
        bits = trellis.search(target, starts, polynomials, nu, 1)
        check_blocks(bits, target, starts, polynomials, nu, 1, best_of_all)


@pytest.mark.parametrize("blocks", [2, 3, 15, 16, 17, 31, 32, 33])
def test_each_of_many_blocks_is_searched_exhaustively(blocks):
    nu, length = 8, 11
    n, dimensions = blocks * length, blocks * length * 3 + 7
    target = np.random.default_rng(5).standard_normal(dimensions).astype(np.float32)
    starts, polynomials = codeword.share_starts(n, dimensions), polynomials_of(n, nu, dimensions)
    check_blocks(trellis.search(target, starts, polynomials, nu, blocks), target, starts, polynomials, nu, blocks, best_of_all)


@pytest.mark.parametrize(
    ("nu", "n", "blocks", "ratio"), [(8, 999, 1, 2), (8, 700, 2, 12), (8, 60, 1, 1000), (10, 300, 3, 5), (10, 99, 1, 300)]
)
def test_long_blocks_lose_next_to_nothing_by_rounding(nu, n, blocks, ratio):
    dimensions = n * ratio + n // 2
    target = np.random.default_rng(n).standard_normal(dimensions).astype(np.float32)
    starts, polynomials = codeword.share_starts(n, dimensions), polynomials_of(n, nu, dimensions)
    bits = trellis.search(target, starts, polynomials, nu, blocks)
    assert check_blocks(bits, target, starts, polynomials, nu, blocks, best_by_viterbi) < 1e-4


@pytest.mark.parametrize("nu", [8, 10, 12, 14, 16])
def test_with_a_dimension_a_bit_the_word_has_the_targets_signs(nu):
    """Every polynomial has its last bit set: each path bit is free to choose. The first dimensions have a fiftieth of the others' size."""
    n = 30
    target = (np.random.default_rng(4).choice([-1, 1], n) * np.where(np.arange(n) < 20, 0.02, 1)).astype(np.float32)
    starts, polynomials = codeword.share_starts(n, n), polynomials_of(n, nu, n)
    word = codeword.word(trellis.search(target, starts, polynomials, nu, 1), nu, starts, polynomials, np.ones(n, np.int8))
    np.testing.assert_array_equal(word, np.sign(target))


@pytest.mark.parametrize("nu", [8, 14])
@pytest.mark.parametrize("kind", ["zero", "one huge", "huge", "denormal", "alike", "growing"])
def test_extreme_targets(nu, kind):
    n, dimensions = 12, 12 * 20
    target = np.random.default_rng(1).standard_normal(dimensions)
    match kind:
        case "zero":
            target[:] = 0
        case "one huge":
            target[:] = 0
            target[dimensions // 2] = -1e30
        case "huge":
            target *= 1e37
        case "denormal":
            target *= 1e-43
        case "alike":
            target[:] = -1
        case "growing":
            target *= np.exp(np.arange(dimensions))
    target = np.clip(target, -3e38, 3e38).astype(np.float32)
    starts, polynomials = codeword.share_starts(n, dimensions), polynomials_of(n, nu, dimensions)
    check_blocks(trellis.search(target, starts, polynomials, nu, 1), target, starts, polynomials, nu, 1, best_of_all)


@pytest.mark.parametrize("nu", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ratio", [4, 60, 150])
def test_a_word_is_found(nu, ratio):
    """Also where its inner products are beyond what sums are scaled for, and over many rounds of keeping the metrics in range."""
    n, dimensions = 600, 600 * ratio
    starts, polynomials = codeword.share_starts(n, dimensions), polynomials_of(n, nu, dimensions)
    sent = np.random.default_rng(2).integers(0, 2, n).astype(np.uint8)
    target = 3e-3 * codeword.word(sent, nu, starts, polynomials, np.ones(dimensions, np.int8)).astype(np.float32)
    np.testing.assert_array_equal(trellis.search(target, starts, polynomials, nu, 1), sent)


@pytest.mark.parametrize("nu", [8, 14])
@pytest.mark.parametrize("blocks", [1, 2, 3, 15, 16, 17, 32, 33])
def test_neither_threads_nor_other_blocks_matter(nu, blocks):
    """Threads are used at nu = 14; less work is done without."""
    length, ratio = 200, 8
    n, dimensions = blocks * length, blocks * length * ratio
    target = np.random.default_rng(6).standard_normal(dimensions).astype(np.float32)
    starts, polynomials = codeword.share_starts(n, dimensions), polynomials_of(n, nu, dimensions)
    own = codeword.share_starts(length, length * ratio)
    alone = np.concatenate([trellis.search(part, own, polynomials, nu, 1) for part in target.reshape(blocks, -1)])
    for threads in (1, 2, 3, 40):
        np.testing.assert_array_equal(trellis.search(target, starts, polynomials, nu, blocks, threads), alone)


@pytest.mark.parametrize(("nu", "ratio"), [(8, 2), (8, 4), (8, 16), (10, 8), (12, 8), (14, 4), (14, 16), (16, 16)])
def test_efficiency_is_the_formats_eta(nu, ratio):
    """-(D/2) log2(1 - rho^2) / n for independent Gaussian targets, rho the cosine of word and target; the mean of six steps."""
    n = 4 * 2048
    dimensions = ratio * n
    target = np.random.default_rng(7).standard_normal(dimensions).astype(np.float32)
    starts = codeword.share_starts(n, dimensions)
    efficiency = []
    for step in range(6):
        polynomials = polynomials_of(n, nu, dimensions, step)
        bits = trellis.search(target, starts, polynomials, nu, codeword.blocks_of(n))
        word = codeword.word(bits, nu, starts, polynomials, np.ones(dimensions, np.int8)).astype(np.float64)
        rho = word @ target / np.linalg.norm(word) / np.linalg.norm(target)
        efficiency.append(-dimensions / 2 * math.log2(1 - rho**2) / n)
    assert np.mean(efficiency) == pytest.approx(codeword.ETA[nu], abs=0.015)


def test_more_memory_finds_better_words():
    n, dimensions = 4000, 32000
    target = np.random.default_rng(8).standard_normal(dimensions).astype(np.float32)
    starts = codeword.share_starts(n, dimensions)
    found = []
    for nu in codeword.ETA:
        polynomials = polynomials_of(n, nu, dimensions)
        bits = trellis.search(target, starts, polynomials, nu, 1)
        found.append(float(codeword.word(bits, nu, starts, polynomials, np.ones(dimensions, np.int8)) @ target))
    assert found == sorted(found) and found[0] < found[-1]


def test_no_bits():
    assert trellis.search(np.ones(10, np.float32), np.zeros(1, np.int64), np.zeros(0, np.int64), 8, 1).size == 0


def test_compiled_code_that_is_damaged_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def double(x):
        return 2 * x

    def hits():
        """How often compiled code was found there."""
        compiled = trellis._compiled(double)
        assert compiled(3) == 6
        return sum(compiled.stats.cache_hits.values())

    assert (hits(), hits()) == (0, 1)
    for kind in ("*.nbi", "*.nbc"):
        for damaged in (b"", b"damaged"):
            [path] = tmp_path.rglob(kind)
            path.write_bytes(damaged)
            assert (hits(), hits()) == (0, 1)

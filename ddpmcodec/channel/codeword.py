"""The convolutional code: from path bits to the +-1 word they stand for.

Path bit j of n owns a share of the D rotated dimensions. The window w_j holds the last nu + 1 path bits of its block, the newest
as least significant bit; the k-th dimension of the share is (-1)^popcount(w_j & polynomial_k), times a shared random sign.
The encoder's search (`ddpmcodec.channel.trellis`) and the decoder share all of this. Everything here is part of the format.
"""

import math

import numpy as np

ROTATION_BLOCK = 4096
# eta, the ideal bits that one path bit carries, by the code's memory nu. z = 2^(eta n / D) times the +-1 word.
ETA = {8: 0.902, 10: 0.925, 12: 0.941, 14: 0.952, 16: 0.961}
BLOCK_BITS = 2048
PART = 1 << 22  # dimensions at a time: all at once would take too much memory


def padded_size(count: int, width: int) -> int:
    """Return D: the number of dimensions after zero-padding `count` elements of a picture `width` pixels wide to whole blocks."""
    blocks = -(-count // ROTATION_BLOCK)
    while math.gcd(blocks, width) > 1:
        blocks += 1
    return blocks * ROTATION_BLOCK


def blocks_of(n: int) -> int:
    """Return M, the number of independent blocks that the n path bits of a step are split into, so that threads can share the search."""
    return max(1, n // BLOCK_BITS)


def legal_bits(n: int) -> int:
    """Return the largest number of path bits <= n that is a multiple of its own number of blocks."""
    return n - n % blocks_of(n)


def scale(n: int, nu: int, dimensions: int) -> float:
    """Return the magnitude of z's elements: 2^(eta n / D) = sqrt(1 + d^2), the standard deviation of p in units of q's."""
    return 2.0 ** (ETA[nu] * n / dimensions)


def share_starts(n: int, dimensions: int) -> np.ndarray:
    """Return starts, (n + 1,) int64: path bit j owns the rotated dimensions starts[j] ... starts[j + 1] - 1."""
    return np.arange(n + 1, dtype=np.int64) * dimensions // n if n else np.zeros(1, np.int64)


def polynomial_count(n: int, nu: int, dimensions: int) -> int:
    """Return the number of generator polynomials that the longest share uses before they are cycled."""
    return min(-(-dimensions // n), 1 << (nu - 1)) if n else 0


def polynomials(middle: np.ndarray, nu: int) -> np.ndarray:
    """Return generator polynomials, (K,) int64, with the nu - 1 bits `middle` between a first and a last bit that are set.

    With both of them set, the two ways into a state always differ, as do the two out of it. At equal nu that carries 2 to 4 % more than
    polynomials drawn from all do, and it never fails where a share has only two of them.
    """
    return 1 << nu | middle << 1 | 1


def windows(bits: np.ndarray, nu: int, blocks: int) -> np.ndarray:
    """Return the windows of path bits, (n,) uint32: at each bit the last nu + 1 of its block; the bits before a block are 0."""
    columns = bits.reshape(blocks, -1).astype(np.uint32)
    w = columns.copy()
    for age in range(1, min(nu + 1, columns.shape[1])):
        w[:, age:] |= columns[:, :-age] << np.uint32(age)
    return w.reshape(-1)


def word(bits: np.ndarray, nu: int, starts: np.ndarray, polynomials: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return the +-1 word, (D,) int8, of path bits (n,) uint8. With no path bits it is the signs alone."""
    n = bits.size
    if n == 0:
        return signs
    w = windows(bits, nu, blocks_of(n))
    longest = -(-signs.size // n)
    polynomials = np.resize(polynomials.astype(np.uint32), longest)  # cycled where shares are longer
    words = np.empty_like(signs)
    at_once = max(1, PART * n // signs.size)  # path bits
    for first in range(0, n, at_once):
        begins = starts[first : first + at_once + 1]
        ones = np.bitwise_count(w[first : first + at_once, None] & polynomials)
        is_owned = np.ones(ones.shape, bool)
        is_owned[:, -1] = np.diff(begins) == longest  # other shares are one shorter
        factors = ones[is_owned].view(np.int8)
        factors &= 1
        factors *= -2
        factors += 1
        part = slice(begins[0], begins[-1])
        np.multiply(signs[part], factors, out=words[part])
    return words

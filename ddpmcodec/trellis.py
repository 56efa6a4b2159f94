"""The encoder's search: Viterbi over the trellis of the convolutional code.

Finds, for every block of a step, the path bits whose code word (`ddpmcodec.codeword`) has the largest inner product with the
rotated target. All branch metrics of one path bit are one fast Walsh-Hadamard transform: adding each signed target value at the
index of its generator polynomial and transforming leaves at entry w the inner product with the word of window w. Every polynomial has
its first and last bit set, so these two bits of the window only turn the sign, and the transform is over the nu - 1 between them.

Blocks run side by side as the innermost array axis (`LANES`), so every pass is a plain vector loop; a step with too few blocks to
keep all threads busy that way runs one block at a time. Only the encoder needs this module (and numba): decoding is parities.
"""

from collections.abc import Callable

import numba as nb
import numpy as np

LANES = 16


@nb.njit(inline="always", fastmath=True)
def _butterfly4(a, i0, i1, i2, i3, L):
    for lane in range(L):
        x0 = a[i0, lane]
        x1 = a[i1, lane]
        x2 = a[i2, lane]
        x3 = a[i3, lane]
        s = x0 + x1
        d = x0 - x1
        t = x2 + x3
        u = x2 - x3
        a[i0, lane] = s + t
        a[i1, lane] = d + u
        a[i2, lane] = s - t
        a[i3, lane] = d - u


@nb.njit(inline="always", fastmath=True)
def _wht_strided(a, base, size, stride, L):
    """In-place transform of the `size` rows base, base + stride, ..."""
    h = 1
    while h * 2 < size:
        for i in range(0, size, h * 4):
            for j in range(i, i + h):
                k = base + j * stride
                q = h * stride
                _butterfly4(a, k, k + q, k + 2 * q, k + 3 * q, L)
        h *= 4
    if h < size:
        for j in range(h):
            for lane in range(L):
                x = a[base + j * stride, lane]
                y = a[base + (j + h) * stride, lane]
                a[base + j * stride, lane] = x + y
                a[base + (j + h) * stride, lane] = x - y


@nb.njit(inline="always", fastmath=True)
def _search(target, starts, middle, nu, first, length, L, bits):
    """Path bits of `L` blocks of `length` bits each, the first beginning at path bit `first`. Writes bits[first : first + L * length]."""
    S = 1 << nu
    H = S // 2
    metric = np.full((S, L), np.float32(-1e30))
    metric[0, :] = 0  # the start state is 0
    other = np.empty((S, L), np.float32)
    branch = np.empty((H, L), np.float32)
    oldest = np.empty((length, S, L), np.bool_)  # the bit that leaves the window on the better of the two ways into a state
    inner = 32 if L > 1 and H > 512 else H  # two passes of short transforms where the lanes no longer fit the first-level cache
    for j in range(length):
        branch[:] = 0
        for lane in range(L):
            a = starts[first + lane * length + j]
            for k in range(starts[first + lane * length + j + 1] - a):
                branch[middle[k % middle.size], lane] += target[a + k]
        for row in range(H // inner):
            _wht_strided(branch, row * inner, inner, 1, L)
        if inner < H:
            for column in range(inner):
                _wht_strided(branch, column, H // inner, inner, L)
        for h in range(H):
            for lane in range(L):
                e = branch[h, lane]
                x = metric[h, lane]
                y = metric[h + H, lane]
                other[2 * h, lane] = max(x + e, y - e)
                oldest[j, 2 * h, lane] = y - e > x + e
                other[2 * h + 1, lane] = max(x - e, y + e)
                oldest[j, 2 * h + 1, lane] = y + e > x - e
        metric, other = other, metric
    for lane in range(L):
        state = 0
        for q in range(S):
            if metric[q, lane] > metric[state, lane]:
                state = q
        for j in range(length - 1, -1, -1):
            bits[first + lane * length + j] = state & 1
            state = (state | (np.int64(oldest[j, state, lane]) << nu)) >> 1


def _compiled(function: Callable) -> Callable:
    """Compiled on first use, for all processes to come; for this one only where there is no place to keep compiled code."""
    try:
        return nb.njit(cache=True, parallel=True, fastmath=True)(function)
    except RuntimeError:
        return nb.njit(parallel=True, fastmath=True)(function)


@_compiled
def _search_groups(target, starts, middle, nu, length, bits):
    for group in nb.prange(bits.size // (LANES * length)):
        _search(target, starts, middle, nu, group * LANES * length, length, LANES, bits)


@_compiled
def _search_blocks(target, starts, middle, nu, length, bits):
    for block in nb.prange(bits.size // length):
        _search(target, starts, middle, nu, block * length, length, 1, bits)


def search(target: np.ndarray, starts: np.ndarray, polynomials: np.ndarray, nu: int, blocks: int) -> np.ndarray:
    """The path bits whose code word fits `target` best, block by block.

    Args:
        target: (D,) float32, the rotated target times the code's signs.
        starts: (n + 1,) int64, `codeword.share_starts`.
        polynomials: (K,) int64, generator polynomials: `codeword.polynomials`.
        nu: memory of the code, in bits.
        blocks: number of independent blocks; divides n.

    Returns:
        (n,) uint8 of 0 and 1.
    """
    n = starts.size - 1
    bits = np.zeros(n, np.uint8)
    if n:
        groups, rest = divmod(blocks, LANES)
        threads = nb.get_num_threads()
        idle = -groups % threads  # threads without a group in the last round
        kernel = _search_blocks if rest or 2 * idle > groups else _search_groups
        kernel(target, starts, polynomials >> 1 & (1 << nu - 1) - 1, nu, n // blocks, bits)
    return bits

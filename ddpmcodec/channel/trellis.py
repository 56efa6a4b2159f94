"""The encoder's search: Viterbi over the trellis of the convolutional code.

Finds, for every block of a step, the path bits whose code word (`ddpmcodec.channel.codeword`) has the largest inner product with the
rotated target. All branch metrics of one path bit are one fast Walsh-Hadamard transform: adding each signed target value at the
index of its generator polynomial and transforming leaves at entry w the inner product with the word of window w. Every polynomial has
its first and last bit set, so these two bits of the window only turn the sign, and the transform is over the nu - 1 between them.

Metrics are integers of 16 bits, scaled so that sums fit (`_scale`): what rounding loses is, on average, below 1e-4 of the product, and all
metrics of a block stay in the caches next to a core. They are worked on in vectors of `LANES` states, a type numba lacks: the first
part of the module makes it. Threads share the blocks. Only the encoder needs this module (and numba): decoding is parities.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.core.caching import FunctionCache

intrinsic: Any = extending.intrinsic
LANES = 32
_SIGNS = 1 - 2 * (np.bitwise_count(np.arange(LANES)[:, None] & np.arange(LANES)) & 1).astype(np.int16)  # transforms of unit vectors
# Branch metrics are shifted right by this after the transform. Every state is within reach of the best in nu steps, so no two metrics
# are further apart than 2 nu of the largest branch metric; with up to 3 by which state 0 may be off zero and 1 of the next step, that
# is 36 for the largest nu, 16: below 2^6.
_SHIFT = 6
_LARGEST = 32767 >> _SHIFT

_IR = ir.VectorType(ir.IntType(16), LANES)
_INDICES = ir.VectorType(ir.IntType(32), LANES)


class _VectorType(types.Type):
    """The numba type of a vector of `LANES` integers of 16 bits."""


@extending.register_model(_VectorType)
class _VectorModel(extending.models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _IR)


_VECTOR = _VectorType(f"int16x{LANES}")


def _operation(build: Callable, result: types.Type = _VECTOR) -> Callable:
    """Make a function of two vectors, for compiled code, from one of an IR builder and two IR values."""

    def typed(typingctx, x, y):
        return result(_VECTOR, _VECTOR), lambda context, builder, signature, args: build(builder, *args)

    return intrinsic(typed)


def _library(name: str) -> Callable:
    """Make a function of two vectors from an intrinsic of LLVM's."""
    kind = ir.FunctionType(_IR, [_IR, _IR])
    return _operation(lambda b, x, y: b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.{name}.v{LANES}i16"), [x, y]))


def _interleaved(first: int) -> Callable:
    """Make a function of x and y that returns `LANES` elements of x[0], y[0], x[1], y[1] ..., from the one numbered `first` on."""
    order = ir.Constant(_INDICES, [i // 2 + i % 2 * LANES for i in range(first, first + LANES)])
    return _operation(lambda b, x, y: b.shuffle_vector(x, y, order))


_add, _sub, _max = _library("sadd.sat"), _library("ssub.sat"), _library("smax")
_multiply = _operation(lambda b, x, y: b.mul(x, y))
_shift_right = _operation(lambda b, x, y: b.ashr(x, y))
_low, _high = _interleaved(0), _interleaved(LANES)
_greater = _operation(lambda b, x, y: b.bitcast(b.icmp_signed(">", x, y), ir.IntType(LANES)), types.uint32)


@intrinsic
def _fill(typingctx, value):
    """Return a vector whose elements are all `value`."""

    def build(context, b, signature, args):
        one = b.insert_element(ir.Constant(_IR, ir.Undefined), args[0], ir.IntType(32)(0))
        return b.shuffle_vector(one, one, ir.Constant(_INDICES, [0] * LANES))

    return _VECTOR(types.int16), build


def _row(context, b, signature, args):
    """Emit the address of a row: args are a (rows, LANES) array and the row's number."""
    data = context.make_array(signature.args[0])(context, b, args[0]).data
    return b.bitcast(b.gep(data, [b.mul(args[1], args[1].type(LANES))]), _IR.as_pointer())


@intrinsic
def _load(typingctx, array, row):
    """Return a row of a (rows, LANES) array as a vector."""
    return _VECTOR(array, types.intp), lambda context, b, signature, args: b.load(_row(context, b, signature, args), align=2)


@intrinsic
def _store(typingctx, array, row, x):
    """Write a vector to a row of a (rows, LANES) array."""

    def build(context, b, signature, args):
        b.store(args[2], _row(context, b, signature, args), align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, _VECTOR), build


@nb.njit
def _vectors(rows):
    """Allocate an array, (rows, LANES) int16, each row of which lies within one cache line."""
    memory = np.empty((rows + 1) * LANES, np.int16)
    skip = -(memory.ctypes.data // 2) % LANES
    return memory[skip : skip + rows * LANES].reshape(rows, LANES)


@nb.njit
def _scale(target, starts):
    """Return the factor that makes integers of target values, so that the transforms of these shares fit 16 bits.

    The sum of magnitudes is the largest that can be. In shares of more than 64 that would be coarse, and 8 standard deviations take its
    place: no Gaussian sum is larger, and one that is (additions saturate) remains the largest.
    """
    bound = 0.0
    for j in range(starts.size - 1):
        total = squares = 0.0
        for i in range(starts[j], starts[j + 1]):
            t = np.float64(target[i])
            total += abs(t)
            squares += t * t
        bound = max(bound, min(total, 8 * np.sqrt(squares)))
    return 32000 / max(bound, 1e-300)  # not 32767, as rounding adds up


@nb.njit
def _butterfly(branch, r, q):
    """Return rows r, r + q, r + 2 q, r + 3 q transformed by the Hadamard matrix of size 4."""
    x0, x1, x2, x3 = _load(branch, r), _load(branch, r + q), _load(branch, r + 2 * q), _load(branch, r + 3 * q)
    s, d, t, u = _add(x0, x1), _sub(x0, x1), _add(x2, x3), _sub(x2, x3)
    return _add(s, t), _add(d, u), _sub(s, t), _sub(d, u)


@nb.njit
def _choose(metric, other, oldest, r, e):
    """Choose the better way into each of 2 * LANES states from the states of rows r and r + half of all, given branch metrics e.

    The metrics go to `other`, the bits that leave the window on the ways chosen to `oldest`.
    """
    e = _shift_right(e, _fill(np.int16(_SHIFT)))
    x, y = _load(metric, r), _load(metric, r + metric.shape[0] // 2)
    x0, y0, x1, y1 = _add(x, e), _sub(y, e), _sub(x, e), _add(y, e)
    oldest[0, r], oldest[1, r] = _greater(y0, x0), _greater(y1, x1)
    even, odd = _max(x0, y0), _max(x1, y1)
    _store(other, 2 * r, _low(even, odd))
    _store(other, 2 * r + 1, _high(even, odd))


class _TolerantCache(FunctionCache):
    """A cache of compiled code on disk that is done without where something is wrong with it: a full disk, a damaged file."""

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # what unpickling raises
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig, data):
        with suppress(OSError):
            super().save_overload(sig, data)


def _compiled(function: Callable, parallel: bool = False) -> Any:
    """Compile a function on first use, for all processes to come, or for this one only where there is no place to keep compiled code."""
    dispatcher: Any = nb.njit(parallel=parallel)(function)
    with suppress(RuntimeError):
        dispatcher._cache = _TolerantCache(function)
    return dispatcher


@_compiled
def _search_blocks(target, starts, middle, nu, length, first, last, bits):
    """Write the path bits of the blocks first ... last - 1, of `length` bits each, to `bits`."""
    rows = (1 << nu - 1) // LANES
    metric, other, branch = _vectors(2 * rows), _vectors(2 * rows), _vectors(rows)
    oldest = np.empty((length, 2, rows), np.uint32)  # the bit that leaves the window on the better way into an even, an odd state
    for block in range(first, last):
        start = block * length
        scale = _scale(target, starts[start : start + length + 1])
        metric[:] = -2 * 16 * (_LARGEST + 1)
        metric[0, 0] = 0  # the start state; paths from others lose
        for j in range(length):
            if abs(metric[0, 0]) > 3 * _LARGEST:
                zero = _fill(metric[0, 0])
                for r in range(2 * rows):
                    _store(metric, r, _sub(_load(metric, r), zero))
            for r in range(rows):
                _store(branch, r, _fill(np.int16(0)))
            a = starts[start + j]
            for k in range(starts[start + j + 1] - a):
                r, lane = middle[k] // LANES, middle[k] % LANES
                value = _fill(np.int16(np.rint(target[a + k] * scale)))
                _store(branch, r, _add(_load(branch, r), _multiply(value, _load(_SIGNS, lane))))
            q = 1
            while 4 * q < rows:
                for i in range(0, rows, 4 * q):
                    for r in range(i, i + q):
                        e = _butterfly(branch, r, q)
                        for k in range(4):
                            _store(branch, r + k * q, e[k])
                q *= 4
            for r in range(q):
                e = _butterfly(branch, r, q)
                for k in range(4):
                    _choose(metric, other, oldest[j], r + k * q, e[k])
            metric, other = other, metric
        state = int(np.argmax(metric))
        for j in range(length - 1, -1, -1):
            bits[start + j] = state & 1
            r, lane = divmod(state >> 1, LANES)
            state = state >> 1 | np.int64(oldest[j, state & 1, r] >> lane & 1) << nu - 1


@partial(_compiled, parallel=True)
def _search(target, starts, middle, nu, length, threads, bits):
    """Write the path bits of all blocks to `bits`, the blocks shared equally by `threads` threads."""
    blocks = bits.size // length
    for i in nb.prange(threads):
        _search_blocks(target, starts, middle, nu, length, i * blocks // threads, (i + 1) * blocks // threads, bits)


def search(target: np.ndarray, starts: np.ndarray, polynomials: np.ndarray, nu: int, blocks: int, threads: int = 1) -> np.ndarray:
    """Return the path bits whose code word has the largest inner product with `target`, block by block: the Viterbi algorithm.

    Args:
        target: (D,) float32, the rotated target times the code's signs.
        starts: (n + 1,) int64, `codeword.share_starts`.
        polynomials: (K,) int64, generator polynomials: `codeword.polynomials`.
        nu: memory of the code, in bits: 8, 10, 12, 14 or 16.
        blocks: number of independent blocks; divides n.
        threads: the most threads to use.

    Returns:
        (n,) uint8 of 0 and 1.
    """
    n = starts.size - 1
    bits = np.zeros(n, np.uint8)
    if n:
        middle = np.resize(polynomials >> 1 & (1 << nu - 1) - 1, -(-target.size // n))  # cycled where shares are longer
        if min(blocks, threads) == 1 or n << nu < 1 << 23:  # about a millisecond of work: waking threads may take longer
            _search_blocks(target, starts, middle, nu, n // blocks, 0, blocks, bits)
        else:
            _search(target, starts, middle, nu, n // blocks, min(blocks, threads), bits)
    return bits

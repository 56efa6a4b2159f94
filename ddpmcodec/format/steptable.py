"""The step table: which noise levels the file visits and how many bits each step has, entropy-coded.

Body: the words of constriction's range coder (32-bit words, big endian): the number of steps, as a number around class 20, then per
step, each integer against a distribution of integer weights (a format constant), so that no table depends on a platform's logarithms:

1. e: whether the network is evaluated before the step (weights 15 : 1 for yes).
2. nu, as its index in 8, 10, 12, 14, 16; the weight of the step before's is 61, of the others 1 (before the first: 10).
3. The level: the step goes delta >= 1 levels down in noise. What is coded is delta minus the step before's delta (before the first: 150).
4. n, minus floor(n' delta / delta'), at most D / 2, with n' and delta' of the step before (n' = 0 before the first).

A difference x is coded as the number 2 x (x >= 0) or -2 x - 1, around the class of the one before in the same column (before the
first: class 24).

A number x >= 0 is coded as its class, 0 for x = 0, else 4 (b - 1) + m + 1 where b is the bit length of x and m its two bits after the
leading one (zeros where x is shorter), then the remaining bits of x, most significant first, each of probability 1/2. Class c has
weight 1 + floor(4096 / (1 + 2 (c - c')^2)) around class c'.

The table is valid only if it is what `encode` would write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import constriction
import numpy as np

from ddpmcodec.channel import codeword
from ddpmcodec.errors import CorruptFileError
from ddpmcodec.format import rangecoder
from ddpmcodec.format.header import Header
from ddpmcodec.format.sections import unzigzag, zigzag

MAX_STEPS = 1 << 14  # the largest T of discrete levels
NUS = tuple(codeword.ETA)
NUMBER_BITS = 32  # numbers are below 2^32
CLASSES = 4 * NUMBER_BITS + 1
FIRST_DELTA = 150
FIRST_CLASS = 24
COUNT_CLASS = 20
FIRST_NU = 10


@dataclass(frozen=True)
class Step:
    """One transmitted step.

    Attributes:
        level: the noise level it reaches.
        n: its path bits.
        nu: memory of its code, in bits.
        evaluate: whether the network is evaluated before it; else the last x0hat is used again.
    """

    level: int
    n: int
    nu: int
    evaluate: bool = True

    @property
    def bytes(self) -> int:
        """The number of bytes of its message: its path bits, padded."""
        return -(-self.n // 8)


def number_class(x: int) -> tuple[int, int, int]:
    """Return the class of a number >= 0, the value of its remaining bits, and the number of these."""
    if x == 0:
        return 0, 0, 0
    b = x.bit_length()
    rest = max(b - 3, 0)
    m = (x << 2 >> (b - 1)) & 3
    return 4 * (b - 1) + m + 1, x & ((1 << rest) - 1), rest


@lru_cache(maxsize=4 * CLASSES)
def _class_model(center: int):
    """Return the distribution of classes around one of them."""
    c = np.arange(CLASSES)
    return rangecoder.categorical(1 + 4096 // (1 + 2 * (c - center) ** 2))


_EVALUATE = rangecoder.categorical([1, 15])
_NU = tuple(rangecoder.categorical([61 if i == j else 1 for i in range(len(NUS))]) for j in range(len(NUS)))
_BIT = constriction.stream.model.Uniform(2)


class _Writer(rangecoder.Writer):
    """An encoder of symbols and numbers."""

    def number(self, center: int, value) -> int:
        c, rest, bits = number_class(value)
        self.symbol(_class_model(center), c)
        for i in reversed(range(bits)):
            self.symbol(_BIT, rest >> i & 1)
        return value


class _Source(rangecoder.Source):
    """A decoder of symbols and numbers."""

    def number(self, center: int, value=None) -> int:
        c = self.symbol(_class_model(center)) - 1
        if c < 0:
            return 0
        b, m = c // 4 + 1, c % 4
        x = (4 + m) << (b - 1) >> 2
        for i in reversed(range(max(b - 3, 0))):
            x |= self.symbol(_BIT) << i
        return x


class _Differences:
    """A column of the table: integers coded as differences to predictions, each around the class of the one before."""

    def __init__(self, coder: _Writer | _Source):
        self.coder = coder
        self.center = FIRST_CLASS

    def code(self, prediction: int, value: int | None) -> int:
        x = 0 if value is None else value - prediction
        number = self.coder.number(self.center, zigzag(x))
        self.center = number_class(number)[0]
        return prediction + unzigzag(number)


def _code(coder: _Writer | _Source, header: Header, steps: Sequence[Step] | None = None) -> list[Step]:
    """Write the steps, or read them: one piece of code for both, since the coder returns each value it writes or reads."""
    out: list[Step] = []
    levels, level, delta, nu, n = header.levels, header.start, FIRST_DELTA, FIRST_NU, 0
    deltas, ns = _Differences(coder), _Differences(coder)
    count = coder.number(COUNT_CLASS, None if steps is None else len(steps))
    if count > MAX_STEPS:
        raise CorruptFileError(f"the step table has {count} steps, more than {MAX_STEPS}")
    for i in range(count):
        step = None if steps is None else steps[i]
        evaluate = coder.symbol(_EVALUATE, None if step is None else int(step.evaluate))
        nu = NUS[coder.symbol(_NU[NUS.index(nu)], None if step is None else NUS.index(step.nu))]
        previous = delta
        delta = deltas.code(previous, None if step is None else levels.distance(level, step.level))
        level = levels.descend(level, delta)
        n = ns.code(min(n * delta // previous, header.dimensions // 2), None if step is None else step.n)
        out.append(Step(level, n, nu, bool(evaluate)))
        validate(out[-1], delta, header)
    return out


def validate(step: Step, delta: int, header: Header) -> None:
    """Raise CorruptFileError unless the step is one the format allows."""
    if delta < 1 or step.n < 0 or not header.levels.contains(step.level):
        raise CorruptFileError(f"the step table leads to level {step.level}, which is out of range")
    if 2 * step.n > header.dimensions or step.n != codeword.legal_bits(step.n):
        raise CorruptFileError(f"the step table has {step.n} bits in a step, which no encoder writes")


def encode(steps: Sequence[Step], header: Header) -> bytes:
    """Return the body of the T section."""
    writer = _Writer()
    _code(writer, header, steps)
    return writer.body()


def decode(body: bytes, header: Header) -> tuple[Step, ...]:
    """Return the steps in the body of a T section.

    Raises:
        CorruptFileError: the body is not what `encode` writes for steps that the format allows.
    """
    if len(body) % 4:
        raise CorruptFileError("the step table has an impossible length")
    try:
        steps = tuple(_code(_Source(body), header))
        if steps and not steps[0].evaluate:
            raise CorruptFileError("the first step keeps an x0hat that is not there")
    except AssertionError as e:  # constriction's own word for data that cannot be
        raise CorruptFileError("the step table cannot be decoded") from e
    if encode(steps, header) != body:
        raise CorruptFileError("the step table is not in its one valid form")
    return steps

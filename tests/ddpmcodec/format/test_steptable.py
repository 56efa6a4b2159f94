import dataclasses

import constriction
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddpmcodec.channel import codeword
from ddpmcodec.errors import CorruptFileError
from ddpmcodec.format import container, sections, steptable
from ddpmcodec.format.header import Header
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels

CONTINUOUS = Header(97, 64, "m", bytes(8), ContinuousLevels(), -3734)
DISCRETE = Header(640, 480, "m", bytes(8), DiscreteLevels("linear", 1000), 1000)
HEADERS = [CONTINUOUS, DISCRETE, dataclasses.replace(CONTINUOUS, width=1, height=1), dataclasses.replace(CONTINUOUS, start=-8192)]


@st.composite
def tables(draw):
    """A header and steps that the format allows."""
    header = draw(st.sampled_from(HEADERS))
    lowest = 1 if isinstance(header.levels, DiscreteLevels) else header.levels.HIGHEST
    level, steps = header.start, []
    most = header.dimensions // 2
    size = st.one_of(st.integers(0, min(most, 2000)), st.integers(0, most), st.just(most))
    for _ in range(draw(st.integers(0, 40))):
        left = header.levels.distance(level, lowest)
        if left < 1:
            break
        level = header.levels.descend(level, draw(st.one_of(st.integers(1, min(left, 300)), st.integers(1, left))))
        steps.append(
            Step(level, codeword.legal_bits(draw(size)), draw(st.sampled_from([8, 10, 12, 14, 16])), not steps or draw(st.booleans()))
        )
    return header, tuple(steps)


def documented(header, steps):
    """The body as docs/format.md has it: weights and symbols, one after the other."""
    coder = constriction.stream.queue.RangeEncoder()

    def symbol(weights, k):
        p = np.array(weights, np.float64)
        coder.encode(int(k), constriction.stream.model.Categorical(p / p.sum(), perfect=False))

    def number(x, center):
        digits = f"{x:b}"
        c = 4 * (len(digits) - 1) + int((digits[1:] + "00")[:2], 2) + 1 if x else 0
        symbol([1 + 4096 // (1 + 2 * (k - center) ** 2) for k in range(129)], c)
        for digit in digits[3:]:
            coder.encode(int(digit), constriction.stream.model.Uniform(2))
        return c

    nus = (8, 10, 12, 14, 16)
    level, delta, n, nu, classes = header.start, 150, 0, 10, [24, 24]
    number(len(steps), 20)
    for step in steps:
        change = abs(step.level - level)
        symbol([1, 15], step.evaluate)
        symbol([61 if k == nu else 1 for k in nus], nus.index(step.nu))
        for column, x in enumerate((change - delta, step.n - min(n * change // delta, header.dimensions // 2))):
            classes[column] = number(2 * x if x >= 0 else -2 * x - 1, classes[column])
        level, delta, n, nu = step.level, change, step.n, step.nu
    return coder.get_compressed().astype(">u4").tobytes()


@settings(max_examples=150)
@given(tables())
@example((CONTINUOUS, tuple(Step(-3700 + 5 * i + i // 2, 100 + 6 * i, 12) for i in range(9))))  # differences of -1, 0, 1
@example((CONTINUOUS, (Step(-3733, 1000, 10), Step(-3000, 4096, 12), Step(8192, 9216, 12))))  # more bits predicted than there can be
def test_tables_are_the_documented_ones_and_come_back(table):
    header, steps = table
    body = steptable.encode(steps, header)
    assert body == documented(header, steps)
    assert steptable.decode(body, header) == steps


def test_as_many_steps_as_there_can_be():
    header = dataclasses.replace(CONTINUOUS, start=-8192)
    steps = tuple(Step(-8192 + i, 0, 10) for i in range(1, (1 << 14) + 1))
    assert steptable.decode(steptable.encode(steps, header), header) == steps
    with pytest.raises(CorruptFileError, match="16385 steps"):
        steptable.encode((*steps, Step(8193, 0, 10)), header)


@given(tables(), st.data())
def test_a_changed_table_is_another_one_or_an_error(table, data):
    header, steps = table
    body = bytearray(steptable.encode(steps, header))
    bit = data.draw(st.integers(0, 8 * len(body) - 1)) if body else 0
    if body:
        body[bit // 8] ^= 1 << bit % 8
    assert decodes_to_its_own_encoding(bytes(body), header) != steps or not body


def decodes_to_its_own_encoding(body, header):
    """The steps that bytes decode to, None for the one error allowed."""
    try:
        steps = steptable.decode(body, header)
    except CorruptFileError:
        return None
    assert steptable.encode(steps, header) == body
    level = header.start
    for step in steps:
        assert header.levels.distance(level, step.level) >= 1 and header.levels.contains(step.level)
        assert 0 <= 2 * step.n <= header.dimensions and step.n == codeword.legal_bits(step.n) and step.nu in (8, 10, 12, 14, 16)
        level = step.level
    return steps


@settings(max_examples=400)
@given(st.binary(max_size=60), st.sampled_from(HEADERS))
@example(b"", CONTINUOUS)
@example(bytes(4), CONTINUOUS)
@example(b"\xff" * 40, DISCRETE)
def test_arbitrary_bytes_are_a_table_or_corrupt(body, header):
    decodes_to_its_own_encoding(body, header)


def test_random_bytes_by_the_thousand():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        decodes_to_its_own_encoding(rng.bytes(4 * rng.integers(0, 12)), HEADERS[rng.integers(len(HEADERS))])


@pytest.mark.parametrize("count", [10, 30, 100])
def test_a_typical_schedule_costs_three_bytes_a_step(count):
    """Levels about evenly spaced from sigma 20000 to 2 of 255, bits growing by the noise left, as photos have them."""
    header = dataclasses.replace(CONTINUOUS, width=768, height=512)
    rng = np.random.default_rng(count)
    goals = np.linspace(-3734, 3072, count + 1)[1:] + rng.uniform(-20, 20, count)
    steps, level = [], header.start
    for goal in goals.round().astype(int).tolist():
        share = 1 / (1 + 127.5 * 2 ** (-goal / 512) / 1.4)
        bits = header.elements * share * (goal - level) / 256 / 4 * rng.uniform(0.95, 1.05)
        level = goal
        steps.append(Step(level, codeword.legal_bits(int(bits)), 12))
    assert len(steptable.encode(steps, header)) <= 3 * count + 12


def test_a_real_schedule_costs_three_bytes_a_step(encoding, large_encoding):
    for e in (encoding, large_encoding):
        parsed = container.parse(e.data)
        assert len(steptable.encode(parsed.steps, parsed.header)) <= 3 * len(parsed.steps) + 12


@pytest.mark.parametrize(
    "step",
    [
        Step(CONTINUOUS.start, 64, 8),
        Step(CONTINUOUS.start - 5, 64, 8),
        Step(8193, 64, 8),
        Step(0, CONTINUOUS.dimensions // 2 + 16, 8),
        Step(0, CONTINUOUS.dimensions // 2 + CONTINUOUS.dimensions // 4096, 8),
        Step(0, 4097, 8),
        Step(0, -1, 8),
    ],
    ids=[
        "stays",
        "goes back",
        "beyond the last level",
        "more bits than half the dimensions",
        "a block more of them",
        "not a multiple of its blocks",
        "fewer bits than none",
    ],
)
def test_steps_that_the_format_forbids(step):
    with pytest.raises(CorruptFileError):
        steptable.encode([step], CONTINUOUS)


def test_bytes_of_a_step():
    assert [Step(0, n, 8).bytes for n in (0, 1, 8, 9, 1024)] == [0, 1, 1, 2, 128]


def test_signs_alternate_in_zigzag():
    assert [sections.zigzag(x) for x in (0, -1, 1, -2, 2, -(2**31))] == [0, 1, 2, 3, 4, 2**32 - 1]
    assert [sections.unzigzag(n) for n in (0, 1, 2, 3, 4, 2**32 - 1)] == [0, -1, 1, -2, 2, -(2**31)]


@given(st.integers(0, 2**32 - 1))
def test_number_classes_tell_numbers_apart(x):
    """The documented classes: the bit length and the two bits after the leading one; the rest uncoded."""
    c, rest, bits = steptable.number_class(x)
    if x == 0:
        assert (c, rest, bits) == (0, 0, 0)
        return
    digits = bin(x)[2:]
    padded = digits + "00"
    assert c == 4 * (len(digits) - 1) + int(padded[1:3], 2) + 1
    assert bits == max(len(digits) - 3, 0)
    assert rest == int(digits[3:] or "0", 2)

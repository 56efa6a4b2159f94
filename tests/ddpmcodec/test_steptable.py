import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddpmcodec import codeword, container, steptable
from ddpmcodec.errors import CorruptFileError
from ddpmcodec.header import Header
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels
from ddpmcodec.steptable import Step

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


@settings(max_examples=150)
@given(tables())
def test_round_trip(table):
    header, steps = table
    assert steptable.decode(steptable.encode(steps, header), header) == steps


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
        Step(0, 4097, 8),
    ],
    ids=["stays", "goes back", "beyond the last level", "more bits than half the dimensions", "not a multiple of its blocks"],
)
def test_steps_that_the_format_forbids(step):
    with pytest.raises(CorruptFileError):
        steptable.encode([step], CONTINUOUS)


def test_bytes_of_a_step():
    assert [Step(0, n, 8).bytes for n in (0, 1, 8, 9, 1024)] == [0, 1, 1, 2, 128]


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

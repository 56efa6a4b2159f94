"""The S section, against a second writer made from the field table in docs/format.md, and its place in a file."""

import dataclasses
import re
from pathlib import Path

import constriction
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ddpmcodec
from ddpmcodec.errors import CorruptFileError, DdpmcodecError, TruncatedFileError, UnsupportedVersionError
from ddpmcodec.format import container, sections, steptable
from ddpmcodec.format import header as headers
from ddpmcodec.format import shape as shapes
from ddpmcodec.format.container import Container, parse, serialize
from ddpmcodec.format.header import Header
from ddpmcodec.format.metadata import Metadata, pack
from ddpmcodec.format.shape import Shape
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels

CONTINUOUS = Header(97, 64, "photo-1", bytes(range(1, 9)), ContinuousLevels(), -3734, 9)
DISCRETE = Header(97, 64, "m", bytes(8), DiscreteLevels("linear", 1000), 1000)
RAMP = (1368, 3580)
ROWS = ((0, -4, -4, -3, 16, 83), (4, 12, 32, 54, 95, 118), (4, 12, 32, 54, 95, 118))
FIRST_ROWS = ((4, 0, 0, 12, 22, 61), (8, 16, 24, 42, 48, 64), (8, 16, 24, 42, 48, 64))
DOCUMENT = (Path(__file__).parents[3] / "docs" / "format.md").read_text()


def documented_gains(plane):
    """The rows of a table in the document, and their levels; of 1/64."""
    _, _, table = DOCUMENT.partition(
        f"\n| {plane}: L', f = | 1/16 | 1/8 | 1/4 | 3/8 | 1/2 | 3/4 | 1 |\n|---|---|---|---|---|---|---|---|\n"
    )
    rows = [tuple(map(int, re.findall(r"-?\d+", line))) for line in table.partition("\n\n")[0].splitlines()]
    assert [row[0] for row in rows] == [-512, 0, 512, 1024, 1536, 2048, 2560]
    return tuple(row[1:] for row in rows)


GAINS, SECOND_GAINS, FIRST_GAINS = ((documented_gains(f"luma {n}"), documented_gains(f"chroma {n}")) for n in (3, 2, 1))
OWN_GAINS = tuple(tuple(tuple((11 * i + 5 * j + k) % 65 for j in range(7)) for i in range(7)) for k in range(2))
OWN = tuple(tuple(value - 9 for value in row) for row in ROWS)
MAP = bytes([24, 0, 3, 3, 4, 2, 0, 24])  # 4 x 2 cells of 32 pixels


def leb128(value):
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low + 128 * (value > 0)])
        if not value:
            return out


def signed(value):
    return leb128(2 * value if value >= 0 else -2 * value - 1)


def words_of(cells, columns):
    """The map as docs/format.md has it: weights and symbols, one after the other."""
    coder = constriction.stream.queue.RangeEncoder()
    for i, k in enumerate(cells):
        row, column = divmod(i, columns)
        if row and column:
            center = (cells[i - 1] + cells[i - columns] + 1) // 2
        elif row:
            center = cells[i - columns]
        else:
            center = cells[i - 1] if column else 0
        p = np.array([1 + 4096 // (1 + 16 * (j - center) ** 2) for j in range(25)], np.float64)
        coder.encode(int(k), constriction.stream.model.Categorical(p / p.sum(), perfect=False))
    return coder.get_compressed().astype(">u4").tobytes()


def flat(gains):
    return [value for table in gains for row in table for value in row]


def body_of(table=2, ramp=RAMP, rows=ROWS, gains=3, own_gains=(), quarter=-768, half=179, cell=0, words=b""):
    """A body, each field of which can be replaced."""
    own = b"".join(map(signed, [*ramp, *(value for row in rows for value in row)])) if table == 255 else b""
    gain_fields = b"".join(map(leb128, [gains, *own_gains]))
    return leb128(table) + own + gain_fields + signed(quarter) + signed(half) + leb128(cell) + words


def documented(shape, header):
    table = {(ROWS, RAMP): 2, (FIRST_ROWS, RAMP): 1}.get((shape.table, shape.ramp), 255)
    words = words_of(shape.cells, -(-header.width // shape.cell)) if shape.cell else b""
    gains = {None: 0, FIRST_GAINS: 1, SECOND_GAINS: 2, GAINS: 3}.get(shape.gains, 255)
    own_gains = flat(shape.gains) if gains == 255 else ()
    return body_of(table, shape.ramp, shape.table, gains, own_gains, shape.quarter, shape.half, shape.cell, words)


@st.composite
def cases(draw):
    """A header and a shape that the format allows."""
    size = {"width": draw(st.integers(1, 200)), "height": draw(st.integers(1, 200))}
    header = dataclasses.replace(draw(st.sampled_from([CONTINUOUS, DISCRETE])), **size)
    ramp, table = RAMP, draw(st.sampled_from([ROWS, FIRST_ROWS]))
    if draw(st.booleans()):
        full = draw(st.integers(-8192, 8191))
        none = draw(st.one_of(st.integers(full + 1, 8192), st.just(full + 1), st.just(8192)))
        entries = st.integers(max(-128, -((none - full - 1) // 16)), 128)
        ramp, table = (full, none), tuple(tuple(draw(entries) for _ in range(6)) for _ in range(3))
    gains = draw(st.sampled_from([None, GAINS, SECOND_GAINS, FIRST_GAINS, OWN_GAINS, "own"]))
    if gains == "own":
        values = draw(st.lists(st.integers(0, 64), min_size=98, max_size=98))
        gains = tuple(tuple(tuple(values[i + 7 * j : i + 7 * j + 7]) for j in range(7)) for i in (0, 49))
    folds = sorted(draw(st.tuples(*[st.integers(-8192, 4096)] * 2))) if header is not DISCRETE else [0, 0]
    if header.levels.counts_timesteps:
        folds = [0, 0]
    cell, cells = draw(st.sampled_from([0, 32, 64, 128])), b""
    if cell:
        rows, columns = -(-header.height // cell), -(-header.width // cell)
        around = draw(st.sampled_from([st.integers(0, 24), st.just(24), st.just(0), st.sampled_from([0, 24]), st.integers(3, 5)]))
        cells = bytes(draw(around) for _ in range(rows * columns))
    return header, Shape(table, ramp, gains, *folds, cell, cells)


@settings(max_examples=200)
@given(cases())
@example((CONTINUOUS, Shape(ROWS, RAMP, GAINS, -8192, 4096)))
@example((CONTINUOUS, Shape(ROWS, RAMP, None, -8192, -8192, 32, MAP)))
@example((DISCRETE, Shape(((128,) * 6, (-128,) * 6, (0,) * 6), (-8192, 8192), OWN_GAINS, 0, 0, 128, b"\x18")))
@example((CONTINUOUS, Shape(((0,) * 6,) * 3, (8191, 8192), GAINS, 4096, 4096)))
@example((CONTINUOUS, Shape(ROWS, RAMP, (GAINS[1], GAINS[0]), 0, 0)))
@example((CONTINUOUS, Shape(ROWS, RAMP, (((64,) * 7,) * 7,) * 2, 0, 0)))
@example((CONTINUOUS, Shape(ROWS, RAMP, (((0,) * 7,) * 7,) * 2, 0, 0)))
def test_shapes_are_the_documented_ones_and_come_back(case):
    header, shape = case
    body = shapes.encode(shape, header)
    assert body == documented(shape, header)
    assert shapes.decode(body, header) == shape


def test_the_default_shape_is_short():
    assert shapes.encode(Shape(quarter=-768, half=179), CONTINUOUS) == body_of() and len(body_of()) == 7
    assert shapes.encode(Shape(gains=None, quarter=-768, half=179), CONTINUOUS) == body_of(gains=0)
    assert Shape().gains == GAINS
    assert [shape.number for shape in (Shape(), Shape(FIRST_ROWS), Shape(OWN), Shape(ramp=(1368, 3581)))] == [2, 1, 255, 255]


def test_a_map_that_is_flat_costs_next_to_nothing():
    header = dataclasses.replace(CONTINUOUS, width=32 * 32, height=32 * 32)
    assert len(shapes.encode(Shape(cell=32, cells=bytes(1024)), header)) < 1024 / 8


def own(**changes):
    return body_of(**{"table": 255, "rows": OWN, **changes})


def gained(place=0, value=None, gains=OWN_GAINS, **changes):
    """Gains of its own; that at a place has another value."""
    values = flat(gains)
    values[place] = values[place] if value is None else value
    return body_of(gains=255, own_gains=values, **changes)


def entry(place, value):
    """A table of zeros but for one entry."""
    values = [0] * 18
    values[place] = value
    return tuple(tuple(values[i : i + 6]) for i in (0, 6, 12))


CORRUPT = {
    "the ramp falls": own(ramp=(100, 99), rows=((128,) * 6,) * 3),
    "the ramp is a jump": own(ramp=(100, 100), rows=((1,) * 6,) * 3),
    "the ramp begins too low": own(ramp=(-8193, 100)),
    "the ramp ends too high": own(ramp=(100, 8193)),
    **{f"entry {i} is too large": own(rows=entry(i, 129)) for i in range(18)},
    **{f"entry {i} is too small": own(ramp=(-8192, 8192), rows=entry(i, -129)) for i in range(18)},
    **{f"the noise of entry {i} rises": own(ramp=(0, 1600), rows=entry(i, -100)) for i in range(18)},
    **{f"gain {i} is too large": gained(i, 65) for i in range(98)},
    "a gain of 2^40": gained(50, 1 << 40),
    "a gain too large beside a table of its own": gained(97, 65, table=255, rows=OWN),
    "the default gains as its own": gained(gains=GAINS),
    "the default gains and table as its own": gained(gains=GAINS, table=255),
    "the default gains as its own beside a table of its own": gained(gains=GAINS, table=255, rows=OWN),
    "97 gains": body_of(gains=255, own_gains=flat(OWN_GAINS)[:-1]),
    "99 gains": body_of(gains=255, own_gains=[*flat(OWN_GAINS), 1]),
    "gains that are none but follow": body_of(gains=0, own_gains=flat(OWN_GAINS)),
    "default gains that follow": body_of(gains=1, own_gains=flat(GAINS)),
    "the gains' number longer than it need be": leb128(1) + b"\x81\x00" + body_of()[2:],
    "a gain longer than it need be": leb128(1) + leb128(255) + b"\x85\x00" + gained()[4:],
    "no gains": leb128(1),
    "quarter is too low": body_of(quarter=-8193),
    "half is too high": body_of(half=4097),
    "half is before quarter": body_of(quarter=180),
    "both are too low": body_of(quarter=-8194, half=-8193),
    "both are too high": body_of(quarter=4097, half=4098),
    **{f"cells of {cell}": body_of(cell=cell, words=words_of(MAP, 4)) for cell in (1, 16, 31, 33, 96, 127, 129, 256, 1 << 40)},
    "an integer too large": leb128(1) * 2 + signed(-(1 << 40)) + signed(179) + leb128(0),
    "an integer longer than it need be": leb128(1) * 2 + b"\x80\x00" + signed(0) + leb128(0),
    "a table longer than it need be": b"\x81\x00" + body_of()[1:],
    "the default table as its own": body_of(table=255),
    "a map without cells": body_of(words=words_of(MAP, 4)),
    "zeros without cells": body_of(words=bytes(4)),
    "a byte more": body_of(words=b"\0"),
    "a map of another size": body_of(cell=64, words=words_of(MAP, 4)),
    "a map without words": body_of(cell=32),
    "a map and a word of zeros": body_of(cell=32, words=words_of(MAP, 4) + bytes(4)),
    "a map and a word of ones": body_of(cell=32, words=words_of(MAP, 4) + b"\xff" * 4),
    **{f"a map and {n} bytes": body_of(cell=32, words=words_of(MAP, 4) + bytes(n)) for n in (1, 2, 3)},
    **{f"a map without its last {n} bytes": body_of(cell=32, words=words_of(MAP, 4)[:-n]) for n in (1, 2, 3, 4)},
    "words of ones": body_of(cell=32, words=b"\xff" * 8),
    "nothing": b"",
}


@pytest.mark.parametrize("body", CORRUPT.values(), ids=CORRUPT)
def test_bodies_that_the_format_forbids(body):
    with pytest.raises(CorruptFileError):
        shapes.decode(body, CONTINUOUS)


@pytest.mark.parametrize(
    "body",
    [
        body_of(quarter=-8192, half=4096),
        body_of(quarter=179),
        own(ramp=(-8192, 8192), rows=entry(17, -128)),
        own(ramp=(-8192, 8192), rows=entry(0, 128)),
        own(ramp=(0, 1601), rows=entry(5, -100)),
        own(ramp=RAMP, rows=(*ROWS[:2], ROWS[0])),
        own(ramp=(1368, 3581), rows=ROWS),
        body_of(gains=0),
        body_of(gains=0, table=255, rows=OWN),
        gained(),
        gained(0, 64),
        gained(97, 64, table=255, rows=OWN, cell=32, words=words_of(MAP, 4)),
        gained(97, 63, gains=GAINS),
        gained(gains=(GAINS[0], GAINS[0])),
        gained(gains=(((64,) * 7,) * 7,) * 2),
        gained(gains=(((0,) * 7,) * 7,) * 2),
        body_of(cell=32, words=words_of(MAP, 4)),
    ],
)
def test_bodies_at_the_bounds(body):
    assert shapes.encode(shapes.decode(body, CONTINUOUS), CONTINUOUS) == body


def test_discrete_levels_are_seen_at_full_resolution_only():
    assert shapes.decode(body_of(quarter=0, half=0), DISCRETE) == Shape(ROWS, RAMP, GAINS)
    for folds in ({"quarter": -1, "half": 0}, {"quarter": 0, "half": 1}, {"quarter": 5, "half": 5}, {"quarter": -768, "half": 179}):
        with pytest.raises(CorruptFileError, match="cannot"):
            shapes.decode(body_of(**folds), DISCRETE)


@pytest.mark.parametrize("table", [0, 3, 127, 128, 254, 256, (1 << 63) - 1])
def test_tables_of_later_versions(table):
    for rest in (body_of()[1:], b""):
        with pytest.raises(UnsupportedVersionError, match=str(table)):
            shapes.decode(leb128(table) + rest, CONTINUOUS)


@pytest.mark.parametrize("gains", [4, 127, 128, 254, 256, (1 << 63) - 1])
def test_gains_of_later_versions(gains):
    for begin in (leb128(1), own()[:-6]):
        for rest in (body_of()[2:], b""):
            with pytest.raises(UnsupportedVersionError, match=f"gains {gains} "):
                shapes.decode(begin + leb128(gains) + rest, CONTINUOUS)
    with pytest.raises(UnsupportedVersionError, match=f"gains {gains} "):
        parse(file_of(H, section("S", leb128(1) + leb128(gains)), T, P, E))


@pytest.mark.parametrize(
    "body",
    [body_of(), own(), body_of(cell=32, words=words_of(MAP, 4)), body_of(gains=0), gained()],
    ids=["default", "own", "map", "without gains", "own gains"],
)
def test_every_cut_of_a_body_is_corrupt(body):
    for size in range(len(body)):
        with pytest.raises(CorruptFileError):
            shapes.decode(body[:size], CONTINUOUS)


def shape_in(body, header):
    """The shape that bytes decode to, None for a typed error."""
    try:
        shape = shapes.decode(body, header)
    except DdpmcodecError:
        return None
    assert shapes.encode(shape, header) == body
    assert len(shape.cells) == (np.prod(shapes.grid(header.height, header.width, shape.cell)) if shape.cell else 0)
    assert max(shape.cells, default=0) <= 24
    return shape


@pytest.mark.parametrize(
    ("rows", "gains"), [(ROWS, GAINS), (OWN, GAINS), (ROWS, None), (ROWS, OWN_GAINS)], ids=["default", "own", "without gains", "own gains"]
)
def test_every_flipped_bit_is_another_shape_or_an_error(rows, gains):
    shape = Shape(rows, RAMP, gains, -768, 179, 32, MAP)
    body = shapes.encode(shape, CONTINUOUS)
    found = set()
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        other = shape_in(bytes(damaged), CONTINUOUS)
        assert other != shape
        found.add(other)
    assert None in found and len(found) > 20


@settings(max_examples=300)
@given(
    st.sampled_from([leb128(1), body_of(cell=32), body_of(gains=0, cell=32), gained(cell=32), leb128(1) + leb128(255), leb128(255), b""]),
    st.binary(max_size=120),
)
@example(leb128(1) + leb128(255), bytes(101))
@example(leb128(1) * 2 + signed(0) + signed(0) + leb128(32), bytes(8))
def test_arbitrary_bytes_are_a_shape_or_a_typed_error(begin, rest):
    for header in (CONTINUOUS, DISCRETE):
        shape_in(begin + rest, header)


def test_maps_of_random_words():
    rng = np.random.default_rng(0)
    for words in range(1, 12):
        for _ in range(40):
            shape_in(body_of(cell=32, words=rng.bytes(4 * words)), dataclasses.replace(CONTINUOUS, width=300, height=200))


def test_as_many_cells_as_there_can_be():
    """256 x 256, and one row or column more."""
    whole = dataclasses.replace(CONTINUOUS, width=256 * 32, height=256 * 32)
    shape = Shape(quarter=0, half=0, cell=32, cells=bytes(range(25)) * 2621 + bytes(11))
    assert len(shape.cells) == 1 << 16 == shapes.MAX_CELLS
    assert shapes.decode(shapes.encode(shape, whole), whole) == shape
    for size in (
        {"width": 256 * 32 + 1},
        {"height": 256 * 32 + 1},
        {"width": 1 << 20, "height": 1 << 20},
        {"width": 1 << 20, "height": 65},
    ):
        with pytest.raises(CorruptFileError, match="more than 65536"):
            shapes.decode(body_of(cell=32, words=bytes(4)), dataclasses.replace(whole, **size))
    with pytest.raises(CorruptFileError, match="more than 65536"):
        shapes.decode(body_of(cell=128, words=bytes(4)), dataclasses.replace(whole, width=1 << 20, height=1 << 20))


STEPS = (Step(-2000, 100, 8), Step(-1500, 800, 10), Step(-600, 4096, 12))
MESSAGES = tuple((b"\xa5" * 2000)[: s.n // 8] + (b"\x80" if s.n % 8 else b"") for s in STEPS)
SHAPE = Shape(ROWS, RAMP, OWN_GAINS, -768, 179, 32, MAP)
TAIL = b"\xde\xad\xbe\xef" + b"\1" + bytes(24) + b"\x2b" * 24 + bytes(8)

section = sections.section
H, T, E = (section(*each) for each in (("H", headers.encode(CONTINUOUS)), ("T", steptable.encode(STEPS, CONTINUOUS)), ("E", b"")))
P = section("P", b"".join(MESSAGES))
S = section("S", shapes.encode(SHAPE, CONTINUOUS))
A, PROFILE, L, X, Z = (
    section(*each) for each in (("A", b"alpha"), ("i", pack(b"profile")), ("L", TAIL), ("x", pack(b"xmp")), ("z", b"new"))
)


def file_of(*parts):
    return container.SIGNATURE + bytes([container.VERSION]) + b"".join(parts)


def test_files_of_shaped_noise():
    assert serialize(Container(CONTINUOUS, STEPS, MESSAGES, shape=SHAPE)) == file_of(H, S, T, P, E)
    whole = Container(CONTINUOUS, STEPS, MESSAGES, None, b"alpha", Metadata(b"profile", b"", b"xmp"), SHAPE)
    data = serialize(whole)
    assert data == file_of(H, PROFILE, A, S, T, P, X, E)
    parsed = parse(data)
    assert dataclasses.replace(parsed, ends=(), sections=()) == whole
    assert [s.type for s in parsed.sections] == list("HiASTPxE")
    for unknown in ((H, Z, S, T, P, E), (H, S, Z, T, P, E), (H, A, Z, PROFILE, Z, S, Z, T, P, Z, E)):
        assert parse(file_of(*unknown)).shape == SHAPE
    assert parse(file_of(H, T, P, E)).shape is None


@pytest.mark.parametrize(
    "parts",
    [
        (H, S, S, T, P, E),
        (H, S, section("S", body_of()), T, P, E),
        (H, S, A, T, P, E),
        (H, S, PROFILE, T, P, E),
        (H, A, S, PROFILE, T, P, E),
        (H, PROFILE, S, A, T, P, E),
        (H, S, A, S, T, P, E),
        (S, H, T, P, E),
        (H, T, S, P, E),
        (H, T, P, S, E),
        (H, S, T, P, S, E),
        (H, T, P, X, S, E),
        (H, T, P, E, S),
        (H, S, T, P, L, E),
        (H, S, T, P, L),
        (H, A, S, T, P, L, X, E),
    ],
    ids=[
        *("twice", "twice, differently", "before alpha", "before the profile", "before the profile, behind alpha"),
        *("before alpha, behind the profile", "around alpha", "before the header", "behind the table", "behind the payload"),
        *("on both sides of the payload", "among metadata", "behind the end", "with a tail", "with a tail, cut", "with a tail and alpha"),
    ],
)
def test_places_where_a_shape_cannot_be(parts):
    with pytest.raises(CorruptFileError):
        parse(file_of(*parts))


def test_shapes_that_cannot_be_in_a_whole_file():
    for body in CORRUPT.values():
        with pytest.raises(CorruptFileError):
            parse(file_of(H, section("S", body), T, P, E))
    with pytest.raises(UnsupportedVersionError):
        parse(file_of(H, section("S", b"\3"), T, P, E))


def test_every_flipped_bit_of_the_section_is_found():
    begin = len(file_of(H))
    data = file_of(H, S, T, P, E)
    for bit in range(8 * begin, 8 * (begin + len(S))):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DdpmcodecError):
            parse(bytes(damaged))


def test_every_prefix_has_the_shape_or_is_too_short():
    data, table = file_of(H, A, S, T, P, E), len(file_of(H, A, S, T))
    for size in range(1, len(data)):
        if size < table:
            with pytest.raises(TruncatedFileError):
                parse(data[:size])
        else:
            assert parse(data[:size]).shape == SHAPE


@given(cases(), st.integers(0, 3))
def test_the_size_of_a_file_counts_its_shape(case, count):
    header, shape = case
    if header.levels.counts_timesteps:
        steps = tuple(Step(900 - 100 * i, 8 * i, 8) for i in range(count))
    else:
        steps = tuple(Step(-3000 + 100 * i, 8 * i, 8) for i in range(count))
    header = dataclasses.replace(header, pictures=3)
    data = serialize(Container(header, steps, tuple(bytes(step.bytes) for step in steps), shape=shape))
    assert container.serialized_size(header, steps, shape) == len(data)
    body = shapes.encode(shape, header)
    assert len(data) - container.serialized_size(header, steps) == len(section("S", body))
    assert parse(data).shape == shape


def test_a_truncated_file_keeps_its_shape():
    data = file_of(H, PROFILE, A, S, T, P, X, E)
    for steps in range(3):
        cut = parse(ddpmcodec.truncate(data, steps=steps))
        assert (cut.shape, cut.steps, cut.alpha, cut.complete) == (SHAPE, STEPS[:steps], b"alpha", True)
    least = len(ddpmcodec.truncate(data, steps=0))
    for size in range(least, len(data)):
        cut = ddpmcodec.truncate(data, max_bytes=size)
        assert len(cut) <= size and parse(cut).shape == SHAPE
    assert {len(parse(ddpmcodec.truncate(data, max_bytes=size)).steps) for size in range(least, len(data) + 1)} == {0, 1, 2, 3}
    with pytest.raises(ddpmcodec.errors.RateError):
        ddpmcodec.truncate(data, max_bytes=least - 1)
    stripped = parse(ddpmcodec.truncate(data, strip=True))
    assert stripped.shape == SHAPE and [s.type for s in stripped.sections] == list("HASTPE")


def test_what_info_says_of_a_shape():
    noise = ddpmcodec.info(file_of(H, S, T, P, E))["noise"]
    assert (noise["tune"], noise["table"], noise["map"]) == ("perception", 2, {"cell": 32, "coarsest": 64.0})
    sigma = noise["sigma"]  # at level -600 the power is 1; Y is the first element over sqrt 3
    assert sigma == pytest.approx(127.5 * 2 ** (600 / 512), rel=1e-5)
    assert noise["Y"] == pytest.approx({"coarse": sigma / 3**0.5, "fine": sigma * 2 ** (83 / 32) / 3**0.5}, abs=1e-4)
    assert set(noise) == {"tune", "table", "map", "sigma", "Y", "Cb", "Cr"}
    white = ddpmcodec.info(file_of(H, T, P, E))["noise"]
    assert white == {"tune": "psnr", "table": None, "map": None, "sigma": sigma}
    zeros = Shape(((0,) * 6,) * 3, RAMP, None, -1536, -768, 32, MAP)
    noise = ddpmcodec.info(serialize(Container(CONTINUOUS, STEPS, MESSAGES, shape=zeros)))["noise"]
    assert noise["tune"] == "psnr" and isinstance(noise["table"], dict) and noise["map"]["cell"] == 32

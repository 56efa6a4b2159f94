"""The file format, against a second writer made from the field table in the documentation of `ddpmcodec.format.container`."""

import dataclasses
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpmcodec.errors import CorruptFileError, ForeignFileError, FormatError, LimitError, TruncatedFileError, UnsupportedVersionError
from ddpmcodec.format import container, steptable
from ddpmcodec.format.container import Container, parse, serialize
from ddpmcodec.format.header import Header
from ddpmcodec.format.metadata import Metadata
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels

MAGIC = b"\x89DDPM\r\n\x1a\n\x01"


def leb128(value):
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low + 128 * (value > 0)])
        if not value:
            return out


def crc(data):
    return zlib.crc32(data).to_bytes(4, "big")


def section(kind, body, length=None):
    data = kind + leb128(len(body) if length is None else length) + body
    return data + crc(data)


def header_body(**changes):
    fields = {
        "width": leb128(97),
        "height": leb128(64),
        "pictures": leb128(1),
        "mode": leb128(0),
        "orientation": leb128(1),
        "name": leb128(7) + b"photo-1",
        "hash": b"\x01\x02\x03\x04\x05\x06\x07\x08",
        "levels": leb128(0),
        "start": leb128(2 * 3734 - 1),
        "seed": leb128(9),
    }
    return b"".join({**fields, **changes}.values())


HEADER = Header(97, 64, "photo-1", bytes(range(1, 9)), ContinuousLevels(), -3734, 9)
STEPS = (Step(-2000, 100, 8), Step(-1500, 800, 10), Step(-1200, 0, 8), Step(-1000, 7494, 8), Step(-900, 8192, 12, False), Step(-600, 3, 12))
MESSAGES = tuple((b"\xa5" * 2000)[: s.n // 8] + (b"\x80" if s.n % 8 else b"") for s in STEPS)


def payload_of(messages):
    out, since = b"", b""
    for message in messages:
        since += message
        if len(since) >= 1024:
            out += since + crc(since)
            since = b""
    return out + since


TAIL = b"\xde\xad\xbe\xef" + b"\1" + bytes(24) + b"\x2b" * 24 + bytes(8)  # the largest scales, the least margin


def file_of(header=None, steps=STEPS, messages=MESSAGES, extra=b"", table=None, payload=None, end=None):
    """A file, each part of which can be replaced."""
    return b"".join(
        [
            MAGIC,
            section(b"H", header_body() if header is None else header),
            extra,
            section(b"T", steptable.encode(steps, HEADER) if table is None else table),
            section(b"P", payload_of(messages)) if payload is None else payload,
            section(b"E", b"") if end is None else end,
        ]
    )


def fields(parsed):
    return parsed.header, parsed.steps, parsed.messages, parsed.complete


def test_the_second_writer_agrees():
    assert file_of() == serialize(Container(HEADER, STEPS, MESSAGES))
    assert fields(parse(file_of())) == (HEADER, STEPS, MESSAGES, True)


def test_everything_that_a_file_may_have():
    """Sections beside the steps, in their order; of a file cut behind the payload what is whole."""
    beside = Metadata(b"profile", b"exif", b"xmp")
    whole = Container(HEADER, STEPS, MESSAGES, TAIL, b"alpha", beside)
    before = section(b"i", zlib.compress(b"profile", 9)) + section(b"A", b"alpha")
    after = [section(b"L", TAIL), section(b"e", zlib.compress(b"exif", 9)), section(b"x", zlib.compress(b"xmp", 9)), section(b"E", b"")]
    data = file_of(extra=before, end=b"".join(after))
    assert data == serialize(whole)
    assert container.extra_size(b"alpha", beside) == len(before) + len(after[1]) + len(after[2])
    ends = [len(data) - sum(map(len, after[i:])) for i in range(5)]  # of payload, tail, EXIF, XMP, end mark
    for size in range(ends[0], len(data) + 1):
        parsed = parse(data[:size])
        assert fields(parsed) == (HEADER, STEPS, MESSAGES, size == ends[4])
        assert (parsed.tail, parsed.alpha) == (TAIL if size >= ends[1] else None, b"alpha")
        assert parsed.metadata == Metadata(b"profile", b"exif" * (size >= ends[2]), b"xmp" * (size >= ends[3]))
        assert parsed.sections[4].type == "P" and parsed.sections[4].whole
        told = [(s.type, s.offset, s.size, s.whole) for s in parsed.sections[5:]]
        seen = [(kind, begin, min(size, end) - begin, size >= end) for kind, begin, end in zip("LexE", ends, ends[1:], strict=False)]
        assert told == [s for s in seen if s[2] > 0]
    offsets = [s.offset for s in parsed.sections]
    assert [s.type for s in parsed.sections] == list("HiATPLexE") and all(s.whole for s in parsed.sections)
    assert [s.whole for s in parse(data[: ends[0] - 1]).sections] == [True] * 4 + [False]
    assert [s.size for s in parsed.sections] == [b - a for a, b in zip(offsets, [*offsets[1:], len(data)], strict=True)]
    short = whole.first(2)
    assert (short.steps, short.messages, short.tail) == (STEPS[:2], MESSAGES[:2], None) and short.alpha == b"alpha"


def test_the_largest_of_everything():
    side, most = leb128(1 << 20), {"start": leb128(2 * 8192), "seed": leb128(2**63 - 1), "orientation": leb128(8), "mode": leb128(1)}
    data = file_of(header_body(width=side, height=side, pictures=side, **most), steps=(), messages=())
    header = parse(data).header
    assert (header.width, header.height, header.pictures, header.orientation, header.gray) == (1 << 20, 1 << 20, 1 << 20, 8, True)
    assert (header.start, header.seed) == (8192, 2**63 - 1) and serialize(Container(header, (), ())) == data
    name = "a" * 64
    assert parse(file_of(header_body(name=leb128(64) + name.encode()), steps=(), messages=())).header.model_name == name


def test_sections_that_cannot_be():
    alpha, tail, exif, profile, end = (section(*s) for s in ((b"A", b"a"), (b"L", TAIL), (b"e", b""), (b"i", b""), (b"E", b"")))
    for before in (tail, exif):
        with pytest.raises(CorruptFileError, match="place"):
            parse(file_of(extra=before))
    for behind in (alpha, profile, exif + tail, tail + tail):
        with pytest.raises(CorruptFileError, match="place"):
            parse(file_of(end=behind + end))
    with pytest.raises(CorruptFileError, match="tail"):
        parse(file_of(end=section(b"L", TAIL[:4] + b"\0" + TAIL[5:]) + end))
    for data in (file_of(extra=alpha + alpha), file_of(end=exif + exif + end)):
        with pytest.raises(CorruptFileError, match="twice"):
            parse(data)


def test_a_file_cut_in_a_section_behind_the_payload():
    for end in (b"L", b"L\x7fabc", b"z", b"z\x7fabc", b"e\x20abc", b"x\x20", b"E", b"E\0", section(b"E", b"")[:-1]):
        parsed = parse(file_of(end=end))
        assert fields(parsed) == (HEADER, STEPS, MESSAGES, False)
        last = parsed.sections[-1]
        assert (last.type, last.size, last.whole) == (end[:1].decode(), len(end), False)
    for end in (b"Z", b"Z\x20abc"):
        with pytest.raises(UnsupportedVersionError, match="'Z'"):
            parse(file_of(end=end))
    for end in (b"A\x20abc", b"T", b"i", b"E\1", b"E\0\0", b"1", b"z\x7fabc" + section(b"E", b"")):
        with pytest.raises(CorruptFileError):
            parse(file_of(end=end))


def test_the_payload_has_a_checksum_after_each_1024_bytes():
    data = file_of()
    sizes = [len(m) for m in MESSAGES]  # 13 100 0 937 1024 1: behind the fourth, 1050 bytes, and behind the fifth
    assert sizes == [13, 100, 0, 937, 1024, 1]
    payload = next(s for s in parse(data).sections if s.type == "P")
    begin = payload.offset + 1 + len(leb128(sum(sizes) + 8))
    assert payload.size == 1 + len(leb128(sum(sizes) + 8)) + sum(sizes) + 8 + 4
    ends = [begin + e for e in (13, 113, 113, 1050, 1050 + 4 + 1024, 1050 + 4 + 1024 + 4 + 1)]
    assert list(parse(data).ends) == ends
    assert data[begin + 1050 : begin + 1054] == crc(data[begin : begin + 1050])
    assert data[begin + 2078 : begin + 2082] == crc(data[begin + 1054 : begin + 2078])


def test_a_checksum_needs_1024_bytes():
    sizes = [1023, 1, 1023, 0, 1024]
    steps = tuple(Step(100 * i, 8 * size, 8) for i, size in enumerate(sizes))
    messages = tuple(b"\xa5" * size for size in sizes)
    assert payload_of(messages).count(crc(b"\xa5" * 1024)) == 1
    assert file_of(steps=steps, messages=messages) == serialize(Container(HEADER, steps, messages))
    assert fields(parse(file_of(steps=steps, messages=messages))) == (HEADER, steps, messages, True)


def test_what_a_header_says_by_default():
    plain = Header(97, 64, "photo-1", bytes(range(1, 9)), ContinuousLevels(), -3734)
    assert parse(file_of(header_body(seed=leb128(0)), steps=(), messages=())).header == plain


def test_discrete_levels_in_the_header():
    levels = leb128(1) + leb128(1) + leb128(500) + struct.pack(">dd", 1e-3, 0.05)
    header = parse(file_of(header_body(levels=levels, start=leb128(2 * 500)), steps=(), messages=())).header
    assert header.levels == DiscreteLevels("cosine", 500, 1e-3, 0.05) and header.start == 500


headers = st.builds(
    Header,
    st.integers(1, 1 << 20),
    st.integers(1, 1 << 20),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=64),
    st.binary(min_size=8, max_size=8),
    st.just(ContinuousLevels()),
    st.integers(-8192, 8192),
    st.integers(0, 2**63 - 1),
    st.integers(1, 8),
) | st.builds(
    Header,
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.just("photo-1"),
    st.binary(min_size=8, max_size=8),
    st.builds(DiscreteLevels, st.sampled_from(["linear", "cosine"]), st.integers(2, 5000), st.floats(1e-6, 0.01), st.floats(0.01, 0.1)),
    st.integers(1, 2),
    st.integers(0, 2**63 - 1),
)


@given(headers)
def test_headers_round_trip(header):
    assert fields(parse(serialize(Container(header, (), ())))) == (header, (), (), True)


def test_overhead_is_small():
    """Header and table take at most 64 bytes and 3 a step."""
    data = file_of()
    payload = sum(len(m) for m in MESSAGES) + 8
    assert len(data) - payload - 4 - 6 <= 64 + 3 * len(STEPS)


@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_serialized_size_is_the_size(sizes, data):
    steps, messages = [], []
    for i, size in enumerate(sizes):
        n = 8 * data.draw(st.sampled_from([size, 100 * size]))
        n -= n % steptable.codeword.blocks_of(n)
        steps.append(Step(HEADER.start + 200 * (i + 1), n, 8))
        messages.append(bytes(steps[-1].bytes))
    whole = serialize(Container(HEADER, tuple(steps), tuple(messages)))
    assert container.serialized_size(HEADER, tuple(steps)) == len(whole)
    assert fields(parse(whole)) == (HEADER, tuple(steps), tuple(messages), True)


def test_every_byte_prefix(small_encoding):
    """A cut file has its whole steps; one cut before the end of the step table has none and says so."""
    data = small_encoding.data
    whole = parse(data)
    assert whole.complete and len(whole.steps) >= 4
    table = next(s for s in whole.sections if s.type == "T")
    ends = list(whole.ends)
    assert ends == sorted(ends) and table.offset + table.size < ends[0] and ends[-1] < len(data)
    with pytest.raises(ForeignFileError):
        parse(b"")
    for size in range(1, len(data)):
        if size < table.offset + table.size:
            with pytest.raises(TruncatedFileError):
                parse(data[:size])
            continue
        cut = parse(data[:size])
        count = sum(end <= size for end in ends)
        assert fields(cut) == (whole.header, whole.steps, whole.messages[:count], False)
        assert cut.ends == whole.ends


def test_every_single_bit_flip(small_encoding):
    data = small_encoding.data
    assert 1024 < len(data) < 1500
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            parse(bytes(flipped))


def test_bit_flips_behind_a_checksum_of_a_cut_file(small_encoding):
    """A file cut behind a checksum in the payload: what the checksum covers is protected as in a whole file."""
    data = small_encoding.data
    whole = parse(data)
    payload = next(s for s in whole.sections if s.type == "P")
    covered = next(end for end in whole.ends if end - whole.ends[0] + len(whole.messages[0]) >= 1024)
    cut = data[: covered + 4]
    parse(cut)
    for bit in range(8 * payload.offset, 8 * len(cut), 5):
        flipped = bytearray(cut)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            parse(bytes(flipped))


def test_first_steps():
    parsed = parse(file_of())
    for count in (0, 1, 4, 6, 100):
        assert fields(parse(serialize(parsed.first(count)))) == (HEADER, STEPS[:count], MESSAGES[:count], True)


def test_ancillary_sections_are_skipped_and_critical_ones_refused():
    for kind in (b"y", b"a", b"h"):
        parsed = parse(file_of(extra=section(kind, b"whatever") + section(b"z", b"")))
        assert fields(parsed) == (HEADER, STEPS, MESSAGES, True)
        assert [s.type for s in parsed.sections] == ["H", kind.decode(), "z", "T", "P", "E"]
    for kind in (b"X", b"B"):
        with pytest.raises(UnsupportedVersionError, match="not known"):
            parse(file_of(extra=section(kind, b"whatever")))
    for kind in (b"H", b"E", b"P", b"L", b"e", b"x"):
        with pytest.raises(CorruptFileError, match="place"):
            parse(file_of(extra=section(kind, zlib.compress(b"whatever"))))
    for kind in (b"1", b"\xe4", b"\0"):
        with pytest.raises(CorruptFileError):
            parse(file_of(extra=section(kind, b"whatever")))
    for end in (
        section(b"x", b"") + section(b"E", b""),
        b"\0",
        section(b"E", b"a"),
    ):
        with pytest.raises(CorruptFileError):
            parse(file_of(end=end))
    for end in (section(b"X", b"") + section(b"E", b""), b"Z\x7fhello"):
        with pytest.raises(UnsupportedVersionError):
            parse(file_of(end=end))
    data = file_of()
    for kind in (b"y", b"i", b"T"):
        with pytest.raises(CorruptFileError, match="place"):
            parse(data[:10] + section(kind, b"before the header") + data[10:])


def test_foreign_files():
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(50), b"GIF89a", b"D", bytes(1000), b"\x89DDPM\n" + bytes(50)):
        with pytest.raises(ForeignFileError):
            parse(data)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_other_versions(version):
    data = bytearray(file_of())
    data[9] = version
    with pytest.raises(UnsupportedVersionError, match=str(version)):
        parse(bytes(data))


@pytest.mark.parametrize("extra", [b"\0", b"E", section(b"E", b""), b"more"])
def test_trailing_bytes(extra):
    with pytest.raises(CorruptFileError):
        parse(file_of() + extra)


@pytest.mark.parametrize(
    "change",
    [
        {"width": leb128(0)},
        {"height": leb128(0)},
        {"width": leb128((1 << 20) + 1)},
        {"height": leb128(2**62)},
        {"pictures": leb128(0)},
        {"pictures": leb128((1 << 20) + 1)},
        {"orientation": leb128(0)},
        {"orientation": leb128(9)},
        {"name": leb128(0)},
        {"name": leb128(65) + b"a" * 65},
        {"name": leb128(7) + b"Photo-1"},
        {"name": leb128(7) + b"../foto"},
        {"name": leb128(2**60) + b"photo-1"},
        {"levels": leb128(1)},
        {"levels": leb128(1) + leb128(2) + leb128(1000) + struct.pack(">dd", 1e-4, 0.02)},
        {"levels": leb128(1) + leb128(0) + leb128(2**62) + struct.pack(">dd", 1e-4, 0.02)},
        {"levels": leb128(1) + leb128(0) + leb128(1000) + struct.pack(">dd", float("nan"), 0.02)},
        {"levels": leb128(1) + leb128(0) + leb128(1000) + struct.pack(">dd", 1e-4, float("inf"))},
        {"levels": leb128(1) + leb128(0) + leb128(1000) + struct.pack(">dd", 1e-4, 0.02), "start": leb128(2 * 1001)},
        {"start": leb128(2 * 8193)},
        {"start": leb128(2 * 8193 - 1)},
        {"seed": leb128(2**63)},
        {"seed": b"\x89\x80\x00"},
        {"seed": b"\x89\x80\x00\x01"},
        {"width": b"\xe1\x00"},
        {"width": b"\xff" * 9 + b"\x01"},
        {"seed": b""},
        {"seed": leb128(9) + b"\0"},
    ],
    ids=str,
)  # fmt: skip
def test_headers_that_contradict_themselves(change):
    with pytest.raises(CorruptFileError):
        parse(file_of(header_body(**change), steps=(), messages=()))


@pytest.mark.parametrize("change", [{"mode": leb128(2)}, {"levels": leb128(2)}], ids=str)
def test_headers_of_later_versions(change):
    with pytest.raises(UnsupportedVersionError):
        parse(file_of(header_body(**change), steps=(), messages=()))


def test_an_empty_file_and_header():
    for size in range(len(header_body())):
        with pytest.raises(CorruptFileError):
            parse(file_of(header_body()[:size]))


def lying_lengths():
    payload = payload_of(MESSAGES)
    table = steptable.encode(STEPS, HEADER)
    yield file_of(payload=section(b"P", payload + b"\0"))
    yield file_of(payload=section(b"P", payload[:-1]))
    yield file_of(payload=section(b"P", b""))
    yield file_of(payload=section(b"P", payload, length=len(payload) + 1))
    yield file_of(payload=section(b"P", payload, length=2**62))
    yield file_of(payload=section(b"P", payload, length=0))
    yield file_of(table=table + bytes(4))
    yield file_of(table=table[:-4])
    yield file_of(table=table[:-1])
    yield file_of(table=b"")
    yield file_of(end=section(b"E", b"\0"))
    yield file_of(end=section(b"E", bytes(300)))
    yield file_of(end=section(b"E", b"", length=1))
    yield file_of(end=section(b"E", b"", length=2**62))
    for length in (0, 5, 10**6, 2**62):
        yield MAGIC + section(b"H", header_body(), length=length)
        yield MAGIC + section(b"H", header_body()) + section(b"T", table, length=length)
    for text in (
        b"\x80",
        b"\xff" * 9,
        b"\xff" * 8 + b"\x7f",
        b"\xac\x80\x00",
    ):  # lengths that are cut, endless, huge or not in shortest form
        yield MAGIC + b"H" + text + header_body() + bytes(4)


@pytest.mark.parametrize("data", list(lying_lengths()), ids=range(26))
def test_lengths_that_lie_under_right_checksums(data):
    with pytest.raises(FormatError):
        parse(data)


def test_payload_checksums_are_verified_even_under_a_right_section_checksum():
    payload = bytearray(payload_of(MESSAGES))
    payload[1051] ^= 1
    with pytest.raises(CorruptFileError):
        parse(file_of(payload=section(b"P", bytes(payload))))


def test_padding_bits_are_zero():
    messages = (MESSAGES[0][:-1] + b"\x81", *MESSAGES[1:])
    with pytest.raises(CorruptFileError, match="padding"):
        parse(file_of(messages=messages))


def test_pixel_limit():
    parse(file_of(), max_pixels=97 * 64)
    with pytest.raises(LimitError):
        parse(file_of(), max_pixels=97 * 64 - 1)
    huge = serialize(Container(dataclasses.replace(HEADER, width=1 << 20, height=1 << 20), (), ()))
    with pytest.raises(LimitError):
        parse(huge, max_pixels=10**9)


def test_sections_without_end():
    assert len(parse(file_of(extra=section(b"z", b"") * 60)).sections) == 64
    with pytest.raises(CorruptFileError, match="sections"):
        parse(file_of(extra=section(b"z", b"") * 61))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_after_the_signature(data):
    with pytest.raises(FormatError):
        parse(MAGIC + data)


@settings(max_examples=200)
@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=40))
def test_arbitrary_bodies_under_right_checksums(header, table, payload):
    for data in (
        MAGIC + section(b"H", header),
        MAGIC + section(b"H", header_body()) + section(b"T", table) + section(b"P", payload) + section(b"E", b""),
    ):
        try:
            parsed = parse(data)
        except FormatError:
            continue
        assert serialize(parsed) == data

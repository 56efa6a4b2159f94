r"""The .ddpm file, format version 1, which is frozen (docs/format.md). Nothing else in the package parses its bytes.

    size  field
    9     signature  89 44 44 50 4D 0D 0A 1A 0A  ("\x89DDPM\r\n\x1a\n")
    1     format version
    ...   sections: H; ancillary ones, and A where there is alpha; T; P; in lossless files L, right behind it; ancillary ones; E

A section is

    1     type: an ASCII letter; upper case is critical (unknown: refuse), lower case ancillary (unknown: skip)
    v     length of the body
    ...   body
    4     CRC-32 (big endian) of type, length and body

where v is an unsigned LEB128 integer of at most 63 bits in its shortest form. The bodies:

    H  header
       v     width, then height, in pixels
       v     number of pictures, all of this size
       v     mode: 0 = RGB, 1 = gray
       v     EXIF orientation of the coded picture: 1 ... 8
       v     length of the model's name (1 ... 64); the name follows, of [a-z0-9._-]
       8     the first bytes of the model's hash (models/checkpoint.py)
       v     kind of noise levels: 0 = continuous, 1 = discrete (models/levels.py)
             discrete only: v schedule (0 = linear, 1 = cosine), v T, 8 beta_1, 8 beta_T (big endian float64)
       v     start level, the level of x_T, as zigzag: 2 L for L >= 0, else -2 L - 1
       v     seed of the shared randomness, below 2^63
    T  step table (ddpmcodec/format/steptable.py): for each step its level, path bits n, memory nu, and whether the network is evaluated
    P  payload: for each step its n path bits, most significant first, zero-padded to a byte; a CRC-32 (big endian, of the payload's
       bytes since the one before) after each step that completes >= 1024 bytes since the one before
    L  tail (ddpmcodec/format/tail.py): x_0 given the x_t that the payload ends at, exactly
    A  alpha: a PNG of 8-bit gray, of all pictures one above the other
    E  end mark, empty
    i, e, x  ICC profile, EXIF, XMP, deflated (ddpmcodec/format/metadata.py): i before T, the others behind P; each once at most

A file has at most `MAX_SECTIONS` sections.

A file may be cut anywhere behind the step table: it decodes to the last step that is whole; the picture is lossless only with all of L.
"""

import struct
import zlib
from dataclasses import dataclass, replace

from ddpmcodec.errors import CorruptFileError, ForeignFileError, LimitError, TruncatedFileError, UnsupportedVersionError
from ddpmcodec.format import steptable
from ddpmcodec.format import tail as tails
from ddpmcodec.format.header import MAX_PICTURES, MAX_SIDE, Header
from ddpmcodec.format.metadata import NONE, Metadata
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.identity import HASH_BYTES, NAME
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels, Levels

SIGNATURE = b"\x89DDPM\r\n\x1a\n"
VERSION = 1
CRC_BYTES = 4
CHECKPOINT_BYTES = 1024
KINDS = "HATPLEiex"  # of sections
MAX_SECTIONS = 64  # nine kinds are known: the rest is for those to come, and no file makes a reader keep a list without end
MODE_RGB, MODE_GRAY = range(2)


@dataclass(frozen=True)
class Section:
    """Where a section lies in the file, for `info`."""

    type: str
    offset: int
    size: int
    whole: bool


@dataclass(frozen=True)
class Container:
    """A parsed file.

    Attributes:
        steps: the whole step table.
        messages: the payload of each step that is whole; fewer than `steps` where the file was cut.
        tail: the body of the L section, where the file has it whole.
        alpha: the body of the A section.
        metadata: what the file has whole.
        ends: for each step, the number of bytes of the file up to its end.
        complete: the end mark was reached.
        sections: all sections seen.
    """

    header: Header
    steps: tuple[Step, ...]
    messages: tuple[bytes, ...]
    tail: bytes | None = None
    alpha: bytes | None = None
    metadata: Metadata = NONE
    ends: tuple[int, ...] = ()
    complete: bool = True
    sections: tuple[Section, ...] = ()

    def first(self, count: int) -> "Container":
        """The file of the first `count` steps (all where there are fewer); without the tail."""
        return replace(self, steps=self.steps[:count], messages=self.messages[:count], tail=None)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


class _Reader:
    """A cursor over bytes; running out of them is a TruncatedFileError."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            text = f"the data end at byte {len(self.data)}, before the step table is complete"
            raise TruncatedFileError(text, needed=self.at + size)
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    break
                return value
        raise CorruptFileError("an integer is longer than it need be, or has more than 63 bits")


def crc(data: bytes | memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def _section(kind: str, body: bytes) -> bytes:
    data = kind.encode() + varint(len(body)) + body
    return data + crc(data)


END = _section("E", b"")


def _header_body(h: Header) -> bytes:
    name = h.model_name.encode()
    body = varint(h.width) + varint(h.height) + varint(h.pictures) + varint(MODE_GRAY if h.gray else MODE_RGB) + varint(h.orientation)
    body += varint(len(name)) + name + h.model_hash
    if isinstance(h.levels, DiscreteLevels):
        schedule = DiscreteLevels.SCHEDULES.index(h.levels.schedule)
        body += varint(1) + varint(schedule) + varint(h.levels.T) + struct.pack(">dd", h.levels.beta_1, h.levels.beta_T)
    else:
        body += varint(0)
    return body + varint(steptable.zigzag(h.start)) + varint(h.seed)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise CorruptFileError(message)


def _parse_header(body: bytes) -> Header:
    r = _Reader(body)
    try:
        width, height = r.varint(), r.varint()
        pictures, mode, orientation = r.varint(), r.varint(), r.varint()
        name = r.take(r.varint()).decode("latin-1")
        model_hash = r.take(HASH_BYTES)
        if (kind := r.varint()) > 1:
            raise UnsupportedVersionError(f"noise levels of kind {kind} are not supported by this version")
        levels: Levels = ContinuousLevels()
        if kind == 1:
            schedule, T = r.varint(), r.varint()
            _check(schedule < len(DiscreteLevels.SCHEDULES), f"unknown schedule {schedule}")
            levels = DiscreteLevels(DiscreteLevels.SCHEDULES[schedule], T, *struct.unpack(">dd", r.take(16)))
        start, seed = steptable.unzigzag(r.varint()), r.varint()
    except TruncatedFileError as e:
        raise CorruptFileError("the header is shorter than its fields") from e
    except ValueError as e:
        raise CorruptFileError(f"the header's noise levels: {e}") from e
    _check(r.at == len(body), "the header is longer than its fields")
    _check(1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE, f"the header's size {width} x {height} is not in 1 ... {MAX_SIDE}")
    _check(1 <= pictures <= MAX_PICTURES, f"the header's number of pictures {pictures} is not in 1 ... {MAX_PICTURES}")
    _check(NAME.fullmatch(name) is not None, "the model's name in the header is not a name")
    _check(1 <= orientation <= 8, f"the header's orientation {orientation} is not in 1 ... 8")
    _check(levels.contains(start), "the header's start level is out of range")
    if mode not in (MODE_RGB, MODE_GRAY):
        raise UnsupportedVersionError(f"pictures of mode {mode} are not supported by this version")
    return Header(width, height, name, model_hash, levels, start, seed, orientation, pictures, mode == MODE_GRAY)


def _payload(messages: tuple[bytes, ...]) -> bytes:
    out = bytearray()
    checked = 0
    for message in messages:
        out += message
        if len(out) - checked >= CHECKPOINT_BYTES:
            out += crc(bytes(out[checked:]))
            checked = len(out)
    return bytes(out)


def serialize(container: Container) -> bytes:
    """The bytes of a file with all of its steps."""
    before, after = _extras(container.alpha, container.metadata)
    head = SIGNATURE + bytes([VERSION]) + _section("H", _header_body(container.header))
    table = _section("T", steptable.encode(container.steps, container.header))
    tail = b"" if container.tail is None else _section("L", container.tail)
    return head + before + table + _section("P", _payload(container.messages)) + tail + after + END


def _extras(alpha: bytes | None, metadata: Metadata) -> tuple[bytes, bytes]:
    """The sections of alpha and metadata, before the step table and before the end."""
    icc, exif, xmp = (b"" if body is None else _section(kind, body) for kind, body in zip("iex", metadata.bodies, strict=True))
    return icc + (b"" if alpha is None else _section("A", alpha)), exif + xmp


def extra_size(alpha: bytes | None, metadata: Metadata) -> int:
    """Bytes that these add to a file."""
    before, after = _extras(alpha, metadata)
    return len(before) + len(after)


def _layout(steps: tuple[Step, ...]) -> tuple[list[tuple[int, int]], list[int], int]:
    """For a step table: (begin, end) of each message in the payload, the offsets of the CRCs, the payload's length."""
    spans: list[tuple[int, int]] = []
    crcs: list[int] = []
    at = checked = 0
    for step in steps:
        spans.append((at, at + step.bytes))
        at += step.bytes
        if at - checked >= CHECKPOINT_BYTES:
            crcs.append(at)
            checked = at = at + CRC_BYTES
    return spans, crcs, at


def serialized_size(header: Header, steps: tuple[Step, ...]) -> int:
    """Bytes of the file that these steps make, without alpha and metadata."""
    payload = _layout(steps)[2]
    return len(serialize(Container(header, steps, ()))) - len(varint(0)) + len(varint(payload)) + payload


def _verify_payload(payload: bytes, crcs: list[int], base: int) -> None:
    checked = 0
    view = memoryview(payload)
    for offset in crcs:
        if offset + CRC_BYTES <= len(payload):
            if crc(view[checked:offset]) != payload[offset : offset + CRC_BYTES]:
                raise CorruptFileError(f"the payload's checksum at byte {base + offset} fails")
            checked = offset + CRC_BYTES


def _check_place(kind: str, begin: int, first: bool = False) -> None:
    """Raise an error unless a section that was not expected here can be skipped."""
    if kind.isupper() and kind not in KINDS:
        raise UnsupportedVersionError(f"section {kind!r} at byte {begin} is not known")
    _check(kind not in KINDS and not first, f"the section {kind!r} at byte {begin} is in the wrong place")


def parse(data: bytes, max_pixels: int | None = None) -> Container:
    """Parse and verify a file, whole or cut.

    Args:
        data: the file's bytes, or any prefix of them.
        max_pixels: refuse larger pictures.

    Raises:
        ForeignFileError: not a .ddpm file.
        UnsupportedVersionError: a version, mode or critical section unknown here.
        TruncatedFileError: cut before the end of the step table.
        CorruptFileError: a checksum fails or fields contradict each other.
        LimitError: more than `max_pixels` pixels.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)] or not data:
        raise ForeignFileError("not a .ddpm file: the signature is missing" if data else "the file is empty")
    r = _Reader(data)
    r.take(len(SIGNATURE))
    if (version := r.take(1)[0]) != VERSION:
        draft = ", a draft," if version == 0 else ""
        raise UnsupportedVersionError(f"format version {version}{draft} is not supported (this is {VERSION})")
    view = memoryview(data)
    sections: list[Section] = []
    extras: dict[str, bytes] = {}

    def section(expected: str, known: str = "") -> bytes:
        """The body of the next section of this type. Before it, those in `known` go to `extras`; unknown ancillary ones are skipped."""
        while True:
            begin = r.at
            kind = r.take(1)
            size = r.varint()
            body = r.take(size)
            if r.take(CRC_BYTES) != crc(view[begin : r.at - CRC_BYTES]):
                raise CorruptFileError(f"the checksum of the section at byte {begin} fails")
            _check(len(sections) < MAX_SECTIONS, f"there are more than {MAX_SECTIONS} sections")
            _check(kind.isalpha(), f"the section at byte {begin} has no valid type")
            name = kind.decode()
            sections.append(Section(name, begin, r.at - begin, True))
            if name == expected:
                return body
            if name in known:
                _check(name not in extras, f"the section {name!r} at byte {begin} is there twice")
                extras[name] = body
            else:
                _check_place(name, begin, expected == "H")

    header = _parse_header(section("H"))
    if max_pixels is not None and header.pixels > max_pixels:
        several = f"{header.pictures} pictures have" if header.pictures > 1 else "the picture has"
        raise LimitError(f"{several} {header.width} x {header.height} pixels, the limit is {max_pixels}")
    steps = steptable.decode(section("T", "iA"), header)
    spans, crcs, payload_size = _layout(steps)

    # From here on the file may be cut.
    begin = r.at
    prefix = b"P" + varint(payload_size)
    if data[begin : begin + len(prefix)] != prefix[: len(data) - begin]:
        raise CorruptFileError(f"the payload at byte {begin} is not the one that the step table describes")
    base = begin + len(prefix)
    ends = tuple(base + end for _, end in spans)
    end = base + payload_size + CRC_BYTES
    payload = data[base : base + payload_size]
    _verify_payload(payload, crcs, base)
    whole = len(data) >= end
    messages = tuple(payload[a:b] for a, b in spans if b <= len(payload))
    sections.append(Section("P", begin, min(end, len(data)) - begin, whole))
    complete = False
    tail = None
    if whole:
        if data[end - CRC_BYTES : end] != crc(view[begin : end - CRC_BYTES]):
            raise CorruptFileError(f"the checksum of the payload at byte {begin} fails")
        r.at = end
        try:
            if data[end : end + 1] == b"L":
                tail = section("L")
                tails.check(tail)
            complete = section("E", "ex") == b""
            _check(complete, "the end mark is not empty")
        except TruncatedFileError:
            begin = sections[-1].offset + sections[-1].size
            if rest := data[begin:]:
                kind = rest[:1].decode("latin-1")
                _check(rest[:1].isalpha(), f"the section at byte {begin} has no valid type")
                if kind not in "LEex":
                    _check_place(kind, begin)
                right = END.startswith(rest) if kind == "E" else not rest.endswith(END)
                _check(right, f"the length of the section at byte {begin} is wrong")
                sections.append(Section(kind, begin, len(rest), False))
        else:
            _check(r.at == len(data), "bytes follow the end mark")
    for step, message in zip(steps, messages, strict=False):
        _check(step.n % 8 == 0 or message[-1] & (0xFF >> step.n % 8) == 0, "a step's padding is not zero")
    metadata = Metadata.of(extras.get(kind) for kind in "iex")
    return Container(header, steps, messages, tail, extras.get("A"), metadata, ends, complete, tuple(sections))

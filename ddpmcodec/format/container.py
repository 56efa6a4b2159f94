r"""The .ddpm file, format version 1, which is frozen (docs/format.md). Nothing else in the package parses its bytes.

    size  field
    9     signature  89 44 44 50 4D 0D 0A 1A 0A  ("\x89DDPM\r\n\x1a\n")
    1     format version
    ...   sections: H; ancillary ones, and A where there is alpha; S where noise is shaped; T; P; in lossless files L, right behind it;
          ancillary ones; E

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
       8     the first bytes of the model's hash (models/identity.py)
       v     kind of noise levels: 0 = continuous, 1 = discrete (models/levels.py)
             discrete only: v schedule (0 = linear, 1 = cosine), v T, 8 beta_1, 8 beta_T (big endian float64)
       v     start level, the level of x_T, as zigzag: 2 L for L >= 0, else -2 L - 1
       v     seed of the shared randomness, below 2^63
    S  shape of the noise (ddpmcodec/format/shape.py); not in lossless files
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

from dataclasses import dataclass, replace
from enum import Enum

from ddpmcodec.errors import CorruptFileError, ForeignFileError, LimitError, TruncatedFileError, UnsupportedVersionError
from ddpmcodec.format import header as headers
from ddpmcodec.format import shape as shapes
from ddpmcodec.format import steptable
from ddpmcodec.format import tail as tails
from ddpmcodec.format.header import Header
from ddpmcodec.format.metadata import KINDS as METADATA_KINDS
from ddpmcodec.format.metadata import NONE, Metadata
from ddpmcodec.format.sections import CRC_BYTES, Reader, Section, check, crc, section, varint
from ddpmcodec.format.shape import Shape
from ddpmcodec.format.steptable import Step

SIGNATURE = b"\x89DDPM\r\n\x1a\n"
VERSION = 1
CHECKPOINT_BYTES = 1024
MAX_SECTIONS = 64  # nine kinds are known, more may come; without a limit a file could make a reader's list as long as it likes


class Place(Enum):
    """The places in a file where sections of a kind may stand, in the order of the file."""

    HEADER = "first"
    BEFORE_STEPS = "between header and step table, in any order"
    SHAPE = "behind those, before the step table"
    STEPS = "the step table"
    PAYLOAD = "behind the step table"
    TAIL = "right behind the payload"
    AFTER = "behind payload and tail, in any order"
    END = "last"


PLACES = {
    "H": Place.HEADER,
    "i": Place.BEFORE_STEPS,
    "A": Place.BEFORE_STEPS,
    "S": Place.SHAPE,
    "T": Place.STEPS,
    "P": Place.PAYLOAD,
    "L": Place.TAIL,
    "e": Place.AFTER,
    "x": Place.AFTER,
    "E": Place.END,
}
NAMES = {
    "H": "header",
    "i": "colour profile",
    "A": "alpha",
    "S": "shape of the noise",
    "T": "step table",
    "P": "payload",
    "L": "lossless tail",
    "e": "EXIF",
    "x": "XMP",
    "E": "end mark",
}


def _kinds(*places: Place) -> str:
    """Return the types of the sections that stand in these places."""
    return "".join(kind for kind, place in PLACES.items() if place in places)


@dataclass(frozen=True)
class Container:
    """A parsed file.

    Attributes:
        header: the H section.
        steps: the whole step table.
        messages: the payload of each step that is whole; fewer than `steps` where the file was cut.
        tail: the body of the L section, where the file has it whole.
        alpha: the body of the A section; None where there is none.
        metadata: those metadata that the file has whole.
        shape: the S section; None where noise is white.
        ends: for each step, the number of bytes of the file up to its end.
        complete: whether the end mark was reached.
        sections: all sections in the file, known or not.
    """

    header: Header
    steps: tuple[Step, ...]
    messages: tuple[bytes, ...]
    tail: bytes | None = None
    alpha: bytes | None = None
    metadata: Metadata = NONE
    shape: Shape | None = None
    ends: tuple[int, ...] = ()
    complete: bool = True
    sections: tuple[Section, ...] = ()

    @property
    def mode(self) -> str:
        """The mode of its pictures, as Pillow calls it: L, LA, RGB or RGBA."""
        return ("L" if self.header.gray else "RGB") + ("A" if self.alpha is not None else "")

    def first(self, count: int) -> "Container":
        """Return the file of the first `count` steps (all where there are fewer), without the tail."""
        return replace(self, steps=self.steps[:count], messages=self.messages[:count], tail=None)


END = section("E", b"")


def _payload(messages: tuple[bytes, ...]) -> bytes:
    """Return the body of the P section: the messages, and a CRC after each `CHECKPOINT_BYTES` or more."""
    out = bytearray()
    checked = 0
    for message in messages:
        out += message
        if len(out) - checked >= CHECKPOINT_BYTES:
            out += crc(bytes(out[checked:]))
            checked = len(out)
    return bytes(out)


def serialize(container: Container) -> bytes:
    """Return the bytes of a file; `container.messages` has all of its steps."""
    before, after = _extras(container.alpha, container.metadata)
    head = SIGNATURE + bytes([VERSION]) + section("H", headers.encode(container.header))
    shape = b"" if container.shape is None else section("S", shapes.encode(container.shape, container.header))
    table = section("T", steptable.encode(container.steps, container.header))
    tail = b"" if container.tail is None else section("L", container.tail)
    return head + before + shape + table + section("P", _payload(container.messages)) + tail + after + END


def _extras(alpha: bytes | None, metadata: Metadata) -> tuple[bytes, bytes]:
    """Return the sections of alpha and metadata: those before the step table, and those before the end."""
    bodies = dict(zip(METADATA_KINDS, metadata.bodies, strict=True)) | {"A": alpha}

    def standing(place: Place) -> bytes:
        return b"".join(section(kind, body) for kind in _kinds(place) if (body := bodies.get(kind)) is not None)

    return standing(Place.BEFORE_STEPS), standing(Place.AFTER)


def extra_size(alpha: bytes | None, metadata: Metadata) -> int:
    """Return the number of bytes that alpha and metadata add to a file."""
    before, after = _extras(alpha, metadata)
    return len(before) + len(after)


def _layout(steps: tuple[Step, ...]) -> tuple[list[tuple[int, int]], list[int], int]:
    """Return for a step table (begin, end) of each message in the payload, the offsets of the CRCs, and the payload's length."""
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


def serialized_size(header: Header, steps: tuple[Step, ...], shape: Shape | None = None) -> int:
    """Return the number of bytes of the file that these steps make, without alpha and metadata."""
    payload = _layout(steps)[2]
    return len(serialize(Container(header, steps, (), shape=shape))) - len(varint(0)) + len(varint(payload)) + payload


def _verify_payload(payload: bytes, crcs: list[int], base: int) -> None:
    """Raise CorruptFileError unless the CRCs at these offsets fit; `base` is the payload's place in the file."""
    checked = 0
    view = memoryview(payload)
    for offset in crcs:
        if offset + CRC_BYTES <= len(payload):
            if crc(view[checked:offset]) != payload[offset : offset + CRC_BYTES]:
                raise CorruptFileError(f"the payload's checksum at byte {base + offset} fails")
            checked = offset + CRC_BYTES


class _FileReader(Reader):
    """A cursor over a file, which keeps account of the sections that it has passed. Its errors are those of `parse`.

    Attributes:
        sections: the sections passed, with their places.
        extras: bodies of the alpha and metadata sections passed, by type.
    """

    def __init__(self, data: bytes):
        super().__init__(data)
        self.view = memoryview(data)
        self.sections: list[Section] = []
        self.extras: dict[str, bytes] = {}

    def signature(self) -> None:
        """Pass signature and version."""
        if self.data[: len(SIGNATURE)] != SIGNATURE[: len(self.data)] or not self.data:
            raise ForeignFileError("not a .ddpm file: the signature is missing" if self.data else "the file is empty")
        self.take(len(SIGNATURE))
        if (version := self.take(1)[0]) != VERSION:
            draft = ", a draft," if version == 0 else ""
            raise UnsupportedVersionError(f"format version {version}{draft} is not supported (this is {VERSION})")

    def section(self, expected: str, known: str = "") -> bytes:
        """Return the body of the next section of a type. Before it, those in `known` go to `extras`; unknown ancillary ones are skipped."""
        while True:
            begin = self.at
            kind = self.take(1)
            size = self.varint()
            body = self.take(size)
            if self.take(CRC_BYTES) != crc(self.view[begin : self.at - CRC_BYTES]):
                raise CorruptFileError(f"the checksum of the section at byte {begin} fails")
            check(len(self.sections) < MAX_SECTIONS, f"there are more than {MAX_SECTIONS} sections")
            check(kind.isalpha(), f"the section at byte {begin} has no valid type")
            name = kind.decode()
            self.sections.append(Section(name, begin, self.at - begin, True))
            if name == expected:
                return body
            if name in known:
                check(name not in self.extras, f"the section {name!r} at byte {begin} is there twice")
                early = PLACES[name] is Place.BEFORE_STEPS and "S" in self.extras
                check(not early, f"the section {name!r} at byte {begin} is in the wrong place: behind 'S'")
                self.extras[name] = body
            else:
                _check_place(name, begin, expected == "H")

    def payload(self, steps: tuple[Step, ...]) -> tuple[tuple[bytes, ...], tuple[int, ...], bool]:
        """Return the whole messages, where in the file each step ends, and whether the section is whole: it may be cut anywhere."""
        spans, crcs, size = _layout(steps)
        begin = self.at
        prefix = b"P" + varint(size)
        if self.data[begin : begin + len(prefix)] != prefix[: len(self.data) - begin]:
            raise CorruptFileError(f"the payload at byte {begin} is not the one that the step table describes")
        base = begin + len(prefix)
        end = base + size + CRC_BYTES
        payload = self.data[base : base + size]
        _verify_payload(payload, crcs, base)
        whole = len(self.data) >= end
        self.sections.append(Section("P", begin, min(end, len(self.data)) - begin, whole))
        if whole:
            if self.data[end - CRC_BYTES : end] != crc(self.view[begin : end - CRC_BYTES]):
                raise CorruptFileError(f"the checksum of the payload at byte {begin} fails")
            self.at = end
        messages = tuple(payload[a:b] for a, b in spans if b <= len(payload))
        return messages, tuple(base + b for _, b in spans), whole

    def ending(self) -> tuple[bytes | None, bool]:
        """Return the tail, None without a whole one, and whether the end mark was reached: behind the payload a cut may be anywhere."""
        tail = None
        try:
            if self.data[self.at : self.at + 1] == b"L":
                tail = self.section("L")
                tails.check(tail)
            check(self.section("E", _kinds(Place.AFTER)) == b"", "the end mark is not empty")
        except TruncatedFileError:
            self._cut_section()
            return tail, False
        check(self.at == len(self.data), "bytes follow the end mark")
        return tail, True

    def _cut_section(self) -> None:
        """Account for a section that the data end in, if it can be the beginning of one."""
        begin = self.sections[-1].offset + self.sections[-1].size
        if rest := self.data[begin:]:
            kind = rest[:1].decode("latin-1")
            check(rest[:1].isalpha(), f"the section at byte {begin} has no valid type")
            if kind not in _kinds(Place.TAIL, Place.AFTER, Place.END):
                _check_place(kind, begin)
            right = END.startswith(rest) if kind == "E" else not rest.endswith(END)
            check(right, f"the length of the section at byte {begin} is wrong")
            self.sections.append(Section(kind, begin, len(rest), False))


def _check_place(kind: str, begin: int, first: bool = False) -> None:
    """Raise UnsupportedVersionError or CorruptFileError unless a section that was not expected here can be skipped."""
    if kind.isupper() and kind not in PLACES:
        raise UnsupportedVersionError(f"section {kind!r} at byte {begin} is not known")
    check(kind not in PLACES and not first, f"the section {kind!r} at byte {begin} is in the wrong place")


def parse(data: bytes, max_pixels: int | None = None) -> Container:
    """Parse and verify a file, whole or cut.

    Args:
        data: the file's bytes, or any prefix of them.
        max_pixels: refuse pictures of more pixels in all.

    Raises:
        ForeignFileError: it is not a .ddpm file.
        UnsupportedVersionError: a version, mode or critical section is not known here.
        TruncatedFileError: the file is cut before the end of the step table.
        CorruptFileError: a checksum fails or fields contradict each other.
        LimitError: there are more than `max_pixels` pixels.
    """
    r = _FileReader(data)
    r.signature()
    header = headers.decode(r.section("H"))
    if max_pixels is not None and header.pixels > max_pixels:
        several = f"{header.pictures} pictures have" if header.pictures > 1 else "the picture has"
        raise LimitError(f"{several} {header.width} x {header.height} pixels, the limit is {max_pixels}", parameter="max_pixels")
    table = r.section("T", _kinds(Place.BEFORE_STEPS, Place.SHAPE))
    shape = shapes.decode(r.extras["S"], header) if "S" in r.extras else None
    steps = steptable.decode(table, header)
    messages, ends, whole = r.payload(steps)
    tail, complete = r.ending() if whole else (None, False)
    check(shape is None or tail is None, "a lossless file has noise that is shaped")
    for step, message in zip(steps, messages, strict=False):
        check(step.n % 8 == 0 or message[-1] & (0xFF >> step.n % 8) == 0, "a step's padding is not zero")
    metadata = Metadata.from_bodies(r.extras.get(kind) for kind in METADATA_KINDS)
    return Container(header, steps, messages, tail, r.extras.get("A"), metadata, shape, ends, complete, tuple(r.sections))

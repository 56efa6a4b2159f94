"""What Pillow does not tell of a picture file, from its own header: bits a channel, colour by code points, metadata, its size."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

BMFF = ("AVIF", "HEIF")  # formats, as Pillow calls them, that are boxes of ISO's base media file format
FORMATS = (*BMFF, "JPEG2000", "JXL", "PNG")
JXL_SIGNATURE = b"\xff\x0a"
JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
EXIF_UUID, XMP_UUID = b"JpgTiffExif->JP2", bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of JPEG 2000's boxes


@dataclass(frozen=True)
class Header:
    """What a header says; None, or no bytes, for what it does not.

    Attributes:
        bits: the most that a channel has.
        cicp: colour primaries and transfer function, code points of ITU-T H.273.
        icc_profile, exif, xmp: metadata that Pillow passes over.
        size: (width, height) in pixels.
        animated: whether there are frames that Pillow does not count.
        packed: whether it has metadata that are compressed, which nothing here can read.
    """

    bits: int | None = None
    cicp: tuple[int, int] | None = None
    icc_profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    size: tuple[int, int] | None = None
    animated: bool = False
    packed: bool = False


def read(data: bytes, kind: str) -> Header:
    """Read the header of a picture file of one of `FORMATS`; of one that is damaged, or of another format, nothing."""
    try:
        if kind in BMFF:
            return _bmff(data)
        if kind == "JPEG2000":
            return _jpeg2000(data)
        if kind == "JXL":
            return _jxl(data)
        return _png(data) if kind == "PNG" else Header()
    except (struct.error, LookupError, ValueError, StopIteration):  # what is cut or damaged Pillow has its say about
        return Header()


def without_exif(data: bytes) -> bytes | None:
    """Return a file in boxes with its EXIF under a name that no decoder knows; None where it has none."""
    if data[4:8] != b"ftyp":
        return None
    begin, end = next(((at, stop) for kind, at, stop in _boxes(data) if kind == b"meta"), (0, 0))
    meta = data[begin:end]
    return data[:begin] + meta.replace(b"Exif", b"exif") + data[end:] if b"Exif" in meta else None


def is_jxl(data: bytes) -> bool:
    """Whether a file is JPEG XL, whose plugin decodes it as soon as it is opened."""
    return data.startswith((JXL_SIGNATURE, b"\0\0\0\x0cJXL "))


def _boxes(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its content begins and ends."""
    end = len(data) if end is None else min(end, len(data))
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, begin + 8)[0], 16
        stop = end if size == 0 else begin + size
        if stop < begin + head:
            return
        yield kind, begin + head, min(stop, end)
        begin = stop


def _inside(data: bytes, kind: bytes, begin: int = 0, end: int | None = None, skip: int = 0) -> dict[bytes, tuple[int, int]]:
    """Return where the boxes in the first box of a kind are, the first of each kind; `skip` bytes come before them."""
    place = next(((at, stop) for found, at, stop in _boxes(data, begin, end) if found == kind), None)
    return {} if place is None else {found: (at, stop) for found, at, stop in reversed(list(_boxes(data, place[0] + skip, place[1])))}


def _bmff(data: bytes) -> Header:
    """AVIF and HEIF: the properties of the primary item; the depth of one that is put together, a grid, is that of its tiles."""
    if data[4:8] != b"ftyp":
        return Header()
    meta = _inside(data, b"meta", skip=4)
    if b"iprp" not in meta or b"pitm" not in meta:
        return Header(_depth(data, b"av1C", data.find(b"av1C") + 4) if b"av1C" in data else None)
    item = struct.unpack_from(">I" if data[meta[b"pitm"][0]] else ">H", data, meta[b"pitm"][0] + 4)[0]
    (begin, end) = meta[b"iprp"]
    inner = {kind: (at, stop) for kind, at, stop in _boxes(data, begin, end)}
    properties = list(_boxes(data, *inner[b"ipco"]))
    own = [properties[i - 1] for i in _associated(data, inner[b"ipma"][0], item) if 0 < i <= len(properties)]
    depths = [_depth(data, kind, at) for kind, at, _ in own] + [None]
    if not any(depths):
        depths = [_depth(data, kind, at) for kind, at, _ in properties] + [None]
    codes = [struct.unpack_from(">HH", data, at + 4) for kind, at, _ in own if kind == b"colr" and data[at : at + 4] == b"nclx"]
    return Header(max((d for d in depths if d), default=None), codes[0] if codes else None)


def _depth(data: bytes, kind: bytes, at: int) -> int | None:
    """Return the bits a channel that a property tells; None where it is not of that."""
    if kind == b"av1C":
        return (12 if data[at + 2] & 0x20 else 10) if data[at + 2] & 0x40 else 8
    if kind == b"hvcC":
        return 8 + max(data[at + 17] & 7, data[at + 18] & 7)
    if kind == b"pixi":
        return max(data[at + 5 : at + 5 + data[at + 4]])
    return None


def _associated(data: bytes, at: int, wanted: int) -> list[int]:
    """Return the numbers, from 1 on, of an item's properties."""
    version, wide = data[at], data[at + 3] & 1
    count = struct.unpack_from(">I", data, at + 4)[0]
    at += 8
    for _ in range(min(count, len(data))):
        item = struct.unpack_from(">I" if version else ">H", data, at)[0]
        at += 4 if version else 2
        number = data[at]
        indices = struct.unpack_from(f">{number}{'H' if wide else 'B'}", data, at + 1)
        at += 1 + number * (2 if wide else 1)
        if item == wanted:
            return [index & (0x7FFF if wide else 0x7F) for index in indices]
    return []


def _jpeg2000(data: bytes) -> Header:
    """JPEG 2000, in boxes or bare."""
    if data.startswith(b"\xff\x4f\xff\x51"):
        components = struct.unpack_from(">H", data, 40)[0]
        return Header(max((data[42 + 3 * i] & 0x7F) + 1 for i in range(components)))
    inner = _inside(data, b"jp2h")
    bits = data[inner[b"ihdr"][0] + 10] if b"ihdr" in inner else 7
    depth = max((bpc & 0x7F) + 1 for bpc in (data[slice(*inner[b"bpcc"])] if bits == 255 and b"bpcc" in inner else bytes([bits])))
    begin, end = inner.get(b"colr", (0, 0))
    profile = data[begin + 3 : end] if end and data[begin] == 2 else b""  # 2: a restricted ICC profile
    uuids = {data[at : at + 16]: data[at + 16 : stop] for kind, at, stop in _boxes(data) if kind == b"uuid"}
    return Header(depth, icc_profile=profile, exif=uuids.get(EXIF_UUID, b""), xmp=uuids.get(XMP_UUID, b""))


class _Bits:
    """Reads numbers bit by bit, the lowest first."""

    def __init__(self, data: bytes):
        self.value = int.from_bytes(data[:64], "little")

    def take(self, count: int) -> int:
        taken, self.value = self.value & ((1 << count) - 1), self.value >> count
        return taken

    def choose(self, *ways: tuple[int, int]) -> int:
        """One of four ways, named by two bits: an offset and the count of bits to add."""
        offset, count = ways[self.take(2)]
        return offset + self.take(count)


def _jxl(data: bytes) -> Header:
    """JPEG XL, in boxes or bare."""
    if data.startswith(JXL_SIGNATURE):
        return _jxl_codestream(data)
    boxes = list(_boxes(data))
    stream = next(data[at + (4 if kind == b"jxlp" else 0) : stop] for kind, at, stop in boxes if kind in (b"jxlc", b"jxlp"))
    xmp = next((data[at:stop] for kind, at, stop in boxes if kind == b"xml "), b"")
    return replace(_jxl_codestream(stream), xmp=xmp, packed=any(kind == b"brob" for kind, _, _ in boxes))


def _jxl_codestream(data: bytes) -> Header:
    """JPEG XL, bare."""
    bits = _Bits(data[2:])
    size = _jxl_size(bits)
    if bits.take(1):  # all is as by default
        return Header(8, size=size)
    animated = False
    if bits.take(1):
        bits.take(3)
        if bits.take(1):
            _jxl_size(bits)
        if bits.take(1):  # a preview
            return Header(size=size)
        if animated := bool(bits.take(1)):
            bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    is_float = bits.take(1)
    depth = bits.choose(*(((32, 0), (16, 0), (24, 0), (1, 6)) if is_float else ((8, 0), (10, 0), (12, 0), (1, 6))))
    return Header(depth, size=size, animated=animated)


def _jxl_size(bits: _Bits) -> tuple[int, int]:
    """Read the width and height of JPEG XL."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = JXL_RATIOS[ratio - 1]
    return height * across // down, height


def _png(data: bytes) -> Header:
    """PNG: the chunks before its pixels, of which Pillow passes over cICP."""
    begin = 8
    while begin + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, begin)
        if kind == b"IDAT":
            break
        if kind == b"cICP" and size == 4:
            return Header(cicp=(data[begin + 8], data[begin + 9]))
        begin += 12 + size
    return Header()

"""What Pillow does not tell of a picture file: more than 8 bits a channel, which is refused, and colours by code points."""

import io
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import headers, opening, picture
from ddpmcodec.errors import LimitError, PictureError
from ddpmcodec.format import alpha

DEEP = "pictures of more than 8 bits a channel"


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def bmff(properties: list[bytes], own: list[int], item: int = 1) -> bytes:
    """A file in boxes, whose primary item has those of the properties that are numbered."""
    associated = struct.pack(">IIHB", 0, 1, item, len(own)) + bytes(own)
    inner = box(b"iprp", box(b"ipco", *properties), box(b"ipma", associated))
    return box(b"ftyp", b"avif", bytes(4)) + box(b"meta", bytes(4), box(b"pitm", bytes(4), struct.pack(">H", item)), inner)


AV1C = {8: b"\x81\x00\x0c\0", 10: b"\x81\x00\x4c\0", 12: b"\x81\x40\x6c\0"}
PIXI_10 = box(b"pixi", bytes(4), b"\3\x0a\x0a\x0a")


@pytest.mark.parametrize(
    "properties, own, bits",
    [
        ([box(b"av1C", AV1C[8])], [1], 8),
        ([box(b"av1C", AV1C[10])], [1], 10),
        ([box(b"av1C", AV1C[12])], [0x81], 12),
        ([box(b"av1C", AV1C[8]), PIXI_10], [2], 10),
        ([box(b"av1C", AV1C[8]), box(b"av1C", AV1C[12])], [1], 8),  # the other is a depth map's
        ([box(b"av1C", AV1C[12]), box(b"ispe", bytes(12))], [2], 12),  # of tiles
        ([box(b"hvcC", bytes(17) + b"\xfa\xf8\0\0")], [1], 10),
    ],
)
def test_bits_of_boxes(properties, own, bits):
    assert headers.read(bmff(properties, own), "AVIF").bits == bits


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    opening.register_plugins()
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def deep() -> Image.Image:
    return Image.fromarray(np.arange(48 * 65, dtype=np.uint16).reshape(48, 65) * 21)


@pytest.mark.parametrize("kind, options", [("JPEG2000", {}), ("JPEG2000", {"no_jp2": True}), ("JXL", {"lossless": True})])
def test_more_than_8_bits_are_refused(deep, kind, options):
    if kind == "JXL":
        pytest.importorskip("pillow_jxl")
    data = file_of(deep, kind, **options)
    assert headers.read(data, kind).bits == 16
    with pytest.raises(PictureError, match=DEEP.removeprefix("pictures ")):
        picture.read(data)


def test_a_deep_heic_is_refused():
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 48), bytes(64 * 48 * 6)).save(buffer)
    with pytest.raises(PictureError, match=DEEP):
        picture.read(buffer.getvalue())
    opening.register_plugins()
    with Image.open(io.BytesIO(buffer.getvalue())) as image, pytest.raises(PictureError, match=DEEP):
        picture.from_image(image)


def test_a_deep_avif_is_refused(drawing):
    """One of 8 bits whose header says 10."""
    data = bytearray(file_of(Image.fromarray(drawing), "AVIF"))
    data[data.index(b"av1C") + 6] |= 0x40
    assert headers.read(bytes(data), "AVIF").bits == 10


@pytest.mark.parametrize("compressed", [False, True])
def test_a_deep_sgi_is_refused(compressed):
    """Pillow keeps the upper bytes."""
    head = struct.pack(">hBBHHHH", 474, compressed, 2, 3, 4, 4, 3)
    with pytest.raises(PictureError, match=DEEP):
        picture.read(head + bytes(512 - len(head)) + bytes(400))


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "JPEG2000", "JXL", "PNG"])
def test_8_bits_and_srgb_are_as_ever(drawing, kind):
    if kind in ("HEIF", "JXL"):
        pytest.importorskip({"HEIF": "pillow_heif", "JXL": "pillow_jxl"}[kind])
    notes: list[str] = []
    read = picture.read(file_of(Image.fromarray(drawing), kind), notes.append)
    assert read.pixels.shape == (45, 61, 3) and read.metadata.icc_profile == b""


@pytest.mark.parametrize("kind", headers.FORMATS)
def test_damaged_headers_say_nothing_and_take_no_time(drawing, kind):
    if kind in ("HEIF", "JXL"):
        pytest.importorskip({"HEIF": "pillow_heif", "JXL": "pillow_jxl"}[kind])
    data = file_of(Image.fromarray(drawing), kind)
    random = np.random.default_rng(0)
    for i in range(300):
        damaged = bytearray(data[: random.integers(0, 600)])
        for at in random.integers(0, max(len(damaged), 1), i % 8 if damaged else 0):
            damaged[at] = random.integers(256)
        headers.read(bytes(damaged), kind)


def test_a_large_jxl_is_not_decoded():
    """Its plugin would do so as soon as it is opened. A side of 8000 pixels, in 13 bits; then the ratio 1:1."""
    bits = 0 | 1 << 1 | (8000 - 1) << 3 | 1 << 16 | 1 << 19
    with pytest.raises(LimitError, match="8000 x 8000"):
        picture.read(headers.JXL_SIGNATURE + bits.to_bytes(8, "little"))


def test_a_profile_in_jpeg_2000(drawing):
    """In a box that Pillow passes over."""
    data = file_of(Image.fromarray(drawing), "JPEG2000")
    profile = bytes(16) + b"RGB " + bytes(108)
    old = box(b"colr", b"\1\0\0\0\0\0\x10")
    assert old in data
    start = data.index(b"jp2h") - 4
    size = struct.unpack_from(">I", data, start)[0]
    new = box(b"jp2h", data[start + 8 : start + size].replace(old, box(b"colr", b"\2\0\0", profile)))
    assert picture.read(data[:start] + new + data[start + size :]).metadata.icc_profile == profile


def test_more_pixels_than_pillow_opens(drawing, monkeypatch):
    """Where --max-pixels says so; Pillow's limit is as before, afterwards."""
    data = file_of(Image.fromarray(drawing), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert np.array_equal(picture.read(data, max_pixels=61 * 45).pixels, drawing)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(LimitError) as caught:
        picture.read(data, max_pixels=1000)
    assert caught.value.parameter == "max_pixels"
    steep = np.arange(61 * 45, dtype=np.uint8).reshape(45, 61)
    header = SimpleNamespace(width=61, height=45, pictures=1)
    assert np.array_equal(alpha.unpack(alpha.pack(steep), header), steep)  # type: ignore[arg-type]


def test_a_deep_tiff_in_planes_is_refused():
    """Pillow reads its upper bytes."""
    counts = [(256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 3, 146), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 152), (277, 3, 1, 3),
              (278, 4, 1, 2), (279, 4, 3, 164), (284, 3, 1, 2)]  # fmt: skip
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(counts)) + b"".join(struct.pack("<HHII", *entry) for entry in counts)
    values = bytes(16) + struct.pack("<3H3I3I", 16, 16, 16, 176, 184, 192, 8, 8, 8)
    with pytest.raises(PictureError, match=DEEP.removeprefix("pictures ")):
        picture.read(head + values + bytes(24))


@pytest.mark.parametrize("data", [b"P3 2 1 300 1 150 299 300 2 1\n", b"P6 1 1 300 " + bytes(6), b"P2 1 1 1000 7\n"])
def test_a_deep_ppm_is_refused(data):
    with pytest.raises(PictureError, match=DEEP.removeprefix("pictures ")):
        picture.read(data)

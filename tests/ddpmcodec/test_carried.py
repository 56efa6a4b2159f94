"""Colour profile, EXIF, XMP and resolution of picture files, wherever they have them; and what is said of the rest."""

import io
import struct

import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from ddpmcodec import exif as exifs
from ddpmcodec import picture
from ddpmcodec.format.tiff import PREFIX

ODD = {
    "a rational of denominator 0": struct.pack(">HHII", 0x011A, 5, 1, 38),
    "rationals where text belongs": struct.pack(">HHII", 0x010F, 5, 1, 38),
    "a float where text belongs": struct.pack(">HHIf", 0x010F, 11, 1, 0.5),
    "text where a rational belongs": struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0"),
    "a type that there is not": struct.pack(">HHII", 0x011A, 77, 1, 38),
    "values beyond the end": struct.pack(">HHII", 0x010E, 2, 1 << 20, 1 << 24),
}


def odd_exif(entry: bytes, orientation: int) -> bytes:
    """EXIF of two tags, of which one is odd."""
    return PREFIX + b"MM\0*\0\0\0\x08\0\2" + entry + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4) + bytes(16)


def small(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (20, 12))
    image.putpixel((0, 0), (255, 255, 255))
    return image.convert(mode)


def read(image: Image.Image, kind: str, **options):
    """The picture of a file of an image, and what is said."""
    buffer, notes = io.BytesIO(), []
    image.save(buffer, kind, **options)
    return picture.read(buffer.getvalue(), notes.append), notes


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("entry", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_odd_tag(kind, entry, orientation):
    """The picture is there, upright, and EXIF with it: byte for byte, but for the orientation."""
    options = {"lossless": True} if kind == "WEBP" else {}
    found, notes = read(small(), kind, exif=odd_exif(entry, orientation), **options)
    assert found.pixels.shape[:2] == ((12, 20) if orientation == 1 else (20, 12)) and notes == []
    assert found.pixels[0, 0 if orientation == 1 else -1].min() > 100
    assert found.metadata.exif.removeprefix(PREFIX) == odd_exif(entry, 1).removeprefix(PREFIX)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0junk", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_exif_that_is_none(exif):
    assert read(small(), "JPEG", exif=exif)[0].pixels.shape == (12, 20, 3)


def test_an_orientation_in_xmp():
    xmp = b'<x:xmpmeta><r tiff:Orientation="6" dc:title="t"/></x:xmpmeta>'
    found, _ = read(small(), "WEBP", xmp=xmp, lossless=True)
    assert found.pixels.shape == (20, 12, 3) and found.metadata.xmp == b'<x:xmpmeta><r  dc:title="t"/></x:xmpmeta>'


def tags() -> TiffImagePlugin.ImageFileDirectory_v2:
    given = TiffImagePlugin.ImageFileDirectory_v2()
    given[270], given[271], given[305], given[315] = "a scan", "Maker", "Program", "Somebody"
    given[34665], given[34853] = {0x9003: "2024:01:01 00:00:00"}, {1: "N", 2: (52.0, 30.0, 0.0)}
    return given


def test_of_a_tiff():
    given = tags()
    given[700], given[33723] = b"<x/>", b"iptc"
    found, notes = read(small(), "TIFF", tiffinfo=given, dpi=(300, 300))
    exif = exifs.parsed(found.metadata.exif)
    assert [exif[tag] for tag in (270, 271, 305, 315, 282)] == ["a scan", "Maker", "Program", "Somebody", 300]
    assert exif.get_ifd(34665)[0x9003] == "2024:01:01 00:00:00" and exif.get_ifd(34853)[2] == (52, 30, 0)
    assert not {256, 257, 273, 279}.intersection(exif) and found.metadata.xmp == b"<x/>" and notes == ["its IPTC are left out"]


def test_of_a_turned_tiff():
    given = tags()
    given[274] = 6
    found, _ = read(small(), "TIFF", tiffinfo=given)
    assert found.pixels.shape == (20, 12, 3) and found.metadata.exif and exifs.orientation(found.metadata.exif) in (None, 1)


def test_a_plain_tiff_carries_nothing():
    assert read(small(), "TIFF")[0].metadata.info == read(small(), "TIFF", dpi=(72, 72))[0].metadata.info == {}


def raw_profile(content: bytes) -> str:
    return f"\nexif\n{len(content):8}\n{content.hex()}\n"


@pytest.mark.parametrize("name", ["exif", "APP1"])
def test_a_raw_profile_of_png(name):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "by ImageMagick", 6
    text = PngInfo()
    text.add_text(f"Raw profile type {name}", raw_profile(exif.tobytes()), zip=True)
    found, notes = read(small(), "PNG", pnginfo=text)
    assert found.pixels.shape == (20, 12, 3) and exifs.parsed(found.metadata.exif)[0x010E] == "by ImageMagick" and notes == []
    broken = PngInfo()
    broken.add_text(f"Raw profile type {name}", "\n1\n2\nno hexadecimal")
    assert read(small(), "PNG", pnginfo=broken)[0].metadata.exif == b""


def test_xmp_and_profiles_as_raw_profiles():
    profile = bytes(16) + b"RGB " + bytes(108)
    text = PngInfo()
    text.add_text("Raw profile type xmp", raw_profile(b"<x/>"))
    text.add_text("Raw profile type icc", raw_profile(profile))
    assert read(small(), "PNG", pnginfo=text)[0].metadata.info == {"xmp": b"<x/>", "icc_profile": profile}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_a_resolution_that_somebody_has_chosen(kind):
    carried = read(small(), kind, dpi=(300, 150))[0].metadata
    assert exifs.resolution(carried.exif) == pytest.approx((300, 150), abs=0.02)
    for usual in ((72, 72), (96, 96), (1, 1)):
        assert read(small(), kind, dpi=usual)[0].metadata.info == {}


def test_a_resolution_beside_exif_is_named():
    exif = Image.Exif()
    exif[0x010E] = "a photo"
    assert read(small(), "PNG", dpi=(300, 300), exif=exif)[1] == ["its resolution, which is not in its EXIF, is left out"]
    exif[0x011A], exif[0x011B] = 300.0, 300.0
    assert read(small(), "PNG", dpi=(300, 300), exif=exif)[1] == []


def test_what_no_file_holds_is_named():
    text = PngInfo()
    for key in ("Title", "Author", "a\x1b"):
        text.add_text(key, "value")
    assert read(small(), "PNG", pnginfo=text)[1] == ["its text (Title, Author, a\\x1b) is left out"]
    assert read(small(), "JPEG", comment="made by hand")[1] == ["its comment is left out"]


def test_exif_that_claims_to_be_larger_than_it_is():
    """Each tag's values are the same megabyte: Pillow would copy it for each."""
    entries = b"".join(struct.pack(">HHII", tag, 7, 1 << 20, 8) for tag in range(0x9000, 0x9400))
    assert len(exifs.parsed(b"MM\0*\0\0\0\x08\x04\0" + entries + bytes(1 << 20))) == 0

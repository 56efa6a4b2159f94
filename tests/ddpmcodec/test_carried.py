"""Colour profile, EXIF, XMP and resolution of picture files, wherever they have them; and what is said of the rest."""

import io
import struct
import warnings
import zlib

import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from ddpmcodec import exif as exifs
from ddpmcodec import headers, opening, picture
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
    assert not {256, 257, 273, 279}.intersection(exif) and found.metadata.xmp == b"<x/>"
    assert notes == ["its tags (IptcNaaInfo) are left out"]


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


# ---- what is lost is named


def notes_of(data: bytes) -> list[str]:
    notes: list[str] = []
    picture.read(data, notes.append)
    return notes


def jpeg_with(*segments: tuple[int, bytes], image: Image.Image | None = None) -> bytes:
    """A JPEG with these application segments."""
    buffer = io.BytesIO()
    (image or small()).save(buffer, "JPEG")
    data = buffer.getvalue()
    return data[:20] + b"".join(struct.pack(">BBH", 0xFF, 0xE0 + number, 2 + len(body)) + body for number, body in segments) + data[20:]


def test_segments_of_jpeg():
    known = [(1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), (2, b"MPF\0"), (14, b"Adobe\0\x64\0\0\0\0\1")]
    assert notes_of(jpeg_with(*known)) == []
    others = [(1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(50)), (11, b"JP\0\1"), (11, b"JP\0\1"), (15, b"a\x1b")]
    named = "APP1 http://ns.adobe.com/xmp/extension/, APP11 JP, APP15 a\\x1b"
    assert notes_of(jpeg_with(*others)) == [f"its segments ({named}) are left out"]


def test_damaged_profiles():
    """A part of one that is missing, twice the same part, and one that cannot be inflated."""
    damaged = ["its colour profile, which is damaged, is left out"]
    assert notes_of(jpeg_with((2, b"ICC_PROFILE\0\1\2" + bytes(200)))) == damaged
    assert notes_of(jpeg_with(*[(2, b"ICC_PROFILE\0\1\1" + bytes(200))] * 2)) == damaged
    chunk = b"iCCPx\0\0not deflated"
    buffer = io.BytesIO()
    small().save(buffer, "PNG")
    png = buffer.getvalue()
    whole = png[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    assert notes_of(whole) == damaged


def test_other_raw_profiles_and_damaged_ones():
    text = PngInfo()
    text.add_text("Raw profile type iptc", raw_profile(b"iptc"))
    text.add_text("Raw profile type exif", "\n1\n2\nno hexadecimal")
    assert read(small(), "PNG", pnginfo=text)[1] == ["its text (Raw profile type iptc, Raw profile type exif) is left out"]
    text = PngInfo()
    text.add_text("Raw profile type APP1", raw_profile(b"http://ns.adobe.com/xap/1.0/\0<x/>"))
    assert read(small(), "PNG", pnginfo=text)[0].metadata.info == {"xmp": b"<x/>"}


def test_tags_of_tiff():
    given = tags()
    given[254], given[269], given[318], given[65000] = 1, "a document", (0.3127, 0.329), "own"
    given.tagtype[65000] = 2
    preview = "the picture of which this is a preview is left out"
    assert read(small(), "TIFF", tiffinfo=given)[1] == [preview, "its tags (DocumentName, WhitePoint, 65000) are left out"]
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr"):
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg" if mode in ("L", "RGB", "YCbCr") else "packbits"):
            assert not any("tags" in text for text in read(small(mode), "TIFF", compression=compression)[1])


def test_pixels_that_are_not_square():
    shape = ["the shape of its pixels, which are not square, is left out"]
    assert notes_of(jpeg_with().replace(b"JFIF\0\1\1\0\0\1\0\1", b"JFIF\0\1\1\0\0\2\0\1")) == shape
    buffer = io.BytesIO()
    small().save(buffer, "PNG")
    png = buffer.getvalue()
    for across, said in ((2, shape), (1, [])):
        chunk = b"pHYs" + struct.pack(">IIB", across, 1, 0)
        assert notes_of(png[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]) == said


def test_other_pictures_of_an_icon_and_of_heic():
    assert "its other sizes are left out" in read(small().resize((64, 64)), "ICO", sizes=[(16, 16), (32, 32)])[1]
    assert "its other sizes are left out" not in read(small().resize((64, 64)), "ICO", sizes=[(32, 32)])[1]
    image, notes = small(), []
    image.info["aux"] = {"urn:com:apple:photo:2020:aux:hdrgainmap": [3]}
    picture.from_image(image, notes.append)
    assert notes == ["its auxiliary pictures, of depth or light, are left out"]


# ---- formats in boxes


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


@pytest.mark.parametrize("orientation", [1, 6])
def test_an_odd_tag_in_avif(orientation):
    """Its decoder gives up on it: the picture is opened without its EXIF."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", orientation
    buffer = io.BytesIO()
    small().save(buffer, "AVIF", exif=exif)
    data = buffer.getvalue()
    assert picture.read(data).pixels.shape[:2] == ((12, 20) if orientation == 1 else (20, 12))
    for odd in (data.replace(b"\x01\x0f\0\2", b"\x01\x0f\0\5"), data.replace(b"MM\0*\0\0\0\x08", b"MMMMMMMM")):
        notes: list[str] = []
        assert picture.read(odd, notes.append).pixels.shape == picture.read(data).pixels.shape
        assert odd != data and notes in ([], ["its EXIF, which cannot be read, is left out"])
    assert notes


def test_of_jpeg_2000():
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a photo", 6
    buffer = io.BytesIO()
    small().save(buffer, "JPEG2000")
    data = buffer.getvalue()
    at = data.index(b"jp2c") - 4
    boxes = box(b"uuid", b"JpgTiffExif->JP2" + exif.tobytes()[6:])
    boxes += box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + b"<x/>") + box(b"uuid", bytes(20))
    found = picture.read(data[:at] + boxes + data[at:])
    assert found.pixels.shape == (20, 12, 3) and exifs.parsed(found.metadata.exif)[0x010E] == "a photo" and found.metadata.xmp == b"<x/>"


def jxl(image: Image.Image, **options) -> bytes:
    pytest.importorskip("pillow_jxl")
    opening.register_plugins()
    buffer = io.BytesIO()
    image.save(buffer, "JXL", lossless=True, **options)
    return buffer.getvalue()


def test_jpeg_xl_is_turned_by_its_decoder_alone():
    """Its EXIF says how a picture was that it was made of; XMP comes in a box that the plugin passes over."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a photo", 6
    found = picture.read(jxl(small(), exif=exif.tobytes(), xmp=b"<x/>"))
    assert found.pixels.shape == (12, 20, 3) and found.metadata.xmp == b"<x/>"
    assert exifs.orientation(found.metadata.info["exif"]) == 1 and exifs.parsed(found.metadata.exif)[0x010E] == "a photo"


def test_metadata_of_jpeg_xl_that_are_compressed_are_named():
    notes: list[str] = []
    assert picture.read(jxl(small(), xmp=b"<x/>" * 50, compress_metadata=True), notes.append).metadata.xmp == b""
    assert notes == ["its metadata, which are compressed, are left out"]


def test_a_jpeg_within_jpeg_xl(tmp_path):
    """It is as it was, so its EXIF says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    small().save(tmp_path / "a.jpg", exif=exif)
    with warnings.catch_warnings(), Image.open(tmp_path / "a.jpg") as image:
        warnings.simplefilter("ignore")
        data = jxl(image)
    assert picture.read(data).pixels.shape == (20, 12, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_the_profile_that_libjxl_makes_of_srgb_is_none(mode):
    assert picture.read(jxl(small(mode))).metadata.info == {}


def test_frames_of_jpeg_xl_are_named():
    """The header of an animation: all but the first of its frames the plugin passes over."""
    size, extra, still, moving = [(1, 1), (0, 5), (1, 3)], [(0, 1), (1, 1), (0, 3), (0, 1), (0, 1)], [(0, 1)], [(1, 1), (0, 7)]
    for animation in (still, moving):
        value, at = 0, 0
        for field, count in [*size, *extra, *animation, (0, 3)]:  # the lowest bits first
            value, at = value | field << at, at + count
        header = headers.read(headers.JXL_SIGNATURE + value.to_bytes(8, "little"), "JXL")
        assert header == headers.Header(8, size=(8, 8), animated=animation is moving)

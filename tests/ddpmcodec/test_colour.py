"""PNG's gAMA, cHRM and cICP, and code points of AVIF, become colour profiles: the picture looks as it did. sRGB costs nothing."""

import io
import struct
import zlib

import pytest
from PIL import Image, ImageCms

from ddpmcodec import colour, picture
from ddpmcodec.errors import PictureError

P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: tuple[bytes, bytes], mode: str = "RGB") -> bytes:
    """A PNG of one colour, with these chunks."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).convert(mode).save(buffer, "PNG")
    data = buffer.getvalue()
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 1e5))


def chrm(values: tuple[int, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *values)


def shown(data: bytes, pixel: tuple[int, ...] | int = (200, 100, 50)) -> tuple[int, ...]:
    """The colour that a picture's profile makes of a pixel, in sRGB."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.read(data).metadata.icc_profile))
    image = Image.new("L" if isinstance(pixel, int) else "RGB", (1, 1), pixel)
    made = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB")
    assert made is not None
    found = made.getpixel((0, 0))
    assert isinstance(found, tuple)
    return found


def test_srgb_costs_nothing():
    for chunks in ([(b"sRGB", b"\0")], [gama(0.45455)], [gama(0.45455), chrm(SRGB)], [chrm(SRGB)], [(b"cICP", b"\1\x0d\0\1")],
                   [(b"sRGB", b"\0"), gama(1), chrm(P3)], [(b"cICP", b"\2\2\0\1")]):  # fmt: skip
        assert picture.read(png(*chunks)).metadata.icc_profile == b""


def test_linear_light():
    """A half of the light is 188 in sRGB."""
    assert shown(png(gama(1)), (128, 128, 128)) == pytest.approx((188, 188, 188), abs=1)
    assert shown(png(gama(1), mode="L"), 128) == pytest.approx((188, 188, 188), abs=1)
    assert shown(png((b"cICP", b"\1\x08\0\1")), (128, 128, 128)) == pytest.approx((188, 188, 188), abs=1)


@pytest.mark.parametrize("chunks", [[chrm(P3)], [gama(0.45455), chrm(P3)], [(b"cICP", b"\x0c\x0d\0\1")]])
def test_display_p3(chunks):
    """As CSS Color 4 converts color(display-p3 .7843 .3922 .1961)."""
    assert shown(png(*chunks)) == pytest.approx((215, 94, 31), abs=2)
    assert shown(png(*chunks), (77, 77, 77)) == pytest.approx((77, 77, 77), abs=1)


def test_code_points_count_more_than_a_profile():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_both = png((b"iCCP", b"x\0\0" + zlib.compress(profile)), (b"cICP", b"\x09\x08\0\1"))
    assert picture.read(with_both).metadata.icc_profile == colour.of_codes(9, 8, False)
    assert picture.read(png((b"iCCP", b"x\0\0" + zlib.compress(profile)), gama(1))).metadata.icc_profile == profile


@pytest.mark.parametrize("transfer, name", [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused(transfer, name):
    with pytest.raises(PictureError, match=f"high dynamic range \\({name}\\)"):
        picture.read(png((b"cICP", bytes((9, transfer, 0, 1)))))


@pytest.mark.parametrize("chunks", [[gama(0)], [chrm((0,) * 8)], [chrm((31270, 32900, *(30000, 60000) * 3))], [chrm((31270, 1) * 4)]])
def test_colours_that_cannot_be_are_left_out_and_said_so(chunks):
    notes: list[str] = []
    assert picture.read(png(*chunks), notes.append).metadata.icc_profile == b"" and "are left out" in notes[0]


def test_code_points_of_avif():
    """Which Pillow passes over: BT.2020's primaries in place of BT.709's."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 100, 50)).save(buffer, "AVIF")
    data = bytearray(buffer.getvalue())
    data[data.index(b"nclx") + 5] = 9
    assert picture.read(bytes(data)).metadata.icc_profile == colour.of_codes(9, 13, False)
    assert picture.read(buffer.getvalue()).metadata.icc_profile == b""

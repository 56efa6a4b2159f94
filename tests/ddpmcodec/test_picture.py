"""Pictures in and out."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ddpmcodec import picture
from ddpmcodec.errors import LimitError, PictureError


def file_of(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_png_keeps_its_pixels_without_a_note(drawing):
    notes = []
    assert np.array_equal(picture.read(file_of(Image.fromarray(drawing)), notes.append), drawing)
    assert notes == []


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_become_rgb_with_a_note(drawing, mode):
    image = Image.fromarray(drawing).convert(mode)
    notes = []
    pixels = picture.from_image(image, notes.append)
    assert np.array_equal(pixels, np.asarray(image.convert("RGB"))) and pixels.shape == (45, 61, 3)
    assert len(notes) == 1 and mode in notes[0]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats_that_pillow_reads(drawing, kind):
    data = file_of(Image.fromarray(drawing), kind)
    assert np.array_equal(picture.read(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_in_and_out(drawing, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    notes = []
    pixels = picture.read(file_of(Image.fromarray(drawing), exif=exif), notes.append)
    assert np.array_equal(pixels, TURNED[orientation](drawing))
    assert "EXIF" in notes[0]
    image = picture.to_image(drawing, orientation)
    assert np.array_equal(image, TURNED[orientation](drawing))
    assert image.getexif().get(0x0112, 1) == 1


def test_what_is_not_kept_is_said(drawing):
    notes = []
    picture.read(file_of(Image.fromarray(drawing), icc_profile=b"profile"), notes.append)
    assert len(notes) == 1 and "colour profile" in notes[0]


def frames():
    return file_of(Image.new("RGB", (8, 8)), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")], duration=100)


def deep_png():
    """An RGB picture of 16 bits a channel, which Pillow would read as 8."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress((b"\0" + bytes(6 * 4)) * 4)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def transparent_palette():
    return file_of(Image.new("P", (8, 8)), transparency=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"just text\n", "not a picture"),
        (bytes(1000), "not a picture"),
        (file_of(Image.new("RGBA", (8, 8))), "transparency"),
        (file_of(Image.new("LA", (8, 8))), "transparency"),
        (transparent_palette(), "transparency"),
        (file_of(Image.new("I;16", (8, 8))), "8 bits"),
        (file_of(Image.new("F", (8, 8)), "TIFF"), "8 bits"),
        (deep_png(), "8 bits"),
        (b"P6 2 2 65535\n" + bytes(24), "8 bits"),
        (frames(), "2 pages"),
        (file_of(Image.effect_noise((64, 64), 50).convert("RGB"))[:2000], "damaged"),
        (b"\x89PNG\r\n\x1a\n", "."),
    ],
    ids=[
        "empty",
        "text",
        "zeros",
        "RGBA",
        "LA",
        "transparent palette",
        "16 bits",
        "float",
        "RGB of 16 bits",
        "PPM",
        "frames",
        "cut",
        "signature alone",
    ],
)
def test_pictures_that_cannot_be_coded(data, message):
    with pytest.raises(PictureError, match=message):
        picture.read(data)


def test_pixel_limit(drawing):
    data = file_of(Image.fromarray(drawing))
    picture.read(data, max_pixels=61 * 45)
    with pytest.raises(LimitError, match="61 x 45"):
        picture.read(data, max_pixels=61 * 45 - 1)
    assert picture.from_array(drawing, 61 * 45) is drawing
    with pytest.raises(LimitError):
        picture.from_array(drawing, 61 * 45 - 1)


def test_a_picture_of_too_many_pixels_is_not_decompressed():
    """A small file of a huge picture is refused by its size alone, also beyond Pillow's own limit."""
    for side in (5000, 20000):
        with pytest.raises(LimitError, match="pixels"):
            picture.read(file_of(Image.new("1", (side, side))))


def test_tensor_and_back_is_exact():
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    x = picture.to_tensor(values)
    assert x.shape == (1, 3, 16, 16) and x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert np.array_equal(picture.to_pixels(x), values)
    assert picture.to_tensor(values[:3, :5])[0, 1, 2, 4] == pytest.approx(values[2, 4, 1] / 127.5 - 1)


@given(st.floats(-3, 3))
def test_pixels_are_the_nearest_values(x):
    value = int(picture.to_pixels(torch.full((1, 3, 1, 1), x, dtype=torch.float64))[0, 0, 0])
    assert abs(value - min(max((x + 1) * 127.5, 0), 255)) <= 0.5 + 1e-9


def test_psnr():
    a = np.full((4, 4, 3), 100, np.uint8)
    b = a.copy()
    assert picture.psnr(a, b) == float("inf")
    b[0, 0, 0] = 148
    assert picture.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / (48**2 / 48)))
    assert picture.psnr(np.zeros_like(a), np.full_like(a, 255)) == pytest.approx(0)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 3), np.uint16),
        np.zeros((5, 5, 3), bool),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((1, 5, 5, 3), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        "picture.png",
        None,
        [[0]],
    ],
    ids=lambda source: f"{source.dtype} {source.shape}" if isinstance(source, np.ndarray) else type(source).__name__,
)
def test_what_is_no_picture(source):
    with pytest.raises(PictureError):
        picture.load(source)


def test_what_is_a_picture(drawing):
    assert picture.load(drawing) is drawing
    assert np.array_equal(picture.load(Image.fromarray(drawing)), drawing)

"""Pictures in and out."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ddpmcodec import arrays, picture, quality
from ddpmcodec.errors import LimitError, PictureError


def file_of(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_png_keeps_its_pixels_without_a_note(drawing):
    notes = []
    assert np.array_equal(picture.read(file_of(Image.fromarray(drawing)), notes.append).pixels, drawing)
    assert notes == []


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_become_rgb_with_a_note(drawing, mode):
    image = Image.fromarray(drawing).convert(mode)
    notes = []
    pixels = picture.from_image(image, notes.append).pixels
    assert np.array_equal(pixels, np.asarray(image.convert("RGB"))) and pixels.shape == (45, 61, 3)
    assert len(notes) == 1 and mode in notes[0]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats_that_pillow_reads(drawing, kind):
    data = file_of(Image.fromarray(drawing), kind)
    assert np.array_equal(picture.read(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


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
    exif[0x010E] = "a drawing"
    read = picture.read(file_of(Image.fromarray(drawing), exif=exif))
    assert np.array_equal(read.pixels, TURNED[orientation](drawing))
    kept = Image.Exif()
    kept.load(read.metadata.exif)
    assert kept[0x010E] == "a drawing" and kept.get(0x0112, 1) == 1
    image = picture.to_image(drawing, orientation)
    assert np.array_equal(image, TURNED[orientation](drawing))
    assert image.getexif().get(0x0112, 1) == 1


def profile(space):
    return bytes(16) + space + bytes(108)


def test_a_profile_of_another_colour_space_is_left_out_and_said_so(drawing):
    notes = []
    kept = picture.read(file_of(Image.fromarray(drawing), icc_profile=profile(b"RGB ")), notes.append)
    assert kept.metadata.icc_profile == profile(b"RGB ") and notes == []
    printed = picture.read(file_of(Image.fromarray(drawing).convert("CMYK"), "TIFF", icc_profile=profile(b"CMYK")), notes.append)
    assert printed.metadata.icc_profile == b"" and "colour profile, of CMYK" in notes[0]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_gray_is_gray(drawing, mode):
    image = Image.fromarray(drawing).convert(mode)
    read = picture.read(file_of(image))
    assert read.gray and read.alpha is None and np.array_equal(read.pixels[..., 1], np.asarray(image.convert("L")))


def transparent(mode, drawing):
    """A picture of a mode whose left half is transparent."""
    image = Image.fromarray(drawing)
    alpha = np.full(drawing.shape[:2], 255, np.uint8)
    alpha[:, :30] = 0
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(alpha))
        return file_of(image), alpha
    drawing = drawing // 2 * 2  # no 255
    drawing[:, :30], drawing[:, 30:] = 255, np.minimum(drawing[:, 30:], 250)
    if mode == "RGB":
        return file_of(Image.fromarray(drawing), transparency=(255, 255, 255)), alpha
    image = Image.fromarray(drawing[..., 0]) if mode == "L" else Image.fromarray(drawing[..., 0]).convert("P")
    return file_of(image, transparency=255), alpha


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_alpha_of_every_kind(drawing, mode):
    data, alpha = transparent(mode, drawing.copy())
    read = picture.read(data)
    assert np.array_equal(read.alpha, alpha) and read.gray == (mode in ("L", "LA"))


def test_alpha_that_the_colours_are_multiplied_with(drawing):
    image = Image.fromarray(np.dstack([drawing, np.full(drawing.shape[:2], 51, np.uint8)])).convert("RGBa")
    read = picture.from_image(image)
    assert (read.alpha == 51).all() and np.abs(read.pixels.astype(int) - drawing).max() < 6
    gray = picture.from_image(Image.fromarray(np.dstack([drawing[..., 0], np.full(drawing.shape[:2], 51, np.uint8)])).convert("La"))
    assert gray.gray and (gray.alpha == 51).all() and np.abs(gray.pixels[..., 0].astype(int) - drawing[..., 0]).max() < 6


def test_one_page_of_several():
    assert picture.read(frames(), page=2).pixels[3, 3].tolist() == [255, 0, 0]
    with pytest.raises(PictureError, match="there is no page 3: the file has 2"):
        picture.read(frames(), page=3)


def test_an_image_in_python_is_its_current_frame():
    with Image.open(io.BytesIO(frames())) as image:
        said = []
        image.seek(1)
        assert picture.load(image, note=said.append).pixels[3, 3].tolist() == [255, 0, 0]
        assert said[0] == "only number 2 of 2 pictures is coded"
        assert picture.load(image, page=1).pixels[3, 3].tolist() == [0, 0, 0] and image.tell() == 1
        for page, error in ((0, ValueError), (3, PictureError)):
            with pytest.raises(error, match="page"):
                picture.load(image, page=page)
    assert picture.load(Image.new("L", (8, 8)), page=1).gray
    with pytest.raises(PictureError, match="no page 2"):
        picture.load(np.zeros((8, 8), np.uint8), page=2)


def frames():
    return file_of(Image.new("RGB", (8, 8)), "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")], duration=100)


def deep_png():
    """An RGB picture of 16 bits a channel, which Pillow would read as 8."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress((b"\0" + bytes(6 * 4)) * 4)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"just text\n", "not a picture"),
        (bytes(1000), "not a picture"),
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
    assert np.array_equal(picture.from_array(drawing, 61 * 45).pixels, drawing)
    with pytest.raises(LimitError):
        picture.from_array(drawing, 61 * 45 - 1)


def test_a_picture_of_too_many_pixels_is_not_decompressed():
    """A small file of a huge picture is refused by its size alone, also beyond Pillow's own limit."""
    for side in (7100, 20000):
        with pytest.raises(LimitError, match="pixels"):
            picture.read(file_of(Image.new("1", (side, side))))


def test_tensor_and_back_is_exact():
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    x = arrays.from_pixels(values)
    assert x.shape == (1, 3, 16, 16) and x.dtype == np.float32 and x.min() == -1 and x.max() == 1
    assert np.array_equal(arrays.to_pixels(x), values)
    assert arrays.from_pixels(values[:3, :5])[0, 1, 2, 4] == pytest.approx(values[2, 4, 1] / 127.5 - 1)


@given(st.floats(-3, 3))
def test_pixels_are_the_nearest_values(x):
    value = int(arrays.to_pixels(np.full((1, 3, 1, 1), x))[0, 0, 0])
    assert abs(value - min(max((x + 1) * 127.5, 0), 255)) <= 0.5 + 1e-9


def test_psnr():
    a = np.full((4, 4, 3), 100, np.uint8)
    b = a.copy()
    assert quality.psnr(a, b) == float("inf")
    b[0, 0, 0] = 148
    assert quality.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / (48**2 / 48)))
    assert quality.psnr(np.zeros_like(a), np.full_like(a, 255)) == pytest.approx(0)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 3), np.uint16),
        np.zeros((5, 5, 3), bool),
        np.zeros(5, np.uint8),
        np.zeros((5, 5, 2), np.uint8),
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
    assert picture.load(drawing).pixels.base is drawing
    assert np.array_equal(picture.load(Image.fromarray(drawing)).pixels, drawing)


def test_a_byte_that_is_no_channel(drawing):
    notes: list[str] = []
    read = picture.from_image(Image.fromarray(drawing).convert("RGBX"), notes.append)
    assert np.array_equal(read.pixels, drawing) and notes == ["converted from mode RGBX to RGB"]


def psd(layers: int) -> bytes:
    """A Photoshop file of 4 x 3 pixels, all 200, with layers, all 0."""
    resources = b"8BIM" + struct.pack(">HHI", 1000, 0, 0)
    record = struct.pack(">4iH", 0, 0, 3, 4, 1) + struct.pack(">hI", 0, 14) + b"8BIMnorm\xff\0\0\0" + struct.pack(">I", 12) + bytes(12)
    content = struct.pack(">h", layers) + layers * record + layers * bytes(14)
    parts = struct.pack(">I", len(content)) + content + bytes(4)
    head = b"8BPS" + struct.pack(">H6xHIIHHI", 1, 1, 3, 4, 8, 1, 0) + struct.pack(">I", len(resources)) + resources
    return head + struct.pack(">I", len(parts)) + parts + bytes(2) + bytes([200]) * 12


@pytest.mark.parametrize("page", [None, 1])
def test_layers_are_no_pages(page):
    notes: list[str] = []
    assert (picture.read(psd(2), notes.append, page=page).pixels == 200).all() and notes == ["its 2 layers are left out"]
    assert (picture.read(psd(1), page=page).pixels == 200).all()
    with pytest.raises(PictureError, match="there is no page 2"):
        picture.read(psd(2), page=2)

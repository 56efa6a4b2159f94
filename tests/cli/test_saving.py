"""Decoded pictures in other formats: how much they lose, what they carry, and what is said of it."""

import shutil
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image, ImageCms

from ddpmcodec import quality
from ddpmcodec.cli import saving
from ddpmcodec.cli.saving import Style
from ddpmcodec.errors import OutputError
from ddpmcodec.format import alpha, container

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def image(photo) -> Image.Image:
    return Image.fromarray(photo)


def written(image, path, style=None, exact=False):
    """What is said of the pixels, what else, and the picture that comes back."""
    said: list[str] = []
    loss = saving.save(image, path, style or Style(), said.append, exact)
    with Image.open(path) as read:
        read.load()
        return loss, said, read


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".bmp", ".ppm", ".jp2", ".tga"])
def test_formats_that_lose_nothing(image, suffix):
    loss, said, read = written(image, f"out{suffix}")
    assert (loss, said) == ("", []) and np.array_equal(read, image)


@pytest.mark.parametrize("name, at_least", [("out.jpg", 42), ("out.webp", 38), ("out.avif", 42), ("out.gif", 25)])
def test_formats_that_lose_something_say_so(image, name, at_least):
    loss, _, read = written(image, name)
    psnr = quality.psnr(np.asarray(read.convert("RGB")), np.asarray(image))
    assert f"itself loses some of it ({psnr:.1f} dB)" in loss and psnr > at_least


def test_a_lossless_file_stays_so_where_it_can(image):
    loss, _, read = written(image, "out.webp", exact=True)
    assert loss == "" and np.array_equal(read.convert("RGB"), image)
    loss, _, read = written(image, "out.jpg", exact=True)
    assert "JPEG itself loses" in loss and read.layer[0][1:3] == (1, 1)
    assert written(image.convert("L"), "gray.avif", exact=True)[0] == ""


def test_the_quality_that_is_asked_for(image):
    sizes = []
    for asked in (50, None, 100):
        written(image, "out.jpg", Style(asked))
        sizes.append(Path("out.jpg").stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]
    assert written(image, "out.webp", Style(100))[0] == "" and written(image, "out.webp", Style(50), exact=True)[0]
    with pytest.raises(click.UsageError, match="PNG has none"):
        Style(50).check("out.png", "RGB")


@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.jpg", "out.webp", "out.avif"])
def test_metadata_are_there(image, name):
    exif = Image.Exif()
    exif[0x010E], exif[0x011A], exif[0x011B], exif[0x0128] = "a photo", 300.0, 300.0, 2
    exif[0x8769] = {0x9003: "2024:01:01 00:00:00"}
    xmp = "<x>é</x>".encode()
    image.info.update(icc_profile=PROFILE, exif=exif.tobytes(), xmp=xmp, comment="of somewhere else")
    _, said, read = written(image, name)
    assert said == [] and read.info["icc_profile"] == PROFILE and read.info["xmp"] == xmp
    assert read.getexif()[0x010E] == "a photo" and read.getexif().get_ifd(0x8769)[0x9003] == "2024:01:01 00:00:00"
    assert name in ("out.webp", "out.avif") or [round(x) for x in read.info["dpi"]] == [300, 300]


@pytest.mark.parametrize(
    "name, left_out", [("out.bmp", "icc_profile, exif, xmp"), ("out.gif", "icc_profile, exif, xmp"), ("out.tga", "exif")]
)
def test_metadata_that_are_not_there_are_named(image, name, left_out):
    image.info.update(icc_profile=PROFILE, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", xmp=b"<x/>")
    said: list[str] = []
    saving.save(image, name, Style(), said.append)
    assert len(said) == 1 and said[0].endswith("icc_profile, exif, xmp")


def test_xmp_that_png_cannot_hold_is_named(image):
    image.info["xmp"] = b"\xff\xfe<\0x\0"
    assert written(image, "out.png")[1] == ["out.png: left out, as it cannot be written there: xmp"]


def test_an_odd_tag_of_exif_costs_a_tiff_no_other(image):
    """Make is no text but two rationals of denominator 0."""
    entries = b"\x01\x0f\0\5\0\0\0\2\0\0\0\x26" + b"\x01\x31\0\2\0\0\0\4abc\0"
    image.info["exif"] = b"MM\0*\0\0\0\x08\0\2" + entries + b"\0\0\0\0" + bytes(16)
    assert written(image, "out.tif")[2].getexif()[0x0131] == "abc"


@pytest.mark.parametrize("name", ["out.jpg", "out.ppm", "out.bmp", "out.gif", "out.eps"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_that_would_be_lost_is_refused_before_the_work(name, mode):
    with pytest.raises(OutputError, match="does not keep the picture's alpha: give --background COLOR"):
        Style().check(name, mode)
    Style(background=(1, 2, 3)).check(name, mode)


@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.tif", "out.tga", "out.jp2", "out.qoi", "out.sgi"])
def test_alpha_that_is_kept(image, name):
    for mode in ("RGBA", "LA"):
        transparent = image.convert(mode)
        transparent.putalpha(Image.fromarray(np.asarray(image)[..., 0]))
        Style().check(name, mode)
        loss, _, read = written(transparent, name, exact=True)
        assert loss == "" and np.array_equal(read.convert(mode), transparent)


def test_a_background():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 51))
    loss, _, read = written(image, "out.ppm", Style(background=(0, 0, 255)))
    assert loss == "its alpha is laid on the background" and read.getpixel((3, 3)) == (51, 0, 204)
    loss, _, read = written(Image.new("LA", (8, 8), (100, 0)), "out.pgm", Style(background=(7, 7, 7)))
    assert read.mode == "L" and read.getpixel((0, 0)) == 7


@pytest.mark.parametrize("name", ["out.jxl", "out.heic"])
def test_formats_of_plugins(image, name):
    pytest.importorskip({"out.jxl": "pillow_jxl", "out.heic": "pillow_heif"}[name])
    for mode in ("RGB", "RGBA", "L"):
        assert written(image.convert(mode), name, exact=True)[0] == ""
    assert "itself loses" in written(image, name)[0]


def test_on_the_command_line(run, fails, encoding, drawing_encoding):
    """In a file of 61 x 45 pixels, to which alpha is added."""
    parsed = container.parse(drawing_encoding.data)
    steep = np.tile(np.arange(61, dtype=np.uint8), (45, 1))
    Path("alpha.ddpm").write_bytes(container.serialize(replace(parsed, alpha=alpha.pack(steep))))
    assert "--background" in fails(12, "decode", "alpha.ddpm", "-o", "out.jpg")
    fails(2, "decode", "alpha.ddpm", "-o", "out.jpg", "--background", "nocolour")
    fails(2, "decode", "in.ddpm", "-o", "out.png", "--output-quality", 50)
    fails(2, "decode", "in.ddpm", "in.ddpm", "-o", "out/", "--output-quality", 50)
    fails(2, "decode", "in.ddpm", "--every", "out", "--output-quality", 50)
    said = run("decode", "alpha.ddpm", "-o", "out.jpg", "--background", "#102030", "--output-quality", 80).stderr
    assert "; its alpha is laid on the background; JPEG itself loses some of it (" in said
    shutil.copy("in.ddpm", "other.ddpm")
    run("decode", "alpha.ddpm", "other.ddpm", "-o", "flat/", "--background", "white", "-j", 1)
    with Image.open("flat/alpha.png") as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("name", ["out.jpg", "out.png", "out.webp", "out.avif", "out.tif", "out.jxl", "out.heic"])
def test_exif_with_and_without_its_prefix(image, name):
    """WebP and PNG give it without, JPEG needs it."""
    if name in ("out.jxl", "out.heic"):
        pytest.importorskip({"out.jxl": "pillow_jxl", "out.heic": "pillow_heif"}[name])
    exif = Image.Exif()
    exif[0x010E] = "a photo"
    for content in (exif.tobytes(), exif.tobytes()[6:]):
        image.info["exif"] = content
        _, said, read = written(image, name)
        assert said == [] and read.getexif()[0x010E] == "a photo"


def test_exif_that_cannot_be_read_is_not_in_a_tiff(image):
    for exif in (b"Exif\0\0junk", b"Exif\0\0MM\0*\0\0\0\x08\0"):
        image.info["exif"] = exif
        assert written(image, "out.tif")[1] == ["out.tif: left out, as it cannot be written there: exif"]
    only_upright = Image.Exif()
    only_upright[0x0112] = 1
    image.info["exif"] = only_upright.tobytes()
    assert written(image, "out.tif")[1] == []

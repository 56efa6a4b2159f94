import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import api, reconstruction
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.format import container
from ddpmcodec.format.metadata import Metadata
from ddpmcodec.picture import Picture
from ddpmcodec.quality import psnr
from ddpmcodec.target import Quality

X0HAT = ("--reconstruct", "mean", "--orientations", 1)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_picture_is_the_encoders(run, drawing_encoding):
    result = run("decode", "in.ddpm", "-o", "out.png", *X0HAT)
    assert np.array_equal(pixels("out.png"), drawing_encoding.pixels)
    steps = len(container.parse(drawing_encoding.data).steps)
    assert (result.stdout, result.stderr) == ("", f"out.png: decoded from {steps} of {steps} steps\n")
    assert sorted(p.name for p in Path().iterdir()) == ["in.ddpm", "in.png", "out.png"]


def test_small_pictures_wait_for_no_large_library(folder):
    program = "import sys; from ddpmcodec import cli; cli.main(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    command = [sys.executable, "-c", program, "decode", "in.ddpm", "-o", "out.png", "--backend", "ncnn"]
    imported = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "PIL.PngImagePlugin" in imported
    assert not {"torch", "numba", "scipy", "tqdm", "multiprocessing", "importlib.metadata", "PIL.TiffImagePlugin"} & imported


@pytest.mark.parametrize(("name", "kind"), [("out.jpg", "JPEG"), ("out.webp", "WEBP"), ("out.BMP", "BMP"), ("out.tiff", "TIFF")])
def test_the_extension_names_the_format(run, drawing_encoding, name, kind):
    run("decode", "in.ddpm", "-o", name)
    with Image.open(name) as image:
        assert image.format == kind and image.size == (61, 45)
    assert np.abs(pixels(name).astype(int) - drawing_encoding.pixels).mean() < 10


@pytest.mark.parametrize("steps", [0, 2, 999])
def test_steps(run, drawing_encoding, steps):
    run("decode", "in.ddpm", "-o", "out.png", "--steps", steps)
    assert np.array_equal(pixels("out.png"), ddpmcodec.decode(drawing_encoding.data, steps))


def test_bytes(run, drawing_encoding):
    data = drawing_encoding.data
    end = container.parse(data).ends[1]
    result = run("decode", "in.ddpm", "-o", "out.png", "--bytes", end)
    assert np.array_equal(pixels("out.png"), ddpmcodec.decode(data, 2))
    assert result.stderr.count("\n") == 1 and "from 2 of" in result.stderr
    assert run("decode", "in.ddpm", "-o", "out.png", "--bytes", end, "--quiet").stderr == ""
    run("decode", "in.ddpm", "-o", "out.png", "--bytes", 10**9, *X0HAT)
    assert np.array_equal(pixels("out.png"), drawing_encoding.pixels)


def test_every(run, drawing_encoding):
    run("decode", "in.ddpm", "--every", "new/frames")
    pictures = dict(ddpmcodec.decode_progressive(drawing_encoding.data))
    assert sorted(p.name for p in Path("new/frames").iterdir()) == [f"step-{i:03}.png" for i in pictures]
    for i, picture in pictures.items():
        assert np.array_equal(pixels(f"new/frames/step-{i:03}.png"), picture)


def test_every_with_output_and_steps(run, drawing_encoding):
    run("decode", "in.ddpm", "--every", "frames", "-o", "out.png", "--steps", 1, *X0HAT)
    assert len(list(Path("frames").iterdir())) == 2
    assert np.array_equal(pixels("out.png"), pixels("frames/step-001.png"))


def test_reconstruct_a_sample(run, drawing_encoding):
    run("decode", "in.ddpm", "-o", "out.png", "--reconstruct", "sample", "--seed", 5)
    assert np.array_equal(pixels("out.png"), ddpmcodec.decode(drawing_encoding.data, reconstruct="sample", seed=5))
    run("decode", "in.ddpm", "-o", "mean.png", *X0HAT)
    assert np.array_equal(pixels("mean.png"), drawing_encoding.pixels)


def test_reconstruct_by_the_flow_and_over_orientations(run, drawing_encoding):
    run("decode", "in.ddpm", "-o", "out.png", "--reconstruct", "flow", "--orientations", 2, "--steps", 2)
    expected = np.asarray(ddpmcodec.decode(drawing_encoding.data, 2, reconstruct="flow", orientations=2))
    assert np.array_equal(pixels("out.png"), expected)
    run("decode", "in.ddpm", "-o", "again.png", "--every", "frames", "--reconstruct", "flow", "--orientations", 2, "--steps", 2)
    assert np.array_equal(pixels("again.png"), expected)
    assert np.array_equal(pixels("frames/step-002.png"), ddpmcodec.decode(drawing_encoding.data, 2, reconstruct="mean", orientations=1))
    Path("too.ddpm").write_bytes(drawing_encoding.data)
    run("decode", "in.ddpm", "too.ddpm", "-o", "pictures/", "--orientations", 8)
    assert np.array_equal(pixels("pictures/in.png"), ddpmcodec.decode(drawing_encoding.data, orientations=8))


def test_a_model_by_path(run, monkeypatch, model_path, drawing_encoding):
    monkeypatch.delenv("DDPMCODEC_MODELS")
    run("decode", "in.ddpm", "-o", "out.png", "--model", model_path, *X0HAT)
    assert np.array_equal(pixels("out.png"), drawing_encoding.pixels)


def test_pipes(run, drawing_encoding):
    out = run("decode", "-", "-o", "-", *X0HAT, input=drawing_encoding.data).stdout_bytes
    Path("out.png").write_bytes(out)
    assert out.startswith(b"\x89PNG") and np.array_equal(pixels("out.png"), drawing_encoding.pixels)


@pytest.mark.parametrize(
    "arguments",
    [
        ("in.ddpm",),
        ("-o", "out.png"),
        ("in.ddpm", "-o", "out.png", "--steps", "-1"),
        ("in.ddpm", "-o", "out.png", "--bytes", "-1"),
        ("in.ddpm", "-o", "out.png", "--reconstruct", "best"),
        ("in.ddpm", "-o", "out.png", "--orientations", "3"),
        ("in.ddpm", "-o", "out.png", "--seed", "x"),
    ],
    ids=" ".join,
)
def test_usage_errors(fails, arguments):
    assert "Usage: " in fails(2, "decode", *arguments)


def with_exif(tags: dict[int, int | str], size: int = 0) -> None:
    """in.ddpm, with EXIF of these tags."""
    exif = Image.Exif()
    exif.update(tags)
    parsed = container.parse(Path("in.ddpm").read_bytes())
    Path("in.ddpm").write_bytes(container.serialize(replace(parsed, metadata=Metadata(exif=exif.tobytes() + bytes(size), xmp=b"<x/>"))))


def test_exif_does_not_say_how_a_tiff_is_laid_out(run, drawing_encoding):
    """As phones have the size in it; and rows to a strip that would make a table of gigabytes."""
    with_exif({256: 9, 257: 2**31 - 1, 278: 1, 258: 16, 259: 5, 274: 6, 277: 7, 271: "Maker"})
    assert run("decode", "in.ddpm", "-o", "out.tiff", *X0HAT).stderr.count("\n") == 1
    assert np.array_equal(pixels("out.tiff"), drawing_encoding.pixels)
    with Image.open("out.tiff") as image:
        assert image.getexif()[271] == "Maker"


def test_metadata_that_a_format_cannot_hold(run):
    """More than JPEG has room for, or none that Pillow can write: the picture is there, and it is said what is not."""
    with_exif({271: "Maker"}, 70_000)
    said = run("decode", "in.ddpm", "-o", "out.jpg").stderr.splitlines()
    assert said[0] == "out.jpg: left out, as it cannot be written there: exif" and len(said) == 2
    with Image.open("out.jpg") as image:
        assert image.size == (61, 45) and "exif" not in image.info and image.info["xmp"] == b"<x/>"


def test_no_warnings_of_metadata(run, recwarn):
    parsed = container.parse(Path("in.ddpm").read_bytes())
    exif = b"MM\0*\0\0\0\x08\0\1\x01\x0e\0\2\0\x0f\x42\x40\0\0\0\6"
    Path("in.ddpm").write_bytes(container.serialize(replace(parsed, metadata=Metadata(exif=exif))))
    for name in ("out.tiff", "out.avif", "out.png"):
        run("decode", "in.ddpm", "-o", name)
    assert not list(recwarn)


def test_a_picture_that_fits(run, model_path, data_dir):
    """It is that of the whole file but for details, and large ones are not enlarged."""
    photo = Image.open(data_dir / "raccoon-1021x683.jpg").convert("RGB").crop((300, 100, 812, 484))
    photo.save("photo.png")
    run("encode", "photo.png", "-o", "photo.ddpm", "--model", model_path, "-q", 60, "--effort", 1, "--evaluations", 12)
    run("decode", "photo.ddpm", "-o", "small.png", "--fit", 64)
    run("decode", "photo.ddpm", "-o", "whole.png", "--precision", "fp32")
    run("decode", "photo.ddpm", "-o", "as-is.png", "--fit", 512)
    small, whole = Image.open("small.png"), Image.open("whole.png")
    assert small.size == (64, 48)
    whole.thumbnail((64, 64), Image.Resampling.LANCZOS)
    assert psnr(np.asarray(small), np.asarray(whole)) > 24
    assert Path("as-is.png").read_bytes() == Path("whole.png").read_bytes()


def test_fewer_steps_show_in_a_smaller_picture(photo, model):
    parsed = api.open_file(encode_pixels(Picture(photo), model, Quality(60), EncodeOptions(evaluations=12, effort=1)).data)
    totals = []
    for side in (20, 50, 100):
        fitted = reconstruction.fitting(parsed, api.denoiser_of(parsed, model), side, lambda done, total: totals.append(total))
        assert fitted.shape == photo.shape
    assert sorted(set(totals)) == list(dict.fromkeys(totals)) and len(set(totals)) == 3


@pytest.mark.parametrize("options", [["--every", "x"], ["--reconstruct", "sample"], ["--orientations", 2]])
def test_what_does_not_go_with_fit(fails, options):
    fails(2, "decode", "in.ddpm", "-o", "x.png", "--fit", 32, *options)

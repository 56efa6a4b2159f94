from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import container


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_picture_is_the_encoders(run, drawing_encoding):
    result = run("decode", "in.ddpm", "-o", "out.png")
    assert np.array_equal(pixels("out.png"), drawing_encoding.pixels)
    steps = len(container.parse(drawing_encoding.data).steps)
    assert (result.stdout, result.stderr) == ("", f"out.png: decoded from {steps} of {steps} steps\n")
    assert sorted(p.name for p in Path().iterdir()) == ["in.ddpm", "in.png", "out.png"]


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
    run("decode", "in.ddpm", "-o", "out.png", "--bytes", 10**9)
    assert np.array_equal(pixels("out.png"), drawing_encoding.pixels)


def test_every(run, drawing_encoding):
    run("decode", "in.ddpm", "--every", "new/frames")
    pictures = dict(ddpmcodec.decode_progressive(drawing_encoding.data))
    assert sorted(p.name for p in Path("new/frames").iterdir()) == [f"step-{i:03}.png" for i in pictures]
    for i, picture in pictures.items():
        assert np.array_equal(pixels(f"new/frames/step-{i:03}.png"), picture)


def test_every_with_output_and_steps(run, drawing_encoding):
    run("decode", "in.ddpm", "--every", "frames", "-o", "out.png", "--steps", 1)
    assert len(list(Path("frames").iterdir())) == 2
    assert np.array_equal(pixels("out.png"), pixels("frames/step-001.png"))


def test_reconstruct_a_sample(run, drawing_encoding):
    run("decode", "in.ddpm", "-o", "out.png", "--reconstruct", "sample", "--seed", 5)
    assert np.array_equal(pixels("out.png"), ddpmcodec.decode(drawing_encoding.data, reconstruct="sample", seed=5))
    run("decode", "in.ddpm", "-o", "mean.png", "--reconstruct", "mean")
    assert np.array_equal(pixels("mean.png"), drawing_encoding.pixels)


def test_a_model_by_path(run, monkeypatch, model_path, drawing_encoding):
    monkeypatch.delenv("DDPMCODEC_MODELS")
    run("decode", "in.ddpm", "-o", "out.png", "--model", model_path)
    assert np.array_equal(pixels("out.png"), drawing_encoding.pixels)


def test_pipes(run, drawing_encoding):
    out = run("decode", "-", "-o", "-", input=drawing_encoding.data).stdout_bytes
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
        ("in.ddpm", "-o", "out.png", "--seed", "x"),
    ],
    ids=" ".join,
)
def test_usage_errors(fails, arguments):
    assert "Usage: " in fails(2, "decode", *arguments)

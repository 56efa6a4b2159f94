"""Codecs as an evaluation sees them: Pillow's, ours, and command lines."""

import io
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import quality
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval.anchors import ANCHORS, Anchor, command_anchor
from ddpmcodec.eval.codecs import Ddpm
from ddpmcodec.format import container


@pytest.mark.parametrize("name", ANCHORS)
def test_real_files_that_come_back(name: str, photo: np.ndarray):
    anchor = ANCHORS[name]
    if anchor.plugin is not None:
        pytest.importorskip(anchor.plugin)
    anchor.check()
    low, high = (anchor.encode(photo, quality) for quality in (anchor.qualities[0], anchor.qualities[-1]))
    assert Image.open(io.BytesIO(high)).format == anchor.format
    assert len(low) < len(high)
    assert anchor.decode(high).shape == photo.shape
    assert quality.psnr(photo, anchor.decode(low)) < quality.psnr(photo, anchor.decode(high))
    assert quality.psnr(photo, anchor.decode(high)) > 30
    assert pickle.loads(pickle.dumps(anchor)) == anchor  # it goes to other processes


def test_options_reach_the_codec(photo: np.ndarray):
    plain, full = Anchor("a", "JPEG", (90,)), Anchor("a", "JPEG", (90,), {"subsampling": "4:4:4"})
    assert len(full.encode(photo, 90)) > len(plain.encode(photo, 90))


def test_a_codec_that_pillow_lacks():
    with pytest.raises(EvaluationError, match="NOSUCH"):
        Anchor("a", "NOSUCH", (50,)).check()


def test_a_picture_that_the_codec_refuses():
    with pytest.raises(EvaluationError, match="20000 x 1"):
        ANCHORS["webp"].encode(np.zeros((1, 20000, 3), np.uint8), 50)


def test_anchor_points(photo: np.ndarray):
    anchor = ANCHORS["jpeg"]
    curve = list(anchor.curve(photo))
    assert len(curve) == len(anchor.qualities)
    data = anchor.encode(photo, anchor.qualities[3])
    point = curve[3]
    assert (point.bytes, point.bpp) == (len(data), 8 * len(data) / photo[..., 0].size)
    assert np.array_equal(point.pixels, anchor.decode(data))
    assert point.encode_seconds > 0 and point.decode_seconds > 0


def test_our_points_are_the_files_that_truncate_makes(photo: np.ndarray, model_path: str):
    codec = Ddpm(model_path, 1.5, evaluations=8, effort=1)
    curve = list(codec.curve(photo))
    area = photo.shape[0] * photo.shape[1]
    data = ddpmcodec.encode(photo, model=model_path, bpp=1.02 * 1.5 + 8 * 32 / area, evaluations=8, effort=1)
    assert len(curve) == 1 + len(container.parse(data).steps) and curve[-1].bytes == len(data)
    for k, point in enumerate(curve):
        assert point.bytes == len(ddpmcodec.truncate(data, steps=k)) and point.bpp == 8 * point.bytes / area
        assert np.abs(point.pixels.astype(int) - np.asarray(ddpmcodec.decode(data, k, model=model_path))).max() <= 1
    times = [point.decode_seconds for point in curve]
    assert times == sorted(times)
    assert codec.settings()["model"]["name"] == "test-model" and codec.settings()["effort"] == 1


@pytest.mark.parametrize("shape", [(80, 100), (23, 41)])
def test_our_curve_reaches_the_highest_rate(photo: np.ndarray, model_path: str, shape: tuple[int, int]):
    curve = list(Ddpm(model_path, 2, evaluations=6, effort=1).curve(photo[: shape[0], : shape[1]]))
    assert curve[0].bpp < 2 <= curve[-1].bpp


def test_a_picture_too_small_for_the_rate_has_no_points(model_path: str):
    assert list(Ddpm(model_path, 0.25, evaluations=4, effort=1).curve(np.zeros((2, 2, 3), np.uint8))) == []


@pytest.fixture
def command(tmp_path):
    """A file that describes a codec, with parts of its text replaced."""

    def write(*replacements):
        text = f"""
name = "reduce"
encode = "{sys.executable} {tmp_path}/codec.py {{quality}} {{input}} {{output}}"
decode = "{sys.executable} {tmp_path}/codec.py 0 {{input}} {{output}}"
suffix = ".gif"
qualities = [4, 64]
"""
        (tmp_path / "codec.py").write_text(
            "import sys\nfrom PIL import Image\nquality, source, target = sys.argv[1:]\nimage = Image.open(source)\n"
            "(image.quantize(int(quality)) if int(quality) else image.convert('RGB')).save(target)\n"
        )
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "reduce.toml").write_text(text)
        return command_anchor(str(tmp_path / "reduce.toml"))

    return write


def test_a_command_line_codec(command, photo):
    codec = command()
    codec.check()
    low, high = codec.curve(photo)
    assert low.bytes < high.bytes and quality.psnr(photo, low.pixels) < quality.psnr(photo, high.pixels) and low.encode_seconds > 0
    assert codec.settings()["qualities"] == [4, 64] and pickle.loads(pickle.dumps(codec)) == codec


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ((sys.executable, "/nowhere/encoder"), "cannot be run"),
        ((" 0 {input}", " zero {input}"), "failed with exit code 1: ValueError"),
        (("codec.py 0 {input} {output}", "codec.py 0 {input} {output}.png"), "left no file"),
    ],
)
def test_commands_that_fail(command, replacement, message):
    with pytest.raises(EvaluationError, match=message):
        command(replacement).check()


@pytest.mark.parametrize(
    "replacement",
    [("[4, 64]", "[]"), ("{quality}", "{level}"), ('"reduce"', '"a/b"'), ("suffix", "ending"), ("qualities = [4, 64]", ""), ("name", "=")],
)
def test_descriptions_that_are_none(command, replacement):
    with pytest.raises(EvaluationError, match=r"reduce\.toml"):
        command(replacement)


def test_a_description_that_is_not_there():
    with pytest.raises(EvaluationError, match="nowhere"):
        command_anchor("nowhere.toml")

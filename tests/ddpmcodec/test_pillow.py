"""The plugin for Pillow."""

import copy
import importlib
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import ddpmcodec

FAST = {"model": "test-model", "evaluations": 6, "effort": 1}


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch, model_path: str):
    """Registered for these tests alone: to the others a .ddpm file is no picture."""
    monkeypatch.setenv("DDPMCODEC_MODELS", str(Path(model_path).parent))
    Image.init()  # all others first, which is done once
    for name in ("ID", "OPEN", "SAVE", "SAVE_ALL", "EXTENSION", "MIME"):
        monkeypatch.setattr(Image, name, getattr(Image, name).copy())
    importlib.import_module("ddpmcodec.pillow").register()


def saved(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "DDPM", **FAST, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_save_and_open(drawing, mode):
    image = Image.fromarray(drawing).convert("RGB")
    image.putalpha(100) if mode in ("RGBA", "LA") else None
    image = image.convert(mode)
    data = saved(image, lossless=True)
    back = opened(data)
    assert (back.format, back.mode, back.size) == ("DDPM", mode, image.size)
    assert np.array_equal(np.asarray(back), np.asarray(image))
    assert data == ddpmcodec.encode(image, lossless=True, **FAST)


@pytest.mark.parametrize("options", [{"quality": 40}, {"bpp": 2}, {"max_bytes": 700}, {"psnr": 25}])
def test_options_are_those_of_encode(drawing, options):
    image = Image.fromarray(drawing)
    assert saved(image, **options) == ddpmcodec.encode(image, **FAST, **options)


def test_opening_runs_no_network(drawing, monkeypatch):
    data = saved(Image.fromarray(drawing))
    monkeypatch.setattr(importlib.import_module("ddpmcodec.pillow").api, "decode_pictures", None)
    assert opened(data).size == (61, 45)


def test_metadata(drawing):
    profile = bytes(16) + b"RGB " + bytes(100)
    exif = Image.Exif()
    exif[0x010E] = "a drawing"
    back = opened(saved(Image.fromarray(drawing), icc_profile=profile, exif=exif))
    assert back.info["icc_profile"] == profile and back.getexif()[0x010E] == "a drawing"
    back.load()
    assert back.info["icc_profile"] == profile


def test_a_cut_file_needs_leave(drawing, monkeypatch):
    data = saved(Image.fromarray(drawing), bpp=4)
    cut = data[: len(data) * 2 // 3]
    with pytest.raises(OSError, match="LOAD_TRUNCATED_IMAGES"):
        opened(cut).load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert np.array_equal(np.asarray(opened(cut)), np.asarray(ddpmcodec.decode(cut)))


def test_several_pictures_are_frames(drawing):
    others = [Image.fromarray(drawing[::-1]), Image.fromarray(drawing[:, ::-1])]
    back = opened(saved(Image.fromarray(drawing), save_all=True, append_images=others, lossless=True))
    assert back.n_frames == 3 and back.is_animated
    for frame, expected in enumerate((drawing, drawing[::-1], drawing[:, ::-1])):
        back.seek(frame)
        assert back.tell() == frame and np.array_equal(np.asarray(back), expected)
    back.seek(0)
    assert np.array_equal(np.asarray(back), drawing)
    with pytest.raises(EOFError):
        back.seek(3)


def test_errors_are_pillows(drawing):
    data = saved(Image.fromarray(drawing))
    with pytest.raises(UnidentifiedImageError):
        opened(b"\x89DDPL" + data[5:])
    with pytest.raises(OSError, match="checksum"):
        opened(data[:30] + bytes([data[30] ^ 1]) + data[31:])
    with pytest.raises(OSError, match="step table"):
        opened(data[:40])
    with pytest.raises(OSError, match="smallest file"):
        saved(Image.fromarray(drawing), max_bytes=10)


def test_it_registers_in_a_new_process(drawing, tmp_path):
    Image.fromarray(drawing).save(tmp_path / "in.png")
    for statement in ("import ddpmcodec.pillow", "import ddpmcodec; ddpmcodec.register()"):
        script = f"""{statement}
from PIL import Image
Image.open("in.png").save("out.ddpm", lossless=True, model="test-model", evaluations=4, effort=1)
assert Image.MIME["DDPM"] == "image/x-ddpm"
Image.open("out.ddpm").save("out.png")
"""
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=300)
        with Image.open(tmp_path / "out.png") as image:
            assert np.array_equal(np.asarray(image), drawing)


def test_tune_and_regions_are_passed_on(photo):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(
        buffer, "DDPM", model="test-model", bpp=1, evaluations=4, effort=1, tune="psnr", roi=(0, 0, 9, 9), roi_gain=12
    )
    noise = ddpmcodec.info(buffer.getvalue())["noise"]
    assert noise["tune"] == "psnr" and noise["map"]["coarsest"] == 4


@pytest.mark.parametrize("again", [copy.deepcopy, lambda image: pickle.loads(pickle.dumps(image))], ids=["deepcopy", "pickle"])
def test_copies_are_of_the_file_at_its_frame_as_it_is(drawing, again):
    data = saved(Image.fromarray(drawing), save_all=True, append_images=[Image.fromarray(drawing[::-1])], lossless=True)
    unread = opened(data)
    unread.seek(1)
    assert not again(unread)._frames  # nothing is decoded for a copy
    assert again(unread).tell() == 1 and np.array_equal(np.asarray(again(unread)), drawing[::-1])
    changed = opened(data)
    changed.putpixel((0, 0), (1, 2, 3))
    changed.info["comment"] = "ours"
    copied = again(changed)
    assert copied.getpixel((0, 0)) == (1, 2, 3) and copied.info["comment"] == "ours" and copied.n_frames == 2
    copied.seek(1)
    assert np.array_equal(np.asarray(copied), drawing[::-1])


def test_save_all_writes_the_frames_of_each_image(drawing):
    stack = io.BytesIO()
    frames = [Image.fromarray(drawing), Image.fromarray(drawing[::-1]), Image.fromarray(drawing[:, ::-1])]
    frames[0].save(stack, "TIFF", save_all=True, append_images=frames[1:])
    tiff = Image.open(stack)
    tiff.seek(1)
    back = opened(saved(tiff, save_all=True, append_images=frames[:1], lossless=True))
    assert back.n_frames == 4 and tiff.tell() == 1
    back.seek(2)
    assert np.array_equal(np.asarray(back), drawing[:, ::-1])
    assert np.array_equal(np.asarray(opened(saved(tiff, lossless=True))), drawing[::-1])  # without save_all the current one, as Pillow
    with pytest.raises(OSError, match="have one size"):
        saved(tiff, save_all=True, append_images=[Image.new("RGB", (8, 8))])


def test_the_options_of_other_formats_are_named(drawing):
    with pytest.raises(TypeError, match="quality is a number, not 'keep'"):
        saved(Image.fromarray(drawing), quality="keep")

"""Damaged JPEGs, of which Pillow says nothing, bring a note."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import picture
from ddpmcodec.errors import PictureError

NOTE = ["its JPEG data are damaged: parts of it may be gray, or in the wrong place"]
KINDS = [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}, {"optimize": True, "quality": 30}, {"restart_marker_rows": 1}]


def jpeg(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def notes(data: bytes) -> list[str]:
    found: list[str] = []
    picture.read(data, found.append)
    return found


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_whole_ones_bring_none(photo, drawing, options):
    for pixels in (photo, drawing, photo[..., 0], np.full((64, 64, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8), photo[:9, :7]):
        assert notes(jpeg(pixels, **options)) == []
        assert notes(jpeg(pixels, **options) + bytes(100)) == []
        behind = ["19 bytes behind the picture, a video perhaps, are left out"]
        assert notes(jpeg(pixels, **options) + b"more behind it \xff\xd8\xff\xd9") == behind


def test_the_photo_of_a_camera_brings_none(data_dir):
    assert notes((data_dir / "raccoon-1021x683.jpg").read_bytes()) == []


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("kept", [0.5, 0.8, 0.95])
def test_one_that_is_cut_and_ended(photo, options, kept):
    data = jpeg(photo, **options)
    begin = data.index(b"\xff\xda") + 20
    assert notes(data[: begin + int(kept * (len(data) - begin))].rstrip(b"\xff") + b"\xff\xd9") == NOTE


def test_bytes_that_are_missing_are_often_found(photo):
    data = jpeg(photo)
    begin = data.index(b"\xff\xda") + 20
    random, found = np.random.default_rng(0), 0
    for _ in range(40):
        at = int(random.integers(begin, len(data) - 60))
        try:
            found += notes(data[:at] + data[at + 30 :]) == NOTE
        except PictureError:
            found += 1
    assert found >= 10


def test_formats_whose_plugin_is_missing():
    """In a process in which they cannot be imported."""
    program = (
        "import sys; sys.modules['pillow_jxl'] = sys.modules['pillow_heif'] = None\n"
        "from ddpmcodec import picture\n"
        "for data in (b'\\xff\\x0a' + bytes(90), b'\\0\\0\\0\\x18ftypheic' + bytes(90)):\n"
        "    try: picture.read(data)\n"
        "    except picture.PictureError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "".join(f"{name} needs a plugin: pip install 'ddpmcodec[formats]'\n" for name in ("JPEG XL", "HEIC")), done.stderr

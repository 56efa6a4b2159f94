"""Pictures that are damaged, deep or no pictures at all: typed errors, whatever Pillow and the libraries below it raise."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import arrays, picture
from ddpmcodec.errors import LimitError, PictureError


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA", "AVIF", "ICO", "JPEG2000"])
def test_files_cut_or_changed_anywhere(photo, kind):
    """A picture or a PictureError, and no warning of Pillow's on stderr."""
    buffer = io.BytesIO()
    Image.fromarray(photo[:16, :16]).save(buffer, kind)
    data = buffer.getvalue()
    rng = np.random.default_rng(0)
    damaged = [data[:size] for size in range(0, len(data), max(1, len(data) // 60))]
    for _ in range(60):
        changed = bytearray(data)
        for at in rng.integers(0, min(len(data), 200), rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        damaged.append(bytes(changed))
    for attempt in damaged:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                pixels = picture.read(attempt).pixels
            except (PictureError, LimitError) as e:
                assert len(str(e).splitlines()) == 1
                continue
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


def test_a_tiff_of_16_bits_a_channel_is_refused_not_rounded():
    """2 x 1 pixels, uncompressed: Pillow reads it as RGB of 8 bits."""
    shorts = [(256, 2), (257, 1), (259, 1), (262, 2), (277, 3), (278, 1), (284, 1)]
    tags = [(tag, 3, 1, value) for tag, value in shorts] + [(258, 3, 3, 200), (273, 4, 1, 210), (279, 4, 1, 12)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    data = start.ljust(200, b"\0") + struct.pack("<3H", 16, 16, 16).ljust(10, b"\0") + struct.pack("<6H", 0, 1, 256, 65535, 300, 4)
    assert Image.open(io.BytesIO(data)).mode == "RGB"
    with pytest.raises(PictureError, match="8 bits"):
        picture.read(data)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        "photo.png",
        None,
    ],
    ids=["one channel", "two", "float", "empty", "path", "none"],
)
def test_arrays_and_objects_that_are_no_picture(source):
    with pytest.raises(PictureError):
        picture.load(source)


def test_views_of_arrays_are_pictures(photo):
    assert np.array_equal(picture.load(photo[::-1, ::2]).pixels, photo[::-1, ::2])
    assert np.array_equal(arrays.to_pixels(arrays.from_pixels(photo[::-1, ::2])), photo[::-1, ::2])

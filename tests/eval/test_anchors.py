"""The codecs of Pillow that ours is compared with."""

import io

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import picture
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval.anchors import ANCHORS, Anchor


@pytest.mark.parametrize("name", ANCHORS)
def test_real_files_that_come_back(name: str, photo: np.ndarray):
    anchor = ANCHORS[name]
    anchor.check()
    low, high = (anchor.encode(photo, quality) for quality in (anchor.qualities[0], anchor.qualities[-1]))
    assert Image.open(io.BytesIO(high)).format == anchor.format
    assert len(low) < len(high)
    assert anchor.decode(high).shape == photo.shape
    assert picture.psnr(photo, anchor.decode(low)) < picture.psnr(photo, anchor.decode(high))
    assert picture.psnr(photo, anchor.decode(high)) > 30


def test_options_reach_the_codec(photo: np.ndarray):
    assert len(Anchor("JPEG", (90,), {"subsampling": "4:4:4"}).encode(photo, 90)) > len(Anchor("JPEG", (90,)).encode(photo, 90))


def test_a_codec_that_pillow_lacks(photo: np.ndarray):
    with pytest.raises(EvaluationError, match="NOSUCH"):
        Anchor("NOSUCH", (50,)).check()


def test_a_picture_that_the_codec_refuses():
    with pytest.raises(EvaluationError, match="20000 x 1"):
        ANCHORS["webp"].encode(np.zeros((1, 20000, 3), np.uint8), 50)

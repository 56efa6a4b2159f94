"""A size asked for that has room for the exact picture gets it; no lossy file is larger than the lossless one."""

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.target import Bytes, Lossless, Psnr, Quality, Rate

FAST = EncodeOptions(evaluations=4, effort=1)


@pytest.fixture(scope="module")
def flat() -> np.ndarray:
    pixels = np.full((32, 32, 3), 255, np.uint8)
    pixels[5:15, 5:15] = 255, 0, 0
    return pixels


@pytest.fixture(scope="module")
def exact(flat) -> bytes:
    return ddpmcodec.encode_image(flat, Lossless(), FAST, model="tiny").data


@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_the_exact_picture_where_there_is_room(flat, exact, more):
    notes: list[str] = []
    encoding = ddpmcodec.encode_image(flat, Bytes(len(exact) + more), FAST, notes.append, model="tiny")
    assert encoding.data == exact and notes == ["the size has room for the picture to the last bit: the file is lossless"]
    assert np.array_equal(ddpmcodec.decode(encoding.data, model="tiny"), flat)


def test_the_lossy_one_where_there_is_none(flat, exact):
    notes: list[str] = []
    encoding = ddpmcodec.encode_image(flat, Bytes(len(exact) - 1), FAST, notes.append, model="tiny")
    assert len(encoding.data) < len(exact) and not encoding.tail_bytes
    assert not any("to the last bit" in note for note in notes)


def test_a_rate_and_regions_too(flat, exact):
    with_regions = EncodeOptions(evaluations=4, effort=1, tune="perception")
    assert ddpmcodec.encode_image(flat, Rate(24), with_regions, model="tiny").data == exact
    assert ddpmcodec.encode(Image.fromarray(flat), bpp=24, evaluations=4, effort=1, roi=(0, 0, 16, 16), model="tiny") == exact


def test_a_file_larger_than_the_pixels_is_said_to_be():
    notes: list[str] = []
    ddpmcodec.encode_image(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8), Bytes(150), FAST, notes.append, model="tiny")
    assert "the file is larger than the picture's pixels themselves" in notes


@pytest.mark.parametrize("target", [Quality(100), Psnr(90)])
def test_the_exact_picture_where_it_takes_no_more_bytes(model, target):
    red = np.tile(np.array([255, 0, 0], np.uint8), (8, 8, 1))
    notes: list[str] = []
    encoding = ddpmcodec.encode_image(red, target, FAST, notes.append, model=model)
    assert encoding.data == ddpmcodec.encode_image(red, Lossless(), FAST, model=model).data
    assert notes == ["to the last bit the picture takes no more bytes: the file is lossless"]

"""Regions of interest, as the noise's field has them, and what they may be given as."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import ddpmcodec
from ddpmcodec import picture, roi
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.errors import PictureError
from ddpmcodec.format import container, shape
from ddpmcodec.format.header import Header
from ddpmcodec.models import whitening
from ddpmcodec.models.levels import ContinuousLevels
from ddpmcodec.roi import Roi
from ddpmcodec.shaping import shape_for
from ddpmcodec.target import Lossless, Rate, Target

FAST = {"model": "test-model", "evaluations": 4, "effort": 1}
HEADER = Header(200, 150, "m", bytes(8), ContinuousLevels(), -3734)


def log2_field(regions, height, width, cell):
    """log2 G of every pixel."""
    cells = regions.cells(height, width, cell)
    assert cells.dtype == np.uint8 and cells.shape == shape.grid(height, width, cell) and cells.max() <= shape.COARSEST
    return whitening.log2_field(cells / 4, cell, height, width)


def far(begin, end, size, distance):
    """Whether each pixel of a side is so far from pixels begin ... end."""
    at = np.arange(size)
    return (begin - at >= distance) | (at - (end - 1) >= distance)


sides = st.one_of(st.integers(1, 400), st.sampled_from([32, 48, 49, 64, 128]))


@st.composite
def pictures_with_a_box(draw):
    height, width = draw(sides), draw(sides)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return height, width, (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


@settings(max_examples=200)
@given(pictures_with_a_box(), st.sampled_from(shape.CELLS), st.floats(0.76, 36))
@example((300, 300, (0, 0, 1, 1)), 32, 6.0)
@example((300, 300, (299, 299, 1, 1)), 128, 36.0)
@example((33, 200, (0, 32, 200, 1)), 32, 12.0)
def test_what_is_far_from_a_box_is_coarsest(case, cell, gain):
    height, width, (x, y, w, h) = case
    field = log2_field(Roi(((x, y, w, h),), gain=gain), height, width, cell)
    coarsest = round(gain / 20 * math.log2(10) * 4) / 4
    assert abs(20 * math.log10(2**coarsest) - gain) < 0.76  # half of a quarter of an octave
    assert field[y : y + h, x : x + w].max() <= coarsest / 32 and field.max() <= coarsest
    outside = far(y, y + h, height, 2 * cell)[:, None] | far(x, x + w, width, 2 * cell)
    assert (field[outside] == coarsest).all()


def test_several_boxes_are_all_finest():
    boxes = ((0, 0, 3, 3), (300, 200, 20, 40), (310, 10, 1, 1), (305, 205, 10, 10))
    field = log2_field(Roi(boxes, gain=12), 250, 350, 32)
    for x, y, w, h in boxes:
        assert not field[y : y + h, x : x + w].any()
    assert field[100, 150] == field.max() == 2


def test_a_box_of_the_whole_picture_is_no_map():
    assert not Roi(((0, 0, 200, 150),)).cells(150, 200, 32).any()


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0), (0, 0, -1, 5), (196, 0, 5, 5), (0, 146, 5, 5)])
def test_boxes_that_are_not_inside(box):
    for boxes in ((box,), ((0, 0, 9, 9), box)):
        with pytest.raises(PictureError, match="not inside the picture of 200 x 150") as caught:
            Roi(boxes).cells(150, 200, 32)
        assert caught.value.parameter == "roi"
    with pytest.raises(PictureError, match=",".join(map(str, box))):
        ddpmcodec.encode(np.zeros((150, 200, 3), np.uint8), roi=box, **FAST)
    assert Roi(((195, 145, 5, 5),)).cells(150, 200, 32).any()


def pixels_of(place, length, size):
    """The pixels of a side that a mask's pixel lies over, wholly or in part."""
    return slice(place * size // length, -(-(place + 1) * size // length))


@settings(max_examples=200)
@given(sides, sides, st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1), st.sampled_from(shape.CELLS))
@example(300, 300, 1, 2, 0, 1, 32)
@example(1, 1, 300, 300, 0.5, 0.5, 128)
@example(65, 400, 7, 300, 0.5, 0.99, 64)
def test_a_white_pixel_of_a_mask_is_not_lost(height, width, rows, columns, row_share, column_share, cell):
    row, column = min(int(row_share * rows), rows - 1), min(int(column_share * columns), columns - 1)
    mask = np.zeros((rows, columns), np.uint8)
    mask[row, column] = 255
    field = log2_field(Roi(mask=mask, gain=12), height, width, cell)
    down, across = pixels_of(row, rows, height), pixels_of(column, columns, width)
    assert not field[down, across].any()
    outside = far(down.start, down.stop, height, 2 * cell)[:, None] | far(across.start, across.stop, width, 2 * cell)
    assert (field[outside] == 2).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (45, 61), (500, 700)])
def test_masks_of_any_size(size):
    mask = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    for height, width in ((1, 1), (300, 300), (33, 500)):
        cells = Roi(mask=mask).cells(height, width, 32)
        assert cells.shape == shape.grid(height, width, 32) and cells.min() == 0


@pytest.mark.parametrize("value", [0, 100, 255])
@pytest.mark.parametrize("size", [(1, 1), (20, 30)])
def test_masks_of_one_value_are_no_map(value, size, photo):
    regions = Roi(mask=np.full(size, value, np.uint8), gain=36)
    assert not regions.cells(300, 400, 32).any()
    assert shape_for(HEADER, Target(), "auto", regions) == shape_for(HEADER, Target(), "auto", None)
    assert shape_for(HEADER, Target(), "psnr", regions) is None
    part = photo[:20, :30]
    assert ddpmcodec.encode(part, roi=regions.mask, **FAST) == ddpmcodec.encode(part, **FAST)


def test_gray_is_between_white_and_black():
    mask = np.repeat(np.array([[255, 128, 0]], np.uint8), 3, 0)
    field = log2_field(Roi(mask=mask, gain=12), 900, 900, 32)
    assert field[450].tolist() == sorted(field[450].tolist())
    assert [field[450, x] for x in (10, 450, 890)] == [0, 1, 2]


def test_a_mask_is_stretched_over_the_picture():
    """Of a mask whose left half is white, the left half is finest, whatever the sizes."""
    mask = np.zeros((4, 10), np.uint8)
    mask[:, :5] = 255
    field = log2_field(Roi(mask=mask, gain=12), 320, 800, 32)
    assert not field[:, :400].any() and (field[:, 464:] == 2).all()
    turned = log2_field(Roi(mask=mask.T, gain=12), 800, 320, 32)
    assert np.array_equal(turned, field.T)


SPOT = np.zeros((8, 9), np.uint8)
SPOT[3, 3] = 255
RED = np.zeros((8, 9, 3), np.uint8)
RED[1, 1] = 255, 0, 0


@pytest.mark.parametrize(
    "mask",
    [
        SPOT,
        np.repeat(SPOT[..., None], 3, 2),
        Image.fromarray(SPOT),
        *(Image.fromarray(SPOT).convert(mode) for mode in ("1", "P", "LA", "RGB", "RGBA", "CMYK")),
        SPOT[::-1][::-1],
        np.asfortranarray(SPOT),
    ],
    ids=["array", "three equal channels", "L", "1", "P", "LA", "RGB", "RGBA", "CMYK", "turned twice", "by columns"],
)
def test_masks_that_are_gray(mask):
    assert np.array_equal(roi.load(mask).cells(300, 300, 32), Roi(mask=SPOT).cells(300, 300, 32))


@pytest.mark.parametrize(
    "mask",
    [
        RED,
        np.dstack([RED, SPOT]),
        Image.fromarray(RED),
        Image.fromarray(RED).convert("P"),
        Image.merge("LA", [Image.fromarray(SPOT)] * 2),
        Image.fromarray(np.dstack([RED, SPOT])),
        Image.fromarray(SPOT.astype(np.uint16)),
        Image.fromarray(SPOT).convert("I"),
        Image.fromarray(SPOT).convert("F"),
        Image.new("L", (0, 5)),
        np.zeros((0, 5), np.uint8),
        np.zeros((5, 0), np.uint8),
        np.zeros((0, 4), int),
        SPOT / 255,
        SPOT.astype(int),
        SPOT[..., None],
        SPOT[None, :, :, None],
        SPOT[0],
        np.array(255, np.uint8),
        "mask.png",
        b"",
        7,
        {},
        object(),
    ],
    ids=[
        *("red", "transparent", "red image", "red palette", "transparent LA", "RGBA", "I;16", "I", "F", "empty image"),
        *("no rows", "no columns", "no boxes", "float", "int", "one channel", "four dimensions", "one dimension", "number"),
        *("path", "bytes", "an int", "a mapping", "an object"),
    ],
)
def test_masks_that_are_none(mask, photo):
    with pytest.raises(PictureError):
        roi.load(mask)
    with pytest.raises(PictureError):
        ddpmcodec.encode(photo[:20, :30], roi=mask, **FAST)


@pytest.mark.parametrize("mask", [SPOT[0], SPOT.astype(float), SPOT[:0], SPOT[..., None]], ids=["1-D", "float", "empty", "3-D"])
def test_regions_made_by_hand_are_checked(mask):
    with pytest.raises(PictureError):
        Roi(mask=mask)


def test_a_mask_is_turned_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(SPOT)
    image.info["exif"] = exif.tobytes()
    assert np.array_equal(roi.load(image).mask, np.rot90(SPOT, -1))


BOX, BOXES = (10, 20, 30, 40), ((10, 20, 30, 40), (0, 0, 1, 1))


@pytest.mark.parametrize(
    ("given_as", "boxes"),
    [
        (BOX, (BOX,)),
        (list(BOX), (BOX,)),
        ((BOX,), (BOX,)),
        ([list(box) for box in BOXES], BOXES),
        ([BOX] * 4, (BOX,) * 4),
        (np.array(BOXES), BOXES),
        (np.array(BOXES, np.int32), BOXES),
        (np.array([BOX], np.uint16), (BOX,)),
        (tuple(np.array(BOX)), (BOX,)),
        ([tuple(np.array(box, np.int16)) for box in BOXES], BOXES),
        (tuple(map(float, BOX)), (BOX,)),
    ],
    ids=[
        *("a tuple", "a list", "a tuple of one box", "a list of lists", "four boxes", "an array", "int32", "uint16", "numpy ints"),
        *("tuples of int16", "whole floats"),
    ],
)
def test_boxes_come_in_many_forms(given_as, boxes):
    regions = roi.load(given_as, 9.5)
    assert regions.boxes == boxes and regions.mask is None and regions.gain == 9.5
    assert np.array_equal(regions.cells(150, 200, 32), Roi(boxes, gain=9.5).cells(150, 200, 32))


def test_regions_are_taken_as_they_are():
    regions = Roi((BOX,), gain=20)
    assert roi.load(regions, 3) is regions


@pytest.mark.parametrize(
    "boxes",
    [
        [()],
        [(1, 2, 3)],
        [(1, 2, 3, 4, 5)],
        (1.5, 2, 3, 4),
        (math.nan, 2, 3, 4),
        (True, 2, 3, 4),
        ("1", "2", "3", "4"),
        [("a", "b", "c", "d")],
        [],
        [1, BOX],
        ["1,2,3,4"],
        (1, 2, 3),
        (None, None, None, None),
        np.array([[1, 2, 3, 4.5]]),
        np.array([[math.nan] * 4]),
    ],
    ids=str,
)
def test_boxes_that_are_none(boxes):
    with pytest.raises((PictureError, ValueError)):
        roi.load(boxes)


@pytest.mark.parametrize("gain", [math.nan, 0, -1, 36.2, 37, math.inf])
def test_gains_out_of_range(gain, photo):
    for make in (lambda: Roi((BOX,), gain=gain), lambda: roi.load(BOX, gain), lambda: roi.load(SPOT, gain)):
        with pytest.raises(ValueError, match="roi_gain"):
            make()
    with pytest.raises(ValueError, match="roi_gain"):
        ddpmcodec.encode(photo[:20, :30], roi=(0, 0, 1, 1), roi_gain=gain, **FAST)


def test_gains_in_range():
    coarsest = [int(Roi((BOX,), gain=gain).cells(400, 400, 32).max()) for gain in (0.76, 1, 1.5, 6, 12, np.float32(24), 36)]
    assert coarsest == [1, 1, 1, 4, 8, 16, 24]


def test_smaller_cells_where_the_map_is_a_small_share_of_the_file():
    regions = Roi(((0, 0, 5, 5),))
    cells = [shape_for(HEADER, Rate(bpp), "auto", regions).cell for bpp in (0.01, 0.05, 24)]
    assert cells == sorted(cells, reverse=True) and cells[0] == 128 and cells[-1] == 32


def test_a_picture_too_large_for_a_map():
    large = Header(1 << 20, 1 << 12, "m", bytes(8), ContinuousLevels(), -3734)
    with pytest.raises(PictureError, match="too large") as caught:
        shape_for(large, Target(), "auto", Roi(((0, 0, 1, 1),)))
    assert caught.value.parameter == "roi"


def test_lossless_files_have_no_regions(photo):
    for options in ({"roi": (0, 0, 5, 5)}, {"roi": SPOT}, {"tune": "perception"}):
        with pytest.raises(ValueError, match="lossless"):
            ddpmcodec.encode(photo[:20, :30], lossless=True, **options, **FAST)
    assert shape_for(HEADER, Lossless(), "auto", None) is None and shape_for(HEADER, Lossless(), "psnr", None) is None


def test_a_tune_that_is_none(photo):
    for tune in ("", "PSNR", "ssim", None):
        with pytest.raises(ValueError, match="tune"):
            ddpmcodec.encode(photo[:20, :30], tune=tune, **FAST)


@pytest.mark.parametrize("tune", ["auto", "perception", "psnr"])
def test_files_say_what_their_noise_is(photo, tune):
    part = photo[:40, :90]
    data = ddpmcodec.encode(part, roi=[(0, 0, 9, 9)], roi_gain=12, tune=tune, bpp=8, **FAST)
    noise = ddpmcodec.info(data)["noise"]
    assert noise["tune"] == ("psnr" if tune == "psnr" else "perception")
    assert noise["map"] == {"cell": 32, "coarsest": 4.0}
    stored = container.parse(data).shape
    assert stored.cells == Roi(((0, 0, 9, 9),), gain=12).cells(40, 90, 32).tobytes()
    plain = container.parse(ddpmcodec.encode(part, tune=tune, bpp=2, **FAST))
    assert (plain.shape is None) == (tune == "psnr") and [s.type for s in plain.sections].count("S") == (tune != "psnr")


def test_a_mask_and_a_box_of_the_same_place_make_the_same_file(photo):
    mask = np.zeros((80, 100), np.uint8)
    mask[10:20, 70:90] = 255
    encode = {"bpp": 1, "roi_gain": 12, **FAST}
    assert ddpmcodec.encode(photo, roi=mask, **encode) == ddpmcodec.encode(photo, roi=(70, 10, 20, 10), **encode)
    assert ddpmcodec.encode(photo, roi=Image.fromarray(mask), **encode) == ddpmcodec.encode(photo, roi=[[70, 10, 20, 10]], **encode)


def test_one_map_for_all_pictures_of_a_file(photo):
    parts = [photo[:40, :70], photo[40:, :70]]
    data = ddpmcodec.encode(parts, roi=(60, 30, 10, 10), bpp=1, **FAST)
    assert container.parse(data).shape.cells == Roi(((60, 30, 10, 10),)).cells(40, 70, container.parse(data).shape.cell).tobytes()
    with pytest.raises(PictureError, match="70 x 40"):
        ddpmcodec.encode(parts, roi=(60, 50, 10, 10), bpp=1, **FAST)
    assert [image.size for image in ddpmcodec.decode_pictures(data)] == [(70, 40)] * 2


def test_a_mask_without_colours_only():
    gray = picture.Picture(np.repeat(SPOT[..., None], 3, 2))
    assert np.array_equal(roi.mask_of(gray), SPOT)
    with pytest.raises(PictureError, match="alpha"):
        roi.mask_of(picture.Picture(gray.pixels, alpha=SPOT))


BOX = (10, 20, 30, 40)


@settings(max_examples=200)
@given(pictures_with_a_box(), st.sampled_from(shape.CELLS), st.floats(0.76, 36))
@example((300, 300, (0, 0, 1, 1)), 32, 6.0)
@example((300, 300, (299, 299, 1, 1)), 128, 36.0)
@example((33, 200, (0, 32, 200, 1)), 32, 12.0)
def test_all_of_a_box_is_finest(case, cell, gain):
    height, width, (x, y, w, h) = case
    field = log2_field(Roi(((x, y, w, h),), gain=gain), height, width, cell)
    coarsest = round(gain / 20 * math.log2(10) * 4) / 4
    assert abs(20 * math.log10(2**coarsest) - gain) < 0.76  # half of a quarter of an octave
    assert not field[y : y + h, x : x + w].any()
    assert field.min() == 0 and field.max() <= coarsest
    outside = far(y, y + h, height, 2 * cell)[:, None] | far(x, x + w, width, 2 * cell)
    assert (field[outside] == coarsest).all()


@pytest.mark.parametrize("cell", shape.CELLS)
def test_a_box_that_ends_just_behind_the_middle_of_a_cell(cell):
    """The first pixel behind a middle is in reach of the next cell, by the 1/64 of its value or less."""
    for end in range(1, 3 * cell):
        field = log2_field(Roi(((0, 0, end, 5),), gain=36), 5, 5 * cell, cell)
        assert not field[:, :end].any(), end


@pytest.mark.parametrize(
    "boxes",
    [
        (math.inf, 0, 1, 1),
        [[None] * 4],
        [[[1], 2, 3, 4]],
        (1j, 2, 3, 4),
        np.array([[None] * 4]),
        [(1.5, 2, 3, 4, 5)],
        tuple(np.ones(4, bool)),
        [(BOX, BOX, BOX, BOX)],
    ],
    ids=str,
)
def test_boxes_of_what_is_no_number(boxes):
    with pytest.raises((PictureError, ValueError)):
        roi.load(boxes)


def test_small_integers_of_numpy_do_not_wrap_around():
    """200 + 100 is 44 in 8 bits."""
    box = tuple(np.array([200, 0, 100, 10], np.uint8))
    assert np.array_equal(roi.load(box).cells(100, 400, 32), Roi(((200, 0, 100, 10),)).cells(100, 400, 32))
    with pytest.raises(PictureError, match="not inside"):
        roi.load(box).cells(100, 250, 32)


@pytest.mark.parametrize("options", [{"tune": "psnr", "bpp": 2}, {"tune": "psnr", "bpp": 1}, {"bpp": 0.5}, {"max_bytes": 250}], ids=str)
def test_regions_are_never_lost(photo, options):
    """The table's bytes are not the map's, and cells so large that there is but one are no map."""
    assert ddpmcodec.info(ddpmcodec.encode(photo, roi=(0, 0, 9, 9), roi_gain=12, **options, **FAST))["noise"].get("map")


def test_a_mask_of_booleans_is_black_and_white():
    mask = np.zeros((20, 30), bool)
    mask[3:5, 4:9] = True
    assert np.array_equal(roi.load(mask).cells(200, 300, 32), roi.load(mask * np.uint8(255)).cells(200, 300, 32))


def test_regions_that_make_no_difference_are_told(photo):
    said = []
    options = EncodeOptions(4, 1, roi=Roi(((0, 0, 100, 80),)))
    encoding = ddpmcodec.encode_image(photo, Rate(1), options, said.append, model="test-model")
    assert not encoding.has_map and any("make no difference" in text for text in said)

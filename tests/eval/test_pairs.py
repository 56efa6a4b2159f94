"""Pictures beside their original: sizes, profiles, transparency, and the map of differences."""

import numpy as np
import pytest

from ddpmcodec.errors import PictureError
from ddpmcodec.eval import pairs
from ddpmcodec.eval.metrics import METRICS
from ddpmcodec.format.metadata import Metadata
from ddpmcodec.picture import Picture


def test_a_transparent_picture_is_laid_on_the_background():
    pixels = np.full((1, 3, 3), 100, np.uint8)
    alpha = np.array([[0, 51, 255]], np.uint8)
    laid = pairs.on_background(Picture(pixels, alpha=alpha), (200, 0, 100))
    assert laid.tolist() == [[[200, 0, 100], [180, 20, 100], [100, 100, 100]]]


def test_sizes_have_to_be_the_same():
    first, second = (Picture(np.zeros((h, 5, 3), np.uint8)) for h in (4, 6))
    with pytest.raises(PictureError, match=r"b has 5 x 6 pixels, a 5 x 4"):
        pairs.check(("a", first), ("b", second), print)


def test_another_profile_is_told():
    pixels = np.zeros((4, 4, 3), np.uint8)
    said: list[str] = []
    pairs.check(("a", Picture(pixels)), ("b", Picture(pixels, metadata=Metadata(icc_profile=b"profile"))), said.append)
    assert len(said) == 1 and "colour profile" in said[0]


def test_equal_pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    row, failures = pairs.measure(pixels, pixels, 75, [METRICS["psnr-rgb"]])
    assert row == {"bytes": 75, "bpp": 1.0, "equal": True, "psnr-rgb": None} and not failures
    assert pairs.table({"x": row}, [METRICS["psnr-rgb"]]).splitlines()[-1] == "| x | 75 | 1.000 | equal |"


def test_a_map_is_the_rms_difference():
    """Of a constant difference it is that difference, of a point the Gaussian around it."""
    black = np.zeros((31, 31, 3), np.uint8)
    assert (pairs.difference_map(black, black) == 0).all()
    assert (pairs.difference_map(black, np.full_like(black, 16)) == 128).all()
    assert (pairs.difference_map(np.full_like(black, 255), black) == 255).all()
    point = black.copy()
    point[15, 15] = 30
    y, x = np.mgrid[-15:16, -15:16]
    window = np.exp(-(x**2 + y**2) / (2 * pairs.WINDOW**2))
    expected = 30 * np.sqrt(window / window.sum()) / pairs.MAP_WHITE * 255
    near = x**2 + y**2 <= 16
    assert np.abs(pairs.difference_map(black, point) - expected)[near].max() <= 1

"""Targets: what each makes of a picture's size, and how it is chosen; the one rule for the network's precision."""

import math

import numpy as np
import pytest

from ddpmcodec import precision, target
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.errors import ModelError, RateError
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import Header
from ddpmcodec.format.steptable import Step
from ddpmcodec.models import registry
from ddpmcodec.models.levels import ContinuousLevels
from ddpmcodec.models.process import snr_of_sigma
from ddpmcodec.target import Bytes, Lossless, Psnr, Quality, Rate, Target, VisitedLevels

LEVELS = ContinuousLevels()


def header(width: int, height: int) -> Header:
    return Header(width, height, "m", bytes(8), LEVELS, -3734)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Target()),
        ({"quality": 0}, Quality(0)),
        ({"bpp": 0.5}, Rate(0.5)),
        ({"max_bytes": 0}, Bytes(0)),
        ({"psnr": 30}, Psnr(30)),
        ({"lossless": True}, Lossless()),
        ({"lossless": True, "levels": [1, 2]}, Lossless((1, 2))),
        ({"levels": []}, VisitedLevels(())),
    ],
)
def test_the_target_of_what_is_given(given, expected):
    assert target.choose(**given) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quality(-1),
        lambda: Quality(100.5),
        lambda: Quality(math.nan),
        lambda: Rate(0),
        lambda: Rate(24.5),
        lambda: Rate(math.nan),
        lambda: Bytes(-1),
        lambda: Psnr(0),
        lambda: Psnr(math.inf),
        lambda: Psnr(math.nan),
    ],
)
def test_ranges(make):
    with pytest.raises(ValueError, match="out of range"):
        make()


def test_budgets_by_hand():
    """Of 100 x 80 pixels, with 90 bytes of alpha and metadata and 130 of a file without steps."""
    h = header(100, 80)
    budgets = {t: target.check_budget(t, h, 90, 130) for t in (Target(), Rate(1), Bytes(500), Lossless(), VisitedLevels((5,)))}
    assert list(budgets.values()) == [1000, 1000 - 90, 500 - 90, None, None]
    assert target.check_budget(Target(), header(4, 4), 0, 40) == 512
    assert target.check_budget(Quality(50), h, 0, 40) == target.check_budget(Psnr(30), h, 0, 40) == 40 + 24 * 1000 + 512
    with pytest.raises(RateError, match=r"0.1 bpp is 100 bytes, and this picture's smallest file has 130: 0.13 bpp, 90 of them alpha"):
        target.check_budget(Rate(0.1), h, 90, 130)
    with pytest.raises(RateError, match="100 bytes, and"):
        target.check_budget(Bytes(100), h, 0, 130)


def test_where_targets_end():
    ends = {t: (t.sigma, t.has_end) for t in (Target(), Rate(1), Quality(0), Quality(50), Quality(100), Psnr(30), Lossless())}
    assert list(ends.values()) == [(0.5, False), (0.5, False), (100, True), (10, True), (1, True), (0.5, True), (1, True)]


def test_levels_follow_each_other_towards_less_noise():
    for t in (VisitedLevels((-3000, 0, 5)), Lossless((-3733,)), Lossless(), Rate(1)):
        t.check_levels(LEVELS, -3734)
    for t in (VisitedLevels((-3734,)), VisitedLevels((5, 5)), Lossless((5, 4)), VisitedLevels((1 << 20,))):
        with pytest.raises(ValueError, match="does not follow"):
            t.check_levels(LEVELS, -3734)


@pytest.mark.parametrize(
    ("size", "end", "max_bytes", "expected"),
    [
        ((256, 256), Rate(1), 8192, "auto"),
        ((256, 255), Rate(1), 8160, "fp32"),  # so small that it takes no time
        ((256, 256), Rate(2.1), 17203, "fp32"),
        ((256, 256), Psnr(41), 10**6, "auto"),
        ((256, 256), Psnr(41.1), 10**6, "fp32"),
        ((256, 256), Quality(80), 10**6, "auto"),
        ((256, 256), Quality(81), 10**6, "fp32"),
        ((256, 256), VisitedLevels((0,)), None, "auto"),
        ((256, 256), Lossless(), None, "fp32"),
    ],
)
def test_the_precision_asked_for(size, end, max_bytes, expected):
    h = header(*size)
    assert precision.for_encoding(h, end, max_bytes) == expected
    assert precision.for_encoding(h, end, max_bytes, "bf16") == ("fp32" if isinstance(end, Lossless) else "bf16")
    assert precision.for_encoding(h, end, max_bytes, "fp32") == "fp32"


def test_a_decoder_asks_by_where_the_file_ends():
    h = header(256, 256)
    for sigma, expected in ((2.6, "auto"), (2.4, "fp32")):
        steps = (Step(LEVELS.nearest(snr_of_sigma(sigma)), 0, 8, True),)
        assert precision.for_decoding(Container(h, steps, (b"",))) == expected
        assert precision.for_decoding(Container(h, steps, (b"",)), "bf16") == "bf16"
        assert precision.for_decoding(Container(h, steps, (b"",), b"tail"), "bf16") == "fp32"
    assert precision.for_decoding(Container(h, (), ())) == "auto"
    assert precision.for_decoding(Container(header(9, 9), (), ())) == "fp32"


def test_whole_numbers_of_any_library_and_nothing_else():
    assert VisitedLevels((np.int64(3), 5)).visited == (3, 5) and Lossless([np.int32(7)]).visited == (7,)
    for wrong in ((3.5,), (1e3,), ("3",)):
        with pytest.raises(TypeError):
            VisitedLevels(wrong)
    for count in (math.nan, math.inf):
        with pytest.raises(ValueError, match="out of range"):
            Bytes(count)
    for evaluations in (1, 10**9):
        with pytest.raises(ValueError, match="out of range"):
            EncodeOptions(evaluations=evaluations)
    for evaluations in (math.nan, math.inf, 2.5):
        with pytest.raises(TypeError):
            EncodeOptions(evaluations=evaluations)
    with pytest.raises(TypeError, match="a Roi or None"):
        EncodeOptions(roi=(0, 0, 1, 1))


def test_a_model_of_another_kind_is_refused():
    for wrong in (5, b"name", [], {}):
        with pytest.raises(ModelError, match=f"not as {type(wrong).__name__}"):
            registry.resolve(wrong)

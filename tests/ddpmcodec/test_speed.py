"""Presets of what an encode may take."""

import pytest

import ddpmcodec
from ddpmcodec import speed
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.target import Rate


def test_presets_go_from_fast_to_best():
    assert [*speed.SPEEDS] == ["fast", "normal", "best"]
    for faster, slower in (("fast", "normal"), ("normal", "best")):
        assert speed.SPEEDS[faster].evaluations < speed.SPEEDS[slower].evaluations
        assert speed.SPEEDS[faster].effort <= speed.SPEEDS[slower].effort


def test_normal_is_what_options_are_by_default():
    assert EncodeOptions(**speed.choose()._asdict()) == EncodeOptions()


def test_what_is_given_comes_first():
    evaluations, effort = speed.SPEEDS["fast"]
    assert speed.choose("fast", 5) == (5, effort)
    assert speed.choose("fast", effort=1) == (evaluations, 1)
    with pytest.raises(ValueError, match="'slow' is none of fast, normal, best"):
        speed.choose("slow")


def test_files_of_a_speed(photo, model):
    options = {"model": model, "bpp": 1}
    expected = ddpmcodec.encode_image(photo, Rate(1), EncodeOptions(*speed.SPEEDS["fast"]), model=model).data
    assert ddpmcodec.encode(photo, speed="fast", **options) == expected
    assert ddpmcodec.encode(photo, speed="fast", evaluations=5, effort=1, **options) != expected

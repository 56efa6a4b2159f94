"""Corners of encoding and decoding: what the beginning of a file holds, split steps cut in two, the last timestep."""

import numpy as np
import pytest

import ddpmcodec
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import CorruptFileError
from ddpmcodec.format import container
from ddpmcodec.format.steptable import Step
from ddpmcodec.picture import Picture
from ddpmcodec.target import Rate, VisitedLevels


def decoded(data, **options):
    return np.asarray(ddpmcodec.decode(data, reconstruct="mean", orientations=1, **options))


def test_no_steps_hold_nothing_of_the_picture(drawing, drawing_encoding, photo, model):
    """x_T and the network's first guess follow from the seed and the size alone."""
    other = encode_pixels(Picture(photo[:45, :61]), model, Rate(1), EncodeOptions(3, 1, seed=3, tune="psnr"))
    assert np.array_equal(decoded(other.data, steps=0), decoded(drawing_encoding.data, steps=0))
    another = encode_pixels(Picture(drawing), model, Rate(1), EncodeOptions(3, 1, seed=4, tune="psnr"))
    assert not np.array_equal(decoded(another.data, steps=0), decoded(other.data, steps=0))


def test_a_split_step_can_be_cut_in_two(drawing, model):
    """Given levels too far apart for D / 2 path bits are reached by several steps, and each of them ends in a picture."""
    e = encode_pixels(Picture(drawing), model, VisitedLevels((0, 1200, 2000)), EncodeOptions(effort=1, tune="psnr"))
    steps = container.parse(e.data).steps
    assert [step.level for step in steps if step.level in (0, 1200, 2000)] == [0, 1200, 2000]
    assert [step.evaluate for step in steps].count(True) == 3 < len(steps)
    pictures = [np.asarray(image) for _, image in ddpmcodec.decode_progressive(e.data)]
    for count in range(len(steps) + 1):
        assert np.array_equal(decoded(ddpmcodec.truncate(e.data, steps=count)), pictures[count])
    assert np.array_equal(pictures[-1], e.pixels)


def test_a_discrete_model_to_its_last_timestep(drawing, discrete_model, discrete_model_path):
    levels = [600, 300, 100, 50, 30, 20, 14, 10, 7, 5, 4, 3, 2, 1]
    e = encode_pixels(Picture(drawing), discrete_model, VisitedLevels(tuple(levels)), EncodeOptions(effort=1))
    assert container.parse(e.data).steps[-1].level == 1
    assert np.array_equal(decoded(e.data, model=discrete_model_path), e.pixels) and e.psnr > 30


def test_a_first_step_that_claims_to_keep_a_prediction(drawing_encoding):
    """Nothing was predicted before the first step."""
    parsed = container.parse(drawing_encoding.data)
    first = parsed.steps[0]
    changed = container.Container(parsed.header, (Step(first.level, first.n, first.nu, False), *parsed.steps[1:]), parsed.messages)
    with pytest.raises(CorruptFileError, match="first step"):
        container.parse(container.serialize(changed))


def test_the_picture_given_is_left_alone(drawing, model_path):
    frozen = drawing.copy()
    frozen.flags.writeable = False
    ddpmcodec.encode(frozen, model=model_path, bpp=1, evaluations=3, effort=1)
    assert np.array_equal(frozen, drawing)


def test_views_of_arrays_are_coded_like_copies(drawing, model_path):
    options = {"model": model_path, "bpp": 1, "evaluations": 3, "effort": 1}
    for view in (drawing[::-1, ::2], drawing.transpose(1, 0, 2), drawing[..., ::-1]):
        assert ddpmcodec.encode(view, **options) == ddpmcodec.encode(view.copy(), **options)

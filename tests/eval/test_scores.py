"""Encodes that aim at a score."""

import pickle

import numpy as np
import pytest

from ddpmcodec import api
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.errors import PictureError
from ddpmcodec.eval import scores
from ddpmcodec.eval.ssimulacra2 import ssimulacra2

pytest.importorskip("ssimulacra2")


@pytest.mark.parametrize("wanted", [60.0, 85.0])
def test_ssimulacra2_is_reached_and_hardly_exceeded(photo, model, wanted):
    target = pickle.loads(pickle.dumps(scores.target("ssimulacra2", wanted)))  # as it goes to other processes
    e = api.encode_image(photo, target, EncodeOptions(evaluations=30, effort=1), model=model)
    assert wanted <= e.score <= wanted + 2  # a point on photos; this is a small part of one
    assert e.score == ssimulacra2(photo, np.asarray(api.decode(e.data, model=model, reconstruct="mean", orientations=1)))
    assert f"score {e.score:.2f}" in e.summary()


def test_a_score_out_of_reach_is_told(photo, model):
    said: list[str] = []
    e = api.encode_image(
        photo[:40, :40], scores.target("ssimulacra2", 100), EncodeOptions(evaluations=2, effort=1), said.append, model=model
    )
    assert said == [f"ssimulacra2 100 is out of reach: the best there is has {e.score:.3f}"]


def test_a_picture_that_is_too_small(photo, model):
    with pytest.raises(PictureError, match="SSIMULACRA2 takes no picture with a side under 8 pixels"):
        api.encode_image(photo[:7], scores.target("ssimulacra2", 50), EncodeOptions(evaluations=2, effort=1), model=model)

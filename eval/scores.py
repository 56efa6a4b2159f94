"""Targets of an encode by what is seen: a score of the decoded picture by a metric."""

import math
from functools import partial

import numpy as np

from ddpmcodec.errors import EvaluationError, PictureError
from ddpmcodec.eval import metrics
from ddpmcodec.target import Score

# Of each metric that an encode can aim at: by how much it may be exceeded, and what it gains where a typical picture gains 1 dB of PSNR,
# at least, at first, and at most (measured with photo-2; SSIMULACRA2 gains 5 to 25 below a score of 60, 2 at 90).
AIMS = {"ssimulacra2": (1.0, (1.5, 20.0, 40.0)), "cvvdp": (0.05, (0.01, 0.5, 1.0))}


def measured(original: np.ndarray, decoded: np.ndarray, name: str) -> float:
    """Return a metric of two pictures, (H, W, 3) uint8.

    Raises:
        PictureError: they are too small for it.
        EvaluationError: it fails.
    """
    metric = metrics.METRICS[name]
    if min(original.shape[:2]) < metric.side:
        raise PictureError(f"{metric.title} takes no picture with a side under {metric.side} pixels")
    value = metric.measure(original, decoded)
    if not math.isfinite(value):
        raise EvaluationError(f"{metric.title} of this picture is no number")
    return value


def target(name: str, score: float) -> Score:
    """Return the target of a score by a metric of `AIMS`.

    Raises:
        EvaluationError: it is missing here.
        ValueError: the score is no number.
    """
    if (reason := metrics.missing(metrics.METRICS[name])) is not None:
        raise EvaluationError(f"{name} {reason}")
    excess, per_db = AIMS[name]
    return Score(score, partial(measured, name=name), excess, per_db, name)

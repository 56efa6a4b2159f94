"""Results files in CompressAI's schema, ours and published ones, and the Bjontegaard delta rate between two of them."""

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ddpmcodec.errors import EvaluationError

METHODS = ("akima", "pchip")


class _Document(msgspec.Struct):
    results: dict[str, list[float | None]]
    name: str = ""
    description: str = ""


@dataclass(frozen=True)
class Curve:
    """Mean values of one codec, by rate.

    Attributes:
        bpp: bits per pixel, rising.
        metrics: by CompressAI's names ("psnr-rgb" in dB, "ms-ssim-rgb"), as long as `bpp`.
    """

    name: str
    description: str
    bpp: tuple[float, ...]
    metrics: dict[str, tuple[float, ...]]


def read(path: str) -> Curve:
    """`parse` of a file.

    Raises:
        EvaluationError: it cannot be read; as `parse`.
    """
    try:
        return parse(path, Path(path).read_bytes())
    except OSError as e:
        raise EvaluationError(f"{path}: {e.strerror}") from e


def parse(path: str, data: bytes) -> Curve:
    """A results file, by its path and its bytes.

    Raises:
        EvaluationError: it is not one, or its lists are not numbers of one length.
    """
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
        raise EvaluationError(f"{path} is no results file in CompressAI's schema: {e}") from e
    lists = {key.replace("psnr", "psnr-rgb") if key in ("psnr",) else key: values for key, values in document.results.items()}
    lists = {"ms-ssim-rgb" if key == "ms-ssim" else key: values for key, values in lists.items()}
    bpp = lists.pop("bpp", [])
    if not bpp or any(value is None or not value > 0 or not math.isfinite(value) for value in bpp):
        raise EvaluationError(f"{path} has no rates, or one that is not a positive number")
    order = sorted(range(len(bpp)), key=lambda i: bpp[i] or 0.0)
    metrics = {}
    for key, values in lists.items():
        if len(values) != len(bpp):
            raise EvaluationError(f"{path}: {key} has {len(values)} values for {len(bpp)} rates")
        numbers = [value for i in order if (value := values[i]) is not None and math.isfinite(value)]
        if len(numbers) == len(bpp):
            metrics[key] = tuple(numbers)
    return Curve(document.name or Path(path).stem, document.description, tuple(bpp[i] or 0.0 for i in order), metrics)


@dataclass(frozen=True)
class BDRate:
    """`percent` of the anchor's rate that the tested codec needs more (less where negative), between `low` and `high` of the metric.

    `overlap`: that range, of the whole that both curves span.
    """

    percent: float
    low: float
    high: float
    overlap: float


def _within(curve: Curve, metric: str, low: float, high: float) -> tuple[list[float], list[float]]:
    """Rates in a range and a metric there, of which only points that gain something are kept: the metric rises with the rate."""
    if metric not in curve.metrics:
        raise EvaluationError(f"{curve.name} has no {metric} at every rate")
    rates: list[float] = []
    values: list[float] = []
    for rate, value in zip(curve.bpp, curve.metrics[metric], strict=True):
        if low <= rate <= high and (not values or (value > values[-1] and rate > rates[-1])):
            rates.append(rate)
            values.append(value)
    return rates, values


def package():
    """The package bjontegaard.

    Raises:
        EvaluationError: it is missing.
    """
    try:
        import bjontegaard
    except ImportError as e:
        raise EvaluationError("BD-rates need the package bjontegaard: pip install 'ddpmcodec[eval]'") from e
    return bjontegaard


def bd_rate(
    anchor: Curve, test: Curve, *, metric: str = "psnr-rgb", method: str = "akima", low: float = 0.0, high: float = math.inf
) -> BDRate:
    """Bjontegaard delta rate (VCEG-M33; Akima or PCHIP interpolation of log rate over the metric), by the package bjontegaard.

    Args:
        low, high: rates in bpp that points are taken from.

    Raises:
        EvaluationError: the package is missing, a curve has fewer than four points there, or they do not overlap.
    """
    bjontegaard = package()
    curves = [_within(curve, metric, low, high) for curve in (anchor, test)]
    for curve, (rates, _) in zip((anchor, test), curves, strict=True):
        if len(rates) < 4:
            raise EvaluationError(f"{curve.name} has {len(rates)} points with rising {metric} in the range: a BD-rate takes four at least")
    (rates_a, values_a), (rates_b, values_b) = curves
    bottom, top = max(values_a[0], values_b[0]), min(values_a[-1], values_b[-1])
    if bottom >= top:
        ranges = " and ".join(f"{values[0]:.2f} ... {values[-1]:.2f}" for values in (values_a, values_b))
        raise EvaluationError(f"{anchor.name} and {test.name} do not overlap in {metric}: {ranges}")
    percent = bjontegaard.bd_rate(rates_a, values_a, rates_b, values_b, method=method, require_matching_points=False, min_overlap=0)
    whole = max(values_a[-1], values_b[-1]) - min(values_a[0], values_b[0])
    return BDRate(float(percent), bottom, top, (top - bottom) / whole)

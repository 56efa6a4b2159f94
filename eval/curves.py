"""Results files in CompressAI's schema, ours and published ones, and the Bjontegaard delta rate between two of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval import metrics

METHODS = ("akima", "pchip")
LARGEST = 1e100  # number in results that can be compared and drawn


class _Picture(msgspec.Struct):
    """One picture of our own results."""

    sha256: str
    points: list[dict[str, float | None]] = []
    left_out: str = ""


class _Document(msgspec.Struct):
    results: dict[str, list[float | None]]
    name: str = ""
    description: str = ""
    pictures: Any = None


Points = list[tuple[float, float]]  # rate in bpp, and a metric


@dataclass(frozen=True)
class Curve:
    """Mean values of one codec, by rate.

    Attributes:
        bpp: bits per pixel, rising.
        metrics: by CompressAI's names ("psnr-rgb" in dB, "ms-ssim-rgb"), as long as `bpp`.
        pictures: points of each picture, by its name and hash; none in published curves.
    """

    name: str
    description: str
    bpp: tuple[float, ...]
    metrics: dict[str, tuple[float, ...]]
    pictures: Mapping[str, list[dict[str, float | None]]] = field(default_factory=dict)

    def points(self, metric: str) -> Points:
        """Rate and a metric's mean.

        Raises:
            EvaluationError: it has not this metric at every rate.
        """
        if metric not in self.metrics:
            raise EvaluationError(f"{self.name} has no {metric} at every rate")
        return list(zip(self.bpp, self.metrics[metric], strict=True))

    def points_of(self, picture: str, metric: str) -> Points:
        """Rate and a metric of one picture, where it has both, by rate."""
        found = ((point.get("bpp"), point.get(metric)) for point in self.pictures[picture])
        return sorted((bpp, value) for bpp, value in found if bpp is not None and value is not None and bpp > 0)


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
    if "ms-ssim-db-rgb" in lists:
        decibels = lists.pop("ms-ssim-db-rgb")
        lists.setdefault(
            "ms-ssim-rgb", [1 - 10 ** (-value / 10) if value is not None and 0 <= value <= LARGEST else None for value in decibels]
        )
    bpp = lists.pop("bpp", [])
    if not bpp or any(value is None or not 0 < value <= LARGEST for value in bpp):
        raise EvaluationError(f"{path} has no rates, or one that is not a positive number")
    order = sorted(range(len(bpp)), key=lambda i: bpp[i] or 0.0)
    measured = {}
    for key, values in lists.items():
        if len(values) != len(bpp):
            raise EvaluationError(f"{path}: {key} has {len(values)} values for {len(bpp)} rates")
        numbers = [value for i in order if (value := values[i]) is not None and abs(value) <= LARGEST]
        if len(numbers) == len(bpp):
            measured[key] = tuple(numbers)
    try:
        pictures = msgspec.convert(document.pictures or {}, dict[str, _Picture])
    except msgspec.ValidationError:  # somebody else's
        pictures = {}
    points = {f"{name} {picture.sha256}": picture.points for name, picture in pictures.items() if not picture.left_out}
    return Curve(document.name or Path(path).stem, document.description, tuple(bpp[i] or 0.0 for i in order), measured, points)


@dataclass(frozen=True)
class BDRate:
    """`percent` of the anchor's rate that the tested codec needs more (less where negative), between `low` and `high` of the metric.

    `overlap`: that range, of the whole that both curves span.
    """

    percent: float
    low: float
    high: float
    overlap: float


@dataclass(frozen=True)
class MeanBDRate:
    """The mean of the BD-rates of single pictures, in percent.

    Attributes:
        pictures: how many have one.
        left_out: those that both curves have and that have none, and why.
    """

    percent: float
    pictures: int
    left_out: Mapping[str, str]


def _within(points: Points, rises: bool, low: float, high: float) -> tuple[list[float], list[float]]:
    """Rates in a range and a metric there, of which only points that gain something are kept, so that both rise; a falling one negated."""
    rates: list[float] = []
    values: list[float] = []
    for rate, value in points:
        value = value if rises else -value
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


def _bd_rate(anchor: Points, test: Points, names: tuple[str, str], metric: str, method: str, low: float, high: float) -> BDRate:
    bjontegaard = package()
    rises = metrics.rises(metric)
    (rates_a, values_a), (rates_b, values_b) = (_within(points, rises, low, high) for points in (anchor, test))
    for name, rates in zip(names, (rates_a, rates_b), strict=True):
        if len(rates) < 4:
            raise EvaluationError(f"{name} has {len(rates)} points of growing {metric} in the range: a BD-rate takes four at least")
    bottom, top = max(values_a[0], values_b[0]), min(values_a[-1], values_b[-1])
    sign = 1 if rises else -1
    if bottom >= top:
        ranges = " and ".join(f"{sign * values[0]:.2f} ... {sign * values[-1]:.2f}" for values in (values_a, values_b))
        raise EvaluationError(f"{' and '.join(names)} do not overlap in {metric}: {ranges}")
    percent = bjontegaard.bd_rate(rates_a, values_a, rates_b, values_b, method=method, require_matching_points=False, min_overlap=0)
    whole = max(values_a[-1], values_b[-1]) - min(values_a[0], values_b[0])
    return BDRate(float(percent), min(sign * bottom, sign * top), max(sign * bottom, sign * top), (top - bottom) / whole)


def bd_rate(
    anchor: Curve, test: Curve, *, metric: str = "psnr-rgb", method: str = "akima", low: float = 0.0, high: float = math.inf
) -> BDRate:
    """Bjontegaard delta rate of mean curves (VCEG-M33; Akima or PCHIP interpolation of log rate over the metric), by the package
    bjontegaard. `mean_bd_rate` is the fairer figure where there are pictures: means are taken at equal rates of ours, and at equal
    settings of others.

    Args:
        low, high: rates in bpp that points are taken from.

    Raises:
        EvaluationError: the package is missing, a curve has fewer than four points there, or they do not overlap.
    """
    return _bd_rate(anchor.points(metric), test.points(metric), (anchor.name, test.name), metric, method, low, high)


def mean_bd_rate(
    anchor: Curve, test: Curve, *, metric: str = "psnr-rgb", method: str = "akima", low: float = 0.0, high: float = math.inf
) -> MeanBDRate:
    """The mean over pictures of their own BD-rates, as the JPEG AI common test conditions and CompressAI's tables have it. As `bd_rate`.

    Raises:
        EvaluationError: the package is missing, or no picture that both have, byte for byte, has a BD-rate.
    """
    package()
    common = [name for name in anchor.pictures if name in test.pictures]
    percents: list[float] = []
    left_out: dict[str, str] = {}
    for name in common:
        try:
            curves = (anchor.points_of(name, metric), test.points_of(name, metric))
            percents.append(_bd_rate(*curves, (anchor.name, test.name), metric, method, low, high).percent)
        except EvaluationError as e:
            left_out[name] = str(e)
    if not percents:
        said = f": {next(iter(left_out.values()))}" if left_out else ""
        raise EvaluationError(f"{anchor.name} and {test.name} have no picture in common with a BD-rate by {metric}{said}")
    return MeanBDRate(sum(percents) / len(percents), len(percents), left_out)

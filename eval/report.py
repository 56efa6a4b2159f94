"""A report on results: one self-contained page with the curves, BD-rates, and pictures to compare."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec import quality
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval import curves, figures, page
from ddpmcodec.eval.choice import maker
from ddpmcodec.eval.codecs import Codec, Coded
from ddpmcodec.eval.curves import Curve
from ddpmcodec.eval.metrics import METRICS
from ddpmcodec.eval.progress import Counter
from ddpmcodec.progress import Progress, silent

PREFIX_RATIO = 1.25  # between the sizes of a progressive codec's files that are shown: each is a picture in the page


@dataclass(frozen=True)
class Results:
    """The curves and codecs that a page reports on.

    Attributes:
        codecs: by name, of `ours` and the others those that are here and can make pictures.
    """

    ours: Curve
    others: list[Curve]
    codecs: dict[str, Codec]


def document_of(data: bytes) -> dict[str, Any]:
    """Parse what a file holds, where it is a JSON object; else nothing."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def gather(sources: Mapping[str, bytes], name: str) -> Results:
    """Read results files, whose paths and bytes these are; `name` is ours.

    Raises:
        EvaluationError: one is no results file, or none is ours.
    """
    found = {curve.name: (data, curve) for path, data in sources.items() for curve in [curves.parse(path, data)]}
    if name not in found:
        raise EvaluationError(f"none of the results is of {name}: they are of {', '.join(found) or 'nothing'}")
    _, ours = found[name]
    made = {curve.name: maker(curve.name, document_of(data).get("settings")) for data, curve in found.values()}
    codecs = {of_name: codec for of_name, codec in made.items() if codec is not None}
    return Results(ours, [curve for _, curve in found.values() if curve is not ours], codecs)


def bd_rates(ours: Curve, others: Sequence[Curve], low: float, high: float) -> Iterator[list[str]]:
    """Yield a row for each other codec: its name, and the rate that `ours` needs more at the same quality, by each of `METRICS`."""

    def cell(other: Curve, metric: str) -> str:
        try:
            of_means = curves.bd_rate(other, ours, metric=metric, low=low, high=high).percent
        except EvaluationError:
            return "-"
        try:
            found = curves.mean_bd_rate(other, ours, metric=metric, low=low, high=high)
        except EvaluationError:  # a published curve has no pictures
            return f"({of_means:+.1f})"
        return f"{found.percent:+.1f} ({of_means:+.1f})"

    for other in others:
        yield [other.name, *(cell(other, metric) for metric in METRICS)]


def chosen(codec: Codec, pixels: np.ndarray, rates: Sequence[float]) -> list[Coded]:
    """Return the files of a picture that the page shows: of a progressive codec a ladder of prefixes, of others those nearest to the
    rates."""
    files = sorted(codec.curve(pixels), key=lambda coded: coded.bytes)
    if not codec.progressive:
        nearest = {min(range(len(files)), key=lambda i: abs(np.log(files[i].bpp / rate))) for rate in rates} if files else set()
        return [files[i] for i in sorted(nearest)]
    ladder: list[Coded] = []
    for coded in files:
        if not ladder or coded.bytes >= PREFIX_RATIO * ladder[-1].bytes or coded is files[-1]:
            ladder.append(coded)
    return ladder


def _file(original: np.ndarray, coded: Coded) -> dict[str, Any]:
    psnr = quality.psnr(original, coded.pixels)
    finite = {"psnr": psnr} if np.isfinite(psnr) else {}
    image = Image.fromarray(coded.pixels)
    return {"bytes": coded.bytes, "bpp": coded.bpp, **finite, "src": page.picture_uri(image), "small": page.thumbnail_uri(image)}


def viewer(pixels: np.ndarray, ours: Codec, others: Sequence[Codec], rates: Sequence[float], done: Callable[[], None]) -> str:
    """Return a viewer of a picture, ours beside the original and the others, as HTML.

    Args:
        rates: in bpp, at which the others are shown; the page opens at the middle one.

    Raises:
        EvaluationError: a codec refuses the picture.
    """
    files = [_file(pixels, coded) for coded in chosen(ours, pixels, rates)]
    if not files:
        raise EvaluationError(f"{ours.name} has no file of it")
    done()
    shown = {"original": [{"bytes": pixels.nbytes, "bpp": 24.0, "src": page.picture_uri(Image.fromarray(pixels))}]}
    for codec in others:
        shown[codec.name] = [_file(pixels, coded) for coded in chosen(codec, pixels, rates)]
        done()
    middle = sorted(rates)[len(rates) // 2]
    start = min(range(len(files)), key=lambda i: abs(np.log(files[i]["bpp"] / middle)))
    return page.viewer({"name": ours.name, "files": files, "others": {name: f for name, f in shown.items() if f}, "start": start})


def viewers(
    results: Results, pictures: Sequence[tuple[str, np.ndarray]], rates: Sequence[float], progress: Progress = silent
) -> list[tuple[str, str]]:
    """Code pictures by every codec that is here, and return names and `viewer` of each.

    Raises:
        EvaluationError: a codec refuses a picture.
    """
    ours = results.ours.name
    others = [codec for name, codec in results.codecs.items() if name != ours]
    advance = Counter(progress, len(pictures) * len(results.codecs))
    return [(name, viewer(pixels, results.codecs[ours], others, rates, advance)) for name, pixels in pictures]


def report(ours: Curve, others: Sequence[Curve], viewers: Sequence[tuple[str, str]], low: float, high: float) -> bytes:
    """Return the page.

    Args:
        viewers: names of pictures, and `viewer` of each.
        low, high: rates in bpp to draw and to compare.

    Raises:
        EvaluationError: matplotlib or bjontegaard is missing, or there is nothing in the range.
    """
    curves.package()
    plot = figures.rate_distortion([ours, *others], log_rate=True, low=low, high=high, kind="svg")
    rows = list(bd_rates(ours, others, low, high))
    used = [i for i in range(len(METRICS)) if any(row[1 + i] != "-" for row in rows)]
    heads, kept = [metric.title for metric in METRICS.values()], [[row[0], *(row[1 + i] for i in used)] for row in rows]
    parts = [page.section("Rate-distortion", page.figure(plot, "quality over rate"))]
    if used:
        note = (
            f"The rate in % that {ours.name} needs more than each codec at the same quality, less where negative: mean of the pictures'"
            " Bjontegaard delta rates, Akima interpolation of log rate; in parentheses that of the mean curves."
        )
        parts.append(page.section("BD-rate", page.table(["codec", *(heads[i] for i in used)], kept), page.paragraph(note)))
    if viewers:
        note = (
            "Right: ours, cut at the number of bytes that the slider says. Left: the original, or another codec's file of the nearest size."
        )
        parts.append(page.section("Pictures", page.paragraph(note), *(f"{page.paragraph(name)}{view}" for name, view in viewers)))
    described = [(curve.name, curve.description) for curve in (ours, *others)]
    parts.append(page.section("Codecs", page.table(["codec", "settings"], described, "text")))
    return page.document("Rate-distortion report", *parts)

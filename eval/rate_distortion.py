"""Rate-distortion curves by real bytes.

Every point is a file: its bytes counted, its picture compared as 8-bit RGB. One encode of ours gives all of its points: the prefix of
k steps counts the bytes of the file that `ddpmcodec.truncate(data, steps=k)` makes, and its PSNR comes from the encoder, which walks
the same chain as the decoder and evaluates the network there anyway. (A step that keeps the last x0hat, which only steps of more than
1.5 bpp do, has no picture of its own at its beginning and so gives no point there.)
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from ddpmcodec import container, encoder, picture, plan
from ddpmcodec.errors import RateError
from ddpmcodec.eval.anchors import ANCHORS
from ddpmcodec.models.checkpoint import Model

RATES = (0.25, 0.5, 1.0)  # bpp
DDPM = "ddpm"
# Our encodes go this much beyond the highest rate, so that it lies on the curve: a share, and bytes for the rounding of small files.
HEADROOM = 1.02
HEADROOM_BYTES = 32


@dataclass(frozen=True)
class Point:
    """One file: bytes, bits per pixel, PSNR in dB on 8-bit RGB (infinite where nothing was lost)."""

    bytes: int
    bpp: float
    psnr: float


def ddpm_curve(pixels: np.ndarray, model: Model, bpp: float, evaluations: int, effort: int) -> list[Point]:
    """The points of the prefixes of one encode, a little above `bpp`; none where not even an empty file is that small."""
    area = pixels.shape[0] * pixels.shape[1]
    limit = min(HEADROOM * bpp + 8 * HEADROOM_BYTES / area, plan.MAX_BPP)
    try:
        encoding = encoder.encode_pixels(pixels, model, bpp=limit, evaluations=evaluations, effort=effort)
    except RateError:
        return []
    parsed = container.parse(encoding.data)
    sizes = {k: container.serialized_size(parsed.header, parsed.steps[:k]) for k in encoding.prefix_psnr}
    return [Point(size, 8 * size / area, encoding.prefix_psnr[k]) for k, size in sizes.items()]


def anchor_curve(pixels: np.ndarray, name: str) -> list[Point]:
    """The points of an anchor at each of its qualities."""
    anchor = ANCHORS[name]
    area = pixels.shape[0] * pixels.shape[1]
    points = []
    for quality in anchor.qualities:
        data = anchor.encode(pixels, quality)
        points.append(Point(len(data), 8 * len(data) / area, picture.psnr(pixels, anchor.decode(data))))
    return points


def psnr_at(curve: Sequence[Point], bpp: float) -> float | None:
    """PSNR in dB at a rate, linear in log bpp between the curve's finite points; None outside of them."""
    best: dict[float, float] = {}
    for point in curve:
        if math.isfinite(point.psnr):
            best[point.bpp] = max(point.psnr, best.get(point.bpp, -math.inf))
    rates = sorted(best)
    if not rates or not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), [best[rate] for rate in rates]))


def mean(values: Iterable[float | None]) -> float | None:
    """The mean, or None where one of them is missing or there is none."""
    known = list(values)
    return None if None in known or not known else float(np.mean(known))  # type: ignore[arg-type]


def evaluate(
    pictures: Iterable[tuple[str, np.ndarray]],
    codecs: Sequence[str],
    rates: Sequence[float],
    model: Model | None = None,
    evaluations: int = plan.DEFAULT_EVALUATIONS,
    effort: int = plan.DEFAULT_EFFORT,
    progress: Callable[[str, str], None] = lambda codec, name: None,
) -> dict[str, dict]:
    """Curves of every codec on every picture.

    Args:
        pictures: names and (H, W, 3) uint8 pixels.
        codecs: "ddpm" or names of `ANCHORS`.
        rates: bpp at which the curves are compared.
        model: our denoiser, where "ddpm" is among the codecs.
        evaluations, effort: of our encoder.
        progress: called after each picture with the codec's and the picture's name.

    Returns:
        By codec, its results in CompressAI's schema ("name", "description" and "results", lists of means over pictures: ours by rate, an
        anchor's by quality) with "at_bpp", "pictures" and "versions" beside it. JSON-serializable: where a curve does not reach a rate,
        or nothing was lost, there is None; "results" leaves such points out.

    Raises:
        EvaluationError: this Pillow lacks one of the codecs, or one refuses a picture.
    """
    codecs = list(dict.fromkeys(codecs))
    if DDPM in codecs and model is None:
        raise ValueError("the codec 'ddpm' needs a model")
    for codec in codecs:
        if codec != DDPM:
            ANCHORS[codec].check()
    curves: dict[str, dict[str, list[Point]]] = {codec: {} for codec in codecs}
    for name, pixels in pictures:
        for codec in codecs:
            if codec == DDPM:
                assert model is not None
                curves[codec][name] = ddpm_curve(pixels, model, max(rates), evaluations, effort)
            else:
                curves[codec][name] = anchor_curve(pixels, codec)
            progress(codec, name)
    results = {codec: _results(codec, by_picture, rates) for codec, by_picture in curves.items()}
    if model is not None and DDPM in results:
        settings = {"model": {"name": model.name, "hash": model.hash.hex()}, "effort": effort, "evaluations": evaluations}
        results[DDPM] |= settings
    return results


def _results(codec: str, curves: dict[str, list[Point]], rates: Sequence[float]) -> dict:
    """What `evaluate` returns for a codec, but for our encoder's settings."""
    at_rates = {name: [psnr_at(curve, rate) for rate in rates] for name, curve in curves.items()}
    means = [mean(psnrs[i] for psnrs in at_rates.values()) for i in range(len(rates))]
    if codec == DDPM:
        description = "ddpmcodec, every prefix of one encode a picture"
        points = [(rate, psnr) for rate, psnr in zip(rates, means, strict=True) if psnr is not None]
    else:
        anchor = ANCHORS[codec]
        extra = "".join(f", {key} {value}" for key, value in anchor.options.items())
        description = f"Pillow's {anchor.format}{extra}, quality {', '.join(map(str, anchor.qualities))}"
        columns = list(zip(*curves.values(), strict=True))  # by quality
        mean_points = [(float(np.mean([p.bpp for p in c])), float(np.mean([p.psnr for p in c]))) for c in columns]
        points = [(bpp, psnr) for bpp, psnr in mean_points if math.isfinite(psnr)]
    return {
        "name": codec,
        "description": description,
        "results": {"bpp": [bpp for bpp, _ in points], "psnr-rgb": [psnr for _, psnr in points]},
        "at_bpp": _at_bpp(rates, means),
        "pictures": {
            name: {"points": [_point(p) for p in curve], "at_bpp": _at_bpp(rates, at_rates[name])} for name, curve in curves.items()
        },
        "versions": {package: version(package) for package in ("ddpmcodec", "torch", "pillow")},
    }


def _at_bpp(rates: Sequence[float], psnrs: Sequence[float | None]) -> list[dict]:
    return [{"bpp": rate, "psnr-rgb": psnr} for rate, psnr in zip(rates, psnrs, strict=True)]


def _point(point: Point) -> dict:
    return {"bytes": point.bytes, "bpp": point.bpp, "psnr-rgb": point.psnr if math.isfinite(point.psnr) else None}


def table(results: dict[str, dict]) -> str:
    """PSNR in dB of each codec at each rate, mean over pictures, as a Markdown table; "-" where a picture's curve does not reach it."""
    first = next(iter(results.values()))
    lines = [
        f"| PSNR-RGB in dB, {len(first['pictures'])} pictures | " + " | ".join(f"{entry['bpp']:g} bpp" for entry in first["at_bpp"]) + " |",
        "|---|" + "---:|" * len(first["at_bpp"]),
    ]
    for codec, result in results.items():
        cells = ["-" if entry["psnr-rgb"] is None else f"{entry['psnr-rgb']:.2f}" for entry in result["at_bpp"]]
        lines.append(f"| {codec} | " + " | ".join(cells) + " |")
    return "\n".join(lines)

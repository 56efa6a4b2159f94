"""Plots, by matplotlib (the extra `plot`)."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from ddpmcodec.errors import EvaluationError, printable
from ddpmcodec.eval import metrics

if TYPE_CHECKING:
    from ddpmcodec.eval.bench import Measurement
    from ddpmcodec.eval.curves import Curve


def progressive(results: Sequence[dict], kind: str = "png") -> bytes:
    """Figure 5 of arXiv 2006.11239, as "png" or "svg": distortion over reverse steps, rate over reverse steps, distortion over rate.

    Args:
        results: of `bits_per_dimension.summary`.

    Raises:
        ImportError: matplotlib is missing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    over_step, rates, over_rate = figure.subplots(1, 3)
    for result in results:
        rows = result["progressive"]
        done = [i / len(rows) for i in range(len(rows))]
        rmse, bits = [row["rmse"] for row in rows], [row["bits_per_dimension"] for row in rows]
        label = _label(f"{result['model']['name']}, {result['levels']} steps, {result['variance']}")
        over_step.plot(done, rmse, label=label)
        rates.plot(done, bits)
        over_rate.plot(bits, rmse)
    over_step.set(xlabel="share of the reverse steps", ylabel="distortion (RMSE of 255)")
    rates.set(xlabel="share of the reverse steps", ylabel="rate (bits per dimension)")
    over_rate.set(xlabel="rate (bits per dimension)", ylabel="distortion (RMSE of 255)")
    for axes in (over_step, rates, over_rate):
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
    over_step.legend(fontsize=8)
    return _saved(figure, kind)


def _saved(figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of names in letters that the font has not
        figure.savefig(buffer, format=kind, dpi=120)
    return buffer.getvalue()


# Wong's palette (Nature Methods 8, 441, 2011), which the colour-blind can tell apart; ours comes first, in black.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#F0E442")
MARKERS = "os^Dv<>P"
PANELS = 3  # a row
LONGEST_LABEL = 80  # characters


def _axis_label(metric: str) -> str:
    if metric == "ms-ssim-rgb":
        return "MS-SSIM (dB: -10 log10 (1 - MS-SSIM))"
    heading = metrics.METRICS[metric].heading if metric in metrics.METRICS else metric.upper()
    return heading if metrics.rises(metric) else f"{heading} (less is better)"


def _label(name: str) -> str:
    """A name that matplotlib shows as it is: between dollars it would be a formula, and with an underscore before it not be there.

    Of one that leaves no room for the curves the beginning.
    """
    shown = printable(name if len(name) <= LONGEST_LABEL else f"{name[:LONGEST_LABEL]}...").replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def rate_distortion(
    curves: "Sequence[Curve]",
    *,
    log_rate: bool = False,
    low: float = 0.0,
    high: float = math.inf,
    kind: str = "png",
    wanted: Sequence[str] = (),
) -> bytes:
    """Rate-distortion curves, one panel for each metric that a curve has.

    Args:
        wanted: names of metrics, if not all of them.
        low, high: rates in bpp to show.
        kind: "png" or "svg".

    Raises:
        ImportError: matplotlib is missing.
        EvaluationError: no curve has a point in the range.
    """
    from matplotlib.figure import Figure

    known = wanted or (*metrics.METRICS, *sorted(metrics.FALLING - set(metrics.METRICS)))
    shown = [metric for metric in known if any(metric in curve.metrics for curve in curves)]
    if absent := [metric for metric in wanted if metric not in shown]:
        raise EvaluationError(f"no curve has {absent[0]} at every rate")
    if not shown or not any(low <= rate <= high for curve in curves for rate in curve.bpp):
        raise EvaluationError("no curve has a quality to draw in that range of rates")
    columns, rows = min(len(shown), PANELS), math.ceil(len(shown) / PANELS)
    figure = Figure(figsize=(6.4 * columns, 4.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels[len(shown) :]:
        axes.remove()
    for axes, metric in zip(panels, shown, strict=False):
        for i, curve in enumerate(curves):
            if metric not in curve.metrics:
                continue
            points = [(r, v) for r, v in zip(curve.bpp, curve.metrics[metric], strict=True) if low <= r <= high]
            values = [-10 * math.log10(max(1 - v, 1e-9)) if metric == "ms-ssim-rgb" else v for _, v in points]
            turn, place = divmod(i - 1, len(COLOURS) - 1) if i else (0, -1)
            style = {"color": COLOURS[place + 1], "marker": MARKERS[place + 1], "markersize": 4, "linestyle": "--" if turn else "-"}
            axes.plot([r for r, _ in points], values, label=_label(curve.name), **style)
        if log_rate:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="rate (bits per pixel)", ylabel=_axis_label(metric))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    return _saved(figure, kind)


def overhead(photo: "Sequence[Measurement]", crop: "Sequence[Measurement]", kind: str = "png") -> bytes:
    """The channel coder's overhead and time over the KL of a step, by setting; dashed, on a crop, beside the Poisson coder.

    Args:
        photo, crop: the steps of a file of `ddpmcodec bench`.

    Raises:
        ImportError: matplotlib is missing.
        EvaluationError: nothing was measured.
    """
    from matplotlib.figure import Figure

    from ddpmcodec.eval import bench

    if not photo:
        raise EvaluationError("no step was measured")
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    compared = {("trellis", max(m.setting for m in photo)), ("poisson", bench.CHUNK_BITS), ("poisson", bench.UNBIASED_CHUNK_BITS)}
    shown = [m for m in crop if (m.coder, m.setting) in compared]
    styles = dict(zip(bench.curves([*photo, *shown]), cycle(zip(COLOURS, MARKERS, strict=True)), strict=False))
    for measurements, suffix, line in ((photo, "", "-"), (shown, f", {bench.CROP_SIDE}x{bench.CROP_SIDE}", "--")):
        for label, points in bench.curves(measurements).items():
            color, marker = styles[label]
            sent, us = zip(*points.values(), strict=True)
            for axis, values in zip(axes, ([100 * (ratio - 1) for ratio in sent], us), strict=True):
                axis.plot([*points], values, line, color=color, marker=marker, markersize=4, label=label + suffix)
    axes[0].set_ylabel("bits sent beyond the ideal bits conveyed (%)")
    axes[1].set_ylabel("time in the encoder (microseconds per bit sent)")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("KL of the step (bits)")
        axis.grid(alpha=0.3)
    percents = (5, 10, 20, 50, 100)
    axes[0].set_yticks(percents, [str(percent) for percent in percents])
    figure.legend(*axes[1].get_legend_handles_labels(), fontsize="small", loc="outside right upper")
    return _saved(figure, kind)


def steps(files: Mapping[str, Mapping[str, Any]], kind: str = "png") -> bytes:
    """Bits of each step of files, and all so far, over the noise level that the step reaches.

    Args:
        files: `ddpmcodec.info` of each, by name.

    Raises:
        ImportError: matplotlib is missing.
        EvaluationError: a file has no step.
    """
    from matplotlib.figure import Figure

    if empty := [name for name, info in files.items() if not info["steps"]]:
        raise EvaluationError(f"{empty[0]} has no steps to draw")
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    each, total = figure.subplots(1, 2)
    for i, (name, info) in enumerate(files.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 4, "label": _label(name)}
        sigmas = [step["sigma"] for step in info["steps"]]
        each.plot(sigmas, [step["bits"] for step in info["steps"]], **style)
        total.plot(sigmas, [step["bpp"] for step in info["steps"]], **style)
    each.set_ylabel("bits of the step")
    total.set_ylabel("file up to here (bits per pixel)")
    for axes in (each, total):
        axes.set(xscale="log", yscale="log", xlabel="noise that the step reaches (sigma of 255)")
        axes.invert_xaxis()
        axes.grid(alpha=0.3)
    each.legend(fontsize=9)
    return _saved(figure, kind)

"""Rate-distortion curves by real bytes, of several codecs on a set of pictures.

Every point is a file: its bytes counted, decoded, and compared as 8-bit RGB. One encode of ours gives all of its points: the prefix of
k steps counts the bytes of the file that `ddpmcodec.truncate(data, steps=k)` makes. (A step that keeps the last x0hat, which only steps
of more than 1.5 bpp do, has no picture of its own at its beginning and so gives no point there.)
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

import numpy as np

from ddpmcodec import workers
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval import metrics
from ddpmcodec.eval.codecs import Codec
from ddpmcodec.eval.curves import Curve
from ddpmcodec.eval.metrics import Metric
from ddpmcodec.eval.progress import Counter
from ddpmcodec.progress import Progress, silent

DEFAULT_METRICS = (metrics.METRICS["psnr-rgb"],)  # which every machine has
RATES = (0.25, 0.5, 1.0)  # bpp
# Where the mean curve of a progressive codec is read off, beside the rates asked for.
CURVE_RATES = (0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
TIMES = ("encoding_time", "decoding_time")

Entry = dict[str, Any]  # of a picture: its hash, its points or the error, and why it is left out of means, where it is


def value_at(points: Sequence[Mapping[str, Any]], bpp: float, metric: str = "psnr-rgb") -> float | None:
    """Read a metric off at a rate, linear in log bpp between the curve's points that have it; None outside of them."""
    better = max if metrics.rises(metric) else min
    best: dict[float, float] = {}
    for point in points:
        if (value := point.get(metric)) is not None:
            best[point["bpp"]] = better(value, best.get(point["bpp"], value))
    rates = sorted(best)
    if not rates or not rates[0] <= bpp <= rates[-1]:
        return None
    return float(np.interp(math.log(bpp), np.log(rates), [best[rate] for rate in rates]))


def rate_at(points: Sequence[Mapping[str, Any]], value: float, metric: str = "psnr-rgb") -> float | None:
    """Return the bpp at which a curve reaches a metric's value, as `value_at` draws it; None where it does not, or begins beyond."""
    sign = 1 if metrics.rises(metric) else -1
    rates: list[float] = []
    values: list[float] = []
    for point in sorted(points, key=lambda point: point["bpp"]):
        if point.get(metric) is not None and (not values or sign * point[metric] > values[-1]):
            rates.append(point["bpp"])
            values.append(sign * point[metric])
    if not values or not values[0] <= sign * value <= values[-1]:
        return None
    return float(np.exp(np.interp(sign * value, values, np.log(rates))))


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean, or None where one of them is missing or there is none."""
    known = list(values)
    return None if None in known or not known else float(np.mean(known))  # type: ignore[arg-type]


def fingerprint(pixels: np.ndarray) -> str:
    """A hash by which a picture is known to be the one measured before."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:16]


def entry_of(codec: Codec, pixels: np.ndarray, measured: Sequence[Metric] = DEFAULT_METRICS) -> Entry:
    """Measure one picture's points, or what the codec says against it; "unmeasured" says why a metric has no value at some of them."""
    entry: Entry = {"sha256": fingerprint(pixels), "side": min(pixels.shape[:2])}
    points: list[dict[str, float | None]] = []
    unmeasured: dict[str, str] = {}
    try:
        for coded in codec.curve(pixels):
            values, failures = metrics.quality(pixels, coded.pixels, measured)
            unmeasured |= failures
            times = zip(TIMES, (coded.encode_seconds, coded.decode_seconds), strict=True)
            if coded.precision is not None:
                entry["precision"] = coded.precision
            points.append({"bytes": coded.bytes, "bpp": coded.bpp, **values, **dict(times)})
    except EvaluationError as e:
        return entry | {"error": str(e)}
    return entry | {"points": points} | ({"unmeasured": unmeasured} if unmeasured else {})


def settings(codec: Codec, measured: Sequence[Metric] = DEFAULT_METRICS) -> dict[str, Any]:
    """Return all that a codec's results depend on, JSON-serializable."""
    return codec.settings() | {"metrics": {metric.name: metric.settings() for metric in measured}}


def measure(
    work: Iterable[tuple[str, Sequence[Codec], np.ndarray]], jobs: int, threads: int, measured: Sequence[Metric] = DEFAULT_METRICS
) -> Iterator[tuple[Codec, str, Entry]]:
    """Measure codecs on pictures, in `jobs` processes of `threads` threads each; in the order in which they are done.

    Args:
        work: a picture's name, the codecs that it is for, and its pixels.

    Raises:
        WorkerError: a process has died.
    """
    with workers.pool(jobs, threads) as pool:
        running: dict[Future, tuple[Codec, str]] = {}

        def finished(at_most: int) -> Iterator[tuple[Codec, str, Entry]]:
            while len(running) > at_most:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    codec, name = running.pop(future)
                    yield codec, name, future.result()

        for name, codecs, pixels in work:
            for codec in codecs:
                running[pool.submit(entry_of, codec, pixels, measured)] = codec, name
                yield from finished(2 * jobs)
        yield from finished(0)


def results(
    codec: Codec, entries: Mapping[str, Entry], rates: Sequence[float], measured: Sequence[Metric] = DEFAULT_METRICS
) -> dict[str, Any]:
    """Return a codec's results in CompressAI's schema ("name", "description" and "results", lists of means over pictures: by rate where
    it is progressive, else by quality), with "at_bpp", "pictures" and "settings" beside it. Pictures that are `left_out` are in "pictures"
    alone.

    JSON-serializable: where a curve does not reach a rate, a metric is missing or nothing was lost, there is None; "results" leaves such
    points, and metrics that no point has, out.
    """
    curves = {name: entry.get("points", []) for name, entry in compared(entries).items()}
    names = [*(metric.name for metric in measured), *TIMES]
    if codec.progressive:
        wanted = sorted({*rates, *(rate for rate in CURVE_RATES if min(rates) / 5 <= rate <= max(rates))})
        means = {metric: [mean(value_at(curve, rate, metric) for curve in curves.values()) for rate in wanted] for metric in names}
        bpps: list[float | None] = [*wanted]
    else:
        columns = list(zip(*(curve for curve in curves.values() if curve), strict=False)) if all(curves.values()) else []
        means = {metric: [mean(point[metric] for point in column) for column in columns] for metric in names}
        bpps = [mean(point["bpp"] for point in column) for column in columns]
    kept = [i for i in range(len(bpps)) if means["psnr-rgb"][i] is not None]
    lists = {"bpp": [bpps[i] for i in kept]} | {metric: [values[i] for i in kept] for metric, values in means.items()}
    at_bpp = [
        {"bpp": rate, **{metric.name: mean(value_at(curve, rate, metric.name) for curve in curves.values()) for metric in measured}}
        for rate in rates
    ]
    return {
        "name": codec.name,
        "description": codec.description(),
        "results": {metric: values for metric, values in lists.items() if metric in ("bpp", "psnr-rgb") or None not in values},
        "at_bpp": at_bpp,
        "settings": settings(codec, measured),
        "pictures": dict(entries),
    }


def compared(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the entries of the pictures that means are of."""
    return {name: entry for name, entry in entries.items() if "left_out" not in entry}


def incomparable(of_codecs: Mapping[str, Mapping[str, Entry]], rates: Sequence[float]) -> dict[str, str]:
    """Return the pictures to leave out of all means, and why: a codec has no quality of them at any rate, though it has of another picture.

    Means that were to have them would be missing at every rate; those of pictures that the other codecs have, too, cannot be compared.
    """
    found: dict[str, str] = {}
    for codec, entries in of_codecs.items():
        reach = {name: any(value_at(entry.get("points", []), rate) is not None for rate in rates) for name, entry in entries.items()}
        for name in (name for name, reaches in reach.items() if not reaches and any(reach.values())):
            found.setdefault(name, f"{codec}: {_reason(entries[name])}")
    return found


def _reason(entry: Entry) -> str:
    """Say why a picture's curve reaches no rate."""
    if "error" in entry:
        return entry["error"]
    if not entry["points"]:
        return "no file of it has so few bits"
    bpps = [point["bpp"] for point in entry["points"] if point["psnr-rgb"] is not None]
    return f"its files have {min(bpps):.3g} ... {max(bpps):.3g} bpp" if bpps else "its files are all without a loss"


def reusable(stored: Any, wanted: Mapping[str, Any]) -> dict[str, Entry]:
    """Return the pictures of earlier results that were measured with these settings and without an error; none of anything else."""
    if not isinstance(stored, dict) or stored.get("settings") != wanted or not isinstance(stored.get("pictures"), dict):
        return {}
    measured = {name: e for name, e in stored["pictures"].items() if isinstance(e, dict) and "sha256" in e and "points" in e}
    return {name: {key: value for key, value in e.items() if key != "left_out"} for name, e in measured.items()}


def stored(path: str) -> Any:
    """Read what a results file holds; None where it is not there, or not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def compare(
    pictures: Sequence[tuple[str, np.ndarray]],
    codecs: Mapping[str, Codec],
    rates: Sequence[float],
    measured: Sequence[Metric] = DEFAULT_METRICS,
    *,
    jobs: int,
    threads: int,
    known: Mapping[str, Any] | None = None,
    save: Callable[[str, dict[str, Any]], None] = silent,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """Measure codecs on pictures: the `results` of each, by name.

    Args:
        jobs, threads: as of `measure`.
        known: earlier results of codecs, whose pictures are not measured again where they and the settings are the same.
        save: called with a codec's name and its results so far whenever they grow, so that an interrupted evaluation can go on.

    Raises:
        WorkerError: a process has died.
    """
    entries: dict[str, dict[str, Entry]] = {}
    for name, codec in codecs.items():
        earlier = reusable((known or {}).get(name), settings(codec, measured))
        same = [picture for picture, pixels in pictures if earlier.get(picture, {}).get("sha256") == fingerprint(pixels)]
        entries[name] = {picture: earlier[picture] for picture in same}
    advance = Counter(progress, len(pictures) * len(codecs))
    advance(sum(map(len, entries.values())))

    def so_far(name: str) -> dict[str, Any]:
        in_order = {picture: entries[name][picture] for picture, _ in pictures if picture in entries[name]}
        return results(codecs[name], in_order, rates, measured)

    missing = ((name, [c for c in codecs.values() if name not in entries[c.name]], pixels) for name, pixels in pictures)
    for codec, picture, entry in measure([work for work in missing if work[1]], jobs, threads, measured):
        entries[codec.name][picture] = entry
        save(codec.name, so_far(codec.name))
        advance()
    for picture, reason in incomparable(entries, rates).items():
        for of_codec in entries.values():
            of_codec[picture]["left_out"] = reason
    found = {name: so_far(name) for name in codecs}
    for name in codecs if pictures else ():
        save(name, found[name])
    return found


def table(
    of_codecs: Mapping[str, Mapping[str, Any]],
    published: Sequence[Curve] = (),
    rates: Sequence[float] = RATES,
    metric: Metric = DEFAULT_METRICS[0],
) -> str:
    """Format a metric of each codec at each rate, mean over pictures, as a Markdown table; "-" where a picture's curve does not reach it.

    Args:
        published: mean curves from elsewhere, which come last.
    """
    rows_of = {codec: [entry.get(metric.name) for entry in result["at_bpp"]] for codec, result in of_codecs.items()}
    for curve in published:
        rows_of[f"{curve.name} (published)"] = [value_at(_of_published(curve, metric), rate, metric.name) for rate in rates]
    return _table(f"{metric.heading}, {_count(of_codecs)} pictures", [f"{rate:g} bpp" for rate in rates], rows_of, metric.digits)


def table_of_rates(of_codecs: Mapping[str, Mapping[str, Any]], published: Sequence[Curve], metric: Metric, values: Sequence[float]) -> str:
    """Format the bpp at which each codec reaches values of a metric (`rate_at`), otherwise as `table`."""
    rows_of = {}
    for codec, result in of_codecs.items():
        curves = [entry.get("points", []) for entry in compared(result["pictures"]).values()]
        rows_of[codec] = [mean(rate_at(curve, value, metric.name) for curve in curves) for value in values]
    for curve in published:
        rows_of[f"{curve.name} (published)"] = [rate_at(_of_published(curve, metric), value, metric.name) for value in values]
    return _table(f"bpp, {_count(of_codecs)} pictures", [f"{metric.title} {value:g}" for value in values], rows_of, 3)


def _of_published(curve: Curve, metric: Metric) -> list[dict[str, float]]:
    """Return the points of a curve from elsewhere; none where it has not the metric."""
    return [{"bpp": bpp, metric.name: value} for bpp, value in zip(curve.bpp, curve.metrics.get(metric.name, ()), strict=False)]


def _count(of_codecs: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many pictures means are of."""
    return max((len(compared(result["pictures"])) for result in of_codecs.values()), default=0)


def _table(title: str, heads: Sequence[str], rows_of: Mapping[str, Sequence[float | None]], digits: int) -> str:
    lines = [f"| {title} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, values in rows_of.items():
        lines.append(f"| {name} | " + " | ".join("-" if value is None else f"{value:.{digits}f}" for value in values) + " |")
    return "\n".join(lines)


def notes(of_codecs: Mapping[str, Mapping[str, Any]], measured: Sequence[Metric] = DEFAULT_METRICS) -> list[str]:
    """A line for each metric and reason for which it has no value, or uses fewer scales, with the number of pictures and one of them."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for result in of_codecs.values():
        for name, entry in compared(result["pictures"]).items():
            for metric, reason in entry.get("unmeasured", {}).items():
                found.setdefault((metric, reason), {})[name] = None
            for of in measured:
                if of.side <= entry.get("side", of.full_side) < of.full_side:
                    found.setdefault((of.name, f"uses fewer scales under {of.full_side} pixels a side"), {})[name] = None
    return [f"{metric} {reason}: {len(names)} pictures, such as {next(iter(names))}" for (metric, reason), names in found.items()]


def left_out(of_codecs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the pictures that are left out of all means though every codec takes them, and why."""
    entries = [(name, entry) for result in of_codecs.values() for name, entry in result["pictures"].items()]
    refused = {name for name, entry in entries if "error" in entry}
    return {name: entry["left_out"] for name, entry in entries if "left_out" in entry and name not in refused}


def refusals(of_codecs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each picture that a codec has refused or failed on."""
    entries = ((codec, name, entry) for codec, result in of_codecs.items() for name, entry in result["pictures"].items())
    return [f"{name}: {codec}: {entry['error']}" for codec, name, entry in entries if "error" in entry]


def rows(of_codecs: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every point of every picture, for a CSV."""
    for codec, result in of_codecs.items():
        for name, entry in result["pictures"].items():
            for point in entry.get("points", ()):
                yield {"codec": codec, "picture": name, **point}

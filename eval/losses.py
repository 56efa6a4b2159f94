"""Where the rate goes: what network, schedule and channel each cost over the ideal, and how good the schedule of steps is.

    ddpmcodec eval losses CBSD68 --stride 4 -o docs/results/losses.json

With infinitely fine steps a picture costs 1/2 integral of mse d(snr) nats a dimension up to any snr (section 3 of docs/format.md), mse(snr)
being the denoiser's: the ideal, which only a better network improves. Steps of finite size cost more, and the channel and the file's
tables more still. `docs/benchmarks.md` shows the outcome.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ddpmcodec import spacing, workers
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import DdpmcodecError, InputError, RateError
from ddpmcodec.eval import bits_per_dimension as bpd
from ddpmcodec.eval import curves, rate_distortion
from ddpmcodec.eval.codecs import HEADROOM
from ddpmcodec.eval.curves import Curve
from ddpmcodec.eval.progress import Counter
from ddpmcodec.eval.rate_distortion import mean, value_at
from ddpmcodec.eval.versions import versions
from ddpmcodec.format import container
from ddpmcodec.models import registry
from ddpmcodec.models.levels import ContinuousLevels
from ddpmcodec.models.process import bits_of_nats
from ddpmcodec.models.reverse import subsequence
from ddpmcodec.picture import Picture
from ddpmcodec.progress import Progress, silent
from ddpmcodec.target import Rate

FINE_LEVELS = 100
GRID = 400  # levels that a best schedule is chosen from
RATES = (0.25, 0.5, 1.0, 2.5)  # bpp
SCHEDULE_RATES = (0.3, 1.0, 2.0)  # bpp of the ideal
EVALUATIONS = (20, 30, 45, 60)
ROUNDING = 1 / 12  # squared error of rounding to 8 bits, of 255^2

Points = list[dict[str, float]]  # "bpp", "psnr-rgb"


class Denoising:
    """A picture's mse(snr), between the levels where it was measured linear in logarithms.

    Args:
        log_snr: (K,) rising.
        mse: (K,) of pictures in [-1, 1].
    """

    def __init__(self, log_snr: np.ndarray, mse: np.ndarray):
        self.log_snr = log_snr
        self._log_mse = np.log(np.maximum(mse, 1e-12))

    def mse(self, log_snr):
        """Return the mean squared error of x0hat in [-1, 1]."""
        return np.exp(np.interp(log_snr, self.log_snr, self._log_mse))

    def psnr(self, log_snr):
        """Return the PSNR of the 8-bit picture, in dB."""
        return 10 * np.log10(255**2 / (self.mse(log_snr) * 127.5**2 + ROUNDING))

    def fine_bits(self, log_snr: np.ndarray) -> np.ndarray:
        """Return the bits a dimension that infinitely fine steps take from the first of rising (M,) ln snr to each."""
        integrand = self.mse(log_snr) * np.exp(log_snr) / 2
        steps = np.diff(log_snr) * (integrand[1:] + integrand[:-1]) / 2
        return bits_of_nats(np.concatenate([[0.0], np.cumsum(steps)]))

    def bits(self, log_snr: Sequence[float]) -> float:
        """Return the bits a dimension of the steps between rising ln snr, with the codec's p."""
        snr = np.exp(np.asarray(log_snr))
        energy = self.mse(np.asarray(log_snr[:-1])) * np.diff(snr)
        return float(np.log2(1 + energy).sum() / 2)


def rule(denoising: Denoising, first: float, last: float, evaluations: int) -> list[float]:
    """Return ln snr of the levels that the encoder's schedule visits from `first` to `last`."""
    visited = [first]
    for left in range(evaluations - 1, 1, -1):
        error = float(denoising.mse(visited[-1])) * math.exp(visited[-1])
        visited.append(min(visited[-1] + spacing.next_step(spacing.WHITE, visited[-1], error, left, math.inf, last), last))
    return [*visited, last]


def best(denoising: Denoising, first: float, last: float, evaluations: int) -> list[float]:
    """Return ln snr of the levels along which this picture costs least."""
    levels = ContinuousLevels()
    grid = np.unique(np.linspace(first, last, GRID) / math.log(2) * levels.UNITS).round().astype(int).tolist()
    chosen = bpd.best_levels(levels, grid, denoising.mse([math.log(levels.snr(level)) for level in grid]), evaluations)
    return [first, *(math.log(levels.snr(level)) for level in chosen[1:-1]), last]


def even(denoising: Denoising, first: float, last: float, evaluations: int) -> list[float]:
    """Return levels of equal ratio."""
    return np.linspace(first, last, evaluations).tolist()


SCHEDULES: dict[str, Callable[[Denoising, float, float, int], list[float]]] = {"default": rule, "best": best, "equal ratios": even}


def excess(denoising: Denoising, schedule: Callable, bpp: float, evaluations: int) -> float | None:
    """Return what a schedule costs over fine steps that take `bpp`, as a share; None where the whole picture takes less."""
    fine = np.linspace(denoising.log_snr[0], denoising.log_snr[-1], 10 * len(denoising.log_snr))
    bits = denoising.fine_bits(fine)
    if 3 * bits[-1] < bpp:
        return None
    last = float(np.interp(bpp / 3, bits, fine))
    return denoising.bits(schedule(denoising, fine[0], last, evaluations)) / (bpp / 3) - 1


def analyse(pixels: np.ndarray, model_name: str, bpp: float, evaluations: int, effort: int) -> dict[str, Any]:
    """Measure a picture's denoising at fine levels, and a real encode: its points by the KL of its steps and the bytes of prefixes."""
    model = registry.find(model_name)
    levels = subsequence(model.levels, model.start, FINE_LEVELS)
    bound = bpd.evaluate(model, [("", pixels)], levels)
    encoding = encode_pixels(Picture(pixels), model, Rate(bpp * HEADROOM), EncodeOptions(evaluations, effort, tune="psnr"))
    parsed = container.parse(encoding.data)
    area = pixels.shape[0] * pixels.shape[1]
    kl = np.cumsum([0.0, *encoding.step_kl_bits])
    points = [
        {
            "kl_bpp": kl[k] / area,
            "bpp": 8 * container.serialized_size(parsed.header, parsed.steps[:k]) / area,
            "psnr-rgb": min(psnr, 100.0),
        }
        for k, psnr in encoding.prefix_psnr.items()
    ]
    return {"log_snr": [math.log(model.levels.snr(level)) for level in levels], "mse": bound.mse[0].tolist(), "points": points}


def points_of(result: Mapping[str, Any], advantage: float = 0.0) -> dict[str, Points]:
    """Return a picture's curves, by what is counted.

    Args:
        advantage: in dB, of a better denoiser, at every noise level.
    """
    denoising = Denoising(np.array(result["log_snr"]), np.array(result["mse"]))
    better = Denoising(denoising.log_snr, np.array(result["mse"]) * 10 ** (-advantage / 10))

    def fine(of: Denoising) -> Points:
        rates, psnrs = 3 * of.fine_bits(of.log_snr), of.psnr(of.log_snr)
        return [{"bpp": float(r), "psnr-rgb": float(p)} for r, p in zip(rates, psnrs, strict=True) if r > 0]

    steps = [{"bpp": p["kl_bpp"], "psnr-rgb": p["psnr-rgb"]} for p in result["points"] if p["kl_bpp"] > 0]
    real = [{"bpp": p["bpp"], "psnr-rgb": p["psnr-rgb"]} for p in result["points"]]
    return {"a better network": fine(better), "fine steps, KL": fine(denoising), "steps taken, KL": steps, "real bytes": real}


def losses_table(results: Mapping[str, Mapping[str, Any]], advantage: float) -> str:
    """Format PSNR in dB by what is counted, and the BD-rate of each against the ideal of this network, as Markdown."""
    of_pictures = [points_of(result, advantage) for result in results.values()]
    wanted = [r for r in rate_distortion.CURVE_RATES if 0.15 <= r <= 2.5]
    mean_curves = {}
    for label in of_pictures[0]:
        values = [(rate, mean(value_at(each[label], rate) for each in of_pictures)) for rate in wanted]
        known = [(rate, value) for rate, value in values if value is not None]
        mean_curves[label] = Curve(label, "", tuple(r for r, _ in known), {"psnr-rgb": tuple(v for _, v in known)})
    heads = " | ".join(f"{rate:g} bpp" for rate in RATES)
    lines = [f"| PSNR-RGB in dB, {len(of_pictures)} pictures | {heads} | BD-rate |", "|---|" + "---:|" * (len(RATES) + 1)]
    for label, curve in mean_curves.items():
        cells = [mean(value_at(each[label], rate) for each in of_pictures) for rate in RATES]
        against = curves.bd_rate(mean_curves["fine steps, KL"], curve).percent if label != "fine steps, KL" else 0.0
        lines.append(f"| {label} | {' | '.join('-' if c is None else f'{c:.2f}' for c in cells)} | {against:+.1f} % |")
    return "\n".join(lines)


def schedules(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Measure for each schedule, number of evaluations and rate the mean excess over fine steps, in percent."""
    each = [Denoising(np.array(result["log_snr"]), np.array(result["mse"])) for result in results.values()]
    found = []
    for name, schedule_of in SCHEDULES.items():
        for evaluations in EVALUATIONS:
            for rate in SCHEDULE_RATES:
                excesses = [e for denoising in each if (e := excess(denoising, schedule_of, rate, evaluations)) is not None]
                found.append({"schedule": name, "evaluations": evaluations, "bpp": rate, "percent": 100 * float(np.mean(excesses))})
    return found


def schedules_table(found: Sequence[Mapping[str, Any]]) -> str:
    """Format `schedules` as Markdown."""
    lines = ["| % over fine steps, at | evaluations | " + " | ".join(f"{rate:g} bpp" for rate in SCHEDULE_RATES) + " |"]
    lines.append("|---|---:|" + "---:|" * len(SCHEDULE_RATES))
    for name in SCHEDULES:
        for evaluations in EVALUATIONS:
            cells = [f"{f['percent']:.1f}" for f in found if f["schedule"] == name and f["evaluations"] == evaluations]
            lines.append(f"| {name} | {evaluations} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(
    pictures: Sequence[tuple[str, np.ndarray]],
    model_name: str,
    evaluations: int,
    effort: int,
    advantage: float,
    jobs: int,
    skipped: Callable[[str, DdpmcodecError], None] = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Analyse pictures, in `jobs` processes: a document with `analyse` of each as "pictures", and `schedules`.

    Args:
        advantage: in dB, of the better network that the table shows.
        skipped: told of pictures too small for a file of these rates.

    Raises:
        InputError: there is no picture, or none is left.
        WorkerError: a process has died.
    """
    if not pictures:
        raise InputError("no picture can be read")
    advance = Counter(progress, len(pictures))
    results = {}
    with workers.pool(jobs, 1) as pool:
        futures = [pool.submit(analyse, pixels, model_name, max(RATES), evaluations, effort) for _, pixels in pictures]
        for (name, _), future in zip(pictures, futures, strict=True):
            try:
                results[name] = future.result()
            except RateError as e:
                skipped(name, e)
            advance()
    if not results:
        raise InputError("no picture is large enough")
    model = registry.find(model_name)
    return {
        "model": model.identity(),
        "evaluations": evaluations,
        "effort": effort,
        "advantage": advantage,
        "versions": versions("ddpmcodec", "torch"),
        "schedules": schedules(results),
        "pictures": results,
    }


def tables(document: Mapping[str, Any]) -> str:
    """Format `measure` as Markdown tables."""
    return f"{losses_table(document['pictures'], document['advantage'])}\n\n{schedules_table(document['schedules'])}"

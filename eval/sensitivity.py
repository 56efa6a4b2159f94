"""How much quality a bit buys, by where it is spent: the instrument that the shape of the noise is tuned with.

    ddpmcodec eval sensitivity photos/ --sigma 30 --power 1

At a noise level, the noise of some coefficients (those of a band of frequencies in one colour) or of some places is made `STEP` octaves
finer and then coarser (models/whitening.py), with the same draw. The difference of a metric of the decoded picture, over the bits that it
takes, is divided by the same of all coefficients together. Where the noise has the best shape for a metric, all of these ratios are 1.

Bits are the ideal's: a coefficient whose prediction errs by e where its noise has the deviation s takes e^2 / s^2 nats for each unit of
-ln s, which is what KL(q || p) of a step (equation 7 of arXiv 2006.11239) becomes as the step shrinks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from ddpmcodec.errors import DdpmcodecError, EvaluationError, InputError
from ddpmcodec.eval import metrics
from ddpmcodec.eval.metrics import Metric
from ddpmcodec.eval.progress import Counter
from ddpmcodec.models import networks, whitening
from ddpmcodec.models.model import Model
from ddpmcodec.models.process import abar_of_snr, sigma_of_snr, snr_of_sigma
from ddpmcodec.progress import Progress, silent

BANDS = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 2.0)  # of frequencies, in units of Nyquist
CHANNELS = ("luma", "blue-yellow", "red-green")
ACTIVITIES = ("flattest quarter", "flatter", "busier", "busiest quarter")
ACTIVITY_RADIUS = 4.0  # pixels, of the Gaussian window in which the deviation of luma is taken
EDGE_RADIUS = 8.0  # pixels, over which a place's noise changes
STEP = 0.15  # octaves, each way

Change = tuple[np.ndarray | float, np.ndarray | float]  # added to log2 m, (3, H, W), and to log2 G, (H, W)


class Channel:
    """A picture at one noise level, decoded after its noise has been changed somewhere.

    Args:
        pixels: (H, W, 3) uint8.
        power: that the table's multipliers are raised to.
    """

    def __init__(self, pixels: np.ndarray, model: Model, sigma: float, power: float, seed: int):
        self.x_0 = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
        self.model = model
        self.level = model.levels.nearest(snr_of_sigma(sigma))
        self.sigma = sigma_of_snr(model.levels.snr(self.level)) / 127.5
        self.log2_m = power * whitening.log2_multipliers(*pixels.shape[:2])
        self.eps = np.random.default_rng(seed).standard_normal(self.x_0.shape, np.float32)

    def decode(self, change: Change = (0.0, 0.0)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decode the picture, (H, W, 3) uint8; errors of u over their noise, (3, H, W); errors of y over theirs, (3, H, W)."""
        m, field = np.exp2(self.log2_m + change[0]).astype(np.float32), np.asarray(np.exp2(change[1]), np.float32)
        u_0 = whitening.coefficients(self.x_0, field)
        u_t = u_0 + m * np.float32(self.sigma) * self.eps
        root_abar = math.sqrt(abar_of_snr(self.model.levels.snr(self.level)))
        y_t = torch.from_numpy(root_abar * whitening.whiten(u_t, m))[None]
        yhat = networks.predict_x_0(self.model, y_t, self.level)[0].numpy()
        x = whitening.picture_(whitening.unwhiten(yhat, m), field)
        decoded = np.rint(127.5 * (x.transpose(1, 2, 0) + 1)).clip(0, 255).astype(np.uint8)
        error = yhat - whitening.whiten(u_0, m)
        return decoded, whitening.unwhiten(error, np.ones_like(m)) / self.sigma, error / self.sigma


def activity_classes(pixels: np.ndarray) -> np.ndarray:
    """Return the quarter that each place belongs to by the local deviation of luma, (H, W) in 0 ... 3."""
    from scipy.ndimage import gaussian_filter

    luma = pixels @ np.array(whitening.LUMA)
    variance = gaussian_filter(luma**2, ACTIVITY_RADIUS) - gaussian_filter(luma, ACTIVITY_RADIUS) ** 2
    return np.searchsorted(np.quantile(variance, (0.25, 0.5, 0.75)), variance)


def subsets(pixels: np.ndarray) -> dict[str, tuple[Callable[[float], Change], np.ndarray]]:
    """Return by name the change that makes some noise so many octaves coarser, and which share of each bit counts to it.

    The weights are of coefficients for bands, and of pixels for activities; all coefficients come first.
    """
    from scipy.ndimage import gaussian_filter

    height, width = pixels.shape[:2]
    f = whitening.frequencies(height, width)
    found: dict[str, tuple[Callable[[float], Change], np.ndarray]] = {}

    def of_coefficients(weights: np.ndarray) -> tuple[Callable[[float], Change], np.ndarray]:
        return (lambda octaves: (octaves * weights, 0.0)), weights

    def of_places(weights: np.ndarray) -> tuple[Callable[[float], Change], np.ndarray]:
        return (lambda octaves: (0.0, octaves * weights)), weights

    found["all"] = of_coefficients(np.ones((3, height, width)))
    for channel, name in enumerate(CHANNELS):
        for low, high in pairwise(BANDS):
            weights = np.zeros((3, height, width))
            weights[channel] = (f >= low) & (f < high)
            found[f"{name}, {low:g} ... {high:g}"] = of_coefficients(weights)
    classes = activity_classes(pixels)
    for i, name in enumerate(ACTIVITIES):
        found[name] = of_places(gaussian_filter((classes == i).astype(np.float64), EDGE_RADIUS))
    return found


def measure(
    pixels: np.ndarray,
    model: Model,
    sigma: float,
    measured: Sequence[Metric],
    power: float = 0.0,
    seed: int = 0,
    tick: Callable[[], None] = silent,
) -> dict[str, dict[str, float]]:
    """Measure for each subset of a picture's bits its "share" of them, and how much each metric gains by `2 STEP` octaves less noise.

    Args:
        pixels: (H, W, 3) uint8.
        sigma: of the noise, of 255.
        measured: the metrics; a falling one is negated.
        power: that the table's multipliers are raised to: 0 for white noise in the colours of T.
        tick: called after each of the subsets.

    Raises:
        EvaluationError: a metric fails.
    """
    channel = Channel(pixels, model, sigma, power, seed)
    _, errors_of_u, errors_of_y = channel.decode()
    total = float(np.square(errors_of_u).sum())
    found = {}
    for name, (change, weights) in subsets(pixels).items():
        errors = errors_of_u if weights.ndim == 3 else errors_of_y
        gains = {"share": float((weights * np.square(errors)).sum()) / total}
        finer, coarser = (channel.decode(change(octaves))[0] for octaves in (-STEP, STEP))
        for metric in measured:
            values = []
            for decoded in (finer, coarser):
                value, failures = metrics.quality(pixels, decoded, [metric])
                if value[metric.name] is None:
                    raise EvaluationError(f"{metric.name} {failures.get(metric.name, 'is no number')}")
                values.append(value[metric.name] or 0.0)
            gains[metric.name] = (values[0] - values[1]) * (1 if metric.rises else -1)
        found[name] = gains
        tick()
    return found


def relative(of_pictures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Return means over pictures, by subset: the share of the bits, and each metric's gain a bit over that of the mean bit."""
    names = next(iter(of_pictures.values()))
    mean = {n: {k: float(np.mean([p[n][k] for p in of_pictures.values()])) for k in gains} for n, gains in names.items()}
    return {
        name: {"share": gains["share"]}
        | {k: (v / mean["all"][k]) / gains["share"] if gains["share"] else math.nan for k, v in gains.items() if k != "share"}
        for name, gains in mean.items()
    }


def table(rows: Mapping[str, Mapping[str, float]], measured: Sequence[Metric]) -> str:
    """Format `relative` as Markdown."""
    lines = [f"| of the bits | share | {' | '.join(f'{metric.title} a bit' for metric in measured)} |"]
    lines.append("|---|---:|" + "---:|" * len(measured))
    for name, row in rows.items():
        lines.append(f"| {name} | {row['share']:.3f} | {' | '.join(f'{row[metric.name]:.2f}' for metric in measured)} |")
    return "\n".join(lines)


def measure_all(
    pictures: Sequence[tuple[str, np.ndarray]],
    model: Model,
    sigma: float,
    power: float,
    measured: Sequence[Metric],
    skipped: Callable[[str, DdpmcodecError], None] = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure pictures: a document with `relative`, and `measure` of each picture.

    Args:
        skipped: told of pictures that a metric fails on.

    Raises:
        InputError: none is left.
    """
    subset_count = 1 + len(CHANNELS) * (len(BANDS) - 1) + len(ACTIVITIES)
    advance = Counter(progress, subset_count * len(pictures))
    of_pictures = {}
    for seed, (name, pixels) in enumerate(pictures):
        try:
            of_pictures[name] = measure(pixels, model, sigma, measured, power, seed, advance)
        except EvaluationError as e:
            skipped(name, e)
    if not of_pictures:
        raise InputError("no picture could be measured")
    return {
        "model": model.identity(),
        "sigma": sigma,
        "power": power,
        "metrics": {metric.name: metric.settings() for metric in measured},
        "relative": relative(of_pictures),
        "pictures": of_pictures,
    }

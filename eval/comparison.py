"""Three ways to send the same steps of the same model: the trellis, the Poisson functional representation, universal quantization.

    ddpmcodec eval comparison CBSD68 --stride 4 -o docs/results/comparison.json --plot docs/comparison.png

On the middle 64x64 of each picture, since the Poisson coder takes hours on a photo. The levels are those that our encoder visits; each way
then walks the whole chain over them, with its own x_t. Bits are those of the messages alone. `docs/comparison.md` shows the outcome.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import as_completed
from typing import Any

import numpy as np

from ddpmcodec import arrays, plan, quality, workers
from ddpmcodec.channel.channel import TrellisChannel, codeword
from ddpmcodec.channel.randomness import STREAM_START, SharedRandomness
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import DdpmcodecError, EvaluationError, InputError
from ddpmcodec.eval import curves, rate_distortion
from ddpmcodec.eval.crops import middles
from ddpmcodec.eval.curves import Curve
from ddpmcodec.eval.poisson import PoissonChannel
from ddpmcodec.eval.progress import Counter
from ddpmcodec.eval.rate_distortion import mean, value_at
from ddpmcodec.eval.universal import UniversalChannel
from ddpmcodec.eval.versions import versions
from ddpmcodec.format import container
from ddpmcodec.models import arithmetic, registry
from ddpmcodec.models.model import Model
from ddpmcodec.noise import delta_of, step_posterior
from ddpmcodec.picture import Picture
from ddpmcodec.prediction import predict_x_0
from ddpmcodec.progress import Progress, silent
from ddpmcodec.target import Rate

SIDE = 64
BPP = 3.0  # of our encode, whose levels all take
RATES = (0.25, 0.5, 1.0, 2.0)  # bpp of messages

# From delta (N,), the step and its KL in bits to z (N,) and the bits of the message.
Transmit = Callable[[np.ndarray, int, float], tuple[np.ndarray, float]]


def trellis(nu: int) -> Callable[[int, int], Transmit]:
    """Return the way of the format, with codes of `nu` bits of state."""

    def of(count: int, width: int) -> Transmit:
        channel = TrellisChannel(SharedRandomness(0, container.VERSION), count, width)

        def transmit(delta: np.ndarray, step: int, kl: float) -> tuple[np.ndarray, float]:
            n = codeword.legal_bits(min(round(plan.path_bits(kl, nu)), channel.dimensions // 2))
            return channel.receive(channel.send(delta, step, n, nu), step, n, nu), n

        return transmit

    return of


def poisson(chunk_bits: int) -> Callable[[int, int], Transmit]:
    """Return the way of the Poisson functional representation, in chunks of so many bits of KL at most."""

    def of(count: int, width: int) -> Transmit:
        channel = PoissonChannel(SharedRandomness(0, container.VERSION), count, width, chunk_bits)

        def transmit(delta: np.ndarray, step: int, kl: float) -> tuple[np.ndarray, float]:
            n = max(1, round(kl))
            message = channel.send(delta, step, n)
            return channel.receive(message, step, n), int.from_bytes(message, "little").bit_length()  # an ANS coder's state, so exact

        return transmit

    return of


def universal(count: int, width: int) -> Transmit:
    """Return the way of universal quantization."""
    channel = UniversalChannel(SharedRandomness(0, container.VERSION), count, width)
    return lambda delta, step, kl: channel.transmit(delta, step)


# Each with how many of the steps it takes: universal quantization wants many bits in a step.
METHODS: dict[str, tuple[Callable[[int, int], Transmit], int | None]] = {
    "trellis, nu = 16": (trellis(16), None),
    "trellis, nu = 12": (trellis(12), None),
    "Poisson, chunks of 16 bits": (poisson(16), None),
    "Poisson, chunks of 6 bits": (poisson(6), None),
    "universal quantization": (universal, None),
    "universal quantization, 15 steps": (universal, 15),
    "universal quantization, 8 steps": (universal, 8),
}


def thinned(levels: Sequence[int], count: int | None) -> list[int]:
    """Return `count` of the levels, evenly spread, the last among them; all for None."""
    if count is None or count >= len(levels):
        return list(levels)
    return [levels[round((i + 1) * len(levels) / count) - 1] for i in range(count)]


def walk(pixels: np.ndarray, model: Model, levels: Sequence[int], transmit: Transmit) -> list[dict[str, float]]:
    """Walk the chain over `levels`: after each step KL and message in bits and bpp so far, PSNR in dB, seconds in the channel so far."""
    x_0 = arrays.from_pixels(pixels)
    x_t = SharedRandomness(0, container.VERSION).gaussians(x_0.size, STREAM_START).reshape(x_0.shape)
    level, area = model.start, pixels.shape[0] * pixels.shape[1]
    kl = bits = seconds = 0.0
    points = []
    denoiser = arithmetic.denoiser(model, "cpu", "fp32")
    x0hat = predict_x_0(denoiser, x_t, level)
    for step, following in enumerate(levels):
        q = step_posterior(model.levels, following, level)
        delta = delta_of((x_0 - x0hat).reshape(-1), q)
        step_kl = plan.kl_bits(arrays.squared_norm(delta), delta.size)
        begin = time.perf_counter()
        z, step_bits = transmit(delta, step, step_kl)
        seconds += time.perf_counter() - begin
        kl, bits = kl + step_kl, bits + step_bits
        x_t, level = (q.mean(x0hat, x_t) + math.sqrt(q.variance) * z.reshape(x_t.shape)).astype(np.float32), following
        x0hat = predict_x_0(denoiser, x_t, level)
        psnr = quality.psnr(pixels, arrays.to_pixels(x0hat))
        points.append({"kl_bits": kl, "bits": bits, "bpp": bits / area, "psnr-rgb": min(psnr, 100.0), "seconds": seconds})
    return points


def compare(pixels: np.ndarray, model_name: str, method: str, evaluations: int) -> list[dict[str, float]]:
    """Walk one way over the levels that our encoder visits."""
    model = registry.find(model_name)
    steps = container.parse(encode_pixels(Picture(pixels), model, Rate(BPP), EncodeOptions(evaluations, 1, tune="psnr")).data).steps
    make, count = METHODS[method]
    levels = thinned([step.level for step in steps], count)
    return walk(pixels, model, levels, make(pixels.size, pixels.shape[1]))


def mean_curves(points: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> list[Curve]:
    """Return mean curves at the rates that all pictures reach."""
    found = []
    for method, each in points.items():
        values = [(rate, mean(value_at(p, rate) for p in each)) for rate in rate_distortion.CURVE_RATES]
        known = [(rate, value) for rate, value in values if value is not None]
        found.append(Curve(method, "", tuple(r for r, _ in known), {"psnr-rgb": tuple(v for _, v in known)}))
    return found


def summary(points: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> list[dict[str, Any]]:
    """Sum up each way in a row: bits over KL, milliseconds a step, PSNR at `RATES`, and BD-rate against the first, in percent.

    Args:
        points: by method, of each picture.
    """
    drawn = mean_curves(points)
    rows = []
    for curve, (method, each) in zip(drawn, points.items(), strict=True):
        try:
            percent = curves.bd_rate(drawn[0], curve, low=RATES[0]).percent
        except EvaluationError:  # its curve has too few points, or lies elsewhere
            percent = None
        rows.append(
            {
                "method": method,
                "steps": float(np.mean([len(p) for p in each])),
                "bits_per_kl": sum(p[-1]["bits"] for p in each) / sum(p[-1]["kl_bits"] for p in each),
                "milliseconds": 1e3 * sum(p[-1]["seconds"] for p in each) / sum(len(p) for p in each),
                "psnr-rgb": [mean(value_at(p, rate) for p in each) for rate in RATES],
                "bd_rate": percent,
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format `summary` as Markdown."""
    heads = " | ".join(f"{rate:g} bpp" for rate in RATES)
    lines = [f"| way | steps | bits/KL | ms a step | {heads} | BD-rate |", "|---|" + "---:|" * (len(RATES) + 4)]
    for row in rows:
        cells = ["-" if value is None else f"{value:.2f}" for value in row["psnr-rgb"]]
        rate = "-" if row["bd_rate"] is None else f"{row['bd_rate']:+.1f} %"
        lines.append(
            f"| {row['method']} | {row['steps']:.0f} | {row['bits_per_kl']:.3f} | {row['milliseconds']:.1f}"
            f" | {' | '.join(cells)} | {rate} |"
        )
    return "\n".join(lines)


def measure(
    pictures: Iterable[tuple[str, np.ndarray]],
    model_name: str,
    evaluations: int,
    jobs: int,
    skipped: Callable[[str, DdpmcodecError], None] = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compare on the middle of each picture, in `jobs` processes: a document with `summary`, and the points of each way and picture.

    Args:
        skipped: told of pictures that are too small.

    Raises:
        InputError: no picture is large enough.
        WorkerError: a process has died.
    """
    crops = dict(middles(pictures, SIDE, 1, skipped))
    if not crops:
        raise InputError(f"no picture has {SIDE}x{SIDE} pixels")
    advance = Counter(progress, len(METHODS) * len(crops))
    with workers.pool(jobs, 1) as pool:
        futures = {method: [pool.submit(compare, c, model_name, method, evaluations) for c in crops.values()] for method in METHODS}
        for _ in as_completed(future for each in futures.values() for future in each):
            advance()
        points = {method: [future.result() for future in each] for method, each in futures.items()}
    model = registry.find(model_name)
    return {
        "model": model.identity(),
        "evaluations": evaluations,
        "versions": versions("ddpmcodec", "torch"),
        "summary": summary(points),
        "pictures": [*crops],
        "points": points,
    }

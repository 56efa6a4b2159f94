"""What the channel coder costs and how good its samples are, on real steps of a real picture; the Poisson coder beside it.

For each noise level, x_t is drawn from q(x_t | x_0) and delta is that of the step which has the wanted KL; the message is really made and
received. Short steps are repeated with other shared randomness. `docs/coder.md` shows the outcome.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from statistics import mean
from typing import Any

import numpy as np

from ddpmcodec import arrays
from ddpmcodec import threads as computing
from ddpmcodec.channel.channel import Channel, TrellisChannel, codeword
from ddpmcodec.channel.randomness import STREAM_SAMPLING, SharedRandomness
from ddpmcodec.encoder import EncodeOptions
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval import timing
from ddpmcodec.eval.poisson import CHUNK_BITS, PoissonChannel
from ddpmcodec.eval.progress import Counter
from ddpmcodec.eval.versions import versions
from ddpmcodec.format.container import VERSION
from ddpmcodec.models import arithmetic, process, processor, registry
from ddpmcodec.models.model import Model
from ddpmcodec.noise import delta_of
from ddpmcodec.plan import NU_OF_EFFORT, energy_of, path_bits
from ddpmcodec.prediction import predict_x_0
from ddpmcodec.progress import Note, Progress, silent

SIGMAS = (100, 25, 6)  # of 255
STEP_BITS = (16, 64, 256, 1024, 4096, 16384, 65536)  # KL
# The Poisson coder's picture, with ours on the same steps.
CROP_CORNER, CROP_SIDE = (352, 150), 64
CROP_SIGMA, CROP_STEP_BITS = 25, (16, 64, 256, 1024, 4096)
# The usual chunk and the largest one that is hardly biased, at all steps; others at one step.
UNBIASED_CHUNK_BITS = 6
OTHER_CHUNK_BITS, OTHER_STEP_BITS = (14, 12, 10, 8), 1024
# A step of few bits is repeated until so many have been sent, within limits.
REPEATED_BITS = 8192
REPEATS = (3, 32)


@dataclass(frozen=True)
class Measurement:
    """A coder on a step: means over the repeats, but the least of their seconds.

    Attributes:
        coder: "trellis" or "poisson".
        setting: the trellis's nu, or the KL in bits that the Poisson coder's chunks have at most.
        sigma: noise level the step begins at, of 255.
        kl: bits of KL of the step, the ideal for a sample of q.
        bits: of the message, before it is padded to whole bytes.
        conveyed: the ideal bits really conveyed, -N / 2 log2(1 - rho^2) with rho the mean cosine of z and delta, whatever z's scale.
            Of a sample of q it is the KL; no code conveys more than it sends.
        send_seconds, receive_seconds: of the whole step, rotation included.
        projection: <delta, z> / |delta|^2, 1 for a sample of q.
        variance, kurtosis: of z - delta, 1 and 3 for a sample of q.
    """

    coder: str
    setting: int
    sigma: float
    kl: float
    bits: float
    conveyed: float
    send_seconds: float
    receive_seconds: float
    projection: float
    variance: float
    kurtosis: float

    @property
    def bits_per_kl(self) -> float:
        return self.bits / self.kl

    @property
    def efficiency(self) -> float:
        return self.conveyed / self.bits

    @property
    def us_per_bit(self) -> float:
        """Microseconds that the search takes for a bit of the message."""
        return self.send_seconds / self.bits * 1e6

    @property
    def label(self) -> str:
        return f"nu = {self.setting}" if self.coder == "trellis" else f"Poisson, {self.setting} bits"

    def record(self) -> dict[str, str | float]:
        """Return all of it, for JSON."""
        return asdict(self) | {"bits_per_kl": self.bits_per_kl, "efficiency": self.efficiency, "us_per_bit": self.us_per_bit}


def deltas(model: Model, pixels: np.ndarray, sigma: float, kls: Iterable[float]) -> Iterator[tuple[float, np.ndarray]]:
    """Yield each KL in bits with delta (N,) of the step that has it and begins at a noise of `sigma` of 255."""
    x_0 = arrays.from_pixels(pixels)
    level = model.levels.nearest(process.snr_of_sigma(sigma))
    snr = model.levels.snr(level)
    noise = SharedRandomness(0, VERSION).gaussians(x_0.size, STREAM_SAMPLING).reshape(x_0.shape)
    x_t = process.q_sample(x_0, process.abar_of_snr(snr), noise).astype(np.float32)
    error = x_0 - predict_x_0(arithmetic.denoiser(model, "cpu", "fp32"), x_t, level)
    for kl in kls:
        # The snr itself, not the nearest level: neighbouring ones may be hundreds of bits apart.
        snr_s = snr + energy_of(kl, codeword.padded_size(x_0.size, pixels.shape[1])) / arrays.squared_norm(error)
        q = process.posterior(process.abar_of_snr(snr_s), process.abar_of_snr(snr))
        yield kl, delta_of(error.astype(np.float64).reshape(-1), q)


def measure(channel: Channel, coder: str, setting: int, sigma: float, kl: float, delta: np.ndarray) -> Measurement:
    """Send and receive a step several times; for the arguments see `Measurement`."""
    n = codeword.legal_bits(round(path_bits(kl, setting))) if coder == "trellis" else round(kl)
    rows = []
    for step in range(min(max(round(REPEATED_BITS / kl), REPEATS[0]), REPEATS[1])):
        begin = time.perf_counter()
        message = channel.send(delta, step, n, setting)
        sent = time.perf_counter()
        z = channel.receive(message, step, n, setting).astype(np.float64)
        received = time.perf_counter()
        product, error = float(delta @ z), z - delta
        fourth = float(((error - error.mean()) ** 4).mean())
        variance, cosine, projection = (
            float(error.var(ddof=1)),
            product / float(np.linalg.norm(delta) * np.linalg.norm(z)),
            product / float(delta @ delta),
        )
        bits = n if coder == "trellis" else int.from_bytes(message, "little").bit_length()  # an ANS coder's state, so exact
        rows.append((bits, sent - begin, received - sent, cosine, projection, variance, fourth / variance**2))
    sizes, send, receive, cosines, *samples = zip(*rows, strict=True)
    conveyed = -delta.size / 2 * math.log2(1 - mean(cosines) ** 2)
    return Measurement(coder, setting, sigma, kl, mean(sizes), conveyed, min(send), min(receive), *map(mean, samples))


def measure_trellis(model: Model, pixels: np.ndarray, sigmas: Iterable[float], kls: Sequence[float]) -> Iterator[Measurement]:
    """Measure the format's coder at every effort, on every step that is within its limit of D / 2 bits."""
    channel = TrellisChannel(SharedRandomness(0, VERSION), pixels.size, pixels.shape[1])
    for sigma in sigmas:
        for kl, delta in deltas(model, pixels, sigma, kls):
            for nu in NU_OF_EFFORT.values():
                if path_bits(kl, nu) <= channel.dimensions // 2:
                    yield measure(channel, "trellis", nu, sigma, kl, delta)


def measure_poisson(model: Model, pixels: np.ndarray, sigma: float, kls: Sequence[float]) -> Iterator[Measurement]:
    """Measure the Poisson coder on steps of a picture of at most 64x64, in chunks of several sizes."""
    for kl, delta in deltas(model, pixels, sigma, kls):
        for chunk_bits in (CHUNK_BITS, UNBIASED_CHUNK_BITS, *(OTHER_CHUNK_BITS if kl == OTHER_STEP_BITS else ())):
            channel = PoissonChannel(SharedRandomness(0, VERSION), pixels.size, pixels.shape[1], chunk_bits)
            yield measure(channel, "poisson", chunk_bits, sigma, kl, delta)


HEAD = (
    "| coder | sigma | KL bits | bits/KL | efficiency | us a bit | ms a step | ms to receive | <delta,z>/delta^2 | variance | kurtosis |\n"
    "|---|" + "---:|" * 10
)


def row(m: Measurement) -> str:
    """Format a line of the Markdown table that `HEAD` begins."""
    return (
        f"| {m.label} | {m.sigma:g} | {m.kl:.0f} | {m.bits_per_kl:.3f} | {m.efficiency:.3f} | {m.us_per_bit:.2f}"
        f" | {m.send_seconds * 1e3:.1f} | {m.receive_seconds * 1e3:.1f} | {m.projection:.4f} | {m.variance:.4f} | {m.kurtosis:.3f} |"
    )


def curves(measurements: Sequence[Measurement]) -> dict[str, dict[float, tuple[float, float]]]:
    """Return by coder and KL, as means over noise levels: bits sent per ideal bit conveyed, and microseconds a bit sent."""

    def key(m: Measurement) -> tuple[str, int, float]:
        return m.coder, m.setting, m.kl

    found: dict[str, dict[float, tuple[float, float]]] = {}
    for (_, _, kl), group in groupby(sorted(measurements, key=key), key):
        same = list(group)
        found.setdefault(same[0].label, {})[kl] = (mean(1 / m.efficiency for m in same), mean(m.us_per_bit for m in same))
    return found


def summary(measurements: Sequence[Measurement]) -> str:
    """Format `curves` as a Markdown table: bits sent per ideal bit conveyed, then microseconds a bit."""
    by_coder = curves(measurements)
    lines = [
        f"| KL bits | {' | '.join(by_coder)} | {' | '.join(f'us, {label}' for label in by_coder)} |",
        "|---:" * (1 + 2 * len(by_coder)) + "|",
    ]
    for kl in sorted({m.kl for m in measurements}):
        cells = [f"{points[kl][i]:.{digits}f}" if kl in points else "-" for i, digits in ((0, 3), (1, 2)) for points in by_coder.values()]
        lines.append(f"| {kl:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def crop(pixels: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Cut the Poisson coder's picture, with its left and top at the corner.

    Raises:
        EvaluationError: it is not within the picture.
    """
    left, top = corner
    part = pixels[top : top + CROP_SIDE, left : left + CROP_SIDE]
    if part.shape[:2] != (CROP_SIDE, CROP_SIDE):
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise EvaluationError(f"{CROP_SIDE}x{CROP_SIDE} at {left}, {top} is not within the picture's {size}: --crop")
    return part


def run(
    pixels: np.ndarray,
    model_name: str,
    corner: tuple[int, int] | None,
    *,
    bpp: float,
    options: EncodeOptions,
    repeats: int,
    say: Note = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure the codec on a picture: everything, JSON-serializable.

    Args:
        pixels: (H, W, 3) uint8.
        corner: left and top of the crop on which the Poisson coder is measured; None to leave it out.
        bpp, options: of the file that is timed (`timing.measure`).
        repeats: of the encode and the decode, of whose seconds the medians are taken.
        say: told the tables line by line.
        progress: told how many steps have been measured; how many there are is not known, and 0.

    Raises:
        EvaluationError: the crop is not within the picture.
        WorkerError: a process has died.
    """
    part = None if corner is None else crop(pixels, corner)
    model = registry.find(model_name)
    height, width = pixels.shape[:2]
    threads = computing.count()
    advance = Counter(progress, 0)

    def told(title: str, measurements: Iterable[Measurement]) -> list[Measurement]:
        say(f"\n{title}\n\n{HEAD}")
        done = []
        for m in measurements:
            done.append(m)
            say(row(m))
            advance()
        return done

    say(f"{width}x{height}, {model.name}, {threads} threads of {processor.name()}, medians of {repeats}\n")
    times = timing.measure(pixels, model_name, bpp=bpp, options=options, threads=threads, repeats=repeats)
    say(timing.table(times))
    steps = told(f"steps of {width}x{height}", measure_trellis(model, pixels, SIGMAS, STEP_BITS))
    say(f"\nBits sent per ideal bit conveyed, and microseconds a bit sent: means over noise levels\n\n{summary(steps)}")
    left, top = corner or CROP_CORNER
    crop_steps: list[Measurement] = []
    if part is not None:
        ours = measure_trellis(model, part, [CROP_SIGMA], CROP_STEP_BITS)
        others = measure_poisson(model, part, CROP_SIGMA, CROP_STEP_BITS)
        crop_steps = told(f"steps of {CROP_SIDE}x{CROP_SIDE} at {left}, {top}", chain(ours, others))
    return {
        "timing": times,
        "photo": {"width": width, "height": height, "steps": [m.record() for m in steps]},
        "crop": {"left": left, "top": top, "side": CROP_SIDE, "steps": [m.record() for m in crop_steps]},
        "model": model.identity(),
        "threads": threads,
        "processor": processor.name(),
        "versions": versions("ddpmcodec", "ncnn", "numba", "numpy", "torch"),
    }

"""Encoding: a picture to a file of at most so many bytes, in one pass over the chain."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ddpmcodec import picture
from ddpmcodec.chain import State, coded, step_posterior, target, walk
from ddpmcodec.channel.channel import Channel, TrellisChannel
from ddpmcodec.channel.randomness import SharedRandomness
from ddpmcodec.errors import RateError
from ddpmcodec.format import container, tail
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import Header
from ddpmcodec.format.metadata import NONE, Metadata
from ddpmcodec.format.steptable import Step
from ddpmcodec.models import arithmetic
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.plan import (
    DEFAULT_BPP,
    DEFAULT_EFFORT,
    DEFAULT_EVALUATIONS,
    DEFAULT_MIN_BYTES,
    MAX_BPP,
    NU_OF_EFFORT,
    Plan,
    check_levels,
    kl_bits,
    sigma_of_quality,
)
from ddpmcodec.prediction import BFLOAT16_PIXELS, BFLOAT16_SIGMA

BFLOAT16_PSNR, BFLOAT16_BPP = 45.0, 3.0  # up to which bfloat16 will do, see `prediction`
PART = 1 << 22  # elements at a time, where a whole picture's would take too much memory


def energy(x: torch.Tensor) -> float:
    """|x|^2."""
    return sum(float(part.square().sum(dtype=torch.float64)) for part in x.split(PART))


@dataclass
class Encoding:
    """What an encode made and measured.

    Attributes:
        data: the file.
        pixels: the picture that the whole file decodes to, (P H, W, 3) uint8.
        psnr: its PSNR in dB, where it is visible; infinite where it is exact.
        tail_bytes: what the lossless end takes of the file.
        extra_bytes: what alpha and metadata take.
        kl_bits: the ideal, the sum over steps of KL(q || p).
        path_bits: bits of the steps' messages, before padding, checksums and tables.
        network_seconds, seconds: in the network, and in all.
        step_kl_bits: KL of each step.
        prefix_psnr: PSNR of the picture after so many steps, for those at which the network was evaluated.
    """

    data: bytes
    pixels: np.ndarray
    psnr: float
    tail_bytes: int
    extra_bytes: int
    kl_bits: float
    path_bits: int
    network_seconds: float
    seconds: float
    step_kl_bits: list[float] = field(repr=False)
    prefix_psnr: dict[int, float] = field(repr=False)

    @property
    def bpp(self) -> float:
        return 8 * len(self.data) / (self.pixels.shape[0] * self.pixels.shape[1])

    def summary(self) -> str:
        """One line of all of it; bits/KL counts all bits of the file but those of the lossless tail, alpha and metadata."""
        ratio = 8 * (len(self.data) - self.tail_bytes - self.extra_bytes) / self.kl_bits if self.kl_bits else float("inf")
        quality = f"lossless, tail {self.tail_bytes} bytes" if self.tail_bytes else f"PSNR {self.psnr:.2f} dB"
        return (
            f"{len(self.data)} bytes, {self.bpp:.4f} bpp, {quality}, KL {self.kl_bits:.0f} bits, bits/KL {ratio:.2f},"
            f" {self.network_seconds:.1f} s network, {self.seconds - self.network_seconds:.1f} s coder"
        )


class Sender:
    """The encoder's side of the chain: makes the message of each step that the plan names.

    Args:
        pixels: the picture, (P H, W, 3) uint8.
        visible: (P H, W) bool: what is not costs no bits, and its errors count for nothing. None: all is.
        progress: called with the evaluations done.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        visible: np.ndarray | None,
        header: Header,
        channel: Channel,
        plan: Plan,
        progress: Callable[[int], None],
    ):
        self.pixels = pixels
        self.visible = visible
        self.header = header
        self.channel = channel
        self.plan = plan
        self.progress = progress
        self.messages: list[bytes] = []
        self.kl_bits: list[float] = []
        self.network_seconds = 0.0
        self.shown = pixels  # the last picture evaluated
        self.psnr: dict[int, float] = {}

    def evaluate(self, state: State) -> torch.Tensor:
        """x0hat of a state, timed and compared with the picture."""
        state.kept = None
        begin = time.perf_counter()
        x0hat = state.x0hat
        self.network_seconds += time.perf_counter() - begin
        self.shown = picture.to_pixels(x0hat)
        self.psnr[state.index] = picture.psnr(self.pixels, self.shown, self.visible)
        self.progress(len(self.psnr))
        return x0hat

    def __call__(self, state: State) -> tuple[Step, bytes] | None:
        x0hat = state.kept if self.plan.keeps_x0hat else self.evaluate(state)
        assert x0hat is not None
        error = picture.to_tensor(self.pixels, self.header.pictures).sub_(x0hat)
        if self.visible is not None:
            error *= torch.from_numpy(self.visible).view(len(error), 1, *error.shape[2:])
        error = coded(error, self.header)
        step = self.plan.next_step(state.level, energy(error), self.psnr[max(self.psnr)])
        if step is None:
            return None
        error = target(error, step_posterior(self.header.levels, step.level, state.level))
        self.kl_bits.append(kl_bits(energy(error), self.header.elements))
        self.messages.append(self.channel.send(error, state.index, step.n, step.nu))
        return step, self.messages[-1]


def encode_pixels(
    pixels: np.ndarray,
    model: Model,
    *,
    gray: bool = False,
    alpha: np.ndarray | None = None,
    metadata: Metadata = NONE,
    bpp: float | None = None,
    max_bytes: int | None = None,
    quality: float | None = None,
    psnr: float | None = None,
    lossless: bool = False,
    evaluations: int = DEFAULT_EVALUATIONS,
    effort: int = DEFAULT_EFFORT,
    seed: int = 0,
    levels: Sequence[int] | None = None,
    pictures: int = 1,
    device: str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Encoding:
    """Encode (P H, W, 3) uint8 pixels: one picture, or P of one size, one above the other.

    At most one of `bpp`, `max_bytes`, `quality`, `psnr` and `lossless` says when to end.

    Args:
        gray: the three channels are equal, and only luma is coded.
        alpha: (P H, W) uint8, coded losslessly. Where it is 0 the colour is whatever comes, but for lossless files.
        metadata: to be carried.
        bpp: bits per pixel in (0, 24], never exceeded. Default: `DEFAULT_BPP`, or `DEFAULT_MIN_BYTES` where that is more.
        max_bytes: of the file, never exceeded.
        quality: in [0, 100], see `plan.sigma_of_quality`.
        psnr: in dB, of the 8-bit picture: reached, and exceeded by 0.3 dB at most; where it is out of reach, the best there is.
        evaluations: network evaluations that decoding takes, at least 2; where there is an end to be reached, not a size, see `plan.Plan`.
        effort: 1 ... 5, memory of the code (8, 10, 12, 14, 16).
        seed: of the shared randomness, in [0, 2^63).
        levels: noise levels to visit after the first, instead of an end, or on the way to a lossless tail. Without them a lossless file
            visits those that the model has found best for so many evaluations, if it has (`Model.schedules`).
        pictures: P.
        device, precision: of the network, see `models.arithmetic.on`. Lossless files are made in fp32.
        progress: called with the evaluations done and in all.

    Raises:
        RateError: not even an empty file fits `bpp` or `max_bytes`.
        ValueError: an option is out of its range, or `pictures` no divisor of the height.
    """
    if not (bpp is None or 0 < bpp <= MAX_BPP) or evaluations < 2 or effort not in NU_OF_EFFORT or not 0 <= seed < 1 << 63:
        raise ValueError(f"out of range: bpp={bpp}, evaluations={evaluations}, effort={effort} or seed={seed}")
    if (max_bytes or 0) < 0 or not (psnr is None or psnr > 0) or not 0 <= (quality or 0) <= 100:
        raise ValueError(f"out of range: max_bytes={max_bytes}, psnr={psnr} or quality={quality}")
    if sum((bpp is not None, max_bytes is not None, quality is not None, psnr is not None, lossless)) > 1:
        raise ValueError("at most one of bpp, max_bytes, quality, psnr and lossless says when to end")
    begin = time.perf_counter()
    rows, width = pixels.shape[:2]
    if pictures < 1 or rows % pictures:
        raise ValueError(f"{rows} rows are not {pictures} pictures")
    header = Header(width, rows // pictures, model.name, model.hash, model.levels, model.start, seed, pictures=pictures, gray=gray)
    if lossless and levels is None and evaluations in model.schedules:
        levels = model.schedules[evaluations][1:]
    if levels is not None:
        check_levels(model.levels, model.start, levels)
    alpha_body = None if alpha is None else picture.pack_alpha(alpha)
    extra = container.extra_size(alpha_body, metadata)
    least = container.serialized_size(header, ()) + extra
    if bpp is not None:
        max_bytes = int(bpp * header.pixels / 8)
    elif quality is not None or psnr is not None:
        max_bytes = least + int(MAX_BPP * header.pixels / 8) + DEFAULT_MIN_BYTES
    elif max_bytes is None:
        max_bytes = extra + max(DEFAULT_MIN_BYTES, int(DEFAULT_BPP * header.pixels / 8))
    budget = None if lossless or levels is not None else max_bytes
    if budget is not None and least > budget:
        asked = f"{budget} bytes" if bpp is None else f"{bpp:g} bpp is {budget} bytes"
        beside = f", {extra} of them alpha and metadata" if extra else ""
        raise RateError(f"{asked}, and this picture's smallest file has {least}: {8 * least / header.pixels:.3g} bpp{beside}")
    if budget is not None:
        budget -= extra
    fine = (
        header.pixels < BFLOAT16_PIXELS
        or (psnr or 0) > BFLOAT16_PSNR
        or (quality is not None and sigma_of_quality(quality) < BFLOAT16_SIGMA)
        or (quality is None and psnr is None and 8 * max_bytes > BFLOAT16_BPP * header.pixels)
    )
    model = arithmetic.on(model, device, "fp32" if lossless else precision, fine=fine)
    randomness = SharedRandomness(seed, container.VERSION)
    channel = TrellisChannel(randomness, header.elements, width)
    sigma = None if quality is None else sigma_of_quality(quality)
    plan = Plan(header, NU_OF_EFFORT[effort], evaluations, budget=budget, sigma=sigma, psnr=psnr, lossless=lossless, levels=levels)
    visible = alpha > 0 if alpha is not None and not lossless else None
    sender = Sender(pixels, visible, header, channel, plan, lambda done: progress(done, max(done, evaluations)))
    for state in walk(model, header, randomness, channel, sender):  # noqa: B007 - the last one is wanted
        pass
    if state.index not in sender.psnr:
        sender.evaluate(state)
    body = tail.encode(pixels, picture.planes(state.x0hat)) if lossless else None
    data = container.serialize(Container(header, tuple(plan.steps), tuple(sender.messages), body, alpha_body, metadata))
    return Encoding(
        data,
        pixels if lossless else sender.shown,
        float("inf") if lossless else sender.psnr[state.index],
        len(body or b""),
        extra,
        sum(sender.kl_bits),
        sum(step.n for step in plan.steps),
        sender.network_seconds,
        time.perf_counter() - begin,
        sender.kl_bits,
        sender.psnr,
    )

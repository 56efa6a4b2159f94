"""Encoding: a picture to a file of at most so many bytes, in one pass over the chain."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ddpmcodec import codeword, container, picture, schedule
from ddpmcodec.chain import State, step_posterior, target, walk
from ddpmcodec.channel import TrellisChannel, kl_bits
from ddpmcodec.container import Container, Header
from ddpmcodec.errors import RateError
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.randomness import SharedRandomness
from ddpmcodec.steptable import Step

DEFAULT_BPP = 1.0
DEFAULT_MIN_BYTES = 512  # without an explicit rate, small pictures get at least this
DEFAULT_EVALUATIONS = 30
DEFAULT_EFFORT = 3
NU_OF_EFFORT = {1: 8, 2: 10, 3: 12}
FINEST_SIGMA = 0.5  # of 255: below it a picture gains nothing that 8 bits would show
SHORTEST_STEP_BITS = 128  # where there is a choice: shorter ones are merged (measured on 64 x 64 pictures)
LAST_STEP_BITS = 48  # shorter, a step that fills up the budget is not worth its table entry
STARTING_BITS = 5  # measured for blocks of 16 to 1000 bits: eta n / (n + 5) of the ideal
STEP_COST_BITS = 8 * 2 + STARTING_BITS + 4  # of one more step, for planning: its table entry, starting bits and padding
STEP_TABLE_BYTES = 2.0  # what one more step adds to the table, for planning


def path_bits(kl: float, nu: int) -> float:
    """Path bits that carry `kl` ideal bits: those of long blocks, and what a block needs before its windows fill."""
    return kl / codeword.ETA[nu] + STARTING_BITS


def ideal_bits(n: float, nu: int) -> float:
    """The ideal bits that n path bits carry: the inverse of `path_bits`."""
    return max(0.0, codeword.ETA[nu] * (n - STARTING_BITS))


@dataclass
class Encoding:
    """What an encode made and measured.

    Attributes:
        data: the file.
        pixels: the picture that the whole file decodes to, (H, W, 3) uint8.
        psnr: its PSNR in dB.
        kl_bits: the ideal, the sum over steps of KL(q || p).
        path_bits: bits of the steps' messages, before padding, checksums and tables.
        network_seconds, seconds: in the network, and in all.
        step_kl_bits: KL of each step.
        prefix_psnr: PSNR of the picture after so many steps, for those at which the network was evaluated.
    """

    data: bytes
    pixels: np.ndarray
    psnr: float
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
        """One line of all of it; bits/KL counts the whole file's bits."""
        ratio = 8 * len(self.data) / self.kl_bits if self.kl_bits else float("inf")
        return (
            f"{len(self.data)} bytes, {self.bpp:.4f} bpp, PSNR {self.psnr:.2f} dB, KL {self.kl_bits:.0f} bits, bits/KL {ratio:.2f},"
            f" {self.network_seconds:.1f} s network, {self.seconds - self.network_seconds:.1f} s coder"
        )


class Sender:
    """The encoder's side of the chain: chooses each step and makes its message.

    Args:
        pixels: the picture, (H, W, 3) uint8.
        budget: bytes that the file may have, or None.
        evaluations: network evaluations that decoding the whole file takes, the last picture's included.
        nu: memory of the code.
        levels: visit exactly these instead of planning.
        progress: called with evaluations done and in all.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        header: Header,
        channel: TrellisChannel,
        budget: int | None,
        evaluations: int,
        nu: int,
        levels: Sequence[int] | None,
        progress: Callable[[int, int], None],
    ):
        self.pixels = pixels
        self.x_0 = picture.to_tensor(pixels)
        self.header = header
        self.channel = channel
        self.budget = budget
        self.evaluations = evaluations
        self.nu = nu
        self.levels = iter(levels) if levels is not None else None
        self.finest = header.levels.nearest((127.5 / FINEST_SIGMA) ** 2)
        self.progress = progress
        self.steps: list[Step] = []
        self.messages: list[bytes] = []
        self.kl_bits: list[float] = []
        self.network_seconds = 0.0
        self.evaluated = 0
        self.shown = pixels  # the last picture evaluated
        self.psnr: dict[int, float] = {}
        self.remainder = 0.0  # path bits that rounding has kept back so far
        self.destination: int | None = None  # where a step that had to be split is going

    def evaluate(self, state: State) -> torch.Tensor:
        """x0hat of a state, timed and compared with the picture."""
        begin = time.perf_counter()
        x0hat = state.x0hat
        self.network_seconds += time.perf_counter() - begin
        self.evaluated += 1
        self.shown = picture.to_pixels(x0hat)
        self.psnr[state.index] = picture.psnr(self.pixels, self.shown)
        self.progress(self.evaluated, max(self.evaluations, self.evaluated))
        return x0hat

    def __call__(self, state: State) -> tuple[Step, bytes] | None:
        if self.destination is not None and state.kept is not None:
            evaluate, x0hat = False, state.kept
        else:
            evaluate, x0hat = True, self.evaluate(state)
            self.destination = self.plan(state, x0hat)
        step = self.choose(state, x0hat, evaluate)
        if step is None:
            return None
        if step.level == self.destination:
            self.destination = None
        delta = target(self.x_0, x0hat, step_posterior(self.header.levels, step.level, state.level))
        self.steps.append(step)
        self.messages.append(self.channel.send(delta, state.index, step.n, step.nu))
        self.kl_bits.append(kl_bits(float(delta.double().square().sum()), self.header.elements))
        return step, self.messages[-1]

    def bits_left(self) -> float:
        """Path bits that one more step could have, about."""
        if self.budget is None:
            return math.inf
        return 8 * (self.budget - container.serialized_size(self.header, tuple(self.steps)) - STEP_TABLE_BYTES)

    def plan(self, state: State, x0hat: torch.Tensor) -> int | None:
        """The level to go to next, were there no limit to a step's bits; None at the end."""
        if self.levels is not None:
            return next(self.levels, None)
        steps_left = self.evaluations - self.evaluated
        if steps_left <= 0 or self.bits_left() < LAST_STEP_BITS or state.level == self.finest:
            return None
        if steps_left == 1:
            return self.finest
        levels, dimensions = self.header.levels, self.header.dimensions
        snr = levels.snr(state.level)
        error = squared_error(self.x_0, x0hat)
        nats = ideal_bits(self.bits_left() - steps_left * STEP_COST_BITS, self.nu) * math.log(2)
        log_step = schedule.next_step(
            math.log(snr),
            error * snr / self.header.elements,
            steps_left,
            nats / self.header.elements,
            math.log(levels.snr(self.finest)),
        )
        worthwhile = snr_reached(snr, error, SHORTEST_STEP_BITS, dimensions)
        level = levels.nearest(max(snr * math.exp(log_step), worthwhile))
        return self.towards(state.level, level, self.finest)

    def towards(self, origin: int, level: int, limit: int) -> int:
        """`level`, but at least one below `origin` in noise and not beyond `limit`."""
        levels = self.header.levels
        return levels.descend(origin, max(1, min(levels.distance(origin, level), levels.distance(origin, limit))))

    def choose(self, state: State, x0hat: torch.Tensor, evaluate: bool) -> Step | None:
        """The step to the destination, or as far as a step's bits, or the budget's, go; None where that is nowhere."""
        if self.destination is None:
            return None
        levels, dimensions = self.header.levels, self.header.dimensions
        snr, error = levels.snr(state.level), squared_error(self.x_0, x0hat)
        kl = kl_bits(error * (levels.snr(self.destination) - snr), dimensions)
        wanted = max(1, round(path_bits(kl, self.nu) + self.remainder))
        n = codeword.legal_bits(int(min(wanted, dimensions // 2, max(0, self.bits_left()))))
        while n:
            level = self.destination
            if shortened := n < codeword.legal_bits(wanted):
                if n < LAST_STEP_BITS:
                    return None
                reached = snr_reached(snr, error, ideal_bits(n, self.nu), dimensions)
                level = self.towards(state.level, levels.nearest(reached), self.destination)
                if levels.snr(level) > 1.1 * reached:  # neighbouring levels lie further apart than these bits go
                    return None
            step = Step(level, n, self.nu, evaluate)
            excess = 0 if self.budget is None else container.serialized_size(self.header, (*self.steps, step)) - self.budget
            if excess <= 0:
                self.remainder = 0.0 if shortened else wanted - n
                return step
            n = codeword.legal_bits(max(0, n - 8 * excess))
        return None


def squared_error(x_0: torch.Tensor, x0hat: torch.Tensor) -> float:
    """|x_0 - x0hat|^2."""
    return float((x_0 - x0hat).square().sum(dtype=torch.float64))


def snr_reached(snr: float, error: float, kl: float, dimensions: int) -> float:
    """The snr at which a step from `snr` with |x_0 - x0hat|^2 = `error` has spent `kl` bits: the inverse of `kl_bits`."""
    return snr + dimensions * math.expm1(2 * math.log(2) * kl / dimensions) / max(error, 1e-12)


def encode_pixels(
    pixels: np.ndarray,
    model: Model,
    *,
    bpp: float | None = None,
    evaluations: int = DEFAULT_EVALUATIONS,
    effort: int = DEFAULT_EFFORT,
    seed: int = 0,
    levels: Sequence[int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Encoding:
    """Encode (H, W, 3) uint8 pixels.

    Args:
        bpp: bits per pixel, never exceeded. Default: `DEFAULT_BPP`, or `DEFAULT_MIN_BYTES` where that is more.
        evaluations: network evaluations that decoding takes, at least 2.
        effort: 1 ... 3, memory of the code (8, 10, 12).
        seed: of the shared randomness, in [0, 2^63).
        levels: noise levels to visit, instead of a rate.
        progress: called with the evaluations done and in all.

    Raises:
        RateError: not even an empty file fits `bpp`.
    """
    begin = time.perf_counter()
    height, width = pixels.shape[:2]
    header = Header(width, height, model.name, model.hash, model.levels, model.start, seed)
    budget = None
    if levels is None:
        budget = int(bpp * header.pixels / 8) if bpp is not None else max(DEFAULT_MIN_BYTES, int(DEFAULT_BPP * header.pixels / 8))
        if (least := container.serialized_size(header, ())) > budget:
            raise RateError(f"{bpp:g} bpp are {budget} bytes for this picture, and the smallest file has {least}")
    randomness = SharedRandomness(seed, container.VERSION)
    channel = TrellisChannel(randomness, header.elements, width)
    sender = Sender(pixels, header, channel, budget, evaluations, NU_OF_EFFORT[effort], levels, progress)
    for state in walk(model, header, randomness, channel, sender):  # noqa: B007 - the last one is wanted
        pass
    if state.index not in sender.psnr:
        sender.evaluate(state)
    data = container.serialize(Container(header, tuple(sender.steps), tuple(sender.messages)))
    return Encoding(
        data,
        sender.shown,
        sender.psnr[state.index],
        sum(sender.kl_bits),
        sum(step.n for step in sender.steps),
        sender.network_seconds,
        time.perf_counter() - begin,
        sender.kl_bits,
        sender.psnr,
    )

"""The encoder, which makes a file of a picture in one pass over the chain (Algorithm 3 of arXiv 2006.11239)."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ddpmcodec import arguments, arrays, precision, quality
from ddpmcodec.chain import State, walk
from ddpmcodec.channel.channel import Channel, TrellisChannel
from ddpmcodec.channel.randomness import SharedRandomness
from ddpmcodec.denoiser import Denoiser
from ddpmcodec.errors import PictureError
from ddpmcodec.format import alpha, container, tail
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import Header
from ddpmcodec.format.steptable import Step
from ddpmcodec.models import arithmetic, devices, registry
from ddpmcodec.models.model import Model
from ddpmcodec.noise import noise_of
from ddpmcodec.picture import Picture
from ddpmcodec.plan import DEFAULT_EFFORT, DEFAULT_EVALUATIONS, MAX_EVALUATIONS, NU_OF_EFFORT, Plan, kl_bits
from ddpmcodec.progress import Progress, silent
from ddpmcodec.residual import residual_of
from ddpmcodec.roi import Roi
from ddpmcodec.shaping import TUNES, shape_for
from ddpmcodec.target import Lossless, Score, Target, check_budget

# Told of a picture evaluated: the number of steps that it takes, the original and the picture, both (P H, W, 3) uint8.
Watch = Callable[[int, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class EncodeOptions:
    """Options of an encode other than where it ends.

    Attributes:
        evaluations: network evaluations that decoding takes, at least 2.
        effort: 1 ... 5, the channel coder's search.
        seed: of the shared randomness, in [0, 2^63).
        tune: what the noise is shaped for, "perception", "psnr" (white), or "auto": perception, but psnr for models of the paper's kind
            and for lossless files.
        roi: the regions that get finer noise than the rest.
        device, precision, backend: of the network, as `models.arithmetic.denoiser` has them.

    Raises:
        ValueError: one of them is out of its range.
    """

    evaluations: int = DEFAULT_EVALUATIONS
    effort: int = DEFAULT_EFFORT
    seed: int = 0
    tune: str = "auto"
    roi: Roi | None = None
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"

    def __post_init__(self):
        for name in ("evaluations", "effort", "seed"):
            object.__setattr__(self, name, arguments.integer(name, getattr(self, name)))
        if not isinstance(self.roi, Roi | None):
            raise TypeError(f"roi is a Roi or None, not {type(self.roi).__name__}")
        if not 2 <= self.evaluations <= MAX_EVALUATIONS or self.effort not in NU_OF_EFFORT or not 0 <= self.seed < 1 << 63:
            raise ValueError(f"out of range: evaluations={self.evaluations}, effort={self.effort} or seed={self.seed}")
        if self.tune not in TUNES:
            raise ValueError(f"tune={self.tune!r} is none of {', '.join(TUNES)}")
        devices.check(self.device)
        if self.precision not in arithmetic.PRECISIONS:
            raise ValueError(f"precision={self.precision!r} is none of {', '.join(arithmetic.PRECISIONS)}")
        if self.backend not in arithmetic.BACKENDS:
            raise ValueError(f"backend={self.backend!r} is none of {', '.join(arithmetic.BACKENDS)}")


@dataclass
class Encoding:
    """A file that was encoded, and the measurements made on the way.

    Attributes:
        data: the file.
        pixels: the picture that the whole file decodes to, (P H, W, 3) uint8.
        psnr: its PSNR in dB, where it is visible; infinite where it is exact.
        score: its score, where the target is one; else None.
        tail_bytes: size of the lossless tail.
        extra_bytes: size of alpha and metadata.
        kl_bits: the ideal number of bits, the sum over steps of KL(q || p).
        path_bits: bits of the steps' messages, before padding, checksums and tables.
        network_seconds, seconds: time spent in the network, and in all.
        precision, backend, device: what the network has run in and on, as `ddpmcodec.denoiser.Denoiser` has them.
        has_map: whether regions of interest have a map.
        step_kl_bits: KL(q || p) of each step, in bits.
        prefix_psnr: PSNR in dB of the picture after so many steps, for those at which the network was evaluated.
    """

    data: bytes
    pixels: np.ndarray
    psnr: float
    score: float | None
    tail_bytes: int
    extra_bytes: int
    kl_bits: float
    path_bits: int
    network_seconds: float
    seconds: float
    precision: str
    backend: str
    device: str
    has_map: bool
    step_kl_bits: list[float] = field(repr=False)
    prefix_psnr: dict[int, float] = field(repr=False)

    @property
    def bpp(self) -> float:
        """Bits of the whole file per pixel."""
        return 8 * len(self.data) / (self.pixels.shape[0] * self.pixels.shape[1])

    def summary(self) -> str:
        """Return one line of all of it; bits/KL counts all bits of the file but those of the lossless tail, alpha and metadata."""
        ratio = 8 * (len(self.data) - self.tail_bytes - self.extra_bytes) / self.kl_bits if self.kl_bits else float("inf")
        reached = f"lossless, tail {self.tail_bytes} bytes" if self.tail_bytes else f"PSNR {self.psnr:.2f} dB"
        scored = "" if self.score is None else f", score {self.score:.2f}"
        return (
            f"{len(self.data)} bytes, {self.bpp:.4f} bpp, {reached}{scored}, KL {self.kl_bits:.0f} bits, bits/KL {ratio:.2f},"
            f" {self.network_seconds:.1f} s network ({self.backend}, {self.device}), {self.seconds - self.network_seconds:.1f} s coder"
        )


class Sender:
    """The encoder's side of the chain (`chain.Peer`): makes the message of each step that the plan names.

    Args:
        pixels: the picture, (P H, W, 3) uint8.
        visible: the pixels that count, (P H, W) bool: others cost no bits, and their errors are not measured. None: all count.
        target: whose score is measured, where it is one.
        progress: called with the number of evaluations done.
        watch: as `encode_pixels`.

    Attributes:
        messages, kl_bits: of each step so far.
        decoded: the last picture evaluated, (P H, W, 3) uint8.
        psnr: PSNR in dB of the pictures evaluated, by the number of steps before them.
        scores: by the metric of the target, where it has one and it was measured, likewise.
        network_seconds: time spent in evaluations.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        visible: np.ndarray | None,
        header: Header,
        channel: Channel,
        plan: Plan,
        target: Target,
        progress: Callable[[int], None],
        watch: Watch = silent,
    ):
        self.pixels = pixels
        self.visible = visible
        self.target = target
        self.header = header
        self.channel = channel
        self.plan = plan
        self.progress = progress
        self.watch = watch
        self.messages: list[bytes] = []
        self.kl_bits: list[float] = []
        self.network_seconds = 0.0
        self.decoded = pixels
        self.psnr: dict[int, float] = {}
        self.scores: dict[int, float] = {}

    def evaluate(self, state: State) -> np.ndarray:
        """Return x0hat of a state, timed and compared with the picture."""
        state.release()
        begin = time.perf_counter()
        x0hat = state.evaluate()
        self.network_seconds += time.perf_counter() - begin
        self.decoded = arrays.to_pixels(x0hat)
        self.psnr[state.index] = quality.psnr(self.pixels, self.decoded, self.visible)
        self.watch(state.index, self.pixels, self.decoded)
        self.progress(len(self.psnr))
        return x0hat

    def measured(self) -> float:
        """Return what the target measures of the last picture evaluated: its score, or else its PSNR in dB."""
        index = max(self.psnr)
        if not isinstance(self.target, Score):
            return self.psnr[index]
        if index not in self.scores:
            decoded = self.decoded if self.visible is None else np.where(self.visible[..., None], self.decoded, self.pixels)
            pairs = zip(*(np.split(pixels, self.header.pictures) for pixels in (self.pixels, decoded)), strict=True)
            self.scores[index] = float(np.mean([self.target.measure(*pair) for pair in pairs]))
        return self.scores[index]

    def __call__(self, state: State) -> tuple[Step, bytes] | None:
        """Return the next step and its message; None at the end."""
        x0hat = state.previous_x0hat if self.plan.keeps_x0hat else self.evaluate(state)
        assert x0hat is not None
        error = arrays.from_pixels(self.pixels, self.header.pictures)
        error -= x0hat
        if self.visible is not None:
            error *= self.visible.reshape(len(error), 1, *error.shape[2:])
        residual = residual_of(state.noise, error, state.level)
        step = self.plan.next_step(state.level, residual, self.measured)
        if step is None:
            return None
        delta = residual.delta(step.level)
        self.kl_bits.append(kl_bits(arrays.squared_norm(delta), self.header.elements))
        self.messages.append(self.channel.send(delta, state.index, step.n, step.nu))
        return step, self.messages[-1]


def denoiser_for(model: Model, header: Header, target: Target, max_bytes: int | None, options: EncodeOptions) -> Denoiser:
    """Return a model as the encoder of such a picture runs it.

    Args:
        max_bytes: the most bytes that the file may have; None where there is no limit.

    Raises:
        ModelError: there is no such device or library, or it cannot run the model.
    """
    return arithmetic.denoiser(
        model,
        options.device,
        precision.for_encoding(header, target, max_bytes, options.precision),
        backend=options.backend,
        bfloat16_from=precision.BFLOAT16_FROM,
        vulkan=precision.allows_vulkan(header, isinstance(target, Lossless)),
    )


def encode_pixels(
    picture: Picture,
    model: str | Path | Model,
    target: Target = Target(),  # noqa: B008 - frozen
    options: EncodeOptions = EncodeOptions(),
    progress: Progress = silent,
    watch: Watch = silent,
) -> Encoding:
    """Encode a picture, or several of one size that are coded together.

    Args:
        model: the denoiser, or its name or path.
        progress: called with the evaluations done and in all.
        watch: called with each picture evaluated.

    Raises:
        RateError: not even a file without steps is as small as the target asks.
        ModelError: there is no such model or device, or the network is one for fp32 only.
        PictureError: a region of interest is not inside the picture, or it is in colour, and the model of gray pictures.
        ConflictError: a lossless file is to have shaped noise.
        ValueError: the target's levels are not the model's, or in a wrong order.
    """
    begin = time.perf_counter()
    found = registry.resolve(model)
    if found.planes == 1 and not picture.gray:
        raise PictureError(f"model {found.name!r} is of gray pictures, and this one is in colour: convert it to gray")
    target = _with_best_levels(target, found, options.evaluations)
    target.check_levels(found.levels, found.start)
    header = _header(picture, found, options.seed)
    alpha_body = None if picture.alpha is None else alpha.pack(picture.alpha)
    extra = container.extra_size(alpha_body, picture.metadata)
    shape = shape_for(header, target, options.tune, options.roi)
    budget = check_budget(target, header, extra, container.serialized_size(header, (), shape) + extra)
    denoiser = denoiser_for(found, header, target, None if budget is None else budget + extra, options)
    exact = isinstance(target, Lossless)
    plan = Plan(header, NU_OF_EFFORT[options.effort], options.evaluations, target, budget, shape)
    sender, state = _send(picture, denoiser, header, plan, target, lambda done: progress(done, max(done, options.evaluations)), watch)
    body = tail.encode(picture.pixels, arrays.planes(state.evaluate())) if exact else None
    data = container.serialize(Container(header, tuple(plan.steps), tuple(sender.messages), body, alpha_body, picture.metadata, shape))
    return Encoding(
        data,
        picture.pixels if exact else sender.decoded,
        float("inf") if exact else sender.psnr[state.index],
        sender.scores.get(state.index),
        len(body or b""),
        extra,
        sum(sender.kl_bits),
        sum(step.n for step in plan.steps),
        sender.network_seconds,
        time.perf_counter() - begin,
        denoiser.precision,
        denoiser.backend,
        denoiser.device,
        shape is not None and shape.cell > 0,
        sender.kl_bits,
        sender.psnr,
    )


def _with_best_levels(target: Target, model: Model, evaluations: int) -> Target:
    """Return a lossless target with the visited levels that were found best for a model, where it has so many and none are given."""
    if isinstance(target, Lossless) and target.visited is None and evaluations in model.best_visited:
        return Lossless(tuple(model.best_visited[evaluations][1:]))
    return target


def _header(picture: Picture, model: Model, seed: int) -> Header:
    """Return the header of a picture's file."""
    rows, width = picture.pixels.shape[:2]
    identity = (model.name, model.hash, model.levels, model.start, seed)
    return Header(width, rows // picture.count, *identity, pictures=picture.count, gray=picture.gray)


def _send(
    picture: Picture, denoiser: Denoiser, header: Header, plan: Plan, target: Target, progress: Callable[[int], None], watch: Watch
) -> tuple[Sender, State]:
    """Walk the chain to the plan's end; return the sender, and the last state, whose picture has been evaluated."""
    randomness = SharedRandomness(header.seed, container.VERSION)
    channel = TrellisChannel(randomness, header.elements, header.width)
    visible = picture.alpha > 0 if picture.alpha is not None and not isinstance(target, Lossless) else None
    sender = Sender(picture.pixels, visible, header, channel, plan, target, progress, watch)
    for state in walk(denoiser, header, noise_of(header, plan.shape), randomness, channel, sender):  # noqa: B007 - the last one is wanted
        pass
    if state.index not in sender.psnr:
        sender.evaluate(state)
    if isinstance(target, Score):
        sender.measured()
    return sender, state

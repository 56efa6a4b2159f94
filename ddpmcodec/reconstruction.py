"""The picture that is shown of a file: x0hat, or one that is better for the eye. It is not in the chain, and not part of the format."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ddpmcodec import arguments, arrays, decoder
from ddpmcodec.chain import State
from ddpmcodec.channel.randomness import STREAM_SAMPLING, SharedRandomness
from ddpmcodec.denoiser import Denoiser
from ddpmcodec.format.container import VERSION, Container
from ddpmcodec.models.levels import Levels, sigma
from ddpmcodec.models.process import snr_of_sigma
from ddpmcodec.orientations import COUNTS, Oriented
from ddpmcodec.prediction import predict_x_0
from ddpmcodec.progress import Progress, silent

Step = Callable[[State, np.ndarray, int, int], np.ndarray]  # x_s of a state, its x0hat, the next level and the number of the step

KINDS = ("mean", "flow", "sample")
# Sampling the rest of the chain: ratio of snr between its levels, and the noise (of 255) at which it ends.
SAMPLING_RATIO = 1.5
SAMPLING_END = 1.0
# The probability flow: evaluations, x0hat's own among them; the noise (of 255) at which it ends; and the share of the way there that is
# shown, with which, over two orientations, no metric loses (docs/benchmarks.md).
FLOW_EVALUATIONS = 4
FLOW_END = 1.5
FLOW_SHARE = 0.3
FIT_SIGMA = 20.0  # of 255: noise in a reduced picture, whose x0hat is then 29 to 31 dB from the original (256 pixels of a photo of .7 Mpx)


@dataclass(frozen=True)
class Reconstruction:
    """A choice of what is shown.

    Attributes:
        kind: "mean", "flow" or "sample": as the functions of this module that have these names.
        orientations: of which the state's x0hat is the mean: 1, 2, 4 or 8 (`ddpmcodec.orientations`).
        seed: of the noise of "sample", in [0, 2^64).

    Raises:
        ValueError: one is out of its range.
        TypeError: a number is none.
    """

    kind: str = "mean"
    orientations: int = 1
    seed: int = 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"reconstruct is 'auto', 'mean', 'flow' or 'sample', not {self.kind!r}")
        if arguments.integer("orientations", self.orientations) not in COUNTS:
            raise ValueError(f"orientations = {self.orientations} is out of range: 1, 2, 4 or 8")
        if not 0 <= arguments.integer("seed", self.seed) < 1 << 64:
            raise ValueError(f"seed = {self.seed} is out of range: 0 ... 2^64 - 1")


MEAN = Reconstruction()
SHARPER = Reconstruction("flow", 2)


def choice(levels: Levels, kind: str = "auto", orientations: int | None = None, seed: int = 0) -> Reconstruction:
    """Return what to show of files with these noise levels.

    Args:
        kind: as of `Reconstruction`, or "auto": flow; x0hat, as in the paper, with models of its timesteps.
        orientations: None is 2; 1 with models of timesteps, many of which know pictures upright only.

    Raises:
        ValueError, TypeError: as `Reconstruction`.
    """
    default = MEAN if levels.counts_timesteps else SHARPER
    return Reconstruction(default.kind if kind == "auto" else kind, default.orientations if orientations is None else orientations, seed)


def visited(kind: str, levels: Levels, level: int) -> list[int]:
    """Return the levels at which a reconstruction evaluates the network beyond the level that the file leads to."""
    if kind == "mean":
        return []
    begin = math.log(levels.snr(level))  # logarithms: a model's snr may be next to nothing
    if kind == "sample":
        ratio = math.log(SAMPLING_RATIO)
        count = math.ceil((math.log(snr_of_sigma(SAMPLING_END)) - begin) / ratio)
    else:
        count = FLOW_EVALUATIONS - 1
        ratio = (math.log(snr_of_sigma(FLOW_END)) - begin) / count
    places = [level, *(levels.nearest(math.exp(begin + (i + 1) * ratio)) for i in range(count))]
    return [after for before, after in itertools.pairwise(places) if levels.distance(before, after) > 0]


def evaluated_levels(container: Container, shown: Reconstruction) -> list[int]:
    """Return the levels at which `decoded` evaluates the network."""
    *coded, last = decoder.evaluated_levels(container)
    if container.tail is not None and shown.kind != "sample":
        return [*coded, last]
    return [*coded, *shown.orientations * [last], *visited(shown.kind, container.header.levels, last)]


def decoded(container: Container, denoiser: Denoiser, shown: Reconstruction = MEAN, progress: Progress = silent) -> np.ndarray:
    """Return the picture that is shown after the last whole step, as `pixels` returns it.

    Args:
        progress: called with the network evaluations done and in all.

    Raises:
        DriftError, ModelError: as `pixels`.
    """
    total = len(evaluated_levels(container, shown))
    before = len(decoder.evaluated_levels(container)) - 1 + shown.orientations
    state = decoder.last_state(container, denoiser, lambda done, _: progress(done, total), evaluate=shown.orientations == 1)
    picture = pixels(container, state, shown, lambda done, _: progress(before + done, total), reuse=True)
    progress(total, total)
    return picture


def pixels(
    container: Container, state: State, shown: Reconstruction = MEAN, progress: Progress = silent, reuse: bool = False
) -> np.ndarray:
    """Return the picture at a state, (P H, W, 3) uint8; the exact one where the file has it, unless it is to be a sample.

    Args:
        progress: as `flow` and `sample` call it.
        reuse: as of `flow`.

    Raises:
        DriftError: the exact picture cannot be recovered here.
        ModelError: the network predicts values that are not numbers.
    """
    if shown.kind == "sample":
        x_0 = sample(state, shown.seed, shown.orientations, progress)
    elif decoder.has_exact(container, state):
        return decoder.pixels(container, state)
    elif shown.kind == "flow":
        x_0 = flow(state, shown.orientations, progress, reuse=reuse)
    else:
        x_0 = mean(state, shown.orientations)
    return arrays.to_pixels(x_0)


def mean(state: State, orientations: int = 1) -> np.ndarray:
    """Return x0hat, (P, 3, H, W) in [-1, 1], the mean over so many orientations of what the network sees."""
    if orientations == 1:
        return state.evaluate()
    return State(Oriented(state.denoiser, orientations), state.noise, state.index, state.level, state.x_t).evaluate()


def flow(state: State, orientations: int = 1, progress: Progress = silent, share: float = FLOW_SHARE, reuse: bool = False) -> np.ndarray:
    """Return x0hat and a share of the way to the probability flow's end: x_0 where DDIM without noise (arXiv 2010.02502) leads from x_t.

    x0hat is the mean of all x_0 that x_t can stand for, and lacks the details in which they differ; the flow's end is like one of them.

    Args:
        orientations: of x0hat; those of the way have one.
        progress: called with the network evaluations done and in all, beyond x0hat.
        share: 0 is x0hat, 1 the end.
        reuse: reuse the memory of the state's x_t, where no chain goes on from it: large pictures need it.

    Returns:
        x_0, (P, 3, H, W) in [-1, 1].
    """

    def led(state: State, x0hat: np.ndarray, level: int, i: int) -> np.ndarray:
        return state.noise.flow(state.x_t, x0hat, state.level, level)

    x0hat = mean(state, orientations)
    if not visited("flow", state.denoiser.levels, state.level):
        return x0hat
    if not reuse:
        state = replace(state, x_t=state.x_t.copy())
    x_0 = _end("flow", state, x0hat, led, progress)
    x_0 -= x0hat
    x_0 *= np.float32(share)
    x_0 += x0hat
    return x_0


def sample(state: State, seed: int = 0, orientations: int = 1, progress: Progress = silent) -> np.ndarray:
    """Sample x_0 from p given a state: Algorithm 4's stochastic decoder, which draws the rest of the chain.

    Args:
        seed: of the decoder's own noise, in [0, 2^64).
        orientations, progress: as `flow`.

    Returns:
        x_0, (P, 3, H, W) in [-1, 1].
    """
    randomness = SharedRandomness(seed, VERSION)

    def drawn(state: State, x0hat: np.ndarray, level: int, i: int) -> np.ndarray:
        z = randomness.gaussians(state.x_t.size, STREAM_SAMPLING, i).reshape(state.x_t.shape)
        return state.noise.sample(state.x_t, x0hat, state.level, level, z)

    return _end("sample", state, mean(state, orientations), drawn, progress)


def _end(kind: str, state: State, x0hat: np.ndarray, step: Step, progress: Progress) -> np.ndarray:
    """Return x0hat at the end of a chain that goes on from a state and its x0hat."""
    levels = visited(kind, state.denoiser.levels, state.level)
    for i, level in enumerate(levels):
        state = State(state.denoiser, state.noise, state.index, level, step(state, x0hat, level, i))
        del x0hat  # before the next, as large pictures need its memory
        x0hat = state.evaluate()
        progress(i + 1, len(levels))
    return x0hat


def fitting(container: Container, denoiser: Denoiser, side: int, progress: Progress = silent) -> np.ndarray:
    """Return the picture, (P H, W, 3) uint8, for someone who will reduce it to `side` pixels at most: fast, as fine details will not show.

    It is that of as many steps as reach `FIT_SIGMA` there: means of r^2 pixels have 1 / r of the noise. The network sees the means of 2 x 2
    or 4 x 4 pixels for it, where these are still finer.
    """
    header = container.header
    ratio = max(header.width, header.height) / side
    if ratio <= 1:
        return decoded(container, denoiser, choice(container.header.levels), progress)
    received = container.steps[: len(container.messages)]
    enough = (i for i, step in enumerate(received, 1) if sigma(header.levels, step.level) <= FIT_SIGMA * ratio)
    count = next(enough, len(received))
    for state in decoder.states(replace(container, messages=container.messages[:count]), denoiser):
        progress(state.index, count + 1)
    folds = next((((fold, state.level),) for fold in (4, 2) if fold <= ratio), state.noise.folds)
    predicted = predict_x_0(denoiser, state.noise.seen(state.x_t, state.level), state.level, folds, state.noise.clamps)
    return arrays.to_pixels(state.noise.picture(predicted, state.level))

"""The chain x_T ... x_0 that encoder and decoder both walk (Algorithms 3 and 4 of arXiv 2006.11239).

One generator serves both sides: it owns x_t, asks its peer for each step's message, and moves to the sample of q(x_s | x_t, x_0)
that the message names. The encoder's peer makes the message from x_0, the decoder's reads it from the file.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property

import torch

from ddpmcodec import gray
from ddpmcodec.channel.channel import Channel
from ddpmcodec.channel.randomness import STREAM_CHROMA, STREAM_START, SharedRandomness
from ddpmcodec.format.header import CHANNELS, Header
from ddpmcodec.format.steptable import Step
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.models.levels import Levels
from ddpmcodec.models.process import Posterior, abar_of_snr, posterior
from ddpmcodec.prediction import predict_x_0


def step_posterior(levels: Levels, level_s: int, level_t: int) -> Posterior:
    """q(x_s | x_t, x_0) between two levels."""
    return posterior(abar_of_snr(levels.snr(level_s)), abar_of_snr(levels.snr(level_t)))


def coded(x: torch.Tensor, header: Header) -> torch.Tensor:
    """The elements of x (P, 3, H, W) that steps code, flat (N,)."""
    return (gray.luma(x) if header.gray else x).reshape(-1)


def target(error: torch.Tensor, q: Posterior) -> torch.Tensor:
    """delta = (q's mean - p's mean) / q's standard deviation for x_0 - x0hat, both (N,)."""
    return error * (q.x_0_weight / math.sqrt(q.variance))


class State:
    """The receiver's knowledge after `index` steps.

    Attributes:
        level: the noise level t reached.
        x_t: (P, 3, H, W), variance preserving, of P pictures.
        kept: the last x0hat that the chain used, or None before the first step.
        gray: whether the picture is.
    """

    def __init__(self, model: Model, index: int, level: int, x_t: torch.Tensor, kept: torch.Tensor | None, gray: bool):
        self.model = model
        self.index = index
        self.level = level
        self.x_t = x_t
        self.kept = kept
        self.gray = gray

    @cached_property
    def x0hat(self) -> torch.Tensor:
        """The network's x_0 given x_t, clamped to [-1, 1]: the picture at this point of the file. Evaluated when first asked for."""
        x0hat = predict_x_0(self.model, self.x_t, self.level)
        return gray.without_chroma(x0hat) if self.gray else x0hat


Peer = Callable[[State], tuple[Step, bytes] | None]


def walk(model: Model, header: Header, randomness: SharedRandomness, channel: Channel, peer: Peer) -> Iterator[State]:
    """Every state from x_T on, until `peer` has no further step."""
    shape = (header.pictures, CHANNELS, header.height, header.width)
    x_T = randomness.gaussians(math.prod(shape), STREAM_START).view(shape)
    state = State(model, 0, header.start, x_T, None, header.gray)
    yield state
    while (sent := peer(state)) is not None:
        state = _after(state, *sent, header, randomness, channel)
        yield state


def _after(state: State, step: Step, message: bytes, header: Header, randomness: SharedRandomness, channel: Channel) -> State:
    """The state that a step's message leads to."""
    if step.evaluate:
        state.kept = None  # a twelfth of the memory that large pictures take
    x0hat = state.x0hat if step.evaluate else state.kept
    assert x0hat is not None  # the first step evaluates: the step table says so
    q = step_posterior(header.levels, step.level, state.level)
    z = channel.receive(message, state.index, step.n, step.nu)
    if header.gray:
        P, _, H, W = state.x_t.shape
        chroma = randomness.gaussians(2 * z.numel(), STREAM_CHROMA, state.index)
        z = gray.with_chroma(z.view(P, 1, H, W), chroma.view(P, 2, H, W))
    x_s = z.view_as(state.x_t).mul_(math.sqrt(q.variance)).add_(x0hat, alpha=q.x_0_weight).add_(state.x_t, alpha=q.x_t_weight)
    return State(state.model, state.index + 1, step.level, x_s, x0hat, state.gray)

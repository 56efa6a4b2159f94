"""The chain x_T ... x_0 that encoder and decoder both walk (Algorithms 3 and 4 of arXiv 2006.11239).

One generator serves both sides: it owns x_t, asks its peer for each step's message, and moves to the sample of q(x_s | x_t, x_0)
that the message names. The encoder's peer makes the message from x_0, the decoder's reads it from the file.
"""

import math
from collections.abc import Callable, Iterator
from functools import cached_property

import torch

from ddpmcodec.channel import Channel
from ddpmcodec.header import CHANNELS, Header
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.models.levels import Levels
from ddpmcodec.models.process import Posterior, abar_of_snr, posterior
from ddpmcodec.randomness import STREAM_START, SharedRandomness
from ddpmcodec.steptable import Step


def step_posterior(levels: Levels, level_s: int, level_t: int) -> Posterior:
    """q(x_s | x_t, x_0) between two levels."""
    return posterior(abar_of_snr(levels.snr(level_s)), abar_of_snr(levels.snr(level_t)))


def target(x_0: torch.Tensor, x0hat: torch.Tensor, q: Posterior) -> torch.Tensor:
    """delta = (q's mean - p's mean) / q's standard deviation, flat (N,)."""
    return ((x_0 - x0hat) * (q.x_0_weight / math.sqrt(q.variance))).reshape(-1)


class State:
    """The receiver's knowledge after `index` steps.

    Attributes:
        level: the noise level t reached.
        x_t: (P, 3, H, W), variance preserving, of P pictures.
        kept: the last x0hat that the chain used, or None before the first step.
    """

    def __init__(self, model: Model, index: int, level: int, x_t: torch.Tensor, kept: torch.Tensor | None):
        self.model = model
        self.index = index
        self.level = level
        self.x_t = x_t
        self.kept = kept

    @cached_property
    def x0hat(self) -> torch.Tensor:
        """The network's x_0 given x_t, clamped to [-1, 1]: the picture at this point of the file. Evaluated when first asked for."""
        return self.model.predict_x_0(self.x_t, self.level).clamp_(-1, 1)


Peer = Callable[[State], tuple[Step, bytes] | None]


def walk(model: Model, header: Header, randomness: SharedRandomness, channel: Channel, peer: Peer) -> Iterator[State]:
    """Every state from x_T on, until `peer` has no further step."""
    shape = (header.pictures, CHANNELS, header.height, header.width)
    state = State(model, 0, header.start, randomness.gaussians(header.elements, STREAM_START).view(shape), None)
    yield state
    while (sent := peer(state)) is not None:
        step, message = sent
        x0hat = state.x0hat if step.evaluate else state.kept
        assert x0hat is not None  # the first step evaluates: the step table says so
        q = step_posterior(header.levels, step.level, state.level)
        z = channel.receive(message, state.index, step.n, step.nu).view(shape)
        x_s = q.mean(x0hat, state.x_t).add_(z, alpha=math.sqrt(q.variance))
        state = State(model, state.index + 1, step.level, x_s, x0hat)
        yield state

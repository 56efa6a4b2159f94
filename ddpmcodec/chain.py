"""The chain x_T ... x_0 that encoder and decoder both walk (Algorithms 3 and 4 of arXiv 2006.11239).

One generator serves both sides: it owns x_t, asks its peer for each step's message, and moves to the sample of q(x_s | x_t, x_0)
that the message names. The encoder's peer makes the message from x_0, the decoder's reads it from the file.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ddpmcodec import gray
from ddpmcodec.channel.channel import Channel
from ddpmcodec.channel.randomness import STREAM_CHROMA, STREAM_START, SharedRandomness
from ddpmcodec.denoiser import Predictor
from ddpmcodec.format.header import CHANNELS, Header
from ddpmcodec.format.steptable import Step
from ddpmcodec.noise import Noise
from ddpmcodec.prediction import predict_x_0


@dataclass
class State:
    """The receiver's knowledge after `index` steps.

    Attributes:
        level: the noise level t reached.
        x_t: P pictures, or their coefficients, with the noise of that level, (P, 3, H, W) float32: `ddpmcodec.noise` knows.
        previous_x0hat: the x0hat that the last step used; None before the first step, or when released.
    """

    denoiser: Predictor
    noise: Noise
    index: int
    level: int
    x_t: np.ndarray
    previous_x0hat: np.ndarray | None = None
    _x0hat: np.ndarray | None = field(default=None, init=False, repr=False)

    def evaluate(self) -> np.ndarray:
        """Return x0hat given x_t, (P, 3, H, W) in [-1, 1]: the picture at this point of the file. The network runs at the first call.

        Raises:
            ModelError: the network predicts values that are not numbers.
        """
        if self._x0hat is None:
            noise, level = self.noise, self.level
            predicted = predict_x_0(self.denoiser, noise.seen(self.x_t, level), level, noise.folds, noise.clamps)
            self._x0hat = noise.picture(predicted, level)
        return self._x0hat

    def release(self) -> None:
        """Release the previous x0hat, where the next step evaluates anew: a twelfth of the memory that large pictures take."""
        self.previous_x0hat = None


Peer = Callable[[State], tuple[Step, bytes] | None]


def walk(denoiser: Predictor, header: Header, noise: Noise, randomness: SharedRandomness, channel: Channel, peer: Peer) -> Iterator[State]:
    """Yield every state from x_T on, until `peer` has no further step: Algorithm 4, and with an encoder as peer Algorithm 3."""
    shape = (header.pictures, CHANNELS, header.height, header.width)
    state = State(denoiser, noise, 0, header.start, noise.start(randomness.gaussians(math.prod(shape), STREAM_START).reshape(shape)))
    yield state
    while (sent := peer(state)) is not None:
        state = _after(state, *sent, header, randomness, channel)
        yield state


def _after(state: State, step: Step, message: bytes, header: Header, randomness: SharedRandomness, channel: Channel) -> State:
    """Return the state that a step's message leads to."""
    if step.evaluate:
        state.release()
    x0hat = state.evaluate() if step.evaluate else state.previous_x0hat
    assert x0hat is not None  # the first step evaluates: the step table says so
    z = channel.receive(message, state.index, step.n, step.nu)
    if header.gray:
        P, _, H, W = state.x_t.shape
        chroma = randomness.gaussians(2 * z.size, STREAM_CHROMA, state.index)
        z = gray.with_chroma(z.reshape(P, 1, H, W), chroma.reshape(P, 2, H, W))
    x_s = state.noise.sample(state.x_t, x0hat, state.level, step.level, z.reshape(state.x_t.shape))
    return State(state.denoiser, state.noise, state.index + 1, step.level, x_s, x0hat)

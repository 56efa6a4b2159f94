"""The decoder, which makes a picture of any prefix of a file (Algorithm 4 of arXiv 2006.11239)."""

from collections.abc import Iterator

import numpy as np

from ddpmcodec import arrays
from ddpmcodec.chain import Peer, State, walk
from ddpmcodec.channel.channel import TrellisChannel
from ddpmcodec.channel.randomness import SharedRandomness
from ddpmcodec.denoiser import Denoiser
from ddpmcodec.format import tail
from ddpmcodec.format.container import VERSION, Container
from ddpmcodec.format.steptable import Step
from ddpmcodec.noise import noise_of
from ddpmcodec.progress import Progress, silent


def states(container: Container, denoiser: Denoiser, peer: Peer | None = None) -> Iterator[State]:
    """Yield the state after 0, 1, ... whole steps. A state evaluates the network only when its picture, or the next step, needs it.

    Args:
        peer: the source of messages; default the container.
    """
    header = container.header
    randomness = SharedRandomness(header.seed, VERSION)
    channel = TrellisChannel(randomness, header.elements, header.width)

    def receive(state: State) -> tuple[Step, bytes] | None:
        i = state.index
        return (container.steps[i], container.messages[i]) if i < len(container.messages) else None

    return walk(denoiser, header, noise_of(header, container.shape), randomness, channel, peer or receive)


def evaluated_levels(container: Container) -> list[int]:
    """Return the levels at which decoding to the last whole step evaluates the network."""
    reached = [container.header.start, *(step.level for step in container.steps)]
    whole = len(container.messages)
    return [reached[i] for i in range(whole) if container.steps[i].evaluate] + [reached[whole]]


def last_state(container: Container, denoiser: Denoiser, progress: Progress = silent, evaluate: bool = True) -> State:
    """Return the state after the last whole step; `progress` is called with the network evaluations done and in all.

    Args:
        evaluate: the last state too, which would evaluate the network later else.
    """
    total = len(evaluated_levels(container)) - (not evaluate)
    done = 0
    for state in states(container, denoiser):
        if state.index == len(container.messages):
            state.release()  # no step follows
        if container.steps[state.index].evaluate if state.index < len(container.messages) else evaluate:
            state.evaluate()  # the walk would do it later, and progress would not be told
            done += 1
            progress(done, total)
    return state


def has_exact(container: Container, state: State) -> bool:
    """Whether the file has the exact picture at a state: a lossless file, whole, at its end."""
    return container.tail is not None and state.index == len(container.steps)


def pixels(container: Container, state: State) -> np.ndarray:
    """Return the picture at a state, (P H, W, 3) uint8: x0hat, or the exact one where the file has it.

    Raises:
        DriftError: the exact picture cannot be recovered here.
    """
    if container.tail is None or not has_exact(container, state):
        return arrays.to_pixels(state.evaluate())
    return tail.decode(container.tail, arrays.planes(state.evaluate()))

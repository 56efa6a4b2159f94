"""Sampling of pictures from a model: Algorithm 2 of arXiv 2006.11239 along any of its steps, DDIM, and interpolation between pictures."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ddpmcodec.models.networks import CHANNELS
from ddpmcodec.models.process import q_sample
from ddpmcodec.models.reverse import ReverseProcess

BATCH_PIXELS = 1 << 16


class Noise:
    """A source of standard normal tensors for B pictures, each of which has its own sequence: picture k is the same in any batch.

    Args:
        numbers: the pictures' numbers; equal ones draw equal noise.
    """

    def __init__(self, seed: int, numbers: Iterable[int]):
        states = (np.random.SeedSequence((seed, number)).generate_state(1)[0] for number in numbers)
        self.generators = [torch.Generator().manual_seed(int(state)) for state in states]

    def draw(self, height: int, width: int) -> torch.Tensor:
        """Draw the next noise of each picture, (B, 3, height, width)."""
        return torch.stack([torch.randn(CHANNELS, height, width, generator=g) for g in self.generators])


@dataclass(frozen=True)
class Sample:
    """A place in a chain: x_t at a visited level, and x_0 = x0hat there, both (B, 3, H, W); at the end both are x_0, without a level."""

    level: int | None
    x_t: torch.Tensor
    x_0: torch.Tensor


def ancestral(process: ReverseProcess, x_t: torch.Tensor, noise: Noise) -> Iterator[Sample]:
    """Run Algorithm 2 from x_t (B, 3, H, W) at the first visited level, and yield each step's x0hat on the way (figure 6).

    The last step takes p's mean, as the paper's code does.
    """
    for i, level in enumerate(process.visited):
        p = process(i, x_t)
        yield Sample(level, x_t, p.x_0)
        x_t = p.mean
        if i < len(process) - 1:
            x_t = x_t + (p.log_variance / 2).exp() * noise.draw(*x_t.shape[2:])
    yield Sample(None, x_t, x_t)


def ddim(process: ReverseProcess, x_t: torch.Tensor, noise: Noise, eta: float = 0.0) -> Iterator[Sample]:
    """Run DDIM (arXiv 2010.02502, equation 12) from x_t (B, 3, H, W): deterministic with eta = 0, Algorithm 2 with eta = 1."""
    for i, level in enumerate(process.visited):
        x_0 = process(i, x_t).x_0
        yield Sample(level, x_t, x_0)
        abar_t, abar_s = process.abars[i], process.abars[i + 1]
        eps = (x_t - math.sqrt(abar_t) * x_0) / math.sqrt(1 - abar_t)
        variance = eta**2 * process.posteriors[i].variance
        x_t = math.sqrt(abar_s) * x_0 + math.sqrt(max(0.0, 1 - abar_s - variance)) * eps
        if variance:
            x_t = x_t + math.sqrt(variance) * noise.draw(*x_t.shape[2:])
    yield Sample(None, x_t, x_t)


def last(chain: Iterator[Sample]) -> torch.Tensor:
    """Return the pictures that a chain ends in, (B, 3, H, W) in [-1, 1]."""
    for state in chain:
        end = state.x_0
    return end.clamp(-1, 1)


def interpolate(
    process: ReverseProcess, a: torch.Tensor, b: torch.Tensor, lambdas: Sequence[float], seed: int, shared_noise: bool = False
) -> torch.Tensor:
    """Interpolate between two pictures (figure 8 and, over several first levels, figure 9).

    Both are diffused to the first visited level; their latents are interpolated linearly, and decoded, each with noise of its own.

    Args:
        a, b: the pictures, (1, 3, H, W) in [-1, 1].
        shared_noise: decode all with the same noise: from much noise on the pictures hardly differ then.

    Returns:
        A picture for each lambda, (len(lambdas), 3, H, W) in [-1, 1]; 0 decodes the latent of a, 1 that of b.
    """
    abar = process.abars[0]
    x_a, x_b = (q_sample(x, abar, Noise(seed, [number]).draw(*x.shape[2:])) for number, x in enumerate((a, b)))
    x_t = torch.cat([(1 - w) * x_a + w * x_b for w in lambdas])
    return last(ancestral(process, x_t, Noise(seed, [2 if shared_noise else 2 + i for i in range(len(lambdas))])))


@dataclass(frozen=True)
class Sampler:
    """A way to draw pictures of one size.

    Attributes:
        size: height and width in pixels.
        seed: of all noise.
        eta: the amount of noise of DDIM; None for Algorithm 2.
    """

    process: ReverseProcess
    size: tuple[int, int]
    seed: int = 0
    eta: float | None = None

    def chain(self, numbers: Sequence[int], x_t: torch.Tensor | None = None) -> Iterator[Sample]:
        """Run the chain of the pictures of these numbers, from their own noise or from x_t (B, 3, H, W)."""
        noise = Noise(self.seed, numbers)
        x_t = noise.draw(*self.size) if x_t is None else x_t
        return ancestral(self.process, x_t, noise) if self.eta is None else ddim(self.process, x_t, noise, self.eta)

    def latent(self, level: int, number: int) -> tuple["Sampler", torch.Tensor]:
        """Return x_t (1, 3, H, W) of a picture at the visited level nearest to `level`, and the sampler that goes on from there."""
        place = min(range(len(self.process)), key=lambda i: abs(self.process.visited[i] - level))
        state = next(itertools.islice(self.chain([number]), place, None))
        rest = ReverseProcess(self.process.model, self.process.visited[place:], self.process.variance)
        return Sampler(rest, self.size, self.seed, self.eta), state.x_t


def draw(
    sampler: Sampler,
    count: int,
    latent: torch.Tensor | None = None,
    places: Sequence[int] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Draw pictures 0 ... count - 1, batch by batch.

    Args:
        latent: x_t (1, 3, H, W) that all begin with, each with its own noise.
        places: those in the chain, 0 ... its number of levels, whose x0hat are wanted too.
        progress: called with the pictures drawn, each level counted as its share of one.

    Yields:
        The pictures of a batch, (B, 3, H, W) in [-1, 1], and their x0hat at each of the places.
    """
    batch = max(1, BATCH_PIXELS // math.prod(sampler.size))
    steps = len(sampler.process)
    for first in range(0, count, batch):
        numbers = range(first, min(first + batch, count))
        x_t = None if latent is None else latent.expand(len(numbers), -1, -1, -1)
        on_the_way = []
        for i, state in enumerate(sampler.chain(numbers, x_t)):
            if i in places:
                on_the_way.append(state.x_0)
            progress(len(numbers) if i < steps else 0)
        yield state.x_0, on_the_way


def nearest(pictures: np.ndarray, training: Iterable[np.ndarray]) -> list[tuple[int, float]]:
    """Find for each picture the number of the training picture that is nearest in Euclidean distance, and their RMSE of 255.

    Args:
        pictures: (N, H, W, 3) uint8.
        training: (H, W, 3) uint8 arrays, of which those of another size are passed over; one at a time is kept in memory.

    Returns:
        (number, RMSE) for each picture; (-1, infinity) where no training picture has the size.
    """
    best = [(-1, math.inf)] * len(pictures)
    wanted = pictures.astype(np.float32)
    for number, picture in enumerate(training):
        if picture.shape != pictures.shape[1:]:
            continue
        rmse = np.sqrt(np.square(wanted - picture.astype(np.float32)).mean((1, 2, 3), dtype=np.float64))
        best = [(number, float(error)) if error < least[1] else least for least, error in zip(best, rmse, strict=True)]
    return best

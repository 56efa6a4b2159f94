"""The variational bound term by term, in bits per dimension (sections 3 and 4.3 of arXiv 2006.11239), and levels that make it small.

    L = L_T + sum_{t > 1} L_{t-1} + L_0                                     (equation 5)

L_0 is the distortion's share, coded with the discretized decoder of section 3.3; the others are the rate of progressive lossy compression.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ddpmcodec import arrays, plan
from ddpmcodec.errors import ModelError, PictureError
from ddpmcodec.eval.progress import Counter
from ddpmcodec.models import networks
from ddpmcodec.models.bound import discretized_log_likelihood
from ddpmcodec.models.levels import Levels, sigma
from ddpmcodec.models.model import Model
from ddpmcodec.models.process import bits_of_nats, gaussian_kl, q_sample
from ddpmcodec.models.reverse import ReverseProcess, subsequence
from ddpmcodec.progress import Note, Progress, silent

BATCH = 64  # pictures of one size
CANDIDATES = 200  # levels to choose from, where they are continuous


@dataclass(frozen=True)
class Bound:
    """The bound's terms for P pictures along K visited levels.

    Attributes:
        levels: (K,), from much noise to little.
        dimensions: (P,), of each picture.
        prior: (P,), L_T in bits per dimension.
        steps: (P, K), L_{t-1} of the step from each level to the next; the last column is L_0.
        mse: (P, K), mean squared error of x0hat at each level, pictures in [-1, 1].
        codec: (P, K - 1), bits per dimension of each step with the codec's own p, whose variance is the posterior's times 1 + d^2.
    """

    levels: tuple[int, ...]
    dimensions: np.ndarray
    prior: np.ndarray
    steps: np.ndarray
    mse: np.ndarray
    codec: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """(P,) bits per dimension."""
        return self.prior + self.steps.sum(1)

    @property
    def rate(self) -> np.ndarray:
        """(P,) L_1 + ... + L_T, bits per dimension."""
        return self.prior + self.steps[:, :-1].sum(1)

    @property
    def distortion(self) -> np.ndarray:
        """(P,) L_0, bits per dimension."""
        return self.steps[:, -1]

    def progressive(self) -> list[dict[str, float]]:
        """Algorithm 4 step by step (table 4 and figure 5): what has been received, mean over pictures, and how far x0hat is then.

        `level`, `sigma` (of 255) is left to the caller; `bits_per_dimension`, `rmse` on [0, 255], and its PSNR in dB.
        """
        received = np.cumsum(np.concatenate([self.prior[:, None], self.steps[:, :-1]], 1), axis=1).mean(0)
        rmse = 127.5 * np.sqrt(self.mse).mean(0)
        return [
            {"level": level, "bits_per_dimension": bits, "rmse": error, "psnr": 20 * math.log10(255 / error) if error else math.inf}
            for level, bits, error in zip(self.levels, received.tolist(), rmse.tolist(), strict=True)
        ]


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over pictures and its standard error (0 of a single one)."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else 0.0


def _batches(pictures: Iterable[tuple[str, np.ndarray]]) -> Iterable[list[tuple[int, np.ndarray]]]:
    """Yield pictures with their numbers, neighbours of one size together."""
    batch: list[tuple[int, np.ndarray]] = []
    for number, (_, pixels) in enumerate(pictures):
        if batch and (len(batch) == BATCH or batch[0][1].shape != pixels.shape):
            yield batch
            batch = []
        batch.append((number, pixels))
    if batch:
        yield batch


def _generators(seed: int, batch: Sequence[tuple[int, np.ndarray]]) -> list[torch.Generator]:
    """Return one for each picture, from the seed and its number."""
    states = (np.random.SeedSequence((seed, number)).generate_state(1)[0] for number, _ in batch)
    return [torch.Generator().manual_seed(int(state)) for state in states]


def _noise(generators: Sequence[torch.Generator], shape: torch.Size) -> torch.Tensor:
    return torch.stack([torch.randn(shape[1:], generator=g) for g in generators])


def evaluate(
    model: Model,
    pictures: Iterable[tuple[str, np.ndarray]],
    levels: Sequence[int],
    *,
    variance: str | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = silent,
) -> Bound:
    """Measure the bound along visited levels: one x_t is drawn from q(x_t | x_0) for each picture and level.

    Args:
        pictures: names and (H, W, 3) uint8 pixels.
        levels: from the model's start on, at least one.
        variance: of p, instead of the model's: "beta" or "beta-tilde".
        seed: a picture's noise depends on it and the picture's number alone.
        progress: called with the pictures evaluated, each level counted as its share of one.

    Raises:
        PictureError: there is none.
    """
    process = ReverseProcess(model, levels, variance)
    rows: list[tuple[int, float, list[float], list[float]]] = []
    for batch in _batches(pictures):
        x_0 = torch.from_numpy(arrays.from_pixels(np.concatenate([pixels for _, pixels in batch]), len(batch)))
        generators = _generators(seed, batch)
        abar_T = process.abars[0]
        prior = gaussian_kl(math.sqrt(abar_T) * x_0.double(), torch.tensor(1 - abar_T, dtype=torch.float64), 0.0, 1.0).mean((1, 2, 3))
        terms, errors = [], []
        for i in range(len(process)):
            x_t = q_sample(x_0, process.abars[i], _noise(generators, x_0.shape))
            p = process(i, x_t)
            if i < len(process) - 1:
                q = process.posteriors[i]
                kl = gaussian_kl(q.mean(x_0, x_t).double(), q.variance, p.mean.double(), p.log_variance.double().exp())
            else:
                kl = -discretized_log_likelihood(x_0, p.mean, p.log_variance)
            terms.append(kl.expand(x_0.shape).mean((1, 2, 3)))
            errors.append((p.x_0 - x_0).double().square().mean((1, 2, 3)))
            progress(len(batch))
        per_picture = zip(prior.tolist(), torch.stack(terms, 1).tolist(), torch.stack(errors, 1).tolist(), strict=True)
        rows += [(x_0[0].numel(), *row) for row in per_picture]
    if not rows:
        raise PictureError("no picture to evaluate")
    dimensions, priors, steps, mse = (np.array(column) for column in zip(*rows, strict=True))
    snrs = np.array([model.levels.snr(level) for level in levels])
    energy = mse[:, :-1] * np.diff(snrs) * dimensions[:, None]
    codec = np.vectorize(plan.kl_bits, otypes=[float])(energy, dimensions[:, None]) / dimensions[:, None]
    return Bound(tuple(levels), dimensions, bits_of_nats(priors), bits_of_nats(steps), mse, codec)


def candidates(model: Model) -> list[int]:
    """Return the levels that visited ones are chosen from: all timesteps, or `CANDIDATES` levels evenly spaced in ln snr."""
    return subsequence(model.levels, model.start, model.start if model.levels.counts_timesteps else CANDIDATES)


def best_levels(kind: Levels, levels: Sequence[int], mse: np.ndarray, count: int) -> list[int]:
    """Return the `count` levels, first and last fixed, along which the bound is least, by dynamic programming.

    With p's variance the posterior's, L_{t-1} = mse(t) / 2 (snr_s - snr_t) nats per dimension for any pair of levels.

    Args:
        levels: (M,) to choose from, from much noise to little.
        mse: (M,) mean squared error of x0hat at each.
        count: 2 ... M.

    Raises:
        ValueError: `count` is out of its range.
    """
    M = len(levels)
    if not 2 <= count <= M:
        raise ValueError(f"{count} levels are not 2 ... {M}")
    snrs = np.array([kind.snr(level) for level in levels])
    cost = mse[:, None] / 2 * (snrs[None, :] - snrs[:, None])
    cost[np.tril_indices(M)] = np.inf  # from i to a later j alone
    least = np.where(np.arange(M) == 0, 0.0, np.inf)
    origins = []
    for _ in range(count - 1):
        through = least[:, None] + cost
        origins.append(through.argmin(0))
        least = through.min(0)
    place = M - 1
    visited = [place]
    for origin in reversed(origins):
        place = int(origin[place])
        visited.append(place)
    return [levels[i] for i in reversed(visited)]


def check_fit(model: Model) -> None:
    """Raise ModelError where no variance can be fitted: of continuous levels, or of learned variances for each element."""
    if not model.levels.counts_timesteps:
        raise ModelError(f"{model.name} has continuous levels: a variance is fitted to each timestep")
    if model.config["variance"] == "learned-range":
        raise ModelError(f"{model.name} has learned a variance for each element: one is fitted to models that have not")


def fit(model: Model, pictures: Sequence[tuple[str, np.ndarray]], bound: Bound, *, seed: int = 0) -> Model:
    """Return the model with a variance "fitted" to data: for each timestep the one along which the bound is least.

    Given x0hat, that is beta-tilde_t plus the mean squared error of p's mean; for x_0 itself the best is searched for.

    Args:
        bound: of all timesteps, on these or other pictures.

    Raises:
        ModelError: it has continuous levels, or learned variances for each element.
    """
    check_fit(model)
    process = ReverseProcess(model, bound.levels)
    mse = bound.mse.mean(0)
    fractions = []
    for i, q in enumerate(process.posteriors):
        low, high = process.ranges[i]
        best = math.log(max((q.variance if i < len(process) - 1 else 0.0) + q.x_0_weight**2 * mse[i], 1e-20))
        fractions.append((best - low) / (high - low) if high > low else 1.0)
    fractions[-1] = _best_fraction(process, pictures, fractions[-1], seed)
    config = {**model.config, "variance": "fitted"}
    tensors = {k: v for k, v in model.network.state_dict().items() if k != "variance_fraction"}
    tensors["variance_fraction"] = torch.tensor(fractions[::-1], dtype=torch.float32)  # t = 1 first
    return networks.model_of(model.name, config, tensors, model.best_visited)


def _best_fraction(process: ReverseProcess, pictures: Sequence[tuple[str, np.ndarray]], center: float, seed: int) -> float:
    """Find f of the last step with the least L_0, about `center`."""
    low, high = process.ranges[-1]
    grid = center + np.linspace(-3, 3, 121) / (high - low)  # 3 nats about it
    nats = np.zeros(grid.size)
    for batch in _batches(pictures):
        x_0 = torch.from_numpy(arrays.from_pixels(np.concatenate([pixels for _, pixels in batch]), len(batch)))
        x_t = q_sample(x_0, process.abars[-2], _noise(_generators(seed, batch), x_0.shape))
        mean = process(len(process) - 1, x_t).mean
        nats += [-float(discretized_log_likelihood(x_0, mean, low + f * (high - low)).mean()) * len(batch) for f in grid.tolist()]
    return float(grid[nats.argmin()])


def study(
    model: Model,
    pictures: Iterable[tuple[str, np.ndarray]],
    visited: Sequence[Sequence[int]],
    *,
    variance: str | None = None,
    seed: int = 0,
    search: int | None = None,
    fitted: bool = False,
    note: Note = silent,
    progress: Progress = silent,
) -> tuple[list[dict[str, Any]], Model]:
    """Measure the bound along lists of levels, then along one that is searched for, and of a variance that is fitted.

    Args:
        visited: lists of levels as `evaluate` takes them.
        variance: as of `evaluate`, but of what is fitted.
        search: find the list of so many levels along which the bound is least, 2 ... all `candidates`.
        fitted: fit the variance of each timestep.
        note: told of the levels found.
        progress: told of each bound's evaluations, from the first on again for each of them.

    Returns:
        `summary` of each bound, and the model with what was found.

    Raises:
        PictureError: there is no picture.
        ModelError: a variance cannot be fitted to this model.
    """
    if fitted:
        check_fit(model)
    # By size, so that pictures of one size are evaluated together.
    ordered = sorted(pictures, key=lambda named: named[1].shape)

    def bound_of(levels: Sequence[int], of: Model, variance: str | None) -> Bound:
        return evaluate(of, ordered, levels, variance=variance, seed=seed, progress=Counter(progress, len(ordered) * len(levels)))

    named, found = variance or model.variance, model
    results = [summary(bound_of(levels, model, variance), model, named) for levels in visited]
    if search is None and not fitted:
        return results, model
    every = candidates(model)
    bound = bound_of(every, model, variance)
    if fitted:
        found = fit(model, ordered, bound, seed=seed)
        results.append(summary(bound_of(every, found, None), found, found.variance))
    if search is not None:
        best = best_levels(model.levels, every, bound.mse.mean(0), search)
        note(f"{search} levels: {', '.join(map(str, best))}")
        results.append(summary(bound_of(best, model, variance), model, f"{named}, levels searched for"))
        found.best_visited[search] = tuple(best)
    return results, found


def rows(summaries: Sequence[dict]) -> Iterator[dict[str, Any]]:
    """Yield every line of the progressive tables, for a CSV."""
    for result in summaries:
        for row in result["progressive"]:
            yield {"levels": result["levels"], "variance": result["variance"], **row}


def summary(bound: Bound, model: Model, variance: str) -> dict:
    """Sum up a bound, JSON-serializable: terms, totals with standard errors, and the progressive table."""

    def entry(values: np.ndarray) -> dict[str, float]:
        mean, error = mean_and_error(values)
        return {"mean": mean, "standard_error": error}

    totals = {
        "total": bound.total,
        "L_T": bound.prior,
        "rate": bound.rate,
        "distortion_L_0": bound.distortion,
        "codec_rate": bound.codec.sum(1),
    }
    terms = [
        {"from": t, "to": s, **entry(column)} for t, s, column in zip(bound.levels, (*bound.levels[1:], 0), bound.steps.T, strict=True)
    ]
    return {
        "model": model.identity(),
        "variance": variance,
        "pictures": bound.total.size,
        "levels": len(bound.levels),
        "unit": "bits per dimension",
        **{name: entry(values) for name, values in totals.items()},
        "rmse": {"mean": float(127.5 * np.sqrt(bound.mse[:, -1]).mean())},
        "terms": terms,
        "progressive": [row | {"sigma": sigma(model.levels, int(row["level"]))} for row in bound.progressive()],
    }


def table(summaries: Sequence[dict]) -> str:
    """Format summaries as Markdown: one line for each number of levels."""
    lines = [
        "| bits per dimension | steps | L | L_T | rate L_1 + ... + L_T | distortion L_0 | RMSE | rate, codec's p |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for s in summaries:
        error = f"{s['total']['mean']:.3f} ± {s['total']['standard_error']:.3f}"
        rate, distortion, codec = (f"{s[k]['mean']:.3f}" for k in ("rate", "distortion_L_0", "codec_rate"))
        name = f"{s['model']['name']}, {s['pictures']} pictures, variance {s['variance']}"
        lines.append(
            f"| {name} | {s['levels']} | {error} | {s['L_T']['mean']:.5f} | {rate} | {distortion} | {s['rmse']['mean']:.2f} | {codec} |"
        )
    return "\n".join(lines)

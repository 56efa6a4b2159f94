"""Training of a denoiser by stochastic gradient descent, in one process or several, resumed exactly.

Everything random in an iteration comes from (seed, iteration) alone, for the whole batch, of which each process takes its part. So a run
that was interrupted ends as if it had not been, and several processes see the batch that one would.
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ddpmcodec import threads
from ddpmcodec.errors import ConfigurationError, ModelError, TrainingError
from ddpmcodec.models import networks, objective
from ddpmcodec.models.arithmetic import has_bfloat16
from ddpmcodec.models.configuration import Configuration
from ddpmcodec.models.datasets import Source
from ddpmcodec.models.distributed import Processes
from ddpmcodec.models.model import complete
from ddpmcodec.models.muon import Muon
from ddpmcodec.models.training_state import TrainingState
from ddpmcodec.models.whitened_crops import RandomWhitening

BANDS = 8  # bands of noise levels with equal shares of the draws, for each of which the loss is reported
LEAST_FACTOR = 0.01  # of the learning rate, at the end of annealing


def hidden_convolutions(network: nn.Module) -> list[torch.Tensor]:
    """Return the weights that Muon trains, those of convolutions between hidden layers. (Transposed ones have another order.)"""
    ends = {"inp", "out", "conv_in", "conv_out"}
    return [m.weight for name, m in network.named_modules() if isinstance(m, nn.Conv2d) and name not in ends]


def ema_update(decay: float) -> Callable:
    """Return the update of AveragedModel for an EMA whose decay rises to `decay`, so that the first weights are soon forgotten."""

    @torch.no_grad()
    def update(averaged, current, count) -> None:
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (float(count) + 1) / (float(count) + 10)))

    return update


def build_state(configuration: Configuration, device: torch.device, seed: int = 0) -> TrainingState:
    """Return a run's state before its first iteration, with new weights drawn from the seed.

    Raises:
        ConfigurationError: there is no such model, or it cannot take the crops.
    """
    try:
        config = complete(configuration.model)
        if "planes" in config:
            raise ConfigurationError("models of gray pictures cannot be trained here")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = networks.build(config, configuration.optimizer.dropout)
        networks.model_of("new", config, network.state_dict())  # which checks the levels, too
    except ModelError as e:
        raise ConfigurationError(str(e)) from e
    if configuration.data.crop % network.stride:
        raise ConfigurationError(f"crops of {configuration.data.crop} pixels: the network takes multiples of {network.stride}")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    options = configuration.optimizer
    hidden = hidden_convolutions(network) if options.muon_factor else []
    chosen = {id(p) for p in hidden}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in chosen]
    adamw = torch.optim.AdamW(rest, options.learning_rate, betas=options.betas, weight_decay=options.weight_decay)
    optimizers: dict[str, torch.optim.Optimizer] = {"adamw": adamw}
    if options.muon_factor:
        optimizers["muon"] = Muon(hidden, options.learning_rate * options.muon_factor)
    return TrainingState(config, network, AveragedModel(network, multi_avg_fn=ema_update(options.ema)), optimizers)


class Batch(NamedTuple):
    """The crops of an iteration, and their noise.

    Attributes:
        x_0, eps: crops in [-1, 1] and noise, (B, 3, H, W).
        u: quantiles of their noise levels, in [0, 1), (B,).
        whitened: whether each crop is (`models/whitened_crops.py`), (B,).
    """

    x_0: torch.Tensor
    u: torch.Tensor
    eps: torch.Tensor
    whitened: torch.Tensor


class Trainer:
    """The trainer, which takes a state through iterations.

    Args:
        configuration: `optimizer.batch` must be a multiple of the number of processes.
        seed: of everything random, in [0, 2^32).

    Raises:
        ConfigurationError: the model cannot be trained for the objective.
    """

    def __init__(self, configuration: Configuration, state: TrainingState, crops: Source, seed: int, processes: Processes):
        self.configuration = configuration
        self.state = state
        self.crops = crops
        self.seed = seed
        self.processes = processes
        self.device = processes.device
        self.bfloat16 = has_bfloat16(self.device.type)
        self.generator = torch.Generator(self.device)
        whiten = configuration.data.whiten
        self.whitening = RandomWhitening(whiten, configuration.data.side, self.device) if whiten else None
        self.objective = objective.build(configuration, self.device)
        self.predict: Callable = torch.compile(state.network) if self.device.type == "cuda" else state.network
        self.trained = [p for p in state.network.parameters() if p.requires_grad]
        with torch.no_grad():
            processes.follow([*state.network.parameters(), *state.ema.module.parameters()])
        self.rates = {name: o.param_groups[0]["lr"] for name, o in state.optimizers.items()}

    def learning_rate_factor(self) -> float:
        """Return the factor of the learning rate, which rises to 1 over the warm-up and falls to `LEAST_FACTOR` over the annealing."""
        progress, warmup = self.state.progress, self.configuration.optimizer.warmup
        rise = min(1.0, (progress.iteration + 1) / warmup) if warmup else 1.0
        return rise if progress.annealed is None else rise * max(LEAST_FACTOR, 1 - progress.annealed)

    def _seed_of(self, *numbers: int) -> int:
        """Return a seed that depends on the run's seed and these numbers."""
        return int(np.random.SeedSequence((self.seed, *numbers)).generate_state(1)[0])

    def batch(self, iteration: int) -> Batch:
        """Draw this process's part of an iteration's batch."""
        count = self.configuration.optimizer.batch
        self.generator.manual_seed(self._seed_of(iteration))
        x_0 = self.crops.draw(count, self.generator)
        whitened = torch.zeros(count, dtype=torch.bool, device=self.device)
        if self.whitening is not None:
            x_0, whitened = self.whitening(x_0, self.generator)
        u = objective.stratified(count, self.generator)
        eps = torch.randn(x_0.shape, device=self.device, generator=self.generator)
        mine = slice(self.processes.rank, None, self.processes.count)
        x_0, eps = (v[mine].contiguous(memory_format=torch.channels_last) for v in (x_0, eps))
        return Batch(x_0, u[mine], eps, whitened[mine])

    def iterate(self) -> tuple[torch.Tensor, Batch]:
        """Do one iteration; return the losses of this process's crops, (B,), and these crops."""
        threads.tell(torch)
        progress, options = self.state.progress, self.configuration.optimizer
        factor = self.learning_rate_factor()
        for name, optimizer in self.state.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = factor * self.rates[name]
            optimizer.zero_grad()
        batch = self.batch(progress.iteration)
        if options.dropout:  # since it draws from torch's own generator
            torch.manual_seed(self._seed_of(progress.iteration, self.processes.rank))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            losses = self.objective(self.predict, batch.x_0, batch.u, batch.eps)
        losses.mean().backward()
        self.processes.average([p.grad for p in self.trained if p.grad is not None])
        clipped = [p for group in self.state.optimizers["adamw"].param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(clipped, options.clip)
        for optimizer in self.state.optimizers.values():
            optimizer.step()
        self.state.ema.update_parameters(self.state.network)
        progress.iteration += 1
        progress.pixels += options.batch * self.configuration.data.crop**2
        return losses.detach(), batch


@dataclass(frozen=True)
class Report:
    """A report on the iterations since the report before.

    Attributes:
        iteration: the number of iterations done.
        loss: the mean loss.
        bands: the mean loss in each of `BANDS` bands of noise, from little to much, of the crops that are not whitened.
        whitened_bands: the same of the crops that are; empty where none ever is.
        pixels_per_second: seen by all processes together.
    """

    iteration: int
    learning_rate_factor: float
    loss: float
    bands: tuple[float, ...]
    whitened_bands: tuple[float, ...]
    pixels_per_second: float

    def line(self) -> str:
        """Return the report on one line."""
        bands, whitened = (" ".join(f"{band:.3f}" for band in v) for v in (self.bands, self.whitened_bands))
        speed = self.pixels_per_second / 1e6
        line = f"{self.iteration} {speed:.2f} Mpx/s lr x{self.learning_rate_factor:.2f} loss {self.loss:.4f} bands {bands}"
        return f"{line} whitened {whitened}" if whitened else line


class Meter:
    """A meter that adds up losses by band of noise, and time, between reports."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros(2, 2 * BANDS, dtype=torch.float64, device=self.trainer.device)
        self.begin = time.monotonic()
        self.pixels = self.trainer.state.progress.pixels

    def add(self, losses: torch.Tensor, batch: Batch) -> None:
        """Add the losses of crops, (B,)."""
        band = (batch.u * BANDS).long().clamp_(max=BANDS - 1) + BANDS * batch.whitened
        self.sums.index_add_(1, band, torch.stack([losses.double(), torch.ones_like(losses, dtype=torch.float64)]))

    def check(self) -> None:
        """Raise TrainingError where a loss or a weight is not a finite number."""
        weights = torch.stack([p.detach().isfinite().all() for p in self.trainer.state.network.parameters()])
        if not math.isfinite(float(self.sums.sum())) or not bool(weights.all()):
            iteration = self.trainer.state.progress.iteration
            raise TrainingError(f"the loss is not a number at iteration {iteration}: a lower learning rate may help")

    def report(self) -> Report:
        """Report on what was added since the last report, over all processes; all of them must call this."""
        error, count = self.trainer.processes.total(self.sums)
        progress = self.trainer.state.progress
        speed = (progress.pixels - self.pixels) / (time.monotonic() - self.begin)
        loss, bands = float(error.sum() / count.sum()), tuple((error / count).tolist())
        whitened = bands[BANDS:] if self.trainer.whitening is not None else ()
        self._reset()
        return Report(progress.iteration, self.trainer.learning_rate_factor(), loss, bands[:BANDS], whitened, speed)


class Stop:
    """A request to stop a run: at Ctrl-C, SIGTERM or a terminal that hangs up, the iteration under way is finished.

    Attributes:
        asked: whether it has been made.
    """

    def __init__(self):
        self.asked = False

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take the signals within a context, and give them back after it."""

        def ask(number, frame):
            self.asked = True

        known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {s: signal.signal(s, ask) for s in known}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _silent(value) -> None:
    pass


def run(
    trainer: Trainer,
    *,
    anneal: bool = False,
    iterations: int | None = None,
    minutes: float | None = None,
    report_every: int = 200,
    save_every: float = 600,
    save: Callable[[], None] = lambda: None,
    report: Callable[[Report], None] = _silent,
    tick: Callable[[int], None] = _silent,
    stop: Stop | None = None,
) -> None:
    """Iterate until the run is over or a stop is asked for.

    Args:
        anneal: let the learning rate fall to `LEAST_FACTOR` over `iterations` or `minutes`, those before an interruption included.
        iterations: the number to end at; at constant rate counted from the first weights on.
        minutes: the time to end after; at constant rate counted from this call on.
        save: called every `save_every` seconds, in the first process.
        report: called every `report_every` iterations, in the first process.
        tick: called with the number of iterations done, after each.
        stop: a request to end early.

    Raises:
        TrainingError: the loss is no longer a number.
        PeerError: another process has gone.
    """
    progress, processes = trainer.state.progress, trainer.processes
    meter = Meter(trainer)
    begin = saved = time.monotonic()
    if anneal and progress.annealed is None:
        progress.annealed = 0.0
    while True:
        now = time.monotonic()
        if progress.annealed is None:
            over = (minutes is not None and now - begin >= 60 * minutes) or (iterations is not None and progress.iteration >= iterations)
        else:
            over = progress.annealed >= 1 - 1e-9
        annealed, ends = processes.agree(progress.annealed or 0.0, over or (stop is not None and stop.asked))
        if ends:
            meter.check()  # no good state is replaced by a bad one
            return
        if progress.annealed is not None:
            progress.annealed = annealed
        meter.add(*trainer.iterate())
        if progress.annealed is not None:
            progress.annealed += max(1 / iterations if iterations else 0.0, (time.monotonic() - now) / (60 * minutes) if minutes else 0.0)
        tick(progress.iteration)
        if progress.iteration % report_every == 0:
            meter.check()
            result = meter.report()
            if processes.leads:
                report(result)
        if processes.leads and time.monotonic() - saved >= save_every:
            meter.check()
            save()
            saved = time.monotonic()

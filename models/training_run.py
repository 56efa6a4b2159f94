"""A training run as a directory: its state, its model, its log and its model card.

state.safetensors      all that goes on (models/training_state.py); the run is resumed from it
model.safetensors      the EMA weights as a model, in float16; model.md is its card
annealing.safetensors  the state of an annealed copy, which leaves the run as it was
annealed.safetensors   the model of that, with annealed.md
log.csv                one line a report
"""

import contextlib
import csv
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from ddpmcodec.errors import DdpmcodecError, OutputError, PeerError
from ddpmcodec.models import checkpoint, datasets, networks, training
from ddpmcodec.models.configuration import Configuration
from ddpmcodec.models.distributed import Processes
from ddpmcodec.models.model import Model
from ddpmcodec.models.training import BANDS, Report
from ddpmcodec.models.training_state import TrainingState

REPORT_EVERY = 200  # iterations
DRY_RUN_ITERATIONS = 5


class TrainingRun:
    """The files of one run in `directory`; with `anneal`, those of its annealed copy. `name` is the model's name."""

    def __init__(self, directory: Path, state: TrainingState, name: str, anneal: bool):
        self.state = state
        self.name = name
        self.constant_state = directory / "state.safetensors"
        self.state_path = directory / "annealing.safetensors" if anneal else self.constant_state
        self.model_path = directory / ("annealed.safetensors" if anneal else "model.safetensors")
        self.card_path = self.model_path.with_suffix(".md")
        self.log_path = directory / "log.csv"
        self.made = False

    def prepare(self) -> None:
        """Make the directory and check that a state fits the disk, before the work rather than after it.

        Raises:
            OutputError: it cannot be made or written to, or is full.
        """
        directory = self.state_path.parent
        try:
            self.made = not directory.exists()
            directory.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(directory).free
        except OSError as e:
            raise OutputError(f"{directory}: {e.strerror}") from e
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OutputError(f"{directory} is not writable")
        # network, EMA and two moments at most, and the same once more while a state is replaced
        needed = 8 * sum(p.numel() * p.element_size() for p in self.state.network.parameters())
        if free < needed:
            raise OutputError(f"{directory}: {free >> 20} MiB are free, a state and its replacement take {needed >> 20} MiB")

    def withdraw(self) -> None:
        """Remove the directory if it was made for nothing."""
        if self.made:
            with contextlib.suppress(OSError):
                self.state_path.parent.rmdir()

    def restore(self) -> Path | None:
        """Restore a saved state, and return its path: that of a copy not yet annealed to its end, else the one at constant rate.

        Returns:
            None where there is neither.

        Raises:
            ModelError: the state cannot be read, or does not fit the configuration.
        """
        if self.state_path != self.constant_state and self.state_path.exists():
            self.state.restore(self.state_path)
            if (self.state.progress.annealed or 0.0) < 1 - 1e-9 or not self.constant_state.exists():
                return self.state_path
        if self.constant_state.exists():
            self.state.restore(self.constant_state)
            return self.constant_state
        return None

    def _weights(self) -> dict[str, torch.Tensor]:
        """Return the EMA weights in float16."""
        return {k: v.half().cpu() for k, v in self.state.ema.module.state_dict().items()}

    def model(self) -> Model:
        """Return the model of the EMA weights as they are saved, in float16.

        Raises:
            ModelError: no model can have the run's name.
        """
        return networks.model_of(self.name, self.state.config, self._weights())

    def save(self) -> None:
        """Write the state, then the model.

        Raises:
            OutputError: they cannot be written; a file that was there before still is.
        """
        self.state.save(self.state_path)
        checkpoint.save(self.model_path, self.name, self.state.config, self._weights())

    def log(self, report: Report) -> None:
        """Append a line to the log.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with open(self.log_path, "a", newline="") as f:
                writer = csv.writer(f)
                if f.tell() == 0:
                    bands = [f"band_{i + 1}" for i in range(BANDS)]
                    bands += [f"whitened_{band}" for band in bands if report.whitened_bands]
                    writer.writerow(["iteration", "learning_rate_factor", "loss", *bands, "pixels_per_second"])
                losses = [report.loss, *report.bands, *report.whitened_bands]
                row = [report.iteration, report.learning_rate_factor, *losses, report.pixels_per_second]
                writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
        except OSError as e:
            raise OutputError(f"{self.log_path}: {e.strerror}") from e


def train(
    run: TrainingRun,
    configuration: Configuration,
    data: Path,
    processes: Processes,
    *,
    init: Model | None = None,
    anneal: bool = False,
    iterations: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    dry_run: bool = False,
    say: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
    quiet: bool = True,
) -> bool:
    """Begin a run or go on with it, and save it; a dry run takes `DRY_RUN_ITERATIONS` and writes nothing.

    Args:
        init: the model whose weights a new run begins with.
        iterations, minutes, anneal: as `training.run`; without `iterations`, a run at constant rate has the configuration's.
        say: called with lines on how the run goes.
        warn: called with a line for each file that could not be saved.
        quiet: show no progress bar.

    Returns:
        Whether it came to its end, rather than being asked to stop.

    Raises:
        ModelError: no model can have the run's name, or the state that is there, or `init`, does not fit.
        InputError: there are no pictures.
        OutputError: the directory cannot be used, or the last save has failed; what was saved before is still there.
        TrainingError: the loss is no longer a number; what was saved before is still there.
        PeerError: another process has gone; what there was is saved.
    """
    run.model()  # before the work, refuses a name that no model can have
    state = run.state
    if not dry_run:
        run.prepare()
    try:
        origin = run.restore()
        if origin is None and init is not None:
            state.initialize(init)
        source = datasets.source(data, configuration.data, processes.device, say)
        trainer = training.Trainer(configuration, state, source, seed, processes)
    except DdpmcodecError:
        run.withdraw()
        raise
    weights = origin or (init.name if init else "new")
    precision = "bf16" if training.has_bfloat16(processes.device.type) else "fp32"
    say(
        f"{source.description()}; weights: {weights}, {state.progress.iteration}"
        f" iterations; {processes.device}, {precision}, {processes.count} process{'es' if processes.count > 1 else ''}"
    )

    def attempt(write: Callable[[], None]) -> None:
        try:
            write()
        except OutputError as e:  # what is in memory is worth more than to end here: the next time may find room
            warn(f"not saved: {e}")

    def report(result: Report) -> None:
        say(result.line())
        if not dry_run:
            attempt(lambda: run.log(result))

    if dry_run:
        anneal, iterations, minutes = False, state.progress.iteration + DRY_RUN_ITERATIONS, None
    elif not anneal and iterations is None:
        iterations = configuration.optimizer.iterations
    bar = tqdm(desc="train", unit="it", disable=quiet or not processes.leads or sys.stderr is None or None, leave=False)
    try:
        with training.Stop().listening() as stop, bar:
            training.run(
                trainer,
                anneal=anneal,
                iterations=iterations,
                minutes=minutes,
                report_every=DRY_RUN_ITERATIONS if dry_run else REPORT_EVERY,
                save=(lambda: None) if dry_run else (lambda: attempt(run.save)),
                report=report,
                tick=lambda iteration: bar.update() and None,
                stop=stop,
            )
    except PeerError:
        if processes.leads and not dry_run:
            run.save()  # the iteration that failed has changed nothing
        raise
    if processes.leads and not dry_run:
        run.save()
    return not stop.asked

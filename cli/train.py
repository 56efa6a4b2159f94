"""`ddpmcodec train`."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ddpmcodec.cli import files, notes, options
from ddpmcodec.errors import InputError, printable

if TYPE_CHECKING:
    from ddpmcodec.progress import Note

VALIDATION_SIGMAS = (15.0, 25.0, 50.0)  # of 255


@click.command("train", short_help="Train a denoiser.")
@click.option(
    "--config",
    default="photo-3",
    show_default=True,
    type=options.FILE,
    metavar="NAME|FILE",
    help="Use this configuration: a bundled one's name or a TOML file.",
)
@click.option("--data", required=True, type=options.FILE, metavar="PATH", help="Train on a folder of pictures, CIFAR10, LSUN's lmdb, .npz.")
@click.option("--val", type=options.DIRECTORY, metavar="DIR", help="Measure the denoising PSNR on these pictures at the end.")
@click.option(
    "-o",
    "--output",
    type=options.DIRECTORY,
    metavar="DIR",
    help="Keep the run in DIR: state, model, log. A run that is there goes on. Required, but for --dry-run.",
)
@click.option("--init", type=options.FILE, metavar="NAME|PATH", help="Begin a new run with this model's weights.")
@click.option("--name", default=None, metavar="NAME", help="Name the model so [default: the configuration's].")
@click.option("--iterations", type=click.IntRange(1), metavar="N", help="Train until so many are done, those of earlier calls included.")
@click.option("--minutes", type=options.Rate(0, min_open=True), metavar="M", help="Train at most so long.")
@click.option("--anneal", is_flag=True, help="Let the learning rate of a copy fall to zero over the iterations or minutes.")
@click.option(
    "--batch", type=click.IntRange(1, 1 << 20), metavar="N", help="Take so many crops an iteration, instead of the configuration's."
)
@click.option(
    "--crop", type=click.IntRange(1, 1 << 14), metavar="N", help="Take crops of this side in pixels, instead of the configuration's."
)
@click.option("--lr", type=options.Rate(0, 1, min_open=True), metavar="X", help="Learn at this rate, instead of the configuration's.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N", help="Draw all that is random from this seed."
)
@click.option("--licence", metavar="TEXT", help="Say in the model card which licences the data have.")
@click.option("--dry-run", is_flag=True, help="Load everything, take 5 iterations, write nothing.")
@options.threads
@options.quiet
def command(config, data, val, output, init, name, iterations, minutes, anneal, batch, crop, lr, seed, licence, dry_run, threads, quiet):
    """Train a denoiser on pictures.

    A run at constant learning rate goes on with the same command, exactly where it was: Ctrl-C, SIGTERM, SIGHUP and every ten minutes
    save it. --anneal then makes a finished model of a copy. Where torchrun starts several processes, they share each batch.

    \b
    ddpmcodec train --data photos/ --val CBSD68/ -o run/ --init photo-3 --minutes 120
    ddpmcodec train --data photos/ --val CBSD68/ -o run/ --anneal --minutes 30
    torchrun --nproc-per-node 2 -m ddpmcodec train --data photos/ -o run/
    """
    if anneal and iterations is None and minutes is None:
        raise click.UsageError("--anneal needs --iterations or --minutes")
    if output is None and not dry_run:
        raise click.MissingParameter(ctx=click.get_current_context(), param_hint="'-o' / '--output'", param_type="option")
    if output in ("", "-"):
        raise click.BadParameter("give a directory", param_hint="--output")
    options.use_threads(threads)

    from ddpmcodec.eval import pictures
    from ddpmcodec.models import distributed, registry, training
    from ddpmcodec.models.training_run import TrainingRun, train

    if val is not None:
        pictures.find([val])  # before the work rather than after it
    configuration = configured(config, batch, lr, crop)
    with distributed.processes(configuration.optimizer.batch) as processes:
        leads, warn = processes.leads, warner(processes.leads)
        say = notes.unheard if quiet else warn
        directory = Path(os.devnull if output is None else output)  # in the first of which there is no run, and cannot be one
        run = TrainingRun(directory, training.build_state(configuration, processes.device, seed), name or Path(config).stem, anneal)
        if not dry_run:
            files.check_apart([str(run.model_path)], [init])
        finished = train(run, configuration, Path(data), processes, init=registry.find(init) if init else None, anneal=anneal,
                         iterations=iterations, minutes=minutes, seed=seed, dry_run=dry_run, say=say, warn=warn, quiet=quiet)  # fmt: skip
    if not leads or dry_run:
        return
    progress = run.state.progress
    say(f"{run.state_path}: {progress.iteration} iterations, {progress.pixels / 1e9:.3f} billion pixels")
    if not finished:
        click.echo("ddpmcodec: interrupted; the same command goes on", err=True)
        raise SystemExit(130)
    write_card(run, configuration, data, val, licence, say, quiet)
    click.echo(f"{run.model_path}")


def configured(config: str, batch: int | None, lr: float | None, crop: int | None):
    """Return the configuration of a name or file, with what options give instead.

    Raises:
        ConfigurationError: it cannot be used.
    """
    import msgspec

    from ddpmcodec.models import configuration as configurations

    configuration = configurations.load(config)
    changes = {"batch": batch, "learning_rate": lr}
    optimizer = msgspec.structs.replace(configuration.optimizer, **{k: v for k, v in changes.items() if v is not None})
    data = configuration.data if crop is None else msgspec.structs.replace(configuration.data, crop=crop)
    return msgspec.structs.replace(configuration, optimizer=optimizer, data=data)


def warner(leads: bool) -> "Note":
    """Return what says a line on stderr, of several processes in the one that leads; a reader that has gone ends no training."""

    def warn(text: str) -> None:
        if leads and sys.stderr is not None:
            with contextlib.suppress(OSError):
                notes.note(text)
                sys.stderr.flush()

    return warn


def write_card(run, configuration, data: str, val: str | None, licence: str | None, say: "Note", quiet: bool) -> None:
    """Write the model card of a finished run, with its denoising PSNR where there are pictures for it."""
    from ddpmcodec.models.model_card import model_card

    model = run.model()
    kinds = [] if val is None else [False, True] if configuration.data.whiten else [False]
    measured = {whitened: validate(model, str(val), say, quiet, whitened) for whitened in kinds}
    card = model_card(
        model, configuration, run.state.progress, data=printable(data), licence=licence, psnrs=measured, validation=printable(str(val))
    )
    files.write(str(run.card_path), card.encode())


def validate(model, directory: str, say: "Note", quiet: bool, whitened: bool) -> dict[float, float]:
    """Measure the mean denoising PSNR in dB at each of `VALIDATION_SIGMAS`, and print it as a table.

    Raises:
        InputError: no picture can be read.
    """
    from ddpmcodec.eval import denoising, pictures

    found = pictures.find([directory])
    with options.progress_bar("val", quiet) as progress:
        psnrs = denoising.measure(
            found, model, VALIDATION_SIGMAS, whitened, lambda path, error: say(f"{path}: left out: {error}"), progress
        )
    if not psnrs:
        raise InputError(f"no readable pictures in {directory}")
    click.echo(denoising.table(psnrs, model, VALIDATION_SIGMAS, whitened))
    return dict(zip(VALIDATION_SIGMAS, np.mean(list(psnrs.values()), axis=0).tolist(), strict=True))

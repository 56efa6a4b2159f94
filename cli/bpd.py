"""`ddpmcodec bpd`."""

import csv
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path

import click
from tqdm import tqdm

from ddpmcodec.cli import files, options, reverse
from ddpmcodec.errors import InputError, ModelError


@click.command("bpd", short_help="The variational bound, term by term.")
@click.option(
    "--data",
    "paths",
    multiple=True,
    required=True,
    type=options.FILE,
    metavar="PATH",
    help="Pictures, a folder of them, CIFAR10 or .npz; may be repeated.",
)
@options.model
@click.option("--steps", "counts", multiple=True, type=reverse.Steps(), metavar="all|N", help="Visit so many levels: those stored with the "
              "model, else evenly spaced; may be repeated [default: all timesteps, of a model of continuous levels 100].")  # fmt: skip
@reverse.variance
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N pictures.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, metavar="N")
@click.option(
    "-o", "--output", type=options.DIRECTORY, metavar="DIR", help="Write bpd.json, progressive.csv and bpd.png, the paper's figure 5."
)
@click.option("--search", type=click.IntRange(2, 1 << 14), metavar="N", help="Find the N levels along which the bound is least.")
@click.option("--fit", is_flag=True, help="Fit the variance of each timestep.")
@click.option("--store", type=options.FILE, metavar="FILE", help="Write the model anew with what --search or --fit has found.")
@options.threads
@options.quiet
def command(paths, model, counts, variance, limit, seed, output, search, fit, store, threads, quiet):
    """The variational bound of a model on pictures: L_T, each L_{t-1}, L_0, in bits per dimension; rate, distortion, RMSE.

    \b
    ddpmcodec bpd --model cifar10.safetensors --data cifar10-test/ --limit 64
    ddpmcodec bpd --model tiny --data crops/ --steps all --steps 250 --steps 100 --steps 50 -o results/
    ddpmcodec bpd --model tiny --data crops/ --search 60 --store tiny.safetensors
    ddpmcodec encode crops/*.png -o crops.ddpm --model tiny.safetensors --lossless --evaluations 60
    """
    if store is not None and search is None and not fit:
        raise click.UsageError("--store goes with --search or --fit")
    options.use_threads(threads)
    if store is not None:
        files.check_writable(store, stdout=False)

    from ddpmcodec.eval import bits_per_dimension as bpd
    from ddpmcodec.eval import pictures as sets
    from ddpmcodec.models import checkpoint, registry
    from ddpmcodec.models.levels import DiscreteLevels

    def note(text: str) -> None:
        if not quiet:
            tqdm.write(text, file=sys.stderr)

    denoiser = registry.find(model or registry.DEFAULT)
    discrete = isinstance(denoiser.levels, DiscreteLevels)
    if fit and not discrete:
        raise ModelError(f"{denoiser.name} has continuous levels: a variance is fitted to each timestep")
    loaded = list(sets.load_any(paths, lambda path, error: note(f"{path}: left out: {error}"), limit))
    if not loaded:
        raise InputError(f"no readable pictures in {', '.join(paths)}")
    loaded.sort(key=lambda named: named[1].shape)  # so that pictures of one size are evaluated together
    directory = None if output is None else make_directory(output)

    def bound_of(levels, variance=variance, of=denoiser):
        with tqdm(desc=f"{len(levels)} steps", total=len(loaded) * len(levels), unit="eval", disable=quiet or None, leave=False) as bar:
            return bpd.evaluate(of, loaded, levels, variance=variance, seed=seed, progress=lambda done: bar.update(done) and None)

    results = []
    if counts or not (search or fit):
        for count in counts or ([reverse.ALL] if discrete else [None]):
            bound = bound_of(reverse.levels(denoiser, denoiser.start, count))
            results.append(bpd.summary(bound, denoiser, variance or denoiser.variance))
    stored = denoiser
    if search or fit:
        every = bpd.candidates(denoiser)
        table = bound_of(every)
        if fit:
            stored = bpd.fit(denoiser, loaded, table, seed=seed)
            results.append(bpd.summary(bound_of(every, None, stored), stored, stored.variance))
        if search:
            try:
                schedule = bpd.best_schedule(denoiser.levels, every, table.mse.mean(0), search)
            except ValueError as e:
                raise click.BadParameter(str(e), param_hint="--search") from e
            note(f"{search} levels: {', '.join(map(str, schedule))}")
            results.append(bpd.summary(bound_of(schedule), denoiser, f"{variance or denoiser.variance}, levels searched for"))
            stored.schedules[search] = tuple(schedule)
    if store is not None:
        checkpoint.save(Path(store), stored.name, stored.config, stored.network.state_dict(), stored.schedules)
        note(f"{store}: {stored.name}, hash {stored.hash.hex()}, schedules of {', '.join(map(str, stored.schedules)) or 'no'} levels")
    if directory is not None:
        write(directory, results)
    click.echo(bpd.table(results))


def make_directory(path: str) -> Path:
    files.make_directory(path)
    files.check_writable(str(Path(path) / "bpd.json"))
    return Path(path)


def write(directory: Path, results: list[dict]) -> None:
    """bpd.json of all results, progressive.csv and the plot."""
    versions = {package: version(package) for package in ("ddpmcodec", "torch")}
    files.write(str(directory / "bpd.json"), json.dumps({"versions": versions, "results": results}, indent=1).encode() + b"\n")
    text = io.StringIO(newline="")
    columns = ["levels", "variance", *results[0]["progressive"][0]]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        for row in result["progressive"]:
            writer.writerow({"levels": result["levels"], "variance": result["variance"], **row})
    files.write(str(directory / "progressive.csv"), text.getvalue().encode())
    from ddpmcodec.eval import figures

    try:
        png = figures.progressive(results)
    except ImportError:
        click.echo("ddpmcodec: no plot: it needs matplotlib (pip install 'ddpmcodec[plot]')", err=True)
    else:
        files.write(str(directory / "bpd.png"), png)

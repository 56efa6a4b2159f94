"""`ddpmcodec bpd`."""

from pathlib import Path

import click

from ddpmcodec.cli import eval_options, files, notes, options, reverse
from ddpmcodec.errors import InputError


@click.command("bpd", short_help="Measure the variational bound, term by term.")
@click.option("--data", "paths", multiple=True, required=True, type=options.FILE, metavar="PATH",
              help="Measure on pictures, a folder of them, CIFAR10 or .npz; may be repeated.")  # fmt: skip
@options.model
@click.option("--steps", "counts", multiple=True, type=reverse.Steps(), metavar="all|N", help="Visit so many levels: those stored with the "
              "model, else evenly spaced; may be repeated [default: all timesteps, of a model of continuous levels 100].")  # fmt: skip
@reverse.variance
@eval_options.page
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Use only the first N pictures.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, metavar="N", help="Draw noise from this seed.")
@click.option("-o", "--output", type=options.DIRECTORY, metavar="DIR",
              help="Write bpd.json, progressive.csv and bpd.png, the paper's figure 5.")  # fmt: skip
@click.option("--search", type=click.IntRange(2, 1 << 14), metavar="N", help="Find the N levels along which the bound is least.")
@click.option("--fit", is_flag=True, help="Fit the variance of each timestep.")
@click.option("--store", type=options.FILE, metavar="FILE", help="Write the model anew with what --search or --fit has found.")
@options.threads
@options.quiet
def command(paths, model, counts, variance, page, limit, seed, output, search, fit, store, threads, quiet):
    """Measure the variational bound of a model on pictures: L_T, each L_{t-1}, L_0, in bits per dimension; rate, distortion, RMSE.

    Pictures that cannot be read are named and left out, and the exit code is then 3.

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
        files.check_writable(store, paths, stdout=False)  # a model gets its own lists: nothing else of it changes

    from ddpmcodec.eval import bits_per_dimension as bpd
    from ddpmcodec.eval import pictures
    from ddpmcodec.models import registry

    denoiser = registry.resolve(model)
    if fit:
        bpd.check_fit(denoiser)
    if search is not None:
        reverse.check_count(len(bpd.candidates(denoiser)), search)
    left_out = notes.LeftOut(quiet)
    loaded = list(pictures.load_any(paths, left_out, limit, page))
    if not loaded:
        raise InputError(f"no readable pictures in {', '.join(paths)}")
    visited = reverse.visited(denoiser, counts, default=search is None and not fit)
    outputs = files.prepare(output, ["bpd"], paths) if output else {}
    if outputs:
        files.check_apart(map(plot_beside, outputs.values()), map(str, pictures.find(paths)))
    say = notes.unheard if quiet else notes.note
    with options.progress_bar("bpd", quiet) as progress:
        results, found = bpd.study(denoiser, loaded, visited, variance=variance, seed=seed, search=search, fitted=fit, note=say,
                                   progress=progress)  # fmt: skip
    if store is not None:
        save(found, store, say)
    for path in outputs.values():
        write(Path(path), results)
    click.echo(bpd.table(results))
    left_out.check()


def plot_beside(path: str) -> str:
    """Return where the plot of results in a JSON file goes."""
    return str(Path(path).with_name("bpd.png"))


def save(model, path: str, say) -> None:
    """Write a model with its lists of best levels."""
    from ddpmcodec.models import checkpoint

    checkpoint.save(Path(path), model.name, model.config, model.network.state_dict(), model.best_visited)
    say(f"{path}: {model.name}, hash {model.hash.hex()}, lists of {', '.join(map(str, model.best_visited)) or 'no'} levels")


def write(path: Path, results: list[dict]) -> None:
    """Write bpd.json of all results, and progressive.csv and the plot beside it."""
    from ddpmcodec.eval import bits_per_dimension as bpd
    from ddpmcodec.eval import figures
    from ddpmcodec.eval.versions import versions

    files.write_json(str(path), {"versions": versions("ddpmcodec", "torch"), "results": results})
    files.write_csv(str(path.with_name("progressive.csv")), bpd.rows(results))
    try:
        png = figures.progressive(results)
    except ImportError:
        click.echo("ddpmcodec: no plot: it needs matplotlib (pip install 'ddpmcodec[plot]')", err=True)
    else:
        files.write(plot_beside(str(path)), png)

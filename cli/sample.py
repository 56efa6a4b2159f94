"""`ddpmcodec sample`."""

import io
import itertools
import math
import sys
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from ddpmcodec.cli import files, grids, options, reverse
from ddpmcodec.errors import InputError

DEFAULT_SIDE = 64  # for models that take any size
BATCH_PIXELS = 1 << 16
PROGRESSIVE = 10  # pictures of a progressive row, and rows


class Size(click.ParamType):
    """WxH."""

    name = "size"

    def convert(self, value, param, ctx):
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in parts):
            self.fail("give WxH, sides from 1 to 4096", param, ctx)
        return int(parts[0]), int(parts[1])


@click.command("sample", short_help="Draw pictures from a model.")
@options.model
@click.option(
    "-o",
    "--output",
    type=options.FILE,
    metavar="FILE|DIR/",
    help="A grid as .png (- is stdout), arrays as .npz, or a directory of pictures.",
)
@click.option("-n", "--count", type=click.IntRange(1, 1 << 20), default=16, show_default=True, metavar="N")
@click.option("--size", type=Size(), metavar="WxH", help="[default: the model's resolution, else 64x64]")
@reverse.steps
@click.option("--ddim", is_flag=True, help="DDIM, instead of Algorithm 2.")
@click.option("--eta", type=options.Rate(0, 1), default=0.0, show_default=True, metavar="X", help="Noise of DDIM.")
@reverse.variance
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N")
@click.option(
    "--progressive", type=options.FILE, metavar="FILE.png", help="Figure 6: a row for each of the first samples, x0hat on the way."
)
@click.option("--shared-latent", type=click.IntRange(1), metavar="T", help="Figure 7: one x_t at the visited level nearest to T, from "
              "which all samples are completed.")  # fmt: skip
@click.option(
    "--nearest", type=options.DIRECTORY, metavar="DIR", help="Beside each sample, the picture in DIR that is nearest to it; .png only."
)
@options.threads
@options.quiet
def command(model, output, count, size, steps, ddim, eta, variance, seed, progressive, shared_latent, nearest, threads, quiet):
    """Draw pictures from a model by Algorithm 2.

    \b
    ddpmcodec sample --model cifar10.safetensors -o grid.png -n 64 --steps 1000
    ddpmcodec sample --model tiny -o samples.npz -n 5000 --ddim --steps 50
    ddpmcodec sample --model tiny -o grid.png --progressive rows.png
    ddpmcodec sample --model tiny -o shared.png --shared-latent 500
    ddpmcodec sample --model tiny -o beside.png -n 8 --nearest crops/
    """
    if output is None and progressive is None:
        raise click.UsageError("give -o, --progressive, or both")
    directory = output is not None and output != "-" and (output.endswith("/") or Path(output).is_dir())
    if output is not None and not directory:
        grids.check(output, (".png",) if nearest else (".png", ".npz"))
    if progressive is not None:
        grids.check(progressive)
    options.use_threads(threads)

    from ddpmcodec.eval import pictures as sets
    from ddpmcodec.models import registry, sampling
    from ddpmcodec.models.reverse import ReverseProcess
    from ddpmcodec.picture import to_pixels

    references = sets.find([nearest]) if nearest else []
    denoiser = registry.find(model or registry.DEFAULT)
    process = ReverseProcess(denoiser, reverse.levels(denoiser, denoiser.start, steps), variance)
    side = denoiser.config.get("resolution", DEFAULT_SIDE)
    width, height = size or (side, side)

    def chain(process: ReverseProcess, numbers, x_t=None):
        noise = sampling.Noise(seed, numbers)
        x_t = noise.draw(height, width) if x_t is None else x_t
        return sampling.ddim(process, x_t, noise, eta) if ddim else sampling.ancestral(process, x_t, noise)

    shared = None
    if shared_latent is not None:
        place = min(range(len(process)), key=lambda i: abs(process.levels[i] - shared_latent))
        shared = next(itertools.islice(chain(process, [count]), place, None)).x_t
        process = ReverseProcess(denoiser, process.levels[place:], variance)
    shown = np.linspace(0, len(process), PROGRESSIVE).round().astype(int).tolist()
    batch = max(1, BATCH_PIXELS // (width * height))
    drawn: list[np.ndarray] = []
    rows: list[list[np.ndarray]] = []
    with tqdm(desc="sample", total=count * len(process), unit="eval", disable=quiet or sys.stderr is None or None, leave=False) as bar:
        for first in range(0, count, batch):
            numbers = range(first, min(first + batch, count))
            x_t = None if shared is None else shared.expand(len(numbers), -1, -1, -1)
            columns = []
            for i, state in enumerate(chain(process, numbers, x_t)):
                if progressive is not None and first < PROGRESSIVE and i in shown:
                    columns.append(np.split(to_pixels(state.x_0), len(numbers)))
                bar.update(len(numbers) if i < len(process) else 0)
            drawn += np.split(to_pixels(state.x_0), len(numbers))
            rows += [list(row) for row in zip(*columns, strict=True)]
    if progressive is not None:
        files.write(progressive, grids.png(grids.grid(rows[:PROGRESSIVE])))
    if nearest:
        rows = beside_nearest(drawn, references, lambda text: None if quiet else click.echo(text, err=True))
    else:
        columns_of_grid = math.ceil(math.sqrt(count))
        rows = [drawn[i : i + columns_of_grid] for i in range(0, count, columns_of_grid)]
    if output is None:
        return
    if directory:
        write_all(Path(output), drawn)
    elif output.endswith(".npz"):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=np.stack(drawn))
        files.write(output, buffer.getvalue())
    else:
        files.write(output, grids.png(grids.grid(rows)))


def beside_nearest(drawn: list[np.ndarray], references: list[Path], note) -> list[list[np.ndarray]]:
    """Each sample, and the picture that is nearest to it.

    Raises:
        InputError: no picture has the samples' size.
    """
    from ddpmcodec.eval import pictures as sets
    from ddpmcodec.models import sampling

    found = sampling.nearest(
        np.stack(drawn), (pixels for _, pixels in sets.load(references, lambda path, error: note(f"{path}: left out: {error}")))
    )
    wanted = {number for number, _ in found}
    if -1 in wanted:
        raise InputError(f"no picture there has the samples' size, {drawn[0].shape[1]}x{drawn[0].shape[0]}")
    kept = {i: named for i, named in enumerate(sets.load(references, lambda path, error: None)) if i in wanted}
    for i, (number, rmse) in enumerate(found):
        note(f"sample {i}: nearest is {kept[number][0]}, RMSE {rmse:.1f} of 255")
    return [[sample, kept[number][1]] for sample, (number, _) in zip(drawn, found, strict=True)]


def write_all(directory: Path, pictures: list[np.ndarray]) -> None:
    """sample-00000.png and so on."""
    files.make_directory(directory)
    for i, pixels in enumerate(pictures):
        files.write(str(directory / f"sample-{i:05}.png"), grids.png(pixels))

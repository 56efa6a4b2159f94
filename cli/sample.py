"""`ddpmcodec sample`."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from ddpmcodec.cli import eval_options, files, grids, notes, options, reverse

DEFAULT_SIDE = 64  # for models that take any size


class Size(click.ParamType):
    """WxH."""

    name = "size"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and 1 <= int(part) <= 4096 for part in parts):
            self.fail("give WxH, sides from 1 to 4096", param, ctx)
        return int(parts[0]), int(parts[1])


@click.command("sample", short_help="Draw pictures from a model.")
@options.model
@click.option("-o", "--output", type=options.FILE, metavar="FILE|DIR/",
              help="Write a grid as .png (- means standard output), arrays as .npz, or a directory of pictures.")  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(1, 1 << 20), default=16, show_default=True, metavar="N", help="Draw N pictures.")
@click.option("--size", type=Size(), metavar="WxH", help="Draw pictures of this size [default: the model's resolution, else 64x64].")
@reverse.steps
@click.option("--ddim", is_flag=True, help="Use DDIM, instead of Algorithm 2.")
@click.option("--eta", type=options.Rate(0, 1), default=0.0, show_default=True, metavar="X", help="Give DDIM this much noise.")
@reverse.variance
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N", help="Draw noise from this seed.")
@click.option("--progressive", type=options.FILE, metavar="FILE.png",
              help="Write figure 6: a row for each of the first samples, x0hat on the way.")  # fmt: skip
@click.option("--shared-latent", type=click.IntRange(1), metavar="T",
              help="Draw figure 7: complete all samples from one x_t, at the visited level nearest to T.")  # fmt: skip
@click.option("--nearest", type=options.DIRECTORY, metavar="DIR",
              help="Show beside each sample the picture in DIR that is nearest to it; .png only.")  # fmt: skip
@eval_options.page
@options.threads
@options.quiet
def command(model, output, count, size, steps, ddim, eta, variance, seed, progressive, shared_latent, nearest, page, threads, quiet):
    """Draw pictures from a model by Algorithm 2.

    \b
    ddpmcodec sample --model cifar10.safetensors -o grid.png -n 64 --steps 1000
    ddpmcodec sample --model tiny -o samples.npz -n 5000 --ddim --steps 50
    ddpmcodec sample --model tiny -o grid.png --progressive rows.png
    ddpmcodec sample --model tiny -o shared.png --shared-latent 500
    ddpmcodec sample --model tiny -o beside.png -n 8 --nearest crops/
    """
    check(output, progressive, nearest)
    options.use_threads(threads)

    from ddpmcodec.eval import pictures, samples
    from ddpmcodec.models import registry
    from ddpmcodec.models.reverse import ReverseProcess
    from ddpmcodec.models.sampling import Sampler

    references = pictures.find([nearest]) if nearest else []
    if nearest and output is not None:
        files.check_apart(parts(output, count) if is_directory(output) else [output], map(str, references))
    denoiser = registry.resolve(model)
    process = ReverseProcess(denoiser, reverse.levels(denoiser, denoiser.start, steps), variance)
    side = denoiser.config.get("resolution", DEFAULT_SIDE)
    width, height = size or (side, side)
    with options.progress_bar("sample", quiet) as progress:
        drawn, rows = samples.draw(Sampler(process, (height, width), seed, eta if ddim else None), count, shared_latent, progress)
    if progressive is not None:
        files.write(progressive, grids.png(grids.grid(rows)))
    left_out = notes.LeftOut(quiet)
    beside = samples.beside_nearest(drawn, references, left_out, notes.unheard if quiet else notes.note, page) if nearest else None
    if output is not None:
        write(output, drawn, beside)
    left_out.check()


def is_directory(output: str) -> bool:
    """Return whether an output is meant as a directory: it is one, or ends as one."""
    return output != "-" and (output.endswith("/") or Path(output).is_dir())


def check(output: str | None, progressive: str | None, nearest: str | None) -> None:
    """Fail before long work.

    Raises:
        click.UsageError: there is no output.
        OutputError: one cannot be written.
    """
    if output is None and progressive is None:
        raise click.UsageError("give -o, --progressive, or both")
    if output is not None and not is_directory(output):
        grids.check(output, (".png",) if nearest else (".png", ".npz"))
    if progressive is not None:
        grids.check(progressive)


def write(output: str, drawn: list[np.ndarray], rows: list[list[np.ndarray]] | None) -> None:
    """Write samples to a directory, as arrays, or as a grid: of `rows`, or nearly square."""
    if is_directory(output):
        write_all(output, drawn)
    elif output.endswith(".npz"):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=np.stack(drawn))
        files.write(output, buffer.getvalue())
    else:
        columns = math.ceil(math.sqrt(len(drawn)))
        files.write(output, grids.png(grids.grid(rows or [drawn[i : i + columns] for i in range(0, len(drawn), columns)])))


def parts(directory: str, count: int) -> Iterator[str]:
    """Name the samples in a directory: sample-00000.png and so on."""
    return (str(Path(directory) / f"sample-{i:05}.png") for i in range(count))


def write_all(directory: str, pictures: list[np.ndarray]) -> None:
    """Write each sample."""
    files.make_directory(directory)
    for path, pixels in zip(parts(directory, len(pictures)), pictures, strict=True):
        files.write(path, grids.png(pixels))

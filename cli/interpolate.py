"""`ddpmcodec interpolate`."""

import click

from ddpmcodec.cli import eval_options, files, grids, options, reverse
from ddpmcodec.errors import PictureError


def numbers(kind):
    """Return a callback that reads numbers separated by commas."""

    def convert(ctx: click.Context, param: click.Parameter, value: str):
        try:
            return [kind(v) for v in value.split(",")]
        except ValueError:
            raise click.BadParameter("give numbers separated by commas") from None

    return convert


@click.command("interpolate", short_help="Draw pictures between two pictures.")
@click.argument("a", type=options.FILE)
@click.argument("b", type=options.FILE)
@click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE.png",
              help="Write a row for each t: A, the pictures of each lambda, B; - means standard output.")  # fmt: skip
@click.option("--t", "timesteps", default="500", show_default=True, callback=numbers(int), metavar="T[,T...]", help="Diffuse both to x_t; "
              "of a model of continuous levels, to a level.")  # fmt: skip
@click.option("--lambda", "lambdas", default="0,0.2,0.4,0.6,0.8,1", show_default=True, callback=numbers(float), metavar="X,X...",
              help="Weigh B so much: 0 is A, 1 is B.")  # fmt: skip
@reverse.steps
@reverse.variance
@options.model
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N", help="Draw noise from this seed.")
@click.option("--shared-noise", is_flag=True, help="Decode all lambda with the same noise.")
@eval_options.page
@options.threads
@options.quiet
def command(a, b, output, timesteps, lambdas, steps, variance, model, seed, shared_noise, page, threads, quiet):
    """Interpolate between the pictures A and B, of one size: both are diffused to x_t, their latents interpolated, and decoded,
    each with noise of its own (figure 8). With several t, coarse to fine (figure 9).

    \b
    ddpmcodec interpolate a.png b.png -o between.png --model celeba.safetensors --t 500
    ddpmcodec interpolate a.png b.png -o coarse-to-fine.png --model celeba.safetensors --t 1000,750,500,250,125
    """
    if not all(-10 <= w <= 10 for w in lambdas):
        raise click.BadParameter("give numbers from -10 to 10", param_hint="--lambda")
    grids.check(output, inputs=[a, b])
    data = [files.read(path) for path in (a, b)]
    options.use_threads(threads)

    from ddpmcodec import picture
    from ddpmcodec.eval import samples
    from ddpmcodec.models import registry

    pixels = []
    for path, content in zip((a, b), data, strict=True):
        with files.naming(path):
            pixels.append(picture.read(content, page=page, or_only=True).pixels)
    if pixels[0].shape != pixels[1].shape:
        sizes = " and ".join(f"{p.shape[1]}x{p.shape[0]}" for p in pixels)
        raise PictureError(f"{a} and {b} have different sizes, {sizes}")
    denoiser = registry.resolve(model)
    visited = [reverse.levels_from(denoiser, t, steps) for t in timesteps]
    with options.progress_bar("interpolate", quiet) as progress:
        rows = samples.between(denoiser, pixels[0], pixels[1], visited, lambdas, variance, seed, shared_noise, progress)
    files.write(output, grids.png(grids.grid(rows)))

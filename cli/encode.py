"""`ddpmcodec encode`."""

import click

from ddpmcodec.cli import files, options
from ddpmcodec.plan import MAX_BPP


@click.command("encode", short_help="Encode a picture.")
@click.argument("image")
@options.output
@click.option("--bpp", type=options.Rate(0, MAX_BPP, min_open=True), metavar="X", help="Bits per pixel, never exceeded [default: about 1].")
@click.option("--lossless", is_flag=True, help="To the last bit, instead of a rate.")
@options.evaluations
@options.effort
@options.model
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N",
              help="Of the randomness that encoder and decoder share; it is in the file.")  # fmt: skip
@options.threads
@options.max_pixels
@options.quiet
def command(image, output, bpp, lossless, evaluations, effort, model, seed, threads, max_pixels, quiet):
    """Encode IMAGE (any picture Pillow opens; - is stdin) to a .ddpm file.

    \b
    ddpmcodec encode photo.png -o photo.ddpm
    ddpmcodec encode photo.jpg -o small.ddpm --bpp 0.25 --evaluations 20
    ddpmcodec encode photo.png -o exact.ddpm --lossless
    cat photo.png | ddpmcodec encode - -o - | ddpmcodec decode - -o out.png
    """
    if lossless and bpp is not None:
        raise click.UsageError("--lossless goes without --bpp")
    files.check_writable(output)
    data = files.read(image)
    options.use_threads(threads)

    from ddpmcodec import picture
    from ddpmcodec.encoder import encode_pixels
    from ddpmcodec.models import registry

    def note(text: str) -> None:
        if not quiet:
            click.echo(f"{image}: {text}", err=True)

    with files.naming(image):
        pixels = picture.read(data, note, max_pixels or picture.MAX_PIXELS)
    denoiser = registry.find(model or registry.DEFAULT)
    with options.progress_bar("encode", quiet) as progress:
        e = encode_pixels(
            pixels, denoiser, bpp=bpp, lossless=lossless, evaluations=evaluations, effort=effort, seed=seed, progress=progress
        )
    files.write(output, e.data)
    if not quiet:
        click.echo(f"{output}: {e.summary()}", err=True)

"""`ddpmcodec eval drift`."""

import click
from tqdm import tqdm

from ddpmcodec.cli import eval_options, files, options
from ddpmcodec.cli.sample import Size
from ddpmcodec.target import MAX_BPP


@click.command("drift", short_help="Measure how far other arithmetic drifts.")
@click.argument("photo", type=options.FILE, metavar="PICTURE")
@click.option("--size", type=Size(), default="240x160", show_default=True, metavar="WxH", help="Use the picture's middle of this size.")
@click.option(
    "--bpp", type=options.Rate(0.01, MAX_BPP), default=2.0, show_default=True, metavar="X", help="Make the lossy file of this rate."
)
@options.evaluations
@options.model
@eval_options.page
@options.quiet
def command(photo, size, bpp, evaluations, model, page, quiet):
    """Measure how far decoders whose arithmetic differs drift from the encoder on PICTURE, and print a Markdown table.

    \b
    ddpmcodec eval drift photo.png
    ddpmcodec eval drift photo.png --size 64x64 --bpp 4
    """
    data = files.read(photo)

    from ddpmcodec import picture
    from ddpmcodec.eval import drift
    from ddpmcodec.models import registry

    with files.naming(photo):
        pixels = drift.middle(picture.read(data, page=page).pixels, *size)
    with options.progress_bar("drift", quiet) as progress:
        drift.report(pixels, model or registry.DEFAULT, bpp, evaluations, tqdm.write, progress)

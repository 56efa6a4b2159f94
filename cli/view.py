"""`ddpmcodec view`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddpmcodec.cli import files, options
from ddpmcodec.errors import EvaluationError, PictureError, printable

if TYPE_CHECKING:
    from PIL.Image import Image


@click.command("view", short_help="Make a page of a file: its picture at every prefix.")
@click.argument("file", type=options.FILE)
@click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE.html", help="Write to FILE.html; - means standard output.")
@click.option("--original", type=options.FILE, metavar="PICTURE", help="Show this one beside it, with PSNR.")
@options.model
@options.threads
@options.device
@options.precision
@options.backend
@options.max_pixels
@options.quiet
def command(file, output, original, model, threads, device, precision, backend, max_pixels, quiet):
    """Write one self-contained HTML page of FILE (- is stdin): its picture with a slider over its bytes, its sections and steps.

    \b
    ddpmcodec view photo.ddpm -o photo.html
    ddpmcodec view photo.ddpm --original photo.png -o photo.html
    """
    files.check_writable(output, [file, original, model])
    data = files.read(file)
    reference = None if original is None else files.read(original)
    options.use_threads(threads)
    if original is not None:
        try:
            import matplotlib.figure  # noqa: F401 - fails before long work
        except ImportError as e:
            raise EvaluationError("--original draws a curve, which needs matplotlib: pip install 'ddpmcodec[plot]'") from e

    from ddpmcodec import api, large
    from ddpmcodec.eval import view

    with files.naming(file):
        parsed = api.open_file(data, max_pixels=max_pixels)
    header = parsed.header
    image = None if reference is None else read_original(original, reference, max_pixels)
    if image is not None and image.size != (header.width, header.height):
        raise PictureError(f"{original} has {image.width} x {image.height} pixels, {file} {header.width} x {header.height}")
    denoiser = api.denoiser_of(parsed, model, device, precision, backend)
    if not quiet:
        large.announce_decoding(lambda text: click.echo(f"{output}: {text}", err=True), parsed, denoiser)
    name = "stdin" if file == "-" else printable(Path(file).name)
    with options.progress_bar("view", quiet) as progress:
        made = view.view(data, name, view.prefixes(parsed, denoiser, progress), image)
    files.write(output, made)


def read_original(path: str, data: bytes, max_pixels: int | None) -> "Image":
    """Return the picture that was encoded, with its alpha.

    Raises:
        PictureError: it is none that can be read.
        LimitError: it is too large.
    """
    import numpy as np
    from PIL import Image

    from ddpmcodec import picture

    with files.naming(path):
        read = picture.read(data, max_pixels=max_pixels or picture.MAX_PIXELS)
    return Image.fromarray(read.pixels if read.alpha is None else np.dstack([read.pixels, read.alpha]))

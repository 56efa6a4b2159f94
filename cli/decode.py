"""`ddpmcodec decode`."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from PIL import Image

from ddpmcodec.cli import batch, files, options
from ddpmcodec.container import Container
from ddpmcodec.errors import OutputError
from ddpmcodec.metadata import NAMES

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".png"  # of several files' pictures
ICONS = {"ICO", "ICNS"}  # Pillow scales what it saves in these


def picture_format(path: str) -> str:
    """Pillow's name of the format that a file name asks for."""
    if path == "-":
        return "PNG"
    name = Image.registered_extensions().get(Path(path).suffix.lower())
    try:
        if name is None or name in ICONS:
            raise ValueError
        Image.new("RGB", (1, 1)).save(io.BytesIO(), name)
    except Exception as e:  # each format's own way to say that it cannot be written, or not in colour
        raise OutputError(f"{path}: no picture format that can be written has the extension {Path(path).suffix!r}") from e
    return name


def save(image: Image.Image, path: str) -> None:
    buffer = io.BytesIO()
    carried = {name: image.info[name] for name in NAMES if name in image.info}
    try:
        image.save(buffer, picture_format(path), **carried)
    except Exception as e:  # what Pillow raises, for a picture too large for the format say, is up to each format's library
        raise OutputError(f"{path}: {' '.join(str(e).split())}") from e
    files.write(path, buffer.getvalue())


def save_all(pixels: "np.ndarray", parsed: Container, path: str) -> None:
    """The picture of a file; several pictures into a directory."""
    from ddpmcodec import picture

    images = picture.to_images(pixels, parsed)
    if len(images) == 1:
        save(images[0], path)
        return
    files.make_directory(path)
    for i, image in enumerate(images):
        save(image, str(Path(path) / f"{i:04}.png"))


def decode_one(file: str, output: str, say: Callable[[str], None], chosen: dict[str, Any]) -> list[str]:
    """A file of a batch: the cells of its row."""
    from ddpmcodec import api, decoder
    from ddpmcodec.cli import large

    data = files.read(file)[: chosen["max_bytes"]]
    with files.naming(file):
        parsed = api.open_file(data, chosen["steps"], chosen["max_pixels"])
        denoiser = api.model_of(parsed, chosen["model"], chosen["device"], chosen["precision"])
    large.announce_decoding(say, output, parsed, denoiser)
    state = decoder.last_state(parsed, denoiser, lambda done, total: None)
    pixels = decoder.reconstructed(parsed, state, chosen["reconstruct"], chosen["seed"])
    header = parsed.header
    save_all(pixels, parsed, output if header.pictures == 1 else output.removesuffix(SUFFIX))
    return [f"{header.width} x {header.height}", f"{state.index} of {len(parsed.steps)}"]


@click.command("decode", short_help="Decode a file, or any prefix of one.")
@click.argument("inputs", nargs=-1, required=True, type=options.FILE, metavar="FILE...")
@click.option("-o", "--output", type=options.FILE, metavar="FILE|DIR", help="The picture, in the format of its extension; - is stdout, "
              "as PNG. Several files, or a file of several pictures: a directory.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), metavar="N", help="Use only the first N steps (more than there are: all).")
@click.option("--bytes", "max_bytes", type=options.Size(), metavar="N", help="Use only the first N bytes.")
@click.option("--every", type=click.Path(file_okay=False), metavar="DIR", help="Also write the picture after every step, step-000.png ...")
@click.option("--reconstruct", type=click.Choice(["mean", "sample"]), default="mean", show_default=True,
              help="mean: the best PSNR. sample: draw the rest of the chain (Algorithm 4).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N", help="Of --reconstruct sample.")
@options.model
@options.jobs
@options.skip_existing
@options.threads
@options.device
@options.precision
@options.max_pixels
@options.quiet
def command(inputs, output, every, jobs, skip_existing, threads, **chosen):
    """Decode FILE (- is stdin), whole or cut, to a picture; several FILEs to PNGs in a directory.

    \b
    ddpmcodec decode photo.ddpm -o out.png
    ddpmcodec decode photo.ddpm -o preview.png --bytes 4000
    ddpmcodec decode photo.ddpm --every frames/
    ddpmcodec decode coded/*.ddpm -o pictures/ --jobs 4
    ddpmcodec decode tiles.ddpm -o tiles/
    """
    if output is None and every is None:
        raise click.UsageError("give -o FILE, --every DIR, or both")
    if len(inputs) > 1:
        if output is None or every is not None:
            raise click.UsageError("several files go to a directory: -o DIR")
        results = partial(batch.in_processes, decode_one, chosen, jobs, threads)
        batch.run("decode", results, batch.outputs(inputs, output, SUFFIX), ("size", "steps"), chosen["quiet"], skip_existing)
        return
    batch.refuse(jobs, skip_existing)
    [file] = inputs
    reconstruct, quiet = chosen["reconstruct"], chosen["quiet"]
    data = files.read(file)[: chosen["max_bytes"]]
    options.use_threads(threads)

    from ddpmcodec import api, decoder
    from ddpmcodec.cli import large

    with files.naming(file):
        parsed = api.open_file(data, chosen["steps"], chosen["max_pixels"])
    several = parsed.header.pictures > 1
    if output is not None and not several and batch.is_directory(output):
        output = batch.outputs(inputs, output, SUFFIX)[file]
    if output is not None and not several:
        files.check_writable(output)
        picture_format(output)
    denoiser = api.model_of(parsed, chosen["model"], chosen["device"], chosen["precision"])
    if not quiet:
        large.announce_decoding(partial(click.echo, err=True), output or every, parsed, denoiser)

    for directory in (every, output if several else None):
        if directory is not None:
            files.make_directory(directory)
    with options.progress_bar("decode", quiet) as progress:
        if every is None:
            state = decoder.last_state(parsed, denoiser, progress)
        else:
            for state in decoder.states(parsed, denoiser):
                save_all(decoder.pixels(parsed, state), parsed, str(Path(every) / f"step-{state.index:03}{'' if several else '.png'}"))
                progress(state.index + 1, len(parsed.messages) + 1)
    if output is not None:
        with options.progress_bar("sample", quiet or reconstruct == "mean") as progress:
            pixels = decoder.reconstructed(parsed, state, reconstruct, chosen["seed"], progress)
        save_all(pixels, parsed, output)
    if not quiet:
        exactly = ", losslessly" if parsed.tail is not None and reconstruct == "mean" else ""
        click.echo(f"{output or every}: decoded from {state.index} of {len(parsed.steps)} steps{exactly}", err=True)

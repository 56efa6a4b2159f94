"""`ddpmcodec decode`."""

import io
import os
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from PIL import Image
from PIL.ExifTags import TAGS

from ddpmcodec.cli import batch, files, options
from ddpmcodec.errors import OutputError, printable
from ddpmcodec.format.container import Container
from ddpmcodec.format.metadata import NAMES
from ddpmcodec.progress import silent

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".png"  # of several files' pictures
# What a TIFF takes over of EXIF: other tags of TIFF say where and how its own pixels lie.
DESCRIPTIONS = {"ImageDescription", "Make", "Model", "XResolution", "YResolution", "ResolutionUnit", "Software", "DateTime", "Artist",
                "HostComputer", "Copyright", "ExifOffset", "GPSInfo"}  # fmt: skip
MAX_CARRIED = 1 << 28  # bytes of metadata in all files that are written: a small file can ask for many large ones
Say = Callable[[str], None]
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


def save(image: Image.Image, path: str, say: Say) -> None:
    """Write a picture, with what its format can hold of its metadata."""
    kind = picture_format(path)
    carried: dict[str, Any] = {name: image.info[name] for name in NAMES if name in image.info}

    def saved(names: Iterable[str]) -> bytes:
        buffer, chosen = io.BytesIO(), {name: carried[name] for name in names}
        if kind == "TIFF" and "exif" in chosen:
            chosen["exif"] = exif = Image.Exif()
            exif.load(carried["exif"])
            for tag in [tag for tag in exif if TAGS.get(tag) not in DESCRIPTIONS]:
                del exif[tag]
        image.save(buffer, kind, **chosen)
        return buffer.getvalue()

    def fits(name: str) -> bool:
        try:
            return bool(saved([name]))
        except Exception:
            return False

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of EXIF
        try:
            try:
                data = saved(carried)
            except Exception:
                kept = [name for name in carried if fits(name)]
                data = saved(kept)
                say(f"{path}: left out, as it cannot be written there: {', '.join(name for name in carried if name not in kept)}")
        except Exception as e:  # what Pillow raises, for a picture too large for the format say, is up to each format's library
            raise OutputError(f"{path}: {' '.join(str(e).split())}") from e
    files.write(path, data)


def save_all(pixels: "np.ndarray", parsed: Container, path: str, say: Say, times: int = 1) -> None:
    """The picture of a file; several pictures into a directory. `times`: how often this is done."""
    from ddpmcodec import picture

    images = picture.to_images(pixels, parsed)
    if len(images) * times > 1 and len(images) * times * sum(map(len, parsed.metadata.info.values())) > MAX_CARRIED:
        say(f"{path}: metadata are left out, which would be in {len(images) * times} files")
        for image in images:
            image.info.clear()
    if len(images) == 1:
        save(images[0], path, say)
        return
    files.make_directory(path)
    for i, image in enumerate(images):
        save(image, str(Path(path) / f"{i:04}.png"), say)


def directory_of(output: str) -> str:
    """Of a file of several pictures in a batch, of which `output` would be the picture: without suffix, unless that is another's."""
    directory = output.removesuffix(SUFFIX)
    return output if os.path.basename(directory) in (".", "..") else directory


def decode_one(file: str, output: str, say: Say, chosen: dict[str, Any]) -> list[str]:
    """A file of a batch: the cells of its row."""
    from ddpmcodec import api, decoder, large

    data = files.read(file)[: chosen["max_bytes"]]
    with files.naming(file):
        parsed = api.open_file(data, chosen["steps"], chosen["max_pixels"])
        denoiser = api.denoiser_of(parsed, chosen["model"], chosen["device"], chosen["precision"])
    large.announce_decoding(lambda text: say(f"{output}: {text}"), parsed, denoiser)
    state = decoder.last_state(parsed, denoiser)
    pixels = decoder.reconstructed(parsed, state, chosen["reconstruct"], chosen["seed"])
    header = parsed.header
    save_all(pixels, parsed, output if header.pictures == 1 else directory_of(output), say)
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

    def say(text: str) -> None:
        if not quiet:
            click.echo(printable(text), err=True)

    data = files.read(file)[: chosen["max_bytes"]]
    options.use_threads(threads)

    from ddpmcodec import api, decoder, large

    with files.naming(file):
        parsed = api.open_file(data, chosen["steps"], chosen["max_pixels"])
    several = parsed.header.pictures > 1
    if output is not None and not several and batch.is_directory(output):
        output = batch.outputs(inputs, output, SUFFIX)[file]
    if output is not None and not several:
        files.check_writable(output)
        picture_format(output)
    denoiser = api.denoiser_of(parsed, chosen["model"], chosen["device"], chosen["precision"])
    if not quiet:
        large.announce_decoding(lambda text: say(f"{output or every}: {text}"), parsed, denoiser)

    for directory in (every, output if several else None):
        if directory is not None:
            files.make_directory(directory)
    with options.progress_bar("decode", quiet) as progress:
        if every is None:
            state = decoder.last_state(parsed, denoiser, progress)
        else:
            for state in decoder.states(parsed, denoiser):
                path, frames = Path(every) / f"step-{state.index:03}{'' if several else '.png'}", len(parsed.messages) + 1
                save_all(decoder.pixels(parsed, state), parsed, str(path), say if state.index == 0 else silent, frames)
                progress(state.index + 1, frames)
    if output is not None:
        with options.progress_bar("sample", quiet or reconstruct == "mean") as progress:
            pixels = decoder.reconstructed(parsed, state, reconstruct, chosen["seed"], progress)
        save_all(pixels, parsed, output, say)
    exactly = ", losslessly" if parsed.tail is not None and reconstruct == "mean" else ""
    say(f"{output or every}: decoded from {state.index} of {len(parsed.steps)} steps{exactly}")

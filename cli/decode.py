"""`ddpmcodec decode`."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddpmcodec.cli import batch, files, folders, options, saving
from ddpmcodec.cli.saving import Style
from ddpmcodec.errors import printable
from ddpmcodec.format.container import Container
from ddpmcodec.progress import silent

if TYPE_CHECKING:
    import numpy as np

SUFFIX = ".png"  # of several files' pictures
PNG_QUALITY = "--output-quality and --format are for the picture of -o: those in a directory are PNGs"
MAX_CARRIED = 1 << 28  # bytes of metadata in all files that are written: a small file can ask for many large ones
Say = Callable[[str], None]
ICONS = {"ICO", "ICNS"}  # Pillow scales what it saves in these


def save_all(
    pixels: "np.ndarray",
    parsed: Container,
    path: str,
    style: Style,
    say: Say,
    exact: bool = False,
    times: int = 1,
    fit: int | None = None,
) -> str:
    """Write the picture of a file; several pictures into a directory.

    Args:
        exact: the pixels are the original's.
        times: how often this is done.
        fit: reduce each picture to so many pixels a side.

    Returns:
        What the picture's format loses of it, in words.
    """
    from PIL import Image

    from ddpmcodec import picture

    images = picture.to_images(pixels, parsed)
    if fit is not None:
        for image in images:
            image.thumbnail((fit, fit), Image.Resampling.LANCZOS)
    if len(images) * times > 1 and len(images) * times * sum(map(len, parsed.metadata.info.values())) > MAX_CARRIED:
        say(f"{path}: metadata are left out, which would be in {len(images) * times} files")
        for image in images:
            image.info.clear()
    if len(images) == 1:
        return saving.save(images[0], path, style, say, exact)
    files.make_directory(path)
    for image, part in zip(images, parts(path, len(images)), strict=True):
        saving.save(image, part, style, say, exact)
    return ""


def parts(directory: str, count: int) -> Iterator[str]:
    """Name the pictures of a file of several."""
    return (str(Path(directory) / f"{i:04}{SUFFIX}") for i in range(count))


def frames(directory: str, parsed: Container) -> list[str]:
    """Name the picture after each step, or the directory of several."""
    suffix = SUFFIX if parsed.header.pictures == 1 else ""
    return [str(Path(directory) / f"step-{i:03}{suffix}") for i in range(len(parsed.messages) + 1)]


def directory_of(output: str) -> str:
    """Of a file of several pictures in a batch, of which `output` would be the picture: without suffix, unless that is another's."""
    directory = output.removesuffix(SUFFIX)
    return output if os.path.basename(directory) in (".", "..") else directory


def decode_one(file: str, output: str, say: Say, chosen: dict[str, Any]) -> list[str]:
    """A file of a batch: the cells of its row."""
    from ddpmcodec import api, large, reconstruction

    data = files.read(file)[: chosen["max_bytes"]]
    with files.naming(file):
        parsed = api.open_file(data, chosen["steps"], chosen["max_pixels"])
        denoiser = api.denoiser_of(parsed, chosen["model"], chosen["device"], chosen["precision"], chosen["backend"])
    header = parsed.header
    if header.pictures > 1:
        output = directory_of(output)
        files.check_apart(parts(output, header.pictures), [file])
    if (fit := chosen["fit"]) is None:
        shown = reconstruction.choice(header.levels, chosen["reconstruct"], chosen["orientations"], chosen["seed"])
        large.announce_decoding(lambda text: say(f"{output}: {text}"), parsed, denoiser, shown)
        pixels, used = reconstruction.decoded(parsed, denoiser, shown), str(len(parsed.messages))
    else:
        pixels, used = reconstruction.fitting(parsed, denoiser, fit), "a few"
    save_all(pixels, parsed, output, Style(background=chosen["background"]), say, fit=fit)
    return [f"{header.width} x {header.height}", f"{used} of {len(parsed.steps)}"]


@click.command("decode", short_help="Decode a file, or any prefix of one.")
@click.argument("inputs", nargs=-1, required=True, type=options.FILE, metavar="FILE...")
@click.option("-o", "--output", type=options.FILE, metavar="FILE|DIR", help="The picture, in the format of its extension; - is stdout, "
              "as PNG. Several files, or a file of several pictures: a directory.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), metavar="N", help="Use only the first N steps (more than there are: all).")
@click.option("--bytes", "max_bytes", type=options.Size(), metavar="N", help="Use only the first N bytes.")
@click.option(
    "--fit", type=click.IntRange(1), metavar="N", help="Reduced to N pixels a side at most, from as few steps as show there: fast."
)
@click.option("--every", type=click.Path(file_okay=False), metavar="DIR", help="Also write x0hat after every step, step-000.png ...")
@click.option("--reconstruct", type=click.Choice(["auto", "mean", "flow", "sample"]), default="auto", show_default=True,
              help="mean: x0hat. flow: sharper, by a share of what the probability flow adds. sample: draw the rest of the chain "
              "(Algorithm 4). auto: flow; mean with models of discrete timesteps.")  # fmt: skip
@click.option("--orientations", type=click.Choice(["1", "2", "4", "8"]), callback=lambda context, option, value: value and int(value),
              help="x0hat is the mean over so many turned and mirrored pictures: closer to the original, and slower [default: 2; 1 "
              "with models of discrete timesteps].")  # fmt: skip
@click.option("--format", "kind", callback=saving.format_option, metavar="NAME", help="Of -o, in place of its extension: PNG, JPEG ...")
@click.option("--output-quality", type=click.IntRange(1, 100), metavar="1..100", help="Of JPEG, WebP, AVIF, HEIC and JPEG XL; 100 is "
              "lossless where the format can be [default: 95; of lossless files 100].")  # fmt: skip
@click.option("--background", callback=saving.background_option, metavar="COLOR", help="Lay transparent pictures on this colour: white, "
              "#rrggbb. Formats without alpha need it.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N", help="Of --reconstruct sample.")
@options.model
@options.recursive
@options.jobs
@options.skip_existing
@options.threads
@options.device
@options.precision
@options.backend
@options.max_pixels
@options.quiet
def command(inputs, output, fit, every, kind, output_quality, recursive, jobs, skip_existing, threads, **chosen):
    """Decode FILE (- is stdin), whole or cut, to a picture; several FILEs, or the .ddpm files of a folder, to PNGs in a directory.

    \b
    ddpmcodec decode photo.ddpm -o out.png
    ddpmcodec decode photo.ddpm -o preview.png --bytes 4000
    ddpmcodec decode photo.ddpm -o thumbnail.png --fit 256
    ddpmcodec decode photo.ddpm --every frames/
    ddpmcodec decode coded/*.ddpm -o pictures/ --jobs 4
    ddpmcodec decode tiles.ddpm -o tiles/
    """
    if output is None and every is None:
        raise click.UsageError("give -o FILE, --every DIR, or both")
    if fit is not None and chosen["precision"] == "auto":
        chosen["precision"] = "fp32"  # torch, which bf16 needs, takes longer to import than it would save
    if fit is not None and (every is not None or chosen["reconstruct"] != "auto" or chosen["orientations"] is not None):
        raise click.UsageError("--fit goes without --every, --reconstruct and --orientations")
    found = folders.listed(inputs, output, recursive, folders.is_coded)
    if len(found) > 1 or any(below or source not in inputs for source, below in found):
        if output is None or every is not None:
            raise click.UsageError("several files go to a directory: -o DIR")
        if output_quality is not None or kind is not None:
            raise click.UsageError(PNG_QUALITY)
        results = partial(batch.in_processes, decode_one, {**chosen, "fit": fit}, jobs, threads)
        paths = batch.outputs(found, output, SUFFIX, [chosen["model"]])
        batch.run("decode", results, paths, ("size", "steps"), chosen["quiet"], skip_existing)
        return
    batch.refuse(jobs, skip_existing)
    [file] = inputs
    quiet, background = chosen["quiet"], chosen["background"]
    style = Style(output_quality, background, kind)

    def say(text: str) -> None:
        if not quiet:
            click.echo(printable(text), err=True)

    data = files.read(file)[: chosen["max_bytes"]]
    options.use_threads(threads)

    from ddpmcodec import api, decoder, large, reconstruction

    with files.naming(file):
        parsed = api.open_file(data, chosen["steps"], chosen["max_pixels"])
    pictures = parsed.header.pictures
    several = pictures > 1
    if (output_quality is not None or kind is not None) and (several or output is None):
        raise click.UsageError(PNG_QUALITY)
    if output is not None and not several and batch.is_directory(output):
        output = batch.outputs(found, output, SUFFIX)[file]
    if output is not None and not several:
        files.check_writable(output, inputs)
        style.check(output, parsed.mode)
    if output is not None and several:
        files.check_apart(parts(output, pictures), inputs)
    if every is not None:
        on_the_way = frames(every, parsed)
        files.check_apart(chain.from_iterable(parts(each, pictures) for each in on_the_way) if several else on_the_way, inputs)
    denoiser = api.denoiser_of(parsed, chosen["model"], chosen["device"], chosen["precision"], chosen["backend"])
    shown = reconstruction.choice(parsed.header.levels, chosen["reconstruct"], chosen["orientations"], chosen["seed"])
    if not quiet and fit is None:
        large.announce_decoding(lambda text: say(f"{output or every}: {text}"), parsed, denoiser, shown)

    for directory in (every, output if several else None):
        if directory is not None:
            files.make_directory(directory)
    if fit is not None:
        with options.progress_bar("decode", quiet) as progress:
            pixels = reconstruction.fitting(parsed, denoiser, fit, progress)
        save_all(pixels, parsed, output, style, say, fit=fit)
        say(f"{output}: decoded to fit {fit} pixels a side")
        return
    with options.progress_bar("decode", quiet) as progress:
        if every is None:
            pixels = reconstruction.decoded(parsed, denoiser, shown, progress)
        else:
            for state, path in zip(decoder.states(parsed, denoiser), on_the_way, strict=True):
                save_all(decoder.pixels(parsed, state), parsed, path, Style(background=background), say if state.index == 0 else silent,
                         times=len(on_the_way))  # fmt: skip
                progress(state.index + 1, len(on_the_way))
            if output is not None:
                pixels = reconstruction.pixels(parsed, state, shown)
    exact = parsed.tail is not None and shown.kind != "sample"
    loss = save_all(pixels, parsed, output, style, say, exact) if output is not None else ""
    how = f"; {loss}" if loss else ", losslessly" if exact else ""
    say(f"{output or every}: decoded from {len(parsed.messages)} of {len(parsed.steps)} steps{how}")

"""`ddpmcodec compare`."""

import json
import os
from typing import TYPE_CHECKING, Any

import click

from ddpmcodec.cli import files, grids, notes, options, saving
from ddpmcodec.errors import EvaluationError, InputError, printable
from ddpmcodec.format import container

if TYPE_CHECKING:
    from ddpmcodec.picture import Picture


def _prefix(path: str) -> tuple[str, int | None]:
    """Split FILE@BYTES, unless there is a file of that name: the path and the bytes to use, None for all."""
    file, at, size = path.rpartition("@")
    if not at or path == "-" or os.path.lexists(path):
        return path, None
    try:
        return file, options.Size().convert(size, None, None)
    except click.BadParameter:
        return path, None


def _read(path: str, page: int | None, max_pixels: int | None, how: dict[str, Any], quiet: bool) -> tuple["Picture", int]:
    """Read a picture, or decode a .ddpm file or a prefix of one: the picture, and the bytes of the file."""
    from ddpmcodec import api, picture

    file, size = _prefix(path)
    data = files.read(file)
    limit = max_pixels or picture.MAX_PIXELS
    with files.naming(file):
        if data.startswith(container.SIGNATURE):
            with options.progress_bar("decode", quiet) as progress:
                image = api.decode(data[:size], max_pixels=max_pixels, progress=progress, **how)
            return picture.load(image, limit), min(len(data), len(data) if size is None else size)
        if size is not None:
            raise InputError("only .ddpm files have prefixes that are pictures")
        return picture.read(data, max_pixels=limit, page=page), len(data)


@click.command("compare", short_help="Measure decoded pictures against the original.")
@click.argument("original", type=options.FILE)
@click.argument("decoded", nargs=-1, required=True, type=options.FILE, metavar="DECODED...")
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Measure psnr-rgb, ms-ssim-rgb, ssimulacra2, cvvdp, "
              "butteraugli-3norm or st-lpips; may be repeated [default: all that are installed].")  # fmt: skip
@click.option("--map", "map_path", type=options.FILE, metavar="FILE.png", help="Write where one DECODED differs: black is equal, white an "
              "RMS difference of 32 of 255 and more.")  # fmt: skip
@click.option("--background", callback=saving.background_option, default="white", show_default=True, metavar="COLOR",
              help="Lay transparent pictures on this colour.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--page", type=click.IntRange(1), metavar="N", help="Of an ORIGINAL with several pages or frames: use this one.")
@options.model
@options.threads
@options.device
@options.precision
@options.backend
@options.max_pixels
@options.quiet
def command(original, decoded, names, map_path, background, as_json, page, model, threads, device, precision, backend, max_pixels, quiet):
    """Measure each DECODED against ORIGINAL. Both are pictures of any format or .ddpm files; file.ddpm@20000 is the first 20000 bytes.

    Higher is better, but for Butteraugli and ST-LPIPS. Gray pictures are compared as RGB.

    \b
    ddpmcodec compare photo.png photo.ddpm photo.avif
    ddpmcodec compare photo.png photo.ddpm@4k photo.ddpm@8k photo.ddpm --metric ssimulacra2 --json
    ddpmcodec compare photo.png out.jpg --map where.png
    """
    if map_path is not None:
        if len(decoded) > 1:
            raise click.UsageError("--map is of one DECODED")
        grids.check(map_path, inputs=[original, *(_prefix(path)[0] for path in decoded)])
    options.use_threads(threads)

    from ddpmcodec.eval import choice, pairs

    say = notes.unheard if quiet else notes.note
    measured, printed = choice.choose_metrics(names, None, say)
    measured = [metric for metric in measured if metric.name in printed or not names]
    how = {"model": model, "device": device, "precision": precision, "backend": backend}
    reference, _ = _read(original, page, max_pixels, how, quiet)
    pixels = pairs.on_background(reference, background)
    rows: dict[str, dict[str, Any]] = {}
    for path in decoded:
        other, size = _read(path, None, max_pixels, how, quiet)
        pairs.check((original, reference), (path, other), say)
        shown = pairs.on_background(other, background)
        rows[printable(path)], failures = pairs.measure(pixels, shown, size, measured)
        for name, reason in failures.items():
            if name in names:
                raise EvaluationError(f"{path}: {name} {reason}")
            say(f"{path}: without {name}, which {reason}")
        if map_path is not None:
            files.write(map_path, grids.png(pairs.difference_map(pixels, shown)))
    listed = [{"file": path, **row} for path, row in rows.items()]
    click.echo(json.dumps(files.finite(listed), indent=1, allow_nan=False) if as_json else pairs.table(rows, measured))

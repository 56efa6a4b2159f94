"""`ddpmcodec encode`."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ddpmcodec import speed, target
from ddpmcodec.cli import batch, cluster, files, folders, given, options
from ddpmcodec.errors import printable
from ddpmcodec.progress import silent
from ddpmcodec.target import MAX_BPP

if TYPE_CHECKING:
    import numpy as np

    from ddpmcodec.encoder import Encoding, Watch
    from ddpmcodec.models.model import Model
    from ddpmcodec.roi import Roi
    from ddpmcodec.target import Score

ALL = "all"
PREVIEWED = 90.0  # quality up to which --dry-run goes where no target is given
TARGETS = ("quality", "bpp", "max_bytes", "psnr", "score", "lossless", "levels")
SCORES = ("ssimulacra2", "cvvdp")


def levels_option(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | str | None:
    """900,800,... to numbers."""
    if value is None or value == ALL:
        return value
    try:
        return [int(v) for v in value.split(",")]
    except ValueError:
        raise click.BadParameter("give timesteps separated by commas, or 'all'") from None


def roi_option(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> list[tuple[int, ...]] | str | None:
    """Return the boxes x,y,w,h, or the path of a mask."""
    try:
        boxes = [tuple(map(int, value.split(","))) for value in values if re.fullmatch(r"-?\d+(,-?\d+){3}", value)]
    except ValueError:  # thousands of digits
        raise click.BadParameter("give boxes x,y,w,h in pixels") from None
    if len(boxes) == len(values):
        return boxes or None
    if len(values) > 1 or (re.fullmatch(r"[\s\d,.-]*", values[0]) and values[0] != "-"):
        raise click.BadParameter("give boxes x,y,w,h in pixels, or one mask")
    return values[0]


@contextmanager
def only_one_target() -> Iterator[None]:
    """Say in options what is wrong with several targets."""
    try:
        yield
    except target.ConflictError:
        names = "--quality, --bpp, --target-size, --psnr, --ssimulacra2, --cvvdp, --lossless and --levels"
        raise click.UsageError(f"give one of {names}; or --lossless with --levels") from None


@click.command("encode", short_help="Encode a picture.")
@click.argument("images", nargs=-1, required=True, type=options.FILE, metavar="IMAGE...")
@click.option("-o", "--output", type=options.FILE, metavar="FILE", help="Write to FILE; - means standard output.")
@click.option("--dry-run", is_flag=True, help="Write no file; print what it would have after each step: bytes, PSNR, and SSIMULACRA2 "
              "where that is installed. A file made for a size is better than so long a part of a larger one.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON.")
@click.option("-q", "--quality", type=options.Rate(0, 100), metavar="0..100",
              help="Quality, higher is better. Noise left after the last step: 100 gray levels at 0, 10 at 50, 1 at 100.")  # fmt: skip
@click.option("--bpp", type=options.Rate(0, MAX_BPP, min_open=True), metavar="X", help="Bits per pixel, never exceeded [default: about 1].")
@click.option("--target-size", "max_bytes", type=options.Size(), metavar="BYTES", help="Of the file, never exceeded: 20000, 20k or 1.5M.")
@click.option("--psnr", type=options.Rate(0, min_open=True), metavar="DB", help="Of the decoded picture: reached, and hardly exceeded.")
@click.option("--ssimulacra2", type=options.Rate(0, 100), metavar="SCORE", help="Of the decoded picture: reached, and exceeded by a point "
              "at most. 90 is hardly told from the original, 70 good, 50 fair.")  # fmt: skip
@click.option("--cvvdp", type=options.Rate(0, 10), metavar="JOD", help="Likewise, by ColorVideoVDP, where its package is installed: 10 is "
              "equal, one less is seen by three of four.")  # fmt: skip
@click.option("--lossless", is_flag=True, help="To the last bit.")
@options.speed
@options.model
@click.option("--levels", callback=levels_option, metavar="all|N,N,...", help="Timesteps to visit after the first.")
@click.option("--tune", type=click.Choice(["perception", "psnr"]), help="Shape the noise so that it is seen least, or leave it white: best "
              "by squared error [default: perception; psnr with models of the paper's kind, and for --lossless].")  # fmt: skip
@click.option("--roi", multiple=True, callback=roi_option, metavar="X,Y,W,H|MASK",
              help="Make this box (may be repeated) finer than the rest, or a mask's white parts finer than its black ones.")  # fmt: skip
@click.option("--roi-gain", type=options.Rate(0.76, 36), metavar="DB", help="By so much [default: 6].")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N",
              help="Of the randomness that encoder and decoder share; it is in the file.")  # fmt: skip
@click.option("--page", type=click.IntRange(1), metavar="N", help="Of a file with several pages or frames: this one.")
@click.option("--strip", is_flag=True, help="Do not carry colour profile, EXIF and XMP.")
@click.option("--icc", type=options.FILE, metavar="FILE", help="Carry this colour profile instead of the picture's own.")
@click.option("--exif", type=options.FILE, metavar="FILE", help="Carry this EXIF instead of the picture's own.")
@options.recursive
@options.jobs
@click.option("--dask", metavar="ADDRESS", help="To a directory: on the cluster of this dask scheduler, tcp://HOST:8786. Each worker "
              "process takes one picture at a time; it needs this version of ddpmcodec, and the model by its name or path.")  # fmt: skip
@options.skip_existing
@options.threads
@options.device
@options.precision
@options.backend
@options.max_pixels
@options.quiet
def command(images, output, dry_run, as_json, recursive, jobs, dask, skip_existing, threads, **chosen):
    """Encode IMAGE (any picture Pillow opens, or a folder of them; - is stdin) to a .ddpm file.

    At most one of --quality, --bpp, --target-size, --psnr, --ssimulacra2, --cvvdp and --lossless says where to end. To a directory (one
    that is there, or DIR/) every picture goes as a file of its own; to a file, several pictures of one size go together: small ones cost
    fewer bytes so.

    \b
    ddpmcodec encode photo.png -o photo.ddpm
    ddpmcodec encode photo.jpg -o small.ddpm --bpp 0.25 --speed fast
    ddpmcodec encode photo.png -o small.ddpm --target-size 20k
    ddpmcodec encode photo.png -o fine.ddpm --psnr 40
    ddpmcodec encode photo.png -o good.ddpm --ssimulacra2 70
    ddpmcodec encode photo.png --dry-run
    ddpmcodec encode photo.png -o exact.ddpm --lossless
    ddpmcodec encode photo.png -o face.ddpm --bpp 0.3 --roi 310,80,200,240
    ddpmcodec encode photos/*.jpg -o coded/ -q 60 --jobs 4 --skip-existing
    ddpmcodec encode photos/ -o coded/ --recursive
    ddpmcodec encode photos/*.jpg -o coded/ --dask tcp://scheduler:8786
    ddpmcodec encode tiles/*.png -o tiles.ddpm --lossless --model tiny
    cat photo.png | ddpmcodec encode - -o - | ddpmcodec decode - -o out.png
    """
    if (output is None) != dry_run or (as_json and not dry_run):
        raise click.UsageError("give -o FILE, or --dry-run, which --json goes with")
    if dry_run and (dask is not None or jobs is not None or skip_existing or recursive):
        raise click.UsageError("--dry-run is for one picture, or several that go together")
    chosen |= speed.choose(chosen.pop("speed"), chosen["evaluations"], chosen["effort"])._asdict()
    with only_one_target():
        chosen["score"] = scored({name: chosen[name] for name in SCORES})
        target.choose(**{name: chosen[name] for name in TARGETS if name != "levels"}, levels=(1,) if chosen["levels"] else None)
    to_directory = output is not None and batch.is_directory(output)
    if dask is not None and (jobs is not None or not to_directory):
        raise click.UsageError("--dask is for many files to a directory (-o DIR/), and the cluster says how many --jobs")
    if chosen["lossless"] and (chosen["tune"] == "perception" or chosen["roi"]):
        raise click.UsageError("--lossless goes without --tune perception and --roi")
    if [*images, chosen["roi"], chosen["icc"], chosen["exif"]].count("-") > 1:
        raise click.UsageError("only one of the pictures, the mask, the profile and EXIF comes from stdin")
    if chosen["roi_gain"] is not None and not chosen["roi"]:
        raise click.UsageError("--roi-gain goes with --roi")
    found = folders.listed(images, output, recursive, folders.is_other)
    images = [image for image, _ in found]
    mask = chosen["roi"] if isinstance(chosen["roi"], str) else None
    others = [mask, chosen["icc"], chosen["exif"], chosen["model"]]
    if output is not None and not to_directory:
        files.check_writable(output, [*images, *others])
    for name, read in (("icc", given.profile), ("exif", given.exif)):
        if chosen[name] is not None:
            chosen[name] = read(chosen[name])
    chosen["roi"] = regions(chosen["roi"], chosen["roi_gain"], chosen["max_pixels"])
    if dask is not None and chosen["model"] is not None:
        chosen["model"] = anywhere(chosen["model"])
    if to_directory:
        paths = batch.outputs(found, output, folders.SUFFIX, others)
        results = (
            partial(batch.in_processes, encode_file, chosen, jobs, threads)
            if dask is None
            else partial(cluster.on_dask, encode_one, chosen, dask, threads)
        )
        batch.run("encode", results, paths, ("bytes", "bpp", "PSNR", "seconds"), chosen["quiet"], skip_existing)
        return
    batch.refuse(jobs, skip_existing)
    options.use_threads(threads)

    def say(text: str) -> None:
        if not chosen["quiet"]:
            click.echo(printable(text), err=True)

    data = [files.read(image) for image in images]
    if dry_run:
        preview(images, data, chosen, say, as_json)
        return
    with options.progress_bar("encode", chosen["quiet"]) as progress:
        encoding = encode(images, data, output, chosen, say, progress)
    files.write(output, encoding.data)
    say(f"{output}: {encoding.summary()}")


def preview(images: Sequence[str], data: Sequence[bytes], chosen: dict[str, Any], say: batch.Say, as_json: bool) -> None:
    """Print what a file would have after each step at which the network is evaluated."""
    from ddpmcodec import api
    from ddpmcodec.eval import metrics

    measured, _ = metrics.available(["ssimulacra2"])
    scores: dict[int, float | None] = {}

    def watch(steps: int, original: "np.ndarray", decoded: "np.ndarray") -> None:
        scores[steps] = metrics.quality(original, decoded, measured)[0].get("ssimulacra2")

    if all(chosen[name] in (None, False) for name in TARGETS):
        chosen = {**chosen, "quality": PREVIEWED}
    with options.progress_bar("encode", chosen["quiet"]) as progress:
        encoding = encode(images, data, "-", chosen, say, progress, watch)
    rows = []
    for steps, psnr in encoding.prefix_psnr.items():
        size = len(api.truncate(encoding.data, steps=steps))
        bpp = 8 * size / (encoding.pixels.shape[0] * encoding.pixels.shape[1])
        rows.append({"steps": steps, "bytes": size, "bpp": bpp, "psnr": psnr, "ssimulacra2": scores.get(steps)})
    if as_json:
        click.echo(json.dumps(files.finite(rows), indent=1, allow_nan=False))
        return
    click.echo("steps    bytes     bpp   PSNR  SSIMULACRA2")
    for row in rows:
        score = "-" if row["ssimulacra2"] is None else f"{row['ssimulacra2']:.1f}"
        click.echo(f"{row['steps']:5} {row['bytes']:8} {row['bpp']:7.4f} {row['psnr']:6.2f} {score:>12}")


def scored(wanted: dict[str, float | None]) -> "Score | None":
    """Return the target of the one score that is wanted; None where none is.

    Raises:
        ConflictError: several are.
        EvaluationError: the metric is missing here.
    """
    given = {name: score for name, score in wanted.items() if score is not None}
    if not given:
        return None
    if len(given) > 1:
        raise target.ConflictError("several scores are wanted")
    from ddpmcodec.eval import scores

    [(name, score)] = given.items()
    return scores.target(name, score)


def anywhere(model: str) -> str:
    """A model's name, or its path as it is for processes that have been started elsewhere."""
    from ddpmcodec.models import registry

    return os.path.abspath(model) if os.path.exists(model) and model not in registry.available() else model


def encode_file(image: str, output: str, say: batch.Say, chosen: dict[str, Any]) -> list[str]:
    """A picture of a batch, file to file: the cells of its row."""
    data, cells = encode_one(image, files.read(image), output, say, chosen)
    files.write(output, data)
    return cells


def encode_one(image: str, data: bytes, output: str, say: batch.Say, chosen: dict[str, Any]) -> tuple[bytes, list[str]]:
    """A picture of a batch, bytes to bytes, and the cells of its row."""
    e = encode([image], [data], output, chosen, say, silent)
    return e.data, [str(len(e.data)), f"{e.bpp:.4f}", "exact" if e.tail_bytes else f"{e.psnr:.2f}", f"{e.seconds:.1f}"]


def encode(
    images: Sequence[str],
    data: Sequence[bytes],
    output: str,
    chosen: dict[str, Any],
    say: batch.Say,
    progress: Callable[[int, int], None],
    watch: "Watch" = silent,
) -> "Encoding":
    """Encode pictures together.

    Args:
        images: their names, and `output` that of the file they go to: both only to speak of.
        data: the bytes of their files.
        chosen: the command's options; `icc` and `exif` are bytes.
        say: called with each thing that the user should know.
        watch: as of `api.encode_image`.
    """
    from ddpmcodec import api, picture
    from ddpmcodec.encoder import EncodeOptions
    from ddpmcodec.format.metadata import NONE
    from ddpmcodec.models import registry

    limit = chosen["max_pixels"] or picture.MAX_PIXELS

    def picture_of(image: str, data: bytes) -> picture.Picture:
        with files.naming(image):
            return picture.read(data, lambda text: say(f"{image}: {text}"), limit, chosen["page"])

    def note(text: str) -> None:
        say(f"{output}: {text}")

    source = picture.stack([picture_of(*each) for each in zip(images, data, strict=True)], limit, silent if chosen["strip"] else note)
    if chosen["icc"] is not None:
        given.check_space(files.named(images[0], "stdin"), chosen["icc"], source.gray)
    instead = {"icc_profile": chosen["icc"], "exif": chosen["exif"]}
    metadata = NONE if chosen["strip"] else source.metadata
    source = replace(source, metadata=replace(metadata, **{name: body for name, body in instead.items() if body is not None}))
    denoiser = registry.resolve(chosen["model"])
    levels = every_level(denoiser) if chosen["levels"] == ALL else chosen["levels"]
    end = target.choose(**{name: chosen[name] for name in TARGETS if name != "levels"}, levels=levels)
    try:
        end.check_levels(denoiser.levels, denoiser.start)
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint="--levels") from e
    named = {name: chosen[name] for name in ("evaluations", "effort", "seed", "roi", "device", "precision", "backend")}
    options = EncodeOptions(**named, tune=chosen["tune"] or "auto")
    with files.naming(images[0]) if len(images) == 1 else nullcontext():
        return api.encode_image(source, end, options, note, model=denoiser, progress=progress, watch=watch)


def regions(boxes_or_mask: list[tuple[int, ...]] | str | None, gain: float | None, max_pixels: int | None) -> "Roi | None":
    """Return the regions that --roi names.

    Raises:
        PictureError: the mask is none.
    """
    if not boxes_or_mask:
        return None
    from ddpmcodec import picture, roi

    gain = roi.DEFAULT_GAIN if gain is None else gain
    if isinstance(boxes_or_mask, list):
        return roi.load(boxes_or_mask, gain)
    data = files.read(boxes_or_mask)
    with files.naming(boxes_or_mask):
        return roi.Roi(mask=roi.mask_of(picture.read(data, max_pixels=max_pixels or picture.MAX_PIXELS)), gain=gain)


def every_level(denoiser: "Model") -> range:
    """All timesteps of a model of the paper's kind, after the first.

    Raises:
        click.BadParameter: the model's levels are continuous.
    """
    if denoiser.levels.kind == "continuous":
        raise click.BadParameter(f"the levels of {denoiser.name} are continuous: there is no 'all' of them", param_hint="--levels")
    return range(denoiser.start - 1, 0, -1)

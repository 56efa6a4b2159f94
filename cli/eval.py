"""`ddpmcodec eval`."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from ddpmcodec.cli import files, options
from ddpmcodec.errors import DdpmcodecError, EvaluationError, InputError
from ddpmcodec.plan import MAX_BPP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ddpmcodec.eval.codecs import Codec
    from ddpmcodec.eval.metrics import Metric


def sigmas(ctx: click.Context, param: click.Parameter, value: str | None) -> list[float] | None:
    """15,25,50 to numbers."""
    if value is None:
        return None
    try:
        numbers = [float(v) for v in value.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0.5 <= n <= 1000 for n in numbers):
        raise click.BadParameter("give noise levels from 0.5 to 1000, separated by commas")
    return numbers


def prepare(directory: str, names: list[str]) -> list[str]:
    """Make the output directory; the paths of the JSON files to come, which can be written."""
    files.make_directory(directory)
    paths = [str(Path(directory) / f"{name}.json") for name in names]
    for path in paths:
        files.check_writable(path)
    return paths


@click.command("eval", short_help="Rate-distortion and denoising figures on a set of pictures.")
@click.argument("paths", nargs=-1, required=True, type=options.FILE, metavar="PICTURE|DIR...")
@click.option("--codec", "codecs", multiple=True, metavar="NAME", help="ddpm, ddpm-best, jpeg, jpeg2000, webp, avif, jxl, "
              "webp-best, avif-best, avif-psnr, jxl-best, cjxl, cmd:FILE.toml, or a published curve, json:FILE; "
              "may be repeated [default: ddpm, jpeg, webp, avif].")  # fmt: skip
@click.option("--bpp", "rates", multiple=True, type=options.Rate(0.01, MAX_BPP), metavar="X",
              help="Rate to compare at; may be repeated [default: 0.25, 0.5, 1].")  # fmt: skip
@click.option("-o", "--output", type=options.DIRECTORY, metavar="DIR", help="Also write one JSON file a codec there.")
@click.option("--metric", "metric_names", multiple=True, metavar="NAME",
              help="psnr-rgb, ms-ssim-rgb, ssimulacra2, cvvdp, butteraugli-3norm or st-lpips; may be repeated "
              "[default: all that are installed].")  # fmt: skip
@click.option("--lpips", type=options.FILE, metavar="FILE.pt", help="Also LPIPS, by this network: NVIDIA's vgg16.pt, TorchScript.")
@click.option("--denoise", callback=sigmas, metavar="15,25,50", help="Instead: PSNR of the denoiser at these noise levels, of 255.")
@click.option("--whitened", is_flag=True, help="With --denoise: of pictures as shaped noise shows them to the network.")
@click.option("--lossless", is_flag=True, help="Instead: sizes of lossless files, beside PNG, WebP and JPEG XL.")
@click.option(
    "--together", is_flag=True, help="With --lossless: pictures of one size as one file, beside the bound, in bits per dimension."
)
@click.option("--stride", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Use every N-th picture.")
@click.option("-j", "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes [default: all cores], of --threads [1] threads.")
@options.evaluations
@options.effort
@options.model
@options.threads
@options.quiet
def command(
    paths,
    codecs,
    rates,
    output,
    metric_names,
    lpips,
    denoise,
    whitened,
    lossless,
    together,
    stride,
    jobs,
    evaluations,
    effort,
    model,
    threads,
    quiet,
):
    """Measure codecs by real bytes, or the denoiser, on pictures.

    Prints a Markdown table for PSNR, and for each --metric. A metric at a rate is read off each picture's own curve, linearly in log bpp,
    then averaged; "-" where a picture's curve does not reach that rate. All points of ddpm are prefixes of one encode. The other metrics
    that are installed, and seconds, are in the files of -o. Pictures that cannot be read are named and left out, and the exit code is then
    3.

    \b
    ddpmcodec eval photos/ -o results/
    ddpmcodec eval photos/ --codec ddpm --codec avif --bpp 0.25 --bpp 0.5 --stride 4 -o results/
    ddpmcodec eval photos/ --codec ddpm --codec avif --metric ssimulacra2 --metric cvvdp
    ddpmcodec eval kodak/ --codec ddpm --codec json:compressai/results/image/kodak/vtm.json -o results/
    ddpmcodec eval photos/ --denoise 15,25,50
    ddpmcodec eval photos/ --lossless
    ddpmcodec eval crops.npz --lossless --together --model tiny --effort 3
    """
    if denoise is not None and (codecs or rates or lossless or lpips or metric_names):
        raise click.UsageError("--denoise goes without --codec, --bpp, --metric, --lpips and --lossless")
    if lossless and (codecs or rates or lpips or metric_names):
        raise click.UsageError("--lossless goes without --codec, --bpp, --metric and --lpips")
    if whitened and denoise is None:
        raise click.UsageError("--whitened goes with --denoise")
    if together and not lossless:
        raise click.UsageError("--together goes with --lossless")
    options.use_threads(threads)

    from ddpmcodec.eval import choice, curves, denoising, metrics, pictures, rate_distortion
    from ddpmcodec.eval import lossless as lossless_sizes
    from ddpmcodec.models import registry

    failed: list[Path] = []

    def skipped(path: Path, error: DdpmcodecError) -> None:
        failed.append(path)
        tqdm.write(f"{path}: left out: {error}", file=sys.stderr)

    if together:
        denoiser = registry.find(model or registry.DEFAULT)
        outputs = prepare(output, ["together"]) if output else []
        named = list(pictures.load_any(paths, skipped))[::stride]
        with tqdm(desc="lossless", total=2 * len(named), disable=quiet or None, leave=False) as bar:
            result = lossless_sizes.together(
                named, denoiser, evaluations, effort, lambda text: tqdm.write(text, file=sys.stderr), lambda done: bar.update(done) and None
            )
        result |= {"model": {"name": denoiser.name, "hash": denoiser.hash.hex()}, "evaluations": evaluations, "effort": effort}
        for path in outputs:
            write_json(path, result)
        click.echo(lossless_sizes.together_table(result))
        if failed:
            raise InputError(f"{len(failed)} pictures could not be read")
        return
    found = pictures.find(paths, stride)
    loaded = pictures.load(found, skipped)
    if denoise is not None:
        denoiser = registry.find(model or registry.DEFAULT)
        outputs = prepare(output, ["denoise-whitened" if whitened else "denoise"]) if output else []
        bar = tqdm(denoising.evaluate(loaded, denoiser, denoise, whitened), "denoise", len(found), disable=quiet or None, leave=False)
        if psnrs := dict(bar):
            for path in outputs:
                write_json(path, denoising.results(psnrs, denoiser, denoise, whitened))
            click.echo(denoising.table(psnrs, denoiser, denoise, whitened))
    elif lossless:
        denoiser = registry.find(model or registry.DEFAULT)
        outputs = prepare(output, ["lossless"]) if output else []
        sizes = lossless_sizes.evaluate(loaded, denoiser, evaluations, effort, lambda text: tqdm.write(text, file=sys.stderr))
        rows = list(tqdm(sizes, "lossless", len(found), disable=quiet or None, leave=False))
        if rows:
            for path in outputs:
                named_model = {"name": denoiser.name, "hash": denoiser.hash.hex()}
                result = {"unit": "bits per pixel", "model": named_model, "evaluations": evaluations, "effort": effort, "pictures": rows}
                write_json(path, result)
            click.echo(lossless_sizes.table(rows))
    else:
        names = codecs or ("ddpm", "jpeg", "webp", "avif")
        rates = sorted(set(rates)) or rate_distortion.RATES
        published = [curves.parse(file, files.read(file)) for name in names if (file := published_path(name)) is not None]
        chosen = choice.choose([name for name in names if published_path(name) is None], max(rates), model, evaluations, effort)
        wanted = dict.fromkeys(("psnr-rgb", *metric_names))
        measured, absent = metrics.available(wanted if metric_names else metrics.METRICS)
        for name, reason in absent.items():
            if name in metric_names:
                raise EvaluationError(f"{name} {reason}")
            tqdm.write(f"without {name}, which {reason}", file=sys.stderr)
        if lpips is not None:
            measured.append(metrics.with_lpips(lpips))
            wanted["lpips"] = None
        paths_of = dict(zip(chosen, prepare(output, [*chosen]), strict=True)) if output else {}
        with tqdm(desc="eval", total=len(found) * len(chosen), disable=quiet or None, leave=False) as bar:
            results = compare(loaded, chosen, rates, paths_of, jobs or os.cpu_count() or 1, threads or 1, measured, bar)
        if len(failed) < len(found):
            if output is not None:
                write_csv(Path(output) / "pictures.csv", results)
            tables = [rate_distortion.table(results, published, rates, metric) for metric in measured if metric.name in wanted]
            click.echo("\n\n".join(tables))
        for line in rate_distortion.notes(results, measured):
            tqdm.write(line, file=sys.stderr)
        refused = [(name, p, e["error"]) for name, r in results.items() for p, e in r["pictures"].items() if "error" in e]
        for name, p, error in refused:
            tqdm.write(f"{p}: {name}: {error}", file=sys.stderr)
        if refused and not failed:
            raise EvaluationError(f"{len(refused)} of {len(found) * len(chosen)} measurements failed")
    if failed:
        raise InputError(f"{len(failed)} of {len(found)} pictures could not be read")


def published_path(name: str) -> str | None:
    """The file of a published curve, of json:FILE or compressai:FILE."""
    kind, separator, path = name.partition(":")
    return path if separator and kind in ("json", "compressai") else None


def compare(
    pictures, codecs: "dict[str, Codec]", rates, outputs: dict[str, str], jobs: int, threads: int, measured: "Sequence[Metric]", bar: tqdm
) -> dict[str, dict]:
    """Measure what the output files do not have yet, and keep them up to date, so that an interrupted evaluation goes on."""
    from ddpmcodec.eval import rate_distortion as rd

    known = {
        name: rd.reusable(stored(outputs[name]) if name in outputs else None, rd.settings(codec, measured))
        for name, codec in codecs.items()
    }
    entries: dict[str, dict[str, dict]] = {name: {} for name in codecs}
    order: list[str] = []

    def results(name: str) -> dict:
        return rd.results(codecs[name], {p: entries[name][p] for p in order if p in entries[name]}, rates, measured)

    def save(name: str) -> None:
        if name in outputs:
            write_json(outputs[name], results(name))

    loaded = list(pictures)
    order += [name for name, _ in loaded]
    for name in codecs:
        for picture, pixels in loaded:
            if known[name].get(picture, {}).get("sha256") == rd.fingerprint(pixels):
                entries[name][picture] = known[name][picture]
                bar.update()
    work = [(name, [c for c in codecs.values() if name not in entries[c.name]], pixels) for name, pixels in loaded]
    for codec, picture, entry in rd.measure([w for w in work if w[1]], jobs, threads, measured):
        entries[codec.name][picture] = entry
        save(codec.name)
        bar.update()
    for name in codecs if loaded else ():
        save(name)
    return {name: results(name) for name in codecs}


def stored(path: str):
    """What an output file holds, if it is there and JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def write_json(path: str, document) -> None:
    files.write(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def write_csv(path: Path, results: dict[str, dict]) -> None:
    from ddpmcodec.eval import rate_distortion

    rows = list(rate_distortion.rows(results))
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    files.write(str(path), text.getvalue().encode())

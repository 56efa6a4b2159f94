"""`ddpmcodec eval rd`, which is `ddpmcodec eval` too."""

import math
from pathlib import Path

import click

from ddpmcodec import threads as computing
from ddpmcodec.cli import eval_denoise, eval_lossless, eval_options, files, notes, options
from ddpmcodec.errors import EvaluationError
from ddpmcodec.target import MAX_BPP


def scores_option(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, list[float]]:
    """Return the values asked for, by metric."""
    found: dict[str, list[float]] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found.setdefault(name, []).append(float(value))
        except ValueError:
            raise click.BadParameter(f"{text!r} is no METRIC=VALUE, as ssimulacra2=70 is") from None
        if not math.isfinite(found[name][-1]):
            raise click.BadParameter(f"{text!r} is not finite")
    return found


@click.command("rd", short_help="Measure rate-distortion of codecs.")
@eval_options.paths
@click.option("--codec", "codecs", multiple=True, metavar="NAME", help="Measure ddpm, ddpm-psnr, ddpm-best, ddpm-files, jpeg, webp, "
              "avif, jpeg2000, jxl, webp-best, avif-best, avif-psnr, jxl-best, cjxl, cmd:FILE.toml, or show a published curve, json:FILE; "
              "may be repeated [default: ddpm, jpeg, webp, avif].")  # fmt: skip
@click.option("--bpp", "rates", multiple=True, type=options.Rate(0.01, MAX_BPP), metavar="X",
              help="Compare at this rate; may be repeated [default: 0.25, 0.5, 1].")  # fmt: skip
@click.option("--at", "scores", multiple=True, callback=scores_option, metavar="METRIC=VALUE",
              help="Also print the bpp at which each codec reaches this value of a metric, such as ssimulacra2=70; may be "
              "repeated.")  # fmt: skip
@click.option("-o", "--output", type=options.DIRECTORY, metavar="DIR", help="Also write one JSON file a codec there, and pictures.csv.")
@click.option("--publish", type=options.DIRECTORY, metavar="DIR", help="Write to DIR all that others need to compare with: each file of "
              "ddpm-files, what it decodes to, the files of -o, and a README.")  # fmt: skip
@click.option("--metric", "metric_names", multiple=True, metavar="NAME",
              help="Print psnr-rgb, ms-ssim-rgb, ssimulacra2, cvvdp, butteraugli-3norm or st-lpips; may be repeated "
              "[default: all that are installed].")  # fmt: skip
@click.option("--lpips", type=options.FILE, metavar="FILE.pt", help="Also print LPIPS, by this network: NVIDIA's vgg16.pt, TorchScript.")
@click.option("--denoise", callback=eval_options.sigmas, metavar="15,25,50", help="Run `eval denoise` at these noise levels instead.")
@click.option("--whitened", is_flag=True, help="With --denoise: as there.")
@click.option("--lossless", is_flag=True, help="Run `eval lossless` instead.")
@click.option("--together", is_flag=True, help="With --lossless: as there.")
@eval_options.page
@eval_options.stride
@click.option(
    "-j", "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Run N processes [default: all cores], of --threads [1] threads."
)
@options.evaluations
@options.effort
@options.model
@options.threads
@options.quiet
def command(denoise, whitened, lossless, together, **chosen):
    """Measure codecs by real bytes on pictures.

    Prints a Markdown table for PSNR, and for each --metric. A metric at a rate is read off each picture's own curve, linearly in log bpp,
    then averaged; "-" where a picture's curve does not reach that rate. All points of ddpm are prefixes of one encode, those of ddpm-files
    each a file of its own; -psnr is --tune psnr. The other metrics that are installed, and seconds, are in the files of -o. Pictures that
    cannot be read are named and left out, and so are those that a codec reaches none of the rates for, though it does for others; the exit
    code is then 3.

    \b
    ddpmcodec eval rd photos/ -o results/
    ddpmcodec eval rd photos/ --codec ddpm --codec avif --bpp 0.25 --bpp 0.5 --stride 4 -o results/
    ddpmcodec eval rd photos/ --codec ddpm --codec avif --metric ssimulacra2 --metric cvvdp
    ddpmcodec eval rd photos/ --codec ddpm --codec avif --bpp 2 --at ssimulacra2=50 --at ssimulacra2=70
    ddpmcodec eval rd kodak/ --codec ddpm-files --codec avif --codec jxl --publish published/
    ddpmcodec eval rd kodak/ --codec ddpm --codec json:compressai/results/image/kodak/vtm.json -o results/
    """
    for_codecs = any(chosen[name] for name in ("codecs", "rates", "lpips", "metric_names", "scores", "publish"))
    if denoise is not None and (for_codecs or lossless):
        raise click.UsageError("--denoise goes without --codec, --bpp, --at, --metric, --lpips, --publish and --lossless")
    if lossless and for_codecs:
        raise click.UsageError("--lossless goes without --codec, --bpp, --at, --metric, --lpips and --publish")
    if whitened and denoise is None:
        raise click.UsageError("--whitened goes with --denoise")
    if together and not lossless:
        raise click.UsageError("--together goes with --lossless")
    if denoise is not None:
        invoke(eval_denoise.command, chosen, sigmas=denoise, whitened=whitened)
    elif lossless:
        invoke(eval_lossless.command, chosen, together=together)
    else:
        measure(**chosen)


def invoke(other: click.Command, chosen: dict, **more) -> None:
    """Run another subcommand with what it has in common with this one, and more."""
    shared = {parameter.name: chosen[parameter.name] for parameter in other.params if parameter.name in chosen}
    click.get_current_context().invoke(other, **shared, **more)


def measure(
    paths, codecs, rates, scores, output, publish, metric_names, lpips, page, stride, jobs, evaluations, effort, model, threads, quiet
) -> None:
    """Print rate-distortion tables.

    Raises:
        DdpmcodecError: a picture or a measurement has failed, of which the others have been printed.
    """
    if publish and output:
        raise click.UsageError("--publish writes the files of -o, too")
    options.use_threads(threads)

    from ddpmcodec.eval import choice, curves, pictures, publishing
    from ddpmcodec.eval import rate_distortion as rd

    found, left_out = pictures.find(paths, stride), notes.LeftOut()
    names, published_files = choice.split(codecs or (publishing.DEFAULT if publish else ()))
    if publish:
        if publishing.OURS not in names:
            raise click.UsageError(f"--publish publishes --codec {publishing.OURS}, which is not among those given")
        files.make_directory(publish)  # which refuses stdout
        output = str(Path(publish) / publishing.RESULTS)
    rates = sorted(set(rates)) or rd.RATES
    published = [curves.parse(file, files.read(file)) for file in published_files]
    chosen = choice.choose(names, max(rates), model, evaluations, effort)
    outputs = files.prepare(output, chosen, [*paths, *published_files, model]) if output else {}
    measured, printed = choice.choose_metrics([*metric_names, *scores], lpips, notes.note)
    loaded = list(pictures.load(found, left_out, page))
    if publish:
        for folder in (publishing.FILES, publishing.DECODED):
            files.make_directory(Path(publish) / folder)
        chosen[publishing.OURS] = publishing.keeping(chosen[publishing.OURS], publish, loaded)
    with options.progress_bar("eval", quiet) as progress:
        results = rd.compare(
            loaded,
            chosen,
            rates,
            measured,
            jobs=jobs or computing.count(),
            threads=threads or 1,
            known={name: rd.stored(path) for name, path in outputs.items()},
            save=lambda name, document: files.write_json(outputs[name], document) if outputs else None,
            progress=progress,
        )
    if loaded:
        if output:
            files.write_csv(str(Path(output) / "pictures.csv"), rd.rows(results))
        tables = [rd.table(results, published, rates, metric) for metric in measured if metric.name in printed]
        tables += [rd.table_of_rates(results, published, metric, scores[metric.name]) for metric in measured if metric.name in scores]
        click.echo("\n\n".join(tables))
        if publish:
            files.write(str(Path(publish) / "README.md"), publishing.readme(results, tables).encode())
    for name, reason in rd.left_out(results).items():
        left_out(name, EvaluationError(reason))
    refused = rd.refusals(results)
    for line in (*rd.notes(results, measured), *refused):
        notes.note(line)
    left_out.check(len(found))
    if refused:
        raise EvaluationError(f"{len(refused)} of {len(found) * len(chosen)} measurements failed")

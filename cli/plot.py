"""`ddpmcodec plot`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ddpmcodec.cli import files, options
from ddpmcodec.errors import EvaluationError, OutputError

KINDS = {".png": "png", ".svg": "svg", ".html": "svg"}


@click.command("plot", short_help="Draw results.")
@click.argument("results", nargs=-1, required=True, type=options.FILE, metavar="RESULTS...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=options.FILE,
    metavar="FILE",
    help="Write .png, .svg or one self-contained .html; - means standard output, as PNG.",
)
@click.option("--log", "log_rate", is_flag=True, help="Make the axis of rates logarithmic.")
@click.option("--min-bpp", type=options.Rate(0), default=0.0, metavar="X", help="Show rates from this one on.")
@click.option("--max-bpp", type=options.Rate(0), default=1e9, metavar="X", help="Show rates up to this one.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Of curves, draw this metric; may be repeated [default: all].")
def command(results, output, log_rate, min_bpp, max_bpp, metrics):
    """Draw RESULTS: rate-distortion curves, of `ddpmcodec eval -o` or published in CompressAI's schema; figure 5, of a bpd.json; the
    channel coder's overhead and time, of `ddpmcodec bench -o`; or the bits of each step, of .ddpm files.

    \b
    ddpmcodec plot results/*.json -o rd.png --log
    ddpmcodec plot results/ddpm.json bmshj2018-hyperprior.json -o rd.html
    ddpmcodec plot results/bpd.json -o figure-5.svg
    ddpmcodec plot photo.ddpm -o steps.png
    """
    kind = "png" if output == "-" else KINDS.get(Path(output).suffix.lower())
    if kind is None:
        raise OutputError(f"{output}: the extension is not {' or '.join(KINDS)}")
    files.check_writable(output, results)

    try:
        drawn = draw(results, kind, {"log_rate": log_rate, "low": min_bpp, "high": max_bpp, "wanted": metrics})
    except ImportError as e:
        raise EvaluationError("plots need matplotlib: pip install 'ddpmcodec[plot]'") from e
    if output.lower().endswith(".html"):
        from ddpmcodec.eval import page

        drawn = page.document("ddpmcodec plot", page.figure(drawn, "the figure"))
    files.write(output, drawn)


def draw(paths: Sequence[str], kind: str, curve_options: dict[str, Any]) -> bytes:
    """Draw the figure that these files are for.

    Raises:
        EvaluationError: they are not for one figure.
        ImportError: matplotlib is missing.
    """
    from ddpmcodec import api
    from ddpmcodec.eval import curves, documents, figures

    sources = {path: files.read(path) for path in paths}
    what = documents.one_kind(sources)
    if curve_options["wanted"] and what in (documents.STEPS, documents.BOUND, documents.CODER):
        raise EvaluationError(f"--metric is for rate-distortion curves, and {Path(paths[0]).name} has none")
    if what == documents.STEPS:
        infos = {}
        for path, data in sources.items():
            with files.naming(path):
                infos[Path(path).name] = api.info(data)
        return figures.steps(infos, kind)
    if what == documents.CODER:
        if len(sources) > 1:
            raise EvaluationError("draw the files of `ddpmcodec bench` one by one")
        return figures.overhead(*documents.steps(paths[0], sources[paths[0]]), kind)
    if what == documents.BOUND:
        return figures.progressive([bound for path, data in sources.items() for bound in documents.bounds(path, data)], kind)
    return figures.rate_distortion([curves.parse(path, data) for path, data in sources.items()], **curve_options, kind=kind)

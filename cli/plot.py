"""`ddpmcodec plot`."""

import json
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
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Draw this metric; may be repeated [default: all].")
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
    files.check_writable(output)

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
    from ddpmcodec.eval import bench, curves, figures
    from ddpmcodec.format import container

    sources = {path: files.read(path) for path in paths}
    kinds = {path: "steps" if data.startswith(container.SIGNATURE) else kind_of(data) for path, data in sources.items()}
    if len(set(kinds.values())) > 1:
        raise EvaluationError(f"these are no one figure: {', '.join(f'{path} ({what})' for path, what in kinds.items())}: draw them apart")
    [what] = set(kinds.values())
    if what == "steps":
        infos = {}
        for path, data in sources.items():
            with files.naming(path):
                infos[Path(path).name] = api.info(data)
        return figures.steps(infos, kind)
    if what == "overhead":
        if len(sources) > 1:
            raise EvaluationError("draw the files of `ddpmcodec bench` one by one")
        document = json.loads(sources[paths[0]])
        photo, crop = ([bench.Measurement.of(record) for record in document[part]["steps"]] for part in ("photo", "crop"))
        return figures.overhead(photo, crop, kind)
    if what == "bound":
        return figures.progressive([result for data in sources.values() for result in json.loads(data)["results"]], kind)
    return figures.rate_distortion([curves.parse(path, data) for path, data in sources.items()], **curve_options, kind=kind)


def kind_of(data: bytes) -> str:
    """Tell what a JSON document is of: "bound", "overhead", or "rate-distortion", which says itself what is wrong with others."""
    try:
        document = json.loads(data)
        if "photo" in document and document["photo"]["steps"]:
            return "overhead"
        if isinstance(document["results"], list) and "progressive" in document["results"][0]:
            return "bound"
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        pass
    return "rate-distortion"

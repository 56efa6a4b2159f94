"""`ddpmcodec plot`."""

import base64
import json
from pathlib import Path

import click

from ddpmcodec.cli import files, options
from ddpmcodec.errors import EvaluationError, OutputError

KINDS = {".png": "png", ".svg": "svg", ".html": "svg"}


@click.command("plot", short_help="Draw results.")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS.json...")
@click.option("-o", "--output", required=True, metavar="FILE", help="As .png, .svg or one self-contained .html; - is stdout, as PNG.")
@click.option("--log", "log_rate", is_flag=True, help="Logarithmic rates.")
@click.option("--min-bpp", type=options.Rate(0), default=0.0, metavar="X", help="Show rates from this one on.")
@click.option("--max-bpp", type=options.Rate(0), default=1e9, metavar="X", help="Show rates up to this one.")
def command(results, output, log_rate, min_bpp, max_bpp):
    """Draw RESULTS: rate-distortion curves, of `ddpmcodec eval -o` or published in CompressAI's schema; or figure 5, of a bpd.json.

    \b
    ddpmcodec plot results/*.json -o rd.png --log
    ddpmcodec plot results/ddpm.json bmshj2018-hyperprior.json -o rd.html
    ddpmcodec plot results/bpd.json -o figure-5.svg
    """
    kind = "png" if output == "-" else KINDS.get(Path(output).suffix.lower())
    if kind is None:
        raise OutputError(f"{output}: the extension is not {' or '.join(KINDS)}")
    files.check_writable(output)

    from ddpmcodec.eval import curves, figures

    bounds = [document for path in results if (document := bound_results(path)) is not None]
    try:
        if bounds:
            if len(bounds) < len(results):
                raise EvaluationError("bpd.json files and rate-distortion results are no one figure: draw them apart")
            drawn = figures.progressive([result for document in bounds for result in document], kind)
        else:
            drawn = figures.rate_distortion(
                [curves.read(path) for path in results], log_rate=log_rate, low=min_bpp, high=max_bpp, kind=kind
            )
    except ImportError as e:
        raise EvaluationError("plots need matplotlib: pip install 'ddpmcodec[plot]'") from e
    files.write(output, page(drawn) if output.lower().endswith(".html") else drawn)


def bound_results(path: str) -> list | None:
    """The results in a file of `ddpmcodec bpd`, or None where it is another."""
    try:
        document = json.loads(files.read(path))
        listed = document["results"]
        return listed if isinstance(listed, list) and listed and "progressive" in listed[0] else None
    except (ValueError, KeyError, TypeError):
        return None


def page(svg: bytes) -> bytes:
    """An HTML page with the figure in it."""
    source = base64.b64encode(svg).decode()
    image = f'<img alt="the figure" src="data:image/svg+xml;base64,{source}">'
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>ddpmcodec plot</title>{image}</html>\n'.encode()

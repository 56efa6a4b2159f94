"""`ddpmcodec bd-rate`."""

import json

import click

from ddpmcodec.cli import files, notes, options


@click.command("bd-rate", short_help="Measure the Bjontegaard delta rate between results.")
@click.argument("anchor", type=options.FILE)
@click.argument("tests", nargs=-1, required=True, type=options.FILE, metavar="TEST...")
@click.option(
    "--metric",
    default="psnr-rgb",
    show_default=True,
    metavar="NAME",
    help="Compare at equal psnr-rgb, ssimulacra2, or any other that both have.",
)
@click.option("--method", type=click.Choice(["akima", "pchip"]), default="akima", show_default=True, help="Interpolate so.")
@click.option("--min-bpp", type=options.Rate(0), default=0.0, metavar="X", help="Use points from this rate on.")
@click.option("--max-bpp", type=options.Rate(0), default=1e9, metavar="X", help="Use points up to this rate.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(anchor, tests, metric, method, min_bpp, max_bpp, as_json):
    """Measure how much more rate TEST needs than ANCHOR at the same quality, in percent: less where negative.

    All are results files (one may be -, stdin) in CompressAI's schema, of `ddpmcodec eval -o` or published. First comes the mean over
    pictures of their own BD-rates, then that of the mean curves, which favours a codec whose rates are read off at equal values; published
    curves have the latter only.

    \b
    ddpmcodec bd-rate results/avif.json results/ddpm.json
    ddpmcodec bd-rate results/jpeg.json results/*.json --min-bpp 0.15 --max-bpp 2.5
    """
    from ddpmcodec.eval import bd_rate, curves

    reference, *others = [curves.parse(path, files.read(path)) for path in (anchor, *tests)]
    entries = bd_rate.compare(reference, others, notes.note, metric=metric, method=method, low=min_bpp, high=max_bpp)
    click.echo(json.dumps(files.finite(entries), indent=1, allow_nan=False) if as_json else bd_rate.table(reference, metric, entries))

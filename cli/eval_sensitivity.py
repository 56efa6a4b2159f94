"""`ddpmcodec eval sensitivity`."""

import click

from ddpmcodec.cli import eval_options, files, notes, options

METRICS = ("psnr-rgb", "ssimulacra2", "cvvdp")


@click.command("sensitivity", short_help="Measure how much quality a bit buys, by where it is spent.")
@eval_options.paths
@click.option("-o", "--output", type=options.FILE, metavar="FILE.json", help="Also write every picture's figures to FILE.json.")
@click.option(
    "--sigma", type=click.FloatRange(1, 1000), default=30.0, show_default=True, metavar="X", help="Measure at this noise, of 255."
)
@click.option("--power", type=click.FloatRange(0, 4), default=0.0, show_default=True, metavar="X",
              help="Raise the table's multipliers to this power; 0 is white noise.")  # fmt: skip
@click.option("--metric", "names", multiple=True, default=METRICS, show_default=True, metavar="NAME", help="Measure this; may be repeated.")
@eval_options.page
@eval_options.stride
@options.model
@options.threads
@options.quiet
def command(paths, output, sigma, power, names, page, stride, model, threads, quiet):
    """Measure how much of each metric a bit buys, by frequency, colour and activity, relative to the mean bit.

    Prints a Markdown table. Pictures that cannot be read or measured are named and left out, and the exit code is then 3.

    \b
    ddpmcodec eval sensitivity photos/ --sigma 30
    ddpmcodec eval sensitivity photos/ --sigma 30 --power 1 --metric ssimulacra2 -o sensitivity.json
    """
    options.use_threads(threads)
    if output is not None:
        files.check_writable(output, [*paths, model])

    from ddpmcodec.eval import metrics, pictures, sensitivity
    from ddpmcodec.models import registry

    denoiser = registry.resolve(model)
    measured, absent = metrics.available(dict.fromkeys(names))
    for name, reason in absent.items():
        notes.note(f"without {name}, which {reason}")
    found, left_out = pictures.find(paths, stride), notes.LeftOut()
    loaded = list(pictures.load(found, left_out, page))
    with options.progress_bar("sensitivity", quiet) as progress:
        document = sensitivity.measure_all(loaded, denoiser, sigma, power, measured, left_out, progress)
    if output is not None:
        files.write_json(output, document)
    click.echo(sensitivity.table(document["relative"], measured))
    left_out.check(len(found))

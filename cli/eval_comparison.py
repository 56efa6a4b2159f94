"""`ddpmcodec eval comparison`."""

import click

from ddpmcodec.cli import eval_options, files, notes, options


@click.command("comparison", short_help="Compare ways to send the same steps.")
@eval_options.paths
@eval_options.document
@click.option("--plot", "figure", type=options.FILE, metavar="FILE.png", help="Also draw the curves, to FILE.png.")
@eval_options.page
@eval_options.stride
@options.model
@options.evaluations
@eval_options.jobs
@options.quiet
def command(paths, output, figure, page, stride, model, evaluations, jobs, quiet):
    """Compare our channel with the Poisson functional representation and universal quantization, on the same steps of the same model.

    On the middle 64x64 of each picture. Prints a Markdown table. Pictures that cannot be read or are too small are named and left out, and
    the exit code is then 3.

    \b
    ddpmcodec eval comparison photos/ -o comparison.json --plot comparison.png
    """
    from ddpmcodec.eval import comparison, figures, pictures
    from ddpmcodec.models import registry

    found, left_out = pictures.find(paths, stride), notes.LeftOut()
    files.check_writable(output, [*paths, model])
    if figure is not None:
        files.check_writable(figure, [*map(str, found), model])
    loaded = pictures.load(found, left_out, page)
    with options.progress_bar("comparison", quiet) as progress:
        document = comparison.measure(loaded, model or registry.DEFAULT, evaluations, jobs, left_out, progress)
    files.write_json(output, document)
    if figure is not None:
        files.write(figure, figures.rate_distortion(comparison.mean_curves(document["points"]), log_rate=True))
    click.echo(comparison.table(document["summary"]))
    left_out.check(len(found))

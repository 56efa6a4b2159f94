"""`ddpmcodec eval losses`."""

import click

from ddpmcodec.cli import eval_options, files, notes, options


@click.command("losses", short_help="Measure where the rate goes.")
@eval_options.paths
@eval_options.document
@eval_options.page
@eval_options.stride
@options.model
@options.evaluations
@click.option("--effort", type=click.IntRange(1, 5), default=3, show_default=True, metavar="1..5", help="Encode with this effort.")
@click.option("--advantage", type=options.Rate(-99, 99), default=0.0, show_default=True, metavar="DB",
              help="Show a network that is better by this much too.")  # fmt: skip
@eval_options.jobs
@options.quiet
def command(paths, output, page, stride, model, evaluations, effort, advantage, jobs, quiet):
    """Measure where the rate goes on pictures, and how good the schedule is, and print Markdown tables.

    What network, schedule and channel each cost over the ideal. Pictures that cannot be read or are too small are named and left out, and
    the exit code is then 3.

    \b
    ddpmcodec eval losses photos/ -o losses.json
    ddpmcodec eval losses photos/ --stride 4 --advantage 0.46 -o losses.json
    """
    files.check_writable(output, [*paths, model])

    from ddpmcodec.eval import losses, pictures
    from ddpmcodec.models import registry

    found, left_out = pictures.find(paths, stride), notes.LeftOut()
    loaded = list(pictures.load(found, left_out, page))
    with options.progress_bar("losses", quiet) as progress:
        document = losses.measure(loaded, model or registry.DEFAULT, evaluations, effort, advantage, jobs, left_out, progress)
    files.write_json(output, document)
    click.echo(losses.tables(document))
    left_out.check(len(found))

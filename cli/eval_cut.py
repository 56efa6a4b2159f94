"""`ddpmcodec eval cut`."""

import click

from ddpmcodec.cli import eval_options, files, notes, options


@click.command("cut", short_help="Cut small pictures out of photos.")
@eval_options.paths
@click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE.npz", help="Write to FILE.npz; - means standard output.")
@click.option("--side", type=click.IntRange(1, 4096), default=32, show_default=True, metavar="N", help="Cut squares of this side.")
@click.option("--reduce", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N",
              help="Make each pixel the mean of a square of this side.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="Cut N at most.")
@eval_options.page
def command(paths, output, side, reduce, count, page):
    """Write the reduced middles of pictures to one array, for `eval lossless --together` and bpd.

    Pictures that cannot be read or are too small are named and left out, and the exit code is then 3.

    \b
    ddpmcodec eval cut photos/ -o crops.npz
    """
    files.check_writable(output, paths)

    from ddpmcodec.eval import crops, pictures

    left_out = notes.LeftOut()
    files.write(output, crops.archive(pictures.load(pictures.find(paths), left_out, page), side, reduce, count, left_out))
    left_out.check()

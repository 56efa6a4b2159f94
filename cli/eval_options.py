"""Options that the subcommands of `ddpmcodec eval` share."""

import click

from ddpmcodec import threads
from ddpmcodec.cli import options

paths = click.argument("paths", nargs=-1, required=True, type=options.FILE, metavar="PICTURE|DIR...")
page = click.option("--page", type=click.IntRange(1), metavar="N", help="Of files with several pages or frames: use this one.")
stride = click.option("--stride", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Use every N-th picture.")
directory = click.option("-o", "--output", type=options.DIRECTORY, metavar="DIR", help="Also write one JSON file there.")
document = click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE.json",
                        help="Write everything to FILE.json; - means standard output.")  # fmt: skip
jobs = click.option("-j", "--jobs", type=click.IntRange(1, 1024), default=threads.count, metavar="N",
                    help="Run N processes, of one thread each [default: all cores].")  # fmt: skip


def sigmas(ctx: click.Context, param: click.Parameter, value: str | None) -> list[float] | None:
    """Return the numbers of 15,25,50."""
    if value is None:
        return None
    try:
        numbers = [float(v) for v in value.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0.5 <= n <= 1000 for n in numbers):
        raise click.BadParameter("give noise levels from 0.5 to 1000, separated by commas")
    return numbers

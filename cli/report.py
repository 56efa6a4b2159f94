"""`ddpmcodec report`."""

from pathlib import Path

import click

from ddpmcodec.cli import eval_options, files, notes, options
from ddpmcodec.errors import EvaluationError, InputError


@click.command("report", short_help="Make one page of results, with pictures to compare.")
@click.argument("results", nargs=-1, required=True, type=options.FILE, metavar="DIR|RESULTS.json...")
@click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE.html", help="Write to FILE.html; - means standard output.")
@click.option(
    "--picture",
    "paths",
    multiple=True,
    type=options.FILE,
    metavar="PICTURE",
    help="Show this one; may be repeated. It is coded anew, by every codec.",
)
@click.option("--codec", "name", default="ddpm", show_default=True, metavar="NAME", help="Compare the others with this one.")
@click.option("--bpp", "rates", multiple=True, type=options.Rate(0.01), default=(0.25, 0.5, 1.0), show_default=True, metavar="X",
              help="Show pictures of the others at this rate; may be repeated.")  # fmt: skip
@click.option("--min-bpp", type=options.Rate(0), default=0.0, metavar="X", help="Draw and compare rates from this one on.")
@click.option("--max-bpp", type=options.Rate(0), default=1e9, metavar="X", help="Draw and compare rates up to this one.")
@eval_options.page
@options.threads
@options.quiet
def command(results, output, paths, name, rates, min_bpp, max_bpp, page, threads, quiet):
    """Write one self-contained HTML page: curves, BD-rates, and pictures with a wipe slider and, for ddpm, a slider over its bytes.

    RESULTS are files of `ddpmcodec eval -o`, or published curves in the same schema; what else a directory holds is passed over.

    \b
    ddpmcodec report results/ -o report.html
    ddpmcodec report results/ --picture photo.png --picture other.png --min-bpp 0.05 -o report.html
    """
    options.use_threads(threads)
    files.check_writable(output, [*results, *paths])

    from ddpmcodec.eval import pictures, report

    found = report.gather(sources(results), name)
    if paths and name not in found.codecs:
        raise EvaluationError(f"{name} is a published curve, or of a model or settings that are not known here: it makes no pictures")
    left_out = notes.LeftOut()
    shown = list(pictures.load(pictures.find(paths), left_out, page)) if paths else []
    with options.progress_bar("report", quiet) as progress:
        viewers = report.viewers(found, shown, rates, progress)
    try:
        files.write(output, report.report(found.ours, found.others, viewers, min_bpp, max_bpp))
    except ImportError as e:
        raise EvaluationError("reports need matplotlib: pip install 'ddpmcodec[eval]'") from e
    left_out.check()


def sources(paths) -> dict[str, bytes]:
    """Read the files named, and of directories those that are results.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    from ddpmcodec.eval.report import document_of

    found: dict[str, bytes] = {}
    for path in paths:
        if not Path(path).is_dir():
            found[path] = files.read(path)
            continue
        try:
            listed = [str(p) for p in sorted(Path(path).glob("*.json")) if p.is_file()]
        except OSError as e:
            raise InputError(f"{path}: {e.strerror}") from e
        found |= {p: data for p in listed for data in [files.read(p)] if isinstance(document_of(data).get("results"), dict)}
    if not found:
        raise InputError(f"no results in {', '.join(paths)}")
    return found

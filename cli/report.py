"""`ddpmcodec report`."""

import json
import sys
from pathlib import Path

import click
from tqdm import tqdm

from ddpmcodec.cli import files, options
from ddpmcodec.errors import DdpmcodecError, EvaluationError, InputError


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
@options.threads
@options.quiet
def command(results, output, paths, name, rates, min_bpp, max_bpp, threads, quiet):
    """Write one self-contained HTML page: curves, BD-rates, and pictures with a wipe slider and, for ddpm, a slider over its bytes.

    RESULTS are files of `ddpmcodec eval -o`, or published curves in the same schema; what else a directory holds is passed over.

    \b
    ddpmcodec report results/ -o report.html
    ddpmcodec report results/ --picture photo.png --picture other.png --min-bpp 0.05 -o report.html
    """
    options.use_threads(threads)
    files.check_writable(output)

    from ddpmcodec.eval import curves, report
    from ddpmcodec.eval import pictures as sets
    from ddpmcodec.eval.choice import maker

    found = {curve.name: (data, curve) for path, data in sources(results).items() for curve in [curves.parse(path, data)]}
    if name not in found:
        raise EvaluationError(f"none of the results is of {name}: they are of {', '.join(found) or 'nothing'}")
    ours = found.pop(name)
    made = {curve.name: maker(curve.name, of(data).get("settings")) for data, curve in (ours, *found.values())}
    codecs = {of_name: codec for of_name, codec in made.items() if codec is not None}
    viewers = []
    if paths and name not in codecs:
        raise EvaluationError(f"{name} is a published curve, or of a model that is not here: it makes no pictures")
    skipped: list[Path] = []

    def skip(path: Path, error: DdpmcodecError) -> None:
        skipped.append(path)
        tqdm.write(f"{path}: left out: {error}", file=sys.stderr)

    shown = list(sets.load(sets.find(paths), skip)) if paths else []
    others = [codec for other, codec in codecs.items() if other != name]
    with tqdm(desc="report", total=len(shown) * len(codecs), disable=quiet or None, leave=False) as bar:
        for picture, pixels in shown:
            viewers.append((picture, report.viewer(pixels, codecs[name], others, rates, lambda: bar.update() and None)))
    try:
        files.write(output, report.report(ours[1], [curve for _, curve in found.values()], viewers, min_bpp, max_bpp))
    except ImportError as e:
        raise EvaluationError("reports need matplotlib: pip install 'ddpmcodec[eval]'") from e
    if skipped:
        raise InputError(f"{len(skipped)} pictures could not be read")


def sources(paths) -> dict[str, bytes]:
    """What is in the files named, and of directories in those that are results.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    found: dict[str, bytes] = {}
    for path in paths:
        if not Path(path).is_dir():
            found[path] = files.read(path)
            continue
        try:
            listed = [str(p) for p in sorted(Path(path).glob("*.json")) if p.is_file()]
        except OSError as e:
            raise InputError(f"{path}: {e.strerror}") from e
        found |= {p: data for p in listed for data in [files.read(p)] if isinstance(of(data).get("results"), dict)}
    if not found:
        raise InputError(f"no results in {', '.join(paths)}")
    return found


def of(data: bytes) -> dict:
    """What a file holds, where it is a JSON object."""
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}

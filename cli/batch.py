"""Many inputs to a directory: an output each, made in several processes. What fails is named, and stops none of the others."""

import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import click

from ddpmcodec import threads as computing
from ddpmcodec.cli import files, words
from ddpmcodec.errors import DdpmcodecError, InputError, OutputError, printable

T = TypeVar("T")
Say = Callable[[str], None]
# Makes an output of an input; what is to be said goes to the callback; cells of the summary.
Work = Callable[[str, str, Say, dict[str, Any]], list[str]]
# What is to be said, and either what has been made or why it has not.
Attempt = tuple[list[str], T | None, DdpmcodecError | None]
# Of each input, in the order in which they end, the cells of its row.
Results = Generator[tuple[str, Attempt[list[str]]], None, None]


def is_directory(path: str) -> bool:
    """Whether an output is meant as a directory: it is one, or ends as one."""
    return path.endswith("/") or os.path.isdir(path)


def outputs(inputs: Sequence[tuple[str, str]], directory: str, suffix: str, others: Sequence[str | None] = ()) -> dict[str, str]:
    """Of each input, the file in the directory, which is made.

    Args:
        inputs: each with the folder below the directory to which it goes.
        others: what else is read.

    Raises:
        OutputError: a directory cannot be made, or two inputs have one output, or an output would replace what is read.
        click.UsageError: one is stdin.
    """
    paths: dict[str, str] = {}
    taken: dict[str, str] = {}
    for source, below in inputs:
        if source == "-":
            raise click.UsageError("what comes from stdin has no name in a directory: give -o FILE")
        path = str(Path(directory) / below / f"{Path(source).stem}{suffix}")
        if path in taken and taken[path] != source:
            raise OutputError(f"{taken[path]} and {source} would both become {path}")
        paths[source] = path
        taken[path] = source
    files.check_apart(paths.values(), [*paths, *others])
    files.make_directory(directory)
    for below in dict.fromkeys(below for _, below in inputs):
        files.make_directory(Path(directory) / below)
    return paths


def attempt(source: str, work: Callable[[Say], T]) -> Attempt[T]:
    """Do the work for one input, whose typed errors are its own."""
    said: list[str] = []
    try:
        return said, work(said.append), None
    except DdpmcodecError as e:
        return said, None, e
    except click.UsageError as e:  # an option that does not fit this model
        return said, None, InputError(f"{source}: {e.format_message()}")


def _one(work: Work, source: str, output: str, options: dict[str, Any]) -> Attempt[list[str]]:
    return attempt(source, lambda say: work(source, output, say, options))


def shares(jobs: int | None, threads: int | None, count: int) -> tuple[int, int]:
    """Return how many processes, and threads of each, share the processors for so many inputs, where options do not say so."""
    cores = computing.count()
    jobs = min(jobs or cores, max(count, 1))
    return jobs, threads or max(1, cores // jobs)


def in_processes(work: Work, options: dict[str, Any], jobs: int | None, threads: int | None, todo: dict[str, str]) -> Results:
    """Results of the work, done in processes of this machine.

    Args:
        options: of the work.
        threads: of a process.
        todo: output of each input.

    Raises:
        WorkerError: a process has died.
    """
    from concurrent.futures import as_completed

    from ddpmcodec import workers

    with workers.pool(*shares(jobs, threads, len(todo))) as pool:
        running = {pool.submit(_one, work, source, path, options): source for source, path in todo.items()}
        for future in as_completed(running):
            yield running[future], future.result()


def refuse(jobs: int | None, skip_existing: bool) -> None:
    """Where there is one output only.

    Raises:
        click.UsageError: an option is given that is for many.
    """
    if jobs is not None or skip_existing:
        raise click.UsageError("--jobs and --skip-existing are for many files to a directory (-o DIR/)")


def run(
    label: str,
    results: Callable[[dict[str, str]], Results],
    paths: dict[str, str],
    head: Sequence[str],
    quiet: bool,
    skip_existing: bool,
) -> None:
    """Do the work for each input, and print a table.

    Args:
        label: of the progress bar.
        results: does the work, for the inputs that it is given with their outputs.
        paths: output of each input.
        head: of the table's columns.
        quiet: no bar, no table, and nothing said but errors.

    Raises:
        SystemExit: with the exit code of the first input that failed.
        WorkerError: a process has died, or a cluster cannot be reached.
    """
    from tqdm import tqdm

    todo = {source: path for source, path in paths.items() if not (skip_existing and os.path.exists(path))}
    rows: dict[str, list[str]] = {}
    failed: dict[str, DdpmcodecError] = {}
    # Closed at once, whatever happens here: that stops what is still running.
    with closing(results(todo)) as ended, tqdm(desc=label, total=len(todo), disable=quiet or None, leave=False) as bar:
        for source, (said, row, error) in ended:
            for text in [] if quiet else said:
                tqdm.write(printable(text), file=sys.stderr)
            if error is None:
                rows[source] = row or []
            else:
                failed[source] = error
                tqdm.write(words.line(error), file=sys.stderr)
            bar.update()
    if not quiet:
        cells = [["file", *head], *([printable(paths[source]), *rows[source]] for source in todo if source in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            click.echo("  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]), err=True)
        skipped = len(paths) - len(todo)
        click.echo(f"{len(rows)} done, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""), err=True)
    if failed:
        raise SystemExit(next(failed[source] for source in todo if source in failed).exit_code)

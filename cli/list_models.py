"""`ddpmcodec models`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ddpmcodec.cli import options, words
from ddpmcodec.errors import ModelError, printable


def description(name: str, path: Path) -> dict[str, Any]:
    """Describe the model of a path.

    Raises:
        ModelError: it is none.
    """
    from ddpmcodec.models import registry

    model = registry.find(str(path))
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {
        "name": name,
        "name_in_files": model.name,
        "hash": model.hash.hex(),
        "bytes": sum(p.stat().st_size for p in files),
        "parameters": model.parameters,
        "architecture": model.config["architecture"],
        "levels": model.config["levels"],
        "path": str(path),
        "default": path == registry.available().get(registry.DEFAULT),
    }


def row(model: dict[str, Any]) -> list[str]:
    """Return the cells of a model."""
    levels = model["levels"]
    kind = levels["kind"] if levels["kind"] == "continuous" else f"{levels['schedule']}, T = {levels['T']}"
    also = "" if model["name"] == model["name_in_files"] else f", in files {model['name_in_files']}"
    default = " (default)" if model["default"] else ""
    numbers = [str(model[key]) for key in ("bytes", "parameters")]
    return [model["name"] + default + also, model["hash"], *numbers, f"{model['architecture']}, {kind}", model["path"]]


def descriptions(names: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """Describe the models of these names, or of all that can be named, and whether there was one that is none, which is said."""
    from ddpmcodec.models import registry

    known = registry.available()
    found: list[dict[str, Any]] = []
    failed = False
    for name in names or known:
        path = known.get(name, Path(name))
        try:
            found.append(description(name if name in known else path.stem, path))
        except ModelError as e:
            click.echo(words.line(e), err=True)
            failed = True
    return found, failed


def table(found: Sequence[dict[str, Any]]) -> str:
    """Format descriptions in columns."""
    rows = [["name", "hash", "bytes", "parameters", "kind", "path"], *map(row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for cells in rows:
        cells[2:4] = (cell.rjust(width) for cell, width in zip(cells[2:4], widths[2:4], strict=True))
        lines.append(printable("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()))
    return "\n".join(lines)


@click.command("models", short_help="List the models that can be named.")
@click.argument("models", nargs=-1, type=options.FILE, metavar="[NAME|PATH]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(models, as_json):
    """List models, or those bundled and those in the directories of DDPMCODEC_MODELS: name, hash, size, parameters, kind, path.

    A file in a directory that is no model is named on stderr and passed over; for a NAME or PATH that is none the exit code is 9.

    \b
    ddpmcodec models
    ddpmcodec models run/model.safetensors ddpm-cifar10-32/ --json
    """
    found, failed = descriptions(models)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo(table(found))
    if failed and models:
        raise SystemExit(ModelError.exit_code)

"""BD-rates of several codecs against one, as `ddpmcodec bd-rate` prints them."""

from collections.abc import Sequence
from typing import Any

from ddpmcodec.eval import curves
from ddpmcodec.eval.curves import Curve
from ddpmcodec.progress import Note, silent


def compare(anchor: Curve, tests: Sequence[Curve], note: Note = silent, **choice: Any) -> list[dict[str, Any]]:
    """Measure how much more rate each codec needs than the anchor: an entry for each, JSON-serializable.

    Args:
        note: told of pictures that are left out of a mean, and why.
        choice: "metric", "method", "low" and "high", as of `curves.bd_rate`.

    Raises:
        EvaluationError: two curves cannot be compared.
    """
    entries = []
    for test in tests:
        compared = {"anchor": anchor.name, "test": test.name, "metric": choice["metric"], "method": choice["method"]}
        entry = compared | vars(curves.bd_rate(anchor, test, **choice))
        if anchor.pictures and test.pictures:
            mean = curves.mean_bd_rate(anchor, test, **choice)
            entry["of_pictures"] = vars(mean)
            for name, reason in mean.left_out.items():
                note(f"{name.split(' ')[0]}: left out of the mean: {reason}")
        entries.append(entry)
    return entries


def table(anchor: Curve, metric: str, entries: Sequence[dict[str, Any]]) -> str:
    """Format `compare` as a Markdown table."""
    heads = [f"BD-rate ({metric}) against {anchor.name}", "%", "pictures", "% of mean curves", "over", "of both curves"]
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---:|---:|---:|"]
    for entry in entries:
        mean = entry.get("of_pictures")
        cells = ["-", "-"] if mean is None else [f"{mean['percent']:+.1f}", str(mean["pictures"])]
        over = f"{entry['low']:.4g} ... {entry['high']:.4g}"
        lines.append(f"| {entry['test']} | {' | '.join(cells)} | {entry['percent']:+.1f} | {over} | {100 * entry['overlap']:.0f} % |")
    return "\n".join(lines)

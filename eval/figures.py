"""Plots, by matplotlib (the extra `plot`)."""

import io
from collections.abc import Sequence


def progressive(results: Sequence[dict]) -> bytes:
    """Figure 5 of arXiv 2006.11239, as PNG: distortion over reverse steps, rate over reverse steps, distortion over rate.

    Args:
        results: of `bits_per_dimension.summary`.

    Raises:
        ImportError: matplotlib is missing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    over_step, rates, over_rate = figure.subplots(1, 3)
    for result in results:
        rows = result["progressive"]
        done = [i / len(rows) for i in range(len(rows))]
        rmse, bits = [row["rmse"] for row in rows], [row["bits_per_dimension"] for row in rows]
        label = f"{result['model']['name']}, {result['levels']} steps, {result['variance']}"
        over_step.plot(done, rmse, label=label)
        rates.plot(done, bits)
        over_rate.plot(bits, rmse)
    over_step.set(xlabel="share of the reverse steps", ylabel="distortion (RMSE of 255)")
    rates.set(xlabel="share of the reverse steps", ylabel="rate (bits per dimension)")
    over_rate.set(xlabel="rate (bits per dimension)", ylabel="distortion (RMSE of 255)")
    for axes in (over_step, rates, over_rate):
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
    over_step.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()

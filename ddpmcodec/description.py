"""The description of a file that `ddpmcodec info` prints: header, noise, sections and steps, JSON-serializable. No network is needed."""

import math
from typing import Any

from ddpmcodec.format import container
from ddpmcodec.format.container import Container
from ddpmcodec.format.shape import OWN
from ddpmcodec.models import whitening
from ddpmcodec.models.levels import sigma


def describe(parsed: Container, size: int) -> dict[str, Any]:
    """Describe a parsed file of `size` bytes."""
    header = parsed.header
    steps = []
    for i, (step, end) in enumerate(zip(parsed.steps, parsed.ends, strict=True)):
        entry: dict[str, Any] = {"step": i + 1}
        if header.levels.counts_timesteps:
            entry["timestep"] = step.level
        entry |= {
            "level": step.level,
            "sigma": round(sigma(header.levels, step.level), 4),
            "bits": step.n,
            "nu": step.nu,
            "evaluate": step.evaluate,
            "end": end,
            "bpp": round(8 * end / header.pixels, 6),
            "present": i < len(parsed.messages),
        }
        steps.append(entry)
    return {
        "format_version": container.VERSION,
        "bytes": size,
        "bpp": round(8 * size / header.pixels, 6),
        "complete": parsed.complete,
        "lossless": parsed.tail is not None,
        "width": header.width,
        "height": header.height,
        "pictures": header.pictures,
        "mode": parsed.mode,
        "metadata": {name: len(content) for name, content in parsed.metadata.info.items()},
        "orientation": header.orientation,
        "model": header.model_name,
        "model_hash": header.model_hash.hex(),
        "levels": {"kind": header.levels.kind, "start": header.start, "start_sigma": round(sigma(header.levels, header.start), 2)},
        "seed": header.seed,
        "noise": noise_of(parsed),
        "first_picture": next(section.offset for section in parsed.sections if section.type == "P"),
        "whole_steps": len(parsed.messages),
        "sections": [vars(section) for section in parsed.sections],
        "steps": steps,
    }


def noise_of(parsed: Container) -> dict[str, Any]:
    """Describe the noise of a file: its shape, and its standard deviation at the last whole step, of 255."""
    shape, header = parsed.shape, parsed.header
    level = parsed.steps[len(parsed.messages) - 1].level if parsed.messages else header.start
    reached = sigma(header.levels, level)
    described: dict[str, Any] = {"tune": "psnr", "table": None, "map": None, "sigma": round(reached, 4)}
    if shape is None:
        return described
    w = whitening.power(math.log2(header.levels.snr(level)), shape.ramp)
    table = shape.table
    if not shape.is_even:
        described["tune"] = "perception"
    described["table"] = shape.number if shape.number != OWN else {"ramp": [*shape.ramp], "log2_m": [[*row] for row in table]}
    if shape.cell:
        coarsest = 2 ** (max(shape.cells) / 4)
        described["map"] = {"cell": shape.cell, "coarsest": round(coarsest, 3)}
    for name, row, scale in zip(("Y", "Cb", "Cr"), table, whitening.SCALES, strict=True):
        coarse, fine = (round(scale * reached * 2 ** (w * row[node] / whitening.UNITS), 4) for node in (0, -1))
        described[name] = {"coarse": coarse, "fine": fine}
    return described

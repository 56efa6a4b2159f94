"""How long an encode, and decoding its file, may take: presets of the options that decide it. Nothing here is part of the format."""

from typing import NamedTuple

from ddpmcodec.plan import DEFAULT_EFFORT, DEFAULT_EVALUATIONS


class Speed(NamedTuple):
    """What a preset chooses: `evaluations` and `effort` of `encoder.EncodeOptions`."""

    evaluations: int
    effort: int


NORMAL = "normal"
# Points of the front of bits against seconds: docs/benchmarks.md.
SPEEDS = {"fast": Speed(12, 4), NORMAL: Speed(DEFAULT_EVALUATIONS, DEFAULT_EFFORT), "best": Speed(60, 5)}


def choose(speed: str = NORMAL, evaluations: int | None = None, effort: int | None = None) -> Speed:
    """Return what a preset chooses, but for what is given.

    Raises:
        ValueError: there is no such preset.
    """
    if speed not in SPEEDS:
        raise ValueError(f"speed={speed!r} is none of {', '.join(SPEEDS)}")
    chosen = SPEEDS[speed]
    return Speed(chosen.evaluations if evaluations is None else evaluations, chosen.effort if effort is None else effort)

"""What a file of results is of, and the results in it that `ddpmcodec plot` draws, checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval.bench import Measurement
from ddpmcodec.eval.curves import LARGEST
from ddpmcodec.format import container

STEPS, BOUND, CODER, RATE_DISTORTION, UNKNOWN = "steps of .ddpm files", "bound", "channel coder", "rate-distortion", "unknown"
DRAWN = (STEPS, BOUND, CODER, RATE_DISTORTION)
# By a key that no other evaluation writes, in this order; "pictures", which several write, comes last.
KEYS = {"photo": CODER, "schedules": "losses", "summary": "comparison", "sigmas": "denoise", "relative": "sensitivity"}
KEYS |= {"distortion_L_0": "lossless, together", "unit": "lossless"}
NAMED = 3  # files of a kind that an error names


class _Row(msgspec.Struct):
    rmse: Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]
    bits_per_dimension: Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]


class _Named(msgspec.Struct):
    name: str


class _Bound(msgspec.Struct):
    model: _Named
    levels: Annotated[int, msgspec.Meta(ge=1)]
    variance: str
    progressive: Annotated[list[_Row], msgspec.Meta(min_length=1)]


class _Bounds(msgspec.Struct):
    results: Annotated[list[_Bound], msgspec.Meta(min_length=1)]


class _Steps(msgspec.Struct):
    steps: list[Measurement]


class _Bench(msgspec.Struct):
    photo: _Steps
    crop: _Steps


def kind_of(data: bytes) -> str:
    """Tell what a file is of: one of `DRAWN`, another evaluation, or `UNKNOWN`."""
    if data.startswith(container.SIGNATURE):
        return STEPS
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return UNKNOWN
    if not isinstance(document, dict):
        return UNKNOWN
    if "results" in document:
        return BOUND if isinstance(document["results"], list) else RATE_DISTORTION
    return next((kind for key, kind in KEYS.items() if key in document), UNKNOWN)


def one_kind(sources: Mapping[str, bytes]) -> str:
    """Return the kind that files have in common, by their paths and bytes: one of `DRAWN`, or `UNKNOWN`.

    Raises:
        EvaluationError: they have none, or one that nothing draws.
    """
    groups: dict[str, list[str]] = {}
    for path, data in sources.items():
        groups.setdefault(kind_of(data), []).append(Path(path).name)
    if len(groups) > 1:
        listed = "; ".join(f"{kind}: {', '.join(names[:NAMED])}{_more(len(names) - NAMED)}" for kind, names in groups.items())
        raise EvaluationError(f"these results do not belong in one figure: {listed}. Plot one kind at a time.")
    [(kind, names)] = groups.items()
    if kind not in (*DRAWN, UNKNOWN):
        raise EvaluationError(f"{names[0]} has results of another kind ({kind}), which are not drawn")
    return kind


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def bounds(path: str, data: bytes) -> list[dict[str, Any]]:
    """Read what `ddpmcodec bpd` wrote, of which the parts that are drawn are checked.

    Raises:
        EvaluationError: it is malformed.
    """
    return [msgspec.to_builtins(bound) for bound in _decode(path, data, _Bounds, "ddpmcodec bpd").results]


def steps(path: str, data: bytes) -> tuple[list[Measurement], list[Measurement]]:
    """Read the steps of the photo and of the crop that `ddpmcodec bench` measured.

    Raises:
        EvaluationError: it is malformed.
    """
    document = _decode(path, data, _Bench, "ddpmcodec bench")
    found = document.photo.steps, document.crop.steps
    for m in (*found[0], *found[1]):
        if not all(1 / LARGEST < value < LARGEST for value in (m.kl, m.bits, m.conveyed, m.send_seconds)):
            raise EvaluationError(f"{path} has a step whose bits or seconds are no positive numbers")
    return found


def _decode(path: str, data: bytes, kind: type, writer: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
        raise EvaluationError(f"{path} is not what `{writer}` writes: {e}") from e

"""Which codec a name stands for, or a results file was made by."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ddpmcodec.errors import DdpmcodecError, EvaluationError
from ddpmcodec.eval import metrics
from ddpmcodec.eval.anchors import ANCHORS, CJXL, command_anchor
from ddpmcodec.eval.codecs import OURS, Codec, Ddpm
from ddpmcodec.eval.metrics import Metric
from ddpmcodec.models import registry
from ddpmcodec.progress import Note

BUILT_IN: dict[str, Codec] = {**ANCHORS, CJXL.name: CJXL}
DEFAULT = ("ddpm", "jpeg", "webp", "avif")
PUBLISHED = ("json:", "compressai:")  # before the file of a curve that has been published


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split names into those of codecs and the files of published curves, where none is given the codecs of `DEFAULT`."""
    names = names or DEFAULT
    return [n for n in names if not n.startswith(PUBLISHED)], [n.partition(":")[2] for n in names if n.startswith(PUBLISHED)]


def choose(names: Sequence[str], bpp: float, model: str | None, evaluations: int, effort: int) -> dict[str, Codec]:
    """Return the codecs of these names, each found to be here.

    Args:
        bpp: highest rate of ours.
        model: of ours, by name or path.

    Raises:
        EvaluationError: one is not known, or missing here.
    """
    chosen: dict[str, Codec] = {}
    for name in names:
        codec: Codec
        if name in OURS:
            codec = Ddpm(
                **{"model": model or registry.DEFAULT, "bpp": bpp, "evaluations": evaluations, "effort": effort, **OURS[name]}, name=name
            )
        elif name.startswith("cmd:"):
            codec = command_anchor(name.removeprefix("cmd:"))
        elif name in BUILT_IN:
            codec = BUILT_IN[name]
        else:
            raise EvaluationError(f"no codec {name!r}: known are {', '.join(OURS)}, {', '.join(BUILT_IN)}, cmd:FILE.toml and json:FILE")
        codec.check()
        chosen[codec.name] = codec
    return chosen


def choose_metrics(names: Sequence[str], lpips: str | None, note: Note) -> tuple[list[Metric], set[str]]:
    """Choose the metrics to measure, PSNR first, and the names of those to print.

    Args:
        names: to print; where there is none, and so nothing that must be there, all that are installed.
        lpips: file of a network, for LPIPS by it.
        note: told of each metric that is missing here.

    Raises:
        EvaluationError: a metric that was asked for is not known, or missing here.
        ModelError: the file holds no such network.
    """
    printed = dict.fromkeys(("psnr-rgb", *names))
    measured, absent = metrics.available(printed if names else metrics.METRICS)
    for name, reason in absent.items():
        if name in names:
            raise EvaluationError(f"{name} {reason}")
        note(f"without {name}, which {reason}")
    return (measured, {*printed}) if lpips is None else ([*measured, metrics.with_lpips(lpips)], {*printed, "lpips"})


class _NamedModel(msgspec.Struct):
    name: str
    hash: str


class _DdpmSettings(msgspec.Struct):
    model: _NamedModel
    bpp: float
    evaluations: int
    effort: int
    tune: str = "psnr"  # before there was another
    rates: tuple[float, ...] = ()


def maker(name: str, settings: Any) -> Codec | None:
    """Return the codec `name` whose results tell these `settings`; None where it is not here, or only in other weights."""
    try:
        if name in BUILT_IN:
            codec = BUILT_IN[name]
        else:
            own = msgspec.convert(settings, _DdpmSettings)
            codec = Ddpm(own.model.name, own.bpp, own.evaluations, own.effort, own.tune, name, own.rates)
            if codec.settings()["model"]["hash"] != own.model.hash:
                return None
        codec.check()
    except (ValueError, DdpmcodecError):  # settings out of range; msgspec's errors are ValueErrors
        return None
    return codec

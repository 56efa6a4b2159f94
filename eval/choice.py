"""Which codec a name stands for, or a results file was made by."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ddpmcodec.errors import DdpmcodecError, EvaluationError
from ddpmcodec.eval.anchors import ANCHORS, CJXL, command_anchor
from ddpmcodec.eval.codecs import BEST_EVALUATIONS, Codec, Ddpm
from ddpmcodec.models import registry
from ddpmcodec.plan import NU_OF_EFFORT

BUILT_IN: dict[str, Codec] = {**ANCHORS, CJXL.name: CJXL}


def choose(names: Sequence[str], bpp: float, model: str | None, evaluations: int, effort: int) -> dict[str, Codec]:
    """The codecs of that name, each found to be here.

    Args:
        bpp: highest rate of ours.
        model: of ours, by name or path.

    Raises:
        EvaluationError: one is not known, or missing here.
    """
    chosen: dict[str, Codec] = {}
    for name in names:
        codec: Codec
        if name == "ddpm":
            codec = Ddpm(model or registry.DEFAULT, bpp, evaluations, effort)
        elif name == "ddpm-best":
            codec = Ddpm(model or registry.DEFAULT, bpp, BEST_EVALUATIONS, max(NU_OF_EFFORT), name)
        elif name.startswith("cmd:"):
            codec = command_anchor(name.removeprefix("cmd:"))
        elif name in BUILT_IN:
            codec = BUILT_IN[name]
        else:
            raise EvaluationError(f"no codec {name!r}: known are ddpm, ddpm-best, {', '.join(BUILT_IN)}, cmd:FILE.toml and json:FILE")
        codec.check()
        chosen[codec.name] = codec
    return chosen


class _NamedModel(msgspec.Struct):
    name: str
    hash: str


class _DdpmSettings(msgspec.Struct):
    model: _NamedModel
    bpp: float
    evaluations: int
    effort: int


def maker(name: str, settings: Any) -> Codec | None:
    """The codec `name` whose results tell these `settings`; None where it is not here, or only in other weights."""
    try:
        if name in BUILT_IN:
            codec = BUILT_IN[name]
        else:
            own = msgspec.convert(settings, _DdpmSettings)
            codec = Ddpm(own.model.name, own.bpp, own.evaluations, own.effort, name)
            if codec.settings()["model"]["hash"] != own.model.hash:
                return None
        codec.check()
    except (msgspec.ValidationError, DdpmcodecError):
        return None
    return codec

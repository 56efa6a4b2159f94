"""Codecs as an evaluation sees them: a picture's files, from small to large, every one decoded. Ours; others are in `anchors.py`."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ddpmcodec import api, arrays, decoder, plan
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import RateError
from ddpmcodec.eval.versions import versions
from ddpmcodec.format import container
from ddpmcodec.models import registry
from ddpmcodec.models.checkpoint import Model
from ddpmcodec.picture import Picture
from ddpmcodec.target import MAX_BPP, Rate

# Our encodes go this much beyond the highest rate, so that it lies on the curve: a share, and bytes for the rounding of small files.
HEADROOM = 1.02
HEADROOM_BYTES = 32
BEST_EVALUATIONS = 60  # of ddpm-best: twice the time, half the schedule's loss


@dataclass(frozen=True)
class Coded:
    """One file: its bytes, the picture it decodes to, (H, W, 3) uint8, seconds to encode and to decode it.

    Attributes:
        precision: "fp32" or "bf16", where a network has run.
    """

    bytes: int
    pixels: np.ndarray
    encode_seconds: float
    decode_seconds: float
    precision: str | None = None

    @property
    def bpp(self) -> float:
        return 8 * self.bytes / (self.pixels.shape[0] * self.pixels.shape[1])


class Codec(Protocol):
    """What an evaluation needs.

    Attributes:
        name: of its results.
        progressive: whether its files are prefixes of one, at rates of its own.
    """

    @property
    def name(self) -> str: ...

    @property
    def progressive(self) -> bool: ...

    def description(self) -> str:
        """In words."""

    def settings(self) -> dict[str, Any]:
        """All that its figures depend on, JSON-serializable."""

    def check(self) -> None:
        """Raise EvaluationError where it is missing here, before long work."""

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        """The files of (H, W, 3) uint8 pixels.

        Raises:
            EvaluationError: it refuses the picture, or fails.
        """


@dataclass(frozen=True)
class Ddpm:
    """Ours: every prefix of one encode at `bpp`, decoded for real.

    Args:
        model: name or path.
    """

    model: str
    bpp: float
    evaluations: int = plan.DEFAULT_EVALUATIONS
    effort: int = plan.DEFAULT_EFFORT
    name: str = "ddpm"
    progressive: bool = True

    def _model(self) -> Model:
        return registry.find(self.model)

    def description(self) -> str:
        options = f"{self.evaluations} evaluations, effort {self.effort}"
        return f"ddpmcodec with {self._model().name}, every prefix of one encode a picture, {options}"

    def settings(self) -> dict[str, Any]:
        own = {"bpp": self.bpp, "evaluations": self.evaluations, "effort": self.effort}
        return {"model": self._model().identity(), **own, "versions": versions("ddpmcodec", "torch")}

    def check(self) -> None:
        self._model()

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        """None where not even an empty file is as small as `bpp`."""
        area = pixels.shape[0] * pixels.shape[1]
        limit = min(HEADROOM * self.bpp + 8 * HEADROOM_BYTES / area, MAX_BPP)
        try:
            encoding = encode_pixels(Picture(pixels), self._model(), Rate(limit), EncodeOptions(self.evaluations, self.effort))
        except RateError:
            return
        parsed = container.parse(encoding.data)
        seconds = 0.0
        begin = time.perf_counter()
        denoiser = api.denoiser_of(parsed, self.model)
        for state in decoder.states(parsed, denoiser):
            if state.index not in encoding.prefix_psnr:  # a step that keeps x0hat begins here: the chain does not evaluate the network
                continue
            decoded = arrays.to_pixels(state.evaluate())
            seconds += time.perf_counter() - begin
            size = container.serialized_size(parsed.header, parsed.steps[: state.index])
            yield Coded(size, decoded, encoding.seconds, seconds, denoiser.precision)
            begin = time.perf_counter()  # what the caller does with the picture is not ours

"""Codecs as an evaluation sees them: a picture's files, from small to large, every one decoded. Ours; others are in `anchors.py`."""

import builtins
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ddpmcodec import api, decoder, plan, reconstruction
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import RateError
from ddpmcodec.eval.versions import versions
from ddpmcodec.format import container
from ddpmcodec.models import registry
from ddpmcodec.models.model import Model
from ddpmcodec.picture import Picture
from ddpmcodec.reconstruction import Reconstruction
from ddpmcodec.target import MAX_BPP, Rate

# Our encodes go this much beyond the highest rate, so that it lies on the curve: a share, and bytes for the rounding of small files.
HEADROOM = 1.02
HEADROOM_BYTES = 32
FILE_RATES = (0.12, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5)  # bpp, of ddpm-files
BEST = {"evaluations": 60, "effort": max(plan.NU_OF_EFFORT)}  # twice the time, half the loss to coarse steps
OURS: dict[str, dict[str, Any]] = {
    "ddpm": {},
    "ddpm-psnr": {"tune": "psnr"},
    "ddpm-best": BEST,
    "ddpm-psnr-best": {**BEST, "tune": "psnr"},
    "ddpm-files": {"rates": FILE_RATES},
    "ddpm-psnr-files": {"rates": FILE_RATES, "tune": "psnr"},
}  # what each name has other than the options chosen


@dataclass(frozen=True)
class Coded:
    """One file: its bytes, the picture it decodes to, (H, W, 3) uint8, seconds to encode and to decode it.

    Attributes:
        precision: "fp32", "bf16" or "fp16", where a network has run.
        data: the file itself, where it is one of ours that was made for its rate.
    """

    bytes: int
    pixels: np.ndarray
    encode_seconds: float
    decode_seconds: float
    precision: str | None = None
    data: builtins.bytes = b""

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
    """Ours: every prefix of one encode at `bpp`, decoded for real; or a file for each of several rates.

    Args:
        model: name or path.
        tune: as of `EncodeOptions`.
        rates: make a file for each of these, bpp, up to `bpp`, instead of taking prefixes of one.
    """

    model: str
    bpp: float
    evaluations: int = plan.DEFAULT_EVALUATIONS
    effort: int = plan.DEFAULT_EFFORT
    tune: str = "auto"
    name: str = "ddpm"
    rates: tuple[float, ...] = ()

    @property
    def progressive(self) -> bool:
        """Whether the points are prefixes, at rates of their own."""
        return not self.rates

    @property
    def _options(self) -> EncodeOptions:
        return EncodeOptions(self.evaluations, self.effort, tune=self.tune, precision="fp32")  # the same figures on every machine

    def _model(self) -> Model:
        return registry.find(self.model)

    @property
    def _shown(self) -> Reconstruction:
        """How files and prefixes are shown: as `api.decode` shows them."""
        return reconstruction.choice(self._model().levels)

    def description(self) -> str:
        options = f"{self.evaluations} evaluations, effort {self.effort}, tune {self.tune}"
        files = "a file for each rate" if self.rates else "every prefix of one encode a picture"
        shown = f"{self._shown.kind} over orientations: {self._shown.orientations}"
        return f"ddpmcodec with {self._model().name}, {files}, {options}, {shown}"

    def settings(self) -> dict[str, Any]:
        own = {"bpp": self.bpp, "evaluations": self.evaluations, "effort": self.effort, "tune": self.tune}
        own |= {"reconstruct": self._shown.kind, "orientations": self._shown.orientations}
        if self.rates:
            own["rates"] = [*self.rates]
        return {"model": self._model().identity(), **own, "versions": versions("ddpmcodec", "torch")}

    def check(self) -> None:
        """As `Codec.check`; also raise ValueError where settings are out of the range that an encode takes."""
        self._model()
        for rate in (self.bpp, *self.rates):
            Rate(rate)
        self._options  # noqa: B018 - checks its ranges

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        """Yield nothing where not even an empty file is as small as `bpp`."""
        if self.rates:
            yield from self._files(pixels)
            return
        area = pixels.shape[0] * pixels.shape[1]
        limit = min(HEADROOM * self.bpp + 8 * HEADROOM_BYTES / area, MAX_BPP)
        try:
            encoding = encode_pixels(Picture(pixels), self._model(), Rate(limit), self._options)
        except RateError:
            return
        parsed = container.parse(encoding.data)
        seconds = 0.0
        begin = time.perf_counter()
        denoiser = api.denoiser_of(parsed, self.model, precision="fp32")
        for state in decoder.states(parsed, denoiser):
            if state.index not in encoding.prefix_psnr:  # a step that keeps x0hat begins here: the chain does not evaluate the network
                continue
            decoded = reconstruction.pixels(parsed, state, self._shown)
            seconds += time.perf_counter() - begin
            size = container.serialized_size(parsed.header, parsed.steps[: state.index], parsed.shape)
            yield Coded(size, decoded, encoding.seconds, seconds, denoiser.precision)
            begin = time.perf_counter()  # what the caller does with the picture is not ours

    def _files(self, pixels: np.ndarray) -> Iterator[Coded]:
        """Yield a file for each rate that the picture can have."""
        for rate in (*(rate for rate in self.rates if rate < self.bpp), self.bpp):
            with suppress(RateError):
                encoding = encode_pixels(Picture(pixels), self._model(), Rate(rate), self._options)
                begin = time.perf_counter()
                decoded = np.asarray(api.decode(encoding.data, model=self.model, precision="fp32"))
                seconds = time.perf_counter() - begin
                yield Coded(len(encoding.data), decoded, encoding.seconds, seconds, encoding.precision, encoding.data)

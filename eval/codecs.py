"""Codecs as an evaluation sees them: a picture's files, from small to large, every one decoded.

Ours, those of Pillow and its plugins, and any command line encoder, which a TOML file describes:

    name = "avifenc"
    encode = "avifenc -q {quality} {input} {output}"    # from a PNG
    decode = "avifdec {input} {output}"                 # to a PNG
    suffix = ".avif"
    qualities = [20, 40, 60, 80]
"""

import contextlib
import importlib
import io
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from PIL import Image

from ddpmcodec import api, container, decoder, picture, plan
from ddpmcodec.encoder import encode_pixels
from ddpmcodec.errors import DdpmcodecError, EvaluationError, PictureError, RateError

# Our encodes go this much beyond the highest rate, so that it lies on the curve: a share, and bytes for the rounding of small files.
HEADROOM = 1.02
HEADROOM_BYTES = 32
BEST_EVALUATIONS = 60  # of ddpm-best: twice the time, half the schedule's loss


@dataclass(frozen=True)
class Coded:
    """One file: its bytes, the picture it decodes to, (H, W, 3) uint8, seconds to encode and to decode it."""

    bytes: int
    pixels: np.ndarray
    encode_seconds: float
    decode_seconds: float

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


def versions(*packages: str) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


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

    def _model(self):
        from ddpmcodec.models import registry

        return registry.find(self.model)

    def description(self) -> str:
        options = f"{self.evaluations} evaluations, effort {self.effort}"
        return f"ddpmcodec with {self._model().name}, every prefix of one encode a picture, {options}"

    def settings(self) -> dict[str, Any]:
        from ddpmcodec.models import arithmetic

        model = self._model()
        own = {"bpp": self.bpp, "evaluations": self.evaluations, "effort": self.effort, "precision": arithmetic.on(model, "cpu").precision}
        return {"model": {"name": model.name, "hash": model.hash.hex()}, **own, "versions": versions("ddpmcodec", "torch")}

    def check(self) -> None:
        self._model()

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        """None where not even an empty file is as small as `bpp`."""
        area = pixels.shape[0] * pixels.shape[1]
        limit = min(HEADROOM * self.bpp + 8 * HEADROOM_BYTES / area, plan.MAX_BPP)
        try:
            encoding = encode_pixels(pixels, self._model(), bpp=limit, evaluations=self.evaluations, effort=self.effort, precision="auto")
        except RateError:
            return
        parsed = container.parse(encoding.data)
        seconds = 0.0
        begin = time.perf_counter()
        for state in decoder.states(parsed, api.model_of(parsed, self.model, "cpu")):
            if state.index not in encoding.prefix_psnr:  # a step that keeps x0hat begins here: the chain does not evaluate the network
                continue
            decoded = picture.to_pixels(state.x0hat)
            seconds += time.perf_counter() - begin
            yield Coded(container.serialized_size(parsed.header, parsed.steps[: state.index]), decoded, encoding.seconds, seconds)
            begin = time.perf_counter()  # what the caller does with the picture is not ours


def _quality(quality: int) -> Mapping[str, Any]:
    return {"quality": quality}


def _layer(ratio: int) -> Mapping[str, Any]:
    """JPEG 2000's quality is the ratio that it compresses to."""
    return {"quality_layers": [ratio]}


@dataclass(frozen=True)
class Anchor:
    """A codec of Pillow, or of the plugin module that teaches Pillow its format.

    Attributes:
        format: Pillow's name of it.
        qualities: the settings that make its curve.
        options: further options of Pillow's `save`.
        setting: how a quality is said to Pillow.
    """

    name: str
    format: str
    qualities: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    setting: Callable[[int], Mapping[str, Any]] = _quality
    plugin: str | None = None
    progressive: bool = False

    def description(self) -> str:
        extra = "".join(f", {key} {value}" for key, value in self.options.items()) or ", at its defaults"
        return f"Pillow's {self.format}{extra}; quality {', '.join(map(str, self.qualities))}"

    def settings(self) -> dict[str, Any]:
        packages = ["pillow", *([] if self.plugin is None else ["pillow-jxl-plugin"])]
        return {"options": dict(self.options), "qualities": list(self.qualities), "versions": versions(*packages)}

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """The file of (H, W, 3) uint8 pixels.

        Raises:
            EvaluationError: this Pillow lacks the codec, or the codec refuses the picture.
        """
        with contextlib.suppress(ImportError):
            if self.plugin is not None:
                importlib.import_module(self.plugin)
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, self.format, **self.setting(quality), **self.options)
        except KeyError as e:
            needs = f" (it needs {self.plugin})" if self.plugin else ""
            raise EvaluationError(f"this Pillow cannot write {self.format}{needs}") from e
        except (OSError, ValueError) as e:
            raise EvaluationError(f"Pillow's {self.format} cannot encode {pixels.shape[1]} x {pixels.shape[0]} pixels: {e}") from e
        return buffer.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """The pixels of a file, (H, W, 3) uint8.

        Raises:
            EvaluationError: this Pillow lacks the codec.
        """
        try:
            return np.asarray(Image.open(io.BytesIO(data), formats=[self.format]).convert("RGB"))
        except (KeyError, OSError) as e:
            raise EvaluationError(f"this Pillow cannot read {self.format}: {e}") from e

    def check(self) -> None:
        self.decode(self.encode(np.zeros((8, 8, 3), np.uint8), self.qualities[0]))

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        for quality in self.qualities:
            times = [time.perf_counter()]
            data = self.encode(pixels, quality)
            times.append(time.perf_counter())
            decoded = self.decode(data)
            times.append(time.perf_counter())
            yield Coded(len(data), decoded, times[1] - times[0], times[2] - times[1])


_AVIF = (5, 10, 15, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95)
_WEBP = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 100)
_JXL = (5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 96)

# At their defaults, then at their best.
ANCHORS = {
    anchor.name: anchor
    for anchor in (
        Anchor("jpeg", "JPEG", (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95)),
        Anchor(
            "jpeg2000",
            "JPEG2000",
            (200, 150, 100, 70, 50, 35, 24, 17, 12, 9, 7),
            {"quality_mode": "rates"},
            _layer,
        ),
        Anchor("webp", "WEBP", _WEBP),
        Anchor("avif", "AVIF", _AVIF),
        Anchor("jxl", "JXL", _JXL, plugin="pillow_jxl"),
        Anchor("webp-best", "WEBP", _WEBP, {"method": 6}),
        Anchor("avif-best", "AVIF", _AVIF, {"subsampling": "4:4:4", "speed": 2}),
        Anchor("jxl-best", "JXL", _JXL, {"effort": 9}, plugin="pillow_jxl"),
    )
}


class CommandAnchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command line encoder and decoder; no shell is involved."""

    name: str
    encode: str
    decode: str
    suffix: str
    qualities: tuple[int | float | str, ...]
    progressive: bool = False

    def __post_init__(self):
        if not self.name.replace("-", "").replace("_", "").isalnum() or not self.qualities:
            raise ValueError("name is not of letters, digits, - and _, or qualities are missing")
        for template, fields in ((self.encode, {"input", "output", "quality"}), (self.decode, {"input", "output"})):
            try:
                template.format(**dict.fromkeys(fields, ""))
            except (KeyError, IndexError, ValueError) as e:
                raise ValueError(f"{template!r} has a field that is none of {', '.join(sorted(fields))}") from e

    def description(self) -> str:
        return f"{self.encode}; quality {', '.join(map(str, self.qualities))}"

    def settings(self) -> dict[str, Any]:
        return {"encode": self.encode, "decode": self.decode, "qualities": list(self.qualities)}

    def _run(self, template: str, **fields: Any) -> float:
        """Run a command; its seconds."""
        arguments = [part.format(**fields) for part in shlex.split(template)]
        begin = time.perf_counter()
        try:
            done = subprocess.run(arguments, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as e:
            raise EvaluationError(f"{self.name}: {arguments[0]} cannot be run: {e.strerror}") from e
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise EvaluationError(f"{self.name}: {arguments[0]} failed with exit code {done.returncode}{': ' + said[-1] if said else ''}")
        return time.perf_counter() - begin

    def check(self) -> None:
        self._code(np.zeros((64, 64, 3), np.uint8), self.qualities[0])

    def _code(self, pixels: np.ndarray, quality: int | float | str) -> Coded:
        with tempfile.TemporaryDirectory(prefix="ddpmcodec-") as directory:
            original, coded, decoded = (str(Path(directory) / name) for name in ("in.png", f"coded{self.suffix}", "out.png"))
            Image.fromarray(pixels).save(original)
            encode_seconds = self._run(self.encode, input=original, output=coded, quality=quality)
            decode_seconds = self._run(self.decode, input=coded, output=decoded)
            try:
                size, back = Path(coded).stat().st_size, picture.read(Path(decoded).read_bytes()).pixels
            except (OSError, PictureError) as e:
                raise EvaluationError(f"{self.name}: its commands have left no file, or no picture: {e}") from e
        if back.shape != pixels.shape:
            raise EvaluationError(
                f"{self.name}: decodes {back.shape[1]} x {back.shape[0]} pixels for {pixels.shape[1]} x {pixels.shape[0]}"
            )
        return Coded(size, back, encode_seconds, decode_seconds)

    def curve(self, pixels: np.ndarray) -> Iterator[Coded]:
        return (self._code(pixels, quality) for quality in self.qualities)


def command_anchor(path: str) -> CommandAnchor:
    """The codec that a TOML file describes.

    Raises:
        EvaluationError: it cannot be read, or a field is missing, unknown or wrong.
    """
    try:
        return msgspec.toml.decode(Path(path).read_bytes(), type=CommandAnchor)
    except OSError as e:
        raise EvaluationError(f"{path}: {e.strerror}") from e
    except ValueError as e:  # msgspec's errors are ValueErrors
        raise EvaluationError(f"{path}: {e}") from e


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
        if name in ANCHORS:
            codec: Codec = ANCHORS[name]
        else:
            own = msgspec.convert(settings, _DdpmSettings)
            codec = Ddpm(own.model.name, own.bpp, own.evaluations, own.effort, name)
            if codec.settings()["model"]["hash"] != own.model.hash:
                return None
        codec.check()
    except (msgspec.ValidationError, DdpmcodecError):
        return None
    return codec

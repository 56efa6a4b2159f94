"""Codecs that ours is compared with: Pillow's and its plugins', and any command line encoder, which a TOML file describes:

name = "avifenc"
encode = "avifenc -q {quality} {input} {output}"    # from a PNG
decode = "avifdec {input} {output}"                 # to a PNG
suffix = ".avif"
qualities = [20, 40, 60, 80]
version = "avifenc --version"                       # optional
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
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from ddpmcodec import picture
from ddpmcodec.errors import EvaluationError, PictureError
from ddpmcodec.eval.codecs import Coded
from ddpmcodec.eval.versions import versions


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
        _use_one_thread(self.plugin)
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
        _use_one_thread(self.plugin)
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


def _use_one_thread(plugin: str | None) -> None:
    """Import a plugin; see to it that decoders which take all processors take one. (Encoders have options for that.)"""
    with contextlib.suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if plugin is not None:
        with contextlib.suppress(ImportError):
            importlib.import_module(plugin)
            vars(importlib.import_module(f"{plugin}.JpegXLImagePlugin"))["DECODE_THREADS"] = 0


_AVIF = (5, 10, 15, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95)
_WEBP = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 100)
_JXL = (5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 96)

# On one thread, which AVIF's bytes depend on. Since Pillow 13 its AVIF is libaom with tune=iq, which is for the eye: its strongest
# setting by perceptual metrics, and not its best PSNR.
_AVIF_THREADS = {"max_threads": 1}
_JXL_THREADS = {"num_threads": 0}

# At their defaults, at their best, and by squared error.
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
        Anchor("avif", "AVIF", _AVIF, _AVIF_THREADS),
        Anchor("jxl", "JXL", _JXL, _JXL_THREADS, plugin="pillow_jxl"),
        Anchor("webp-best", "WEBP", _WEBP, {"method": 6}),
        Anchor("avif-best", "AVIF", _AVIF, {"subsampling": "4:4:4", "speed": 2, **_AVIF_THREADS}),
        Anchor("avif-psnr", "AVIF", _AVIF, {"subsampling": "4:4:4", "speed": 2, "advanced": {"tune": "psnr"}, **_AVIF_THREADS}),
        Anchor("jxl-best", "JXL", _JXL, {"effort": 9, **_JXL_THREADS}, plugin="pillow_jxl"),
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
    version: str = ""  # a command that prints it

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
        own = {"encode": self.encode, "decode": self.decode, "qualities": list(self.qualities)}
        return own | ({"version": self._printed(self.version)} if self.version else {})

    def _printed(self, command: str) -> str:
        """The first line of what a command prints."""
        arguments = shlex.split(command)
        try:
            done = subprocess.run(arguments, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as e:
            raise EvaluationError(f"{self.name}: {arguments[0]} cannot be run: {e.strerror}") from e
        return (done.stdout or done.stderr).decode(errors="replace").strip().partition("\n")[0]

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


# JPEG XL by its own programs.
CJXL = CommandAnchor(
    "cjxl",
    "cjxl {input} {output} -q {quality} -e 7 --num_threads 0",
    "djxl {input} {output} --num_threads 0",
    ".jxl",
    _JXL,
    version="cjxl --version",
)


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

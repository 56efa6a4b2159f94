"""Lossless sizes, beside codecs made for it at their strongest settings. Every file is decoded and compared."""

import importlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec import container, decoder
from ddpmcodec.encoder import encode_pixels
from ddpmcodec.errors import EvaluationError
from ddpmcodec.models.checkpoint import Model


@dataclass(frozen=True)
class LosslessAnchor:
    """A lossless codec of Pillow, or of the plugin module that teaches Pillow its format."""

    format: str
    options: Mapping[str, Any] = field(default_factory=dict)
    plugin: str | None = None

    def encode(self, pixels: np.ndarray) -> bytes:
        """The file of (H, W, 3) uint8 pixels.

        Raises:
            EvaluationError: the codec is missing here, or what it decodes is another picture.
        """
        with suppress(ImportError):
            if self.plugin is not None:
                importlib.import_module(self.plugin)
        buffer = io.BytesIO()
        try:
            Image.fromarray(pixels).save(buffer, self.format, **self.options)
            decoded = np.asarray(Image.open(buffer).convert("RGB"))
        except (KeyError, OSError, ValueError) as e:
            needs = f" (it needs {self.plugin})" if self.plugin else ""
            raise EvaluationError(f"this Pillow cannot write {self.format}{needs}") from e
        if not np.array_equal(decoded, pixels):
            raise EvaluationError(f"{self.format} has not kept the picture")
        return buffer.getvalue()


LOSSLESS_ANCHORS = {
    "png": LosslessAnchor("PNG", {"optimize": True}),
    "webp": LosslessAnchor("WEBP", {"lossless": True, "quality": 100, "method": 6}),
    "jxl": LosslessAnchor("JXL", {"lossless": True, "effort": 9}, plugin="pillow_jxl"),
}


def ddpm_bytes(pixels: np.ndarray, model: Model, evaluations: int, effort: int) -> int:
    """Bytes of our file, which is decoded and compared.

    Raises:
        EvaluationError: it is not the picture that was encoded.
    """
    data = encode_pixels(pixels, model, lossless=True, evaluations=evaluations, effort=effort).data
    parsed = container.parse(data)
    if not np.array_equal(decoder.pixels(parsed, decoder.last_state(parsed, model, lambda done, total: None)), pixels):
        raise EvaluationError("our lossless file has not kept the picture")
    return len(data)


def evaluate(
    pictures: Iterable[tuple[str, np.ndarray]], model: Model, evaluations: int, effort: int, note: Callable[[str], None] = lambda text: None
) -> Iterator[dict[str, Any]]:
    """For each picture its name, and bits per pixel by codec; None, and a note, for a codec that is missing here."""
    for name, pixels in pictures:
        row: dict[str, Any] = {"picture": name, "ddpm": ddpm_bytes(pixels, model, evaluations, effort)}
        for codec, anchor in LOSSLESS_ANCHORS.items():
            try:
                row[codec] = len(anchor.encode(pixels))
            except EvaluationError as e:
                note(f"{name}: {codec} left out: {e}")
                row[codec] = None
        area = pixels.shape[0] * pixels.shape[1]
        yield {k: 8 * v / area if isinstance(v, int) else v for k, v in row.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Bits per pixel of each picture, and their mean, as a Markdown table."""
    codecs = ["ddpm", *LOSSLESS_ANCHORS]
    mean = {c: None if any(row[c] is None for row in rows) else sum(row[c] for row in rows) / len(rows) for c in codecs}
    lines = [f"| lossless, bpp | {' | '.join(codecs)} |", "|---|" + "---:|" * len(codecs)]
    for name, row in [*((row["picture"], row) for row in rows), (f"mean of {len(rows)}", mean)]:
        lines.append(f"| {name} | {' | '.join('-' if row[c] is None else f'{row[c]:.2f}' for c in codecs)} |")
    return "\n".join(lines)

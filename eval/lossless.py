"""Lossless sizes, beside codecs made for it at their strongest settings. Every file is decoded and compared."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddpmcodec import arrays, decoder, picture
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import DdpmcodecError, EvaluationError
from ddpmcodec.eval import pictures as sets
from ddpmcodec.eval.anchors import Anchor
from ddpmcodec.eval.progress import Counter
from ddpmcodec.format import container
from ddpmcodec.models import arithmetic
from ddpmcodec.models.bound import discretized_log_likelihood
from ddpmcodec.models.model import Model
from ddpmcodec.models.process import bits_of_nats
from ddpmcodec.picture import Picture
from ddpmcodec.progress import Note, Progress, silent
from ddpmcodec.target import Lossless


def _nothing(quality: int) -> Mapping[str, Any]:
    """A lossless codec has no quality."""
    return {}


LOSSLESS_ANCHORS = {
    anchor.name: anchor
    for anchor in (
        Anchor("png", "PNG", (0,), {"optimize": True}, _nothing),
        Anchor("webp", "WEBP", (0,), {"lossless": True, "quality": 100, "method": 6}, _nothing),
        Anchor("jxl", "JXL", (0,), {"lossless": True, "effort": 9}, _nothing, plugin="pillow_jxl"),
    )
}


def anchor_bytes(anchor: Anchor, pixels: np.ndarray) -> int:
    """Count the bytes of an anchor's file, which is decoded and compared.

    Raises:
        EvaluationError: the codec is missing here, or what it decodes is another picture.
    """
    data = anchor.encode(pixels, anchor.qualities[0])
    if not np.array_equal(anchor.decode(data), pixels):
        raise EvaluationError(f"{anchor.format} has not kept the picture")
    return len(data)


def ddpm_bytes(pixels: np.ndarray, model: Model, evaluations: int, effort: int) -> int:
    """Count the bytes of our file, which is decoded and compared.

    Raises:
        EvaluationError: it is not the picture that was encoded.
    """
    data = encode_pixels(Picture(pixels), model, Lossless(), EncodeOptions(evaluations=evaluations, effort=effort)).data
    parsed = container.parse(data)
    if not np.array_equal(decoder.pixels(parsed, decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32"))), pixels):
        raise EvaluationError("our lossless file has not kept the picture")
    return len(data)


def evaluate(
    pictures: Iterable[tuple[str, np.ndarray]], model: Model, evaluations: int, effort: int, note: Note = silent
) -> Iterator[dict[str, Any]]:
    """Yield each picture's name and its bits per pixel by codec; None, and a note, for a codec that is missing here."""
    for name, pixels in pictures:
        row: dict[str, Any] = {"picture": name, "ddpm": ddpm_bytes(pixels, model, evaluations, effort)}
        for codec, anchor in LOSSLESS_ANCHORS.items():
            try:
                row[codec] = anchor_bytes(anchor, pixels)
            except EvaluationError as e:
                note(f"{name}: {codec} left out: {e}")
                row[codec] = None
        area = pixels.shape[0] * pixels.shape[1]
        yield {k: 8 * v / area if isinstance(v, int) else v for k, v in row.items()}


def _setting(model: Model, evaluations: int, effort: int) -> dict[str, Any]:
    """Return what results of ours depend on."""
    return {"model": model.identity(), "evaluations": evaluations, "effort": effort}


def measure(
    paths: Sequence[Path],
    model: Model,
    evaluations: int,
    effort: int,
    skipped: Callable[[Path, DdpmcodecError], None] = silent,
    note: Note = silent,
    progress: Progress = silent,
    page: int | None = None,
) -> dict[str, Any]:
    """Measure pictures in files: a document with `evaluate`'s rows as "pictures"; `skipped` and `page` as of `pictures.load`.

    Raises:
        EvaluationError: a file of ours has not kept its picture.
    """
    advance = Counter(progress, len(paths))
    rows = []
    for row in evaluate(sets.load(paths, skipped, page), model, evaluations, effort, note):
        rows.append(row)
        advance()
    return {"unit": "bits per pixel", **_setting(model, evaluations, effort), "pictures": rows}


def together(
    pictures: Sequence[tuple[str, np.ndarray]],
    model: Model,
    evaluations: int,
    effort: int,
    note: Note = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Code pictures of one size as one file, and one by one, beside the bound that those files have: a document, in bits per dimension.

    The bound is the sum over the file's own steps of KL(q || p), p with the codec's variance, and L_0 of equation 13 with x0hat as the
    mean and the one variance that is best for all. An anchor has the pictures one by one too, and one above the other as one picture.

    Args:
        progress: told of the pictures encoded, each of them twice.

    Raises:
        PictureError: their sizes differ.
        EvaluationError: a file has not kept its pictures.
    """
    each = [pixels for _, pixels in pictures]
    advance = Counter(progress, 2 * len(each))
    stacked = picture.stack([picture.Picture(pixels) for pixels in each]).pixels
    encoding = encode_pixels(Picture(stacked, count=len(each)), model, Lossless(), EncodeOptions(evaluations=evaluations, effort=effort))
    parsed = container.parse(encoding.data)
    state = decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32"))
    if not np.array_equal(decoder.pixels(parsed, state), stacked):
        raise EvaluationError("our lossless file has not kept the pictures")
    advance(len(each))
    alone = 0
    for pixels in each:
        alone += ddpm_bytes(pixels, model, evaluations, effort)
        advance()
    bits = 8 / stacked.size
    rate, distortion = (
        encoding.kl_bits / stacked.size,
        _distortion(*map(torch.from_numpy, (arrays.from_pixels(stacked, len(each)), state.evaluate()))),
    )
    result: dict[str, Any] = {
        "pictures": len(each),
        "rate": rate,
        "distortion_L_0": distortion,
        "bound": rate + distortion,
        "ddpm": {"together": len(encoding.data) * bits, "alone": alone * bits},
    }
    for codec, anchor in LOSSLESS_ANCHORS.items():
        try:
            sizes = {"together": anchor_bytes(anchor, stacked), "alone": sum(anchor_bytes(anchor, pixels) for pixels in each)}
        except EvaluationError as e:
            note(f"{codec} left out: {e}")
        else:
            result[codec] = {k: v * bits for k, v in sizes.items()}
    return result | _setting(model, evaluations, effort)


def _distortion(x_0: torch.Tensor, x0hat: torch.Tensor) -> float:
    """Return L_0 in bits per dimension, with the one variance that is best for all."""
    variances = float((x0hat - x_0).square().mean()) * np.geomspace(0.25, 4, 81)
    return bits_of_nats(min(-float(discretized_log_likelihood(x_0, x0hat, np.log(v)).mean()) for v in variances))


def together_table(result: Mapping[str, Any]) -> str:
    """Format `together` as a Markdown table."""
    codecs = [codec for codec in ("ddpm", *LOSSLESS_ANCHORS) if codec in result]
    lines = [f"| bits per dimension, {result['pictures']} pictures | {' | '.join(codecs)} |", "|---|" + "---:|" * len(codecs)]
    for name in ("together", "alone"):
        lines.append(f"| coded {name} | {' | '.join(f'{result[codec][name]:.3f}' for codec in codecs)} |")
    ratio = result["ddpm"]["together"] / result["bound"]
    bound = f"bound {result['bound']:.3f} = rate {result['rate']:.3f} + distortion {result['distortion_L_0']:.3f}"
    return "\n".join([*lines, "", f"{bound}; our file of all / bound: {ratio:.3f}"])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the bits per pixel of each picture, and their mean, as a Markdown table."""
    codecs = ["ddpm", *LOSSLESS_ANCHORS]
    mean = {c: None if any(row[c] is None for row in rows) else sum(row[c] for row in rows) / len(rows) for c in codecs}
    lines = [f"| lossless, bpp | {' | '.join(codecs)} |", "|---|" + "---:|" * len(codecs)]
    for name, row in [*((row["picture"], row) for row in rows), (f"mean of {len(rows)}", mean)]:
        lines.append(f"| {name} | {' | '.join('-' if row[c] is None else f'{row[c]:.2f}' for c in codecs)} |")
    return "\n".join(lines)

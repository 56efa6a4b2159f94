"""The public functions: encode, decode, decode_progressive, info, truncate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ddpmcodec import container as _container
from ddpmcodec.container import Container
from ddpmcodec.errors import RateError
from ddpmcodec.models.levels import DiscreteLevels, sigma

if TYPE_CHECKING:  # torch and Pillow are imported by the functions that need them: describing a file needs neither
    import numpy as np
    from PIL import Image

    from ddpmcodec.models.checkpoint import Model

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    pass


def encode(image: Image.Image | np.ndarray, *, model: str | None = None, max_pixels: int | None = None, **options: Any) -> bytes:
    """Encode a picture.

    Args:
        image: a PIL image, or a uint8 array (H, W, 3).
        model: name or path of the denoiser; default the bundled one.
        max_pixels: refuse larger pictures (default `ddpmcodec.picture.MAX_PIXELS`).
        options: `bpp`, `evaluations`, `effort`, `seed`, `progress` of `ddpmcodec.encoder.encode_pixels`.

    Returns:
        The bytes of a .ddpm file, at most `bpp` times the picture's pixels / 8 of them.

    Raises:
        PictureError, LimitError, ModelError, RateError: see `ddpmcodec.errors`.
    """
    from ddpmcodec import picture
    from ddpmcodec.encoder import encode_pixels
    from ddpmcodec.models import registry

    pixels = picture.load(image, picture.MAX_PIXELS if max_pixels is None else max_pixels)
    return encode_pixels(pixels, registry.find(model or registry.DEFAULT), **options).data


def open_file(data: bytes, steps: int | None = None, max_pixels: int | None = None) -> Container:
    """Parse a whole or cut file for decoding, down to its first `steps` steps."""
    from ddpmcodec import picture

    parsed = _container.parse(data, picture.MAX_PIXELS if max_pixels is None else max_pixels)
    return parsed.first(len(parsed.messages) if steps is None else steps)


def model_of(parsed: Container, model: str | None = None) -> Model:
    """The denoiser that a file needs, looked for under its own name or taken from the name or path `model`.

    Raises:
        ModelError: it is not there, or `model` is another one.
    """
    from ddpmcodec.errors import ModelError
    from ddpmcodec.models import registry

    header = parsed.header
    if model is None:
        return registry.find_hash(header.model_name, header.model_hash)
    found = registry.find(model)
    if found.hash != header.model_hash:
        raise ModelError(f"the file needs model {header.model_name!r} {header.model_hash.hex()}, {model} is {found.hash.hex()}")
    return found


def decode(
    data: bytes,
    steps: int | None = None,
    *,
    model: str | None = None,
    reconstruct: str = "mean",
    seed: int = 0,
    max_pixels: int | None = None,
    progress: Progress = _silent,
) -> Image.Image:
    """Decode a file, or any prefix of one, from its last whole step.

    Args:
        steps: use only the first so many steps.
        model: name or path of the denoiser, where it is not found by the file's own name.
        reconstruct: "mean", x0hat, has the best PSNR; "sample" draws the rest of the chain (Algorithm 4).
        seed: of the noise of "sample".
        progress: called with the network evaluations done and in all.

    Raises:
        FormatError and its kinds, ModelError, LimitError: see `ddpmcodec.errors`.
    """
    from ddpmcodec import decoder, picture

    if reconstruct not in ("mean", "sample"):
        raise ValueError(f"reconstruct is 'mean' or 'sample', not {reconstruct!r}")
    parsed = open_file(data, steps, max_pixels)
    state = decoder.last_state(parsed, model_of(parsed, model), progress)
    x_0 = state.x0hat if reconstruct == "mean" else decoder.sample(state, seed, progress)
    return picture.to_image(x_0, parsed.header.orientation)


def decode_progressive(
    data: bytes, *, model: str | None = None, steps: int | None = None, max_pixels: int | None = None
) -> Iterator[tuple[int, Image.Image]]:
    """Every picture on the way: (step, picture) after 0, 1, ... whole steps. Arguments and errors as `decode`."""
    from ddpmcodec import decoder, picture

    parsed = open_file(data, steps, max_pixels)
    for state in decoder.states(parsed, model_of(parsed, model)):
        yield state.index, picture.to_image(state.x0hat, parsed.header.orientation)


def info(data: bytes) -> dict[str, Any]:
    """What a file, whole or cut, says about itself; every checksum is verified. JSON-serializable; imports no torch.

    Raises:
        FormatError and its kinds, see `ddpmcodec.errors`.
    """
    parsed = _container.parse(data)
    header = parsed.header
    discrete = isinstance(header.levels, DiscreteLevels)
    steps = []
    for i, (step, end) in enumerate(zip(parsed.steps, parsed.ends, strict=True)):
        entry: dict[str, Any] = {"step": i + 1}
        if discrete:
            entry["timestep"] = step.level
        entry |= {
            "level": step.level,
            "sigma": round(sigma(header.levels, step.level), 4),
            "bits": step.n,
            "nu": step.nu,
            "evaluate": step.evaluate,
            "end": end,
            "bpp": round(8 * end / header.pixels, 6),
            "present": i < len(parsed.messages),
        }
        steps.append(entry)
    return {
        "format_version": _container.VERSION,
        "bytes": len(data),
        "bpp": round(8 * len(data) / header.pixels, 6),
        "complete": parsed.complete,
        "width": header.width,
        "height": header.height,
        "mode": "RGB",
        "orientation": header.orientation,
        "model": header.model_name,
        "model_hash": header.model_hash.hex(),
        "levels": {"kind": header.levels.kind, "start": header.start, "start_sigma": round(sigma(header.levels, header.start), 2)},
        "seed": header.seed,
        "whole_steps": len(parsed.messages),
        "sections": [vars(section) for section in parsed.sections],
        "steps": steps,
    }


def truncate(data: bytes, *, steps: int | None = None, max_bytes: int | None = None, bpp: float | None = None) -> bytes:
    """A whole file of the longest prefix of steps that meets all limits given. No network.

    Raises:
        RateError: not even a file without steps is small enough.
        FormatError and its kinds, see `ddpmcodec.errors`.
    """
    parsed = _container.parse(data)
    limits = [max_bytes, None if bpp is None else int(bpp * parsed.header.pixels / 8)]
    limit = min((n for n in limits if n is not None), default=math.inf)
    count = len(parsed.messages) if steps is None else min(steps, len(parsed.messages))
    while (size := _container.serialized_size(parsed.header, parsed.steps[:count])) > limit:
        if count == 0:
            raise RateError(f"the smallest file of this picture has {size} bytes, more than {limit}")
        count -= 1
    return _container.serialize(parsed.first(count))

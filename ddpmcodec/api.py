"""The public functions: encode, encode_image, decode, decode_pictures, decode_progressive, info, truncate."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ddpmcodec import arguments
from ddpmcodec.arguments import content
from ddpmcodec.description import describe
from ddpmcodec.errors import CorruptFileError, LimitError, ModelError, PictureError, RateError
from ddpmcodec.format import container as _container
from ddpmcodec.format.container import Container
from ddpmcodec.format.metadata import NONE
from ddpmcodec.progress import Note, Progress, silent
from ddpmcodec.speed import NORMAL, choose
from ddpmcodec.target import MAX_BPP

if TYPE_CHECKING:  # torch and Pillow are imported by the functions that need them: describing a file needs neither
    import numpy as np
    from PIL import Image

    from ddpmcodec.denoiser import Denoiser
    from ddpmcodec.encoder import EncodeOptions, Encoding, Watch
    from ddpmcodec.models.model import Model
    from ddpmcodec.picture import Picture
    from ddpmcodec.target import Target

    ModelName = str | Path | Model
    Source = Image.Image | np.ndarray

MAX_WORK = 1000  # steps of the largest picture allowed, with or without an evaluation of the network; smaller ones may have more


def encode(
    image: Source | Sequence[Source],
    *,
    quality: float | None = None,
    bpp: float | None = None,
    max_bytes: int | None = None,
    psnr: float | None = None,
    lossless: bool = False,
    speed: str = NORMAL,
    evaluations: int | None = None,
    effort: int | None = None,
    seed: int = 0,
    tune: str = "auto",
    roi: Any = None,
    roi_gain: float | None = None,
    model: ModelName | None = None,
    levels: Sequence[int] | None = None,
    page: int | None = None,
    strip: bool = False,
    max_pixels: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    progress: Progress = silent,
) -> bytes:
    """Encode a picture, or several of one size together, which costs fewer bytes than one by one where they are small.

    At most one of `quality`, `bpp`, `max_bytes`, `psnr`, `lossless` and `levels` says where to end; `levels` may go with `lossless`.

    Args:
        image: a PIL image or a uint8 array, (H, W, 3), (H, W, 4) with alpha or (H, W), or a sequence of them. Alpha is coded losslessly,
            and the colour where it is 0 not at all. Colour profile, EXIF and XMP of an image's `info` are carried.
        page: the number, from 1 on, of the page or frame to code of a PIL image that has several; default its current one.
        strip: leave colour profile, EXIF and XMP out.
        model: the denoiser, or its name or path; default the bundled one.
        max_pixels: refuse pictures of more pixels in all (default `ddpmcodec.picture.MAX_PIXELS`).
        device: "cpu"; "vulkan", the best GPU that ncnn lists, or "vulkan:N", any of the devices listed; "cuda", "mps" or "xpu", torch's; or
            "auto": cuda where there is one, else a GPU with Vulkan for photo models and pictures of 65,536 pixels or more, but not lossless
            ones.
        precision: of the network, "fp32", "bf16", "fp16" for Vulkan, or "auto": bf16 where it is fast and does not show, else fp32. A
            decoder may choose another. Lossless files are fp32, and so are models of the paper's kind.
        backend: "ncnn" or "torch", the library that the network runs on. "auto" is ncnn for photo models on the CPU, unless bf16 runs, and
            on Vulkan.
        quality: in [0, 100]: the noise that the last step ends at, from 100 of 255 at 0 over 10 at 50 to 1 at 100, in equal ratios.
        bpp: bits per pixel in (0, 24], never exceeded. Default: 1 beside alpha and metadata, or 512 bytes where that is more.
        max_bytes: size of the file in bytes, never exceeded. Where this, or `bpp`, has room for the lossless file, it is lossless; so
            it is where that takes no more bytes than a `quality` or a `psnr`.
        psnr: PSNR of the decoded picture in dB: reached, and exceeded by 0.3 dB at most in files of more than 1 kB, below 54 dB; where
            it is out of reach, with 24 bits per pixel or where noise of 0.5 of 255 is left, the best there is.
        lossless: code the picture to the last bit; a prefix of the file is still a lossy file.
        speed: "fast", "normal" or "best": evaluations and effort, where they are not given (`ddpmcodec.speed`).
        evaluations: network evaluations that decoding takes, at least 2: more are slower and smaller. Where a quality, a PSNR or a
            lossless file takes steps that are too long otherwise, there are more.
        effort: 1 ... 5, the channel coder's search: less is faster and larger.
        seed: of the shared randomness, in [0, 2^63).
        tune: what the file is best for: "perception" gives noise to the frequencies and colours where it is seen least, "psnr" the same to
            all. Default: perception; psnr for lossless files, which have no other, and with models of the paper's kind.
        roi: regions that get finer noise than the rest: boxes (x, y, width, height) of the picture as it is displayed, or a mask, a gray
            image or uint8 array of any size, white finest. A `quality` is that of the finest part.
        roi_gain: dB by which the finest part is finer than the coarsest, .75 to 36; default 6.
        levels: noise levels (of a model of the paper's kind: timesteps) to visit after the first, instead of an end.
        progress: called with the network evaluations done and in all.

    Returns:
        The bytes of a .ddpm file.

    Raises:
        PictureError, LimitError, ModelError, RateError: see `ddpmcodec.errors`.
        ConflictError: several ends are given (`ddpmcodec.target`), or a lossless file is to be shaped.
        ValueError: an option is out of its range.
    """
    from ddpmcodec import target
    from ddpmcodec.encoder import EncodeOptions
    from ddpmcodec.picture import MAX_PIXELS
    from ddpmcodec.roi import load as load_roi

    end = target.choose(quality=quality, bpp=bpp, max_bytes=max_bytes, psnr=psnr, lossless=lossless, levels=levels)
    if roi is None and roi_gain is not None:
        raise ValueError("roi_gain is of a roi, and there is none")
    regions = None if roi is None else load_roi(roi, roi_gain, MAX_PIXELS if max_pixels is None else max_pixels)
    options = EncodeOptions(*choose(speed, evaluations, effort), seed, tune, regions, device, precision, backend)
    return encode_image(image, end, options, model=model, page=page, strip=strip, max_pixels=max_pixels, progress=progress).data


def encode_image(
    image: Source | Picture | Sequence[Source],
    target: Target | None = None,
    options: EncodeOptions | None = None,
    note: Note = silent,
    *,
    model: ModelName | None = None,
    page: int | None = None,
    strip: bool = False,
    max_pixels: int | None = None,
    progress: Progress = silent,
    watch: Watch = silent,
) -> Encoding:
    """Encode as `encode` does, and return measurements beside the bytes: the decoded picture, PSNR, KL and seconds.

    Args:
        image: as `encode` takes it, or a `ddpmcodec.picture.Picture`.
        target: where to end (`ddpmcodec.target`); default about 1 bit per pixel.
        options: evaluations, effort, seed, tune, regions, device, precision and backend; default those of `encode`.
        note: called with each sentence that the user should read: what the file will not have, and what could not be reached.
        model, page, strip, max_pixels, progress: as `encode`; a `Picture` has no pages.
        watch: called with the number of steps so far, the original and the decoded picture, (P H, W, 3) uint8, at each evaluation.

    Raises:
        PictureError, LimitError, ModelError, RateError: see `ddpmcodec.errors`.
    """
    from ddpmcodec import large, picture, room
    from ddpmcodec.encoder import EncodeOptions, encode_pixels
    from ddpmcodec.models import registry
    from ddpmcodec.target import Psnr, Score, Target

    target, options = Target() if target is None else target, EncodeOptions() if options is None else options
    if not isinstance(target, Target) or not isinstance(options, EncodeOptions):
        raise TypeError(
            f"target and options are of ddpmcodec.target and EncodeOptions, not {type(target).__name__}, {type(options).__name__}"
        )
    limit = picture.MAX_PIXELS if max_pixels is None else _limit(max_pixels)
    if isinstance(image, picture.Picture):
        if page is not None:
            raise ValueError(f"page = {page} is of an image, and this is a picture already")
        source = image
    else:
        images: list[Any] = list(image) if isinstance(image, list | tuple) else [image]
        source = picture.stack([picture.load(each, limit, note, page) for each in images], limit, silent if strip else note)
    if strip:
        source = replace(source, metadata=NONE)
    found = registry.resolve(model)
    large.announce_encoding(note, source, found, target, options)

    def encode_to(end: Target, chosen: EncodeOptions) -> Encoding:
        return encode_pixels(source, found, end, chosen, progress)

    lossy = encode_pixels(source, found, target, options, progress, watch)
    if options.roi is not None and not lossy.has_map:
        note("the regions of interest make no difference: the cells of the map do not tell them from the rest")
    encoding = room.exact_or_as_is(lossy, source, target, options, encode_to, note)
    if isinstance(target, Psnr) and encoding.psnr < target.psnr:
        note(f"{target.psnr:g} dB is out of reach, by {math.ceil(100 * (target.psnr - encoding.psnr)) / 100:.2f} dB")
    if isinstance(target, Score) and encoding.score is not None and encoding.score < target.score:
        note(f"{target.name} {target.score:g} is out of reach: the best there is has {encoding.score:.3f}")
    return encoding


def _count(name: str, value: int | None) -> int | None:
    """Return a number of something, or None; ValueError where it is negative, TypeError where it is no integer."""
    if value is not None and (value := arguments.integer(name, value)) < 0:
        raise ValueError(f"{name} = {value} is negative")
    return value


def _limit(max_pixels: int) -> int:
    """Return a limit of pixels; ValueError where it is none, TypeError where it is no number."""
    if not arguments.number("max_pixels", max_pixels) >= 1:
        raise ValueError(f"max_pixels = {max_pixels} is no limit")
    return max_pixels


def open_file(data: bytes, steps: int | None = None, max_pixels: int | None = None) -> Container:
    """Parse a whole or cut file for decoding, no further than its first `steps` steps.

    Raises:
        FormatError and its kinds: see `ddpmcodec.errors`.
        LimitError: there are more than `max_pixels` pixels, or more than `MAX_WORK` steps of so many.
        ValueError: `steps` is negative.
    """
    from ddpmcodec import picture

    steps = _count("steps", steps)
    max_pixels = picture.MAX_PIXELS if max_pixels is None else _limit(max_pixels)
    parsed = _container.parse(content(data), max_pixels)
    if steps is not None:
        parsed = replace(parsed, messages=parsed.messages[:steps], tail=None)
    whole, pixels = len(parsed.messages), parsed.header.network_pixels
    if (whole + 1) * pixels > (MAX_WORK + 1) * max_pixels:
        raise LimitError(f"{whole} steps of {pixels} pixels, as the network sees them, are over the limit: take fewer", parameter="steps")
    return parsed


def denoiser_of(
    parsed: Container, model: ModelName | None = None, device: str = "auto", precision: str = "auto", backend: str = "auto"
) -> Denoiser:
    """Return the denoiser that a file needs, ready to run: the one that the file names, or the one given.

    Args:
        model: the denoiser, or its name or path.
        device, precision, backend: as `decode`.

    Raises:
        ModelError: it is not there, or `model` is another one; or there is no such device or library.
        CorruptFileError: the file's noise levels are not the model's.
    """
    from ddpmcodec import precision as policy
    from ddpmcodec.models import arithmetic, registry

    header = parsed.header
    found = registry.find_hash(header.model_name, header.model_hash) if model is None else registry.resolve(model)
    if found.hash != header.model_hash:
        raise ModelError(f"the file needs model {header.model_name!r} {header.model_hash.hex()}, {model} is {found.hash.hex()}")
    if found.levels != header.levels:
        raise CorruptFileError("the file's noise levels are not those of its model")
    wanted, vulkan = policy.for_decoding(parsed, precision), policy.allows_vulkan(header, parsed.tail is not None)
    return arithmetic.denoiser(found, device, wanted, backend=backend, bfloat16_from=policy.BFLOAT16_FROM, vulkan=vulkan)


def decode(data: bytes, steps: int | None = None, *, max_pixels: int | None = None, **options: Unpack[DecodeOptions]) -> Image.Image:
    """Decode a file of one picture, or any prefix of one, to its last whole step. Arguments and errors are those of `decode_pictures`.

    Raises:
        PictureError: the file holds several pictures.
    """
    parsed = open_file(data, steps, max_pixels)
    if (pictures := parsed.header.pictures) > 1:
        raise PictureError(f"the file holds {pictures} pictures: decode_pictures returns them all")
    [image] = _decoded(parsed, **options)
    return image


def decode_pictures(
    data: bytes,
    steps: int | None = None,
    *,
    model: ModelName | None = None,
    reconstruct: str = "auto",
    orientations: int | None = None,
    seed: int = 0,
    max_pixels: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    progress: Progress = silent,
) -> list[Image.Image]:
    """Decode all pictures of a file, or of any prefix of one, to its last whole step.

    Args:
        steps: use only the first so many steps, and not the tail of a lossless file.
        model: the denoiser, or its name or path, where it is not found by the file's own name.
        reconstruct: "mean" is x0hat; "flow" looks sharper, by a share of what the probability flow adds to it (3 evaluations more);
            "sample" draws the rest of the chain (Algorithm 4); "auto" is "flow", and "mean" with models of discrete timesteps. A lossless
            file that is whole shows its exact picture, but for "sample".
        orientations: 1, 2, 4 or 8: x0hat is the mean over so many turned and mirrored pictures, which errs less. By default 2, and 1 with
            models of discrete timesteps.
        seed: of the noise of "sample", in [0, 2^64).
        max_pixels: refuse pictures of more pixels in all (default `ddpmcodec.picture.MAX_PIXELS`).
        device, precision, backend: as `encode`. With precision "auto" a file that ends at very little noise is decoded in fp32; a lossless
            one always is.
        progress: called with the network evaluations done and in all.

    Raises:
        FormatError and its kinds, ModelError, LimitError, DriftError: see `ddpmcodec.errors`.
        ValueError: an option is out of its range.
    """
    parsed = open_file(data, steps, max_pixels)
    return _decoded(parsed, model, reconstruct, orientations, seed, device, precision, backend, progress)


class DecodeOptions(TypedDict, total=False):
    """Keywords of `decode` and `decode_pictures`, which document them."""

    model: ModelName | None
    reconstruct: str
    orientations: int | None
    seed: int
    device: str
    precision: str
    backend: str
    progress: Progress


def _decoded(
    parsed: Container,
    model: ModelName | None = None,
    reconstruct: str = "auto",
    orientations: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    progress: Progress = silent,
) -> list[Image.Image]:
    """Return the pictures of a parsed file."""
    from ddpmcodec import picture, reconstruction

    shown = reconstruction.choice(parsed.header.levels, reconstruct, orientations, seed)
    pixels = reconstruction.decoded(parsed, denoiser_of(parsed, model, device, precision, backend), shown, progress)
    return picture.to_images(pixels, parsed)


def decode_progressive(
    data: bytes,
    *,
    model: ModelName | None = None,
    steps: int | None = None,
    max_pixels: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    backend: str = "auto",
) -> Iterator[tuple[int, Image.Image]]:
    """Yield every picture on the way, x0hat after 0, 1, ... whole steps, as (step, picture); the first where a file holds several.

    Arguments and errors are those of `decode_pictures`.
    """
    from ddpmcodec import decoder, picture

    parsed = open_file(data, steps, max_pixels)
    for state in decoder.states(parsed, denoiser_of(parsed, model, device, precision, backend)):
        yield state.index, picture.to_images(decoder.pixels(parsed, state), parsed)[0]


def info(data: bytes) -> dict[str, Any]:
    """Describe a file, whole or cut, and verify every checksum. The result is JSON-serializable; torch is not imported.

    Raises:
        FormatError and its kinds: see `ddpmcodec.errors`.
    """
    data = content(data)
    return describe(_container.parse(data), len(data))


def truncate(
    data: bytes, *, steps: int | None = None, max_bytes: int | None = None, bpp: float | None = None, strip: bool = False
) -> bytes:
    """Return a whole file of the longest prefix of steps that meets all limits given; the network does not run.

    Args:
        steps, max_bytes, bpp: the most steps, bytes, and bits per pixel of the file.
        strip: leave colour profile, EXIF and XMP out.

    Raises:
        RateError: not even a file without steps is small enough.
        FormatError and its kinds: see `ddpmcodec.errors`.
        ValueError: a limit is out of its range.
    """
    steps, data = _count("steps", steps), content(data)
    if bpp is not None and not 0 < arguments.number("bpp", bpp) < math.inf:
        raise ValueError(f"bpp = {bpp} is out of range: it is no positive number")
    if max_bytes is not None and not arguments.number("max_bytes", max_bytes) >= 0:
        raise ValueError(f"max_bytes = {max_bytes} is out of range: it is no number of bytes")
    parsed = _container.parse(data)
    limits = [max_bytes, None if bpp is None else min(bpp, MAX_BPP) * parsed.header.pixels / 8]
    limit = min((n for n in limits if n is not None), default=math.inf)
    count = len(parsed.messages) if steps is None else min(steps, len(parsed.messages))

    if strip:
        parsed = replace(parsed, metadata=NONE)
    if parsed.complete and steps is None and len(whole := _container.serialize(parsed) if strip else data) <= limit:
        return whole
    extra = _container.extra_size(parsed.alpha, parsed.metadata)

    def size_of(count: int) -> int:
        return _container.serialized_size(parsed.header, parsed.steps[:count], parsed.shape) + extra

    # Sizes grow with the count but for the word that the table's coder may save.
    count = bisect_right(range(count), limit, key=lambda k: size_of(k + 1))
    while (size := size_of(count)) > limit:
        if count == 0:
            raise RateError(f"the smallest file of this picture has {size} bytes, more than {limit}")
        count -= 1
    return _container.serialize(parsed.first(count))

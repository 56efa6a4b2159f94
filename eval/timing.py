"""Seconds and memory of encoding and decoding a picture, each in a process of its own so that its peak of memory is its own."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from ddpmcodec import api, decoder, workers
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.format import container
from ddpmcodec.models import registry
from ddpmcodec.picture import Picture
from ddpmcodec.target import Rate


def _peak_bytes() -> int:
    """Of this process's resident memory, since it began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _timed(run: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - begin)
    return seconds, result


def _encode(pixels: np.ndarray, model: str, bpp: float, options: EncodeOptions, repeats: int) -> dict[str, Any]:
    denoiser = registry.find(model)
    first = Picture(np.zeros((16, 16, 3), np.uint8))
    encode_pixels(first, denoiser, Rate(8), replace(options, evaluations=2))  # compiles, or loads what is compiled
    encodings = []

    def run() -> None:
        encodings.append(encode_pixels(Picture(pixels), denoiser, Rate(bpp), options))

    seconds, _ = _timed(run, repeats)
    network = [e.network_seconds for e in encodings]
    first_encoding = encodings[0]
    measured = {name: getattr(first_encoding, name) for name in ("data", "psnr", "backend", "device")}
    return {**measured, "seconds": seconds, "network": network, "peak": _peak_bytes()}


def _decode(data: bytes, model: str, options: EncodeOptions, repeats: int) -> dict[str, Any]:
    parsed = container.parse(data)
    denoiser = api.denoiser_of(parsed, model, options.device, options.precision, options.backend)
    seconds, state = _timed(lambda: decoder.last_state(parsed, denoiser), repeats)
    network, _ = _timed(lambda: denoiser.predict_x_0(state.x_t, state.level), max(3, repeats))
    return {"seconds": seconds, "evaluation": network, "peak": _peak_bytes()}


def measure(pixels: np.ndarray, model: str, *, bpp: float, options: EncodeOptions, threads: int, repeats: int) -> dict[str, Any]:
    """Return medians of `repeats` runs, JSON-serializable.

    Args:
        pixels: (H, W, 3) uint8.
        model: name or path.
        options: of the encode; device, precision and backend are the decoder's, too.
        threads: of the network and of the search.

    Raises:
        WorkerError: a process has died.
    """
    with workers.pool(1, threads, tasks=1) as pool:  # a process for each: memory that one has had, its successor would count
        encoded = pool.submit(_encode, pixels, model, bpp, options, repeats).result()
        decoded = pool.submit(_decode, encoded["data"], model, options, repeats).result()
    return {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "bpp": 8 * len(encoded["data"]) / (pixels.shape[0] * pixels.shape[1]),
        "psnr": encoded["psnr"],
        "evaluations": len(decoder.evaluated_levels(container.parse(encoded["data"]))),
        "effort": options.effort,
        "backend": encoded["backend"],
        "device": encoded["device"],
        "threads": threads,
        "repeats": repeats,
        "evaluation_seconds": median(decoded["evaluation"]),
        "encode_seconds": median(encoded["seconds"]),
        "encode_network_seconds": median(encoded["network"]),
        "decode_seconds": median(decoded["seconds"]),
        "encode_peak_bytes": encoded["peak"],
        "decode_peak_bytes": decoded["peak"],
    }


def table(result: dict[str, Any]) -> str:
    """`measure` as a Markdown table."""
    heads = ["picture", "evaluations", "network", "threads", "an evaluation", "encode", "of it network", "decode"]
    heads += ["peak, encode", "peak, decode"]
    cells = [
        f"{result['width']}x{result['height']}, {result['bpp']:.2f} bpp",
        str(result["evaluations"]),
        f"{result['backend']}, {result['device']}",
        str(result["threads"]),
        *(f"{result[f'{name}_seconds']:.2f} s" for name in ("evaluation", "encode", "encode_network", "decode")),
        *(f"{result[f'{name}_peak_bytes'] / 1e6:.0f} MB" for name in ("encode", "decode")),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---", *["---:"] * (len(heads) - 1)], cells))

"""Announcements of the time and memory that a large picture will take."""

import time
from typing import TYPE_CHECKING

import numpy as np

from ddpmcodec.denoiser import Denoiser
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import Header
from ddpmcodec.noise import folds_of
from ddpmcodec.prediction import fold_of, predict_x_0
from ddpmcodec.progress import Note
from ddpmcodec.reconstruction import MEAN, Reconstruction, evaluated_levels
from ddpmcodec.shaping import shape_for
from ddpmcodec.target import Target

if TYPE_CHECKING:
    from ddpmcodec.encoder import EncodeOptions
    from ddpmcodec.models.model import Model
    from ddpmcodec.picture import Picture

LARGE = 3_000_000  # pixels
SAMPLE = 512  # pixels of a side, on which the network's time is measured


def memory(pixels: int, shaped: bool = False) -> float:
    """Estimate the bytes of memory that encoding or decoding a large picture takes (measured with photo-2)."""
    return 1.2e9 + (81 if shaped else 62) * pixels


def announce(note: Note, pixels: int, denoiser: Denoiser, evaluations: float, padding: float = 1.0, shaped: bool = False) -> None:
    """Say how much memory and time in the network a picture will take, if it is large.

    Args:
        note: called with the sentence.
        evaluations: network evaluations, of all its pixels; those of fewer pixels count as their share.
        padding: pixels that the network sees over those of the picture: 16 where it is one pixel wide.
        shaped: whether the noise is shaped.
    """
    network_pixels = pixels * padding
    if network_pixels < LARGE:
        return
    x, level = np.zeros((1, 3, SAMPLE, SAMPLE), np.float32), denoiser.levels.nearest(1.0)
    predict_x_0(denoiser, x, level)
    begin = time.perf_counter()
    predict_x_0(denoiser, x, level)
    seconds = (time.perf_counter() - begin) * evaluations * network_pixels / SAMPLE**2
    time_taken = f"{seconds / 60:.0f} minutes" if seconds > 100 else f"{seconds:.0f} s"
    megapixels, gigabytes = pixels / 1e6, memory(round(network_pixels), shaped) / 1e9
    note(f"{megapixels:.1f} megapixels: about {time_taken} in the network, and {gigabytes:.1f} GB of memory")


def announce_encoding(note: Note, picture: "Picture", model: "Model", target: Target, options: "EncodeOptions") -> None:
    """Announce a picture to be encoded, by the arithmetic that it will be encoded with."""
    rows, width = picture.pixels.shape[:2]
    header = Header(width, rows // picture.count, model.name, model.hash, model.levels, model.start, pictures=picture.count)
    if header.network_pixels < LARGE:
        return
    from ddpmcodec.encoder import denoiser_for  # decoding does without

    denoiser = denoiser_for(model, header, target, target.max_bytes(header, 0, 0), options)
    shaped = shape_for(header, target, options.tune, options.roi) is not None
    announce(note, header.pixels, denoiser, options.evaluations, header.network_pixels / header.pixels, shaped)


def announce_decoding(note: Note, parsed: Container, denoiser: Denoiser, shown: Reconstruction = MEAN) -> None:
    """Announce a file to be decoded."""
    header = parsed.header
    folds = folds_of(header, parsed.shape)
    evaluations = sum(fold_of(header.levels, level, folds) ** -2 for level in evaluated_levels(parsed, shown))
    announce(note, header.pixels, denoiser, evaluations, header.network_pixels / header.pixels, parsed.shape is not None)

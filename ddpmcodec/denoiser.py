"""The denoiser as the codec knows it: a numbering of noise levels, and a function of arrays."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ddpmcodec.models.levels import Levels


class Predictor(Protocol):
    """A function that predicts pictures."""

    @property
    def levels(self) -> Levels:
        """The numbering of its noise levels."""

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32 of any size, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers.
        """


class Denoiser(Predictor, Protocol):
    """A network that is ready to run; `models/` has them, one for each library that networks run on."""

    @property
    def name(self) -> str:
        """The name by which files refer to it."""

    @property
    def hash(self) -> bytes:
        """The first bytes of its SHA-256 (models/identity.py)."""

    @property
    def start(self) -> int:
        """The level of x_T."""

    @property
    def best_visited(self) -> Mapping[int, Sequence[int]]:
        """Lists of the levels to visit that were found best for it, by their length."""

    @property
    def precision(self) -> str:
        """The precision: "bf16" where any evaluation so far has run in bfloat16, "fp16" where Vulkan stores it, else "fp32"."""

    @property
    def backend(self) -> str:
        """The library that it runs on: "ncnn" or "torch"."""

    @property
    def device(self) -> str:
        """The device that it runs on: "cpu", "cuda", "mps", "xpu", or "vulkan:N" and a GPU's name."""

"""The denoiser as the codec knows it: a numbering of noise levels, and a function of arrays."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ddpmcodec.models.levels import Levels


class Denoiser(Protocol):
    """A network that is ready to run; `models/` has them, one for each library that networks run on.

    Attributes:
        name: by which files refer to it.
        hash: the first bytes of its SHA-256 (models/identity.py).
        levels: the numbering of its noise levels.
        start: the level of x_T.
        best_visited: lists of the levels to visit that were found best for it, by their length.
        precision: "bf16" where any evaluation so far has run in bfloat16, else "fp32".
    """

    @property
    def name(self) -> str: ...

    @property
    def hash(self) -> bytes: ...

    @property
    def levels(self) -> Levels: ...

    @property
    def start(self) -> int: ...

    @property
    def best_visited(self) -> Mapping[int, Sequence[int]]: ...

    @property
    def precision(self) -> str: ...

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32 of any size, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers.
        """

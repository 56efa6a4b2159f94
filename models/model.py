"""Models: a denoiser's weights, and everything that a codec must know of it. Needs no library that networks run on."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpmcodec.errors import ModelError
from ddpmcodec.models import ddpm_config, photo_layout
from ddpmcodec.models.identity import NAME, hash_of
from ddpmcodec.models.levels import build_levels
from ddpmcodec.models.libraries import require_torch

if TYPE_CHECKING:
    import torch

    from ddpmcodec.models.networks import Network, Prediction


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with every field that it leaves to its default, as checkpoints carry it.

    Raises:
        ModelError: it is not understood.
    """
    architecture = config.get("architecture")
    if architecture == ddpm_config.ARCHITECTURE:
        return ddpm_config.complete(config)
    if architecture != photo_layout.ARCHITECTURE:
        raise ModelError(f"unknown architecture {architecture!r}")
    photo_layout.parse(config)
    return config


class Model:
    """A denoiser, and everything that a codec must know of it.

    Attributes:
        name: the name by which files refer to it.
        config: its configuration, complete.
        tensors: its weights by name, float32.
        hash: the first `HASH_BYTES` bytes of its SHA-256 (models/identity.py).
        levels: the numbering of its noise levels.
        start: the level of x_T.
        prediction: what its network predicts (`models/parameterization.py`).
        variance: of its reverse process (`models/reverse.py`), which the codec has no use for.
        best_visited: lists of the levels to visit that were found best for it, by their length (`ddpmcodec bpd --search`).

    Raises:
        ModelError: its name, its architecture, its noise levels or the lists of `best_visited` are not legal, or the tensors of a photo
            denoiser do not fit its configuration. Those of other kinds are compared with it when `network` is built.
    """

    def __init__(
        self, name: str, config: dict[str, Any], tensors: Mapping[str, np.ndarray], best_visited: Mapping[int, Sequence[int]] | None = None
    ):
        if not NAME.fullmatch(name):
            raise ModelError(f"the model's name {name!r} is not 1 ... 64 characters of a-z, 0-9, '.', '_', '-'")
        self.name = name
        self.config = complete(config)
        self.tensors = dict(tensors)
        self.levels = build_levels(config)
        if self.is_photo:
            photo_layout.check(photo_layout.parse(config), {name: value.shape for name, value in tensors.items()})
        self.hash = hash_of(self.config, self.tensors)
        start = config.get("start")
        if type(start) is not int or not self.levels.contains(start):
            raise ModelError(f"the model's start level {start} is out of range")
        self.start = start
        self.prediction: str = config.get("prediction", "v")
        self.variance: str = config.get("variance", "beta-tilde")
        self.best_visited = {count: tuple(visited) for count, visited in (best_visited or {}).items()}
        for visited in self.best_visited.values():
            if not all(self.levels.contains(b) and self.levels.distance(a, b) > 0 for a, b in pairwise([self.start, *visited[1:]])):
                raise ModelError(f"the model's schedule of {len(visited)} levels is none")

    @property
    def is_photo(self) -> bool:
        """Whether it is a photo denoiser, which other libraries than torch can run, and which may run in bfloat16."""
        return self.config["architecture"] == photo_layout.ARCHITECTURE

    @property
    def planes(self) -> int:
        """The channels of the pictures that it knows: 3, or 1 where they are gray."""
        return self.config.get("planes", ddpm_config.COLOURS)

    @property
    def parameters(self) -> int:
        """The number of elements in all of its tensors."""
        return sum(value.size for value in self.tensors.values())

    @cached_property
    def network(self) -> "Network":
        """Its network on torch, in fp32, for evaluation only.

        Raises:
            ModelError: the tensors do not fit the configuration, or torch is not installed.
        """
        require_torch(f"model {self.name!r}")
        from ddpmcodec.models import networks

        return networks.of(self)

    def predict(self, x_t: "torch.Tensor", level: int, bfloat16: bool = False) -> "Prediction":
        """Evaluate its network on torch: `networks.predict`, with its arguments and errors."""
        from ddpmcodec.models import networks

        return networks.predict(self, x_t, level, bfloat16)

    def identity(self) -> dict[str, str]:
        """Return its name and hash as results have them, JSON-serializable."""
        return {"name": self.name, "hash": self.hash.hex()}

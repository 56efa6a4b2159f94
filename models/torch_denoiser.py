"""The denoiser on torch: a model's network on a device, as a function of numpy arrays."""

import copy

import numpy as np
import torch

from ddpmcodec.models import networks
from ddpmcodec.models.model import Model


class TorchDenoiser:
    """A model that is ready to run (`ddpmcodec.denoiser.Denoiser`).

    Args:
        bfloat16_from: the first level whose convolutions are computed in bfloat16; None for fp32 throughout.
    """

    backend = "torch"

    def __init__(self, model: Model, device: torch.device, bfloat16_from: int | None = None):
        if device.type != "cpu":
            model = copy.copy(model)
            model.network = copy.deepcopy(model.network).to(device)
        self.model, self.device = model, device.type
        self.name, self.hash = model.name, model.hash
        self.levels, self.start, self.best_visited = model.levels, model.start, model.best_visited
        self.bfloat16_from = bfloat16_from
        self.precision = "fp32"

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers.
        """
        bfloat16 = self.bfloat16_from is not None and level >= self.bfloat16_from
        if bfloat16:
            self.precision = "bf16"
        return networks.predict_x_0(self.model, torch.from_numpy(np.ascontiguousarray(x_t)), level, bfloat16).numpy()

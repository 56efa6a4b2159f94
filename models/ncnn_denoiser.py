"""The denoiser on ncnn: a photo model on the CPU, without torch."""

import threading
from weakref import WeakKeyDictionary

import numpy as np

from ddpmcodec import threads
from ddpmcodec.errors import ModelError
from ddpmcodec.models import photo_layout
from ddpmcodec.models.embedding import embedding
from ddpmcodec.models.model import Model
from ddpmcodec.models.ncnn_graph import graph
from ddpmcodec.models.ncnn_runtime import Network
from ddpmcodec.models.padding import pad_to_multiple
from ddpmcodec.models.parameterization import x_0_of
from ddpmcodec.models.process import abar_of_snr

_networks: WeakKeyDictionary[Model, Network] = WeakKeyDictionary()
_loading = threading.Lock()


def network_of(model: Model) -> Network:
    """Return the network of a photo model, which is loaded once, and again when the number of threads is another.

    Raises:
        ModelError: ncnn cannot load it.
    """
    with _loading:
        network = _networks.get(model)
        if network is None or network.threads != threads.for_network():
            layout = photo_layout.parse(model.config)
            network = Network(*graph(layout, model.tensors), {"x": (3, None, None), "e": (layout.embedding,)})
            _networks[model] = network
        return network


class NcnnDenoiser:
    """A photo model that is ready to run (`ddpmcodec.denoiser.Denoiser`).

    Raises:
        ModelError: ncnn cannot load it.
    """

    backend = "ncnn"
    precision = "fp32"

    def __init__(self, model: Model):
        self.model = model
        self.name, self.hash = model.name, model.hash
        self.levels, self.start, self.best_visited = model.levels, model.start, model.best_visited
        self._stride = photo_layout.parse(model.config).stride
        network_of(model)  # fails before long work

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers, or ncnn fails.
        """
        snr, (height, width) = self.levels.snr(level), x_t.shape[2:]
        e, x_0 = embedding(self.model.tensors, snr), np.empty(x_t.shape, np.float32)
        network = network_of(self.model)
        with np.errstate(over="ignore", invalid="ignore"):  # looked for below
            for out, picture in zip(x_0, x_t, strict=True):
                [padded] = pad_to_multiple(picture[None], self._stride)
                v = network("v", x=padded, e=e)
                if v.shape != padded.shape:
                    raise ModelError(f"ncnn computes {v.shape} of {padded.shape}")
                out[:] = x_0_of("v", v[:, :height, :width], picture, abar_of_snr(snr), None)
            finite = np.isfinite(x_0.sum())
        if not finite:
            raise ModelError(f"model {self.name!r} predicts values that are not numbers")
        return x_0

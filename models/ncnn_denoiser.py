"""The denoiser on ncnn: a photo model on the CPU, without torch."""

import threading
from weakref import WeakKeyDictionary

import numpy as np

from ddpmcodec import threads
from ddpmcodec.errors import ModelError
from ddpmcodec.models import ncnn_graph, photo_layout
from ddpmcodec.models.embedding import embedding
from ddpmcodec.models.model import Model
from ddpmcodec.models.ncnn_runtime import Network
from ddpmcodec.models.padding import pad_to_multiple
from ddpmcodec.models.parameterization import x_0_of
from ddpmcodec.models.process import abar_of_snr

SMALL = 1 << 14  # pixels, up to which threads wait for each other longer than they work where other programs run
_networks: WeakKeyDictionary[Model, Network] = WeakKeyDictionary()
_loading = threading.Lock()


def network_of(model: Model, pixels: int) -> Network:
    """Return the network of a photo model, which is loaded once, and again when it is to have another number of threads.

    Args:
        pixels: that it will be run on: a network with one thread will do for small pictures, but no other is loaded for them.

    Raises:
        ModelError: ncnn cannot load it.
    """
    with _loading:
        network = _networks.get(model)
        count = threads.count()
        if network is None or network.threads > count or (network.threads < count and pixels > SMALL):
            layout = photo_layout.parse(model.config)
            network = Network(*ncnn_graph.graph(layout, model.tensors), ncnn_graph.inputs(layout), count if pixels > SMALL else 1)
            _networks[model] = network
        return network


class NcnnDenoiser:
    """A photo model that is ready to run (`ddpmcodec.denoiser.Denoiser`)."""

    backend = "ncnn"
    precision = "fp32"

    def __init__(self, model: Model):
        self.model = model
        self.name, self.hash = model.name, model.hash
        self.levels, self.start, self.best_visited = model.levels, model.start, model.best_visited
        self._stride = photo_layout.parse(model.config).stride

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers, or ncnn cannot load or run it.
        """
        snr, (height, width) = self.levels.snr(level), x_t.shape[2:]
        e, x_0 = embedding(self.model.tensors, snr), np.empty(x_t.shape, np.float32)
        network = network_of(self.model, height * width)
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

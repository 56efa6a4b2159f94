"""The denoiser on ncnn: a photo model on the CPU or through Vulkan, without torch."""

import threading
from collections import defaultdict
from weakref import WeakKeyDictionary

import numpy as np

from ddpmcodec import threads
from ddpmcodec.errors import ModelError
from ddpmcodec.models import ncnn_graph, ncnn_runtime, photo_layout
from ddpmcodec.models.devices import VulkanDevice
from ddpmcodec.models.embedding import embedding
from ddpmcodec.models.model import Model
from ddpmcodec.models.ncnn_runtime import Network
from ddpmcodec.models.padding import pad_to_multiple
from ddpmcodec.models.parameterization import x_0_of
from ddpmcodec.models.process import abar_of_snr

SMALL = 1 << 14  # pixels, up to which threads wait for each other longer than they work where other programs run
TOLERANCE = 1e-3  # of the largest value: a hundred times the rounding of fp32
HALF_TOLERANCE = 2e-2  # five times that of fp16
RUNS = 2  # that have to agree with the CPU: some drivers are right the first time only

_networks: WeakKeyDictionary[Model, Network] = WeakKeyDictionary()
# Those on each Vulkan device, in fp16 or not, or why it has none.
_on_vulkan: defaultdict[tuple[VulkanDevice, bool], WeakKeyDictionary[Model, Network | str]] = defaultdict(WeakKeyDictionary)
_loading = threading.RLock()


def network_of(model: Model, pixels: int) -> Network:
    """Return the network of a photo model on the CPU, which is loaded once, and again when it is to have another number of threads.

    Args:
        pixels: that it will be run on: a network with one thread will do for small pictures, but no other is loaded for them.

    Raises:
        ModelError: ncnn cannot load it.
    """
    with _loading:
        network = _networks.get(model)
        count = threads.count()
        if network is None or network.threads > count or (network.threads < count and pixels > SMALL):
            network = _networks[model] = _loaded(model, count if pixels > SMALL else 1)
        return network


def network_on(model: Model, gpu: VulkanDevice, half: bool = False) -> Network:
    """Return the network of a photo model on a Vulkan device, stored in fp16 or fp32, which is loaded and compared with the CPU's once.

    Raises:
        ModelError: ncnn cannot load or run it there, or what it computes is not what the CPU does.
    """
    with _loading:
        ncnn_runtime.start_vulkan()
        networks = _on_vulkan[gpu, half]
        found = networks.get(model)
        if found is None:
            try:
                found = _loaded(model, 1, gpu, half)
                _compare(found, model, gpu, HALF_TOLERANCE if half else TOLERANCE)
            except ModelError as e:
                found = str(e)
            networks[model] = found
        if isinstance(found, str):
            raise ModelError(found)
        return found


def _loaded(model: Model, count: int, gpu: VulkanDevice | None = None, half: bool = False) -> Network:
    layout = photo_layout.parse(model.config)
    return Network(*ncnn_graph.graph(layout, model.tensors), ncnn_graph.inputs(layout), count, gpu, half)


def _compare(network: Network, model: Model, gpu: VulkanDevice, tolerance: float) -> None:
    """Raise ModelError unless a network on a Vulkan device computes what the CPU does."""
    side = 4 * photo_layout.parse(model.config).stride
    x = np.random.default_rng(0).standard_normal((3, side, side), np.float32)
    e = embedding(model.tensors, 1.0)
    expected = network_of(model, x[0].size)("v", x=x, e=e)
    for _ in range(RUNS):
        v = network("v", x=x, e=e)
        if v.shape != x.shape or not np.abs(v - expected).max() <= tolerance * np.abs(expected).max():
            raise ModelError(f"{gpu} computes something else than the CPU does")


class NcnnDenoiser:
    """A photo model that is ready to run (`ddpmcodec.denoiser.Denoiser`).

    Args:
        gpu: the Vulkan device that it runs on; None for the CPU.
        half: fp16 is stored there, not fp32.
        or_cpu: the CPU takes over where the device fails later on, for want of memory perhaps.

    Raises:
        ModelError: it does not run there (`network_on`).
    """

    backend = "ncnn"

    def __init__(self, model: Model, gpu: VulkanDevice | None = None, half: bool = False, or_cpu: bool = False):
        self.model, self.gpu, self.half, self.or_cpu = model, gpu, half, or_cpu
        self.precision = "fp16" if half else "fp32"
        self.device = "cpu" if gpu is None else str(gpu)
        self.name, self.hash = model.name, model.hash
        self.levels, self.start, self.best_visited = model.levels, model.start, model.best_visited
        self._stride = photo_layout.parse(model.config).stride
        if gpu is not None:
            network_on(model, gpu, half)

    def predict_x_0(self, x_t: np.ndarray, level: int) -> np.ndarray:
        """Return x0hat of pictures x_t, both (P, 3, H, W) float32, not clamped.

        Raises:
            ModelError: the network predicts values that are not numbers, or ncnn cannot load or run it.
        """
        snr, (height, width) = self.levels.snr(level), x_t.shape[2:]
        e, x_0 = embedding(self.model.tensors, snr), np.empty(x_t.shape, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # looked for below
            for out, picture in zip(x_0, x_t, strict=True):
                [padded] = pad_to_multiple(picture[None], self._stride)
                v = self._v(padded, e)
                if v.shape != padded.shape:
                    raise ModelError(f"ncnn computes {v.shape} of {padded.shape}")
                out[:] = x_0_of("v", v[:, :height, :width], picture, abar_of_snr(snr), None)
            finite = np.isfinite(x_0.sum())
        if not finite:
            raise ModelError(f"model {self.name!r} predicts values that are not numbers")
        return x_0

    def _v(self, x: np.ndarray, e: np.ndarray) -> np.ndarray:
        """Return v of a picture (3, H, W) whose sides are multiples of the stride."""
        if self.gpu is not None:
            try:
                return network_on(self.model, self.gpu, self.half)("v", x=x, e=e)
            except ModelError:
                if not self.or_cpu:
                    raise
                self.gpu, self.device = None, "cpu"
        return network_of(self.model, x[0].size)("v", x=x, e=e)

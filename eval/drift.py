"""How far decoders whose arithmetic differs drift from the encoder: threads, precision, libraries.

    ddpmcodec eval drift photo.png

The encoder's arithmetic is fp32, torch's own, with as many threads as there are. One file with a lossy end and one without loss are decoded
by each of `DECODERS`. Nothing in decoding branches on a float, so pictures may differ by rounding, and the exact one comes back or is
refused; what makes it come back is a margin for rounding (docs/format.md, "The lossless tail"), of which the drift uses a part.
"""

import copy
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn

from ddpmcodec import decoder, quality, threads
from ddpmcodec.chain import State
from ddpmcodec.denoiser import Denoiser
from ddpmcodec.encoder import EncodeOptions, Encoding, encode_pixels
from ddpmcodec.errors import DriftError, ModelError, PictureError
from ddpmcodec.eval.progress import Counter
from ddpmcodec.format import container, tail
from ddpmcodec.format.container import Container
from ddpmcodec.models import arithmetic, photo_layout, registry
from ddpmcodec.models.model import Model
from ddpmcodec.models.photo_unet import PhotoUNet
from ddpmcodec.picture import Picture
from ddpmcodec.progress import Note, Progress, silent
from ddpmcodec.target import Lossless, Rate


class Other(nn.Module):
    """A network whose forward pass is computed in another way."""

    def __init__(self, network: Any, forward: Callable):
        super().__init__()
        self.network = network
        self.stride, self.condition = network.stride, network.condition
        self.compute = forward

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.compute(x, c)


def with_network(model: Model, network: Any) -> Model:
    other = copy.copy(model)
    other.network = network
    return other


def on_cpu(model: Model) -> Denoiser:
    """The encoder's own arithmetic."""
    return arithmetic.denoiser(model, "cpu", "fp32", backend="torch")


def in_float64(model: Model) -> Denoiser:
    return on_cpu(with_network(model, copy.deepcopy(model.network).double()))


def in_bfloat16(model: Model) -> Denoiser:
    return arithmetic.denoiser(model, "cpu", "bf16")


def in_ncnn(model: Model) -> Denoiser:
    return arithmetic.denoiser(model, "cpu", "fp32", backend="ncnn")


def on_vulkan(model: Model) -> Denoiser:
    """On whatever device comes first."""
    return arithmetic.denoiser(model, "vulkan:0", "fp32")


def on_vulkan_in_fp16(model: Model) -> Denoiser:
    return arithmetic.denoiser(model, "vulkan:0", "fp16")


def compiled(model: Model) -> Denoiser:
    return on_cpu(with_network(model, Other(model.network, torch.compile(model.network))))


def without_channels_last(model: Model) -> Denoiser:
    network: Any = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return on_cpu(with_network(model, Other(network, lambda x, c: network(x.contiguous(), c))))


def in_onnxruntime(model: Model) -> Denoiser:
    """The network as `ddpmcodec export` writes it."""
    from ddpmcodec.models import onnx_graph

    data = onnx_graph.graph(photo_layout.parse(model.config), model.tensors, {}).SerializeToString()
    run, embed = onnx_graph.loaded(data, "onnxruntime"), cast(PhotoUNet, model.network).emb

    def compute(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(run(x.contiguous().numpy(), embed(c).numpy()))

    return on_cpu(with_network(model, Other(model.network, compute)))


@contextmanager
def using(count: int) -> Iterator[None]:
    """Compute with so many threads for a while."""
    before = threads.count()
    threads.use(count)
    try:
        yield
    finally:
        threads.use(before)


# How each decoder's network is made of the model, and how many threads it has.
DECODERS: dict[str, tuple[Callable[[Model], Denoiser], int]] = {
    "fp32, 1 thread": (on_cpu, 1),
    "fp32, 2 threads": (on_cpu, 2),
    "float64": (in_float64, 2),
    "bfloat16": (in_bfloat16, 2),
    "torch.compile": (compiled, 2),
    "without channels_last": (without_channels_last, 2),
    "onnxruntime": (in_onnxruntime, 2),
    "ncnn": (in_ncnn, 2),
    "Vulkan": (on_vulkan, 2),
    "Vulkan, fp16": (on_vulkan_in_fp16, 2),
}


@dataclass(frozen=True)
class Drift:
    """One decoder of one picture.

    Attributes:
        psnr: worst difference in PSNR from the encoder's own picture, over the whole file and the prefixes given, in dB.
        pixel: largest difference of an 8-bit value.
        x0hat: largest difference of x0hat where the tail of the lossless file begins, in gray levels.
        exact: the lossless file came back; else it was refused.
        device: that the network ran on.
    """

    psnr: float
    pixel: int
    x0hat: float
    exact: bool
    device: str


class Files:
    """The two files of a picture, and what the encoder's own arithmetic makes of them.

    Attributes:
        prefixes: half of the lossy file's steps, and all.
        x0hat: (P, 3, H, W), where the tail of the lossless file begins.
    """

    def __init__(self, pixels: np.ndarray, model: Model, lossy: Encoding, lossless: Encoding):
        self.pixels = pixels
        self.model = model
        parsed = container.parse(lossy.data)
        self.prefixes = [parsed.first(len(parsed.steps) // 2), parsed]
        self.shown = [decoder.pixels(part, state_of(part, on_cpu(model))) for part in self.prefixes]
        self.lossless = container.parse(lossless.data)
        self.x0hat = state_of(self.lossless, on_cpu(model)).evaluate()

    def resolved(self) -> int:
        """Count the means of the lossless file so near to a boundary of rounding that the encoder says which way they go."""
        return int(np.count_nonzero(tail._marks(255 * (self.x0hat.astype(np.float64) + 1), tail.MARGIN)))


def state_of(parsed: Container, denoiser: Denoiser) -> State:
    return decoder.last_state(parsed, denoiser)


def measure(files: Files, name: str) -> Drift:
    """Measure what a decoder makes of a picture's files."""
    make, count = DECODERS[name]
    with using(count):
        other = make(files.model)
        psnr, pixel = 0.0, 0
        for part, own in zip(files.prefixes, files.shown, strict=True):
            decoded = decoder.pixels(part, state_of(part, other))
            psnr = max(psnr, abs(quality.psnr(files.pixels, decoded) - quality.psnr(files.pixels, own)))
            pixel = max(pixel, int(np.abs(decoded.astype(int) - own).max()))
        state = state_of(files.lossless, other)
        x0hat = 127.5 * float(np.abs(state.evaluate() - files.x0hat).max())
        try:
            exact = np.array_equal(decoder.pixels(files.lossless, state), files.pixels)
        except DriftError:
            return Drift(psnr, pixel, x0hat, False, other.device)
        assert exact, f"{name}: another picture than the one encoded"
        return Drift(psnr, pixel, x0hat, True, other.device)


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import ddpmcodec.api
from PIL import Image
image = ddpmcodec.api.decode(sys.stdin.buffer.read(), model=sys.argv[1], precision="fp32", reconstruct="mean", orientations=1)
image.save(sys.stdout.buffer, "PNG")
"""


def decoded_without_numba(data: bytes, model_name: str) -> np.ndarray:
    """Decode a file in a process that cannot import numba."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA, model_name], input=data, stdout=subprocess.PIPE, check=True)
    return np.asarray(Image.open(io.BytesIO(done.stdout)))


HEAD = """\
| decoder | worst difference in PSNR, dB | largest of a pixel, of 255 | largest of x0hat, gray levels | lossless |
|---|---:|---:|---:|---|"""


def row(files: Files, name: str) -> str:
    """Measure a decoder: a line of the Markdown table that `HEAD` begins."""
    try:
        d = measure(files, name)
    except ImportError as e:
        return f"| {name} | {e.name} is not here | | | |"
    except ModelError as e:  # a device, or a library that networks run on
        return f"| {name} | {e} | | | |"
    named = name if d.device == "cpu" else f"{name}, {d.device}"
    return f"| {named} | {d.psnr:.4f} | {d.pixel} | {d.x0hat:.6f} | {'exact' if d.exact else 'refused'} |"


def middle(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the middle of (H, W, 3) pixels.

    Raises:
        PictureError: it is larger than the picture.
    """
    left, top = (pixels.shape[1] - width) // 2, (pixels.shape[0] - height) // 2
    if left < 0 or top < 0:
        raise PictureError(f"no {width}x{height} in the picture's {pixels.shape[1]}x{pixels.shape[0]}: --size")
    return pixels[top : top + height, left : left + width]


def report(pixels: np.ndarray, model_name: str, bpp: float, evaluations: int, say: Note, progress: Progress = silent) -> None:
    """Say line by line how far decoders drift on (H, W, 3) pixels, as Markdown."""
    model = registry.find(model_name)
    height, width = pixels.shape[:2]
    options = EncodeOptions(evaluations, effort=1, device="cpu", precision="fp32", backend="torch")
    lossy = encode_pixels(Picture(pixels), model, Rate(bpp), options)
    lossless = encode_pixels(Picture(pixels), model, Lossless(), options)
    say(f"{width} x {height}, {bpp:g} bpp {lossy.psnr:.2f} dB, lossless {lossless.bpp:.2f} bpp, {threads.count()} threads\n")
    say(HEAD)
    files = Files(pixels, model, lossy, lossless)
    advance = Counter(progress, len(DECODERS))
    for name in DECODERS:
        say(row(files, name))
        advance()
    pixel = np.abs(decoded_without_numba(lossy.data, model_name).astype(int) - lossy.pixels).max()
    exact = np.array_equal(decoded_without_numba(lossless.data, model_name), pixels)
    say(f"| without numba | | {pixel} | | {'exact' if exact else 'another picture'} |")
    margin = tail.MARGIN * tail.MARGIN_UNIT
    say(f"\n{files.resolved()} of {pixels.size} means are resolved by a mark; the margin is {margin:.6f} of a gray level")

"""Photo denoisers as files for other runtimes, each checked by running it once: what computes something else is not written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ddpmcodec import atomic
from ddpmcodec.errors import ModelError
from ddpmcodec.models import arithmetic, ncnn_graph, ncnn_runtime, photo_layout
from ddpmcodec.models.embedding import embedding
from ddpmcodec.models.identity import canonical_json
from ddpmcodec.models.libraries import is_installed
from ddpmcodec.models.model import Model
from ddpmcodec.models.ncnn_denoiser import TOLERANCE
from ddpmcodec.models.parameterization import x_0_of
from ddpmcodec.models.process import abar_of_snr

NEEDS_ONNX = "ONNX needs the package onnx, which is not installed: pip install 'ddpmcodec[onnx]'"
PARAM, BIN = "model.ncnn.param", "model.ncnn.bin"  # as ncnn's own converter calls them


def to_ncnn(model: Model, folder: Path) -> float:
    """Write the network of a photo model (`photo_graph`) as a folder of the two files that ncnn loads, `PARAM` and `BIN`.

    Returns:
        The largest difference between what ncnn computes from these files and what we compute, of x0hat.

    Raises:
        ModelError: the model is of another kind, or ncnn is missing, or computes something else.
        OutputError: the folder is there already, or cannot be written; nothing is left behind.
    """
    layout = _layout(model)
    if not ncnn_runtime.is_available():
        raise ModelError(ncnn_runtime.NEEDS_NCNN)
    text, weights = ncnn_graph.graph(layout, model.tensors)
    with atomic.folder(folder) as temporary:
        (temporary / PARAM).write_text(text)
        (temporary / BIN).write_bytes(weights)
        network = ncnn_runtime.Network(temporary / PARAM, temporary / BIN, ncnn_graph.inputs(layout), threads=1)
        return _checked(f"{folder}: ncnn", model, lambda x, e: network("v", x=x, e=e))


def to_onnx(model: Model, path: Path) -> tuple[float, str]:
    """Write the network of a photo model as an ONNX model (`onnx_graph.graph`) that carries the model's name, hash and configuration.

    Returns:
        The largest difference as `to_ncnn`, and what it was run with: "onnxruntime" where that is installed, else "onnx".

    Raises:
        ModelError: the model is of another kind, or the package onnx is missing, or what it runs with computes something else.
        OutputError: it cannot be written; nothing is left behind.
    """
    layout = _layout(model)
    if not is_installed("onnx"):
        raise ModelError(NEEDS_ONNX)
    from ddpmcodec.models import onnx_graph

    properties = {**model.identity(), "config": canonical_json(model.config)}
    data = onnx_graph.graph(layout, model.tensors, properties).SerializeToString()
    runtime = "onnxruntime" if is_installed("onnxruntime") else "onnx"
    run = onnx_graph.loaded(data, runtime)
    difference = _checked(f"{path}: {runtime}", model, lambda x, e: run(x[None], e[None])[0])
    atomic.write(path, data)
    return difference, runtime


def _layout(model: Model) -> photo_layout.Layout:
    if not model.is_photo:
        raise ModelError(f"model {model.name!r} is no photo model, and no other goes to ONNX or ncnn: -o DIR writes it for diffusers")
    return photo_layout.parse(model.config)


def _checked(what: str, model: Model, evaluate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """Return the largest difference of x0hat, for some noise at snr 1.

    Args:
        what: runs it, the first words of the error.
        evaluate: returns v for x and e.

    Raises:
        ModelError: it is no rounding.
    """
    stride = photo_layout.parse(model.config).stride
    level = model.levels.nearest(1.0)
    snr = model.levels.snr(level)
    x = np.random.default_rng(0).standard_normal((3, 2 * stride, 3 * stride), np.float32)
    expected = arithmetic.denoiser(model, "cpu", "fp32").predict_x_0(x[None], level)[0]
    v = evaluate(x, embedding(model.tensors, snr))
    if v.shape != x.shape:
        raise ModelError(f"{what} computes {v.shape} of {x.shape}")
    difference = float(np.abs(x_0_of("v", v, x, abar_of_snr(snr), None) - expected).max())
    if not difference <= TOLERANCE * float(np.abs(expected).max()):
        raise ModelError(f"{what} computes something else: x0hat differs by {difference:.2g}")
    return difference

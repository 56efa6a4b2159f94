"""A photo denoiser as an ONNX model. Needs the package onnx, and no torch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, load_model_from_string, numpy_helper
from onnx.reference import ReferenceEvaluator

from ddpmcodec import threads
from ddpmcodec.models import photo_graph
from ddpmcodec.models.photo_layout import Layout

IR_VERSION, OPSET = 8, 17  # of 2022, which runtimes of today and of then read


def graph(layout: Layout, tensors: Mapping[str, np.ndarray], properties: Mapping[str, str]) -> ModelProto:
    """Return a photo denoiser (`photo_graph`) of batches, given its tensors by name.

    Its inputs are x, (B, 3, H, W), and e, (B, width) or (1, width), and its output v, (B, 3, H, W), all float32; H and W are multiples
    of the layout's stride.

    Args:
        properties: texts by name, which the model carries as metadata.

    Raises:
        KeyError: a tensor of the layout is missing.
    """
    g = _Graph(tensors)
    photo_graph.append(g, layout, "x", "e", "v")
    x, v = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"]) for name in ("x", "v"))
    e = helper.make_tensor_value_info("e", TensorProto.FLOAT, ["levels", layout.embedding])
    whole = helper.make_graph(g.nodes, "denoiser", [x, e], [v], list(g.constants.values()))
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(whole, producer_name="ddpmcodec", ir_version=IR_VERSION, opset_imports=opsets)
    helper.set_model_props(model, dict(properties))
    checker.check_model(model, full_check=True)
    return model


class _Graph:
    """The layers so far (`photo_graph.Graph`); each computes a value of its own name."""

    def __init__(self, tensors: Mapping[str, np.ndarray]):
        self.tensors = tensors
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a layer; return its output."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """Store an array; return its name."""
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def split(self, value: str, count: int) -> list[str]:
        return [value] * count

    def unshuffle(self, name: str, value: str, factor: int) -> str:
        """ONNX puts the places of a pixel before the channels, and torch behind them."""
        order = np.arange(3 * factor**2).reshape(factor**2, 3).T.reshape(-1)
        places_first = self.node("SpaceToDepth", f"{name}.places", value, blocksize=factor)
        return self.node("Gather", name, places_first, self.constant(f"{name}.order", order), axis=1)

    def shuffle(self, name: str, value: str, factor: int) -> str:
        return self.node("DepthToSpace", name, value, blocksize=factor, mode="CRD")

    def convolution(self, name: str, value: str, stride: int = 1, padding: int = 1) -> str:
        return self.node("Conv", name, value, *self._parameters(name), strides=[stride] * 2, pads=[padding] * 4)

    def deconvolution(self, name: str, value: str) -> str:
        return self.node("ConvTranspose", name, value, *self._parameters(name), strides=[2, 2])

    def vector(self, name: str, value: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """Append a linear layer, whose output (B, C) becomes (B, C, 1, 1): it is to broadcast with pictures."""
        parameters = self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)
        flat = self.node("Gemm", f"{name}.flat", value, *parameters, transB=1)
        return self.node("Unsqueeze", name, flat, self.constant("sides", np.array([2, 3])))

    def silu(self, name: str, value: str) -> str:
        return self.node("Mul", name, value, self.node("Sigmoid", f"{name}.sigmoid", value))

    def add(self, name: str, one: str, other: str) -> str:
        return self.node("Add", name, one, other)

    def multiply(self, name: str, one: str, other: str) -> str:
        return self.node("Mul", name, one, other)

    def _parameters(self, name: str) -> list[str]:
        return [self.constant(f"{name}.{part}", self.tensors[f"{name}.{part}"]) for part in ("weight", "bias")]


def loaded(data: bytes, runtime: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a denoiser's model as a function of x and e, on the CPU.

    Args:
        runtime: "onnxruntime", or "onnx" for its reference, which is slow.
    """
    if runtime == "onnx":
        reference = ReferenceEvaluator(load_model_from_string(data))
        return lambda x, e: np.asarray(next(iter(reference.run(None, {"x": x, "e": e}))))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.count()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda x, e: session.run(None, {"x": x, "e": e})[0]

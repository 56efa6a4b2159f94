"""Networks written for other runtimes, which compute what ours do."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ddpmcodec.cli import main
from ddpmcodec.errors import ModelError, OutputError
from ddpmcodec.models import arithmetic, export, ncnn_graph, photo_layout, registry
from ddpmcodec.models.embedding import embedding


def inputs(model, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of a size that the check does not have, and the embeddings of as many levels."""
    stride = photo_layout.parse(model.config).stride
    x = np.random.default_rng(7).standard_normal((count, 3, 3 * stride, stride), np.float32)
    return x, np.stack([embedding(model.tensors, snr) for snr in np.geomspace(0.01, 100, count)])


def v_of_torch(model, x: np.ndarray, e: np.ndarray) -> np.ndarray:
    """By the network's own forward pass, given embeddings in place of levels."""
    network = arithmetic.denoiser(model, "cpu", "fp32", backend="torch").model.network
    embed = network.emb.forward
    network.emb.forward = lambda c: c
    try:
        return network(torch.from_numpy(x), torch.from_numpy(e)).numpy()
    finally:
        network.emb.forward = embed


@pytest.mark.parametrize("runtime", ["onnxruntime", "onnx"])
def test_onnx(runtime, model, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    if runtime == "onnx":
        monkeypatch.setattr(export, "is_installed", lambda name: name != "onnxruntime")
    else:
        pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(b"replaced")
    difference, used = export.to_onnx(model, path)
    assert used == runtime and difference < 1e-4

    from ddpmcodec.models import onnx_graph

    run = onnx_graph.loaded(path.read_bytes(), runtime)
    x, e = inputs(model, 3)
    np.testing.assert_allclose(run(x, e), v_of_torch(model, x, e), rtol=0, atol=1e-4)
    np.testing.assert_allclose(run(x, e[:1]), v_of_torch(model, x, e[:1]), rtol=0, atol=1e-4)  # one level of them all
    properties = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert properties["name"] == model.name and properties["hash"] == model.hash.hex() and "channels" in properties["config"]


def test_ncnn_loads_the_files(model, tmp_path):
    ncnn = pytest.importorskip("ncnn")
    assert export.to_ncnn(model, tmp_path / "folder") < 1e-4
    assert sorted(os.listdir(tmp_path / "folder")) == ["model.ncnn.bin", "model.ncnn.param"]
    network = ncnn.Net()
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    assert network.load_param(str(tmp_path / "folder/model.ncnn.param")) == network.load_model(str(tmp_path / "folder/model.ncnn.bin")) == 0
    x, e = inputs(model, 1)
    with network.create_extractor() as extractor:
        extractor.input("x", ncnn.Mat(x[0]).clone())
        extractor.input("e", ncnn.Mat(e[0]).clone())
        v = np.array(extractor.extract("v")[1])
    np.testing.assert_allclose(v, v_of_torch(model, x, e)[0], rtol=0, atol=1e-4)


def wrong(tensors):
    """Tensors of a network that computes something else."""
    return tensors | {"out.bias": tensors["out.bias"] + np.float32(0.1)}


def test_what_computes_something_else_is_not_written(model, tmp_path, monkeypatch):
    right = ncnn_graph.graph
    monkeypatch.setattr(ncnn_graph, "graph", lambda layout, tensors: right(layout, wrong(tensors)))
    model = registry._loaded.__wrapped__(registry.available()[model.name], 0)  # whose network is not loaded yet
    arithmetic.denoiser(model, "cpu").predict_x_0(np.zeros((1, 3, 8, 8), np.float32), 0)
    monkeypatch.setattr(ncnn_graph, "graph", right)
    with pytest.raises(ModelError, match="something else: x0hat differs by"):
        export.to_ncnn(model, tmp_path / "folder")
    pytest.importorskip("onnx")
    with pytest.raises(ModelError, match="something else"):
        export.to_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(model, paper_model, tmp_path, monkeypatch):
    for write in (export.to_onnx, export.to_ncnn):
        with pytest.raises(ModelError, match="no photo model"):
            write(paper_model(), tmp_path / "a")
    with pytest.raises(OutputError, match="nowhere"):
        export.to_ncnn(model, tmp_path / "nowhere" / "folder")
    monkeypatch.setattr(export, "is_installed", lambda name: False)
    with pytest.raises(ModelError, match="ONNX needs the package onnx"):
        export.to_onnx(model, tmp_path / "a")
    monkeypatch.setattr("ddpmcodec.models.ncnn_runtime.is_installed", lambda name: False)
    with pytest.raises(ModelError, match="ncnn is not installed"):
        export.to_ncnn(model, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path, monkeypatch, model_path):
    monkeypatch.chdir(tmp_path)

    def run(code, *arguments):
        done = CliRunner().invoke(main, ["export", *arguments])
        assert done.exit_code == code and (code == 2 or done.stderr.count("\n") == max(1, len(arguments) // 2)), done.stderr
        return done.stderr

    pytest.importorskip("onnx")
    said = run(0, "test-model", "--onnx", "a.onnx", "--ncnn", "a")
    assert "a.onnx: run with " in said and "a: run with ncnn, x0hat differs by 0" in said
    (tmp_path / "b.safetensors").write_bytes(before := Path(model_path).read_bytes())
    run(12, "b.safetensors", "--onnx", "b.safetensors")  # its own input
    assert (tmp_path / "b.safetensors").read_bytes() == before
    for arguments in (["--onnx", "-"], ["--ncnn", "-"], ["--ncnn", "a"], ["--onnx", "a"], ["--onnx", "nowhere/a.onnx"], ["--ncnn", "c/a"]):
        run(12, "test-model", *arguments)
    assert "--onnx or --ncnn" in run(9, "test-model", "-o", "c")
    assert "tiny" in run(9, "tiny", "--ncnn", "c")
    run(2, "test-model")
    assert sorted(os.listdir()) == ["a", "a.onnx", "b.safetensors"]

"""Models described without torch, against models that are loaded."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint, registry
from ddpmcodec.models.description import describe


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_description_is_that_of_the_loaded_model(dtype, model, model_path, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {name: value.to(dtype) for name, value in load_file(model_path).items()}
    save_file(tensors, path, {"name": model.name, "config": json.dumps(model.config)})
    found, loaded = describe(path), checkpoint.load(path)
    assert (found.name, found.hash, found.config, found.levels) == (loaded.name, loaded.hash, loaded.config, loaded.levels)
    assert found.parameters == sum(p.numel() for p in loaded.network.parameters())


def test_bundled_models_and_folders(paper_model, tmp_path):
    for name, path in registry.available().items():
        assert registry.describe(path).hash == registry.find(name).hash
    with pytest.raises(ModelError, match="known are"):
        registry.describe(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("metadata", "tensor"),
    [
        (None, torch.zeros(2)),
        ({"name": "a"}, torch.zeros(2)),
        ({"name": "a", "config": "[]"}, torch.zeros(2)),
        ({"name": "a", "config": '{"architecture": "other"}'}, torch.zeros(2)),
        ({"name": "A B", "config": '{"architecture": "photo-unet"}'}, torch.zeros(2)),
        ({"name": "a", "config": '{"architecture": "photo-unet", "levels": 3}'}, torch.zeros(2)),
        ({"name": "a", "config": '{"architecture": "photo-unet", "levels": [["kind", "continuous"]]}'}, torch.zeros(2)),
        ({"name": "a", "config": '{"architecture": "photo-unet", "levels": {"kind": "continuous"}}'}, torch.zeros(2, dtype=torch.int8)),
    ],
)
def test_what_is_no_model(metadata, tensor, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": tensor}, path, metadata)
    with pytest.raises(ModelError):
        describe(path)
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match="cannot be read"):
        describe(path)


def test_describing_imports_no_torch(model_path):
    program = "import sys; from pathlib import Path; from ddpmcodec.models import registry; registry.describe(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", f"{program}; print('torch' in sys.modules)", model_path], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_pipe_is_not_waited_for_and_null_is_no_metadata(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelError, match="neither a file nor a directory"):
        registry.describe(tmp_path / "pipe.safetensors")
    header = b'{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "null.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match=r"null\.safetensors"):
        registry.describe(tmp_path / "null.safetensors")
    with pytest.raises(ModelError, match="known are"):
        registry.describe(tmp_path / ("a" * 300))

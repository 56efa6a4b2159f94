"""Models that are read without torch: their facts, and what is none."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint, photo_layout, registry
from ddpmcodec.models.photo_unet import PhotoUNet


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_type_of_tensors_is_read_as_torch_reads_it(dtype, model, model_path, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {name: value.to(dtype) for name, value in load_file(model_path).items()}
    save_file(tensors, path, {"name": model.name, "config": json.dumps(model.config)})
    found = checkpoint.load(path)
    assert (found.name, found.config, found.levels) == (model.name, model.config, model.levels)
    assert found.parameters == sum(value.numel() for value in tensors.values())
    for name, value in found.network.state_dict().items():
        assert torch.equal(value, tensors[name].float())


def test_the_layout_of_a_photo_denoiser_is_that_of_its_network():
    for channels, blocks, unshuffle in (((4, 6, 10), (1, 2, 3), 2), ((5,), (2,), 1), ((4, 4), (1, 1), 4)):
        network = PhotoUNet(channels, blocks, 8, unshuffle)
        layout = photo_layout.Layout(channels, blocks, 8, unshuffle)
        assert layout.shapes() == {name: tuple(value.shape) for name, value in network.state_dict().items()}
        assert layout.stride == network.stride


def test_bundled_models_and_folders(paper_model, tmp_path):
    for name, path in registry.available().items():
        assert registry.find(str(path)).hash == registry.find(name).hash
    with pytest.raises(ModelError, match="known are"):
        registry.find(str(tmp_path / "nowhere"))


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
        checkpoint.load(path)
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match="cannot be read"):
        checkpoint.load(path)


def test_reading_imports_no_torch(model_path):
    program = "import sys; from ddpmcodec.models import registry; registry.find(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", f"{program}; print('torch' in sys.modules)", model_path], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_pipe_is_not_waited_for_and_null_is_no_metadata(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ModelError, match="neither a file nor a directory"):
        registry.find(str(tmp_path / "pipe.safetensors"))
    header = b'{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "null.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match=r"null\.safetensors"):
        registry.find(str(tmp_path / "null.safetensors"))
    with pytest.raises(ModelError, match="known are"):
        registry.find(str(tmp_path / ("a" * 300)))

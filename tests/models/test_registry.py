import os
import shutil
from pathlib import Path

import pytest

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint, registry


@pytest.fixture
def more_models(tmp_path, monkeypatch, model_path):
    """A directory of further models that the environment names, with the test model in it as little.safetensors."""
    shutil.copy(model_path, tmp_path / "little.safetensors")
    monkeypatch.setenv(registry.ENVIRONMENT, str(tmp_path))
    return tmp_path


def test_the_bundled_model_is_found_by_name_and_hash():
    bundled = registry.find()
    assert bundled.name == registry.DEFAULT
    assert registry.find(registry.DEFAULT) is bundled
    assert registry.find_hash(registry.DEFAULT, bundled.hash).hash == bundled.hash


def test_by_path(model, model_path, monkeypatch):
    assert registry.find(model_path).hash == model.hash
    monkeypatch.chdir(Path(model_path).parent)
    assert registry.find("test-model.safetensors").hash == model.hash


def test_the_environment_names_directories(more_models, model, monkeypatch):
    assert registry.find("little").hash == model.hash
    monkeypatch.setenv(registry.ENVIRONMENT, os.pathsep.join(["/nowhere", "", str(more_models)]))
    assert registry.find("little").hash == model.hash
    assert registry.DEFAULT in registry.available()
    monkeypatch.delenv(registry.ENVIRONMENT)
    with pytest.raises(ModelError):
        registry.find("little")


def test_hash_decides_not_the_name(more_models, model):
    assert registry.find_hash("renamed", model.hash).hash == model.hash
    assert registry.find_hash(registry.DEFAULT, model.hash).hash == model.hash
    with pytest.raises(ModelError, match="another"):
        registry.find_hash("little", bytes(8))


def test_a_broken_neighbour_hides_no_model(more_models, model):
    (more_models / "aaa.safetensors").write_bytes(b"broken")
    assert registry.find_hash("test-model", model.hash).hash == model.hash
    with pytest.raises(ModelError):
        registry.find_hash("aaa", bytes(8))


def test_bundled_models_come_first(tmp_path, monkeypatch, model_path):
    shutil.copy(model_path, tmp_path / f"{registry.DEFAULT}.safetensors")
    monkeypatch.setenv(registry.ENVIRONMENT, str(tmp_path))
    assert registry.find(registry.DEFAULT).hash != checkpoint.load(Path(model_path)).hash


@pytest.mark.parametrize("name", ["photo-0", "/nowhere/model.safetensors", "", "a" * 5000, "nul\0"])
def test_names_of_nothing(name):
    with pytest.raises(ModelError, match=f"known are .*{registry.DEFAULT}"):
        registry.find(name)
    with pytest.raises(ModelError, match=f"known are .*{registry.DEFAULT}.*give its path") as raised:
        registry.find_hash(name, bytes(8))
    assert raised.value.parameter == "model"


def test_errors_list_the_further_models(more_models):
    with pytest.raises(ModelError, match=f"'big'.*{registry.DEFAULT}.*, little"):
        registry.find("big")


def test_a_path_that_is_no_model(tmp_path):
    path = tmp_path / "text.safetensors"
    path.write_text("text")
    with pytest.raises(ModelError, match=r"text\.safetensors"):
        registry.find(str(path))


def test_bundled_weights_are_small_models_of_their_names():
    bundled = sorted(registry.BUNDLED.glob("*.safetensors"))
    assert registry.DEFAULT in [path.stem for path in bundled]
    for path in bundled:
        assert path.stat().st_size <= 20_000_000
        assert checkpoint.load(path).name == path.stem


def test_a_file_that_is_replaced_is_read_again(paper_model, tmp_path):
    path = tmp_path / "m.safetensors"
    hashes = []
    for prediction in ("epsilon", "v"):
        model = paper_model(prediction=prediction)
        checkpoint.save(path, "m", model.config, model.network.state_dict())
        hashes.append(registry.find(str(path)).hash)
        assert registry.find(str(path)) is registry.find(str(path))
    assert hashes[0] != hashes[1]


def test_a_pipe_in_a_directory_of_models_is_not_waited_for(more_models, model):
    os.mkfifo(more_models / "a-pipe.safetensors")
    with pytest.raises(ModelError, match="a-pipe"):
        registry.find("a-pipe")
    with pytest.raises(ModelError, match="not here"):
        registry.find_hash("a-pipe", bytes(8))

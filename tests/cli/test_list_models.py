import json
import os
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ddpmcodec.cli import main
from ddpmcodec.models import checkpoint, registry


@pytest.fixture
def more(folder, monkeypatch, model_path, discrete_model_path):
    """A directory that the environment names: two models, one under another name than its own."""
    Path("more").mkdir()
    shutil.copy(model_path, "more/little.safetensors")
    shutil.copy(discrete_model_path, "more/discrete.safetensors")
    monkeypatch.setenv(registry.ENVIRONMENT, os.pathsep.join(["nowhere", "more"]))


def listed(run, *arguments):
    return {model["name"]: model for model in json.loads(run("models", *arguments, "--json").stdout)}


def test_the_bundled_and_those_of_the_environment(run, more, model, model_path):
    found = listed(run)
    assert list(found) == [*(path.stem for path in sorted(registry.BUNDLED.glob("*.safetensors"))), "discrete", "little"]
    assert [name for name, entry in found.items() if entry["default"]] == [registry.DEFAULT]
    assert found["little"] == {
        "name": "little",
        "name_in_files": "test-model",
        "hash": model.hash.hex(),
        "bytes": Path(model_path).stat().st_size,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "architecture": "photo-unet",
        "levels": {"kind": "continuous"},
        "path": "more/little.safetensors",
        "default": False,
    }
    assert found["discrete"]["levels"]["T"] == 1000


def test_as_text(run, more, model):
    head, *lines = run("models").stdout.splitlines()
    assert head.split() == ["name", "hash", "bytes", "parameters", "kind", "path"]
    [default] = (line for line in lines if "(default)" in line)
    assert default.startswith(f"{registry.DEFAULT} (default) ")
    assert re.split("  +", lines[-1])[::4] == ["little, in files test-model", "photo-unet, continuous"]
    assert model.hash.hex() in lines[-1] and lines[-1].endswith("  more/little.safetensors")
    assert "photo-unet, linear, T = 1000" in lines[-2]
    assert len({line.index("photo-unet") for line in lines if "photo-unet" in line}) == 1


def test_the_hash_is_the_one_of_info(run, more):
    assert listed(run, "little")["little"]["hash"] in run("info", "in.ddpm").stdout


def test_names_and_paths(run, more, paper_model, model):
    small = paper_model()
    checkpoint.save(Path("paper.safetensors"), "paper", small.config, small.network.state_dict())
    run("export", "paper.safetensors", "-o", "folder")
    found = listed(run, "little", "paper.safetensors", "folder")
    assert list(found) == ["little", "paper", "folder"]
    assert found["folder"]["hash"] == found["paper"]["hash"] == small.hash.hex()
    assert found["folder"]["bytes"] == sum(p.stat().st_size for p in Path("folder").rglob("*") if p.is_file())


def test_a_broken_file_in_a_directory_stops_nothing(run, more):
    Path("more/broken.safetensors").write_text("no model")
    result = run("models")
    assert "more/little" in result.stdout and "broken" not in result.stdout
    assert result.stderr.startswith("ddpmcodec: ") and result.stderr.count("\n") == 1 and "more/broken.safetensors" in result.stderr


def test_a_broken_file_that_is_asked_for(folder, more, model_path):

    result = CliRunner().invoke(main, ["models", "in.png", "nowhere", "little"])
    assert result.exit_code == 9
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["name", "little,"]
    assert result.stderr.count("\n") == 2 and "in.png" in result.stderr and "'nowhere'" in result.stderr

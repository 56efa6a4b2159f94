"""Files of every format version that there was decode as they always did, here and by a decoder written from the document alone."""

import hashlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ddpmcodec import api, errors
from ddpmcodec.format import container
from ddpmcodec.models import registry

TESTS = Path(__file__).parents[2]
VERSIONS = sorted(int(path.name) for path in (TESTS / "conformance").iterdir())
MANIFESTS = {version: json.loads((TESTS / "conformance" / str(version) / "manifest.json").read_text()) for version in VERSIONS}
FILES = [(version, name) for version, manifest in MANIFESTS.items() for name in manifest]
VALID = [(version, name) for version, name in FILES if "error" not in MANIFESTS[version][name]]
MALFORMED = [(version, name) for version, name in FILES if "error" in MANIFESTS[version][name]]
KINDS = {
    "ForeignFileError": "foreign",
    "UnsupportedVersionError": "version",
    "TruncatedFileError": "truncated",
    "CorruptFileError": "corrupt",
    "ModelError": "model",
    "DriftError": "drift",
}


def script(name):
    """A module that lies among the tests."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_conformance():
    return script("make_conformance")


@pytest.fixture(scope="module")
def reference():
    return script("reference_decoder")


def read(version, name):
    return (TESTS / "conformance" / str(version) / f"{name}.ddpm").read_bytes()


def assert_is_the_picture(images, version, name):
    """Within 1 of 255, as other machines round differently; exactly where the file is lossless."""
    with Image.open(TESTS / "conformance" / str(version) / f"{name}.png") as expected:
        pixels = np.concatenate([np.asarray(image) for image in images])
        difference = np.abs(pixels.astype(int) - np.asarray(expected)).max()
    assert difference <= (0 if MANIFESTS[version][name]["exact"] else 1)


def test_each_version_has_its_files():
    assert list(range(1, container.VERSION + 1)) == VERSIONS
    assert len(FILES) >= 40 * len(VERSIONS)


@pytest.mark.parametrize(("version", "name"), FILES)
def test_no_file_was_ever_changed(version, name):
    assert hashlib.sha256(read(version, name)).hexdigest() == MANIFESTS[version][name]["sha256"]


@pytest.mark.parametrize(("version", "name"), VALID)
def test_files_decode_to_their_pictures(version, name, make_conformance):
    data, entry = read(version, name), MANIFESTS[version][name]
    parsed = container.parse(data)
    assert len(parsed.messages) == entry["steps"] and make_conformance.integers(parsed) == entry["integers"]
    images = api.decode_pictures(data, reconstruct="mean", orientations=1)
    assert_is_the_picture(images, version, name)
    assert {key: hashlib.sha256(content).hexdigest() for key, content in parsed.metadata.info.items()} == entry["info"]
    assert all(key in image.info for image in images for key in entry["info"])


@pytest.mark.parametrize(("version", "name"), MALFORMED)
def test_malformed_files_are_refused(version, name):
    with pytest.raises(getattr(errors, MANIFESTS[version][name]["error"])):
        api.decode_pictures(read(version, name))


def test_files_are_in_their_one_form():
    """But for unknown sections, which are skipped."""
    for version, name in VALID:
        parsed = container.parse(read(version, name))
        if parsed.complete and not name.endswith("ancillary"):
            assert container.serialize(parsed) == read(version, name)


def test_the_files_use_all_of_the_format():
    parsed = {name: container.parse(read(version, name)) for version, name in VALID}
    steps = [step for file in parsed.values() for step in file.steps]
    assert {step.nu for step in steps} == {8, 10, 12, 14, 16} and {step.evaluate for step in steps} == {True, False}
    assert min(step.n for step in steps) == 0 and max(step.n for step in steps) >= 2 * 2048
    assert {file.header.levels.kind for file in parsed.values()} == {"continuous", "discrete"}
    assert {(file.header.gray, file.tail is not None, file.header.pictures > 1) for file in parsed.values()} >= {
        (False, False, False), (True, False, False), (False, True, False), (True, True, False), (True, False, True), (False, True, True)
    }  # fmt: skip
    assert {section.type for file in parsed.values() for section in file.sections} >= set("HAiSTPLexEqz")
    shaped = [file for file in parsed.values() if file.shape is not None]
    assert {(file.shape.number, file.shape.cell > 0) for file in shaped} >= {(2, False), (1, False), (1, True), (255, False), (255, True)}
    assert {file.shape.gains_number for file in shaped} == {0, 1, 2, 3, 255}
    assert {(file.header.gray, file.header.pictures > 1, file.header.levels.kind) for file in shaped} >= {
        (False, False, "continuous"), (True, False, "continuous"), (False, True, "continuous"), (False, False, "discrete")
    }  # fmt: skip


def test_bundled_models_are_those_that_files_name():
    """What was ever the default stays in the package, under its hash."""
    hashes = {"photo-2": "0e73e11f48b77c53", "photo-3": "1cb93e3397445768", "tiny": "905244fcea037b14"}
    assert {name: registry.find(name).hash.hex() for name in hashes} == hashes
    assert {container.parse(read(1, name)).header.model_hash.hex() for name in ("photo-2", "photo-3", "discrete")} == set(hashes.values())


def reference_model(version, name):
    """What the reference decoder takes of a model; of another, where the file is none."""
    try:
        header = container.parse(read(version, name)).header
        model = registry.find_hash(header.model_name, header.model_hash)
    except errors.DdpmcodecError:
        model = registry.find("test-model")

    def network(x, condition):
        with torch.no_grad():
            return model.network(torch.from_numpy(x), torch.tensor([condition], dtype=torch.float32)).numpy()

    return SimpleNamespace(
        hash=model.hash,
        stride=model.network.stride,
        prediction=model.prediction,
        architecture=model.config["architecture"],
        network=network,
    )


@pytest.mark.parametrize(("version", "name"), VALID)
def test_the_reference_decoder_agrees(version, name, reference):
    data, entry = read(version, name), MANIFESTS[version][name]
    file = reference.parse(data)
    assert reference.integers(file) == entry["integers"]
    images = reference.decode(data, reference_model(version, name))
    assert_is_the_picture(images, version, name)
    assert all({key: hashlib.sha256(image.info[key]).hexdigest() for key in entry["info"]} == entry["info"] for image in images)


@pytest.mark.parametrize(("version", "name"), MALFORMED)
def test_the_reference_decoder_refuses(version, name, reference):
    with pytest.raises(reference.Refused) as refused:
        reference.decode(read(version, name), reference_model(version, name))
    assert refused.value.kind == KINDS[MANIFESTS[version][name]["error"]]

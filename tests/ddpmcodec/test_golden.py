"""Files that were made when the format was last changed still decode to the pictures they decoded to (tests/make_golden.py)."""

import numpy as np
import pytest
from PIL import Image

from ddpmcodec import api, container

NAMES = ["golden-40x33", "golden-97x64", "golden-23x31"]


@pytest.fixture(params=NAMES)
def golden(request, data_dir):
    return request.param, (data_dir / f"{request.param}.ddpm").read_bytes()


def assert_nearly_equal(image, path):
    """Within 1 of 255: other machines round differently."""
    with Image.open(path) as expected:
        difference = np.abs(np.asarray(image).astype(int) - np.asarray(expected))
    assert difference.max() <= 1


def test_golden_files_decode_to_their_pictures(golden, data_dir):
    name, data = golden
    assert_nearly_equal(api.decode(data), data_dir / f"{name}.png")


def test_the_lossless_golden_file_is_exact(data_dir):
    with Image.open(data_dir / "golden-23x31.png") as expected:
        assert np.array_equal(api.decode((data_dir / "golden-23x31.ddpm").read_bytes()), expected)


def test_golden_prefixes_decode_to_their_pictures(golden, data_dir):
    name, data = golden
    half = len(container.parse(data).steps) // 2
    assert_nearly_equal(api.decode(data, steps=half), data_dir / f"{name}-half.png")


def test_golden_files_are_in_their_one_form(golden):
    _, data = golden
    assert container.serialize(container.parse(data)) == data


def test_golden_files_use_all_of_the_format(data_dir):
    small, large, lossless = (container.parse((data_dir / f"{name}.ddpm").read_bytes()) for name in NAMES)
    assert {step.nu for step in (*small.steps, *large.steps)} == {8, 16}
    assert any(not step.evaluate for step in large.steps) and any(step.n >= 2 * 2048 for step in large.steps)
    assert lossless.tail is not None and small.tail is None
    assert large.header.seed == 2**62 + 5
    assert large.ends[-1] - large.ends[0] > sum(step.bytes for step in large.steps[1:])  # checksums between the messages

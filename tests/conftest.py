"""Fixtures that all tests share: the small frozen test model, pictures, and files encoded once a session."""

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image

from ddpmcodec import threads
from ddpmcodec.encoder import EncodeOptions, Encoding, encode_pixels
from ddpmcodec.format.header import Header
from ddpmcodec.models import checkpoint, networks
from ddpmcodec.models.model import Model, complete
from ddpmcodec.models.photo_unet import PhotoUNet
from ddpmcodec.picture import Picture
from ddpmcodec.target import Rate

DATA = Path(__file__).parent / "data"

threads.use(1)  # the test model is so small that threads only wait for each other
os.environ |= {threads.VARIABLE: "1", "OMP_WAIT_POLICY": "passive"}  # of the processes that tests start, pytest-xdist's among them
hypothesis.settings.register_profile("ddpmcodec", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ddpmcodec")


def crop(left: int, top: int, width: int, height: int) -> np.ndarray:
    with Image.open(DATA / "raccoon-1021x683.jpg") as photo:
        return np.asarray(photo.convert("RGB").crop((left, top, left + width, top + height)))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    return DATA


@pytest.fixture(scope="session", autouse=True)
def models_of_files():
    """Files made with the test model find it by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDPMCODEC_MODELS", str(DATA))
        yield


@pytest.fixture(scope="session")
def drawing() -> np.ndarray:
    """A drawn picture, 61 x 45: a gradient, an edge, a disc and some texture."""
    y, x = np.mgrid[:45, :61].astype(float)
    channels = np.stack([40 + 2.5 * x, 60 + 3 * y, 120 + 60 * np.sin(x / 5) * np.cos(y / 7)], 2)
    channels[(x - 40) ** 2 + (y - 20) ** 2 < 150] = (230, 200, 40)
    channels[30:, :20] //= 2
    return channels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def model_path() -> str:
    return str(DATA / "test-model.safetensors")


@pytest.fixture(scope="session")
def model(model_path: str) -> Model:
    return checkpoint.load(Path(model_path))


def paper_config(**changes) -> dict:
    """The configuration of a small model of the paper's kind, complete."""
    config = {
        "architecture": "ddpm-unet",
        "resolution": 16,
        "channels": 8,
        "multipliers": [1, 2],
        "blocks": 1,
        "attention": [8],
        "groups": 4,
    }
    config |= {"levels": {"kind": "discrete", "schedule": "linear", "T": 50, "beta_1": 1e-4, "beta_T": 0.3}, "start": 50}
    return complete(config | changes)


@pytest.fixture(scope="session")
def paper_model():
    """Makes such a model, of random weights that predict something."""

    def make(**changes) -> Model:
        config = paper_config(**changes)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = networks.build(config)
            for name, p in network.named_parameters():
                p.data += 0.02 * torch.randn_like(p) if name != "variance_fraction" else 0
        return networks.model_of("paper", config, network.state_dict())

    return make


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A part of a photo, 100 x 80."""
    return crop(400, 200, 100, 80)


@pytest.fixture(scope="session")
def encoding(photo: np.ndarray, model: Model) -> Encoding:
    """The photo at 1 bpp: about ten steps."""
    return encode_pixels(Picture(photo), model, Rate(1), EncodeOptions(evaluations=10, effort=2, seed=7, tune="psnr"))


@pytest.fixture(scope="session")
def drawing_encoding(drawing: np.ndarray, model: Model) -> Encoding:
    """The drawing at 2 bpp: a few steps, fast to decode."""
    return encode_pixels(Picture(drawing), model, Rate(2), EncodeOptions(evaluations=6, effort=1, seed=3, tune="psnr"))


@pytest.fixture(scope="session")
def large_encoding(photo: np.ndarray, model: Model) -> Encoding:
    """The photo at 6 bpp: steps of thousands of bits, and checksums within the payload."""
    return encode_pixels(Picture(photo), model, Rate(6), EncodeOptions(evaluations=12, effort=3, tune="psnr"))


@pytest.fixture(scope="session")
def small_encoding(model: Model) -> Encoding:
    """A 41 x 23 picture in about 1.3 kB, with one checksum within the payload: small enough to try every bit of."""
    return encode_pixels(Picture(crop(460, 240, 41, 23)), model, Rate(11), EncodeOptions(evaluations=5, effort=1, tune="psnr"))


@pytest.fixture(scope="session")
def header(model: Model) -> Header:
    """Of a 97 x 64 picture with continuous levels."""
    return Header(97, 64, model.name, model.hash, model.levels, model.start, 3)


@pytest.fixture(scope="session")
def discrete_model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model conditioned on the timesteps of the paper's schedule, with random weights."""
    config = {
        "architecture": "photo-unet",
        "channels": [8, 8],
        "blocks": 1,
        "embedding": 16,
        "unshuffle": 2,
        "levels": {"kind": "discrete", "schedule": "linear", "T": 1000},
        "start": 1000,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PhotoUNet((8, 8), 1, 16, 2)
    path = tmp_path_factory.mktemp("models") / "discrete.safetensors"
    checkpoint.save(path, "discrete", config, network.state_dict())
    return str(path)


@pytest.fixture(scope="session")
def discrete_model(discrete_model_path: str) -> Model:
    return checkpoint.load(Path(discrete_model_path))


@pytest.fixture
def thread_counts():
    """Sets the number of threads; put back afterwards."""
    before = threads.count()
    yield threads.use
    threads.use(before)


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[str, str], Any]:
    """Opens a page in a headless Chromium, with a script at its end; what that leaves in `document.title`, as JSON."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")

    def browse(page: str, script: str) -> Any:
        path = tmp_path / "page.html"
        path.write_text(page.replace("</body>", f"<script>{script}</script></body>"))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=5000"]
        done = subprocess.run([chromium, *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
        return json.loads(html.unescape(re.findall("<title>(.*?)</title>", done.stdout)[0]))

    return browse

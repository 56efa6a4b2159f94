"""The bench: its measures against the theory, its tables, and the command."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ddpmcodec import plan
from ddpmcodec.channel.channel import TrellisChannel, codeword
from ddpmcodec.channel.randomness import STREAM_SAMPLING, SharedRandomness
from ddpmcodec.cli import main
from ddpmcodec.eval import bench, documents
from ddpmcodec.eval.bench import Measurement
from ddpmcodec.models import processor
from ddpmcodec.models.model import Model

COUNT = 20000
KL = 3000.0
EXAMPLE = Measurement("trellis", 8, 25, 64, 80, 60, 1e-3, 5e-4, 1.01, 1, 3)


def delta_of(kl: float, count: int = COUNT) -> np.ndarray:
    delta = np.random.default_rng(0).standard_normal(count)
    return delta * math.sqrt(count * (4 ** (kl / count) - 1)) / np.linalg.norm(delta)


class PerfectChannel:
    """Gives the receiver exact samples of q, times a scale, for round(KL) bits."""

    def __init__(self, delta: np.ndarray, scale: float = 1):
        self.delta, self.scale = delta, scale

    def send(self, delta: np.ndarray, step: int, n: int, nu: int) -> bytes:
        return (1 << n - 1).to_bytes(-(-n // 8), "little")

    def receive(self, message: bytes, step: int, n: int, nu: int) -> np.ndarray:
        return self.scale * (self.delta + SharedRandomness(4, 0).gaussians(COUNT, STREAM_SAMPLING, step))


def test_a_sample_of_q_conveys_the_kl():
    delta = delta_of(KL)
    m = bench.measure(PerfectChannel(delta), "poisson", 16, 25, KL, delta)
    assert (m.kl, m.bits, m.bits_per_kl) == (KL, KL, 1)
    assert m.efficiency == pytest.approx(1, abs=0.03)
    assert m.projection == pytest.approx(1, abs=0.02)
    assert m.variance == pytest.approx(1, abs=0.02)
    assert m.kurtosis == pytest.approx(3, abs=0.1)


def test_a_wrong_scale_does_not_pass_for_information():
    delta = delta_of(KL)
    right, wrong = (bench.measure(PerfectChannel(delta, scale), "poisson", 16, 25, KL, delta) for scale in (1, 1.3))
    assert wrong.conveyed == pytest.approx(right.conveyed)
    assert wrong.projection == pytest.approx(1.3 * right.projection)


def test_the_trellis_has_the_efficiency_of_the_format():
    """eta, less what a step's start costs."""
    delta = delta_of(KL)
    m = bench.measure(TrellisChannel(SharedRandomness(0, 0), COUNT, 101), "trellis", 8, 25, KL, delta)
    assert m.bits == codeword.legal_bits(round(plan.path_bits(KL, 8)))
    assert m.efficiency == pytest.approx(codeword.ETA[8], abs=0.02)
    assert m.projection == pytest.approx(1, abs=0.02)
    assert m.us_per_bit == pytest.approx(m.send_seconds / m.bits * 1e6) and m.receive_seconds > 0


def test_steps_have_the_kl_asked_for(model: Model, photo: np.ndarray):
    """Also where it is far less than the next level's."""
    dimensions = codeword.padded_size(photo.size, 100)
    found = list(bench.deltas(model, photo, 25, [2, 100, 3000]))
    assert [kl for kl, _ in found] == [2, 100, 3000]
    for kl, delta in found:
        assert plan.kl_bits(float(np.square(delta).sum()), dimensions) == pytest.approx(kl, rel=1e-4)


def test_every_effort_within_the_limit(model: Model, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "REPEATS", (1, 1))
    pixels = photo[:16, :16]
    limit = codeword.padded_size(pixels.size, 16) / 2
    found = list(bench.measure_trellis(model, pixels, [50, 12], [30, limit]))
    nus = list(plan.NU_OF_EFFORT.values())
    assert [(m.sigma, m.kl, m.setting) for m in found] == [(sigma, 30, nu) for sigma in (50, 12) for nu in nus]


def test_tables():
    measurements = [EXAMPLE, replace(EXAMPLE, sigma=6, conveyed=40), replace(EXAMPLE, setting=10, kl=256, bits=300, conveyed=240)]
    assert bench.curves(measurements) == {
        "nu = 8": {64: (pytest.approx((80 / 60 + 2) / 2), pytest.approx(12.5))},
        "nu = 10": {256: (1.25, pytest.approx(1e-3 / 300 * 1e6))},
    }
    assert bench.summary(measurements).splitlines() == [
        "| KL bits | nu = 8 | nu = 10 | us, nu = 8 | us, nu = 10 |",
        "|---:|---:|---:|---:|---:|",
        "| 64 | 1.667 | - | 12.50 | - |",
        "| 256 | - | 1.250 | - | 3.33 |",
    ]
    head, rule = bench.HEAD.splitlines()
    assert head.count("|") == rule.count("|") == bench.row(EXAMPLE).count("|")
    assert bench.row(EXAMPLE) == "| nu = 8 | 25 | 64 | 1.250 | 0.750 | 12.50 | 1.0 | 0.5 | 1.0100 | 1.0000 | 3.000 |"


def test_measurements_are_read_back():
    record = EXAMPLE.record()
    data = json.dumps({"photo": {"steps": [record, record]}, "crop": {"steps": [record]}}).encode()
    assert documents.steps("coder.json", data) == ([EXAMPLE, EXAMPLE], [EXAMPLE])


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch):
    """A bench of seconds."""
    constants = {"SIGMAS": (25,), "STEP_BITS": (16, 64), "CROP_STEP_BITS": (40,), "OTHER_STEP_BITS": 40, "CROP_SIDE": 16}
    for name, value in (constants | {"OTHER_CHUNK_BITS": (8,), "REPEATS": (1, 1)}).items():
        monkeypatch.setattr(bench, name, value)


def test_the_command_and_its_plot(tmp_path: Path, photo: np.ndarray, model_path: str, small: None):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    options = ["--poisson", "--crop", "20", "30", "--repeats", "1", "--model", model_path, "--evaluations", "5", "--effort", "1"]
    options += ["--backend", "torch"]
    result = run("bench", tmp_path / "photo.png", *options, "--threads", "1", "-o", tmp_path / "coder.json")
    assert result.exit_code == 0, result.output
    saved = json.loads((tmp_path / "coder.json").read_text())
    nus = list(plan.NU_OF_EFFORT.values())
    assert [(m["kl"], m["setting"]) for m in saved["photo"]["steps"]] == [(kl, nu) for kl in (16, 64) for nu in nus]
    poisson = [(m["kl"], m["setting"]) for m in saved["crop"]["steps"] if m["coder"] == "poisson"]
    assert poisson == [(40, 16), (40, 6), (40, 8)]
    for m in (*saved["photo"]["steps"], *saved["crop"]["steps"]):
        assert f"| {m['bits_per_kl']:.3f} | {m['efficiency']:.3f} |" in result.output
    assert "100x80, test-model" in result.output and saved["processor"] == processor.name() and f"of {processor.name()}" in result.output
    times = saved["timing"]
    assert (times["backend"], times["device"]) == ("torch", "cpu") and " bpp | 5 | torch, cpu | 1 |" in result.output
    assert times["evaluations"] == 5 and times["bpp"] <= 1 and times["encode_network_seconds"] < times["encode_seconds"]
    assert 5e7 < times["decode_peak_bytes"] < 3e9 and times["evaluation_seconds"] < times["decode_seconds"]
    pytest.importorskip("matplotlib")
    assert run("plot", tmp_path / "coder.json", "-o", tmp_path / "coder.png").exit_code == 0
    with Image.open(tmp_path / "coder.png") as image:
        assert image.width > 2 * image.height > 600


def test_a_crop_outside(tmp_path: Path, photo: np.ndarray):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    result = run("bench", tmp_path / "photo.png", "--poisson", "--crop", "90", "0")
    assert result.exit_code == 13 and "90, 0" in result.output

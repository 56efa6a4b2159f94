"""The comparison of channels on the same steps."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ddpmcodec.cli import main
from ddpmcodec.eval import comparison, losses
from ddpmcodec.models import process
from ddpmcodec.models.model import Model


def test_thinning_keeps_the_last():
    assert comparison.thinned([9, 8, 7, 6, 5, 4, 3], 3) == [8, 5, 3]
    assert comparison.thinned([9, 8], None) == comparison.thinned([9, 8], 5) == [9, 8]


def test_every_way_walks_the_same_levels(photo: np.ndarray, model: Model):
    levels = [-1800, -1400, -1000, -700]
    points = {
        name: comparison.walk(photo[:16, :16], model, levels, comparison.METHODS[name][0](768, 16))
        for name in ("trellis, nu = 12", "Poisson, chunks of 6 bits", "universal quantization")
    }
    for each in points.values():
        assert len(each) == 4
        for before, after in pairwise(each):
            assert after["kl_bits"] > before["kl_bits"] and after["bits"] >= before["bits"]
    last = {name: each[-1] for name, each in points.items()}
    assert last["universal quantization"]["bits"] > 1.5 * last["trellis, nu = 12"]["bits"]


def test_the_summary_has_a_row_for_each():
    def line(offset: float):
        return [
            {"kl_bits": 90 * r, "bits": 100 * r, "bpp": r, "psnr-rgb": 30 + 5 * np.log2(r) - offset, "seconds": r} for r in (0.2, 1, 4.1)
        ]

    first, second = comparison.summary({"a": [line(0)], "b": [line(5)]})
    assert first["bd_rate"] == pytest.approx(0) and second["bd_rate"] == pytest.approx(100, rel=0.05)
    assert first["psnr-rgb"] == pytest.approx([20, 25, 30, 35]) and first["bits_per_kl"] == pytest.approx(1 / 0.9)
    assert comparison.table([first, second]).splitlines()[-1].startswith("| b | 3 | 1.111 |")


def test_small_pictures_are_refused(tmp_path: Path):
    Image.new("RGB", (63, 80)).save(tmp_path / "small.png")
    done = CliRunner().invoke(main, ["eval", "comparison", str(tmp_path), "-o", str(tmp_path / "x.json")])
    assert done.exit_code == 3 and "no picture has 64x64" in done.stderr and not (tmp_path / "x.json").exists()


def test_the_command_compares_and_draws(tmp_path: Path, photo: np.ndarray, model_path: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(comparison, "METHODS", {"trellis, nu = 12": comparison.METHODS["trellis, nu = 12"]})
    Image.fromarray(photo).save(tmp_path / "a.png")
    options = ["--model", model_path, "--evaluations", "6", "-j", "1", "--plot", str(tmp_path / "x.png")]
    done = CliRunner().invoke(main, ["eval", "comparison", str(tmp_path / "a.png"), "-o", str(tmp_path / "x.json"), *options])
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "x.json").read_text())
    [row] = document["summary"]
    assert document["pictures"] == ["a.png"] and f"| trellis, nu = 12 | {row['steps']:.0f} | {row['bits_per_kl']:.3f} |" in done.stdout
    with Image.open(tmp_path / "x.png") as figure:
        assert figure.width > 500


class TestLosses:
    """Where the rate goes, on a denoiser known in closed form: x_0 ~ N(0, v) a dimension has mse v / (1 + v snr)."""

    V = 0.04
    LOG_SNR = np.linspace(-12, 9, 200)

    def denoising(self) -> losses.Denoising:
        return losses.Denoising(self.LOG_SNR, self.V / (1 + self.V * np.exp(self.LOG_SNR)))

    def test_fine_steps_take_the_mutual_information(self):
        bits = self.denoising().fine_bits(self.LOG_SNR)
        exact = np.log2((1 + self.V * np.exp(self.LOG_SNR)) / (1 + self.V * np.exp(self.LOG_SNR[0]))) / 2
        assert bits == pytest.approx(exact, abs=2e-3)

    def test_of_a_gaussian_every_schedule_takes_no_more(self):
        """With p's variance q's times 1 + d^2 its steps are exact, however large."""
        for f in losses.SCHEDULES.values():
            assert losses.excess(self.denoising(), f, 1.0, 12) == pytest.approx(0, abs=2e-3)
        assert losses.excess(self.denoising(), losses.rule, 99.0, 10) is None

    def test_of_photos_schedules_cost_more_and_the_best_least(self):
        snr = np.exp(self.LOG_SNR)
        photo = losses.Denoising(self.LOG_SNR, process.typical_relative_error(process.sigma_of_snr(snr)) / snr)
        for evaluations in (12, 30):
            each = {name: losses.excess(photo, f, 1.0, evaluations) for name, f in losses.SCHEDULES.items()}
            assert 0 < each["best"] < each["default"] < each["equal ratios"]

    def test_a_schedule_ends_where_it_should(self):
        for f in losses.SCHEDULES.values():
            visited = f(self.denoising(), -12.0, 3.0, 15)
            assert len(visited) == 15 and visited[0] == -12 and visited[-1] == 3 and np.all(np.diff(visited) >= 0)

    def test_the_command(self, tmp_path: Path, photo: np.ndarray, model_path: str):
        Image.fromarray(photo[:40, :48]).save(tmp_path / "a.png")
        options = ["--model", model_path, "--evaluations", "12", "--effort", "1", "-j", "1", "--advantage", "0.5"]
        done = CliRunner().invoke(main, ["eval", "losses", str(tmp_path / "a.png"), "-o", str(tmp_path / "l.json"), *options])
        assert done.exit_code == 0, done.output
        assert "| real bytes |" in done.output and "| equal ratios | 60 |" in done.output
        document = json.loads((tmp_path / "l.json").read_text())
        [picture] = document["pictures"].values()
        for point in picture["points"][1:]:
            assert point["bpp"] > point["kl_bpp"] > 0

"""Results files, BD-rates against closed forms, and plots."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ddpmcodec.cli import main
from ddpmcodec.errors import EvaluationError
from ddpmcodec.eval import curves, figures
from ddpmcodec.eval.curves import Curve
from ddpmcodec.eval.metrics import ms_ssim

RATES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)


def curve(factor=1.0, name="c", rates=RATES):
    """25 + 5 log2 of the rate over .1, at `factor` times the rate."""
    return Curve(name, "", tuple(factor * r for r in rates), {"psnr-rgb": tuple(25 + 5 * math.log2(r / 0.1) for r in rates)})


@pytest.mark.parametrize("method", curves.METHODS)
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3])
def test_a_constant_ratio_of_rates_is_the_bd_rate(method, factor):
    pytest.importorskip("bjontegaard")
    result = curves.bd_rate(curve(name="a"), curve(factor), method=method)
    assert result.percent == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert (result.low, result.high, result.overlap) == (25, 50, 1)


def test_curves_of_other_points_in_a_range_of_rates():
    pytest.importorskip("bjontegaard")
    test = curve(0.8, rates=(0.15, 0.3, 0.5, 0.9, 1.5, 2.2, 4.0))
    result = curves.bd_rate(curve(), test, low=0.15, high=2.5)
    assert result.percent == pytest.approx(-20, abs=1e-6)
    assert result.low == pytest.approx(25 + 5 * math.log2(3)) and 0.5 < result.overlap < 1


def test_points_that_gain_nothing_are_passed_over():
    pytest.importorskip("bjontegaard")
    bumpy = curve()
    bpp, psnr = list(bumpy.bpp), list(bumpy.metrics["psnr-rgb"])
    bpp.insert(3, 0.5)
    psnr.insert(3, psnr[2] - 1)
    assert curves.bd_rate(bumpy, Curve("b", "", tuple(bpp), {"psnr-rgb": tuple(psnr)})).percent == pytest.approx(0, abs=1e-6)


def test_what_has_no_bd_rate():
    pytest.importorskip("bjontegaard")
    high = Curve("high", "", RATES, {"psnr-rgb": tuple(v + 40 for v in curve().metrics["psnr-rgb"])})
    for anchor, test, options, message in [
        (curve(), high, {}, "do not overlap"),
        (curve(), curve(), {"high": 0.5}, "3 points"),
        (curve(), curve(), {"metric": "ms-ssim-rgb"}, "no ms-ssim-rgb"),
    ]:
        with pytest.raises(EvaluationError, match=message):
            curves.bd_rate(anchor, test, **options)


def write(path, lists, **fields):
    Path(path).write_text(json.dumps({"name": Path(path).stem, "description": "d", "results": lists, **fields}))
    return str(path)


def test_results_files_ours_and_compressais(tmp_path):
    theirs = write(tmp_path / "a.json", {"bpp": [0.4, 0.1], "psnr": [33, 27.5], "ms-ssim": [0.9, 0.8]}, meta=1)
    read = curves.read(theirs)
    assert read == Curve("a", "d", (0.1, 0.4), {"psnr-rgb": (27.5, 33), "ms-ssim-rgb": (0.8, 0.9)})
    some = write(tmp_path / "b.json", {"bpp": [0.1, 0.4], "psnr-rgb": [27.5, 33], "ms-ssim-rgb": [None, 0.9]})
    assert set(curves.read(some).metrics) == {"psnr-rgb"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"results": 3}',
        '{"results": {"psnr": [1]}}',
        '{"results": {"bpp": [0.1], "psnr": [1, 2]}}',
        '{"results": {"bpp": [-1]}}',
        '{"results": {"bpp": [null]}}',
        '{"results": {"bpp": ["a"]}}',
        '{"results": ' * 9999,
    ],
)
def test_files_that_are_none(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(EvaluationError, match=r"a\.json"):
        curves.read(str(tmp_path / "a.json"))
    with pytest.raises(EvaluationError, match="nowhere"):
        curves.read("nowhere.json")


def run(*arguments, code=0, input=None):
    result = CliRunner().invoke(main, [str(a) for a in arguments], input=input)
    assert result.exit_code == code, (result.stderr, result.exception)
    return result


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, factor in (("a", 1.0), ("b", 0.8)):
        c = curve(factor)
        write(f"{name}.json", {"bpp": c.bpp, "psnr-rgb": c.metrics["psnr-rgb"], "ms-ssim-rgb": [0.9 + 0.01 * i for i in range(6)]})


def test_the_bd_rate_command(files):
    pytest.importorskip("bjontegaard")
    result = run("bd-rate", "a.json", "a.json", "b.json")
    assert [line.split("|")[1:3] for line in result.stdout.splitlines()[2:]] == [[" a ", " +0.0 "], [" b ", " -20.0 "]]
    (entry,) = json.loads(run("bd-rate", "a.json", "b.json", "--json", "--method", "pchip", "--max-bpp", 2).stdout)
    assert entry["percent"] == pytest.approx(-20) and entry["high"] == 45 and entry["method"] == "pchip"
    assert "four at least" in run("bd-rate", "a.json", "b.json", "--max-bpp", 0.5, code=13).stderr
    assert "nowhere.json" in run("bd-rate", "a.json", "nowhere.json", code=3).stderr
    assert run("bd-rate", "a.json", "-", input=Path("b.json").read_bytes()).stdout == run("bd-rate", "a.json", "b.json").stdout


def test_the_plot_command(files):
    pytest.importorskip("matplotlib")
    run("plot", "a.json", "b.json", "-o", "rd.png", "--log")
    assert Path("rd.png").read_bytes().startswith(b"\x89PNG")
    run("plot", "a.json", "b.json", "-o", "rd.svg")
    svg = Path("rd.svg").read_text()
    assert "<svg" in svg
    run("plot", "a.json", "-o", "rd.html", "--min-bpp", 0.3)
    page = Path("rd.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "data:image/svg+xml;base64," in page and "http" not in page
    drawn = run("plot", "a.json", "-o", "-").stdout_bytes
    assert drawn.startswith(b"\x89PNG") and run("plot", "-", "-o", "-", input=Path("a.json").read_bytes()).stdout_bytes == drawn
    assert ".gif" in run("plot", "a.json", "-o", "rd.gif", code=12).stderr
    run("plot", "a.json", "-o", "no/rd.png", code=12)
    run("plot", "a.json", "-o", "rd.png", "--min-bpp", 9, code=13)
    run("plot", "nowhere.json", "-o", "rd.png", code=3)
    Path("broken.json").write_text("{")
    run("plot", "broken.json", "-o", "rd.png", code=13)


def test_every_curve_is_drawn(files):
    pytest.importorskip("matplotlib")
    both = figures.rate_distortion([curves.read("a.json"), curves.read("b.json")], kind="svg").decode()
    one = figures.rate_distortion([curves.read("a.json")], kind="svg").decode()
    assert both.count("<use") > one.count("<use") > 0


def test_ms_ssim():
    pytest.importorskip("pytorch_msssim")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:170, :180]
    a = np.stack([128 + 80 * np.sin(x / 9 + c) * np.cos(y / 13) for c in range(3)], 2).astype(np.uint8)
    noisy = [np.clip(a + rng.normal(0, s, a.shape), 0, 255).astype(np.uint8) for s in (3, 15)]
    assert ms_ssim(a, a) == pytest.approx(1)
    assert 1 > ms_ssim(a, noisy[0]) > ms_ssim(a, noisy[1]) > 0.3
    assert ms_ssim(a[:160], a[:160]) is None

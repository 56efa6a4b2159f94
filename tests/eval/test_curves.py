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
    decibels = write(tmp_path / "c.json", {"bpp": [0.1, 0.4], "ms-ssim-db-rgb": [10, 20]})
    assert curves.read(decibels).metrics["ms-ssim-rgb"] == pytest.approx((0.9, 0.99))
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
    assert [line.split("|")[1:5] for line in result.stdout.splitlines()[2:]] == [
        [" a ", " - ", " - ", " +0.0 "],
        [" b ", " - ", " - ", " -20.0 "],
    ]
    (entry,) = json.loads(run("bd-rate", "a.json", "b.json", "--json", "--method", "pchip", "--max-bpp", 2).stdout)
    assert entry["percent"] == pytest.approx(-20) and entry["high"] == 45 and entry["method"] == "pchip"
    assert "four at least" in run("bd-rate", "a.json", "b.json", "--max-bpp", 0.5, code=13).stderr
    assert "nowhere.json" in run("bd-rate", "a.json", "nowhere.json", code=3).stderr
    assert run("bd-rate", "a.json", "-", input=Path("b.json").read_bytes()).stdout == run("bd-rate", "a.json", "b.json").stdout


def test_an_infinite_bd_rate_is_null_in_json(files):
    pytest.importorskip("bjontegaard")
    for name, factor in (("a", 1e-310), ("b", 1e7)):
        c = curve(factor)
        write(f"{name}.json", {"bpp": c.bpp, "psnr-rgb": c.metrics["psnr-rgb"]})

    def refuse(constant):
        raise AssertionError(constant)

    (entry,) = json.loads(run("bd-rate", "a.json", "b.json", "--json").stdout, parse_constant=refuse)
    assert entry["percent"] is None and entry["low"] == 25


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


def ours(name, factors, metric="psnr-rgb", rising=True):
    """Results with pictures whose curves are `curve`'s at these factors of the rate; all falling where not `rising`."""
    sign = 1 if rising else -1
    points = {
        f"{i}.png": [{"bpp": f * r, metric: sign * (25 + 5 * math.log2(r / 0.1)), "other": None} for r in RATES]
        for i, f in enumerate(factors)
    }
    entries = {picture: {"sha256": "ab", "points": p, "side": 99} for picture, p in points.items()}
    mean = [float(np.mean([p[k]["bpp"] for p in points.values()])) for k in range(len(RATES))]
    lists = {"bpp": mean, metric: [p[metric] for p in points["0.png"]]}
    return curves.parse(name, json.dumps({"name": name, "results": lists, "pictures": entries}).encode())


@pytest.mark.parametrize("method", curves.METHODS)
def test_the_mean_of_the_pictures_bd_rates(method):
    """Pictures whose rates change by -20 and +50 % have a mean of +15 %, however many bits each takes."""
    pytest.importorskip("bjontegaard")
    anchor, test = ours("a", [1.0, 10.0]), ours("b", [0.8, 15.0])
    found = curves.mean_bd_rate(anchor, test, method=method)
    assert found.percent == pytest.approx(15, abs=1e-6) and found.pictures == 2 and not found.left_out
    assert curves.bd_rate(anchor, test, method=method).percent == pytest.approx(100 * (15.8 / 11 - 1), abs=1e-6)


def test_pictures_without_a_bd_rate_are_named_and_others_are_not_compared():
    pytest.importorskip("bjontegaard")
    anchor, test = ours("a", [1.0, 1.0, 1.0]), ours("b", [0.8, 0.8, 0.8])
    test.pictures["1.png ab"][:] = test.pictures["1.png ab"][:3]
    test.pictures["2.png other"] = test.pictures.pop("2.png ab")
    found = curves.mean_bd_rate(anchor, test)
    assert found.percent == pytest.approx(-20) and found.pictures == 1
    assert list(found.left_out) == ["1.png ab"] and "3 points" in found.left_out["1.png ab"]
    with pytest.raises(EvaluationError, match="no picture in common"):
        curves.mean_bd_rate(curve(), test)


def test_a_metric_that_falls_with_quality():
    pytest.importorskip("bjontegaard")
    rising = curves.bd_rate(ours("a", [1.0, 2.0]), ours("b", [0.7, 1.4]))
    a, b = (ours(name, factors, "butteraugli-3norm", rising=False) for name, factors in (("a", [1.0, 2.0]), ("b", [0.7, 1.4])))
    falling = curves.bd_rate(a, b, metric="butteraugli-3norm")
    assert falling.percent == pytest.approx(rising.percent) and falling.percent == pytest.approx(-30)
    assert (falling.low, falling.high, falling.overlap) == (-rising.high, -rising.low, rising.overlap)
    assert curves.mean_bd_rate(a, b, metric="butteraugli-3norm").percent == pytest.approx(-30)


def test_the_bd_rate_command_leads_with_the_pictures(tmp_path, monkeypatch):
    pytest.importorskip("bjontegaard")
    monkeypatch.chdir(tmp_path)
    for name, factors in (("a", [1.0, 10.0]), ("b", [0.8, 15.0])):
        c = ours(name, factors)
        pictures = {p.split()[0]: {"sha256": "ab", "points": points} for p, points in c.pictures.items()}
        write(f"{name}.json", {"bpp": c.bpp, "psnr-rgb": c.metrics["psnr-rgb"]}, pictures=pictures)
    line = run("bd-rate", "a.json", "b.json").stdout.splitlines()[-1]
    assert line.split("|")[1:5] == [" b ", " +15.0 ", " 2 ", " +43.6 "]
    (entry,) = json.loads(run("bd-rate", "a.json", "b.json", "--json").stdout)
    assert entry["of_pictures"]["percent"] == pytest.approx(15) and entry["percent"] == pytest.approx(43.6, abs=0.1)


def test_falling_metrics_are_drawn_and_metrics_can_be_chosen(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    c = curve()
    values = {name: list(c.metrics["psnr-rgb"]) for name in ("psnr-rgb", "ssimulacra2", "cvvdp", "butteraugli-3norm", "st-lpips", "lpips")}
    both = figures.rate_distortion([Curve("a", "", c.bpp, {k: tuple(v) for k, v in values.items()})], kind="svg").decode()
    one = figures.rate_distortion([Curve("a", "", c.bpp, {k: tuple(v) for k, v in values.items()})], kind="svg", wanted=["cvvdp"]).decode()
    assert both.count('id="axes_') == 6 and one.count('id="axes_') == 1
    assert both.count("less is better") >= 3  # matplotlib writes each text as a comment beside its glyphs
    write("a.json", {"bpp": c.bpp, **values})
    run("plot", "a.json", "-o", "a.svg", "--metric", "st-lpips")
    assert Path("a.svg").read_text().count('id="axes_') == 1
    run("plot", "a.json", "-o", "a.svg", "--metric", "nothing", code=13)

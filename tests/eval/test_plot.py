"""`ddpmcodec plot` on files of several kinds, of other kinds, and malformed ones; the figures themselves are tested with what they draw."""

import copy
import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import ddpmcodec
from ddpmcodec.cli import main
from ddpmcodec.eval import documents

pytest.importorskip("matplotlib")

RESULTS = Path(__file__).parents[2] / "docs/results"
STEP = {"coder": "trellis", "setting": 8, "sigma": 25, "kl": 64, "bits": 80, "conveyed": 60, "send_seconds": 1e-3, "receive_seconds": 5e-4}
STEP |= {"projection": 1.0, "variance": 1.0, "kurtosis": 3.0, "us_per_bit": 12.5}
CODER = {"timing": {}, "photo": {"width": 9, "steps": [STEP]}, "crop": {"left": 0, "steps": []}}
ROW = {"level": 9, "rmse": 20.5, "bits_per_dimension": 0.5}
BOUND = {"results": [{"model": {"name": "tiny"}, "levels": 9, "variance": "beta", "progressive": [ROW, ROW]}]}


def plot(*arguments, code=0):
    result = CliRunner().invoke(main, ["plot", *map(str, arguments), "-o", "out.svg"])
    assert result.exit_code == code, (result.stderr, result.exception)
    assert code == 0 or (result.stderr.startswith("ddpmcodec: ") and result.stderr.count("\n") == 1 and not Path("out.svg").exists())
    return result.stderr


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, drawing_encoding):
    monkeypatch.chdir(tmp_path)
    Path("in.ddpm").write_bytes(drawing_encoding.data)
    Path("coder.json").write_text(json.dumps(CODER))
    Path("bpd.json").write_text(json.dumps(BOUND))
    for name in "abcde":
        Path(f"{name}.json").write_text(json.dumps({"results": {"bpp": [0.1, 1], "psnr-rgb": [20, 30]}}))


def test_the_kinds_of_the_results_in_docs():
    kinds = {path.stem: documents.kind_of(path.read_bytes()) for path in RESULTS.glob("*.json")}
    others = {"bpd": "bound", "coder": "channel coder", "comparison": "comparison", "denoise": "denoise", "losses": "losses"}
    others |= {"lossless": "lossless", "together": "lossless, together"}
    assert {name: kind for name, kind in kinds.items() if kind != "rate-distortion"} == others


def test_each_kind_is_drawn():
    for name in ("in.ddpm", "coder.json", "bpd.json", "a.json"):
        plot(name)
        assert "<svg" in Path("out.svg").read_text()


def test_what_does_not_belong_together_is_listed_by_kind():
    said = plot("a.json", "bpd.json", "b.json", "c.json", "in.ddpm", "d.json", "e.json", code=13)
    listed = "rate-distortion: a.json, b.json, c.json and 2 more; bound: bpd.json; steps of .ddpm files: in.ddpm"
    assert said == f"ddpmcodec: these results do not belong in one figure: {listed}. Plot one kind at a time.\n"


def test_results_that_are_not_drawn():
    assert "denoise.json has results of another kind (denoise)" in plot(RESULTS / "denoise.json", code=13)
    for text in ("[]", "3", "{}", '{"results": null}', "{" * 99999, '{"photo": 3}', '{"results": []}'):
        Path("other.json").write_text(text)
        assert "other.json" in plot("other.json", code=13)


@pytest.mark.parametrize(
    "change",
    [
        {"kl": 0},
        {"bits": None},
        {"conveyed": 1e308},
        {"send_seconds": 1e-308},
        {"send_seconds": "1"},
        {"setting": None},
        {"coder": 3},
        None,
    ],
    ids=str,
)
def test_a_malformed_bench(change):
    document = copy.deepcopy(CODER)
    if change is None:
        del document["photo"]["steps"][0]["conveyed"]
    else:
        document["photo"]["steps"][0] |= change
    Path("coder.json").write_text(json.dumps(document))
    assert "coder.json" in plot("coder.json", code=13)


@pytest.mark.parametrize("change", [{"progressive": []}, {"progressive": [ROW, ROW | {"rmse": 1e308}]}, {"progressive": [ROW, {}]},
                                    {"progressive": 3}, {"model": "tiny"}, {"levels": None}, {"levels": -3}], ids=str)  # fmt: skip
def test_a_malformed_bound(change):
    Path("bpd.json").write_text(json.dumps({"results": [BOUND["results"][0] | change]}))
    assert "bpd.json" in plot("bpd.json", code=13)


def test_a_file_without_steps():
    Path("none.ddpm").write_bytes(ddpmcodec.truncate(Path("in.ddpm").read_bytes(), steps=0))
    assert "none.ddpm has no steps to draw" in plot("in.ddpm", "none.ddpm", code=13)


@pytest.mark.parametrize("name", ["$\\frac$.ddpm", "_a.ddpm"])
def test_names_that_are_no_formulas(name):
    Path("in.ddpm").rename(name)
    plot(name)


def test_a_long_name_leaves_room_for_the_curves():
    Path("bpd.json").write_text(json.dumps({"results": [BOUND["results"][0] | {"model": {"name": 5000 * "x"}}]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib's
        plot("bpd.json")


def test_metrics_are_of_curves():
    for name in ("in.ddpm", "coder.json", "bpd.json"):
        assert "--metric is for rate-distortion curves" in plot(name, "--metric", "psnr-rgb", code=13)


def test_numbers_too_large_to_draw():
    """A metric that has one is left out, as with those that are no numbers; a rate is refused."""
    Path("a.json").write_text(json.dumps({"results": {"bpp": [0.1, 1], "psnr-rgb": [20, 30], "cvvdp": [9, 1e308]}}))
    plot("a.json")
    Path("out.svg").unlink()
    assert "no curve has cvvdp" in plot("a.json", "--metric", "cvvdp", code=13)
    Path("a.json").write_text(json.dumps({"results": {"bpp": [0.1, 1e308], "psnr-rgb": [20, 30]}}))
    assert "a.json has no rates" in plot("a.json", code=13)

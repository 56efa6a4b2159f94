"""Curves by real bytes: interpolation, means, the JSON that comes of them, and measuring in processes."""

import json
import math
import os

import numpy as np
import pytest

from ddpmcodec import quality
from ddpmcodec.errors import WorkerError
from ddpmcodec.eval import curves
from ddpmcodec.eval import rate_distortion as rd
from ddpmcodec.eval.anchors import ANCHORS, Anchor
from ddpmcodec.eval.codecs import Ddpm
from ddpmcodec.eval.curves import Curve
from ddpmcodec.eval.metrics import METRICS

FLAT = np.full((32, 48, 3), 128, np.uint8)


def test_psnr_by_hand():
    a = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    b = np.array([[[3, 0, 0], [255, 255, 251]]], np.uint8)
    assert quality.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (25 / 6)))
    assert quality.psnr(a, 255 - a) == 0
    assert quality.psnr(a, a) == math.inf


def points(*pairs):
    return [
        {"bpp": bpp, "psnr-rgb": psnr, "ms-ssim-rgb": None, "ssimulacra2": None, "lpips": None, "encoding_time": 1.0, "decoding_time": bpp}
        for bpp, psnr in pairs
    ]


def test_interpolation_is_linear_in_log_bpp():
    curve = points((2.0, 40.0), (0.5, 30.0), (1.0, 36.0))
    assert [rd.value_at(curve, rate) for rate in (1, 0.5, 2)] == [36, 30, 40]
    assert rd.value_at(curve, math.sqrt(0.5)) == pytest.approx(33)
    assert rd.value_at(curve, 2**0.25) == pytest.approx(37)
    assert rd.value_at(curve, 1, "decoding_time") == 1 and rd.value_at(curve, 1, "ms-ssim-rgb") is None


@pytest.mark.parametrize("bpp", [0.499, 2.001])
def test_no_extrapolation(bpp: float):
    assert rd.value_at(points((0.5, 30.0), (2.0, 40.0)), bpp) is None
    assert rd.value_at([], bpp) is None


def test_points_without_loss_or_of_one_size_give_no_nan():
    curve = points((0.5, 30.0), (1.0, 35.0), (1.0, 36.0), (2.0, None))
    assert rd.value_at(curve, 1) == 36
    assert rd.value_at(curve, 1.5) is None


def test_a_mean_with_a_missing_value_is_missing():
    assert rd.mean([1.0, 2.0]) == 1.5
    assert rd.mean([1.0, None]) is None
    assert rd.mean([]) is None


def measured(pictures, codecs, jobs=1):
    entries = {codec.name: {} for codec in codecs}
    for codec, name, entry in rd.measure([(name, codecs, pixels) for name, pixels in pictures], jobs, 1):
        entries[codec.name][name] = entry
    return entries


def untimed(entry):
    return [{k: v for k, v in point.items() if "time" not in k} for point in entry["points"]]


def test_results_in_compressai_schema(photo, model, model_path):
    codecs = [Ddpm(model_path, 3.0, evaluations=6, effort=1), ANCHORS["jpeg"]]
    rates = [1.0, 3.0]
    entries = measured([("a", photo), ("b", photo[:64, :64])], codecs)
    for codec in codecs:
        result = rd.results(codec, entries[codec.name], rates)
        assert result == json.loads(json.dumps(result, allow_nan=False))
        assert result["name"] == codec.name and isinstance(result["description"], str)
        lists = result["results"]
        assert set(lists) == {"bpp", "psnr-rgb", "encoding_time", "decoding_time"}
        assert len({len(values) for values in lists.values()}) == 1 and lists["bpp"] == sorted(lists["bpp"])
        for i, entry in enumerate(result["at_bpp"]):
            each = [rd.value_at(e["points"], rates[i]) for e in entries[codec.name].values()]
            assert entry["psnr-rgb"] == (None if None in each else pytest.approx(np.mean(each)))
    ours, jpeg = (rd.results(codec, entries[codec.name], rates) for codec in codecs)
    assert set(rates) <= set(ours["results"]["bpp"]) <= {*rates, *rd.CURVE_RATES}
    assert ours["settings"]["model"] == {"name": model.name, "hash": model.hash.hex()}
    columns = [[p["bpp"] for p in e["points"]] for e in entries["jpeg"].values()]
    assert jpeg["results"]["bpp"] == pytest.approx(np.mean(columns, axis=0))


def test_any_number_of_processes_gives_the_same(photo, model_path):
    pictures = [("a", photo[:40, :40]), ("b", photo[40:, :50]), ("c", FLAT)]
    codecs = [Ddpm(model_path, 2.0, evaluations=4, effort=1), ANCHORS["webp"]]
    one, two = measured(pictures, codecs, 1), measured(pictures, codecs, 2)
    for name in one:
        assert sorted(one[name]) == sorted(two[name]) == ["a", "b", "c"]
        for p in one[name]:
            assert untimed(one[name][p]) == untimed(two[name][p])


def test_a_codec_that_refuses_a_picture_ends_nothing(photo):
    wide = np.zeros((1, 20000, 3), np.uint8)
    entries = measured([("wide", wide), ("photo", photo)], [ANCHORS["webp"], ANCHORS["jpeg"]])
    assert "20000 x 1" in entries["webp"]["wide"]["error"] and entries["webp"]["photo"]["points"] and entries["jpeg"]["wide"]["points"]
    result = rd.results(ANCHORS["webp"], entries["webp"], [1.0])
    assert result["at_bpp"] == [{"bpp": 1.0, "psnr-rgb": None}] and result["results"]["psnr-rgb"] == []


def _exit(quality):
    os._exit(9)


def test_a_process_that_dies_is_an_error(photo):
    with pytest.raises(WorkerError, match="process has died"):
        measured([("photo", photo)], [Anchor("dies", "JPEG", (50,), {}, _exit)])


def test_cells_that_are_not_reached_are_null(photo):
    """The flat picture comes back without loss from every quality, and no JPEG of the other is so small."""
    entries = {name: rd.entry_of(ANCHORS["jpeg"], pixels) for name, pixels in (("flat", FLAT), ("photo", photo))}
    result = rd.results(ANCHORS["jpeg"], entries, [0.01, 2.0])
    json.dumps(result, allow_nan=False)
    assert [entry["psnr-rgb"] for entry in result["at_bpp"]] == [None, None]
    assert all(point["psnr-rgb"] is None for point in result["pictures"]["flat"]["points"])
    assert result["results"]["psnr-rgb"] == []
    assert rd.table({"jpeg": result}, rates=[0.01, 2.0]).splitlines()[-1] == "| jpeg | - | - |"


def test_a_picture_that_a_codec_cannot_reach_the_rates_of_is_left_out_of_all_means(photo):
    """A tiny picture, of which no file is so small, a flat one, which JPEG has exactly, and one too wide for WebP."""
    pictures = [("photo", photo), ("tiny", photo[:4, :4]), ("flat", FLAT), ("wide", np.zeros((1, 20000, 3), np.uint8))]
    codecs = {name: ANCHORS[name] for name in ("jpeg", "webp")}
    found = rd.compare(pictures, codecs, [1.0, 2.0], jobs=1, threads=1)
    assert all(entry["psnr-rgb"] > 20 for entry in found["webp"]["at_bpp"])
    assert all(result["results"]["bpp"] and list(result["pictures"]) == [name for name, _ in pictures] for result in found.values())
    assert set(rd.left_out(found)) == {"tiny", "flat"} and "bpp" in rd.left_out(found)["tiny"]  # the refusal of "wide" is told as one
    assert rd.table(found, rates=[1.0, 2.0]).startswith("| PSNR-RGB in dB, 1 pictures |")
    stored = json.dumps(found["jpeg"])
    assert list(curves.parse("jpeg.json", stored.encode()).pictures) == [f"photo {rd.fingerprint(photo)}"]
    again = rd.compare(pictures[1:2], {"jpeg": codecs["jpeg"]}, [1.0], jobs=1, threads=1, known={"jpeg": json.loads(stored)})
    assert "left_out" not in again["jpeg"]["pictures"]["tiny"]  # a codec that reaches the rates for no picture leaves none out


def test_what_of_earlier_results_can_be_used(photo):
    codec = ANCHORS["jpeg"]
    entries = {"a": rd.entry_of(codec, photo), "b": {"sha256": "0", "error": "refused"}}
    stored = json.loads(json.dumps(rd.results(codec, entries, [1.0])))
    settings = rd.settings(codec)
    assert rd.reusable(stored, settings) == {"a": entries["a"]}
    assert rd.reusable(stored, rd.settings(ANCHORS["webp"])) == {}
    for other in (None, [], {}, {**stored, "pictures": 3}, {**stored, "settings": {}}):
        assert rd.reusable(other, settings) == {}


def test_the_rate_at_a_value_is_where_the_curve_has_it():
    curve = points((0.5, 30.0), (1.0, 36.0), (1.5, 35.0), (2.0, 40.0))
    for value in (30.0, 33.3, 36.0, 39.0):
        rate = rd.rate_at(curve, value)
        assert rate is not None and (rate > 1 or rd.value_at(curve, rate) == pytest.approx(value))
    assert rd.rate_at(curve, 29.9) is None and rd.rate_at(curve, 40.1) is None and rd.rate_at([], 30) is None
    falling = [{"bpp": bpp, "butteraugli-3norm": value} for bpp, value in ((0.5, 4.0), (2.0, 1.0), (8.0, 1.5))]
    assert rd.rate_at(falling, 2.5, "butteraugli-3norm") == pytest.approx(1.0) and rd.rate_at(falling, 0.9, "butteraugli-3norm") is None


def test_table():
    def result(*psnrs: float | None) -> dict:
        return {"pictures": {"a": {}, "b": {}}, "at_bpp": [{"bpp": b, "psnr-rgb": p} for b, p in zip((0.25, 1.0), psnrs, strict=True)]}

    published = Curve("vtm", "", (0.2, 0.5, 1.0), {"psnr-rgb": (30.0, 32.0, 36.5)})
    assert rd.table({"ddpm": result(30.126, 36), "jpeg": result(None, 33)}, [published], [0.25, 1]).splitlines() == [
        "| PSNR-RGB in dB, 2 pictures | 0.25 bpp | 1 bpp |",
        "|---|---:|---:|",
        "| ddpm | 30.13 | 36.00 |",
        "| jpeg | - | 33.00 |",
        "| vtm (published) | 30.49 | 36.50 |",
    ]


def test_metrics_that_cannot_be_measured_are_noted_once(photo):
    """MS-SSIM takes no picture of this size, CVVDP and SSIMULACRA2 use fewer scales; PSNR goes on."""
    measured = [METRICS["psnr-rgb"], METRICS["ms-ssim-rgb"], METRICS["ssimulacra2"]]
    entries = {name: rd.entry_of(ANCHORS["jpeg"], pixels, measured) for name, pixels in (("a", photo), ("b", photo[:40]))}
    result = rd.results(ANCHORS["jpeg"], entries, [2.0], measured)
    assert "ms-ssim-rgb" not in result["results"] and len(result["results"]["psnr-rgb"]) == len(ANCHORS["jpeg"].qualities)
    assert result["at_bpp"][0]["psnr-rgb"] > 25 and result["at_bpp"][0]["ms-ssim-rgb"] is None
    assert rd.notes({"jpeg": result}, measured) == [
        "ms-ssim-rgb takes no picture with a side under 161 pixels: 2 pictures, such as a",
        "ssimulacra2 uses fewer scales under 113 pixels a side: 2 pictures, such as a",
    ]
    assert set(result["settings"]["metrics"]) == {"psnr-rgb", "ms-ssim-rgb", "ssimulacra2"}


def test_a_falling_metric_keeps_its_best_point_of_a_rate():
    curve = [{"bpp": 1.0, "st-lpips": 0.3}, {"bpp": 1.0, "st-lpips": 0.2}, {"bpp": 2.0, "st-lpips": 0.1}]
    assert rd.value_at(curve, 1, "st-lpips") == 0.2 and rd.value_at(curve, math.sqrt(2), "st-lpips") == pytest.approx(0.15)

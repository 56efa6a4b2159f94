"""Curves by real bytes: points, interpolation, means, and the JSON that comes of them."""

import json
import math

import numpy as np
import pytest

import ddpmcodec
from ddpmcodec import encoder, picture
from ddpmcodec.eval import rate_distortion as rd
from ddpmcodec.eval.anchors import ANCHORS
from ddpmcodec.eval.rate_distortion import Point
from ddpmcodec.models.checkpoint import Model

FLAT = np.full((32, 48, 3), 128, np.uint8)


def test_psnr_by_hand():
    a = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    b = np.array([[[3, 0, 0], [255, 255, 251]]], np.uint8)
    assert picture.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (25 / 6)))
    assert picture.psnr(a, 255 - a) == 0
    assert picture.psnr(a, a) == math.inf


def test_interpolation_is_linear_in_log_bpp():
    curve = [Point(4, 2.0, 40.0), Point(1, 0.5, 30.0), Point(2, 1.0, 36.0)]
    assert rd.psnr_at(curve, 1) == 36
    assert rd.psnr_at(curve, 0.5) == 30
    assert rd.psnr_at(curve, 2) == 40
    assert rd.psnr_at(curve, math.sqrt(0.5)) == pytest.approx(33)
    assert rd.psnr_at(curve, 2**0.25) == pytest.approx(37)


@pytest.mark.parametrize("bpp", [0.499, 2.001])
def test_no_extrapolation(bpp: float):
    assert rd.psnr_at([Point(1, 0.5, 30.0), Point(4, 2.0, 40.0)], bpp) is None
    assert rd.psnr_at([], bpp) is None


def test_points_without_loss_or_of_one_size_give_no_nan():
    curve = [Point(1, 0.5, 30.0), Point(2, 1.0, 35.0), Point(2, 1.0, 36.0), Point(4, 2.0, math.inf)]
    assert rd.psnr_at(curve, 1) == 36
    assert rd.psnr_at(curve, 1.5) is None


def test_a_mean_with_a_missing_value_is_missing():
    assert rd.mean([1.0, 2.0]) == 1.5
    assert rd.mean([1.0, None]) is None
    assert rd.mean([]) is None


def test_our_points_are_the_files_that_truncate_makes(photo: np.ndarray, model: Model, model_path: str):
    curve = rd.ddpm_curve(photo, model, 1.5, evaluations=8, effort=1)
    area = photo.shape[0] * photo.shape[1]
    data = encoder.encode_pixels(photo, model, bpp=1.02 * 1.5 + 8 * 32 / area, evaluations=8, effort=1).data
    pictures = dict(ddpmcodec.decode_progressive(data, model=model_path))
    assert len(curve) == len(pictures)
    assert curve[-1].bytes == len(data)
    for k, point in enumerate(curve):
        assert point.bytes == len(ddpmcodec.truncate(data, steps=k))
        assert point.bpp == 8 * point.bytes / area
        assert point.psnr == pytest.approx(picture.psnr(photo, np.asarray(pictures[k])), abs=0.01)


@pytest.mark.parametrize("shape", [(80, 100), (23, 41)])
def test_our_curve_reaches_the_highest_rate(photo: np.ndarray, model: Model, shape: tuple[int, int]):
    curve = rd.ddpm_curve(photo[: shape[0], : shape[1]], model, 2, evaluations=6, effort=1)
    assert curve[0].bpp < 2 <= curve[-1].bpp


def test_a_picture_too_small_for_the_rate_has_no_points(model: Model):
    assert rd.ddpm_curve(FLAT[:2, :2], model, 0.25, evaluations=4, effort=1) == []


def test_anchor_points(photo: np.ndarray):
    curve = rd.anchor_curve(photo, "jpeg")
    anchor = ANCHORS["jpeg"]
    assert len(curve) == len(anchor.qualities)
    data = anchor.encode(photo, anchor.qualities[3])
    assert curve[3] == Point(len(data), 8 * len(data) / photo[..., 0].size, picture.psnr(photo, anchor.decode(data)))


def test_results_in_compressai_schema(photo: np.ndarray, model: Model):
    pictures = [("a", photo), ("b", photo[:64, :64])]
    rates = [1.0, 3.0]
    progress: list[tuple[str, str]] = []
    results = rd.evaluate(
        pictures, ["ddpm", "jpeg", "jpeg"], rates, model, evaluations=6, effort=1, progress=lambda *done: progress.append(done)
    )
    assert progress == [("ddpm", "a"), ("jpeg", "a"), ("ddpm", "b"), ("jpeg", "b")]
    assert results == json.loads(json.dumps(results, allow_nan=False))
    for codec, result in results.items():
        assert result["name"] == codec and isinstance(result["description"], str)
        assert set(result["results"]) == {"bpp", "psnr-rgb"}
        assert set(result["versions"]) == {"ddpmcodec", "torch", "pillow"}
        assert set(result["pictures"]) == {"a", "b"}
        for row in result["pictures"].values():
            assert all(set(point) == {"bytes", "bpp", "psnr-rgb"} for point in row["points"])
            assert [entry["bpp"] for entry in row["at_bpp"]] == rates
        for i, entry in enumerate(result["at_bpp"]):
            rows = [row["at_bpp"][i]["psnr-rgb"] for row in result["pictures"].values()]
            assert entry["psnr-rgb"] == (None if None in rows else pytest.approx(np.mean(rows)))
    ours, jpeg = results["ddpm"], results["jpeg"]
    assert ours["results"] == {"bpp": rates, "psnr-rgb": [entry["psnr-rgb"] for entry in ours["at_bpp"]]}
    assert ours["model"] == {"name": model.name, "hash": model.hash.hex()}
    assert (ours["effort"], ours["evaluations"]) == (1, 6)
    assert jpeg["results"]["bpp"] == pytest.approx(
        np.mean([[p["bpp"] for p in row["points"]] for row in jpeg["pictures"].values()], axis=0)
    )
    assert len(jpeg["results"]["psnr-rgb"]) == len(ANCHORS["jpeg"].qualities)


def test_cells_that_are_not_reached_are_null(photo: np.ndarray):
    """The flat picture comes back without loss from every quality, and no JPEG of the other is so small."""
    result = rd.evaluate([("flat", FLAT), ("photo", photo)], ["jpeg"], [0.01, 2.0])["jpeg"]
    json.dumps(result, allow_nan=False)
    assert [entry["psnr-rgb"] for entry in result["at_bpp"]] == [None, None]
    assert all(point["psnr-rgb"] is None for point in result["pictures"]["flat"]["points"])
    assert result["pictures"]["photo"]["at_bpp"][0]["psnr-rgb"] is None
    assert result["pictures"]["photo"]["at_bpp"][1]["psnr-rgb"] is not None
    assert result["results"] == {"bpp": [], "psnr-rgb": []}
    assert rd.table({"jpeg": result}).splitlines()[-1] == "| jpeg | - | - |"


def test_table():
    def result(*psnrs: float | None) -> dict:
        return {"pictures": {"a": {}, "b": {}}, "at_bpp": [{"bpp": b, "psnr-rgb": p} for b, p in zip((0.25, 1.0), psnrs, strict=True)]}

    assert rd.table({"ddpm": result(30.126, 36), "jpeg": result(None, 33)}).splitlines() == [
        "| PSNR-RGB in dB, 2 pictures | 0.25 bpp | 1 bpp |",
        "|---|---:|---:|",
        "| ddpm | 30.13 | 36.00 |",
        "| jpeg | - | 33.00 |",
    ]


def test_ours_needs_a_model():
    with pytest.raises(ValueError, match="model"):
        rd.evaluate([], ["ddpm"], [1.0])

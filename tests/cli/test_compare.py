"""`ddpmcodec compare`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PSNR = ("--metric", "psnr-rgb")


def rows(result) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()]
    return {name: cells for name, *cells in lines[2:]}


def test_pictures_files_and_prefixes(run):
    Image.open("in.png").save("a.jpg", quality=50)
    run("decode", "in.ddpm", "-o", "out.png")
    run("decode", "in.ddpm", "-o", "cut.png", "--bytes", 300)
    found = rows(run("compare", "in.png", "a.jpg", "in.ddpm", "out.png", "in.ddpm@0.3k", "cut.png", "in.png", *PSNR))
    original, jpeg = (np.asarray(Image.open(name)).astype(float) for name in ("in.png", "a.jpg"))
    assert float(found["a.jpg"][2]) == pytest.approx(10 * np.log10(255**2 / np.mean((original - jpeg) ** 2)), abs=0.006)
    assert found["in.ddpm"][2] == found["out.png"][2] > found["in.ddpm@0.3k"][2] == found["cut.png"][2]
    assert found["in.ddpm@0.3k"][:2] == ["300", f"{8 * 300 / (61 * 45):.3f}"]
    assert found["in.ddpm"][0] == str(Path("in.ddpm").stat().st_size)
    assert found["in.png"][2] == "equal"


def test_json_and_a_map(run):
    Image.open("in.png").save("a.webp", quality=40)
    [row] = json.loads(run("compare", "in.png", "a.webp", *PSNR, "--json", "--map", "map.png").stdout)
    assert row["file"] == "a.webp" and not row["equal"] and 20 < row["psnr-rgb"] < 50
    shown = Image.open("map.png")
    assert shown.mode == "L" and shown.size == (61, 45) and np.asarray(shown).any()


def test_a_file_whose_name_has_an_at(run):
    Image.open("in.png").save("in@2x.png")
    Image.open("in.png").save("in@300.png")
    assert [cells[2] for cells in rows(run("compare", "in.png", "in@2x.png", "in@300.png", *PSNR)).values()] == ["equal"] * 2


def test_transparency_is_laid_on_the_background(run):
    pixels = np.asarray(Image.open("in.png"))
    Image.fromarray(np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])).save("clear.png")
    Image.new("RGB", (61, 45), "red").save("red.png")
    assert rows(run("compare", "clear.png", "red.png", *PSNR, "--background", "red"))["red.png"][2] == "equal"


def test_bad_input(run, fails):
    Image.new("RGB", (9, 9)).save("small.png")
    Path("none.png").write_bytes(b"x")
    assert "small.png has 9 x 9 pixels, in.png 61 x 45" in fails(4, "compare", "in.png", "small.png", *PSNR)
    assert "none.png: not a picture" in fails(4, "compare", "in.png", "none.png", *PSNR)
    assert "only .ddpm files have prefixes" in fails(3, "compare", "in.png", "small.png@30", *PSNR)
    fails(7, "compare", "in.png", "in.ddpm@20", *PSNR)
    assert "no metric 'vmaf'" in fails(13, "compare", "in.png", "in.ddpm", "--metric", "vmaf")
    assert "side under 161 pixels" in fails(13, "compare", "in.png", "in.ddpm", "--metric", "ms-ssim-rgb")
    assert "would replace its own input" in fails(12, "compare", "in.png", "in.ddpm", "--map", "in.png", *PSNR)
    assert "--map is of one DECODED" in fails(2, "compare", "in.png", "in.ddpm", "in.ddpm", "--map", "m.png")


def test_a_page_of_the_original(run):
    first, second = Image.open("in.png"), Image.new("RGB", (61, 45), "green")
    first.save("two.tif", save_all=True, append_images=[second])
    second.save("second.png")
    assert rows(run("compare", "two.tif", "second.png", *PSNR, "--page", "2"))["second.png"][2] == "equal"

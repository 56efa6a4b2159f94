"""Shaped noise and regions of interest on the command line, with the test model, the bundled one and the paper's kind."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import quality
from ddpmcodec.format import container

FAST = ("--model", "test-model", "--evaluations", 4, "--effort", 1)
OPTIONS = {"model": "test-model", "evaluations": 4, "effort": 1}
CORNER = (50, 35, 11, 10)
UNREADABLE, PICTURE = 3, 4


def shape_of(name):
    return container.parse(Path(name).read_bytes()).shape


def types(name):
    return [section.type for section in container.parse(Path(name).read_bytes()).sections]


@pytest.fixture
def mask(folder, drawing):
    """mask.png, of another size than the picture: the lower right corner is white."""
    pixels = np.zeros((9, 12), np.uint8)
    pixels[7:, 10:] = 255
    Image.fromarray(pixels).save("mask.png")
    return pixels


@pytest.mark.parametrize(("tune", "shaped"), [("psnr", False), ("perception", True), (None, True)])
def test_tunes(run, drawing, tune, shaped):
    option = () if tune is None else ("--tune", tune)
    run("encode", "in.png", "-o", "out.ddpm", "--bpp", 2, *option, *FAST)
    chosen = {} if tune is None else {"tune": tune}
    assert Path("out.ddpm").read_bytes() == ddpmcodec.encode(drawing, bpp=2, **chosen, **OPTIONS)
    assert types("out.ddpm") == (list("HSTPE") if shaped else list("HTPE"))
    assert json.loads(run("info", "out.ddpm", "--json").stdout)["noise"]["tune"] == ("perception" if shaped else "psnr")
    run("decode", "out.ddpm", "-o", "out.png")
    with Image.open("out.png") as image:
        assert quality.psnr(np.asarray(image), drawing) > 20


def test_perception_is_the_default(run):
    run("encode", "in.png", "-o", "default.ddpm", *FAST)
    run("encode", "in.png", "-o", "named.ddpm", "--tune", "perception", *FAST)
    assert Path("default.ddpm").read_bytes() == Path("named.ddpm").read_bytes()


def test_lossless_files_are_white(run, drawing):
    for option in ((), ("--tune", "psnr")):
        run("encode", "in.png", "-o", "out.ddpm", "--lossless", *option, *FAST)
        assert types("out.ddpm") == list("HTPLE")
        run("decode", "out.ddpm", "-o", "out.png")
        with Image.open("out.png") as image:
            assert np.array_equal(np.asarray(image), drawing)


def test_boxes(run, drawing):
    run("encode", "in.png", "-o", "two.ddpm", "--roi", "50,35,11,10", "--roi", "0,0,3,3", "--roi-gain", 12, "--bpp", 4, *FAST)
    regions = {"roi": [CORNER, (0, 0, 3, 3)], "roi_gain": 12}
    assert Path("two.ddpm").read_bytes() == ddpmcodec.encode(drawing, bpp=4, **regions, **OPTIONS)
    run("encode", "in.png", "-o", "one.ddpm", "--roi", "50,35,11,10", "--bpp", 4, *FAST)
    assert Path("one.ddpm").read_bytes() == ddpmcodec.encode(drawing, bpp=4, roi=CORNER, roi_gain=6, **OPTIONS)
    assert (shape_of("one.ddpm").cell, list(shape_of("one.ddpm").cells)) == (32, [4, 0, 4, 0])  # two rows of two
    assert (shape_of("two.ddpm").cell, list(shape_of("two.ddpm").cells)) == (32, [0, 0, 8, 0])
    for name in ("one.ddpm", "two.ddpm"):
        run("decode", name, "-o", "out.png")
        with Image.open("out.png") as image:
            assert image.size == (61, 45) and quality.psnr(np.asarray(image), drawing) > 20


def test_a_mask(run, drawing, mask):
    run("encode", "in.png", "-o", "out.ddpm", "--roi", "mask.png", "--roi-gain", "9.5", "--bpp", 4, *FAST)
    assert Path("out.ddpm").read_bytes() == ddpmcodec.encode(drawing, bpp=4, roi=mask, roi_gain=9.5, **OPTIONS)
    assert shape_of("out.ddpm").cell == 32 and max(shape_of("out.ddpm").cells) == 6
    data = Path("mask.png").read_bytes()
    run("encode", "in.png", "-o", "piped.ddpm", "--roi", "-", "--roi-gain", "9.5", "--bpp", 4, *FAST, input=data)
    assert Path("piped.ddpm").read_bytes() == Path("out.ddpm").read_bytes()


def test_a_mask_of_one_value_changes_nothing(run):
    run("encode", "in.png", "-o", "plain.ddpm", *FAST)
    for value in (0, 255):
        Image.new("L", (3, 2), value).save("mask.png")
        run("encode", "in.png", "-o", "out.ddpm", "--roi", "mask.png", *FAST)
        assert Path("out.ddpm").read_bytes() == Path("plain.ddpm").read_bytes()


def test_info_as_json(run, mask):
    run("encode", "in.png", "-o", "out.ddpm", "--roi", "mask.png", "--roi-gain", 12, "--bpp", 4, *FAST)
    told = json.loads(run("info", "out.ddpm", "--json").stdout)
    assert told == json.loads(json.dumps(ddpmcodec.info(Path("out.ddpm").read_bytes())))
    assert told["noise"]["map"] == {"cell": 32, "coarsest": 4.0} and told["noise"]["table"] == 2
    assert [s["type"] for s in told["sections"]] == list("HSTPE")
    assert set(told["noise"]) >= {"tune", "sigma", "Y", "Cb", "Cr"}
    run("encode", "in.png", "-o", "out.ddpm", "--tune", "psnr", *FAST)
    noise = json.loads(run("info", "out.ddpm", "--json").stdout)["noise"]
    assert noise["tune"] == "psnr" and noise["table"] is None and noise["map"] is None


def test_info_of_cut_files(run, folder):
    run("encode", "in.png", "-o", "out.ddpm", "--bpp", 4, "--tune", "perception", *FAST)
    data = Path("out.ddpm").read_bytes()
    before = None
    for end in (container.parse(data).ends[0] - 1, *container.parse(data).ends):
        Path("cut.ddpm").write_bytes(data[:end])
        noise = json.loads(run("info", "cut.ddpm", "--json").stdout)["noise"]
        assert noise["tune"] == "perception" and (before is None or noise["sigma"] < before["sigma"])
        assert before is None or all(noise[c][f] < before[c][f] for c in ("Y", "Cb", "Cr") for f in ("coarse", "fine"))
        before = noise


@pytest.mark.parametrize(
    "arguments",
    [
        ("--lossless", "--tune", "perception"),
        ("--lossless", "--roi", "0,0,5,5"),
        ("--lossless", "--roi", "in.png"),
        ("--roi-gain", 6),
        ("--roi-gain", 6, "--tune", "perception"),
        ("--roi", "0,0,5,5", "--roi-gain", 0),
        ("--roi", "0,0,5,5", "--roi-gain", -3),
        ("--roi", "0,0,5,5", "--roi-gain", 37),
        ("--roi", "0,0,5,5", "--roi-gain", "nan"),
        ("--roi", "0,0,5,5", "--roi-gain", "much"),
        ("--roi", "0,0,5,5", "--roi", "in.png"),
        ("--roi", "in.png", "--roi", "in.png"),
        ("--roi", "0,0,5,5", "--roi", "0,0,5"),
        ("--roi", "0,0,5,5", "--roi", "0,0,5,5.5"),
        ("--tune", "auto"),
        ("--tune", "ssim"),
        ("--tune", ""),
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_options_that_do_not_go_together(fails, arguments):
    said = fails(2, "encode", "in.png", "-o", "out.ddpm", *FAST, *arguments)
    assert said.startswith("Usage: ") and said.splitlines()[-1].startswith("Error: ") and said.count("Error: ") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("box", ["-1,0,5,5", "0,0,0,5", "0,0,5,-5", "57,0,5,5", "0,41,5,5", "100,100,5,5", f"0,0,{10**30},5"])
def test_boxes_outside(fails, box):
    assert f"the box {box} is not inside the picture of 61 x 45 pixels" in fails(
        PICTURE, "encode", "in.png", "-o", "out.ddpm", "--roi", "0,0,9,9", "--roi", box, *FAST
    )


def test_masks_that_cannot_be_read(fails, folder):
    Path("directory").mkdir()
    for name in ("missing.png", "directory", "missing/too.png", "in.png/too.png", "1,2,3,x"):
        assert name in fails(UNREADABLE, "encode", "in.png", "-o", "out.ddpm", "--roi", name, *FAST)


def test_masks_that_are_none(fails, folder):
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_text("just text\n")
    Path("cut.png").write_bytes(Path("in.png").read_bytes()[:-200])
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("deep.png")
    Image.new("LA", (8, 8), (255, 100)).save("transparent.png")
    for name in ("empty.png", "text.png", "cut.png", "deep.png", "transparent.png", "in.png", "in.ddpm"):
        assert f"ddpmcodec: {name}: " in fails(PICTURE, "encode", "in.png", "-o", "out.ddpm", "--roi", name, *FAST)


def test_prefixes_and_smaller_files(run, mask):
    run("encode", "in.png", "-o", "out.ddpm", "--roi", "mask.png", "--bpp", 4, *FAST)
    data = Path("out.ddpm").read_bytes()
    ends = container.parse(data).ends
    assert len(ends) > 2
    for count, end in enumerate(ends[:-1], 1):
        Path("cut.ddpm").write_bytes(data[: end + 1])
        run("decode", "cut.ddpm", "-o", "cut.png")
        run("truncate", "out.ddpm", "-o", "short.ddpm", "--steps", count)
        run("decode", "short.ddpm", "-o", "short.png")
        run("decode", "out.ddpm", "-o", "steps.png", "--steps", count)
        with Image.open("cut.png") as cut, Image.open("short.png") as short, Image.open("steps.png") as steps:
            assert np.array_equal(cut, short) and np.array_equal(cut, steps)
        assert shape_of("short.ddpm") == shape_of("out.ddpm")
    run("decode", "out.ddpm", "--every", "frames", "-o", "whole.png")
    run("decode", "out.ddpm", "-o", "sample.png", "--reconstruct", "sample")
    with Image.open("whole.png") as whole, Image.open("sample.png") as sample:
        assert not np.array_equal(whole, sample)


def test_several_pictures_in_one_file(run, fails, drawing):
    Image.fromarray(drawing[::-1]).save("turned.png")
    run("encode", "in.png", "turned.png", "-o", "both.ddpm", "--roi", "50,35,11,10", "--bpp", 4, *FAST)
    assert shape_of("both.ddpm").cell == 32 and len(shape_of("both.ddpm").cells) == 4  # one map for both
    run("decode", "both.ddpm", "-o", "both")
    for name, original in (("both/0000.png", drawing), ("both/0001.png", drawing[::-1])):
        with Image.open(name) as image:
            assert quality.psnr(np.asarray(image), original) > 20
    assert "61 x 45" in fails(PICTURE, "encode", "in.png", "turned.png", "-o", "b.ddpm", "--roi", "0,45,5,5", *FAST)


def test_a_directory_of_pictures(run, mask, drawing):
    """A mask fits pictures of any size; a box that is not inside one fails for that one alone."""
    Image.fromarray(drawing[:40]).save("low.png")
    run("encode", "in.png", "low.png", "-o", "out/", "--jobs", 1, "--roi", "mask.png", "--bpp", 4, *FAST)
    assert [shape_of(f"out/{name}.ddpm").cell for name in ("in", "low")] == [32, 32]
    assert Path("out/low.ddpm").read_bytes() == ddpmcodec.encode(drawing[:40], roi=mask, bpp=4, **OPTIONS)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_gray_and_alpha(run, drawing, mode):
    alpha = np.full(drawing.shape[:2], 255, np.uint8)
    alpha[:, 45:] = 0
    alpha[:20, 30:45] = 100
    image = Image.fromarray(np.dstack([drawing, alpha])).convert(mode)
    image.save("some.png")
    run("encode", "some.png", "-o", "some.ddpm", "--roi", "0,0,9,9", "--roi-gain", 12, "--bpp", 6, *FAST)
    assert types("some.ddpm") == ["H", *("A" * mode.endswith("A")), *"STPE"]
    assert json.loads(run("info", "some.ddpm", "--json").stdout)["mode"] == mode
    run("decode", "some.ddpm", "-o", "out.png")
    with Image.open("out.png") as decoded:
        assert decoded.mode == mode and decoded.size == image.size
        if mode.endswith("A"):
            assert np.array_equal(np.asarray(decoded)[..., -1], alpha)
        visible = alpha > 0 if mode.endswith("A") else np.ones_like(alpha, bool)
        assert quality.psnr(np.asarray(decoded.convert("RGB")), np.asarray(image.convert("RGB")), visible) > 20


@pytest.mark.parametrize("size", ["1x1", "1x40", "70x1", "3x200"])
def test_small_and_narrow_pictures(run, size):
    width, height = map(int, size.split("x"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save("narrow.png")
    for option in (("--tune", "perception"), ("--roi", "0,0,1,1", "--roi-gain", 36), ("--tune", "psnr", "--roi", "0,0,1,1")):
        run("encode", "narrow.png", "-o", "narrow.ddpm", *option, *FAST)
        run("decode", "narrow.ddpm", "-o", "out.png")
        with Image.open("out.png") as image:
            assert image.size == (width, height)


@pytest.mark.parametrize("tune", ["psnr", "perception"])
def test_a_region_is_better_and_the_rest_worse_at_the_same_size(run, photo, tune):
    """With the bundled model."""
    Image.fromarray(photo).save("photo.png")
    options = ("--target-size", 2500, "--evaluations", 6, "--effort", 1, "--tune", tune)
    run("encode", "photo.png", "-o", "plain.ddpm", *options)
    run("encode", "photo.png", "-o", "region.ddpm", "--roi", "5,5,30,30", "--roi-gain", 18, *options)
    assert all(2400 < len(Path(name).read_bytes()) <= 2500 for name in ("plain.ddpm", "region.ddpm"))
    inside = np.zeros(photo.shape[:2], bool)
    inside[5:35, 5:35] = True
    psnr = {}
    for name in ("plain", "region"):
        run("decode", f"{name}.ddpm", "-o", f"{name}.png")
        with Image.open(f"{name}.png") as image:
            decoded = np.asarray(image)
        psnr[name] = [quality.psnr(decoded, photo, where) for where in (inside, ~inside)]
    assert psnr["region"][0] > psnr["plain"][0] + 2
    assert psnr["region"][1] < psnr["plain"][1] - 0.5


def test_the_papers_model(run, fails, photo):
    """Its noise is white unless it is asked for otherwise; a region's is white beside its map. It sees no picture with fewer pixels."""
    part = photo[:48, :70]
    Image.fromarray(part).save("part.png")
    options = ("--model", "tiny", "--evaluations", 3, "--effort", 1, "--bpp", 6)
    chosen = {"white": (), "psnr": ("--tune", "psnr"), "shaped": ("--tune", "perception"), "region": ("--roi", "0,0,9,9")}
    for name, option in chosen.items():
        run("encode", "part.png", "-o", f"{name}.ddpm", *options, *option)
    assert types("white.ddpm") == list("HTPE") and Path("white.ddpm").read_bytes() == Path("psnr.ddpm").read_bytes()
    assert types("shaped.ddpm") == types("region.ddpm") == list("HSTPE")
    shaped, region = shape_of("shaped.ddpm"), shape_of("region.ddpm")
    assert shaped.number == 2 and region.cell == 32 and not any(map(any, region.table))
    assert (shaped.quarter, shaped.half, region.quarter, region.half) == (0, 0, 0, 0)
    told = {name: json.loads(run("info", f"{name}.ddpm", "--json").stdout)["noise"]["tune"] for name in chosen}
    assert told == {"white": "psnr", "psnr": "psnr", "shaped": "perception", "region": "psnr"}
    run("decode", "region.ddpm", "-o", "region.png")
    with Image.open("region.png") as image:
        assert quality.psnr(np.asarray(image), part) > 15
    fails(PICTURE, "encode", "part.png", "-o", "no.ddpm", *options, "--roi", "60,40,20,5")


def command(*arguments):
    """`python -m ddpmcodec` in a process of its own, of one thread: its work is too small for more."""
    return subprocess.run([sys.executable, "-m", "ddpmcodec", *map(str, arguments), "--threads", "1"], capture_output=True, text=True)


def test_a_real_process_with_the_papers_model(run, drawing):
    options = ("--model", "tiny", "--evaluations", 3, "--effort", 1, "--bpp", 6, "--quiet")
    done = run("encode", "in.png", "-o", "white.ddpm", *options)  # in this process: torch takes long to start
    assert (done.stdout, done.stderr) == ("", "") and types("white.ddpm") == list("HTPE")
    done = command("encode", "in.png", "-o", "shaped.ddpm", *options, "--tune", "perception")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert types("shaped.ddpm") == list("HSTPE")
    done = command("decode", "shaped.ddpm", "-o", "shaped.png", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Image.open("shaped.png") as image:
        assert quality.psnr(np.asarray(image), drawing) > 15


def test_an_error_in_a_real_process(folder):
    done = command("encode", "in.png", "-o", "no.ddpm", *FAST, "--roi", "60,40,20,5")
    assert (done.returncode, done.stdout) == (PICTURE, "") and not Path("no.ddpm").exists()
    assert done.stderr == "ddpmcodec: in.png: the box 60,40,20,5 is not inside the picture of 61 x 45 pixels\n"

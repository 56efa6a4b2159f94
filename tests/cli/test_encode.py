import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import ddpmcodec
from ddpmcodec.quality import psnr

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x0e\0\2\0\0\0\2a\0\0\0\0\0\0\0"
FAST = ("--model", "test-model", "--evaluations", 4, "--effort", 1)


def test_the_file_is_the_librarys(run, drawing):
    result = run("encode", "in.png", "-o", "out.ddpm", "--bpp", 1.5, "--seed", 9, *FAST)
    data = Path("out.ddpm").read_bytes()
    assert data == ddpmcodec.encode(drawing, model="test-model", bpp=1.5, seed=9, evaluations=4, effort=1)
    assert result.stdout == "" and len(data) <= 1.5 * 61 * 45 / 8
    assert re.fullmatch(rf"out\.ddpm: {len(data)} bytes, [\d.]+ bpp, PSNR [\d.]+ dB, .*\n", result.stderr)
    assert sorted(p.name for p in Path().iterdir()) == ["in.ddpm", "in.png", "out.ddpm"]


def test_the_speed_is_the_librarys(run, drawing):
    options = {"model": "test-model", "bpp": 1.5, "speed": "fast"}
    for arguments, more in (([], {}), (["--evaluations", 4], {"evaluations": 4}), (["--effort", 1], {"effort": 1})):
        run("encode", "in.png", "-o", "out.ddpm", "--bpp", 1.5, "--model", "test-model", "--speed", "fast", *arguments)
        assert Path("out.ddpm").read_bytes() == ddpmcodec.encode(drawing, **options, **more)


def test_quiet(run):
    result = run("encode", "in.png", "-o", "out.ddpm", "--quiet", *FAST)
    assert (result.stdout, result.stderr) == ("", "")


def test_an_existing_file_is_replaced(run, model_path):
    Path("out.ddpm").write_bytes(b"old" * 10000)
    run("encode", "in.png", "-o", "out.ddpm", "--model", model_path, "--evaluations", 3, "--effort", 1)
    assert ddpmcodec.info(Path("out.ddpm").read_bytes())["complete"]


def test_a_link_is_followed(run):
    Path("target").mkdir()
    Path("link.ddpm").symlink_to("target/real.ddpm")
    run("encode", "in.png", "-o", "link.ddpm", *FAST)
    assert Path("link.ddpm").is_symlink() and ddpmcodec.info(Path("target/real.ddpm").read_bytes())["complete"]


def test_pipes(run):
    picture = Path("in.png").read_bytes()
    data = run("encode", "-", "-o", "-", *FAST, input=picture).stdout_bytes
    assert ddpmcodec.info(data)["complete"]
    run("encode", "in.png", "-o", "out.ddpm", *FAST)
    assert Path("out.ddpm").read_bytes() == data


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.bmp", "a.tif"])
def test_kinds_of_pictures(run, drawing, name):
    Image.fromarray(drawing).save(name)
    run("encode", name, "-o", "out.ddpm", *FAST)
    with Image.open(name) as image:
        assert Path("out.ddpm").read_bytes() == ddpmcodec.encode(image, model="test-model", evaluations=4, effort=1)


def test_notes_of_what_is_not_kept(run, drawing):
    Image.fromarray(drawing).convert("CMYK").save("print.tif")
    first, second = run("encode", "print.tif", "-o", "out.ddpm", *FAST).stderr.splitlines()
    assert first.startswith("print.tif: ") and "CMYK to RGB" in first and second.startswith("out.ddpm: ")
    assert run("encode", "print.tif", "-o", "out.ddpm", "--quiet", *FAST).stderr == ""


def profile(space: bytes) -> bytes:
    return bytes(16) + space + bytes(range(108))


@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.tif", "out.jpg"])
def test_metadata_come_back(run, drawing, name):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a drawing", 6
    Image.fromarray(drawing).save("in.webp", icc_profile=profile(b"RGB "), exif=exif, xmp=b"<x/>", lossless=True)
    run("encode", "in.webp", "-o", "out.ddpm", *FAST)
    run("decode", "out.ddpm", "-o", name)
    with Image.open(name) as image:
        assert image.size == (45, 61) and image.info["icc_profile"] == profile(b"RGB ")
        assert image.getexif()[0x010E] == "a drawing" and image.getexif().get(0x0112, 1) == 1
        assert name in ("out.png", "out.tif") or image.info["xmp"] == b"<x/>"


def test_strip_and_replace(run, drawing):
    Path("new.icc").write_bytes(SRGB)
    Path("new.exif").write_bytes(EXIF)
    Image.fromarray(drawing).save("in.webp", icc_profile=profile(b"RGB "), xmp=b"<x/>")
    whole, bare, replaced = "whole.ddpm", "bare.ddpm", "replaced.ddpm"
    run("encode", "in.webp", "-o", whole, *FAST)
    run("encode", "in.webp", "-o", bare, "--strip", *FAST)
    run("encode", "in.webp", "-o", replaced, "--icc", "new.icc", "--exif", "new.exif", *FAST)

    def info(name: str) -> dict:
        return ddpmcodec.decode(Path(name).read_bytes(), 0, model="test-model").info

    assert info(whole) == {"icc_profile": profile(b"RGB "), "xmp": b"<x/>"}
    assert info(bare) == {}
    assert info(replaced) == {"icc_profile": SRGB, "xmp": b"<x/>", "exif": EXIF}
    run("truncate", whole, "-o", "stripped.ddpm", "--strip")
    assert info("stripped.ddpm") == {} and len(Path("stripped.ddpm").read_bytes()) < len(Path(whole).read_bytes())


def test_metadata_that_are_none(fails, drawing):
    Image.fromarray(drawing).convert("L").save("gray.png")
    Path("srgb.icc").write_bytes(SRGB)
    Path("lab.icc").write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    for name in ("icc", "exif"):
        for bytes_ in (b"", b"just text", Path("in.png").read_bytes(), bytes(500), b"II+\0\x08\0\0\0" + bytes(90)):  # BigTIFF
            Path("junk").write_bytes(bytes_)
            assert "junk: not " in fails(3, "encode", "in.png", "-o", "out.ddpm", f"--{name}", "junk", *FAST)
    assert "of Lab" in fails(3, "encode", "in.png", "-o", "out.ddpm", "--icc", "lab.icc", *FAST)
    assert "gray.png is coded as GRAY" in fails(4, "encode", "gray.png", "-o", "out.ddpm", "--icc", "srgb.icc", *FAST)


def test_metadata_of_several_pictures(run, drawing):
    """One file has one set of them."""
    for i, about in enumerate(("one", "one", "another")):
        exif = Image.Exif()
        exif[0x010E] = about
        Image.fromarray(drawing).save(f"{i}.png", exif=exif)
    assert "left out" not in run("encode", "0.png", "1.png", "-o", "out.ddpm", *FAST).stderr
    said = "out.ddpm: the pictures' metadata, which are not the same, are left out"
    assert said in run("encode", "0.png", "2.png", "-o", "out.ddpm", *FAST).stderr
    assert said not in run("encode", "0.png", "2.png", "-o", "out.ddpm", "--strip", *FAST).stderr


def test_pages(run, fails, drawing):
    red = Image.new("RGB", (16, 16), "red")
    red.save("two.tif", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    assert "2 pages" in fails(4, "encode", "two.tif", "-o", "out.ddpm")
    run("encode", "two.tif", "-o", "out.ddpm", "--page", 2, "--lossless", *FAST)
    assert ddpmcodec.decode(Path("out.ddpm").read_bytes(), model="test-model").getpixel((3, 3)) == (0, 0, 255)


def test_a_turned_photo(run, drawing):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(drawing).save("turned.png", exif=exif)
    run("encode", "turned.png", "-o", "out.ddpm", *FAST)
    run("decode", "out.ddpm", "-o", "out.png")
    with Image.open("out.png") as image:
        assert image.size == (45, 61)
        assert np.abs(np.asarray(image).astype(int) - np.rot90(drawing)).mean() < 40


def test_lossless(run, drawing):
    encoded = run("encode", "in.png", "-o", "out.ddpm", *FAST, "--lossless")
    assert "lossless, tail " in encoded.stderr
    assert run("info", "out.ddpm").stdout.splitlines()[0].endswith(", lossless")
    decoded = run("decode", "out.ddpm", "-o", "out.png", "--threads", 1)
    assert decoded.stderr.endswith(", losslessly\n")
    with Image.open("in.png") as before, Image.open("out.png") as after:
        assert np.array_equal(before, after)


@pytest.mark.parametrize("backend", ["ncnn", "torch"])
def test_more_threads_than_processors(backend, run, photo, thread_counts):
    """Of the network and of the search, whose one long step here is enough work for several threads."""
    pytest.importorskip(backend)
    Image.fromarray(photo).save("photo.png")
    options = ["--model", "test-model", "--bpp", "4", "--evaluations", "2", "--effort", "5", "--backend", backend]
    made = {}
    for count in (1, 64):
        run("encode", "photo.png", "-o", "out.ddpm", *options, "--threads", count)
        run("decode", "out.ddpm", "-o", "out.png", "--backend", backend, "--threads", count)
        with Image.open("out.png") as image:
            made[count] = np.asarray(image).astype(int)
    assert np.abs(made[64] - made[1]).max() <= 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("in.png",),
        ("-o", "out.ddpm"),
        ("in.png", "-o", "out.ddpm", "--bpp", "0"),
        ("in.png", "-o", "out.ddpm", "--bpp", "25"),
        ("in.png", "-o", "out.ddpm", "--bpp", "much"),
        ("in.png", "-o", "out.ddpm", "--bpp", "nan"),
        ("in.png", "-o", "out.ddpm", "--evaluations", "1"),
        ("in.png", "-o", "out.ddpm", "--effort", "6"),
        ("in.png", "-o", "out.ddpm", "--speed", "slow"),
        ("in.png", "-o", "out.ddpm", "--seed", "-1"),
        ("in.png", "-o", "out.ddpm", "--seed", str(2**63)),
        ("in.png", "-o", "out.ddpm", "--threads", "0"),
        ("in.png", "-o", "out.ddpm", "--max-pixels", "0"),
        ("in.png", "-o", "out.ddpm", "--lossless", "--bpp", "1"),
        ("in.png", "-o", "out.ddpm", "--psnr", "30", "--target-size", "10k"),
        ("in.png", "-o", "out.ddpm", "--levels", "1", "-q", "50"),
        ("in.png", "-o", "out.ddpm", "-q", "101"),
        ("in.png", "-o", "out.ddpm", "--psnr", "inf"),
        ("in.png", "-o", "out.ddpm", "--target-size", "10KB"),
        ("in.png", "-o", "out.ddpm", "--target-size", "-1k"),
        ("in.png", "-o", "out.ddpm", "--nonsense"),
        ("-", "-", "-o", "out.ddpm"),
        ("-", "-o", "out.ddpm", "--exif", "-"),
        ("in.png", "-o", "out.ddpm", "--exif", "-", "--icc", "-"),
    ],
    ids=" ".join,
)
def test_usage_errors(fails, arguments):
    assert "Usage: " in fails(2, "encode", *arguments)


@pytest.mark.parametrize(
    "arguments, options",
    [
        (("-q", "60"), {"quality": 60}),
        (("--target-size", "1k"), {"max_bytes": 1000}),
        (("--target-size", "0.0005M"), {"max_bytes": 500}),
        (("--psnr", "25"), {"psnr": 25}),
    ],
)
def test_where_to_end(run, drawing, arguments, options):
    run("encode", "in.png", "-o", "out.ddpm", *arguments, *FAST)
    assert Path("out.ddpm").read_bytes() == ddpmcodec.encode(drawing, model="test-model", evaluations=4, effort=1, **options)


def test_what_is_not_to_be_reached_is_said(run):
    assert "out.ddpm: 90 dB is out of reach, by " in run("encode", "in.png", "-o", "out.ddpm", "--psnr", "90", *FAST).stderr
    said = run("encode", "in.png", "-o", "out.ddpm", "--target-size", "20k", *FAST).stderr
    assert "out.ddpm: the size has room for the picture to the last bit: the file is lossless" in said and "lossless, tail" in said


def test_a_score(run, model_path):
    pytest.importorskip("ssimulacra2")
    result = run("encode", "in.png", "-o", "scored.ddpm", "--model", model_path, "--effort", 1, "--ssimulacra2", 60)
    assert 60 <= float(re.search(r"score ([\d.]+)", result.stderr)[1]) < 62


@pytest.mark.parametrize("options", [["--ssimulacra2", "60", "--psnr", "30"], ["--ssimulacra2", "60", "--cvvdp", "9"], ["--cvvdp", "11"]])
def test_scores_that_contradict_each_other_or_are_none(fails, options):
    fails(2, "encode", "in.png", "-o", "x.ddpm", *options)


def test_a_dry_run_tells_what_a_file_would_have(run, folder, model_path):
    options = ["--model", model_path, "--effort", 1, "--evaluations", 6, "-q", 60]
    before = sorted(folder.iterdir())
    rows = json.loads(run("encode", "in.png", "--dry-run", "--json", *options).stdout)
    assert sorted(folder.iterdir()) == before
    run("encode", "in.png", "-o", "whole.ddpm", *options)
    assert rows[-1]["bytes"] == Path("whole.ddpm").stat().st_size
    third = rows[3]
    run("truncate", "whole.ddpm", "-o", "part.ddpm", "--steps", third["steps"])
    run("decode", "part.ddpm", "-o", "part.png", "--model", model_path, "--reconstruct", "mean", "--orientations", 1)
    assert third["bytes"] == Path("part.ddpm").stat().st_size
    with Image.open("in.png") as original, Image.open("part.png") as part:
        assert third["psnr"] == pytest.approx(psnr(np.asarray(original), np.asarray(part.convert("RGB"))))
    assert [row["bytes"] for row in rows] == sorted(row["bytes"] for row in rows)
    table = run("encode", "in.png", "--dry-run", *options).stdout.splitlines()
    assert len(table) == 1 + len(rows) and table[4].split()[:2] == [str(third["steps"]), str(third["bytes"])]


@pytest.mark.parametrize("options", [[], ["-o", "x.ddpm", "--dry-run"], ["-o", "x.ddpm", "--json"], ["--dry-run", "--jobs", "2"]])
def test_a_file_or_a_dry_run(fails, options):
    fails(2, "encode", "in.png", *options)

"""`ddpmcodec view`: the page has the pictures of the prefixes, and its slider works in a browser."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec import quality
from ddpmcodec.eval import page, view
from ddpmcodec.format.container import NAMES

pytest.importorskip("matplotlib")


def shown(page: str) -> dict:
    [source] = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(source)


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_every_prefix_is_there(run, drawing):
    run("view", "in.ddpm", "--original", "in.png", "-o", "out.html")
    page, data = Path("out.html").read_text(), Path("in.ddpm").read_bytes()
    found = shown(page)
    pictures = [np.asarray(image) for _, image in ddpmcodec.decode_progressive(data)]
    assert len(found["files"]) == len(pictures)
    for file, expected in zip(found["files"], pictures, strict=True):
        assert quality.psnr(expected, pixels(file["src"])) > 33  # AVIF's own errors
        assert np.array_equal(np.asarray(ddpmcodec.decode(data[: file["bytes"]], reconstruct="mean", orientations=1)), expected)
        assert max(pixels(file["small"]).shape[:2]) <= 160
        assert file["psnr"] == pytest.approx(quality.psnr(drawing, expected))
    assert quality.psnr(drawing, pixels(found["others"]["original"][0]["src"])) > 38
    assert "<svg" not in page and page.count("data:image/svg+xml") == 1 and "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert all(f"<td>{s['type']}, {NAMES[s['type']]}</td><td>{s['offset']}</td>" in page for s in ddpmcodec.info(data)["sections"])


def test_a_lossless_file_ends_exactly(run, drawing):
    run("encode", "in.png", "-o", "exact.ddpm", "--lossless", "--model", "test-model", "--evaluations", 4, "--effort", 1)
    run("view", "exact.ddpm", "-o", "out.html", "--original", "in.png")
    last = shown(Path("out.html").read_text())["files"][-1]
    assert quality.psnr(drawing, pixels(last["src"])) > 38 and "psnr" not in last
    data = Path("exact.ddpm").read_bytes()
    unended = shown(run("view", "-", "-o", "-", input=data[: last["bytes"]]).stdout)["files"][-1]
    assert unended["bytes"] == last["bytes"] and unended["src"] == last["src"]


def test_gray_alpha_cut_and_piped(run, drawing):
    Image.fromarray(np.dstack([drawing, drawing[..., 0]])).convert("LA").save("la.png")
    data = run("encode", "la.png", "-o", "-", "--bpp", 6, "--model", "test-model", "--evaluations", 4, "--effort", 1).stdout_bytes
    page = run("view", "-", "-o", "-", input=data[: len(data) - 30]).stdout
    assert shown(page)["others"] == {} and ">cut<" in page
    assert np.abs(pixels(shown(page)["files"][0]["src"])[..., -1].astype(int) - drawing[..., 0]).max() <= 8


def test_the_slider_works_in_a_browser(run, browse):
    run("view", "in.ddpm", "-o", "out.html")
    page = Path("out.html").read_text()
    script = """
    const size = document.querySelector("input"), output = document.querySelector("output"), said = [output.textContent];
    size.value = 0; size.dispatchEvent(new Event("input")); said.push(output.textContent);
    document.querySelector(".stage img").decode().then(() => { document.title = JSON.stringify(said); });
    """
    last, first = browse(page, script)
    files = shown(page)["files"]
    assert first.startswith(f"in.ddpm: {files[0]['bytes']} bytes") and last.startswith(f"in.ddpm: {files[-1]['bytes']} bytes")


def test_keys_and_thumbnails_choose_a_prefix(run, browse):
    run("view", "in.ddpm", "-o", "out.html", "--original", "in.png")
    text = Path("out.html").read_text()
    script = """
    const stage = document.querySelector(".stage"), [output] = document.querySelectorAll("output"), said = [];
    const thumbnails = [...document.querySelectorAll(".strip button")], over = document.querySelector(".over");
    const look = () => said.push(output.textContent, thumbnails.findIndex((each) => each.ariaCurrent === "true"), over.style.clipPath);
    const press = (key) => stage.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
    thumbnails[1].click(); look(); press("ArrowLeft"); press(" "); look(); press(" "); look();
    const images = [...document.querySelectorAll("img")].map((image) => image.decode());
    Promise.all(images).then(() => { document.title = JSON.stringify(said); });
    """
    said = browse(text, script)
    files = shown(text)["files"]
    assert said[1::3] == [1, 0, 0] and said[2::3] == ["inset(0px 50% 0px 0px)", "inset(0px 0% 0px 0px)", "inset(0px 100% 0px 0px)"]
    assert [text.split()[1] for text in said[::3]] == [str(files[index]["bytes"]) for index in (1, 0, 0)]


def test_a_phone_shows_the_page_in_its_width(run, browse):
    run("view", "in.ddpm", "-o", "out.html", "--original", "in.png")
    script = """
    const frame = document.createElement("iframe");
    frame.width = 390;
    frame.onload = () => {
      const page = frame.contentDocument, lines = page.querySelector("output").getBoundingClientRect().height / 22.5;
      document.title = JSON.stringify([page.documentElement.scrollWidth, Math.round(lines)]);
    };
    frame.srcdoc = PAGE;
    document.body.append(frame);
    """.replace("PAGE", json.dumps(Path("out.html").read_text()).replace("</", "<\\/"))
    width, lines = browse("<html><head><title></title></head><body></body></html>", script)
    assert width <= 390 and lines <= 2


def test_large_pictures_are_shown_smaller():
    assert page.shown_size(481, 321) == (481, 321) and page.shown_size(10**9, 1)[1] == 1
    width, height = page.shown_size(4000, 3000)
    assert 0.99 * page.MAX_PIXELS < width * height <= page.MAX_PIXELS and abs(width / height - 4 / 3) < 0.01


def test_what_cannot_be_viewed(fails, drawing, folder):
    Image.new("RGB", (9, 9)).save("small.png")
    assert "small.png has 9 x 9 pixels" in fails(4, "view", "in.ddpm", "--original", "small.png", "-o", "out.html")
    fails(5, "view", "in.png", "-o", "out.html")
    fails(12, "view", "in.ddpm", "-o", "nowhere/out.html")


def test_a_curve_without_matplotlib_is_refused_before_decoding(run, fails, monkeypatch):
    def decoded(*arguments):
        raise AssertionError("decoded")

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    run("view", "in.ddpm", "-o", "out.html")
    monkeypatch.setattr(view, "prefixes", decoded)
    assert "pip install 'ddpmcodec[plot]'" in fails(13, "view", "in.ddpm", "--original", "in.png", "-o", "other.html")


@pytest.mark.parametrize("name", ["</title><b>.ddpm", "$\\frac$.ddpm", "\udcff\x1b[31m.ddpm", "_\u6f22.ddpm"])
def test_names_that_are_no_text(run, name):
    name = name.replace("/", "")
    Path("in.ddpm").rename(name)
    run("view", name, "--original", "in.png", "-o", "out.html")
    page = Path("out.html").read_text()
    assert "<b>" not in page and name.encode(errors="backslashreplace").decode().replace("\x1b", "\\x1b") == shown(page)["name"]

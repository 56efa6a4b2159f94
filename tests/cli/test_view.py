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
from ddpmcodec.eval import view

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
        assert np.array_equal(pixels(file["src"]), expected)
        assert np.array_equal(np.asarray(ddpmcodec.decode(data[: file["bytes"]])), expected)
        assert file["psnr"] == pytest.approx(quality.psnr(drawing, expected))
    assert np.array_equal(pixels(found["others"]["original"][0]["src"]), drawing)
    assert "<svg" not in page and page.count("data:image/svg+xml") == 1 and "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert all(f"<td>{s['type']}</td><td>{s['offset']}</td>" in page for s in ddpmcodec.info(data)["sections"])


def test_a_lossless_file_ends_exactly(run, drawing):
    run("encode", "in.png", "-o", "exact.ddpm", "--lossless", "--model", "test-model", "--evaluations", 4, "--effort", 1)
    run("view", "exact.ddpm", "-o", "out.html", "--original", "in.png")
    last = shown(Path("out.html").read_text())["files"][-1]
    assert np.array_equal(pixels(last["src"]), drawing) and "psnr" not in last
    data = Path("exact.ddpm").read_bytes()
    unended = shown(run("view", "-", "-o", "-", input=data[: last["bytes"]]).stdout)["files"][-1]
    assert unended["bytes"] == last["bytes"] and np.array_equal(pixels(unended["src"]), drawing)


def test_gray_alpha_cut_and_piped(run, drawing):
    Image.fromarray(np.dstack([drawing, drawing[..., 0]])).convert("LA").save("la.png")
    data = run("encode", "la.png", "-o", "-", "--bpp", 6, "--model", "test-model", "--evaluations", 4, "--effort", 1).stdout_bytes
    page = run("view", "-", "-o", "-", input=data[: len(data) - 30]).stdout
    assert shown(page)["others"] == {} and ">cut<" in page
    assert np.array_equal(pixels(shown(page)["files"][0]["src"])[..., -1], drawing[..., 0])


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

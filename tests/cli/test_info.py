import json
from pathlib import Path

import ddpmcodec
from ddpmcodec.format import container


def test_text(run, drawing_encoding, model):
    data = drawing_encoding.data
    parsed = container.parse(data)
    lines = run("info", "in.ddpm").stdout.splitlines()
    assert f"61 x 45 RGB, {len(data)} bytes, {8 * len(data) / (61 * 45):.4f} bpp, whole" == lines[0]
    assert f"test-model {model.hash.hex()}" in lines[1] and "seed 3" in lines[1]
    assert "H " in lines[2] and "E " in lines[2]
    assert lines[2].endswith(f"; a picture from byte {parsed.sections[2].offset} on") and parsed.sections[2].type == "P"
    assert lines[3] == f"tune psnr, noise of sigma {ddpmcodec.info(data)['noise']['sigma']:.2f} left, white"
    rows = [line.split() for line in lines[5:]]
    assert [(int(r[0]), int(r[1]), int(r[3]), int(r[4]), int(r[5])) for r in rows] == [
        (i + 1, s.level, s.n, s.nu, end) for i, (s, end) in enumerate(zip(parsed.steps, parsed.ends, strict=True))
    ]


def test_json(run, drawing_encoding):
    assert json.loads(run("info", "in.ddpm", "--json").stdout) == ddpmcodec.info(drawing_encoding.data)


def test_a_cut_file(run, drawing_encoding):
    Path("cut.ddpm").write_bytes(drawing_encoding.data[: container.parse(drawing_encoding.data).ends[0]])
    lines = run("info", "cut.ddpm").stdout.splitlines()
    total = len(container.parse(drawing_encoding.data).steps)
    assert f"cut: 1 of {total} steps are whole" in lines[0]
    assert ["missing" in line for line in lines[5:]] == [False] + [True] * (total - 1)


def test_from_stdin(run, drawing_encoding):
    assert run("info", "-", input=drawing_encoding.data).stdout == run("info", "in.ddpm").stdout


def test_a_model_that_is_not_here_is_not_needed(run, monkeypatch):
    monkeypatch.delenv("DDPMCODEC_MODELS")
    assert "test-model" in run("info", "in.ddpm").stdout


def test_usage_errors(fails):
    fails(2, "info")
    fails(2, "info", "in.ddpm", "--xml")


def test_shaped_noise_is_told(run, photo):
    data = ddpmcodec.encode(photo, bpp=1, evaluations=4, effort=1, roi=(0, 0, 9, 9), model="test-model")
    Path("shaped.ddpm").write_bytes(data)
    noise, region = run("info", "shaped.ddpm").stdout.splitlines()[3:5]
    told = ddpmcodec.info(data)["noise"]
    assert noise.startswith(f"tune perception, noise of sigma {told['sigma']:.2f} left at multiplier 1, table 2; coarse and fine: Y ")
    assert f"Cb {told['Cb']['coarse']:.2f} {told['Cb']['fine']:.2f}" in noise
    assert region == "map of cells of 32 pixels, up to 2 times as coarse"

"""`ddpmcodec eval` and its subcommands, from the command line."""

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import ddpmcodec
from ddpmcodec.cli import main
from ddpmcodec.cli.eval import SUBCOMMANDS
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.models import checkpoint
from ddpmcodec.picture import Picture
from ddpmcodec.target import Lossless


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["eval", *map(str, arguments)])


@pytest.fixture
def directory(tmp_path: Path, photo: np.ndarray) -> Path:
    """Two pictures, of different sizes."""
    path = tmp_path / "pictures"
    path.mkdir()
    Image.fromarray(photo[:40, :56]).save(path / "a.png")
    Image.fromarray(photo[:48, :33]).save(path / "b.png")
    return path


def test_rate_distortion(directory: Path, tmp_path: Path, model_path: str):
    output = tmp_path / "deep" / "results"
    options = ["--bpp", "4", "--bpp", "2", "--evaluations", "4", "--effort", "1"]
    result = run(directory, "--codec", "ddpm", "--codec", "avif", *options, "--model", model_path, "-o", output)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "| PSNR-RGB in dB, 2 pictures | 2 bpp | 4 bpp |"
    assert [line.split()[1] for line in result.stdout.splitlines()[2:]] == ["ddpm", "avif"]
    assert sorted(path.name for path in output.iterdir()) == ["avif.json", "ddpm.json", "pictures.csv"]
    ours = json.loads((output / "ddpm.json").read_text())
    assert {2, 4} <= set(ours["results"]["bpp"])
    assert list(ours["pictures"]) == ["a.png", "b.png"]
    assert f"{ours['at_bpp'][0]['psnr-rgb']:.2f}" in result.stdout
    rows = list(csv.DictReader(io.StringIO((output / "pictures.csv").read_text())))
    assert {(row["codec"], row["picture"]) for row in rows} == {(c, p) for c in ("ddpm", "avif") for p in ("a.png", "b.png")}


def test_rates_at_a_quality(directory: Path):
    arguments = [directory, "--codec", "jpeg", "--bpp", "4", "--at", "psnr-rgb=30", "--at", "psnr-rgb=80", "-j", "1"]
    *_, head, _, jpeg = run(*arguments).stdout.splitlines()
    assert head == "| bpp, 2 pictures | PSNR-RGB 30 | PSNR-RGB 80 |"
    _, name, rate, out_of_reach, _ = (cell.strip() for cell in jpeg.split("|"))
    assert name == "jpeg" and 0.5 < float(rate) < 8 and out_of_reach == "-"
    for wrong in ("psnr-rgb", "psnr-rgb=much", "psnr-rgb=nan"):
        assert run(directory, "--codec", "jpeg", "--at", wrong).exit_code == 2
    assert run(directory, "--codec", "jpeg", "--at", "beauty=3").exit_code == 13


def test_an_evaluation_goes_on(directory: Path, tmp_path: Path):
    """Pictures that were measured are not measured again, unless they or the settings have changed."""
    options = ["--codec", "jpeg", "-o", tmp_path / "out"]
    assert run(directory / "a.png", *options).exit_code == 0
    stored = json.loads((tmp_path / "out" / "jpeg.json").read_text())
    stored["pictures"]["a.png"]["points"][0]["encoding_time"] = 123.0
    (tmp_path / "out" / "jpeg.json").write_text(json.dumps(stored))
    assert run(directory, *options).exit_code == 0
    again = json.loads((tmp_path / "out" / "jpeg.json").read_text())["pictures"]
    assert list(again) == ["a.png", "b.png"] and again["a.png"]["points"][0]["encoding_time"] == 123
    Image.new("RGB", (40, 30)).save(directory / "a.png")
    assert run(directory, *options).exit_code == 0
    assert json.loads((tmp_path / "out" / "jpeg.json").read_text())["pictures"]["a.png"]["points"][0]["encoding_time"] != 123


def test_codecs_that_are_not_there(directory: Path, tmp_path: Path):
    for name in ("vvc", "cmd:nowhere.toml"):
        result = run(directory, "--codec", name)
        assert result.exit_code == 13 and result.stderr.count("\n") == 1


def test_a_refused_picture_is_named_and_the_rest_measured(directory: Path, tmp_path: Path):
    Image.new("RGB", (20000, 1)).save(directory / "wide.png")
    result = run(directory, "--codec", "webp", "--codec", "jpeg", "--bpp", "2", "-o", tmp_path / "out")
    assert result.exit_code == 13 and "wide.png: webp: " in result.stderr
    assert "| webp | - |" not in result.stdout and "2 pictures" in result.stdout
    assert json.loads((tmp_path / "out" / "webp.json").read_text())["pictures"]["a.png"]["points"]


def test_denoise(directory: Path, model_path: str):
    result = run(directory, "--denoise", "15,50", "--model", model_path)
    assert result.exit_code == 0, result.output
    head, _, row = result.stdout.splitlines()
    assert head == "| PSNR in dB, noise | 15 | 50 |"
    label, at_15, at_50 = (cell.strip() for cell in row.strip("|").split("|"))
    assert label.endswith(", 2 pictures")
    assert float(at_15) > float(at_50) > 14


def test_lossless(directory: Path, tmp_path: Path, model_path: str):
    """Sizes of real files: ours by the encoder, PNG's by Pillow; a codec that is missing here is named, and its column is empty."""
    options = ["--evaluations", "4", "--effort", "1", "--model", model_path]
    result = run(directory, "--lossless", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "| lossless, bpp | ddpm | png | webp | jxl |"
    stored = json.loads((tmp_path / "out" / "lossless.json").read_text())
    assert [row["picture"] for row in stored["pictures"]] == ["a.png", "b.png"]
    pixels = np.asarray(Image.open(directory / "a.png"))
    ours = encode_pixels(Picture(pixels), checkpoint.load(Path(model_path)), Lossless(), EncodeOptions(evaluations=4, effort=1))
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", optimize=True)
    first = stored["pictures"][0]
    assert (first["ddpm"], first["png"]) == (ours.bpp, 8 * len(png.getvalue()) / (40 * 56))
    assert (first["jxl"] is None) == ("jxl left out" in result.stderr)
    mean = sum(row["ddpm"] for row in stored["pictures"]) / 2
    assert result.stdout.splitlines()[-1].startswith(f"| mean of 2 | {mean:.2f} | ")
    assert run(directory, "--lossless", "--bpp", "1").exit_code == 2


def test_stride(directory: Path, model_path: str):
    assert "1 pictures" in run(directory, "--denoise", "25", "--stride", "2", "--model", model_path).stdout


def test_anchors_alone_need_no_model(directory: Path, tmp_path: Path):
    assert run(directory, "--codec", "webp", "--model", "missing", "-o", tmp_path / "out").exit_code == 0
    assert run(directory, "--codec", "ddpm", "--model", "missing", "-o", tmp_path / "out").exit_code == 9


def test_a_broken_picture_among_good_ones(directory: Path, tmp_path: Path):
    (directory / "aa.png").write_bytes((directory / "a.png").read_bytes()[:300])
    result = run(directory, "--codec", "jpeg", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert "aa.png: left out" in result.stderr and "1 of 3 pictures" in result.stderr
    assert list(json.loads((tmp_path / "out" / "jpeg.json").read_text())["pictures"]) == ["a.png", "b.png"]
    assert "2 pictures" in result.stdout


def test_a_tiny_picture_is_left_out(directory: Path, tmp_path: Path, model_path: str):
    Image.new("RGB", (3, 3), (200, 40, 9)).save(directory / "tiny.png")
    Image.open(directory / "a.png").save(directory / "t.tiff", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    options = ["--evaluations", "4", "--effort", "1", "--model", model_path]
    result = run(directory, "--codec", "ddpm", "--bpp", "4", "-j", "1", *options, "-o", tmp_path / "out")
    assert result.exit_code == 3 and result.stderr.endswith("ddpmcodec: 2 of 4 pictures were left out\n")
    assert "tiny.png: left out: ddpm: no file of it has so few bits" in result.stderr
    assert "t.tiff: left out: the file has 2 pages or frames: choose one (--page)" in result.stderr
    assert "PSNR-RGB in dB, 2 pictures" in result.stdout and "| - |" not in result.stdout
    json_file = tmp_path / "out" / "ddpm.json"
    assert CliRunner().invoke(main, ["plot", str(json_file), "-o", str(tmp_path / "rd.png")]).exit_code == 0
    assert "2 pictures" in run("denoise", directory / "t.tiff", directory / "a.png", "--page", "1", "--model", model_path).stdout


@pytest.mark.parametrize("command", [["losses", "-j", "1", "--evaluations", "4"], ["comparison"], ["cut", "--side", "16"]])
def test_other_evaluations_leave_too_small_pictures_out(tmp_path: Path, model_path: str, command: list[str]):
    (tmp_path / "pictures").mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (3, 3)).save(tmp_path / "pictures" / f"{name}.png")
    named = [] if command[0] == "cut" else ["--model", model_path]
    result = run(*command, tmp_path / "pictures", "-o", tmp_path / "out.json", *named)
    assert result.exit_code == 3 and all(f"{name}.png: left out: " in result.stderr for name in ("one", "two"))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("mode", [["--codec", "jpeg", "-o"], ["--denoise", "25", "--model"]])
def test_no_picture_can_be_read(directory: Path, tmp_path: Path, model_path: str, mode: list[str]):
    for path in directory.iterdir():
        path.write_bytes(b"broken")
    result = run(directory, *mode, tmp_path / "out" if mode[-1] == "-o" else model_path)
    assert result.exit_code == 3 and result.stdout == ""
    assert not list(tmp_path.glob("out/*"))


def test_an_empty_directory(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty", "--codec", "jpeg", "-o", tmp_path / "out")
    assert result.exit_code == 3 and "no pictures" in result.stderr
    assert not (tmp_path / "out").exists()


def test_results_that_were_something_else_are_replaced(directory: Path, tmp_path: Path):
    (tmp_path / "jpeg.json").write_text("old")
    assert run(directory, "--codec", "jpeg", "-o", tmp_path).exit_code == 0
    assert json.loads((tmp_path / "jpeg.json").read_text())["pictures"]


@pytest.mark.parametrize(
    "options",
    [
        ["--denoise", "15,,25"],
        ["--denoise", "nan"],
        ["--denoise", "0"],
        ["--denoise", "25", "--codec", "jpeg"],
        ["--denoise", "25", "--lpips", "x"],
    ],
)
def test_usage_errors(directory: Path, options: list[str]):
    assert run(directory, *options).exit_code == 2


def test_output_that_cannot_be_made(directory: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    assert run(directory, "--codec", "jpeg", "-o", tmp_path / "file").exit_code == 12


def test_lossless_together(tmp_path: Path, model_path: str, photo: np.ndarray):
    arrays = np.stack([photo[16 * i : 16 * i + 16, :24] for i in range(3)])
    np.savez(tmp_path / "a.npz", images=arrays)
    options = ["--model", model_path, "--evaluations", 4, "--effort", 1]
    result = run(tmp_path / "a.npz", "--lossless", "--together", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    stored = json.loads((tmp_path / "out" / "together.json").read_text())
    ours = encode_pixels(
        Picture(np.concatenate(arrays), count=3), checkpoint.load(Path(model_path)), Lossless(), EncodeOptions(evaluations=4, effort=1)
    )
    assert stored["ddpm"]["together"] == pytest.approx(8 * len(ours.data) / arrays.size)
    assert stored["rate"] == pytest.approx(ours.kl_bits / arrays.size)
    assert stored["ddpm"]["together"] < stored["ddpm"]["alone"] and stored["png"]["together"] < stored["png"]["alone"]
    assert 0.9 < stored["ddpm"]["together"] / stored["bound"] < 1.6
    assert result.stdout.startswith("| bits per dimension, 3 pictures | ddpm | png | webp |")
    assert run(tmp_path / "a.npz", "--together").exit_code == 2
    np.savez(tmp_path / "b.npz", images=arrays[:, :8])
    assert run(tmp_path / "a.npz", tmp_path / "b.npz", "--lossless", "--together", *options).exit_code == 4


def test_crops_are_the_reduced_middles(tmp_path: Path):
    ramp = np.add.outer(np.arange(50), np.arange(70)).astype(np.uint8)[..., None].repeat(3, 2)
    for name, pixels in {"a": ramp, "b": ramp[::-1], "small": ramp[:20]}.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    result = run("cut", tmp_path, "-o", tmp_path / "c.npz", "--side", "16")
    assert result.exit_code == 3 and "small.png: left out: 70 x 20 pixels are less than 32 x 32" in result.stderr
    cut = np.load(tmp_path / "c.npz")["images"]
    assert cut.shape == (2, 16, 16, 3)
    means = ramp.reshape(25, 2, 35, 2, 3).astype(float).mean((1, 3))
    assert np.abs(cut[0] - means[4:20, 9:25]).max() <= 0.5


def test_no_worker_outlives_a_killed_evaluation(directory: Path):
    """Each worker begins as a process that multiprocessing has spawned: none is left."""
    slow = directory.parent / "slow.toml"
    command = f"{sys.executable} -c 'import time; time.sleep(60)' {{input}} {{output}}"
    slow.write_text(f'name = "slow"\nencode = "{command}"\ndecode = "{command}"\nsuffix = ".x"\nqualities = [1]\n')
    code = f"""
import numpy as np
from ddpmcodec.eval import anchors, rate_distortion
print("begun", flush=True)
slow = anchors.command_anchor({str(slow)!r})
list(rate_distortion.measure([("a", [slow], np.zeros((8, 8, 3), np.uint8))], 1, 1))"""
    with subprocess.Popen([sys.executable, "-c", f"if __name__ == '__main__':\n    exec({code!r})"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("this system does not list a process's children")
        deadline = time.monotonic() + 60
        while not (workers := [c for c in children.read_text().split() if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(5)
        process.kill()
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline + 60
        time.sleep(0.2)


def test_denoising_results_are_kept(directory: Path, tmp_path: Path, model_path: str, model):
    assert run(directory, "--denoise", "15,25", "--model", model_path, "-o", tmp_path / "out").exit_code == 0
    document = json.loads((tmp_path / "out/denoise.json").read_bytes())
    assert document["sigmas"] == [15, 25] and document["model"]["hash"] == model.hash.hex()
    rows = np.array([*document["pictures"].values()])
    assert rows.shape == (2, 2) and document["mean"] == pytest.approx(rows.mean(axis=0))


def test_a_published_curve_stands_beside_the_others(directory: Path, tmp_path: Path):
    curve = {"name": "VTM", "results": {"bpp": [0.1, 1.0, 2.0], "psnr": [30.0, 36.0, 40.0]}}
    (tmp_path / "vtm.json").write_text(json.dumps(curve))
    done = run(directory, "--codec", "jpeg", "--codec", f"compressai:{tmp_path}/vtm.json", "--bpp", "1")
    assert done.exit_code == 0 and done.stdout.splitlines()[-1] == "| VTM (published) | 36.00 |"
    (tmp_path / "vtm.json").write_text("{")
    done = run(directory, "--codec", f"json:{tmp_path}/vtm.json")
    assert done.exit_code == 13 and "vtm.json is no results file" in done.stderr


class Features(torch.nn.Module):
    """Of LPIPS' signature."""

    def forward(self, x: torch.Tensor, resize_images: bool = True, return_lpips: bool = False) -> torch.Tensor:
        return x.flatten(1)[:, :7] / 255 if return_lpips else x.flatten(1)


def test_lpips_by_a_network_of_the_users(directory: Path, tmp_path: Path):
    torch.jit.script(Features()).save(str(tmp_path / "features.pt"))
    options = ["--codec", "jpeg", "--bpp", "1", "-j", "1", "-o", str(tmp_path / "out")]
    assert run(directory, *options, "--lpips", tmp_path / "features.pt").exit_code == 0
    document = json.loads((tmp_path / "out/jpeg.json").read_bytes())
    distances = [p["lpips"] for p in next(iter(document["pictures"].values()))["points"]]
    assert distances[0] > distances[-1] >= 0 and len(document["results"]["lpips"]) == len(distances)
    (tmp_path / "other.pt").write_bytes(b"no network")
    assert run(directory, *options, "--lpips", tmp_path / "other.pt").exit_code == 9


@pytest.mark.parametrize(
    ("flags", "subcommand"),
    [
        (["--codec", "jpeg", "--bpp", "2"], ["rd", "--codec", "jpeg", "--bpp", "2"]),
        (["--denoise", "15,50"], ["denoise", "--sigma", "15,50"]),
        (["--denoise", "25", "--whitened", "--stride", "2"], ["denoise", "--sigma", "25", "--whitened", "--stride", "2"]),
        (["--lossless", "--evaluations", "4", "--effort", "1"], ["lossless", "--evaluations", "4", "--effort", "1"]),
    ],
    ids=lambda arguments: arguments[0],
)
def test_flags_are_subcommands(directory: Path, tmp_path: Path, model_path: str, flags: list[str], subcommand: list[str]):
    """The same tables and files, before the pictures and behind them."""
    shared = ["--model", model_path, "-o", tmp_path]
    files = []
    for arguments in ([directory, *flags], [*flags, directory], [*subcommand, directory]):
        done = run(*arguments, *shared[:-1], tmp_path / str(len(files)))
        assert done.exit_code == 0, done.output
        files.append((done.stdout, sorted(path.name for path in (tmp_path / str(len(files))).iterdir())))
    assert files[0] == files[1] == files[2] and files[0][0]


def test_together_is_a_flag_of_lossless(tmp_path: Path, model_path: str, photo: np.ndarray):
    np.savez(tmp_path / "a.npz", images=photo[None, :16, :16])
    options = ["--together", "--model", model_path, "--evaluations", "3", "--effort", "1"]
    flags, subcommand = run(tmp_path / "a.npz", "--lossless", *options), run("lossless", tmp_path / "a.npz", *options)
    assert flags.exit_code == 0 and flags.stdout == subcommand.stdout


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_a_directory_that_is_called_as_a_subcommand(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """`eval ./rd` and `eval rd rd` reach it; `eval rd` is the subcommand, which then lacks pictures."""
    directory.rename(directory.parent / name)
    monkeypatch.chdir(directory.parent)
    assert "PICTURE" in run(name).stderr
    for arguments in ([f"./{name}"], ["rd", name]):
        done = run(*arguments, "--codec", "jpeg", "--bpp", "2", "--metric", "psnr-rgb", "-j", "1")
        assert done.exit_code == 0 and "2 pictures" in done.stdout


def test_help_tells_the_subcommands():
    text = run("--help").stdout
    assert all(f"\n  {name} " in text for name in SUBCOMMANDS) and "./rd" in text
    for name in SUBCOMMANDS:
        assert f"\n  ddpmcodec eval {name} " in run(name, "--help").stdout
    assert run("photos/", "--help").stdout.startswith("Usage: main eval rd ")


def test_nothing_and_what_is_not_there(tmp_path: Path):
    assert run().exit_code == 2
    assert run("ratedistortion").exit_code == 3  # no subcommand, so a picture that is not there


def test_sensitivity(directory: Path, tmp_path: Path, model_path: str):
    pytest.importorskip("scipy")
    result = run("sensitivity", directory / "a.png", "--metric", "psnr-rgb", "--model", model_path, "-o", tmp_path / "s.json")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "s.json").read_text())
    everything = document["relative"]["all"]
    assert everything["share"] == pytest.approx(1) and everything["psnr-rgb"] == pytest.approx(1)
    bands = [row["share"] for name, row in document["relative"].items() if "..." in name]
    assert sum(bands) == pytest.approx(1) and f"| {'all'} | 1.000 | 1.00 |" in result.stdout
    assert [*document["pictures"]] == ["a.png"]


def test_publishing(directory: Path, tmp_path: Path, model_path: str):
    """Files that decode to the pictures beside them, and measurements of these."""
    out = tmp_path / "published"
    options = ["--bpp", "2", "--evaluations", "3", "--effort", "1", "--model", model_path, "-j", "1", "--metric", "psnr-rgb"]
    done = run(directory, "--codec", "ddpm-files", "--codec", "jpeg", "--publish", out, *options)
    assert done.exit_code == 0, done.output
    measured = json.loads((out / "results/ddpm-files.json").read_bytes())["pictures"]
    names = [f"{name}-{point['bytes']}" for name, entry in measured.items() for point in entry["points"]]
    assert sorted(path.name for path in (out / "files").iterdir()) == sorted(f"{name}.ddpm" for name in names) and len(names) > 4
    for name in names:
        decoded = np.asarray(ddpmcodec.decode((out / f"files/{name}.ddpm").read_bytes(), model=model_path, precision="fp32"))
        assert np.array_equal(np.asarray(Image.open(out / f"decoded/{name}.png")), decoded)
        assert name.endswith(f"-{(out / f'files/{name}.ddpm').stat().st_size}")
    text = (out / "README.md").read_text()
    assert "2 pictures by ddpmcodec" in text and done.stdout.strip() in text and "- jpeg: " in text
    assert sorted(path.name for path in (out / "results").iterdir()) == ["ddpm-files.json", "jpeg.json", "pictures.csv"]
    assert run(directory, "--codec", "jpeg", "--publish", out).exit_code == 2
    assert run(directory, "--publish", out, "-o", tmp_path).exit_code == 2
    assert run(directory, "--publish", "-").exit_code == 12

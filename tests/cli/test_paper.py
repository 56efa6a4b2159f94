"""The commands on models of the paper's kind: sample, interpolate, bpd, fid, import, export, and the codec with them."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import ddpmcodec
from ddpmcodec.cli import main, reverse
from ddpmcodec.models import checkpoint, registry


@pytest.fixture
def paper(folder, paper_model, photo):
    """paper.safetensors, and four pictures of 16x16."""
    model = paper_model()
    checkpoint.save(Path("paper.safetensors"), "paper", model.config, model.network.state_dict())
    Path("crops").mkdir()
    for i in range(4):
        Image.fromarray(photo[16 * i : 16 * i + 16, :16]).save(f"crops/{i}.png")
    return model


MODEL = ("--model", "paper.safetensors", "--quiet")


def size(path):
    with Image.open(path) as image:
        return image.size


def test_sample_a_grid_arrays_and_a_directory(run, paper):
    run("sample", *MODEL, "-o", "grid.png", "-n", 5, "--steps", 4)
    assert size("grid.png") == (3 * 18 - 2, 2 * 18 - 2)
    run("sample", *MODEL, "-o", "a.npz", "-n", 5, "--steps", 4)
    images = np.load("a.npz")["images"]
    assert images.shape == (5, 16, 16, 3) and images.dtype == np.uint8
    with Image.open("grid.png") as grid:
        np.testing.assert_array_equal(np.asarray(grid)[:16, 18:34], images[1])
    run("sample", *MODEL, "-o", "out/", "-n", 2, "--steps", 4, "--size", "12x8")
    assert [size(p) for p in sorted(Path("out").iterdir())] == [(12, 8)] * 2
    result = run("sample", *MODEL, "-o", "-", "-n", 5, "--steps", 4)
    assert result.stdout_bytes == Path("grid.png").read_bytes() and result.stderr == ""
    run("sample", *MODEL, "-o", "other.npz", "-n", 5, "--steps", 4, "--seed", 1)
    assert not np.array_equal(np.load("other.npz")["images"], images)


def test_sample_with_all_steps_ddim_and_variances(run, paper):
    run("sample", *MODEL, "-o", "all.npz", "-n", 1, "--steps", "all")
    run("sample", *MODEL, "-o", "default.npz", "-n", 1)
    assert np.array_equal(np.load("all.npz")["images"], np.load("default.npz")["images"])  # of 50 timesteps
    for name, options in {"ddim": ["--ddim"], "eta": ["--ddim", "--eta", 0.5], "large": ["--variance", "beta-tilde"]}.items():
        run("sample", *MODEL, "-o", f"{name}.npz", "-n", 1, *options)
        assert not np.array_equal(np.load(f"{name}.npz")["images"], np.load("all.npz")["images"])


def test_progressive_generation_ends_in_the_samples(run, paper):
    """Figure 6."""
    run("sample", *MODEL, "-o", "a.npz", "-n", 3, "--steps", 20, "--progressive", "rows.png")
    assert size("rows.png") == (10 * 18 - 2, 3 * 18 - 2)
    with Image.open("rows.png") as rows:
        np.testing.assert_array_equal(np.asarray(rows)[18:34, -16:], np.load("a.npz")["images"][1])


def test_completions_of_a_shared_latent(run, paper):
    """Figure 7: the less noise the shared latent has, the more alike they are."""
    spread = []
    for t in (45, 2):
        run("sample", *MODEL, "-o", "a.npz", "-n", 4, "--steps", "all", "--shared-latent", t)
        spread.append(np.load("a.npz")["images"].astype(float).std(0).mean())
    assert spread[0] > 2 * spread[1] > 0


def test_nearest_pictures_stand_beside(run, paper):
    result = run("sample", "--model", "paper.safetensors", "-o", "near.png", "-n", 3, "--steps", 3, "--nearest", "crops")
    assert size("near.png") == (34, 3 * 18 - 2) and result.stderr.count("nearest is") == 3
    with Image.open("near.png") as image, Image.open(f"crops/{result.stderr.split('nearest is ')[1][0]}.png") as crop:
        np.testing.assert_array_equal(np.asarray(image)[:16, -16:], np.asarray(crop))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["-n", 2]),
        (2, ["-o", "a.png", "--steps", 51]),
        (2, ["-o", "a.png", "--steps", "many"]),
        (2, ["-o", "a.png", "--size", "16"]),
        (2, ["-o", "a.png", "-n", 0]),
        (12, ["-o", "a.gif"]),
        (12, ["-o", "nowhere/a.png"]),
        (12, ["-o", "a.npz", "--nearest", "crops"]),
        (12, ["-o", "a.png", "--progressive", "b.npz"]),
        (3, ["-o", "a.png", "--nearest", "nowhere"]),
        (3, ["-o", "a.png", "--steps", "2", "-n", "1", "--size", "8x8", "--nearest", "crops"]),
        (9, ["-o", "a.png", "--model", "nothing"]),
    ],
)
def test_samples_that_cannot_be_drawn(fails, paper, code, arguments):
    fails(code, "sample", *MODEL, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("interpolate", "two.gif", "crops/0.png", "-o", "a.png", *MODEL, "--t", "20", "--steps", 2),
        ("eval", "drift", "two.gif", "--model", "test-model", "--size", "16x16", "--evaluations", 3, "--bpp", 8, "--quiet"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_pages(run, fails, paper, arguments):
    with Image.open("crops/1.png") as a, Image.open("crops/2.png") as b:
        a.save("two.gif", save_all=True, append_images=[b])
    assert "2 pages or frames: choose one (--page)" in fails(4, *arguments)
    run(*arguments, "--page", 2)


def test_pages_of_what_is_nearest(run, fails, paper):
    with Image.open("crops/1.png") as a, Image.open("crops/2.png") as b:
        a.save("crops/two.gif", save_all=True, append_images=[b])
    arguments = ("sample", *MODEL, "-o", "beside.png", "-n", 1, "--steps", 2, "--nearest", "crops")
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 3 and Path("beside.png").exists()
    run(*arguments, "--page", 1)


def test_interpolate(run, paper):
    """Figures 8 and 9."""
    run("interpolate", "crops/0.png", "crops/1.png", "-o", "a.png", *MODEL, "--t", "50,20,1", "--lambda", "0,0.5,1", "--steps", "1")
    assert size("a.png") == (5 * 18 - 2, 3 * 18 - 2)
    with Image.open("a.png") as grid, Image.open("crops/0.png") as a, Image.open("crops/1.png") as b:
        pixels = np.asarray(grid)
        np.testing.assert_array_equal(pixels[:16, :16], np.asarray(a))
        np.testing.assert_array_equal(pixels[36:52, -16:], np.asarray(b))
        assert np.abs(pixels[36:52, 18:34].astype(int) - np.asarray(a)).mean() < 20  # from little noise it is a


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (4, ["crops/0.png", "in.png"]),
        (4, ["crops/0.png", "in.ddpm"]),
        (3, ["crops/0.png", "nowhere.png"]),
        (2, ["crops/0.png", "crops/1.png", "--t", "0"]),
        (2, ["crops/0.png", "crops/1.png", "--t", "51"]),
        (2, ["crops/0.png", "crops/1.png", "--t", "some"]),
        (2, ["crops/0.png", "crops/1.png", "--lambda", "nan"]),
        (2, ["crops/0.png", "crops/1.png", "--t", "10", "--steps", "11"]),
        (12, ["crops/0.png", "crops/1.png", "-o", "a.npz"]),
    ],
)
def test_what_cannot_be_interpolated(fails, paper, code, arguments):
    fails(code, "interpolate", "-o", "a.png", *MODEL, "--t", "20", *arguments)


def test_bpd(run, paper):
    pytest.importorskip("matplotlib")
    result = run("bpd", *MODEL, "--data", "crops", "--steps", "all", "--steps", 10, "-o", "results")
    header, _, first, second = result.stdout.splitlines()
    assert header.startswith("| bits per dimension | steps |") and "| 50 |" in first and "| 10 |" in second
    document = json.loads(Path("results/bpd.json").read_text())
    one, two = document["results"]
    assert one["pictures"] == 4 and len(one["terms"]) == len(one["progressive"]) == 50
    parts = one["L_T"]["mean"] + sum(term["mean"] for term in one["terms"])
    assert one["total"]["mean"] == pytest.approx(parts) == pytest.approx(one["rate"]["mean"] + one["distortion_L_0"]["mean"])
    assert two["rate"]["mean"] > one["rate"]["mean"] and one["model"]["hash"] == paper.hash.hex()
    rows = list(csv.DictReader(io.StringIO(Path("results/progressive.csv").read_text())))
    assert len(rows) == 60 and float(rows[49]["bits_per_dimension"]) == pytest.approx(one["rate"]["mean"])
    assert size("results/bpd.png")[0] > 1000


def test_a_schedule_is_searched_for_stored_and_used(run, paper):
    run("bpd", *MODEL, "--data", "crops", "--search", 8, "--store", "with.safetensors")
    run("bpd", "--model", "with.safetensors", "--quiet", "--data", "crops", "--search", 6, "--store", "with.safetensors")
    model = checkpoint.load(Path("with.safetensors"))
    assert model.hash == paper.hash and sorted(model.best_visited) == [6, 8]
    run("encode", "crops/0.png", "-o", "a.ddpm", "--model", "with.safetensors", "--lossless", "--evaluations", 8, "--effort", 1)
    levels = [step["timestep"] for step in ddpmcodec.info(Path("a.ddpm").read_bytes())["steps"]]
    assert tuple(levels) == model.best_visited[8][1:]
    run("bpd", "--model", "with.safetensors", "--quiet", "--data", "crops", "--steps", 8, "-o", "results")
    assert tuple(t["from"] for t in json.loads(Path("results/bpd.json").read_text())["results"][0]["terms"]) == model.best_visited[8]
    run("decode", "a.ddpm", "-o", "a.png", "--model", "with.safetensors")
    assert Path("a.png").exists() and np.array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("crops/0.png")))


def test_a_variance_is_fitted_and_stored(run, paper):
    result = run("bpd", *MODEL, "--data", "crops", "--steps", "all", "--fit", "--store", "fitted.safetensors")
    fixed, fitted = (float(line.split("|")[3].split("±")[0]) for line in result.stdout.splitlines()[2:])
    assert fitted < fixed
    assert checkpoint.load(Path("fitted.safetensors")).variance == "fitted"


def test_bpd_of_arrays(run, paper, photo):
    np.savez("a.npz", images=np.stack([photo[:16, :16]] * 7))
    assert "3 pictures" in run("bpd", *MODEL, "--data", "a.npz", "--limit", 3, "--steps", 5).stdout


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["--data", "crops", "--steps", 51]),
        (2, ["--data", "crops", "--search", 51]),
        (2, ["--data", "crops", "--store", "a.safetensors"]),
        (3, ["--data", "nowhere"]),
        (3, ["--data", "paper.safetensors"]),
        (9, ["--data", "crops", "--model", "test-model", "--fit"]),
        (12, ["--data", "crops", "--fit", "--store", "nowhere/a.safetensors"]),
        (12, ["--data", "crops", "-o", "in.png"]),
    ],
)
def test_bounds_that_cannot_be_had(fails, paper, code, arguments):
    fails(code, "bpd", *MODEL, *arguments)


def test_several_pictures_in_one_file(run, paper):
    names = [f"crops/{i}.png" for i in range(4)]
    run("encode", *names, "-o", "all.ddpm", "--lossless", "--evaluations", 6, "--effort", 1, *MODEL)
    assert ddpmcodec.info(Path("all.ddpm").read_bytes())["pictures"] == 4
    assert run("info", "all.ddpm").stdout.startswith("4 pictures of 16 x 16")
    run("decode", "all.ddpm", "-o", "out", "--every", "steps", *MODEL)
    for i, name in enumerate(names):
        assert np.array_equal(np.asarray(Image.open(f"out/{i:04}.png")), np.asarray(Image.open(name)))
    assert len(list(Path("steps/step-002").iterdir())) == 4
    single = sum(len(run("encode", n, "-o", "-", "--lossless", "--evaluations", 6, "--effort", 1, *MODEL).stdout_bytes) for n in names)
    assert len(Path("all.ddpm").read_bytes()) < single


def test_pictures_that_do_not_go_together(fails, paper):
    assert "number 2" in fails(4, "encode", "crops/0.png", "in.png", "-o", "a.ddpm", *MODEL)
    fails(10, "encode", "crops/0.png", "crops/1.png", "-o", "a.ddpm", "--max-pixels", 400, *MODEL)
    fails(3, "encode", "crops/0.png", "crops/9.png", "-o", "a.ddpm", *MODEL)


def test_levels(run, fails, paper):
    run("encode", "crops/0.png", "-o", "a.ddpm", "--levels", "all", "--lossless", "--effort", 1, *MODEL)
    steps = ddpmcodec.info(Path("a.ddpm").read_bytes())["steps"]
    assert [step["timestep"] for step in steps] == list(range(49, 0, -1))
    assert steps[0]["bits"] == 0 < steps[-1]["bits"]
    run("decode", "a.ddpm", "-o", "a.png", *MODEL)
    assert np.array_equal(np.asarray(Image.open("a.png")), np.asarray(Image.open("crops/0.png")))
    run("encode", "crops/0.png", "-o", "b.ddpm", "--levels", "30,10", "--effort", 1, *MODEL)
    assert [step["timestep"] for step in ddpmcodec.info(Path("b.ddpm").read_bytes())["steps"]] == [30, 10]
    for levels in ("10,30", "51", "0", "some", ""):
        fails(2, "encode", "crops/0.png", "-o", "c.ddpm", "--levels", levels, *MODEL)
    fails(2, "encode", "crops/0.png", "-o", "c.ddpm", "--levels", "all", "--bpp", 1, *MODEL)
    fails(2, "encode", "crops/0.png", "-o", "c.ddpm", "--levels", "all", "--model", "test-model")


def test_several_pictures_need_a_directory(run, fails, paper):
    run("encode", "crops/0.png", "crops/1.png", "-o", "a.ddpm", "--effort", 1, "--evaluations", 3, *MODEL)
    assert "directory" in fails(12, "decode", "a.ddpm", "-o", "-", *MODEL)
    fails(12, "decode", "a.ddpm", "-o", "in.png", *MODEL)
    data = Path("a.ddpm").read_bytes()
    with pytest.raises(ddpmcodec.errors.PictureError, match="2 pictures"):
        ddpmcodec.decode(data, model="paper.safetensors")
    pictures = ddpmcodec.decode_pictures(data, model="paper.safetensors")
    assert [p.size for p in pictures] == [(16, 16)] * 2
    assert [image.size for _, image in ddpmcodec.decode_progressive(data, model="paper.safetensors")] == [(16, 16)] * 3


def test_export_and_import(run, fails, paper):
    run("export", "paper.safetensors", "-o", "folder")
    run("import", "folder", "-o", "again.safetensors")
    assert checkpoint.load(Path("again.safetensors")).hash == paper.hash
    assert registry.find("folder").hash == paper.hash
    run("encode", "crops/0.png", "-o", "a.ddpm", "--effort", 1, "--evaluations", 3, "--model", "folder")
    run("decode", "a.ddpm", "-o", "a.png", "--model", "again.safetensors")
    assert "exists" in fails(12, "export", "paper.safetensors", "-o", "folder")
    assert "photo-unet" in fails(9, "export", "test-model", "-o", "other")


def test_imports_of_nothing(fails, paper):
    fails(9, "import", "crops", "-o", "a.safetensors")
    assert "nowhere does not exist" in fails(9, "import", "nowhere", "-o", "a.safetensors")
    fails(9, "import", "in.png", "-o", "a.safetensors", "--resolution", 16)
    fails(2, "import", "in.png", "-o", "a.safetensors")
    fails(12, "import", "crops", "-o", "nowhere/a.safetensors")


def test_models_do_not_go_to_stdout(fails, paper):
    fails(12, "import", "crops", "-o", "-")
    fails(12, "export", "paper.safetensors", "-o", "-")
    fails(12, "bpd", *MODEL, "--data", "crops", "--fit", "--store", "-")
    fails(12, "bpd", *MODEL, "--data", "crops", "-o", "-")
    fails(12, "eval", "crops", "--codec", "jpeg", "-o", "-")
    fails(2, "train", "--data", "crops", "-o", "-")


class Features(torch.nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.float().mean((2, 3)) / 64


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_fid(run, fails, paper):
    pytest.importorskip("torchmetrics")
    torch.jit.script(Features()).save("features.pt")
    run("sample", *MODEL, "-o", "a.npz", "-n", 12, "--steps", 2)
    result = run("fid", "a.npz", "crops", "--features", "features.pt", "--inception-score", "--quiet")
    distance, score = result.stdout.splitlines()
    assert float(distance.split()[1]) > 0 and score.startswith("Inception score 1.")
    fails(2, "fid", "a.npz", "--features", "features.pt")
    fails(3, "fid", "a.npz", "nowhere", "--features", "features.pt")
    fails(9, "fid", "a.npz", "crops", "--features", "nowhere.pt")
    fails(9, "fid", "a.npz", "crops", "--features", "in.png")


def test_all_timesteps_are_the_default(paper_model, model):
    assert list(reverse.levels(paper_model(), 50, None)) == list(range(50, 0, -1))
    assert len(reverse.levels(model, model.start, None)) == 100  # of continuous levels

"""`ddpmcodec report`: what is on the page, and that its sliders work in a browser."""

import base64
import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ddpmcodec import quality
from ddpmcodec.cli import main
from ddpmcodec.eval import page

pytest.importorskip("matplotlib")
pytest.importorskip("bjontegaard")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray, model_path: str) -> Path:
    directory = tmp_path_factory.mktemp("report")
    Image.fromarray(photo).save(directory / "photo.png")
    options = ["--codec", "ddpm", "--codec", "jpeg", "--bpp", "3", "--effort", "1", "--evaluations", "12", "--model", model_path]
    done = run("eval", directory / "photo.png", *options, "-j", "1", "-o", directory / "results")
    assert done.exit_code == 0, done.output
    (directory / "results/denoise.json").write_text('{"mean": [1]}')  # other files there are passed over
    return directory


@pytest.fixture(scope="module")
def report(results: Path) -> str:
    path = results / "report.html"
    done = run("report", results / "results", "--picture", results / "photo.png", "--bpp", "2", "-o", path)
    assert done.exit_code == 0, done.output
    return path.read_text()


def shown(text: str) -> dict:
    [source] = re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    return json.loads(source)


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_the_page_needs_nothing_else(report: str):
    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert all(value.startswith("data:") for key, value in attributes if key in ("src", "href"))

    Links().feed(report)
    assert "<td>jpeg</td>" in report and "BD-rate" in report


def test_pictures_are_those_of_the_files(report: str, photo: np.ndarray):
    data = shown(report)
    sizes = [file["bytes"] for file in data["files"]]
    assert sizes == sorted(sizes) and len(sizes) > 4 and set(data["others"]) == {"original", "jpeg"}
    assert quality.psnr(photo, pixels(data["others"]["original"][0]["src"])) > 40
    for file in (*data["files"], *data["others"]["jpeg"]):
        assert file["psnr"] == pytest.approx(quality.psnr(photo, pixels(file["src"])), abs=1.5)  # AVIF's own errors
    assert abs(data["files"][data["start"]]["bpp"] - 2) < 0.6


def test_the_sliders_work_in_a_browser(report: str, browse):
    """Moved as a user would, by input events; what the page then says is read from its DOM."""
    said = browse(
        report,
        """
    const [size, wipe] = document.querySelectorAll("input"), select = document.querySelector("select"), said = [];
    const move = (control, value) => { control.value = value; control.dispatchEvent(new Event("input")); };
    const outputs = [...document.querySelectorAll("output")], over = document.querySelector(".over");
    const look = () => said.push(outputs.map((output) => output.textContent), over.style.clipPath);
    move(size, 0); look(); move(select, "jpeg"); move(size, size.max); move(wipe, 0.25); look();
    Promise.all([...document.querySelectorAll(".stage img")].map((image) => image.decode())).then(() => {
      said.push([...document.querySelectorAll(".stage img")].map((image) => image.naturalWidth));
      document.title = JSON.stringify(said);
    });
    """,
    )
    files = shown(report)["files"]
    assert said[0][0].startswith(f"ddpm: {files[0]['bytes']} bytes") and said[0][1].endswith("24.000 bpp, exact")
    assert said[1].startswith("inset(0px 50%") and said[3].startswith("inset(0px 75%")
    assert said[2][0].startswith(f"ddpm: {files[-1]['bytes']} bytes") and said[2][1].endswith(" dB")
    assert said[4] == [100, 100]


def test_results_from_stdin(results: Path):
    jpeg = results / "results/jpeg.json"
    pages = []
    for path, data in ((str(jpeg), None), ("-", jpeg.read_bytes())):
        done = CliRunner().invoke(main, ["report", str(results / "results/ddpm.json"), path, "-o", "-"], input=data)
        assert done.exit_code == 0, done.stderr
        pages.append(re.sub('base64,[^"]*', "", done.stdout))  # matplotlib's figures have random names in them
    assert pages[0] == pages[1] and "jpeg" in pages[0]


def test_names_cannot_break_out_of_the_page():
    text = page.document("a <b>", page.viewer({"name": "</script><script>alert(1)"}), page.table(["<i>"], [["&"]])).decode()
    assert "<script>alert" not in text and "<i>" not in text and "a &lt;b&gt;" in text
    assert shown(text)["name"] == "</script><script>alert(1)"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--codec", "avif"], 13, "none of the results is of avif: they are of"),
        (["--picture", "nowhere.png"], 3, "nowhere.png does not exist"),
        (["--max-bpp", "0.001"], 13, "in that range"),
    ],
)
def test_what_cannot_be_reported(results: Path, tmp_path: Path, arguments: list[str], code: int, message: str):
    done = run("report", results / "results", "-o", tmp_path / "x.html", *arguments)
    assert done.exit_code == code and message in done.stderr and not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("change", [{"evaluations": 1}, {"effort": 9}, {"bpp": -1.0}, {"rates": [0.0]}])
def test_settings_out_of_range_make_no_pictures(results: Path, tmp_path: Path, change: dict):
    document = json.loads((results / "results/ddpm.json").read_bytes())
    document["settings"] |= change
    (tmp_path / "ddpm.json").write_text(json.dumps(document))
    arguments = [tmp_path / "ddpm.json", results / "results/jpeg.json", "-o", tmp_path / "x.html"]
    done = run("report", *arguments, "--picture", results / "photo.png")
    assert done.exit_code == 13 and "settings that are not known" in done.stderr
    assert run("report", *arguments).exit_code == 0


def test_a_directory_without_results(tmp_path: Path):
    (tmp_path / "a.json").write_text("[]")
    done = run("report", tmp_path, "-o", tmp_path / "x.html")
    assert done.exit_code == 3 and "no results in" in done.stderr

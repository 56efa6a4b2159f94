"""The results in docs/ are of one run."""

import csv
import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs/results"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], list[dict[str, str]]]:
    """Rows of pictures.csv by codec and picture."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    with open(RESULTS / "pictures.csv", newline="") as f:
        for row in csv.DictReader(f):
            found.setdefault((row["codec"], row["picture"]), []).append(row)
    return found


def test_pictures_csv_is_of_the_run_that_wrote_the_json(rows):
    codecs = {codec for codec, _ in rows}
    assert {"ddpm", "ddpm-files", "ddpm-psnr-files", "avif", "avif-psnr", "jxl"} <= codecs
    for codec in codecs:
        document = json.loads((RESULTS / f"{codec}.json").read_bytes())
        assert {p for c, p in rows if c == codec} == set(document["pictures"])
        for picture, entry in document["pictures"].items():
            for row, point in zip(rows[codec, picture], entry["points"], strict=True):
                for key, value in point.items():
                    assert row[key] == ("" if value is None else str(value))


def test_the_table_of_the_readme_is_of_these_results():
    readme = (RESULTS.parents[1] / "README.md").read_text()
    for codec in ("ddpm", "ddpm-files", "ddpm-psnr-files", "avif"):
        document = json.loads((RESULTS / f"{codec}.json").read_bytes())
        cells = ["-" if at["psnr-rgb"] is None else f"{at['psnr-rgb']:.2f}" for at in document["at_bpp"] if at["bpp"] <= 1]
        assert f"| {codec} | {' | '.join(cells)} |" in readme

"""docs/format.md, "A file, byte by byte", replayed: the document and the code say the same."""

import re
from pathlib import Path

import numpy as np
import pytest

from ddpmcodec import api, quality
from ddpmcodec.channel import codeword, randomness
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import FormatError
from ddpmcodec.format import container, steptable
from ddpmcodec.picture import Picture
from ddpmcodec.target import Rate

DOCUMENT = (Path(__file__).parents[3] / "docs" / "format.md").read_text()
EXAMPLE = DOCUMENT[DOCUMENT.index("## A file, byte by byte") :]
HEX = r"(?:[0-9a-f]{2} )*[0-9a-f]{2}"
LINES = re.findall(rf"^ *(\d+)  ({HEX})(?:  +(.*))?$", EXAMPLE, re.MULTILINE)
DATA = b"".join(bytes.fromhex(text) for _, text, _ in LINES)
WORDS = re.findall(r"^    (\d)  ((?:[0-9a-f]{16} ){3}[0-9a-f]{16})  (.*)$", EXAMPLE, re.MULTILINE)


def number(pattern):
    return int(re.search(pattern, EXAMPLE)[1])


@pytest.fixture(scope="module")
def parsed():
    return container.parse(DATA)


def meaning(text):
    """Offset and bytes of the line that says so."""
    return next((int(offset), bytes.fromhex(data)) for offset, data, says in LINES if says.startswith(text))


def test_the_offsets_are_those_of_the_bytes():
    assert len(LINES) > 20
    at = 0
    for offset, text, _ in LINES:
        assert int(offset) == at
        at += len(bytes.fromhex(text))
    assert at <= number(r"at most (\d+) bytes")


def test_the_fields_are_where_the_document_says(parsed, model):
    header = parsed.header
    assert (header.width, header.height, header.seed, header.orientation) == (8, 8, 7, 1)
    assert header.model_name == "test-model" and header.model_hash == model.hash == meaning("the model's hash")[1]
    assert header.levels == model.levels and header.start == model.start == number(r"start level (-?\d+)")
    assert meaning("signature") == (0, container.SIGNATURE)
    assert meaning("format version") == (9, bytes([container.VERSION]))
    for section in parsed.sections:
        offset, data = meaning(f"section {section.type}")
        assert (offset, data) == (section.offset, section.type.encode())
    assert [s.type for s in parsed.sections] == ["H", "T", "P", "E"] and parsed.complete
    sizes = [int(n) for n in re.findall(r"its body has (\d+) bytes", EXAMPLE)]
    assert sizes == [s.size - 6 for s in parsed.sections[:3]]
    offsets = [int(offset) for offset, _, says in LINES if says == "CRC-32"]
    assert offsets == [s.offset + s.size - 4 for s in parsed.sections]


def test_the_steps_are_as_told(parsed):
    told = [(int(level), int(n)) for level, n in re.findall(r"to level (-?\d+) by n = (\d+)", EXAMPLE)]
    nu = number(r"nu = (\d+)\n")
    assert [(s.level, s.n) for s in parsed.steps] == told and {s.nu for s in parsed.steps} == {nu}
    for i, message in enumerate(parsed.messages):
        offset, data = meaning(f"step {i}")
        assert DATA[offset : offset + len(message)] == message and message.startswith(data)


def test_the_symbols_of_the_table(parsed, monkeypatch):
    told = [int(s) for s in EXAMPLE[EXAMPLE.rindex(":\n") + 2 :].split()]
    table = next(s for s in parsed.sections if s.type == "T")
    read = []
    symbol = steptable._Source.symbol
    monkeypatch.setattr(steptable._Source, "symbol", lambda *args: read.append(symbol(*args)) or read[-1])
    steptable.decode(DATA[table.offset + 2 : table.offset + table.size - 4], parsed.header)
    assert read == told


def test_the_file_decodes_and_is_in_its_one_form(parsed):
    assert container.serialize(parsed) == DATA
    image = api.decode(DATA)
    assert image.size == (8, 8)
    y, x = np.mgrid[:8, :8]
    described = np.stack([32 * y, 32 * x, np.full_like(x, 128)], 2).astype(np.uint8)
    psnrs = [quality.psnr(described, np.asarray(p)) for _, p in api.decode_progressive(DATA)]
    assert psnrs == sorted(psnrs) and psnrs[-1] > psnrs[0] + 3


def test_the_encoder_still_makes_such_a_file(parsed, model):
    """The same numbers of steps and bytes, about the same picture: rounding may choose other path bits on another machine."""
    y, x = np.mgrid[:8, :8]
    described = np.stack([32 * y, 32 * x, np.full_like(x, 128)], 2).astype(np.uint8)
    most = number(r"at most (\d+) bytes")
    e = encode_pixels(Picture(described), model, Rate(8 * most / 64), EncodeOptions(evaluations=4, effort=1, seed=7, tune="psnr"))
    again = container.parse(e.data)
    assert len(e.data) <= most and abs(len(e.data) - len(DATA)) <= 4
    assert len(again.steps) == len(parsed.steps)
    for a, b in zip(again.steps, parsed.steps, strict=True):
        assert abs(a.level - b.level) <= 4 and abs(a.n - b.n) <= 2 and a.nu == b.nu
    assert abs(quality.psnr(described, e.pixels) - quality.psnr(described, np.asarray(api.decode(DATA)))) < 1


def test_random_words():
    shared = randomness.SharedRandomness(7, container.VERSION)
    assert [int(stream) for stream, _, _ in WORDS] == [1, 2, 3, 4, 5, 6]
    for stream, words, _ in WORDS:
        assert [f"{word:016x}" for word in shared.words(4, int(stream)).tolist()] == words.split()


def test_what_is_made_of_the_words():
    shared = randomness.SharedRandomness(7, container.VERSION)
    text = " ".join(EXAMPLE[EXAMPLE.index("so that x_T begins") :].split())
    values = [float(v) for v in re.search(r"x_T begins ([-\d., ]+\d)", text)[1].split(",")]
    assert np.allclose(shared.gaussians(len(values), randomness.STREAM_START), values, atol=6e-5)
    for name, stream in (("rotation", randomness.STREAM_ROTATION), ("code", randomness.STREAM_CODE)):
        signs = re.search(rf"{name} signs (?:begin )?((?:[+-] ?)+)", text)[1].split()
        assert len(signs) >= 8 and shared.signs(len(signs), stream).tolist() == [1 if s == "+" else -1 for s in signs]
    polynomials = [int(p) for p in re.search(r"nu = 8 begin ([\d, ]+\d)", text)[1].split(",")]
    middle = shared.permutation(len(polynomials), 1 << 7, randomness.STREAM_POLYNOMIALS)
    assert codeword.polynomials(middle, 8).tolist() == polynomials


def test_the_example_is_protected():
    for bit in range(8 * len(DATA)):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            container.parse(bytes(flipped))

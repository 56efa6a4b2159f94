"""Decoding while the bytes arrive equals decoding the whole."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ddpmcodec
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import CorruptFileError, ForeignFileError, ModelError
from ddpmcodec.format import container, sections
from ddpmcodec.format.metadata import Metadata
from ddpmcodec.picture import Picture
from ddpmcodec.target import Lossless, Rate


@pytest.fixture(scope="module")
def data(drawing, model) -> bytes:
    parsed = container.parse(encode_pixels(Picture(drawing), model, Rate(3), EncodeOptions(evaluations=6, effort=1)).data)
    return container.serialize(replace(parsed, metadata=Metadata(b"profile", b"Exif\0\0", b"<x/>")))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def same(a: list[tuple[int, Image.Image]], b: list[tuple[int, Image.Image]]) -> bool:
    return len(a) == len(b) and all(i == k and np.array_equal(np.asarray(x), np.asarray(y)) for (i, x), (k, y) in zip(a, b, strict=True))


@pytest.mark.parametrize("size", [1, 7, 100, 10**9])
def test_pieces_of_any_size_equal_the_whole(data, model_path, size):
    decoder = ddpmcodec.Decoder(model=model_path)
    found = []
    for i, piece in enumerate(pieces(data, size)):
        assert not decoder.complete
        for step, image in decoder.feed(piece):
            found.append((step, image))
            assert (len(ddpmcodec.info(data[: (i + 1) * size])["steps"])) >= step
    assert decoder.complete and same(found, list(ddpmcodec.decode_progressive(data, model=model_path)))


def test_steps_come_as_soon_as_they_are_whole(data, model_path):
    ends = [s["end"] for s in ddpmcodec.info(data)["steps"]]
    decoder = ddpmcodec.Decoder(model=model_path)
    came = {step: at + 1 for at, byte in enumerate(data) for step, _ in decoder.feed(bytes([byte]))}
    assert [came[i + 1] for i in range(len(ends))] == ends and came[0] < ends[0]


@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_a_lossless_file_ends_exactly(drawing, model, model_path, size):
    data = encode_pixels(Picture(drawing), model, Lossless(), EncodeOptions(evaluations=4, effort=1)).data
    decoder = ddpmcodec.Decoder(model=model_path)
    found = [each for piece in pieces(data, size) for each in decoder.feed(piece)]
    steps = len(ddpmcodec.info(data)["steps"])
    assert found[-1][0] == steps and np.array_equal(np.asarray(found[-1][1]), drawing)
    assert [step for step, _ in found] == [*range(steps + 1), *([steps] if size < len(data) else [])]


def test_what_is_not_asked_for_is_not_lost(data, model_path):
    decoder = ddpmcodec.Decoder(model=model_path)
    for piece in pieces(data, 50):
        pictures = decoder.feed(piece)
    assert same(list(pictures), list(ddpmcodec.decode_progressive(data, model=model_path)))


def test_bad_streams(data, model_path):
    with pytest.raises(ForeignFileError):
        list(ddpmcodec.Decoder().feed(b"GIF89a"))
    decoder = ddpmcodec.Decoder(model=model_path)
    list(decoder.feed(data))
    with pytest.raises(CorruptFileError, match="end mark"):
        list(decoder.feed(b"more"))
    damaged = bytearray(data)
    damaged[-60] ^= 4
    decoder = ddpmcodec.Decoder(model=model_path)
    with pytest.raises(CorruptFileError):
        for piece in pieces(bytes(damaged), 9):
            list(decoder.feed(piece))
    with pytest.raises(ModelError):
        list(ddpmcodec.Decoder(model="nowhere").feed(data))


def test_a_stream_that_has_failed_fails_again(data, model_path):
    damaged = container.serialize(replace(container.parse(data), alpha=b"no picture"))
    decoder = ddpmcodec.Decoder(model=model_path)
    for piece in (damaged, b"", b"more"):
        with pytest.raises(CorruptFileError, match="alpha"):
            list(decoder.feed(piece))


def test_what_is_long_in_coming_is_not_parsed_at_each_piece(data, model_path, monkeypatch):
    parse, calls = container.parse, []
    monkeypatch.setattr(container, "parse", lambda *arguments: calls.append(1) or parse(*arguments))
    at = container.parse(data).sections[1].offset
    section = sections.section("z", bytes(100_000))
    decoder = ddpmcodec.Decoder(model=model_path)
    del calls[:]
    pictures = [each for piece in pieces(data[:at] + section + data[at:], 20) for each in decoder.feed(piece)]
    assert len(calls) < 50 and same(pictures, list(ddpmcodec.decode_progressive(data, model=model_path)))


def test_a_lossless_file_in_pieces_though_the_chain_was_bf16(photo, model):
    """That a file is lossless shows at its end only."""
    data = encode_pixels(Picture(photo[:20, :30]), model, Lossless(), EncodeOptions(evaluations=5, effort=1)).data
    decoder = ddpmcodec.Decoder(precision="bf16")
    pictures = [image for k in range(0, len(data), 100) for _, image in decoder.feed(data[k : k + 100])]
    assert np.array_equal(np.asarray(pictures[-1]), photo[:20, :30])


def test_an_empty_piece_is_none(data, model_path):
    decoder = ddpmcodec.Decoder(model=model_path)
    assert list(decoder.feed(b"")) == [] and next(decoder.feed(data))[0] == 0

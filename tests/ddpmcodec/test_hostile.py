"""Files, models and pictures that are valid in form and meant to do harm, or merely odd."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import ddpmcodec
from ddpmcodec import api, picture
from ddpmcodec.encoder import EncodeOptions, encode_pixels
from ddpmcodec.errors import CorruptFileError, LimitError, ModelError, PictureError
from ddpmcodec.format import alpha as alpha_section
from ddpmcodec.format import container
from ddpmcodec.format.container import Container
from ddpmcodec.format.header import MAX_SIDE, Header
from ddpmcodec.format.metadata import MAX_BYTES, Metadata, upright
from ddpmcodec.format.steptable import MAX_STEPS, Step
from ddpmcodec.models import checkpoint, crops
from ddpmcodec.models.configuration import Data
from ddpmcodec.models.levels import ContinuousLevels, DiscreteLevels
from ddpmcodec.picture import Picture
from ddpmcodec.target import VisitedLevels


def file_of_empty_steps(count, width=64, height=64):
    header = Header(width, height, "m", bytes(8), ContinuousLevels(), -8192)
    return container.serialize(Container(header, tuple(Step(-8192 + i + 1, 0, 10) for i in range(count)), (b"",) * count))


def test_as_many_steps_as_there_can_be():
    data = file_of_empty_steps(MAX_STEPS)
    assert ddpmcodec.info(data)["whole_steps"] == MAX_STEPS
    small = ddpmcodec.truncate(data, max_bytes=len(data) // 2)
    kept = len(container.parse(small).steps)
    assert len(small) <= len(data) // 2 < len(ddpmcodec.truncate(data, steps=kept + 32))


def test_metadata_that_take_a_minute_to_deflate(header):
    """Deflated as encoders do; a file's are not deflated again."""
    slow = np.random.default_rng(0).choice(np.frombuffer(b"ab", np.uint8), 1 << 20).tobytes() * (MAX_BYTES >> 20)
    metadata = Metadata.from_bodies([zlib.compress(slow, 1), None, None])
    data = container.serialize(Container(header, (Step(-3000, 8, 8),), (b"a",), metadata=metadata))
    begin = time.process_time()
    small = ddpmcodec.truncate(data, steps=0)
    assert time.process_time() - begin < 2
    assert container.parse(small).metadata.icc_profile == slow and len(small) < len(data)


def test_more_steps_than_anyone_wants():
    with pytest.raises(LimitError, match="steps"):
        ddpmcodec.decode(file_of_empty_steps(2000, 5001, 5001))


def test_pictures_that_are_small_for_the_limit_and_not_for_the_network():
    """Many of one pixel, each of which is padded to 16 x 16."""
    header = Header(1, 1, "m", bytes(8), ContinuousLevels(), -8192, pictures=1 << 20)
    assert header.network_pixels == 256 * header.pixels
    steps = tuple(Step(-8192 + i + 1, 0, 10) for i in range(300))
    data = container.serialize(Container(header, steps, (b"",) * len(steps)))
    assert len(data) < 500
    with pytest.raises(LimitError, match="as the network sees them"):
        ddpmcodec.decode_pictures(data)


def test_noise_levels_that_are_not_the_models(encoding, model_path):
    header = container.parse(encoding.data).header
    other = Header(header.width, header.height, header.model_name, header.model_hash, DiscreteLevels("linear", 1000), 1000)
    with pytest.raises(CorruptFileError, match="noise levels"):
        ddpmcodec.decode(container.serialize(Container(other, (), ())), model=model_path)


@pytest.mark.parametrize(("T", "beta_1", "beta_T"), [(16384, 0.5, 0.5), (10, 1e-17, 1e-17)])
def test_schedules_without_room_between_levels(T, beta_1, beta_T):
    with pytest.raises(ValueError, match="betas"):
        DiscreteLevels("linear", T, beta_1, beta_T)


def test_a_model_that_overflows(model, tmp_path, photo):
    tensors = {name: 1e30 * value if name.startswith("dec") else value for name, value in model.network.state_dict().items()}
    checkpoint.save(tmp_path / "huge.safetensors", "huge", model.config, tensors)
    with pytest.raises(ModelError, match="not numbers"):
        encode_pixels(Picture(photo[:16, :16]), checkpoint.load(tmp_path / "huge.safetensors"))


def test_a_model_of_complex_numbers(model, tmp_path):
    tensors = {name: value.to(torch.complex64) for name, value in model.network.state_dict().items()}
    checkpoint.save(tmp_path / "complex.safetensors", "complex", model.config, tensors)
    with pytest.raises(ModelError, match="type"):
        checkpoint.load(tmp_path / "complex.safetensors")


def test_a_side_that_no_header_can_have(model):
    wide = np.zeros((1, MAX_SIDE + 1, 3), np.uint8)
    for source in (wide, Image.fromarray(wide)):
        with pytest.raises(LimitError):
            picture.load(source)


def test_no_pixels():
    with pytest.raises(PictureError):
        picture.load(Image.new("RGB", (0, 5)))


def test_negative_steps(encoding, model_path):
    for act in (api.open_file, lambda data, steps: ddpmcodec.truncate(data, steps=steps)):
        with pytest.raises(ValueError, match="steps"):
            act(encoding.data, -1)


@pytest.mark.parametrize("levels", [[0, 0], [100, 50], [99999]])
def test_levels_that_do_not_descend(photo, model, levels):
    with pytest.raises(ValueError, match="level"):
        encode_pixels(Picture(photo[:16, :16]), model, VisitedLevels(tuple(levels)), EncodeOptions(effort=1))


@pytest.mark.parametrize("options", [{"bpp": 0}, {"bpp": float("nan")}, {"bpp": 1e6}, {"evaluations": 1}, {"effort": 6}, {"seed": -1}])
def test_options_out_of_range(photo, model_path, options):
    with pytest.raises(ValueError, match="out of range"):
        ddpmcodec.encode(photo[:16, :16], model=model_path, **options)


def test_an_opaque_alpha_channel_is_left_out_and_said_so(photo):
    opaque = Image.fromarray(photo).convert("RGBA")
    notes = []
    assert np.array_equal(picture.from_image(opaque, notes.append).pixels, photo)
    assert len(notes) == 1 and "alpha" in notes[0]


def test_a_photo_with_a_second_picture_behind_it(photo):
    """As phones write them: the first is coded, and the rest named."""
    buffer = io.BytesIO()
    images = [Image.fromarray(photo), Image.new("RGB", (8, 8))]
    images[0].save(buffer, "MPO", save_all=True, append_images=images[1:], quality=95)
    notes = []
    assert picture.read(buffer.getvalue(), notes.append).pixels.shape == photo.shape
    assert any("first of 2" in text for text in notes)


GHOSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"


def test_a_picture_that_is_a_program(tmp_path, monkeypatch):
    """Pillow would have Ghostscript run it."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "photo.png").write_bytes(GHOSTSCRIPT)
    with pytest.raises(PictureError, match="program"):
        picture.read(GHOSTSCRIPT)
    with pytest.raises(ValueError, match="program"):
        crops.read(tmp_path / "photo.png", Data(16))
    assert not (tmp_path / "was-run").exists()


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    """EXIF of (tag, type, count, value)."""
    return b"MM\0*" + struct.pack(">IH", 8, len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4)


@pytest.mark.parametrize("rest", [(700, 12, 1, 5), (0x0112, 2, 4, 0x61626300), (282, 2, 1, 0)])
def test_exif_that_pillow_cannot_write_again(rest):
    """It would where it turns the picture, with errors of many types: the picture is turned, and EXIF carried as it is."""
    image = Image.new("RGB", (8, 5))
    image.info["exif"] = tiff((0x0112, 3, 1, 6 << 16), (270, 12, 1, 5), rest)
    read = picture.from_image(image)
    assert read.pixels.shape == (8, 5, 3) and len(read.metadata.exif) == len(image.info["exif"])


@pytest.mark.parametrize("before", [b"", b"Exif\0\0"])
def test_no_orientation_of_exif_is_obeyed(header, before):
    exif = tiff((256, 4, 1, 5), (0x0112, 3, 1, 6 << 16))
    data = container.serialize(Container(header, (), (), metadata=Metadata(exif=before + exif)))
    info = container.parse(data).metadata.info
    assert info == {"exif": before + tiff((256, 4, 1, 5), (0x0112, 3, 1, 1 << 16))}
    assert container.serialize(container.parse(data)) == data


@pytest.mark.parametrize("exif", [b"", b"MM", b"MM\0*\xff\xff\xff\xff", tiff((0x0112, 3, 1, 6 << 16))[:14], b"other", bytes(99)])
def test_exif_that_is_none(exif):
    assert upright(exif) == exif


def png(*chunks: tuple[bytes, bytes], depth: int = 8) -> bytes:
    """Gray, 16 x 12, black."""
    head = (b"IHDR", struct.pack(">IIBBBBB", 16, 12, depth, 0, 0, 0, 0))
    rows = (b"IDAT", zlib.compress(bytes((1 + 16 * depth // 8) * 12)))
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in (head, *chunks, rows, (b"IEND", b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_alpha_is_of_8_bits():
    header = Header(16, 12, "m", bytes(8), ContinuousLevels(), 0)
    assert not alpha_section.unpack(png(), header).any()
    for depth in (1, 2, 4, 16):
        with pytest.raises(CorruptFileError, match="8 bits"):
            alpha_section.unpack(png(depth=depth), header)


def test_chunks_of_alpha_that_take_time():
    """Each a megabyte, inflated; and some that are broken."""
    bomb = (b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20), 9))
    begin = time.process_time()
    alpha = alpha_section.unpack(png(*[bomb] * 3000, (b"pHYs", b""), (b"tRNS", b"")), Header(16, 12, "m", bytes(8), ContinuousLevels(), 0))
    assert time.process_time() - begin < 1 and not alpha.any()


def test_sampling_from_a_schedule_that_ends_at_next_to_nothing(tmp_path, model):
    beta = 1 - 2.3e-16  # abar_20 is 1e-313
    levels = {"kind": "discrete", "schedule": "linear", "T": 20, "beta_1": beta, "beta_T": beta}
    path = tmp_path / "deep.safetensors"
    checkpoint.save(path, "deep", model.config | {"levels": levels, "start": 20}, model.network.state_dict())
    found = checkpoint.load(path)
    header = Header(16, 12, "deep", found.hash, found.levels, 20)
    assert ddpmcodec.decode(container.serialize(Container(header, (), ())), model=str(path), reconstruct="sample").size == (16, 12)

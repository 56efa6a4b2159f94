"""Lossless files: every picture comes back to the bit, on other threads and in other arithmetic, or is refused."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ddpmcodec
from ddpmcodec import decoder
from ddpmcodec.encoder import EncodeOptions, Encoding, encode_pixels
from ddpmcodec.errors import CorruptFileError, DriftError
from ddpmcodec.format import container
from ddpmcodec.format.container import END, parse
from ddpmcodec.models import arithmetic
from ddpmcodec.picture import Picture
from ddpmcodec.target import Lossless


def decoded(data, **options):
    return np.asarray(ddpmcodec.decode(data, **options))


@pytest.fixture(scope="module")
def lossless(photo, model) -> Encoding:
    return encode_pixels(Picture(photo[:75, :101]), model, Lossless(), EncodeOptions(evaluations=6, effort=1, seed=5))


@given(
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    seed=st.integers(0, 2**32 - 1),
    noise=st.sampled_from([0, 3, 40]),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_picture_with_one_thread_and_two(model, thread_counts, height, width, seed, noise):
    rng = np.random.default_rng(seed)
    flat = rng.integers(0, 256, 3)
    pixels = np.clip(flat + rng.integers(-noise, noise + 1, (height, width, 3)), 0, 255).astype(np.uint8)
    thread_counts(1)
    data = encode_pixels(Picture(pixels), model, Lossless(), EncodeOptions(evaluations=4, effort=1, seed=seed)).data
    for threads in (1, 2):
        thread_counts(threads)
        assert np.array_equal(decoded(data), pixels)


def test_the_encoding_says_what_it_is(lossless, photo):
    parsed = parse(lossless.data)
    assert np.array_equal(lossless.pixels, photo[:75, :101]) and lossless.psnr == float("inf")
    assert lossless.tail_bytes == len(parsed.tail) > 0 and "lossless" in lossless.summary()
    assert ddpmcodec.info(lossless.data)["lossless"] and [s.type for s in parsed.sections] == ["H", "T", "P", "L", "E"]


def test_every_cut_is_a_lossy_file(lossless, photo):
    """Cut inside the tail, behind the payload, inside it; by `steps` and by `truncate`."""
    parsed = parse(lossless.data)
    whole = len(parsed.steps)
    last = decoded(lossless.data, steps=whole)
    assert not np.array_equal(last, photo[:75, :101])
    begin = next(s.offset for s in parsed.sections if s.type == "L")
    for cut in (begin, begin + 1, begin + 2, begin + 100, len(lossless.data) - len(END) - 1):
        short = parse(lossless.data[:cut])
        assert short.tail is None and not short.complete and len(short.messages) == whole
        assert np.array_equal(decoded(lossless.data[:cut]), last)
    assert np.array_equal(decoded(lossless.data[: parsed.ends[2]]), decoded(lossless.data, steps=3))
    exact = parse(lossless.data[: -len(END)])  # the end mark alone is missing
    assert exact.tail == parsed.tail and not exact.complete and np.array_equal(decoded(lossless.data[: -len(END)]), photo[:75, :101])
    small = ddpmcodec.truncate(lossless.data, max_bytes=len(lossless.data) - 1)
    assert parse(small).tail is None and parse(small).complete and np.array_equal(decoded(small), last)
    assert ddpmcodec.truncate(lossless.data, max_bytes=len(lossless.data)) == lossless.data


def test_the_last_picture_on_the_way_is_the_exact_one(lossless, photo):
    pictures = [np.asarray(image) for _, image in ddpmcodec.decode_progressive(lossless.data)]
    assert np.array_equal(pictures[-1], photo[:75, :101]) and not np.array_equal(pictures[-2], pictures[-1])


def test_damage_in_the_tail_is_found(lossless):
    begin = next(s.offset for s in parse(lossless.data).sections if s.type == "L")
    for at in (*range(begin, begin + 60), *range(begin + 60, len(lossless.data), 97)):
        for bit in (0, 6):
            damaged = bytearray(lossless.data)
            damaged[at] ^= 1 << bit
            with pytest.raises(ddpmcodec.errors.FormatError):
                parse(bytes(damaged))


def test_a_tail_with_fields_out_of_range(lossless):
    parsed = parse(lossless.data)
    for body in (
        b"",
        parsed.tail[:50],
        parsed.tail[:-1],
        parsed.tail[:4] + b"\0" + parsed.tail[5:],
        parsed.tail[:52] + b"\xff" + parsed.tail[53:],
    ):
        with pytest.raises(CorruptFileError, match="tail"):
            parse(container.serialize(container.Container(parsed.header, parsed.steps, parsed.messages, body)))


def in_arithmetic(model, dtype):
    """The model with its network in another precision: another machine, exaggerated."""
    other = copy.copy(model)
    other.network = copy.deepcopy(model.network).to(dtype)
    return arithmetic.denoiser(other, "cpu", "fp32", backend="torch")


def test_another_precision_gives_the_same_picture(lossless, photo, model):
    parsed = parse(lossless.data)
    precise = in_arithmetic(model, torch.float64)
    state = decoder.last_state(parsed, precise)
    reference = decoder.last_state(parsed, arithmetic.denoiser(model, "cpu", "fp32", backend="torch"))
    drift = 127.5 * float(np.abs(state.evaluate() - reference.evaluate()).max())
    assert 0 < drift < 3e-4
    assert np.array_equal(decoder.pixels(parsed, state), photo[:75, :101])


def test_a_precision_that_drifts_too_far_is_refused(lossless, model):
    parsed = parse(lossless.data)
    state = decoder.last_state(parsed, in_arithmetic(model, torch.bfloat16))
    with pytest.raises(DriftError, match="cannot be recovered") as raised:
        decoder.pixels(parsed, state)
    assert raised.value.parameter == "steps"

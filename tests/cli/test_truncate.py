from pathlib import Path

import pytest

import ddpmcodec
from ddpmcodec.format import container


@pytest.mark.parametrize(("option", "value", "name"), [("--steps", 2, "steps"), ("--bytes", 400, "max_bytes"), ("--bpp", 0.9, "bpp")])
def test_limits(run, drawing_encoding, option, value, name):
    result = run("truncate", "in.ddpm", "-o", "out.ddpm", option, value)
    data = Path("out.ddpm").read_bytes()
    assert data == ddpmcodec.truncate(drawing_encoding.data, **{name: value})
    assert 0 < len(container.parse(data).steps) < len(container.parse(drawing_encoding.data).steps)
    assert (result.stdout, result.stderr) == ("", "")


def test_more_than_there_is(run, drawing_encoding):
    for option, value in (("--steps", 999), ("--bytes", 10**9), ("--bpp", 24)):
        run("truncate", "in.ddpm", "-o", "out.ddpm", option, value)
        assert Path("out.ddpm").read_bytes() == drawing_encoding.data


def test_pipes_and_a_model_that_is_not_here(run, drawing_encoding, monkeypatch):
    monkeypatch.delenv("DDPMCODEC_MODELS")
    data = run("truncate", "-", "-o", "-", "--steps", 2, input=drawing_encoding.data).stdout_bytes
    assert data == ddpmcodec.truncate(drawing_encoding.data, steps=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("in.ddpm", "-o", "out.ddpm"),
        ("in.ddpm", "--steps", "1"),
        ("in.ddpm", "-o", "out.ddpm", "--steps", "1", "--bytes", "500"),
        ("in.ddpm", "-o", "out.ddpm", "--bpp", "0"),
        ("in.ddpm", "-o", "out.ddpm", "--bpp", "nan"),
        ("in.ddpm", "-o", "out.ddpm", "--bpp", "inf"),
        ("in.ddpm", "-o", "out.ddpm", "--bytes", "-1"),
    ],
    ids=" ".join,
)
def test_usage_errors(fails, arguments):
    assert "Usage: " in fails(2, "truncate", *arguments)


def test_a_size_that_no_file_has(fails):
    assert "smallest" in fails(11, "truncate", "in.ddpm", "-o", "out.ddpm", "--bytes", 10)
    fails(11, "truncate", "in.ddpm", "-o", "other.ddpm", "--bpp", 0.001)

"""`ddpmcodec info`."""

import json

import click

from ddpmcodec import api
from ddpmcodec.cli import files, options


def lines(info: dict) -> list[str]:
    """Format the facts as text."""
    state = "whole" if info["complete"] else f"cut: {info['whole_steps']} of {len(info['steps'])} steps are whole"
    if info["lossless"]:
        state = "lossless"
    several = f"{info['pictures']} pictures of " if info["pictures"] > 1 else ""
    out = [
        f"{several}{info['width']} x {info['height']} {info['mode']}, {info['bytes']} bytes, {info['bpp']:.4f} bpp, {state}",
        f"format version {info['format_version']}, model {info['model']} {info['model_hash']}, seed {info['seed']},"
        f" x_T at sigma {info['levels']['start_sigma']:.0f}",
        "sections " + ", ".join(f"{s['type']} {s['size']}" for s in info["sections"]) + f"; a picture from byte {info['first_picture']} on",
    ]
    out += noise_lines(info["noise"])
    timestep = info["levels"]["kind"] == "discrete"
    out.append(f"{'step':>4} {'t' if timestep else 'level':>6} {'sigma':>9} {'bits':>8} {'nu':>3} {'bytes':>9} {'bpp':>8}")
    for s in info["steps"]:
        marks = ("" if s["evaluate"] else " x0hat kept") + ("" if s["present"] else " missing")
        out.append(f"{s['step']:>4} {s['level']:>6} {s['sigma']:>9.2f} {s['bits']:>8} {s['nu']:>3} {s['end']:>9} {s['bpp']:>8.4f}{marks}")
    return out


def noise_lines(noise: dict) -> list[str]:
    """Format what the noise is shaped for, and what is left of it."""
    out = [f"tune {noise['tune']}, noise of sigma {noise['sigma']:.2f} left" + ("" if noise["table"] else ", white")]
    if noise["table"]:
        out[0] += f" at multiplier 1, table {noise['table'] if isinstance(noise['table'], int) else 'of its own'}; coarse and fine: "
        out[0] += ", ".join(f"{name} {noise[name]['coarse']:.2f} {noise[name]['fine']:.2f}" for name in ("Y", "Cb", "Cr"))
    if noise["map"]:
        out.append(f"map of cells of {noise['map']['cell']} pixels, up to {noise['map']['coarsest']:g} times as coarse")
    return out


@click.command("info", short_help="Describe and verify a file.")
@click.argument("file", type=options.FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(file, as_json):
    """Print the header and the steps of FILE (- is stdin), and verify every checksum. Loads no network.

    sigma is the noise left after the step, on [0, 255]; where the noise is shaped, that of coefficients with multiplier 1: of coarse and
    fine details of luma and chroma it is printed apart. bits are a step's path bits, nu is the memory of its code (8 ... 16: effort 1 ...
    5); bytes and bpp are of the file up to the end of the step.

    \b
    ddpmcodec info photo.ddpm
    ddpmcodec info photo.ddpm --json | jq '.steps[-1].sigma'
    """
    data = files.read(file)
    with files.naming(file):
        info = api.info(data)
    click.echo(json.dumps(info, indent=2) if as_json else "\n".join(lines(info)))

"""`ddpmcodec bench`."""

import json
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import click
from tqdm import tqdm

from ddpmcodec.cli import files, options
from ddpmcodec.errors import EvaluationError
from ddpmcodec.plan import MAX_BPP

CROP_CORNER = (352, 150)


@click.command("bench", short_help="Efficiency and speed of the coder, seconds, memory.")
@click.argument("photo", type=options.FILE, metavar="PICTURE")
@click.option(
    "--bpp", type=options.Rate(0.01, MAX_BPP), default=1.0, show_default=True, metavar="X", help="Rate of the file that is timed."
)
@click.option("--repeats", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N", help="Seconds are medians of so many.")
@click.option("--poisson", is_flag=True, help="Also the Poisson coder and ours on a crop of 64x64; takes minutes.")
@click.option("--crop", type=(int, int), default=CROP_CORNER, show_default=True, metavar="LEFT TOP", help="Where the crop is.")
@click.option("-o", "--output", type=options.FILE, metavar="FILE.json", help="Write everything there, for `ddpmcodec plot`.")
@options.evaluations
@options.effort
@options.model
@options.threads
@options.quiet
def command(photo, bpp, repeats, poisson, crop, output, evaluations, effort, model, threads, quiet):
    """Measure the codec on PICTURE and print Markdown tables.

    Seconds and peak memory of an encode and a decode, each in a process of its own; then the channel coder on real steps: bits over KL,
    microseconds a bit, and mean, variance and kurtosis of the noise it leaves, for every effort and several lengths of a step.

    \b
    ddpmcodec bench photo.png
    ddpmcodec bench photo.png --poisson -o coder.json && ddpmcodec plot coder.json -o coder.png
    """
    options.use_threads(threads)
    if output is not None:
        files.check_writable(output)

    import torch

    from ddpmcodec import picture
    from ddpmcodec.eval import bench, timing
    from ddpmcodec.models import registry

    data = files.read(photo)
    with files.naming(photo):
        pixels = picture.read(data).pixels
    height, width = pixels.shape[:2]
    left, top = crop
    part = pixels[top : top + bench.CROP_SIDE, left : left + bench.CROP_SIDE]
    if poisson and part.shape[:2] != (bench.CROP_SIDE, bench.CROP_SIDE):
        raise EvaluationError(f"{bench.CROP_SIDE}x{bench.CROP_SIDE} at {left}, {top} is not within the picture's {width}x{height}: --crop")
    denoiser = registry.find(model or registry.DEFAULT)

    def table(title: str, measurements) -> list:
        click.echo(f"\n{title}\n\n{bench.HEAD}")
        done = []
        with tqdm(desc=title, unit="step", disable=quiet or None, leave=False) as bar:
            for m in measurements:
                done.append(m)
                tqdm.write(bench.row(m))
                bar.update()
        return done

    click.echo(f"{width}x{height}, {denoiser.name}, {torch.get_num_threads()} threads, medians of {repeats}\n")
    times = timing.measure(
        pixels,
        model or registry.DEFAULT,
        bpp=bpp,
        evaluations=evaluations,
        effort=effort,
        threads=torch.get_num_threads(),
        repeats=repeats,
    )
    click.echo(timing.table(times))
    steps = table(f"steps of {width}x{height}", bench.measure_trellis(denoiser, pixels, bench.SIGMAS, bench.STEP_BITS))
    click.echo(f"\nBits sent per ideal bit conveyed, and microseconds a bit sent: means over noise levels\n\n{bench.summary(steps)}")
    crop_steps: list[bench.Measurement] = []
    if poisson:
        kls = bench.CROP_STEP_BITS
        ours = bench.measure_trellis(denoiser, part, [bench.CROP_SIGMA], kls)
        others = bench.measure_poisson(denoiser, part, bench.CROP_SIGMA, kls)
        crop_steps = table(f"steps of {bench.CROP_SIDE}x{bench.CROP_SIDE} at {left}, {top}", chain(ours, others))
    if output is not None:
        document = {
            "timing": times,
            "photo": {"name": Path(photo).name, "width": width, "height": height, "steps": [m.record() for m in steps]},
            "crop": {"left": left, "top": top, "side": bench.CROP_SIDE, "steps": [m.record() for m in crop_steps]},
            "model": {"name": denoiser.name, "hash": denoiser.hash.hex()},
            "threads": torch.get_num_threads(),
            "versions": {package: version(package) for package in ("ddpmcodec", "numba", "numpy", "torch")},
        }
        files.write(output, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())

"""`ddpmcodec bench`."""

from pathlib import Path

import click
from tqdm import tqdm

from ddpmcodec.cli import eval_options, files, options
from ddpmcodec.errors import printable
from ddpmcodec.target import MAX_BPP


@click.command("bench", short_help="Measure the coder's efficiency and speed, seconds, memory.")
@click.argument("photo", type=options.FILE, metavar="PICTURE")
@click.option("--bpp", type=options.Rate(0.01, MAX_BPP), default=1.0, show_default=True, metavar="X", help="Time a file of this rate.")
@click.option("--repeats", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N", help="Take medians of N runs.")
@click.option("--poisson", is_flag=True, help="Also measure the Poisson coder and ours on a crop of 64x64; takes minutes.")
@click.option("--crop", type=(int, int), default=(352, 150), show_default=True, metavar="LEFT TOP", help="Crop there.")
@click.option("-o", "--output", type=options.FILE, metavar="FILE.json", help="Write everything to FILE.json, for `ddpmcodec plot`.")
@options.evaluations
@options.effort
@options.model
@click.option("--device", type=options.Device(), default="cpu", show_default=True, metavar=options.DEVICE, help="Time the network there.")
@options.backend
@eval_options.page
@options.threads
@options.quiet
def command(photo, bpp, repeats, poisson, crop, output, evaluations, effort, model, device, backend, page, threads, quiet):
    """Measure the codec on PICTURE and print Markdown tables.

    Seconds and peak memory of an encode and a decode in fp32, each in a process of its own; then the channel coder on real
    steps: bits over KL, microseconds a bit, and mean, variance and kurtosis of the noise it leaves, for every effort and several lengths
    of a step.

    \b
    ddpmcodec bench photo.png
    ddpmcodec bench photo.png --poisson -o coder.json && ddpmcodec plot coder.json -o coder.png
    """
    options.use_threads(threads)
    if output is not None:
        files.check_writable(output, [photo, model])

    from ddpmcodec import picture
    from ddpmcodec.encoder import EncodeOptions
    from ddpmcodec.eval import bench
    from ddpmcodec.models import registry

    data = files.read(photo)
    with files.naming(photo):
        pixels = picture.read(data, page=page).pixels
    timed = EncodeOptions(evaluations, effort, device=device, precision="fp32", backend=backend)
    with options.progress_bar("bench", quiet) as progress:
        document = bench.run(pixels, model or registry.DEFAULT, crop if poisson else None, bpp=bpp, options=timed, repeats=repeats,
                             say=tqdm.write, progress=progress)  # fmt: skip
    if output is not None:
        document["photo"]["name"] = printable(Path(photo).name)
        files.write_json(output, document)

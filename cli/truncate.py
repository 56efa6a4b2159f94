"""`ddpmcodec truncate`."""

import click

from ddpmcodec import api
from ddpmcodec.cli import files, options
from ddpmcodec.plan import MAX_BPP


@click.command("truncate", short_help="Make a file smaller without decoding it.")
@click.argument("file")
@options.output
@click.option("--bpp", type=options.Rate(0, MAX_BPP, min_open=True), metavar="X", help="At most X bits per pixel.")
@click.option("--bytes", "max_bytes", type=options.Size(), metavar="N", help="At most N bytes.")
@click.option("--steps", type=click.IntRange(0), metavar="N", help="The first N steps.")
def command(file, output, bpp, max_bytes, steps):
    """Write the longest prefix of FILE's steps that is small enough, as a whole file. Loads no network.

    \b
    ddpmcodec truncate photo.ddpm -o small.ddpm --bpp 0.25
    ddpmcodec truncate photo.ddpm -o small.ddpm --bytes 10000
    """
    if (bpp, max_bytes, steps).count(None) != 2:
        raise click.UsageError("give one of --bpp, --bytes and --steps")
    files.check_writable(output)
    data = files.read(file)
    with files.naming(file):
        small = api.truncate(data, bpp=bpp, max_bytes=max_bytes, steps=steps)
    files.write(output, small)

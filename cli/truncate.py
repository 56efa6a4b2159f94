"""`ddpmcodec truncate`."""

import click

from ddpmcodec import api
from ddpmcodec.cli import files, options
from ddpmcodec.target import MAX_BPP


@click.command("truncate", short_help="Make a file smaller without decoding it.")
@click.argument("file", type=options.FILE)
@options.output
@click.option("--bpp", type=options.Rate(0, MAX_BPP, min_open=True), metavar="X", help="Keep at most X bits per pixel.")
@click.option("--bytes", "max_bytes", type=options.Size(), metavar="N", help="Keep at most N bytes.")
@click.option("--steps", type=click.IntRange(0), metavar="N", help="Keep the first N steps.")
@click.option("--strip", is_flag=True, help="Leave colour profile, EXIF and XMP out.")
def command(file, output, bpp, max_bytes, steps, strip):
    """Write the longest prefix of FILE's steps that is small enough, as a whole file. Loads no network.

    \b
    ddpmcodec truncate photo.ddpm -o small.ddpm --bpp 0.25
    ddpmcodec truncate photo.ddpm -o small.ddpm --bytes 10000
    """
    if (given := 3 - (bpp, max_bytes, steps).count(None)) > 1 or not (given or strip):
        raise click.UsageError("give one of --bpp, --bytes and --steps, or --strip, or both")
    files.check_writable(output, [file])
    data = files.read(file)
    with files.naming(file):
        small = api.truncate(data, bpp=bpp, max_bytes=max_bytes, steps=steps, strip=strip)
    files.write(output, small)

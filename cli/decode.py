"""`ddpmcodec decode`."""

import io
from pathlib import Path

import click
from PIL import Image

from ddpmcodec.cli import files, options
from ddpmcodec.errors import OutputError

ICONS = {"ICO", "ICNS"}  # Pillow scales what it saves in these


def picture_format(path: str) -> str:
    """Pillow's name of the format that a file name asks for."""
    if path == "-":
        return "PNG"
    name = Image.registered_extensions().get(Path(path).suffix.lower())
    try:
        if name is None or name in ICONS:
            raise ValueError
        Image.new("RGB", (1, 1)).save(io.BytesIO(), name)
    except Exception as e:  # each format's own way to say that it cannot be written, or not in colour
        raise OutputError(f"{path}: no picture format that can be written has the extension {Path(path).suffix!r}") from e
    return name


def save(image: Image.Image, path: str) -> None:
    buffer = io.BytesIO()
    carried = {name: image.info[name] for name in ("icc_profile", "exif", "xmp") if name in image.info}
    try:
        image.save(buffer, picture_format(path), **carried)
    except Exception as e:  # what Pillow raises, for a picture too large for the format say, is up to each format's library
        raise OutputError(f"{path}: {' '.join(str(e).split())}") from e
    files.write(path, buffer.getvalue())


def make_directory(path: str) -> None:
    if path == "-":
        raise OutputError("several pictures need a directory to go to, not stdout")
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror}") from e


@click.command("decode", short_help="Decode a file, or any prefix of one.")
@click.argument("file")
@click.option("-o", "--output", metavar="FILE", help="The picture, in the format of its extension; - is stdout, as PNG. Several pictures: "
              "a directory.")  # fmt: skip
@click.option("--steps", type=click.IntRange(0), metavar="N", help="Use only the first N steps (more than there are: all).")
@click.option("--bytes", "max_bytes", type=options.Size(), metavar="N", help="Use only the first N bytes.")
@click.option("--every", type=click.Path(file_okay=False), metavar="DIR", help="Also write the picture after every step, step-000.png ...")
@click.option("--reconstruct", type=click.Choice(["mean", "sample"]), default="mean", show_default=True,
              help="mean: the best PSNR. sample: draw the rest of the chain (Algorithm 4).")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N", help="Of --reconstruct sample.")
@options.model
@options.threads
@options.max_pixels
@options.quiet
def command(file, output, steps, max_bytes, every, reconstruct, seed, model, threads, max_pixels, quiet):
    """Decode FILE (- is stdin), whole or cut, to a picture.

    \b
    ddpmcodec decode photo.ddpm -o out.png
    ddpmcodec decode photo.ddpm -o preview.png --bytes 4000
    ddpmcodec decode photo.ddpm --every frames/
    ddpmcodec decode tiles.ddpm -o tiles/
    """
    if output is None and every is None:
        raise click.UsageError("give -o FILE, --every DIR, or both")
    data = files.read(file)[:max_bytes]
    options.use_threads(threads)

    from ddpmcodec import api, decoder
    from ddpmcodec import picture as pictures

    with files.naming(file):
        parsed = api.open_file(data, steps, max_pixels)
    several = parsed.header.pictures > 1
    if output is not None and not several:
        files.check_writable(output)
        picture_format(output)
    denoiser = api.model_of(parsed, model)

    def save_all(pixels, path: str) -> None:
        images = pictures.to_images(pixels, parsed)
        if several:
            make_directory(path)
            for i, image in enumerate(images):
                save(image, str(Path(path) / f"{i:04}.png"))
        else:
            save(images[0], path)

    for directory in (every, output if several else None):
        if directory is not None:
            make_directory(directory)
    with options.progress_bar("decode", quiet) as progress:
        if every is None:
            state = decoder.last_state(parsed, denoiser, progress)
        else:
            for state in decoder.states(parsed, denoiser):
                save_all(decoder.pixels(parsed, state), str(Path(every) / f"step-{state.index:03}{'' if several else '.png'}"))
                progress(state.index + 1, len(parsed.messages) + 1)
    if output is not None:
        with options.progress_bar("sample", quiet or reconstruct == "mean") as progress:
            sampled = reconstruct == "sample"
            pixels = pictures.to_pixels(decoder.sample(state, seed, progress)) if sampled else decoder.pixels(parsed, state)
        save_all(pixels, output)
    if not quiet:
        exactly = ", losslessly" if parsed.tail is not None and reconstruct == "mean" else ""
        click.echo(f"{output or every}: decoded from {state.index} of {len(parsed.steps)} steps{exactly}", err=True)

"""`ddpmcodec encode`."""

from dataclasses import replace

import click

from ddpmcodec.cli import files, options
from ddpmcodec.plan import MAX_BPP

ALL = "all"
USED = 0.95  # of a size asked for: less is said


def levels_option(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | str | None:
    """900,800,... to numbers."""
    if value is None or value == ALL:
        return value
    try:
        return [int(v) for v in value.split(",")]
    except ValueError:
        raise click.BadParameter("give timesteps separated by commas, or 'all'") from None


@click.command("encode", short_help="Encode a picture.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@options.output
@click.option("-q", "--quality", type=options.Rate(0, 100), metavar="0..100",
              help="The noise that the last step ends at, from 100 of 255 at 0 over 10 at 50 to 1 at 100.")  # fmt: skip
@click.option("--bpp", type=options.Rate(0, MAX_BPP, min_open=True), metavar="X", help="Bits per pixel, never exceeded [default: about 1].")
@click.option("--target-size", type=options.Size(), metavar="BYTES", help="Of the file, never exceeded: 20000, 20k or 1.5M.")
@click.option("--psnr", type=options.Rate(0, min_open=True), metavar="DB", help="Of the decoded picture: reached, and hardly exceeded.")
@click.option("--lossless", is_flag=True, help="To the last bit.")
@options.evaluations
@options.effort
@options.model
@click.option("--levels", callback=levels_option, metavar="all|N,N,...", help="Timesteps to visit after the first.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N",
              help="Of the randomness that encoder and decoder share; it is in the file.")  # fmt: skip
@click.option("--page", type=click.IntRange(1), metavar="N", help="Of a file with several pages or frames: this one.")
@click.option("--strip", is_flag=True, help="Do not carry colour profile, EXIF and XMP.")
@click.option("--icc", metavar="FILE", help="Carry this colour profile instead of the picture's own.")
@click.option("--exif", metavar="FILE", help="Carry this EXIF instead of the picture's own.")
@options.threads
@options.max_pixels
@options.quiet
def command(
    images, output, quality, bpp, target_size, psnr, lossless, evaluations, effort, model, levels, seed, page, strip, icc, exif, threads,
    max_pixels, quiet
):  # fmt: skip
    """Encode IMAGE (any picture Pillow opens; - is stdin) to a .ddpm file.

    At most one of --quality, --bpp, --target-size, --psnr and --lossless says where to end. Several pictures of one size are coded
    together, into one file: small ones cost fewer bytes so.

    \b
    ddpmcodec encode photo.png -o photo.ddpm
    ddpmcodec encode photo.jpg -o small.ddpm --bpp 0.25 --evaluations 20
    ddpmcodec encode photo.png -o small.ddpm --target-size 20k
    ddpmcodec encode photo.png -o fine.ddpm --psnr 40
    ddpmcodec encode photo.png -o exact.ddpm --lossless
    ddpmcodec encode tiles/*.png -o tiles.ddpm --lossless --model tiny
    cat photo.png | ddpmcodec encode - -o - | ddpmcodec decode - -o out.png
    """
    ends = [v for v in (quality, bpp, target_size, psnr) if v is not None]
    if len(ends) + lossless > 1 or (levels and ends):
        raise click.UsageError("give one of --quality, --bpp, --target-size, --psnr, --lossless and --levels; or --lossless with --levels")
    files.check_writable(output)
    data = [files.read(image) for image in images]
    options.use_threads(threads)

    from ddpmcodec import picture, plan
    from ddpmcodec.encoder import encode_pixels
    from ddpmcodec.metadata import NONE
    from ddpmcodec.models import registry
    from ddpmcodec.models.levels import DiscreteLevels

    limit = max_pixels or picture.MAX_PIXELS

    def picture_of(image: str, data: bytes) -> picture.Picture:
        def note(text: str) -> None:
            if not quiet:
                click.echo(f"{image}: {text}", err=True)

        with files.naming(image):
            return picture.read(data, note, limit, page)

    source = picture.together([picture_of(*each) for each in zip(images, data, strict=True)], limit)
    metadata = NONE if strip else source.metadata
    if icc is not None:
        metadata = replace(metadata, icc_profile=files.read(icc))
    if exif is not None:
        metadata = replace(metadata, exif=files.read(exif))
    denoiser = registry.find(model or registry.DEFAULT)
    if levels == ALL:
        if not isinstance(denoiser.levels, DiscreteLevels):
            raise click.BadParameter(f"the levels of {denoiser.name} are continuous: there is no 'all' of them", param_hint="--levels")
        levels = range(denoiser.start - 1, 0, -1)
    if levels is not None:
        try:
            plan.check_levels(denoiser.levels, denoiser.start, levels)
        except ValueError as e:
            raise click.BadParameter(str(e), param_hint="--levels") from e
    with options.progress_bar("encode", quiet) as progress:
        encoding = encode_pixels(
            source.pixels,
            denoiser,
            gray=source.gray,
            alpha=source.alpha,
            metadata=metadata,
            quality=quality,
            bpp=bpp,
            max_bytes=target_size,
            psnr=psnr,
            lossless=lossless,
            evaluations=evaluations,
            effort=effort,
            seed=seed,
            levels=levels,
            pictures=len(images),
            progress=progress,
        )
    files.write(output, encoding.data)
    if not quiet:
        click.echo(f"{output}: {encoding.summary()}", err=True)
        if psnr is not None and encoding.psnr < psnr:
            click.echo(f"{output}: {psnr:g} dB is out of reach, by {psnr - encoding.psnr:.2f} dB", err=True)
        if target_size is not None and len(encoding.data) < USED * target_size:
            click.echo(f"{output}: the picture has no use for more bytes: it is as good as 8 bits show", err=True)

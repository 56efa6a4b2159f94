"""`ddpmcodec eval denoise`."""

import click

from ddpmcodec.cli import eval_options, files, notes, options


@click.command("denoise", short_help="Measure the denoiser's PSNR at noise levels.")
@eval_options.paths
@click.option("--sigma", "sigmas", default="15,25,50", show_default=True, callback=eval_options.sigmas, metavar="X[,X...]",
              help="Measure at these noise levels, of 255.")  # fmt: skip
@click.option("--whitened", is_flag=True, help="Measure on pictures as shaped noise shows them to the network.")
@eval_options.directory
@eval_options.page
@eval_options.stride
@options.model
@options.threads
@options.quiet
def command(paths, sigmas, whitened, output, page, stride, model, threads, quiet):
    """Measure the denoising PSNR, which decides how good the codec is, and print a Markdown table of its means over pictures.

    Pictures that cannot be read are named and left out, and the exit code is then 3.

    \b
    ddpmcodec eval denoise photos/
    ddpmcodec eval denoise photos/ --sigma 25 --whitened -o results/
    """
    options.use_threads(threads)

    from ddpmcodec.eval import denoising, pictures
    from ddpmcodec.models import registry

    found, left_out = pictures.find(paths, stride), notes.LeftOut()
    denoiser = registry.resolve(model)
    outputs = files.prepare(output, ["denoise-whitened" if whitened else "denoise"], [*paths, model]) if output else {}
    with options.progress_bar("denoise", quiet) as progress:
        psnrs = denoising.measure(found, denoiser, sigmas, whitened, left_out, progress, page)
    if psnrs:
        for path in outputs.values():
            files.write_json(path, denoising.results(psnrs, denoiser, sigmas, whitened))
        click.echo(denoising.table(psnrs, denoiser, sigmas, whitened))
    left_out.check(len(found))

"""`ddpmcodec eval lossless`."""

import click

from ddpmcodec.cli import eval_options, files, notes, options


@click.command("lossless", short_help="Measure lossless files beside PNG, WebP and JPEG XL.")
@eval_options.paths
@click.option("--together", is_flag=True, help="Code pictures of one size as one file, beside the bound, in bits per dimension.")
@eval_options.directory
@eval_options.page
@eval_options.stride
@options.evaluations
@options.effort
@options.model
@options.threads
@options.quiet
def command(paths, together, output, page, stride, evaluations, effort, model, threads, quiet):
    """Measure the sizes of lossless files, each of which is decoded and compared, and print a Markdown table.

    Pictures that cannot be read are named and left out, and the exit code is then 3.

    \b
    ddpmcodec eval lossless photos/
    ddpmcodec eval lossless crops.npz --together --model tiny --effort 3
    """
    options.use_threads(threads)
    (measure_together if together else measure_each)(paths, output, page, stride, evaluations, effort, model, quiet)


def measure_each(paths, output, page, stride, evaluations, effort, model, quiet) -> None:
    """Print the size of each picture's file."""
    from ddpmcodec.eval import lossless, pictures
    from ddpmcodec.models import registry

    found, left_out = pictures.find(paths, stride), notes.LeftOut()
    denoiser = registry.resolve(model)
    outputs = files.prepare(output, ["lossless"], [*paths, model]) if output else {}
    with options.progress_bar("lossless", quiet) as progress:
        result = lossless.measure(found, denoiser, evaluations, effort, left_out, notes.note, progress, page)
    if result["pictures"]:
        for path in outputs.values():
            files.write_json(path, result)
        click.echo(lossless.table(result["pictures"]))
    left_out.check(len(found))


def measure_together(paths, output, page, stride, evaluations, effort, model, quiet) -> None:
    """Print the size of one file of all pictures."""
    from ddpmcodec.eval import lossless, pictures
    from ddpmcodec.models import registry

    denoiser, left_out = registry.resolve(model), notes.LeftOut()
    outputs = files.prepare(output, ["together"], [*paths, model]) if output else {}
    loaded = list(pictures.load_any(paths, left_out, page=page))[::stride]
    with options.progress_bar("lossless", quiet) as progress:
        result = lossless.together(loaded, denoiser, evaluations, effort, notes.note, progress)
    for path in outputs.values():
        files.write_json(path, result)
    click.echo(lossless.together_table(result))
    left_out.check()

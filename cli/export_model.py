"""`ddpmcodec export`."""

from pathlib import Path

import click

from ddpmcodec.cli import files, options
from ddpmcodec.errors import ModelError, OutputError


def _folder(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "-":
        raise OutputError("a model is written to a folder, not to stdout")
    return value


@click.command("export", short_help="Write a model for diffusers, ONNX or ncnn.")
@click.argument("model", type=options.FILE)
@click.option("-o", "--output", type=options.DIRECTORY, callback=_folder, metavar="DIR", help="Write one of the paper's kind for "
              "diffusers: the folder DIR, which must not be there yet.")  # fmt: skip
@click.option("--onnx", type=options.FILE, metavar="FILE", help="Write a photo model's network as ONNX to FILE.")
@click.option("--ncnn", type=options.DIRECTORY, callback=_folder, metavar="DIR", help="Write a photo model's network for ncnn: the folder "
              "DIR, which must not be there yet, with model.ncnn.param and model.ncnn.bin.")  # fmt: skip
def command(model, output, onnx, ncnn):
    """Write MODEL (a name or a path) for other programs: one of the paper's kind as a folder that diffusers'
    DDPMPipeline.from_pretrained reads, a photo model's network as ONNX or for ncnn.

    The network has two inputs, x, the noisy picture, of sides that are multiples of its stride (16 for photo-3), and e, the embedding of
    the noise level (`ddpmcodec.models.embedding`), and one output, v. What is written is run once and compared with what is run here.

    \b
    ddpmcodec export tiny -o tiny-diffusers/
    ddpmcodec export photo-3 --onnx photo-3.onnx
    ddpmcodec export photo-3 --ncnn photo-3.ncnn/
    """
    if output is onnx is ncnn is None:
        raise click.UsageError("give -o DIR, --onnx FILE or --ncnn DIR")
    if onnx is not None:
        files.check_writable(onnx, [model], stdout=False)

    from ddpmcodec.models import registry

    found = registry.find(model)
    if output is not None:
        if found.config["architecture"] != "ddpm-unet":
            raise ModelError(f"{model}: a {found.config['architecture']} has no counterpart in diffusers: --onnx or --ncnn")

        from ddpmcodec.models import diffusers_layout

        diffusers_layout.write(Path(output), found.config, found.network.state_dict())
        click.echo(output, err=True)
    if onnx is None and ncnn is None:
        return

    from ddpmcodec.models import export

    if onnx is not None:
        difference, runtime = export.to_onnx(found, Path(onnx))
        click.echo(f"{onnx}: run with {runtime}, x0hat differs by {difference:.1e} at most", err=True)
    if ncnn is not None:
        difference = export.to_ncnn(found, Path(ncnn))
        click.echo(f"{ncnn}: run with ncnn, x0hat differs by {difference:.1e} at most", err=True)

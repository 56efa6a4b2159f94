"""`ddpmcodec export`."""

from pathlib import Path

import click

from ddpmcodec.cli import options
from ddpmcodec.errors import ModelError, OutputError


@click.command("export", short_help="Write a model as a diffusers folder.")
@click.argument("model", type=options.FILE)
@click.option(
    "-o", "--output", required=True, type=options.DIRECTORY, metavar="DIR", help="Write the folder DIR, which must not be there yet."
)
def command(model, output):
    """Write MODEL (a name or a path), one of the paper's kind, as a folder that diffusers' DDPMPipeline.from_pretrained reads.

    \b
    ddpmcodec export tiny -o tiny-diffusers/
    """
    if output == "-":
        raise OutputError("a model is written to a folder, not to stdout")

    from ddpmcodec.models import diffusers_layout, registry

    found = registry.find(model)
    if found.config["architecture"] != "ddpm-unet":
        raise ModelError(f"{model}: a {found.config['architecture']} has no counterpart in diffusers")
    diffusers_layout.write(Path(output), found.config, found.network.state_dict())
    click.echo(f"{output}", err=True)

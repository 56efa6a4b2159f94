"""`ddpmcodec import`."""

import os
from pathlib import Path

import click

from ddpmcodec.cli import files, options
from ddpmcodec.errors import ModelError


@click.command("import", short_help="Make a model of a published checkpoint.")
@click.argument("source", type=options.FILE)
@click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE", help="Write the model to FILE.")
@click.option("--name", metavar="NAME", help="Name the model so [default: the output's, without its extension].")
@click.option("--resolution", type=click.IntRange(8, 4096), metavar="N", help="OpenAI's: side of the pictures it was trained on.")
@click.option("--heads", type=click.IntRange(1, 1024), default=1, show_default=True, metavar="N", help="OpenAI's: --num_heads.")
@click.option("--head-channels", type=click.IntRange(1, 4096), metavar="N", help="OpenAI's: --num_head_channels, instead of --heads.")
@click.option(
    "--schedule", type=click.Choice(["linear", "cosine"]), default="linear", show_default=True, help="OpenAI's: --noise_schedule."
)
@click.option(
    "--timesteps", type=click.IntRange(2, 1 << 14), default=1000, show_default=True, metavar="T", help="OpenAI's: --diffusion_steps."
)
@click.option("--rescale-timesteps", is_flag=True, help="OpenAI's: --rescale_timesteps, the default of improved-diffusion.")
@click.option("--new-attention-order", is_flag=True, help="OpenAI's: --use_new_attention_order.")
def command(source, output, name, resolution, heads, head_channels, schedule, timesteps, rescale_timesteps, new_attention_order):
    """Make a .safetensors model of SOURCE: a diffusers folder (DDPMPipeline or UNet2DModel), or a .pt state dict of OpenAI's
    improved-diffusion or guided-diffusion, whose shapes do not tell everything.

    \b
    ddpmcodec import ddpm-cifar10-32/ -o cifar10.safetensors
    ddpmcodec import cifar10_uncond_50M_500K.pt -o cifar.safetensors --resolution 32 --heads 4 \\
        --schedule cosine --timesteps 4000 --rescale-timesteps
    ddpmcodec encode picture.png -o picture.ddpm --model cifar10.safetensors
    """
    path = Path(source)
    parts = (*path.rglob("*.json"), *path.rglob("diffusion_pytorch_model*"))  # of a diffusers folder
    files.check_writable(output, [source, *map(str, parts)], stdout=False)

    from ddpmcodec.models import checkpoint, diffusers_layout, networks, openai_layout

    if not os.path.exists(path):  # unlike Path.exists, also False for names that no file can have
        raise ModelError(f"{source} does not exist: give a diffusers folder or a .pt state dict")
    if path.is_dir():
        config, tensors = diffusers_layout.read(path)
    elif resolution is None:
        raise click.UsageError("a state dict does not tell which resolution it was trained on: give --resolution")
    else:
        config, tensors = openai_layout.read(
            path,
            resolution=resolution,
            heads=heads,
            head_channels=head_channels,
            schedule=schedule,
            T=timesteps,
            rescale_timesteps=rescale_timesteps,
            new_attention_order=new_attention_order,
        )
    with files.naming(source):
        model = networks.model_of(name or Path(output).stem.lower(), config, tensors)
    checkpoint.save(Path(output), model.name, model.config, tensors)
    parameters = sum(t.numel() for t in tensors.values())
    click.echo(
        f"{output}: {model.name}, {parameters / 1e6:.1f} million parameters, {model.start} timesteps, hash {model.hash.hex()}", err=True
    )

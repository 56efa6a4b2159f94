"""Models in the layout of OpenAI: `.pt` state dicts of improved-diffusion (arXiv 2102.09672) and guided-diffusion (arXiv 2105.05233).

Sizes follow from the shapes. The rest is in the flags of the command that trained the model, which those repositories' READMEs give:
improved-diffusion has 4 heads and rescales timesteps unless they say otherwise, guided-diffusion's models have heads of 64 channels.
"""

import pickle
import re
from pathlib import Path

import torch

from ddpmcodec.errors import ModelError
from ddpmcodec.models.model import complete

Tensors = dict[str, torch.Tensor]

RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def _load(path: Path) -> Tensors:
    """Load a dictionary of tensors; ModelError where the file is anything else."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as e:
        first = str(e).strip().splitlines() or [type(e).__name__]
        raise ModelError(
            f"{path} cannot be read as a dictionary of tensors, and a pickle of anything else would run its code: {first[0]}"
        ) from e
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in found.items()):
        raise ModelError(f"{path} is no dictionary of tensors")
    return found


def _heads_apart(qkv: torch.Tensor, width: int, heads: int, new_order: bool) -> list[torch.Tensor]:
    """Return q, k and v of a projection to (3 width, ...).

    Its rows are ordered by head, then q, k and v; in the new order by q, k and v, then head.
    """
    shape = (3, heads, width // heads) if new_order else (heads, 3, width // heads)
    parts = qkv.view(*shape, *qkv.shape[1:]).unbind(0 if new_order else 1)
    return [part.reshape(width, *qkv.shape[1:]) for part in parts]


class _Translator:
    """A translation of a state dict, which moves tensors from their names to ours.

    Attributes:
        left: tensors not moved yet, by their names; those left at the end are not understood.
        done: tensors moved, by our names.
    """

    def __init__(self, source: Path, tensors: Tensors, head_channels: int | None, heads: int, new_order: bool):
        self.source = source
        self.left = dict(tensors)
        self.done: Tensors = {}
        self.head_channels, self.heads, self.new_order = head_channels, heads, new_order

    def shape(self, name: str) -> torch.Size:
        """Return the shape of a tensor that is left; ModelError where there is none of that name."""
        if name not in self.left:
            raise ModelError(f"{self.source} lacks {name}")
        return self.left[name].shape

    def move(self, old: str, new: str) -> None:
        """Move the weight and bias of a layer."""
        for kind in ("weight", "bias"):
            self.shape(f"{old}.{kind}")
            self.done[f"{new}.{kind}"] = self.left.pop(f"{old}.{kind}")

    def residual(self, old: str, new: str) -> int:
        """Move a residual block; return the number of its channels."""
        width = self.shape(f"{old}.in_layers.2.weight")[0]
        for theirs, ours in RESIDUAL.items():
            if theirs != "skip_connection" or f"{old}.{theirs}.weight" in self.left:
                self.move(f"{old}.{theirs}", f"{new}.{ours}")
        return width

    def attention(self, old: str, new: str) -> None:
        """Move an attention block, q, k and v taken apart."""
        self.move(f"{old}.norm", f"{new}.group_norm")
        width = self.shape(f"{old}.qkv.weight")[1]
        heads = width // self.head_channels if self.head_channels else self.heads
        if width % heads or self.shape(f"{old}.qkv.bias")[0] != 3 * width:
            raise ModelError(f"{self.source}: {old} has {width} channels, which are not {heads} heads")
        for kind in ("weight", "bias"):
            value = self.left.pop(f"{old}.qkv.{kind}").float()
            value = value.squeeze(-1) if kind == "weight" else value
            for ours, part in zip(("to_q", "to_k", "to_v"), _heads_apart(value, width, heads, self.new_order), strict=True):
                self.done[f"{new}.{ours}.{kind}"] = part
        self.move(f"{old}.proj_out", f"{new}.to_out.0")
        self.done[f"{new}.to_out.0.weight"] = self.done[f"{new}.to_out.0.weight"].squeeze(-1)

    def has(self, name: str) -> bool:
        """Whether a tensor is left."""
        return name in self.left

    def resampler(self, old: str, new: str, conv: str) -> bool:
        """Move the layer that leads to another level; return whether it is a residual block."""
        if self.has(f"{old}.in_layers.2.weight"):
            self.residual(old, new)
            return True
        self.move(f"{old}.{conv}", f"{new}.conv")
        return False


def _count(tensors: Tensors, side: str) -> int:
    """Return the number of blocks of one side."""
    return 1 + max((int(m[1]) for name in tensors if (m := re.match(rf"{side}\.(\d+)\.", name))), default=-1)


def read(
    path: Path,
    *,
    resolution: int,
    heads: int = 1,
    head_channels: int | None = None,
    schedule: str = "linear",
    T: int = 1000,
    rescale_timesteps: bool = False,
    new_attention_order: bool = False,
) -> tuple[dict, Tensors]:
    """Return the configuration of a model, as our checkpoints carry it, and its tensors.

    Args:
        resolution: side of its training pictures in pixels.
        heads, head_channels: --num_heads, --num_head_channels, of which the second has the last word.
        schedule, T: --noise_schedule, --diffusion_steps.
        rescale_timesteps, new_attention_order: --rescale_timesteps, --use_new_attention_order.

    Raises:
        ModelError: the file cannot be read, or its model is of a kind that is not supported.
    """
    tensors = _load(path)
    if "label_emb.weight" in tensors:
        raise ModelError(f"{path} is conditioned on a class (label_emb), which a codec has no use for")
    translator = _Translator(path, tensors, head_channels, heads, new_attention_order)
    channels, inputs = translator.shape("input_blocks.0.0.weight")[:2]
    if inputs not in (1, 3):
        raise ModelError(f"{path} takes {inputs} channels: a super-resolution model, or not one of pictures")
    outputs = translator.shape("out.2.weight")[0]

    # A level has `blocks` entries on the way down and one for what leads to the next, and blocks + 1 on the way up.
    entries = _count(tensors, "input_blocks")
    up = re.compile(r"output_blocks\.\d+\.[12]\.(conv|in_layers\.2)\.weight")
    levels = 1 + sum(up.fullmatch(name) is not None for name in tensors)
    blocks = entries // levels - 1
    if blocks < 1 or entries != levels * (blocks + 1) or _count(tensors, "output_blocks") != entries:
        raise ModelError(f"{path}: {entries} blocks down, {_count(tensors, 'output_blocks')} up and {levels} levels are not such a network")

    translator.move("time_embed.0", "time_embedding.linear_1")
    translator.move("time_embed.2", "time_embedding.linear_2")
    translator.move("input_blocks.0.0", "conv_in")
    scale_shift = translator.shape("middle_block.0.emb_layers.1.weight")[0] == 2 * translator.shape("middle_block.0.in_layers.2.weight")[0]
    widths: list[int] = []
    attends: list[bool] = []
    residual = False
    n = 1
    for i in range(levels):
        attends.append(translator.has(f"input_blocks.{n}.1.qkv.weight"))
        for j in range(blocks):
            width = translator.residual(f"input_blocks.{n}.0", f"down_blocks.{i}.resnets.{j}")
            if attends[i]:
                translator.attention(f"input_blocks.{n}.1", f"down_blocks.{i}.attentions.{j}")
            n += 1
        widths.append(width)
        if i < levels - 1:
            residual = translator.resampler(f"input_blocks.{n}.0", f"down_blocks.{i}.downsamplers.0", "op")
            n += 1
    translator.residual("middle_block.0", "mid_block.resnets.0")
    translator.attention("middle_block.1", "mid_block.attentions.0")
    translator.residual("middle_block.2", "mid_block.resnets.1")
    n = 0
    for i in range(levels):
        attention = attends[levels - 1 - i]
        for j in range(blocks + 1):
            translator.residual(f"output_blocks.{n}.0", f"up_blocks.{i}.resnets.{j}")
            if attention:
                translator.attention(f"output_blocks.{n}.1", f"up_blocks.{i}.attentions.{j}")
            if j == blocks and i < levels - 1:
                translator.resampler(f"output_blocks.{n}.{1 + attention}", f"up_blocks.{i}.upsamplers.0", "conv")
            n += 1
    translator.move("out.0", "conv_norm_out")
    translator.move("out.2", "conv_out")
    if translator.left:
        raise ModelError(f"{path} has {sorted(translator.left)[0]}, which such a network has not")
    if any(width % channels for width in widths):
        raise ModelError(f"{path}: levels of {widths} channels are no multiples of {channels}")

    config = {
        "architecture": "ddpm-unet",
        "resolution": resolution,
        "channels": channels,
        "multipliers": [width // channels for width in widths],
        "blocks": blocks,
        "attention": [resolution >> i for i in range(levels) if attends[i]],
        "heads": heads,
        "head_channels": head_channels,
        "norm_eps": 1e-5,
        "scale_shift": scale_shift,
        "resample": "residual" if residual else "conv",
        "pad": "both",
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "planes": inputs,
        "time_scale": 1000 / T if rescale_timesteps else 1.0,
        "prediction": "epsilon",
        "variance": "learned-range" if outputs == 2 * inputs else "beta",
        "levels": {"kind": "discrete", "schedule": schedule, "T": T, "beta_1": 0.1 / T, "beta_T": min(0.999, 20 / T)},
        "start": T,
    }
    return complete(config), translator.done

"""Models in the layout of diffusers: the folder of a DDPMPipeline (`unet/`, `scheduler/`), or of a UNet2DModel alone.

google/ddpm-cifar10-32, ddpm-celebahq-256, ddpm-church-256 and their like have this layout. Our state dict has the same keys, so only the
configurations are translated.
"""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from ddpmcodec import atomic
from ddpmcodec.errors import ModelError
from ddpmcodec.models.ddpm_unet import DDPMUNetConfig
from ddpmcodec.models.model import complete

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
DOWN = {"DownBlock2D": False, "ResnetDownsampleBlock2D": False, "AttnDownBlock2D": True}  # whether they have attention
UP = {"UpBlock2D": False, "ResnetUpsampleBlock2D": False, "AttnUpBlock2D": True}
SCHEDULES = {"linear": "linear", "squaredcos_cap_v2": "cosine"}  # of the betas: our names by those of diffusers
PREDICTIONS = {"epsilon": "epsilon", "sample": "x_0", "v_prediction": "v"}
VARIANCES = {
    "fixed_small": "beta-tilde",
    "fixed_small_log": "beta-tilde",
    "fixed_large": "beta",
    "fixed_large_log": "beta",
    "learned_range": "learned-range",
}
# The names of attention's layers before diffusers 0.15.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

# Fields that must have these values for the network to be one of ours.
_FIXED_NETWORK = {
    "add_attention": True,
    "center_input_sample": False,
    "class_embed_type": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2D",
    "num_class_embeds": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
}
# Fields that the network's translation reads, and those that are of training, or of what the fixed ones exclude.
_READ_NETWORK = {"act_fn", "attention_head_dim", "attn_norm_num_groups", "block_out_channels", "down_block_types", "downsample_padding"}
_READ_NETWORK |= {"downsample_type", "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block", "norm_eps", "norm_num_groups"}
_READ_NETWORK |= {"out_channels", "resnet_time_scale_shift", "sample_size", "up_block_types", "upsample_type"}
_IRRELEVANT_NETWORK = {"dropout", "num_train_timesteps"}
_FIXED_PROCESS = {
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "rescale_betas_zero_snr": False,
    "thresholding": False,
    "trained_betas": None,
}
_READ_PROCESS = {"beta_end", "beta_schedule", "beta_start", "num_train_timesteps", "prediction_type", "variance_type"}
# How a sampler visits timesteps, and what the fixed ones exclude.
_IRRELEVANT_PROCESS = {"dynamic_thresholding_ratio", "sample_max_value", "set_alpha_to_one", "skip_prk_steps", "steps_offset"}
_IRRELEVANT_PROCESS |= {"tensor_format", "timestep_spacing"}
# Classes whose process is the paper's, and works on pixels.
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler")
PIPELINES = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")


def _require(source: Path, config: dict, fixed: dict[str, Any]) -> None:
    """Raise ModelError where a field has another value than the one supported."""
    for field, value in fixed.items():
        if config.get(field, value) != value:
            raise ModelError(f"{source}: {field} is {config[field]!r}; only {value!r} is supported")


def _known(source: Path, config: dict, *fields: Collection[str]) -> None:
    """Raise ModelError where a configuration has a field that is none of these, but for diffusers' notes on itself."""
    if unknown := sorted(name for name in config if not name.startswith("_") and not any(name in known for known in fields)):
        raise ModelError(f"{source}: {unknown[0]} is {config[unknown[0]]!r}, a field that is not known")


def _class(source: Path, config: dict, known: Sequence[str]) -> None:
    """Raise ModelError where a configuration is of another class than those known; old ones have none."""
    if (kind := config.get("_class_name", known[0])) not in known:
        raise ModelError(f"{source}: a {kind}, and not a {' or '.join(known)}")


def _choice(source: Path, config: dict, field: str, default: str, known: dict[str, Any]) -> Any:
    """Return our counterpart of a field's value; ModelError where there is none."""
    value = config.get(field, default)
    if not isinstance(value, str) or value not in known:
        raise ModelError(f"{source}: {field} is {value!r}; supported are {', '.join(known)}")
    return known[value]


def _json(path: Path) -> dict:
    """Return the object in a JSON file; ModelError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
        raise ModelError(f"{path} cannot be read: {e}") from e


def _network_config(source: Path, config: dict) -> dict:
    """Translate the configuration of a UNet2DModel."""
    _known(source, config, _FIXED_NETWORK, _READ_NETWORK, _IRRELEVANT_NETWORK)
    _require(source, config, _FIXED_NETWORK)
    _choice(source, config, "act_fn", "silu", {"silu": None, "swish": None})
    if (planes := config.get("in_channels", 3)) not in (1, 3):
        raise ModelError(f"{source}: in_channels is {planes!r}; supported are 3, and 1 for gray pictures")
    groups = config.get("norm_num_groups", 32)
    if (of_attention := config.get("attn_norm_num_groups")) not in (None, groups):
        raise ModelError(f"{source}: attn_norm_num_groups is {of_attention!r}; only that of norm_num_groups, {groups!r}, is supported")
    resamples = [_choice(source, config, f"{side}sample_type", "conv", {"conv": False, "resnet": True}) for side in ("down", "up")]
    try:
        widths = [int(v) for v in config["block_out_channels"]]
        downs, ups = config["down_block_types"], config["up_block_types"]
        resolution = _side(source, config["sample_size"]) or 1 << (len(widths) - 1)
        if any(kind not in known for kinds, known in ((downs, DOWN), (ups, UP)) for kind in kinds):
            raise ModelError(f"{source}: block types are {', '.join((*downs, *ups))}; supported are {', '.join((*DOWN, *UP))}")
        attends = [DOWN[kind] for kind in downs]
        if not len(widths) == len(downs) == len(ups) or [UP[kind] for kind in reversed(ups)] != attends:
            raise ModelError(f"{source}: the levels of block_out_channels, down_block_types and up_block_types differ")
        residual = [
            kind.startswith("Resnet") or (attends[kind] and of_type)
            for kinds, attends, of_type in zip((downs, ups), (DOWN, UP), resamples, strict=True)
            for kind in kinds[:-1]
        ]
        if any(width % widths[0] for width in widths) or any(r != residual[0] for r in residual):
            raise ModelError(f"{source}: levels of {widths} channels, or of several kinds of resampling, are not supported")
        return {
            "resolution": resolution,
            "channels": widths[0],
            "multipliers": [width // widths[0] for width in widths],
            "blocks": config["layers_per_block"],
            "attention": [resolution >> i for i, attention in enumerate(attends) if attention],
            "head_channels": config.get("attention_head_dim", 8),
            "groups": groups,
            "norm_eps": config.get("norm_eps", 1e-5),
            "scale_shift": {"default": False, "scale_shift": True}[config.get("resnet_time_scale_shift", "default")],
            "resample": "residual" if any(residual) else "conv",
            "pad": {0: "after", 1: "both"}[config.get("downsample_padding", 1)],
            "flip_sin_to_cos": config.get("flip_sin_to_cos", True),
            "freq_shift": config.get("freq_shift", 0),
            "planes": planes,
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as e:
        raise ModelError(f"{source}: not the configuration of a UNet2DModel that is supported: {e}") from e


def _side(source: Path, sample_size: Any) -> int | None:
    """Return the side of the pictures; ModelError where it is no number, nor two equal ones."""
    sides = sample_size if isinstance(sample_size, list) else [sample_size]
    if len({*map(repr, sides)}) != 1 or not (sides[0] is None or type(sides[0]) is int):
        raise ModelError(f"{source}: sample_size is {sample_size!r}; supported is one side, of square pictures")
    return sides[0]


def _process_config(source: Path, config: dict, outputs: int, planes: int) -> dict:
    """Translate the configuration of a DDPMScheduler, for a network of so many output channels, and of its pictures."""
    _class(source, config, SCHEDULERS)
    _known(source, config, _FIXED_PROCESS, _READ_PROCESS, _IRRELEVANT_PROCESS)
    _require(source, config, _FIXED_PROCESS)
    T = config.get("num_train_timesteps", 1000)
    variance = _choice(source, config, "variance_type", "learned_range" if outputs == 2 * planes else "fixed_small", VARIANCES)
    if outputs != (2 * planes if variance == "learned-range" else planes):
        raise ModelError(f"{source}: out_channels is {outputs!r}, of pictures of {planes} channels, for a variance that is {variance}")
    return {
        "prediction": _choice(source, config, "prediction_type", "epsilon", PREDICTIONS),
        "variance": variance,
        "levels": {
            "kind": "discrete",
            "schedule": _choice(source, config, "beta_schedule", "linear", SCHEDULES),
            "T": T,
            "beta_1": config.get("beta_start", 1e-4),
            "beta_T": config.get("beta_end", 0.02),
        },
        "start": T,
    }


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a folder by the names that diffusers has for them today."""
    for path in (folder / name for name in WEIGHTS):
        if not path.is_file():
            continue
        try:
            if path.suffix == ".bin":
                tensors = torch.load(path, map_location="cpu", weights_only=True)
            else:
                with safe_open(path, framework="pt") as f:
                    tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a mapping
        except SafetensorError as e:
            raise ModelError(f"{path} cannot be read: {e}") from e
        except Exception as e:  # torch.load raises errors of many types; it has run no code of the file's
            raise ModelError(
                f"{path} cannot be read as a dictionary of tensors, and nothing else is loaded: {(str(e) or repr(e)).splitlines()[0]}"
            ) from e
        if not isinstance(tensors, dict) or not all(isinstance(k, str) and _is_plain(v) for k, v in tensors.items()):
            raise ModelError(f"{path} is no dictionary of tensors")
        return {
            _modern(name): value.squeeze((2, 3)) if value.ndim == 4 and ".attentions." in name else value for name, value in tensors.items()
        }
    raise ModelError(f"{folder} has neither {' nor '.join(WEIGHTS)}")


def _is_plain(value: Any) -> bool:
    """Whether a value is an ordinary tensor: dense, not quantized, on the CPU."""
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized


def _modern(name: str) -> str:
    """Return the name that a tensor has since diffusers 0.15."""
    return re.sub(r"(attentions\.\d+)\.(query|key|value|proj_attn)\.", lambda m: f"{m[1]}.{OLD_NAMES[m[2]]}.", name)


def read(folder: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Return the configuration of a model, as our checkpoints carry it, and its tensors.

    A UNet2DModel without a scheduler has the paper's process: T = 1000, linear.

    Raises:
        ModelError: the folder cannot be read, or its model is of a kind that is not supported; the message names the field.
    """
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    source = unet / "config.json"
    network = _json(source)
    _class(source, network, ("UNet2DModel", "UNetUnconditionalModel"))
    if (index := folder / "model_index.json").is_file():
        _class(index, _json(index), PIPELINES)
    translated = _network_config(source, network)
    places = [folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"]
    scheduler = next((path for path in places if path.is_file()), None)
    process = _process_config(
        scheduler or source, {} if scheduler is None else _json(scheduler), network.get("out_channels", 3), translated["planes"]
    )
    config = {"architecture": "ddpm-unet", **translated, **process}
    return complete(config), _tensors(unet)


def _unet_json(c: DDPMUNetConfig, outputs: int) -> dict:
    """Return the configuration of the UNet2DModel that is ours, with so many output channels."""
    residual = c.resample == "residual"
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if residual else ("DownBlock2D", "UpBlock2D")
    kind = "resnet" if residual else "conv"
    return {
        "_class_name": "UNet2DModel",
        **_FIXED_NETWORK,
        "act_fn": "silu",
        "in_channels": c.planes,
        "sample_size": c.resolution,
        "out_channels": outputs,
        "block_out_channels": c.widths,
        "layers_per_block": c.blocks,
        "down_block_types": ["AttnDownBlock2D" if attends else plain[0] for attends in c.attends],
        "up_block_types": ["AttnUpBlock2D" if attends else plain[1] for attends in reversed(c.attends)],
        "downsample_type": kind,
        "upsample_type": kind,
        "attention_head_dim": c.head_channels,
        "norm_num_groups": c.groups,
        "attn_norm_num_groups": c.groups,
        "norm_eps": c.norm_eps,
        "resnet_time_scale_shift": "scale_shift" if c.scale_shift else "default",
        "downsample_padding": 0 if c.pad == "after" else 1,
        "flip_sin_to_cos": c.flip_sin_to_cos,
        "freq_shift": c.freq_shift,
    }


def _key_of(mapping: dict[str, str], value: str, field: str) -> str:
    """Return the first key that stands for a value of ours; ModelError where there is none."""
    for key, ours in mapping.items():
        if ours == value:
            return key
    raise ModelError(f"{field} = {value!r} has no counterpart in diffusers")


def write(folder: Path, config: dict, tensors: dict[str, torch.Tensor]) -> None:
    """Write a model as a DDPMPipeline's folder.

    Raises:
        ModelError: diffusers has no such model.
        OutputError: the folder is there already, or cannot be written; nothing is left behind.
    """
    known = DDPMUNetConfig.__struct_fields__
    c = msgspec.convert({k: v for k, v in config.items() if k in known}, DDPMUNetConfig)
    if c.time_scale != 1 or (c.heads != 1 and c.head_channels is None):
        raise ModelError("a time_scale, or a number of heads that is the same at every level, has no counterpart in diffusers")
    levels = config["levels"]
    scheduler = {
        "_class_name": "DDPMScheduler",
        **_FIXED_PROCESS,
        "num_train_timesteps": levels["T"],
        "beta_schedule": _key_of(SCHEDULES, levels["schedule"], "levels.schedule"),
        "beta_start": levels["beta_1"],
        "beta_end": levels["beta_T"],
        "prediction_type": _key_of(PREDICTIONS, config["prediction"], "prediction"),
        "variance_type": _key_of(VARIANCES, config["variance"], "variance"),
    }
    index = {"_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
    outputs = (2 if config["variance"] == "learned-range" else 1) * c.planes
    documents = {
        "model_index.json": index,
        "scheduler/scheduler_config.json": scheduler,
        "unet/config.json": _unet_json(c, outputs),
    }
    weights = {name: value.contiguous() for name, value in tensors.items()}
    with atomic.folder(folder) as temporary:
        for name, document in documents.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_text(json.dumps(document, indent=2) + "\n")
        (temporary / "unet" / WEIGHTS[0]).write_bytes(safetensors.torch.save(weights, {"format": "pt"}))

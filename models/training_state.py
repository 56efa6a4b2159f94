"""The state of a training run as one safetensors file: weights, EMA, both optimizers, and the progress of the run. Never pickle."""

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint
from ddpmcodec.models.identity import canonical_json
from ddpmcodec.models.model import Model
from ddpmcodec.models.photo_unet import PhotoUNet


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        iteration: the number of iterations done since the first weights.
        annealed: the share of the annealing that is done, in [0, 1]; None in a run at constant rate.
        pixels: the number of pixels seen, at constant rate and annealing together.
    """

    iteration: int = 0
    annealed: float | None = None
    pixels: int = 0


class TrainingState:
    """A network in training, and everything that an iteration hands on to the next.

    Args:
        config: the model's configuration, as checkpoints carry it.
        optimizers: the optimizers of the network's parameters, by name.
    """

    def __init__(self, config: dict, network: torch.nn.Module, ema: AveragedModel, optimizers: dict[str, Optimizer]):
        self.config = config
        self.network = network
        self.ema = ema
        self.optimizers = optimizers
        self.progress = Progress()
        self._names: dict[torch.Tensor, str] = {p: name for name, p in network.named_parameters()}

    def initialize(self, model: Model) -> None:
        """Begin with a model's weights; a photo network with more blocks than the model's begins as the same function.

        Raises:
            ModelError: it has another configuration.
        """
        differing = {k for k in model.config.keys() | self.config.keys() if model.config.get(k) != self.config.get(k)}
        try:
            if differing == {"blocks"} and isinstance(self.network, PhotoUNet):
                self.network.grow(model.network.state_dict())
            elif differing:
                raise RuntimeError
            else:
                self.network.load_state_dict(model.network.state_dict())
        except RuntimeError as e:
            raise ModelError(f"{model.name!r} has another configuration: {_differences(model.config, self.config)}") from e
        self.ema.module.load_state_dict(self.network.state_dict())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors of the state by name; they are not copies."""
        out = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        out |= {f"ema/{k}": v for k, v in self.ema.module.state_dict().items()}
        out["ema_count"] = self.ema.n_averaged
        for kind, optimizer in self.optimizers.items():
            for p, values in optimizer.state.items():
                out |= {f"{kind}/{key}/{self._names[p]}": v for key, v in values.items()}
        return out

    def save(self, path: Path) -> None:
        """Write the state; a file that is there is replaced only by a whole one.

        Raises:
            OutputError: it cannot be written; the one before is as it was.
        """
        metadata = {"config": canonical_json(self.config), "progress": json.dumps(vars(self.progress))}
        checkpoint.write(path, self.tensors(), metadata)

    def restore(self, path: Path) -> None:
        """Restore a saved state.

        Raises:
            ModelError: the file cannot be read, or is of another configuration.
        """
        try:
            with safe_open(path, framework="pt") as f:
                metadata = f.metadata() or {}
                found = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a mapping
            config = msgspec.json.decode(metadata["config"], type=dict)
            progress = msgspec.json.decode(metadata["progress"], type=Progress)
        except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as e:  # msgspec's errors are ValueErrors
            raise ModelError(f"{path} cannot be read as a training state: {e}") from e
        if config != self.config:
            raise ModelError(f"{path} is the state of a model of another configuration: {_differences(config, self.config)}")
        for kind, optimizer in self.optimizers.items():
            own = {self._names[p]: p for group in optimizer.param_groups for p in group["params"]}
            optimizer.state.clear()
            for name, value in found.items():
                if name.startswith(f"{kind}/"):
                    key, _, parameter = name.removeprefix(f"{kind}/").partition("/")
                    p = own.get(parameter)
                    if p is None or value.shape not in (p.shape, torch.Size()):
                        raise ModelError(f"{path}: {name} does not fit the network")
                    # Steps are fast in the parameter's own memory layout.
                    optimizer.state[p][key] = torch.empty_like(p).copy_(value) if value.shape == p.shape else value
            keys_of_parameters = {frozenset(optimizer.state[p]) for p in own.values()}
            if len(keys_of_parameters) != 1 or (frozenset() in keys_of_parameters) != (progress.iteration == 0):
                raise ModelError(f"{path}: what {kind} keeps of its steps is not all there")
        try:
            self.network.load_state_dict(_part(found, "network/"))
            self.ema.module.load_state_dict(_part(found, "ema/"))
            self.ema.n_averaged.copy_(found["ema_count"])
        except (KeyError, RuntimeError) as e:
            raise ModelError(f"{path}: the tensors do not fit the configuration: {' '.join(str(e).split())[:200]}") from e
        self.progress = progress


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _differences(a: dict, b: dict) -> str:
    """Return the fields in which configuration a differs from b, in words."""
    return ", ".join(f"{k} {a.get(k)} for {b.get(k)}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k))

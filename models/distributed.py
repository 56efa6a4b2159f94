"""The processes of a distributed training run, as torchrun starts them: one a GPU, or several on CPUs (gloo)."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from ddpmcodec.errors import ConfigurationError, PeerError


@contextlib.contextmanager
def _peers() -> Iterator[None]:
    """Turn a backend's error, when a process has gone, into PeerError."""
    try:
        yield
    except RuntimeError as e:
        raise PeerError(f"another of the processes that train together has gone: {' '.join(str(e).split())[:120]}") from e


@dataclass(frozen=True)
class Processes:
    """The place of this process among all: its rank, their number, and its device.

    Its methods raise PeerError where another process has gone.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether it is the first process, which writes files and reports."""
        return self.rank == 0

    def agree(self, *values: float) -> list[float]:
        """Return the first process's values, in every process."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        with _peers():
            dist.broadcast(shared, 0)
        return shared.tolist()

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its mean over all processes.

        Gradients need no more than this. DistributedDataParallel keeps gloo's threads alive beyond the end, where one that asks for
        Python aborts the process.
        """
        if self.count > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            with _peers():
                dist.all_reduce(flat)
            _scatter(flat / self.count, tensors)

    def follow(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by the first process's."""
        if self.count > 1:
            flat = torch.cat([t.reshape(-1) for t in tensors])
            with _peers():
                dist.broadcast(flat, 0)
            _scatter(flat, tensors)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, which replaces the values."""
        if self.count > 1:
            with _peers():
                dist.all_reduce(values)
        return values


def _scatter(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Copy the parts of one flat tensor to tensors of their shapes."""
    for t, values in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(values.view(t.shape))


@contextlib.contextmanager
def processes(batch: int) -> Iterator[Processes]:
    """Join the other processes of a run, if torchrun has started any; leave them at the end.

    Raises:
        ConfigurationError: they cannot share a batch of that many crops equally, or the environment is not torchrun's.
    """
    try:
        rank, count, local = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    except ValueError as e:
        raise ConfigurationError(f"RANK, WORLD_SIZE and LOCAL_RANK are torchrun's to set: {e}") from e
    if not 0 <= rank < count:
        raise ConfigurationError(f"RANK {rank} is not that of one of {count} processes: start them with torchrun")
    if batch % count:
        raise ConfigurationError(f"a batch of {batch} cannot be shared equally by {count} processes")
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if count > 1:
        try:
            dist.init_process_group("nccl" if cuda else "gloo")
        except (ValueError, RuntimeError) as e:
            raise ConfigurationError(
                f"the {count} processes do not find each other: {str(e).splitlines()[0]}; start them with torchrun"
            ) from e
    try:
        yield Processes(rank, count, device)
        if count > 1:
            dist.barrier()  # since gloo takes down a process whose peer has left early
    finally:
        if count > 1:
            dist.destroy_process_group()

"""Fréchet Inception distance and Inception score of samples (section 4.1 of arXiv 2006.11239), by torchmetrics (the extra `fid`).

The feature network is a TorchScript file given by path; nothing is fetched. The one that published figures are made with is Inception-v3 as
NVIDIA converted it for StyleGAN, inception-2015-12-05.pt. TorchScript is code: take it from where you would take a program.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ddpmcodec import threads
from ddpmcodec.errors import EvaluationError, InputError, ModelError
from ddpmcodec.progress import Note, silent

BATCH = 50
SPLITS = 10  # of the Inception score


def load_features(path: Path) -> torch.nn.Module:
    """A TorchScript network, from uint8 pictures (B, 3, H, W) to features or class scores (B, F).

    Raises:
        ModelError: it cannot be read.
    """
    if not path.is_file():
        raise ModelError(f"{path} is not a file: give the feature network as TorchScript")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, that TorchScript is old
            return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, EOFError) as e:
        raise ModelError(f"{path} cannot be read as a TorchScript network: {str(e).strip().splitlines()[0]}") from e


class _Extractor(torch.nn.Module):
    """What torchmetrics calls: the network with the one of NVIDIA's arguments that is wanted, where it takes it."""

    def __init__(self, network: torch.nn.Module, argument: str):
        super().__init__()
        self.network = network
        parameters = network.forward.schema.arguments if hasattr(network.forward, "schema") else ()
        self.options = {argument: True} if argument in {p.name for p in parameters} else {}
        self.probabilities = "no_output_bias" in self.options

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        threads.tell(torch)
        try:
            features = self.network(pictures, **self.options)
        except RuntimeError as e:
            raise ModelError(
                f"the feature network does not take pictures of {tuple(pictures.shape)}: {str(e).strip().splitlines()[-1]}"
            ) from e
        if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != len(pictures):
            raise ModelError("the feature network does not return one row of features a picture")
        return features.log() if self.probabilities else features


def _batches(pictures: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
    batch: list[np.ndarray] = []
    for picture in pictures:
        if batch and (len(batch) == BATCH or picture.shape != batch[0].shape):
            yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous()
            batch = []
        batch.append(picture)
    if batch:
        yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous()


def _metrics():
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.inception import InceptionScore
    except ImportError as e:
        raise EvaluationError("FID and Inception score need torchmetrics: pip install 'ddpmcodec[fid]'") from e
    return FrechetInceptionDistance, InceptionScore


def frechet_distance(
    network: torch.nn.Module,
    samples: Iterable[np.ndarray],
    reference: Iterable[np.ndarray],
    progress: Callable[[int], None] = silent,
    note: Note = silent,
) -> float:
    """FID between two sets of (H, W, 3) uint8 pictures, at least 0.

    Args:
        note: told of a set with so few pictures that the figure says little.

    Raises:
        EvaluationError: torchmetrics is missing.
        InputError: fewer than two pictures in a set.
        ModelError: the network does not take them.
    """
    extractor = _Extractor(network, "return_features")
    metric, features = None, 0
    for real, pictures, what in ((False, samples, "samples"), (True, reference, "pictures to compare with")):
        count = 0
        for batch in _batches(pictures):
            if metric is None:
                extractor.num_features = features = extractor(batch[:1]).shape[1]
                metric = _metrics()[0](feature=extractor)
            metric.update(batch, real=real)
            count += len(batch)
            progress(len(batch))
        if count < 2:
            raise InputError(f"{count} {what}: their covariance needs two at least")
        if count <= features:
            note(f"{count} {what} for {features} features: their covariance is not of full rank, and the distance says little")
    assert metric is not None
    distance = float(metric.compute())
    return 0.0 if distance <= 0 else distance  # rounding may take it below


def inception_score(network: torch.nn.Module, samples: Iterable[np.ndarray], seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation over `SPLITS` random parts of a set of (H, W, 3) uint8 pictures.

    Raises:
        EvaluationError, ModelError: as `frechet_distance`.
        InputError: fewer pictures than parts.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # on the memory that features take
        torch.manual_seed(seed)
        metric = _metrics()[1](feature=_Extractor(network, "no_output_bias"), splits=SPLITS)
        count = 0
        for batch in _batches(samples):
            metric.update(batch)
            count += len(batch)
        if count < SPLITS:
            raise InputError(f"{count} pictures: the Inception score takes {SPLITS} parts of them")
        mean, deviation = metric.compute()
    return float(mean), float(deviation)

"""FID and Inception score with a small random network, against their formulas in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from ddpmcodec.errors import EvaluationError, InputError, ModelError
from ddpmcodec.eval import fid

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Features(nn.Module):
    def __init__(self, width: int = 6):
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, width)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(pictures.float().flatten(1) / 64 - 2))


class Nvidias(Features):
    """With the arguments of inception-2015-12-05.pt: by default class probabilities."""

    def forward(self, pictures: torch.Tensor, return_features: bool = False, no_output_bias: bool = False) -> torch.Tensor:
        features = torch.tanh(self.layer(pictures.float().flatten(1) / 64 - 2))
        if return_features:
            return features
        bias = 0.0 if no_output_bias else 5.0
        return torch.softmax(features + bias * torch.arange(6), 1)


def save(network, path):
    torch.manual_seed(0)
    torch.jit.script(network).save(str(path))
    return path


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, (120, 8, 8, 3), np.uint8), rng.integers(40, 256, (90, 8, 8, 3), np.uint8)


def features_of(network, pictures, **options):
    with torch.no_grad():
        return network(torch.from_numpy(pictures).permute(0, 3, 1, 2), **options).double().numpy()


@pytest.mark.parametrize("kind", [Features, Nvidias])
def test_the_distance_is_its_formula(kind, sets, tmp_path):
    linalg = pytest.importorskip("scipy.linalg")
    pytest.importorskip("torchmetrics")
    torch.manual_seed(1)
    network = kind()
    loaded = fid.load_features(save(network, tmp_path / "f.pt"))
    a, b = (features_of(network, s, **({"return_features": True} if kind is Nvidias else {})) for s in sets)
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(ca + cb - 2 * linalg.sqrtm(ca @ cb).real)
    assert expected > 0.01
    assert fid.frechet_distance(loaded, *sets) == pytest.approx(expected, rel=1e-4)
    said = []
    for count in (7, 120):  # rounding takes some of them below 0, which would be printed as -0.000
        same = fid.frechet_distance(loaded, sets[0][:count], sets[0][:count], note=said.append)
        assert f"{same:.3f}" == "0.000"
    assert not said
    fid.frechet_distance(loaded, sets[0][:6], sets[1], note=said.append)
    assert len(said) == 1 and said[0].startswith("6 samples for 6 features")


@pytest.mark.parametrize("kind", [Features, Nvidias])
def test_the_score_is_its_formula(kind, sets, tmp_path):
    pytest.importorskip("torchmetrics")
    torch.manual_seed(1)
    network = kind()
    loaded = fid.load_features(save(network, tmp_path / "f.pt"))
    scores = features_of(network, sets[0], **({"no_output_bias": True} if kind is Nvidias else {}))
    p = scores if kind is Nvidias else np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    mean, deviation = fid.inception_score(loaded, sets[0])
    # over the whole set, which the parts' mean is near to
    whole = np.exp(np.mean(np.sum(p * np.log(p / p.mean(0)), 1)))
    assert 1 < mean < 6 and mean == pytest.approx(whole, abs=3 * deviation + 0.05)
    assert fid.inception_score(loaded, sets[0]) == (mean, deviation)
    permutation = np.random.default_rng(0).permutation(12)
    parts = [np.exp(np.mean(np.sum(q * np.log(q / q.mean(0)), 1))) for q in np.array_split(p[:12][permutation], 1)]
    monkey = pytest.MonkeyPatch()
    monkey.setattr(fid, "SPLITS", 1)
    assert fid.inception_score(loaded, sets[0][:12])[0] == pytest.approx(parts[0], rel=1e-5)
    monkey.undo()


def test_pictures_of_several_sizes_and_too_few(sets, tmp_path):
    pytest.importorskip("torchmetrics")
    loaded = fid.load_features(save(Features(), tmp_path / "f.pt"))
    with pytest.raises(InputError, match="1 samples"):
        fid.frechet_distance(loaded, sets[0][:1], sets[1])
    with pytest.raises(InputError, match="0 pictures to compare"):
        fid.frechet_distance(loaded, sets[0], [])
    with pytest.raises(InputError, match="10 parts"):
        fid.inception_score(loaded, sets[0][:3])
    with pytest.raises(ModelError, match="does not take"):
        fid.frechet_distance(loaded, [np.zeros((9, 8, 3), np.uint8)] * 3, sets[1])


class Flat(nn.Module):
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.float().mean()


def test_networks_that_are_none(sets, tmp_path):
    pytest.importorskip("torchmetrics")
    (tmp_path / "garbage.pt").write_bytes(b"garbage")
    torch.save({"a": torch.zeros(1)}, tmp_path / "dictionary.pt")
    for name in ("garbage.pt", "dictionary.pt", "nowhere.pt", "."):
        with pytest.raises(ModelError):
            fid.load_features(tmp_path / name)
    with pytest.raises(ModelError, match="one row"):
        fid.frechet_distance(fid.load_features(save(Flat(), tmp_path / "flat.pt")), *sets)


def test_without_torchmetrics(sets, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(EvaluationError, match=r"ddpmcodec\[fid\]"):
        fid.frechet_distance(fid.load_features(save(Features(), tmp_path / "f.pt")), *sets)

"""How far two pictures are apart, on 8-bit RGB: every metric that an evaluation knows, by its name in results.

Each takes (H, W, 3) uint8 arrays, the original first, and comes from the package or program that its authors publish, which is imported
when it is first measured. Those that are not installed are left out; so is a metric of pictures that are smaller than it takes.
"""

import contextlib
import hashlib
import io
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddpmcodec import threads
from ddpmcodec.errors import EvaluationError, ModelError
from ddpmcodec.eval import ssimulacra2 as ssimulacra2_scores
from ddpmcodec.eval.versions import versions
from ddpmcodec.quality import psnr

CVVDP_DISPLAY = "standard_4k"  # 3840x2160 on 30 inches at .75 m, 200 cd/m2
BUTTERAUGLI = "butteraugli_main"
BUTTERAUGLI_NITS = 80  # the program's default
ST_LPIPS_NETWORK, ST_LPIPS_VARIANT = "alex", "shift_tolerant"


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), mean over the channels: 1 is equal.

    Raises:
        EvaluationError: the package pytorch-msssim is missing.
    """
    import torch

    try:
        from pytorch_msssim import ms_ssim as measure
    except ImportError as e:
        raise EvaluationError("needs the package pytorch-msssim: pip install 'ddpmcodec[eval]'") from e
    threads.tell(torch)
    tensors = [torch.from_numpy(v.copy()).permute(2, 0, 1)[None].float() for v in (a, b)]
    return float(measure(*tensors, data_range=255))


@cache
def _cvvdp():
    import torch

    try:
        import pycvvdp
    except ImportError as e:
        raise EvaluationError(f"needs the package cvvdp, which does not import here ({e}): pip install cvvdp") from e
    return pycvvdp.cvvdp(display_name=CVVDP_DISPLAY, quiet=True, device=torch.device("cpu"))


def cvvdp(a: np.ndarray, b: np.ndarray) -> float:
    """ColorVideoVDP (Mantiuk et al. 2024), in JOD on the display `CVVDP_DISPLAY`: 10 is equal, one less is seen by three of four.

    Raises:
        EvaluationError: the package cvvdp cannot be imported.
    """
    import torch

    measure = _cvvdp()
    threads.tell(torch)
    first, second = (v.astype(np.float32) / 255 for v in (a, b))
    with torch.no_grad():
        return float(measure.predict(second, first, dim_order="HWC")[0])


def _butteraugli_program() -> str:
    found = shutil.which(BUTTERAUGLI)
    if found is None:
        raise EvaluationError(f"needs the program {BUTTERAUGLI} of libjxl's development tools")
    return found


def butteraugli(a: np.ndarray, b: np.ndarray) -> float:
    """3-norm of Butteraugli's distances, by libjxl's program: 0 is equal, 1 hardly visible at `BUTTERAUGLI_NITS`.

    Raises:
        EvaluationError: the program is missing, or fails.
    """
    with tempfile.TemporaryDirectory(prefix="ddpmcodec-") as directory:
        paths = [str(Path(directory) / name) for name in ("a.png", "b.png")]
        for pixels, path in zip((a, b), paths, strict=True):
            Image.fromarray(pixels).save(path, compress_level=1)
        command = [_butteraugli_program(), *paths, "--intensity_target", str(BUTTERAUGLI_NITS)]
        try:
            done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        except OSError as e:
            raise EvaluationError(f"{BUTTERAUGLI} cannot be run: {e.strerror}") from e
    for line in done.stdout.decode(errors="replace").splitlines():  # the first line is the maximum
        name, _, value = line.partition(":")
        if name == "3-norm" and done.returncode == 0:
            with contextlib.suppress(ValueError):
                return float(value)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    raise EvaluationError(f"{BUTTERAUGLI} failed with exit code {done.returncode}{': ' + said[-1] if said else ''}")


@cache
def _st_lpips():
    try:
        from stlpips_pytorch import stlpips
    except ImportError as e:
        raise EvaluationError(f"needs the package stlpips-pytorch, which does not import here ({e}): pip install stlpips-pytorch") from e
    with contextlib.redirect_stdout(io.StringIO()):  # it says which file it loads
        return stlpips.LPIPS(net=ST_LPIPS_NETWORK, variant=ST_LPIPS_VARIANT)


def st_lpips(a: np.ndarray, b: np.ndarray) -> float:
    """Shift-tolerant LPIPS (Ghildyal & Liu 2022), 0 where equal. Its package is for evaluation only: parts are CC BY-NC-SA.

    Raises:
        EvaluationError: the package stlpips-pytorch cannot be imported.
    """
    import torch

    measure = _st_lpips()
    threads.tell(torch)
    with torch.no_grad():
        return float(measure(*(torch.from_numpy(v.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for v in (a, b))))


@cache
def load_lpips(path: str):
    """The feature network of `lpips`, as TorchScript: NVIDIA publishes its vgg16.pt with StyleGAN2-ADA. It is code: take it from a place
    you trust.

    Raises:
        ModelError: it cannot be read, or returns no LPIPS features.
    """
    import torch

    from ddpmcodec.eval.fid import load_features

    network = load_features(Path(path))
    try:
        network(torch.zeros(1, 3, 64, 64), resize_images=False, return_lpips=True)
    except RuntimeError as e:
        raise ModelError(f"{path} is no network of LPIPS features: {str(e).strip().splitlines()[-1]}") from e
    return network


def lpips(a: np.ndarray, b: np.ndarray, path: str) -> float:
    """Learned perceptual distance (Zhang et al. 2018), 0 where equal: the squared distance of weighted features.

    Args:
        path: see `load_lpips`, with what it raises.
    """
    import torch

    threads.tell(torch)
    with torch.inference_mode():
        pair = torch.from_numpy(np.stack([a, b])).permute(0, 3, 1, 2).float()
        first, second = load_lpips(path)(pair, resize_images=False, return_lpips=True)
    return float((first - second).square().sum())


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: in results.
        title: in tables.
        unit: in tables and plots.
        digits: after the point, in tables.
        measure: of the original and another picture; EvaluationError where it is missing or fails.
        settings: all that its values depend on, JSON-serializable.
        rises: with quality.
        side: the least of a picture, in pixels, that it is defined for.
        full_side: from which it uses all of its scales.
    """

    name: str
    title: str
    unit: str
    digits: int
    measure: Callable[[np.ndarray, np.ndarray], float]
    settings: Callable[[], dict[str, Any]]
    rises: bool = True
    side: int = 1
    full_side: int = 1

    @property
    def heading(self) -> str:
        """Its title with its unit."""
        return f"{self.title} in {self.unit}" if self.unit else self.title


def _ssimulacra2_settings() -> dict[str, Any]:
    return versions("ssimulacra2") | {"algorithm": ssimulacra2_scores.VERSION}


def _cvvdp_settings() -> dict[str, Any]:
    return versions("cvvdp") | {"display": CVVDP_DISPLAY}


def _butteraugli_settings() -> dict[str, Any]:
    digest = hashlib.sha256(Path(_butteraugli_program()).read_bytes()).hexdigest()[:16]  # it does not tell its version
    return {"program": BUTTERAUGLI, "sha256": digest, "intensity_target": BUTTERAUGLI_NITS}


def _lpips_settings(path: str) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}


def _st_lpips_settings() -> dict[str, Any]:
    return versions("stlpips-pytorch") | {"network": ST_LPIPS_NETWORK, "variant": ST_LPIPS_VARIANT}


METRICS = {
    metric.name: metric
    for metric in (
        Metric("psnr-rgb", "PSNR-RGB", "dB", 2, psnr, dict),
        Metric("ms-ssim-rgb", "MS-SSIM", "", 4, ms_ssim, partial(versions, "pytorch-msssim"), side=161),  # 5 scales of a window of 11
        Metric(
            "ssimulacra2",
            "SSIMULACRA2",
            "",
            1,
            ssimulacra2_scores.ssimulacra2,
            _ssimulacra2_settings,
            side=ssimulacra2_scores.SIDE,
            full_side=ssimulacra2_scores.FULL_SIDE,
        ),
        Metric("cvvdp", "CVVDP", "JOD", 3, cvvdp, _cvvdp_settings, side=4, full_side=512),
        # side: below it the program says 0 of any two pictures
        Metric("butteraugli-3norm", "Butteraugli 3-norm", "", 3, butteraugli, _butteraugli_settings, rises=False, side=8),
        Metric("st-lpips", "ST-LPIPS", "", 4, st_lpips, _st_lpips_settings, rises=False, side=24),
    )
}
FALLING = {"lpips"} | {metric.name for metric in METRICS.values() if not metric.rises}


def rises(name: str) -> bool:
    """Whether a metric of that name rises with quality, as those that are not known here are taken to."""
    return name not in FALLING


def with_lpips(path: str) -> Metric:
    """LPIPS by the network in a file.

    Raises:
        ModelError: see `load_lpips`.
    """
    load_lpips(path)
    return Metric("lpips", "LPIPS", "", 4, partial(lpips, path=path), partial(_lpips_settings, path), rises=False, side=16)


def available(names: Iterable[str] = tuple(METRICS)) -> tuple[list[Metric], dict[str, str]]:
    """Those of these metrics that can be measured here, and for the others why they cannot.

    Raises:
        EvaluationError: one is not known.
    """
    if unknown := [name for name in names if name not in METRICS]:
        raise EvaluationError(f"no metric {unknown[0]!r}: known are {', '.join(METRICS)}")
    reasons = {name: missing(METRICS[name]) for name in names}
    return [METRICS[name] for name, reason in reasons.items() if reason is None], {k: v for k, v in reasons.items() if v is not None}


def missing(metric: Metric) -> str | None:
    """Why a metric cannot be measured here; None where it can, which a small picture has shown."""
    pixels = np.full((metric.side, metric.side, 3), 128, np.uint8)  # of black ones cvvdp warns
    return quality(pixels, pixels, [metric])[1].get(metric.name)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def quality(
    original: np.ndarray, decoded: np.ndarray, metrics: Iterable[Metric] = tuple(METRICS.values())
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Each metric of two pictures, by name, None where it is no number; and, for those that could not be measured, why."""
    values: dict[str, float | None] = {}
    failures: dict[str, str] = {}
    for metric in metrics:
        values[metric.name] = None
        if min(original.shape[:2]) < metric.side:
            failures[metric.name] = f"takes no picture with a side under {metric.side} pixels"
            continue
        try:
            value = metric.measure(original, decoded)
        except EvaluationError as e:
            failures[metric.name] = str(e)
        except Exception as e:  # what other people's packages raise is theirs
            failures[metric.name] = f"fails: {_reason(e)}"
        else:
            values[metric.name] = value if math.isfinite(value) else None
    return values, failures

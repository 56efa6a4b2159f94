"""The model card that is written beside trained weights: their network, training data, training, and quality."""

from collections.abc import Mapping

from ddpmcodec.models.configuration import Configuration, RelativeError
from ddpmcodec.models.levels import DiscreteLevels
from ddpmcodec.models.model import Model
from ddpmcodec.models.training_state import Progress


def model_card(
    model: Model,
    configuration: Configuration,
    progress: Progress,
    *,
    data: str,
    licence: str | None,
    psnrs: Mapping[bool, Mapping[float, float]] | None = None,
    validation: str = "",
) -> str:
    """Return the card of a model as Markdown.

    Args:
        data: the training data, in words.
        licence: of that data; None where it is not known.
        psnrs: denoising PSNR in dB at each sigma of 255, measured on `validation`; under True on whitened pictures, else as they are.
        validation: the name of the pictures that the PSNR was measured on.
    """
    parameters = model.parameters
    options = configuration.optimizer
    annealed = "" if progress.annealed is None else f", annealed to {100 * min(1.0, progress.annealed):.0f} %"
    whiten = configuration.data.whiten
    crops = f"crops of {configuration.data.crop}" + (f", {whiten.share:.0%} of them whitened" if whiten else "")
    muon = f" (Muon: {options.muon_factor:g} times)" if options.muon_factor else ""
    noise, limits = _noise(model, configuration)
    rows = {
        "hash": f"`{model.hash.hex()}`",
        "network": f"{model.config['architecture']}, {parameters / 1e6:.1f} million parameters, stored as float16",
        "noise": noise,
        "data": data,
        "licences of the data": licence or "not stated: find out before the weights are published",
        "training": f"{progress.iteration} iterations, {progress.pixels / 1e9:.2f} billion pixels{annealed}; batch {options.batch},"
        f" {crops}, learning rate {options.learning_rate:g}{muon}, EMA {options.ema:g}",
    }
    lines = [f"# {model.name}", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items()), ""]
    if psnrs:
        sigmas = list(next(iter(psnrs.values())))
        lines += [f"Denoising, PSNR in dB on {validation}:", ""]
        lines += ["| noise (of 255) | " + " | ".join(f"{sigma:g}" for sigma in sigmas) + " |", "|---|" + "---:|" * len(sigmas)]
        for whitened, psnr in psnrs.items():
            name = f"{model.name}, whitened" if whitened else model.name
            lines.append(f"| {name} | " + " | ".join(f"{v:.2f}" for v in psnr.values()) + " |")
        lines.append("")
    return "\n".join([*lines, f"Limits: {limits}pictures unlike its training data cost more bits.", ""])


def _noise(model: Model, configuration: Configuration) -> tuple[str, str]:
    """Return the noise levels that it was trained on, in words, and the beginning of a sentence on those that it was not."""
    options = configuration.objective
    if isinstance(model.levels, DiscreteLevels):
        return f"{model.levels.T} timesteps, {model.levels.schedule} schedule; predicts {model.prediction}, variance {model.variance}", ""
    assert isinstance(options, RelativeError)  # the only objective for continuous levels
    lowest, highest = options.sigma[0], options.sigma[-1]
    return f"sigma from {lowest:g} to {highest:g} of 255", f"never trained below sigma {lowest:g} or above {highest:g}; "

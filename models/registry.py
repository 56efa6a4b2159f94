"""The models that can be named: bundled ones, those in further directories, and paths. .ddpm files name them by name and hash.

`DDPMCODEC_MODELS` may hold further directories, separated as in PATH.
"""

import os
import re
import stat
from functools import lru_cache
from pathlib import Path

from ddpmcodec.errors import ModelError
from ddpmcodec.models import checkpoint
from ddpmcodec.models.libraries import require_torch
from ddpmcodec.models.model import Model

BUNDLED = Path(__file__).parent / "weights"
DEFAULT = "photo-3"
ENVIRONMENT = "DDPMCODEC_MODELS"


def _stat(path: Path) -> os.stat_result:
    """Look at a path before it is opened.

    Raises:
        ModelError: it is not there, or neither a file nor a directory: a pipe would be waited for.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as e:
        raise ModelError(f"{path}: {getattr(e, 'strerror', None) or e}") from e
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ModelError(f"{path} is neither a file nor a directory")
    return found


def _load(path: Path) -> Model:
    return _loaded(path, _stat(path).st_mtime_ns)


@lru_cache(maxsize=4)
def _loaded(path: Path, modified: int) -> Model:
    """Load the model of a path; `modified` tells a file that has been replaced from the one loaded before."""
    if not path.is_dir():
        return checkpoint.load(path)
    require_torch("a diffusers folder")
    from ddpmcodec.models import diffusers_layout, networks  # which need torch

    config, tensors = diffusers_layout.read(path)
    return networks.model_of(re.sub(r"[^a-z0-9._-]", "-", path.name.lower())[:64], config, tensors)


def directories() -> list[Path]:
    """Return the directories in which models are looked for, in order."""
    return [BUNDLED, *(Path(d) for d in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if d)]


def available() -> dict[str, Path]:
    """Return the path of each model that can be named, by name."""
    found: dict[str, Path] = {}
    for directory in directories():
        for path in sorted(directory.glob("*.safetensors")):
            found.setdefault(path.stem, path)
    return found


def find(name: str = DEFAULT) -> Model:
    """Return the model of a name, or the one in a file or diffusers folder of that path.

    Raises:
        ModelError: nothing has this name, or the file is not a model.
    """
    models = available()
    if name in models:
        return _load(models[name])
    if os.path.exists(name):  # unlike Path.exists, also False for names that no file can have
        return _load(Path(name).resolve())
    raise ModelError(
        f"no model {name!r}: known are {', '.join(models) or 'none'}; a path to a .safetensors file or a diffusers folder works too"
    )


def resolve(model: str | Path | Model | None) -> Model:
    """Return the model of a name or a path, the default one for None; a loaded model is returned as it is.

    Raises:
        ModelError: as `find`.
    """
    if model is None or isinstance(model, str | Path):
        return find(DEFAULT if model is None else str(model))
    if not isinstance(model, Model):
        raise ModelError(f"a model is given by name, by path, or loaded, not as {type(model).__name__}")
    return model


def find_hash(name: str, model_hash: bytes) -> Model:
    """Return the model that a .ddpm file needs: the one of that name if it has the hash, else any with the hash.

    Raises:
        ModelError: no model has the hash.
    """
    models = available()
    for candidate in sorted(models, key=lambda n: n != name):
        try:
            model = _load(models[candidate])
        except ModelError:  # a broken file must not hide the model beside it
            continue
        if model.hash == model_hash:
            return model
    known = f"the {name!r} here is another" if name in models else f"known are {', '.join(models) or 'none'}"
    raise ModelError(
        f"the file needs model {name!r} with hash {model_hash.hex()}, which is not here ({known}); give its path", parameter="model"
    )

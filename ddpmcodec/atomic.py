"""Files that appear whole or not at all. A leaf, like the errors: the models' files are written with it too."""

import os
import secrets
import shutil
from pathlib import Path

from ddpmcodec.errors import OutputError


def write(path: Path, data: bytes) -> None:
    """Write a file. An existing one is replaced only by a whole new one, and keeps its permissions.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(f".ddpmcodec-{secrets.token_hex(8)}.tmp")
        try:
            with open(temporary, "xb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise OutputError(f"{path}: {e.strerror or e}") from e

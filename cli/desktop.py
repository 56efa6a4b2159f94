"""Files that make desktops and ImageMagick know .ddpm files: what they hold, and where they go."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ddpmcodec.errors import OutputError

TYPE = "image/x-ddpm"
SYSTEM_DATA = Path("/usr/local/share")
SYSTEM_MAGICK = "/etc"  # in which each version of ImageMagick has a directory
DELEGATES = "delegates.xml"
END = "</delegatemap>"
EMPTY_MAP = f'<?xml version="1.0" encoding="UTF-8"?>\n<delegatemap>\n{END}\n'

# https://specifications.freedesktop.org/shared-mime-info-spec/
MIME = f"""<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{TYPE}">
    <comment>DDPM progressive image</comment>
    <magic priority="60">
      <match type="string" offset="0" value="\\x89DDPM\\r\\n\\x1a\\n"/>
    </magic>
    <glob pattern="*.ddpm"/>
  </mime-type>
</mime-info>
"""


@dataclass(frozen=True)
class Change:
    """A file as it is to be; None where it is to be removed."""

    path: Path
    text: str | None


def program() -> list[str]:
    """Return the words of the command that runs this program, from anywhere."""
    found = shutil.which(sys.argv[0])
    return [os.path.abspath(found)] if found and Path(found).name == "ddpmcodec" else [sys.executable, "-m", "ddpmcodec"]


def thumbnailer(words: Sequence[str]) -> str:
    """Return a thumbnailer entry, as GNOME, Xfce, MATE and Cinnamon read them. %s, %i and %o are size, input and output."""
    command = " ".join(f'"{word}"' if set(word) & set(" \"'\\`$();&<>|*?#~") else word for word in words)
    return f"[Thumbnailer Entry]\nTryExec={words[0]}\nExec={command} decode --quiet --fit %s --format PNG -o %o %i\nMimeType={TYPE};\n"


def delegates(words: Sequence[str]) -> list[str]:
    """Return the lines of ImageMagick's delegates.xml that read and write .ddpm files."""
    command = shlex.join(words)
    read = f'{command} decode --quiet --format PNG -o "%o" "%i"'
    write = f'{command} encode --quiet -o "%o" "%i"'
    return [
        f'  <delegate decode="ddpm" command={quoteattr(read)}/>',
        f'  <delegate decode="png" encode="ddpm" command={quoteattr(write)}/>',
    ]


def _is_ours(line: str) -> bool:
    return line.lstrip().startswith(('<delegate decode="ddpm"', '<delegate decode="png" encode="ddpm"'))


def with_delegates(text: str, lines: Sequence[str]) -> str:
    """Return a delegates.xml with these lines at its end, in place of those of before.

    Raises:
        OutputError: it is no map of delegates.
    """
    before, end, after = without_delegates(text).rpartition(END)
    if not end:
        raise OutputError("is no map of delegates")
    return f"{before}{chr(10).join(lines)}\n{end}{after}"


def without_delegates(text: str) -> str:
    """Return a delegates.xml without our lines."""
    return "".join(line for line in text.splitlines(keepends=True) if not _is_ours(line))


def directories(user: bool) -> tuple[Path, list[Path]]:
    """Return the directory of shared data, and those of ImageMagick's configuration: the user's, or the system's."""
    if not user:
        return SYSTEM_DATA, sorted(p for p in Path(SYSTEM_MAGICK).glob("ImageMagick-*") if (p / DELEGATES).is_file())
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    return data, [Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "ImageMagick"]


def changes(words: Sequence[str] | None, data: Path, magick: Sequence[Path]) -> list[Change]:
    """Return the files to be written, or, where there are no words of a command, to be taken back.

    Raises:
        OutputError: a delegates.xml cannot be read, or is none.
    """
    found = [
        Change(data / "mime/packages/ddpmcodec.xml", MIME if words else None),
        Change(data / "thumbnailers/ddpmcodec.thumbnailer", thumbnailer(words) if words else None),
    ]
    for directory in magick:
        path = directory / DELEGATES
        try:
            text = path.read_text() if path.exists() else EMPTY_MAP
            rest = without_delegates(text) if words is None else with_delegates(text, delegates(words))
        except (OSError, UnicodeDecodeError, OutputError) as e:
            raise OutputError(f"{path}: {getattr(e, 'strerror', None) or e}") from e
        found.append(Change(path, None if rest == EMPTY_MAP else rest))
    return [change for change in found if change.text is not None or change.path.exists()]

"""ddpmcodec: a trained DDPM as a progressive image codec.

    data = ddpmcodec.encode(image, bpp=0.5)          # bytes of a .ddpm file
    image = ddpmcodec.decode(data[: len(data) // 2])  # from any prefix

Errors are in `ddpmcodec.errors`. A forked child computes with one thread; processes that are to have several are started by "spawn".
"""

from typing import TYPE_CHECKING, Any

from ddpmcodec import errors, threads  # noqa: F401 - threads has to learn of forks from the beginning

try:
    from ddpmcodec.api import decode, decode_pictures, decode_progressive, encode, encode_image, info, truncate
except ModuleNotFoundError as e:
    if e.name != "ddpmcodec.models":
        raise
    raise ModuleNotFoundError(
        f"{__path__[0]} is a part of the sources, and hides the ddpmcodec that is installed: start Python in another directory,"
        " or install by pip install -e .",
        name=e.name,
    ) from None

if TYPE_CHECKING:
    from ddpmcodec.streaming import Decoder

__version__ = "0.1.0"
__all__ = [
    "Decoder",
    "__version__",
    "decode",
    "decode_pictures",
    "decode_progressive",
    "encode",
    "encode_image",
    "errors",
    "info",
    "register",
    "truncate",
]


def register() -> None:
    """Make Pillow open and save .ddpm files: see `ddpmcodec.pillow`."""
    import ddpmcodec.pillow  # noqa: F401 - the module registers itself


def __getattr__(name: str) -> Any:
    """Import `Decoder` when it is asked for: it needs torch, and describing a file does not."""
    if name == "Decoder":
        from ddpmcodec.streaming import Decoder

        return Decoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

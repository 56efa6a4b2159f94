"""The network's precision: one rule for encoder and decoder, which is not part of the format.

bfloat16 may be used where it makes the pictures of two machines differ by less than .1 dB: at levels from sigma 127.5 of 255 on, since
errors at higher noise persist as low frequencies, and in files that end above `FINEST_SIGMA`. It is not used for pictures so small that
it saves no time. Lossless files are always fp32. fp16, which Vulkan stores where it is asked for, moves pictures of 45 dB by up to .4 dB.

Vulkan itself is not chosen for small pictures, whose time goes elsewhere, nor for lossless files, as drivers differ.
"""

from ddpmcodec.format.container import Container
from ddpmcodec.format.header import Header
from ddpmcodec.models.levels import sigma
from ddpmcodec.target import Lossless, Psnr, Quality, Target

BFLOAT16_FROM = 0  # the first level at which bfloat16 is used, where it is
FINEST_SIGMA = 2.5  # of 255
LEAST_PIXELS = 1 << 16  # where bfloat16 and Vulkan save time
HIGHEST_PSNR, HIGHEST_BPP = 41.0, 2.0  # about where a file reaches `FINEST_SIGMA`


def for_encoding(header: Header, target: Target, max_bytes: int | None, wanted: str = "auto") -> str:
    """Return the precision to ask for in encoding: `wanted`, but "fp32" where less would show or must not be used.

    Args:
        max_bytes: the most bytes that the file may have; None where there is no limit.
        wanted: one of `models.arithmetic.PRECISIONS`.
    """
    if isinstance(target, Lossless):
        return "fp32"
    if isinstance(target, Quality):
        would_show = target.sigma < FINEST_SIGMA
    elif isinstance(target, Psnr):
        would_show = target.psnr > HIGHEST_PSNR
    else:
        would_show = max_bytes is not None and 8 * max_bytes > HIGHEST_BPP * header.pixels
    return "fp32" if wanted == "auto" and (would_show or header.pixels < LEAST_PIXELS) else wanted


def for_decoding(parsed: Container, wanted: str = "auto") -> str:
    """Return the precision to ask for in decoding a file, as `for_encoding` does."""
    if parsed.tail is not None:
        return "fp32"
    header = parsed.header
    last = parsed.steps[-1].level if parsed.steps else header.start
    would_show = sigma(header.levels, last) < FINEST_SIGMA
    return "fp32" if wanted == "auto" and (would_show or header.pixels < LEAST_PIXELS) else wanted


def allows_vulkan(header: Header, lossless: bool) -> bool:
    """Whether the device "auto" may be Vulkan."""
    return header.pixels >= LEAST_PIXELS and not lossless

"""What this machine's processors can do, asked of the system: no library is imported for it."""

import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # flags of processors that multiply it


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; False where the system does not say."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and not BFLOAT16.isdisjoint(flags[1].split())

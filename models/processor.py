"""What this machine's processors can do, asked of the system: no library is imported for it."""

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # flags of processors that multiply it
NAMED = ("avx2", "avx512f", *sorted(BFLOAT16))  # flags that speed depends on


def _said(field: str) -> str:
    """Return what the system says of a processor in a field; "" where it says nothing."""
    try:
        found = re.search(rf"^{field}\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; False where the system does not say."""
    return not BFLOAT16.isdisjoint(_said("flags").split())


def name() -> str:
    """Return the processor's name, and which of the instructions that speed depends on it has."""
    said = _said("flags").split()
    flags = [flag for flag in NAMED if flag in said]
    called = _said("model name") or platform.processor() or platform.machine()
    return f"{called} ({', '.join(flags)})" if flags else called

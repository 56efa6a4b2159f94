"""The number of threads that this process computes with: one number, which the search, the arrays and the network all obey."""

import math
import os
import re
from functools import cache
from pathlib import Path
from types import ModuleType

VARIABLE = "OMP_NUM_THREADS"
CGROUPS = Path("/sys/fs/cgroup")

_count: int | None = None
_forked = False


def available() -> int:
    """Return the number of processors that this process may use: those of its affinity, or fewer where a cgroup allows less time."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinities
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _own_quota())))


@cache
def _own_quota() -> float:
    """Return `quota` of this process, which is read once."""
    return quota(CGROUPS, _own_group())


def _own_group() -> str:
    """Return the path of this process's group in the second version of cgroups; the root's where there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return "/"
    return next((line[3:] for line in lines if line.startswith("0::/")), "/")


def quota(root: Path, group: str) -> float:
    """Return how many processors' time cgroups allow, the least of a group and those above it; infinity where they do not limit it.

    Args:
        root: where cgroups are mounted; containers see their own group there.
        group: path of the group below it, in the second version; of the first one only the root is looked at.
    """
    own = root / group.lstrip("/")
    limits: list[tuple[Path, ...]] = [(folder / "cpu.max",) for folder in (own, *own.parents) if folder.is_relative_to(root)]
    limits.append((root / "cpu/cpu.cfs_quota_us", root / "cpu/cpu.cfs_period_us"))
    least = math.inf
    for files in limits:
        try:
            time, period = map(float, " ".join(file.read_text() for file in files).split())
        except (OSError, ValueError):  # not there, or "max"
            continue
        if time > 0 and period > 0:
            least = min(least, time / period)
    return least


def asked() -> int | None:
    """Return the number in OMP_NUM_THREADS, but no more than there are processors; None where there is none."""
    first = os.environ.get(VARIABLE, "").split(",")[0].strip()
    return min(int(first), os.cpu_count() or 1) or None if re.fullmatch("[0-9]{1,18}", first) else None


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def count() -> int:
    """Return the number in force: that of `use`, else OMP_NUM_THREADS, else all processors that the process may use.

    In a forked child it is 1: libraries keep their threads, and there wait for those of the parent, which a fork does not copy.
    """
    if _forked:
        return 1
    return _count if _count is not None else asked() or available()


def tell(torch: ModuleType) -> None:
    """Make torch compute with `count()` threads: it has a number of its own, which numba's threads change when they start."""
    if torch.get_num_threads() != count():
        torch.set_num_threads(count())


def use(number: int | None) -> None:
    """Compute with so many threads from now on; None leaves the number as it is."""
    global _count
    if number is not None:
        _count = number

"""The number of threads that this process computes with: one number, which the search, the arrays and the network all obey."""

import os

_count: int | None = None


def available() -> int:
    """Return the number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinities
        return os.cpu_count() or 1


def count() -> int:
    """Return the number in force: that of `use`, else OMP_NUM_THREADS, else all processors that the process may use."""
    if _count is not None:
        return _count
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(asked) if asked.isdigit() and int(asked) > 0 else available()


def use(number: int | None) -> None:
    """Compute with so many threads from now on; None leaves the number as it is."""
    global _count
    if number is not None:
        _count = number

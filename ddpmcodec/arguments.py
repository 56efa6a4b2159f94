"""Arguments from Python, checked: what is of a wrong type is a TypeError that names the argument."""

import operator
from collections.abc import Iterable
from numbers import Real
from reprlib import repr as shortened
from typing import Any


def number(name: str, value: Any) -> Any:
    """Return a number as it is; TypeError where it is none."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is a number, not {shortened(value)}")
    return value


def integer(name: str, value: Any) -> int:
    """Return an integer, of numpy's too, as Python's; TypeError where it is none."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer, not {shortened(value)}") from None


def integers(name: str, values: Any) -> tuple[int, ...]:
    """Return integers as Python's; TypeError where they are no sequence of them."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise TypeError(f"{name} is a sequence of integers, not {shortened(values)}")
    return tuple(integer(f"each of {name}", value) for value in values)


def content(data: Any) -> bytes:
    """Return what holds bytes, such as a bytearray, as bytes; TypeError for what does not, where `bytes` would make zeros of a number."""
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"expected the bytes of a .ddpm file, got {type(data).__name__}") from None

"""Checks of arguments: what is wrong is a TypeError or ValueError that names the argument and shows what was given."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from functools import cache
from math import inf, isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = 60  # characters of a wrong value


def check_is(name: str, value: Any, *kinds: type) -> None:
    """Raise TypeError unless ``value`` is of one of the classes ``kinds``."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, got "
                        f"{type(value).__name__} {value!r:.{SHOWN}}")


def check_number(name: str, value: Any, least: float = 0.0, most: float = inf, *, equal: bool = False) -> float:
    """Return ``value`` as a float; raise unless it is a finite real number above ``least`` (or, with ``equal``, equal
    to it) and at most ``most``."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r:.{SHOWN}}")
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 300 digits
        number = inf
    if not isfinite(number) or number < least or (number == least and not equal):
        raise ValueError(f"{name} must be finite and {'at least' if equal else 'above'} {least:g}, got "
                         f"{value!r:.{SHOWN}}")
    if number > most:
        raise ValueError(f"{name} must be at most {most:g}, got {value!r:.{SHOWN}}")
    return number


def check_count(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return ``value`` as an int; raise unless it is an integer of at least ``least`` and at most ``most``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r:.{SHOWN}}")
    number = int(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most}, got {value!r:.{SHOWN}}")
    return number


def check_seed(seed: Any) -> int:
    """Return ``seed`` as an int; raise unless it is an integer of 64 bits."""
    return check_count("seed", seed, 0, 2**64 - 1)


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool; raise TypeError unless it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {type(value).__name__} {value!r:.{SHOWN}}")
    return bool(value)


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return ``value``; raise unless it is one of the words ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r:.{SHOWN}}")
    return value


def check_device(device: Any) -> None:
    """Raise unless torch can put a tensor on ``device``, a str or torch.device."""
    import torch  # here: the command line's --help needs none of it
    check_is("device", device, str, torch.device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        raise ValueError(f"device {str(device)!r:.{SHOWN}} cannot be used: {str(error):.200}") from error


def check_path(name: str, value: Any) -> Path:
    """Return ``value`` as a Path; raise unless it is a str or PathLike that can name a file."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name} must be a path (str or Path), got {type(value).__name__} {value!r:.{SHOWN}}")
    if not (text := os.fspath(value)) or "\0" in text:
        raise ValueError(f"{name} must be a path that is neither empty nor holds a zero byte, got {text!r:.{SHOWN}}")
    return Path(text)


def check_numbers(name: str, values: Any, least: float = -inf) -> tuple[float, ...]:
    """Return a list, tuple or row of an array as floats; raise unless all are finite numbers of at least ``least``."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)) or np.ndim(values) != 1:
        raise TypeError(f"{name} must be a sequence of numbers, got {type(values).__name__} {values!r:.{SHOWN}}")
    return tuple(check_number(name, value, least, equal=True) for value in values)


def finite_array(name: str, values: Any, columns: int | None = None) -> np.ndarray:
    """``values`` as a finite float64 array, (n, ``columns``) where that is given; ValueError naming it otherwise."""
    try:
        if np.asarray(values).dtype.kind not in "iuf":
            raise TypeError
        array = np.asarray(values, float)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} must be an array of numbers, got {values!r:.{SHOWN}}") from None
    if columns is not None and (array.ndim != 2 or array.shape[1] != columns):
        raise ValueError(f"{name} must have shape (n, {columns}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {values!r:.{SHOWN}}")
    return array


@cache
def say_once(line: str) -> None:
    """Say something on standard error, once per process."""
    print(line, file=sys.stderr)

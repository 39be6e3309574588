"""Checks of arguments: what is wrong is a TypeError or ValueError that names the argument and shows what was given."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from math import inf, isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = 60  # characters of a wrong value


def check_is(name: str, value: Any, *kinds: Any) -> None:
    """Raise TypeError unless ``value`` is of one of the classes ``kinds``."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, got "
                        f"{type(value).__name__} {value!r:.{SHOWN}}")


def check_number(name: str, value: Any, least: float = 0.0, most: float = inf, *, equal: bool = False,
                 below: float = inf) -> float:
    """Return ``value`` as a float; raise unless it is a finite real number above ``least`` (or, with ``equal``, equal
    to it), at most ``most`` and below ``below``."""
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
    if number >= below:
        raise ValueError(f"{name} must be below {below:g}, got {value!r:.{SHOWN}}")
    return number


def check_count(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Return ``value`` as an int; raise unless it is an integer of at least ``least`` and at most ``most``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r:.{SHOWN}}")
    number = int(value)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r:.{SHOWN}}")
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


def check_axes(name: str, value: Any) -> tuple[bool, bool]:
    """Return a bool, which stands for both axes, or a pair of bools as the pair (y, x); TypeError if it is neither."""
    y, x = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, value)
    return check_flag(name, y), check_flag(name, x)


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


def check_numbers(name: str, values: Any, least: float = -inf, count: int | None = None) -> tuple[float, ...]:
    """Return a list, tuple or row of an array as floats; raise unless all are finite numbers of at least ``least``, and
    there are ``count`` of them."""
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)) or np.ndim(values) != 1:
        raise TypeError(f"{name} must be a sequence of numbers, got {type(values).__name__} {values!r:.{SHOWN}}")
    if count is not None and len(values) != count:
        raise ValueError(f"{name} must be {count} numbers, got {values!r:.{SHOWN}}")
    return tuple(check_number(name, value, least, equal=True) for value in values)


def check_array(name: str, values: Any, shape: tuple[int | None, ...] | None = None, *, finite: bool = True,
                empty: bool = False) -> np.ndarray:
    """Return a float64 copy of ``values``; raise TypeError unless they are real numbers.

    Raise ValueError for another ``shape``, in which None stands for any length; for no values at all, unless ``empty``;
    and for NaN or infinity, if ``finite``.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"dtype {array.dtype}" + "; take its real part" * (array.dtype.kind == "c"))
        array = array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unlike lengths, tensors with a gradient
        raise TypeError(f"{name} must be an array of real numbers, got {type(values).__name__} {values!r:.{SHOWN}}: "
                        f"{error}") from None
    if shape is not None and (array.ndim != len(shape)
                              or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True))):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({wanted}), got {array.shape}")
    if not (array.size or empty):
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {np.isnan(array).sum()} NaN, {np.isinf(array).sum()} infinite")
    return array


def check_list(name: str, values: Any, of: type | str = "entries", least: int = 1) -> list[Any]:
    """Return an iterable as a list; raise unless it has ``least`` entries, each of the class ``of`` if that is one.

    A string and a mapping are no lists. The word ``of`` says in the message what an entry is.
    """
    word, entries = of if isinstance(of, str) else of.__name__, None
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)):
        try:
            entries = list(values)
        except TypeError:  # an array or a tensor without axes
            pass
    if entries is None or isinstance(of, type) and not all(isinstance(entry, of) for entry in entries):
        raise TypeError(f"{name} must be a list of {word}, got {type(values).__name__} {values!r:.{SHOWN}}")
    if len(entries) < least:
        raise ValueError(f"{name} must hold at least {least} of {word}, got {len(entries)}")
    return entries


def check_keys(name: str, value: Any, keys: Collection[Any] = ()) -> None:
    """Raise TypeError unless ``value`` is a dict or another mapping, ValueError if it is empty or lacks ``keys``."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, got {type(value).__name__} {value!r:.{SHOWN}}")
    missing = [key for key in keys if key not in value]
    if missing or not value:
        raise ValueError(f"{name} lacks {', '.join(map(str, missing)) or 'any entry'}; it has {[*value]!r:.200}")


@cache
def say_once(line: str) -> None:
    """Say something on standard error, once per process."""
    print(line, file=sys.stderr)

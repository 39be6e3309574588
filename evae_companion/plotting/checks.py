"""Checks of the arguments of figure functions: arrays, configurations, lists, sweeps; errors say what is valid."""

from __future__ import annotations

from typing import Any

import numpy as np


def _array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors on a device or with a gradient
        raise TypeError(f"{name} must be a numpy array, got {type(values).__name__}: {error}") from None


def whole(value: Any, name: str, least: int) -> int:
    """Return ``value`` as an int of at least ``least``. Raises TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def numbers(values: Any, name: str, *, shape: Any = None, finite: bool = True) -> np.ndarray:
    """Return ``values`` as a float64 array; ``shape`` is a tuple in which None stands for any length.

    Raises
    ------
    TypeError
        not numbers.
    ValueError
        another shape, an empty array, or NaN or infinity if ``finite``.
    """
    array = _array(values, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    array = array.astype(np.float64)
    if shape is not None and (array.ndim != len(shape)
                              or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True))):
        want = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape ({want}), got {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity: {int((~np.isfinite(array)).sum())} values")
    return array


def as_spins(spins: Any, name: str = "spins", ndim: int | None = None) -> np.ndarray:
    """Return ``spins`` as an array (..., 3, Ny, Nx) of unit vectors along axis -3; zero vectors are non-magnetic sites.

    Raises
    ------
    TypeError
        not an array of floats.
    ValueError
        another shape or number of axes (``ndim``), NaN or infinity, or vectors of another length (beyond 1e-2).
    """
    array = _array(spins, name)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats, got dtype {array.dtype}; use .astype('float32')")
    if array.ndim < 3 or array.shape[-3] != 3 or array.size == 0 or (ndim is not None and array.ndim != ndim):
        want = {None: "(..., 3, Ny, Nx)", 3: "(3, Ny, Nx)", 4: "(n, 3, Ny, Nx)", 5: "(m, n, 3, Ny, Nx)"}[ndim]
        raise ValueError(f"{name} must have shape {want} with at least one site, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity: {int((~np.isfinite(array)).sum())} values")
    length = np.sqrt((array.astype(np.float64) ** 2).sum(-3))
    worst = np.abs(np.where(length == 0, 1.0, length) - 1).max()
    if worst > 1e-2:
        raise ValueError(f"{name} must be unit vectors along axis -3 (zero: non-magnetic); the worst length is off by "
                         f"{worst:.3g}; divide by the length first")
    return array


def as_alignment(cos_theta: Any, name: str = "cos_theta", shape: Any = None) -> np.ndarray:
    """Return ``cos_theta`` as float64 (Ny, Nx) in [-1, 1]; NaN is a site without a field.

    Raises TypeError or ValueError if it is no such array, or its shape is not ``shape``.
    """
    array = numbers(cos_theta, name, shape=shape or (None, None), finite=False)
    worst = np.nanmax(np.abs(array)) if not np.isnan(array).all() else 0.0
    if worst > 1 + 1e-3:
        raise ValueError(f"{name} must be cosines between -1 and 1, got one of {worst:.4g}; divide by |h|")
    return np.clip(array, -1, 1)  # they exceed 1 by rounding only


def pair_of(value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a configuration (3, Ny, Nx) and its cos(theta) (Ny, Nx), checked against each other."""
    spins, cosine = members(value, name, "spins, cos_theta")
    spins = as_spins(spins, f"{name} spins", ndim=3)
    return spins, as_alignment(cosine, f"{name} cos_theta", shape=spins.shape[-2:])


def items(value: Any, name: str, want: str) -> list[Any]:
    """Return ``value`` as a list. Raises ValueError if empty, TypeError if it is no sequence (a string, a dict)."""
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__"):
        raise TypeError(f"{name} must be a list of {want}, got {type(value).__name__}")
    if len(value) == 0:
        raise ValueError(f"{name} must hold at least one of {want}")
    return list(value)


def members(value: Any, name: str, want: str) -> tuple[Any, ...]:
    """Return ``value`` as a tuple with as many members as ``want`` (comma separated) names."""
    size = want.count(",") + 1
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__") or len(value) != size:
        raise ValueError(f"{name} must be ({want}), got {value if isinstance(value, (str, dict)) else type(value)}")
    return tuple(value)


def same_shape(maps: Any, name: str) -> tuple[int, int]:
    """Return the lattice shape (Ny, Nx) that all ``maps`` share. Raises ValueError if they differ."""
    shapes = {m.shape[-2:] for m in maps}
    if len(shapes) > 1:
        raise ValueError(f"{name} must all have one lattice shape (Ny, Nx), got {sorted(shapes)}")
    return shapes.pop()


def ladders(series: Any, name: str, needed: Any, x: str) -> list[dict[str, Any]]:
    """Check a list of dicts (or one): ``label``, the key ``x`` (>= 0, ascending) and ``needed`` keys of its length."""
    series = [series] if isinstance(series, dict) else series
    if not isinstance(series, (list, tuple)) or not all(isinstance(s, dict) for s in series):
        raise TypeError(f"{name} must be a dict or a list of dicts, got {type(series).__name__}")
    if not series:
        raise ValueError(f"{name} must hold at least one dict")
    checked = []
    for i, entry in enumerate(series):
        missing = [key for key in ("label", x, *needed) if key not in entry]
        if missing:
            raise ValueError(f"{name}[{i}] lacks {missing}; it has {sorted(entry)}")
        where = f"{name}[{i}]"
        xs = numbers(entry[x], f"{where}[{x!r}]", shape=(None,))
        if (xs < 0).any() or (np.diff(xs) <= 0).any():
            raise ValueError(f"{where}[{x!r}] must be >= 0 and ascending on a logarithmic axis, got {xs.tolist()}")
        values = {key: numbers(entry[key], f"{where}[{key!r}]", shape=xs.shape, finite=False) for key in needed}
        checked.append(entry | {x: xs} | values)
    return checked

"""Checks of what figure functions alone take: configurations, alignments, tuples, sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from evae_core.validation import check_array, check_keys, check_list


def as_spins(spins: Any, name: str = "spins", ndim: int | None = None) -> np.ndarray:
    """Return ``spins`` as an array (..., 3, Ny, Nx) of unit vectors along axis -3; zero vectors are non-magnetic sites.

    Raises
    ------
    TypeError
        not an array of floats.
    ValueError
        another shape or number of axes (``ndim``), NaN or infinity, or vectors of another length (beyond 1e-2).
    """
    length = check_array(name, spins)
    array = np.asarray(spins)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must be an array of floats, got dtype {array.dtype}; use .astype('float32')")
    if array.ndim < 3 or array.shape[-3] != 3 or (ndim is not None and array.ndim != ndim):
        want = {None: "(..., 3, Ny, Nx)", 3: "(3, Ny, Nx)", 4: "(n, 3, Ny, Nx)", 5: "(m, n, 3, Ny, Nx)"}[ndim]
        raise ValueError(f"{name} must have shape {want} with at least one site, got {array.shape}")
    length = np.sqrt((length**2).sum(-3))
    worst = np.abs(np.where(length == 0, 1.0, length) - 1).max()
    if worst > 1e-2:
        raise ValueError(f"{name} must be unit vectors along axis -3 (zero: non-magnetic); the worst length is off by "
                         f"{worst:.3g}; divide by the length first")
    return array


def as_alignment(cos_theta: Any, name: str = "cos_theta", shape: Any = None) -> np.ndarray:
    """Return ``cos_theta`` as float64 (Ny, Nx) in [-1, 1]; NaN is a site without a field.

    Raises TypeError or ValueError if it is no such array, or its shape is not ``shape``.
    """
    array = check_array(name, cos_theta, shape or (None, None), finite=False)
    worst = np.nanmax(np.abs(array)) if not np.isnan(array).all() else 0.0
    if worst > 1 + 1e-3:
        raise ValueError(f"{name} must be cosines between -1 and 1, got one of {worst:.4g}; divide by |h|")
    return np.clip(array, -1, 1)  # they exceed 1 by rounding only


def pair_of(value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a configuration (3, Ny, Nx) and its cos(theta) (Ny, Nx), checked against each other."""
    spins, cosine = members(value, name, "spins, cos_theta")
    spins = as_spins(spins, f"{name} spins", ndim=3)
    return spins, as_alignment(cosine, f"{name} cos_theta", shape=spins.shape[-2:])


def members(value: Any, name: str, want: str) -> tuple[Any, ...]:
    """Return ``value`` as a tuple with as many members as ``want`` (comma separated) names."""
    entries = check_list(name, value, f"({want})")
    if len(entries) != want.count(",") + 1:
        raise ValueError(f"{name} must be ({want}), got {len(entries)} entries")
    return tuple(entries)


def tuples(name: str, values: Any, want: str, least: int = 1) -> list[tuple[Any, ...]]:
    """Return a list of at least ``least`` tuples whose members ``want`` names."""
    return [members(one, f"{name}[{i}]", want) for i, one in enumerate(check_list(name, values, f"({want})", least))]


def same_shape(maps: Any, name: str) -> tuple[int, int]:
    """Return the lattice shape (Ny, Nx) that all ``maps`` share. Raises ValueError if they differ."""
    shapes = {m.shape[-2:] for m in maps}
    if len(shapes) > 1:
        raise ValueError(f"{name} must all have one lattice shape (Ny, Nx), got {sorted(shapes)}")
    return shapes.pop()


def ladders(series: Any, name: str, needed: Any, x: str) -> list[dict[str, Any]]:
    """Check a list of dicts (or one): ``label``, the key ``x`` (>= 0, ascending) and ``needed`` keys of its length."""
    checked = []
    for i, entry in enumerate(check_list(name, [series] if isinstance(series, dict) else series, dict)):
        where = f"{name}[{i}]"
        check_keys(where, entry, ("label", x, *needed))
        xs = check_array(f"{where}[{x!r}]", entry[x], (None,))
        if (xs < 0).any() or (np.diff(xs) <= 0).any():
            raise ValueError(f"{where}[{x!r}] must be >= 0 and ascending on a logarithmic axis, got {xs.tolist()}")
        values = {key: check_array(f"{where}[{key!r}]", entry[key], xs.shape, finite=False) for key in needed}
        checked.append(entry | {x: xs} | values)
    return checked

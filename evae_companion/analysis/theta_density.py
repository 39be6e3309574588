"""Probability density of the angle theta between spin and local field over a set of states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import theta
from evae_core.validation import check_array, check_count, check_flag, check_number

MAX_BINS = 10**6


def theta_density(H: Hamiltonian, spins: Tensor, bins: Any = 200, log: bool = False,
                  lowest: float = 1e-6) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability density of :func:`theta` over the magnetic sites of all configurations, per radian.

    Parameters
    ----------
    spins : (..., 3, Ny, Nx).
    bins : number of bins between 0 and pi, or their increasing edges in radians. The density is normalised by all
        sites: it integrates to one if the edges cover [0, pi].
    log : logarithmic bins from ``lowest`` to pi, for peaks near 0; the first bin is [0, lowest].

    Returns
    -------
    edges, density : (bins + 1,) and (bins,), float64.

    Raises
    ------
    TypeError, ValueError
        as :func:`theta`; bins that are neither an integer >= 2 nor increasing edges.
    """
    log = check_flag("log", log)
    if np.ndim(bins) == 0:
        bins = check_count("bins", bins, 2, MAX_BINS)
        lowest = check_number("lowest", lowest, below=math.pi)
        edges = np.concatenate(([0.0], np.geomspace(lowest, np.pi, bins))) if log else np.linspace(0, np.pi, bins + 1)
    else:
        edges = check_array("bins", bins, (None,))
        if log:
            raise ValueError("log=True needs a number of bins, got edges; leave log out")
        if len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"bins must be strictly increasing edges, got {bins!r}")
    angles = theta(H, spins).detach().cpu().numpy()
    angles = angles[~np.isnan(angles)]
    if angles.size == 0:
        raise ValueError(f"spins must hold at least one configuration, got shape {tuple(spins.shape)}")
    counts, _ = np.histogram(angles, edges)
    return edges, counts / (angles.size * np.diff(edges))

"""The lattices of points that fit a periodic box: geometry alone, no spins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from evae_core.hamiltonian import Hamiltonian
from evae_core.validation import check_count


def commensurate_cells(shape: Sequence[int], count: int) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Every lattice with ``count`` points in the periodic box, nearest to the triangular one first.

    Lattices that contain the box vectors with index n = a d are the Hermite normal forms (a b; 0 d), 0 <= b < a:
    a columns of d points, each shifted by b/a of the spacing within a column against the one before. Mirror
    images and, in a square box, lattices turned by 90 degrees have the same energy and are listed once.

    Returns
    -------
    list of (strain, cell, points): cell (2, 2), the two shortest lattice vectors as rows (x, y), at an acute
    angle; points (count, 2) in the box; strain s >= 0, where exp(s) and exp(-s) are the stretches that turn
    the triangular lattice of this density into this one (0.27 for the square lattice).

    Raises
    ------
    ValueError
        shape that is not (Ny, Nx), or a count below 1 or above the number of sites.
    """
    ny, nx = Hamiltonian(boundary="open").check_shape(shape)
    check_count("count", count, 1, ny * nx)
    lattices = {}
    for a in (a for a in range(1, count + 1) if count % a == 0):
        d = count // a
        i, j = np.divmod(np.arange(count), d)
        for b in range(a):
            # Coordinates in units of 1/count of the box: integers, so that equal lattices are seen to be equal.
            grid = np.stack((i * d, j * a - i * b), 1) % count
            twins = [grid, grid * (-1, 1) % count]
            if nx == ny:
                twins += [t[:, ::-1] for t in twins]
            key = min(tuple(sorted(map(tuple, t.tolist()))) for t in twins)
            if key in lattices:
                continue
            u, v = np.array([nx / a, -b * ny / count]), np.array([0.0, ny / d])
            while True:  # Gauss reduction; the factor keeps a tie at 1/2 from going back and forth
                u, v = (u, v) if u @ u <= v @ v else (v, u)
                steps = round((u @ v) / (u @ u) * (1 - 1e-9))
                if steps == 0:
                    break
                v = v - steps * u
            v = -v if u @ v < 0 else v
            stretch = (u @ u + v @ v + (u - v) @ (u - v)) * count / (2 * math.sqrt(3) * nx * ny)  # cosh(2 s)
            lattices[key] = (math.acosh(max(1.0, stretch)) / 2, np.stack((u, v)), grid * (nx / count, ny / count))
    return sorted(lattices.values(), key=lambda lattice: lattice[0])

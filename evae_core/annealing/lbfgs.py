"""The last digits of a local minimum: L-BFGS on the product of spheres, where the descent of `relax` is too slow.

The over-shooting descent turns one spin at a time. Textures that can glide, as skyrmion lattices with defects do, leave
it at torques of 1e-5 J for tens of thousands of sweeps; a quasi-Newton method learns those soft directions. The spins
are S = (z + a u + b v)/|z + a u + b v| in the tangent frame (u, v) of the state z it starts from (J. Nocedal and
S. J. Wright, Numerical Optimization, 2nd ed., ch. 7, by scipy's L-BFGS-B without bounds).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import normalize

from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.validation import check_number

TORQUE = 9e-7  # J: below the 1e-6 J that states at rest are promised to have
MEMORY = 10  # pairs of steps and gradients that L-BFGS remembers
CHART = 2000  # evaluations in one tangent frame; then a new one
CHARTS = 3  # frames tried before giving up


def lbfgs_refine(H: Hamiltonian, spins: Tensor, tolerance: float = TORQUE) -> tuple[Tensor, float]:
    """The local minimum below one configuration, and the largest torque left there.

    Parameters
    ----------
    spins : (3, Ny, Nx), near a minimum already (say, to a torque of 1e-3 J): from farther away it goes down as well,
        but not to the nearest minimum.
    tolerance : largest torque |S x h| wanted, units of J.

    Returns
    -------
    (3, Ny, Nx) float64 in host memory, zero on non-magnetic sites, and its largest torque in J. A torque above
    ``tolerance`` says that it did not arrive; the energy never rises by more than rounding.
    """
    check_hamiltonian(H)
    check_number("tolerance", tolerance)
    check_spins(spins, unit=True, magnetic=None if H.mask is None else H.mask.copy())
    S = spins.detach().cpu().double()
    if S.ndim != 3:
        raise ValueError(f"spins must be one configuration (3, Ny, Nx), got shape {tuple(spins.shape)}")
    S = S if H.mask is None else S * torch.from_numpy(H.mask.copy())
    S = normalize(S, dim=0)
    for _ in range(CHARTS):
        if float(H.torque(S).max()) <= tolerance:
            break
        S = _in_one_chart(H, S, tolerance)
    return S, float(H.torque(S).max())


def tangent_frame(spins: Tensor) -> tuple[Tensor, Tensor]:
    """Two unit vectors at right angles to every spin of (..., 3, Ny, Nx) and to each other; zero on zero spins."""
    pole = torch.where(spins[..., 2:, :, :].abs() < 0.7, spins.new_tensor([0.0, 0, 1])[:, None, None],
                       spins.new_tensor([1.0, 0, 0])[:, None, None])
    u = normalize(torch.linalg.cross(pole, spins, dim=-3), dim=-3)
    return u, torch.linalg.cross(spins, u, dim=-3)


def _in_one_chart(H: Hamiltonian, z: Tensor, tolerance: float = TORQUE) -> Tensor:
    u, v = tangent_frame(z)

    def raised(coordinates: np.ndarray) -> Tensor:
        a, b = torch.from_numpy(coordinates).reshape(2, *z.shape[1:])
        return z + a * u + b * v

    plain = not H.terms

    def energy(coordinates: np.ndarray) -> tuple[float, np.ndarray]:
        """E and its gradient from one field h = -dE/dS: without terms of one's own E = -1/2 sum S.h - 1/2 B sum S^z."""
        n = raised(coordinates)
        length = torch.linalg.vector_norm(n, dim=0).clamp_min(1e-12)  # 0 on non-magnetic sites
        S = n / length
        h = H.field(S)
        along = (S * h).sum(0)
        slope = (along * S - h) / length
        E = (-0.5 * float(along.sum()) - 0.5 * H.B * float(S[2].sum()) if plain else float(H.energy(S)))
        return E, torch.stack(((slope * u).sum(0), (slope * v).sum(0))).numpy().reshape(-1)

    # gtol bounds every single coordinate's gradient; two of them make a torque.
    minimum = minimize(energy, np.zeros(2 * z[0].numel()), jac=True, method="L-BFGS-B", options={
        "maxcor": MEMORY, "maxiter": CHART, "maxfun": CHART, "gtol": tolerance / 2, "ftol": 0.0})
    return normalize(raised(minimum.x), dim=0)

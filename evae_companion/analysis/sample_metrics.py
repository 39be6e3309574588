r"""Quality and diversity of generated states relative to the data: precision, recall, Vendi score, MMD.

States that differ by a translation of the periodic box count as equal. One product of Fourier transforms gives the
correlation at all shifts s, :math:`C_{ab}(s) = \frac1N \sum_r S^a_{r}\cdot S^b_{r+s}`. From it follow

* distance :math:`d_{ab} = \min_s \sqrt{\frac1N\sum_r |S^a_r - S^b_{r+s}|^2} = \sqrt{2 - 2\max_s C_{ab}(s)}`, the chord
  per spin (root mean square) up to translation, 0 ... 2: an exact metric, not a feature of some network;
* kernel :math:`k_{ab} = \kappa_{ab}/\sqrt{\kappa_{aa}\kappa_{bb}}`, :math:`\kappa_{ab} = \sum_s C_{ab}(s)^p`, p even:
  positive semidefinite, because it is a power of an inner product averaged over a group (B. Haasdonk and H. Burkhardt,
  Machine Learning 68, 35 (2007)). The maximum over s would not be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from evae_core.annealing import relax
from evae_core.hamiltonian import Hamiltonian, check_spins
from evae_core.observables import topological_charge
from evae_core.validation import check_count, check_is

POWER = 16  # p of the kernel: two annealed states of the laptop preset then have k near 0.1, a state with itself 1
NEIGHBOURS = 5  # k of the nearest-neighbour balls, Naeem et al.'s choice
PIECE = 2**24  # bytes of correlations at a time: they fit a cache, whatever the size of the sets


class Pairs(NamedTuple):
    """``distance`` and unnormalised ``kernel``, (n, m) float64, of every pair of states from two sets."""

    distance: Tensor
    kernel: Tensor


def pairs(a: Tensor, b: Tensor) -> Pairs:
    """Return distance and unnormalised kernel of every state of ``a`` (n, 3, Ny, Nx) with every state of ``b``.

    Computed in float32 on the device of ``a``: equal states come out some 1e-3 apart, other distances are right to 1e-6
    of their inverse.

    Raises
    ------
    TypeError, ValueError
        see :func:`~evae_core.hamiltonian.check_spins`; spins that are not unit vectors, sets of unlike lattices.
    """
    first, second = _waves(a, "a"), _waves(b, "b")
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"a and b must be states of one lattice, got {tuple(a.shape)} and {tuple(b.shape)}")
    shape, sites = a.shape[-2:], a.shape[-2:].numel()
    distance, kernel = [], []
    for part in first.split(max(1, PIECE // (4 * sites * len(b)))):
        C = _correlations(part[:, None], second, shape)
        distance.append((2 - 2 * C.amax(2)).clamp_(min=0).sqrt())
        kernel.append(C.square_().square_().square_().square_().sum(2))  # POWER
    return Pairs(torch.cat(distance).double(), torch.cat(kernel).double())


def _waves(spins: Tensor, name: str) -> Tensor:
    check_spins(spins, name, unit=True)
    if spins.ndim != 4 or not len(spins):
        raise ValueError(f"{name} must be (n, 3, Ny, Nx) with n >= 1, got shape {tuple(spins.shape)}")
    return torch.fft.rfft2(spins.float())


def _correlations(first: Tensor, second: Tensor, shape: torch.Size) -> Tensor:
    """Return C (..., Ny Nx) of waves (..., 3, Ny, Nx/2 + 1) at every shift; components one by one, to save memory."""
    waves = first[..., 0, :, :].conj() * second[..., 0, :, :]
    for c in (1, 2):
        waves += first[..., c, :, :].conj() * second[..., c, :, :]
    return torch.fft.irfft2(waves, s=shape).div_(shape.numel()).flatten(-2)


def displacement(a: Tensor, b: Tensor) -> Tensor:
    """Return the distance d between a[i] and b[i], (n,) float64; raises as :func:`pairs`."""
    first, second = _waves(a, "a"), _waves(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return (2 - 2 * _correlations(first, second, a.shape[-2:]).amax(1)).clamp_(min=0).sqrt().double()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the distance d of every pair, (n, m) float64; see the module docstring and :func:`pairs`."""
    return pairs(a, b).distance


def normalised(kernel: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
    """Return k (n, m) from the unnormalised kernel (n, m) and those of every state with itself, (n,) and (m,)."""
    return kernel / (of_a[:, None] * of_b).sqrt()


def _radii(distance: Tensor, k: int) -> Tensor:
    """Return the distance from every state of a set (n, n) to its k-th nearest neighbour, without itself."""
    check_count("k", k, 1, len(distance) - 1)
    others = distance.clone().fill_diagonal_(torch.inf)
    return others.kthvalue(k, dim=1).values


def manifold_measures(real: Tensor, fake: Tensor, between: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Return precision, recall, density and coverage of samples ("fake") and data ("real") by nearest-neighbour balls.

    The ball of a state reaches to its k-th nearest neighbour in its own set.

    Parameters
    ----------
    real, fake, between : (m, m), (n, n) and (m, n), distances within and between the sets.

    Returns
    -------
    precision, recall : share of samples in the ball of some datum, and of data in the ball of some sample
        (T. Kynkaanniemi et al., NeurIPS 32 (2019)).
    density, coverage : number of data balls that a sample lies in, over k, which is 1 for samples like the data; and
        share of data whose ball holds some sample (M. F. Naeem et al., ICML (2020)).

    Raises
    ------
    ValueError
        shapes that do not fit, or k outside 1 ... size of the smaller set - 1.
    """
    for name, distance in (("real", real), ("fake", fake), ("between", between)):
        check_is(name, distance, Tensor)
    if real.shape != (len(between),) * 2 or fake.shape != (between.shape[1],) * 2:
        raise ValueError(f"real, fake and between must be (m, m), (n, n) and (m, n), got {tuple(real.shape)}, "
                         f"{tuple(fake.shape)}, {tuple(between.shape)}")
    in_real = between <= _radii(real, k)[:, None]
    in_fake = between <= _radii(fake, k)
    return {"precision": float(in_real.any(0).double().mean()), "recall": float(in_fake.any(1).double().mean()),
            "density": float(in_real.double().mean()) * len(real) / k,
            "coverage": float(in_real.any(1).double().mean())}


def vendi(kernel: Tensor) -> float:
    """Return the Vendi score of a normalised kernel (n, n): exp of the entropy of the eigenvalues of k/n; 1 ... n.

    The effective number of different states (D. Friedman and A. B. Dieng, TMLR (2023)): 1 when all are one state up
    to translation, n when none has anything in common with another.
    """
    values = torch.linalg.eigvalsh(kernel / len(kernel)).clamp(min=0)
    values = values[values > 0]
    return float((-(values * values.log()).sum()).exp())


def mmd(of_a: Tensor, of_b: Tensor, between: Tensor) -> float:
    """Return the squared maximum mean discrepancy from normalised kernels (n, n), (m, m), (n, m).

    It is 0 on average for equal sources.

    The unbiased estimate (A. Gretton et al., JMLR 13, 723 (2012)), which may be slightly negative.
    """
    n, m = between.shape
    return float((of_a.sum() - of_a.trace()) / (n * (n - 1)) + (of_b.sum() - of_b.trace()) / (m * (m - 1))
                 - 2 * between.mean())


def radial_structure_factor(spins: Tensor) -> np.ndarray:
    """Return the structure factor of ``spins`` (n, 3, Ny, Nx), averaged over states, in rings of |k|.

    A ring is 2 pi/max(Nx, Ny) wide. The structure factor is the sum over components of |FFT2(S)|^2/N^2, which sums to 1
    over k for unit spins. It measures the distances that occur in a texture; neither position nor orientation matters.
    """
    ny, nx = spins.shape[-2:]
    power = torch.fft.fft2(spins.double(), norm="forward").abs().square().sum(1).mean(0).cpu().numpy()
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(ny), np.fft.fftfreq(nx), indexing="ij")) * max(ny, nx)
    ring = np.rint(k).astype(int)
    return np.bincount(ring.ravel(), power.ravel())


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Return half the sum of |p - q| of two distributions over the same bins: 0 ... 1."""
    return float(np.abs(np.asarray(p) - q).sum() / 2)


def settled(H: Hamiltonian, spins: Tensor, tolerance: float = 1e-4, device: str = "auto"
            ) -> tuple[Tensor, dict[str, np.ndarray]]:
    """Relax states (n, 3, Ny, Nx) to a torque below ``tolerance`` (J), and measure the change.

    Returns
    -------
    spins : the relaxed states.
    measures : (n,) arrays: charge, charge_at_rest; energy, energy_at_rest (J per spin); lost, their difference; moved,
        the distance between a state and its relaxed one.

    Raises
    ------
    RuntimeError
        a descent that does not reach the tolerance.
    """
    double = spins.double()
    rest = relax(H, double, tolerance=tolerance, device=device)
    charge, at_rest = (topological_charge(one, H.mask, H.periodic_axes) for one in (double, rest))
    measures = {"energy": H.energy_per_spin(double), "energy_at_rest": H.energy_per_spin(rest),
                "charge": charge, "charge_at_rest": at_rest, "moved": displacement(double, rest)}
    measures["lost"] = measures["energy"] - measures["energy_at_rest"]
    return rest.to(spins), {name: values.cpu().numpy() for name, values in measures.items()}

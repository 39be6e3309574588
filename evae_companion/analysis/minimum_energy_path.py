r"""Minimum-energy path between two relaxed states, and the saddle point on it: geodesic nudged elastic band.

Images of the sample along a path are relaxed together. Image n feels the energy gradient at right angles to the path,
and springs along it that keep the images equally far apart,

.. math:: F_n = -g_n + (g_n\cdot\tau_n)\,\tau_n + k\,(d_{n,n+1} - d_{n-1,n})\,\tau_n

with g the gradient in the tangent space of the unit spins, d the geodesic distance (root of the sum of squared angles)
and tau the unit tangent towards the neighbour that is higher in energy. Once the band lies near the path, its highest
image climbs along tau instead of feeling the springs, up to the saddle point. P. F. Bessarab, V. M. Uzdin and
H. Jonsson, Comput. Phys. Commun. 196, 335 (2015); tangents and climbing image: G. Henkelman and H. Jonsson, J. Chem.
Phys. 113, 9978 (2000), G. Henkelman, B. P. Uberuaga and H. Jonsson, ibid. 9901. Every image moves by
projected velocity (the first reference), with a fixed step along geodesics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_core.annealing.lbfgs import tangent_frame
from evae_core.hamiltonian import check_spins
from evae_core.losses import EnergyModel
from evae_core.validation import check_count, check_is, check_number

REST = 1e-4  # J: largest torque of a state that counts as relaxed
APART = 1e-3  # rad: geodesic distance below which two states are one
MOST = 1000  # images
CLIMB = 100  # in units of the tolerance: the force below which the highest image begins to climb
TURN = 0.2  # rad: most that a spin turns in one step
EVERY = 100  # steps from one line of progress to the next


@dataclass(frozen=True, eq=False)
class MinimumEnergyPath:
    """A path of states; ``images`` is their number, the two ends included.

    Attributes
    ----------
    states : (images, 3, Ny, Nx) float64, zero on non-magnetic sites.
    energies : (images,) float64, total energies, J.
    distances : (images,) float64, geodesic distance from the start along the path, rad.
    torque : largest gradient of a spin that is left at right angles to the path, and in any direction at the saddle, J.
    converged : whether it is within the tolerance, and the images are equally spaced on either side of the saddle.
    saddle : index of the highest image: the saddle point, or an end that no image is higher than.
    """

    states: Tensor
    energies: Tensor
    distances: Tensor
    torque: float
    converged: bool
    saddle: int

    @property
    def barrier(self) -> float:
        """Energy of the saddle point above the start, J."""
        return float(self.energies[self.saddle] - self.energies[0])


def minimum_energy_path(H: EnergyModel, start: Tensor, end: Tensor, images: int = 16, *, path: Tensor | None = None,
                        tolerance: float = 1e-4, max_steps: int = 20_000,
                        report: Callable[[str], None] | None = None) -> MinimumEnergyPath:
    """Return the minimum-energy path between two relaxed states, with its highest image at the saddle point.

    The path found is the one that the initial path relaxes to. A symmetry that the initial path has is kept but for
    rounding, so the result may be a saddle of higher order: ask :func:`lowest_modes` for its negative eigenvalues.
    Where many skyrmions move at once, neighbouring images lie far apart and steps are many: look at ``converged``.

    Parameters
    ----------
    H : a Hamiltonian or a learned energy.
    start, end : (3, Ny, Nx), relaxed to a torque of at most 1e-4 J.
    images : number of states on the path, the ends included; 3 to 1000.
    path : (n, 3, Ny, Nx), states that the initial path visits between start and end, e.g. a decoded walk through latent
        space. By default every spin turns straight from start to end; opposite ones by an axis that is fixed per spin.
    tolerance : largest force on a spin that is left, J.
    max_steps : the most steps; a path that needs more is returned with ``converged=False``.
    report : called with a line of progress after every 100 steps.

    Raises
    ------
    TypeError, ValueError
        states that are not unit spins, not relaxed, of different shapes or the same; numbers out of range.
    """
    check_is("H", H, EnergyModel)
    check_count("images", images, 3, MOST)
    check_number("tolerance", tolerance)
    check_count("max_steps", max_steps, 1)
    ends = torch.stack((_state(H, start, "start"), _state(H, end, "end", like=start)))
    torques = torch.linalg.vector_norm(torch.linalg.cross(ends, _slopes(H, ends)[1], dim=1), dim=1).amax((1, 2))
    for name, torque in zip(("start", "end"), torques.tolist(), strict=True):
        if torque > REST:
            raise ValueError(f"{name} must be relaxed to a torque of at most {REST:g} J, got {torque:.2g} J; use "
                             f"lbfgs_refine(H, {name})")
    if float(_norm(_log(ends[:1], ends[1:]))) < APART:
        raise ValueError(f"end must differ from start, got two states less than {APART:g} rad apart")
    visited = ends[:0] if path is None else _states(H, path, start)
    return _relaxed(H, _resampled(torch.cat((ends[:1], visited, ends[1:])), images), tolerance, max_steps, report)


def _state(H: EnergyModel, spins: Any, name: str, like: Tensor | None = None) -> Tensor:
    """Return one state (3, Ny, Nx) in float64, of unit length, zero on non-magnetic sites."""
    check_spins(spins, name, unit=True, magnetic=H.mask)
    if spins.ndim != 3 or like is not None and spins.shape != like.shape:
        raise ValueError(f"{name} must have shape {(3, 'Ny', 'Nx') if like is None else tuple(like.shape)}, as start "
                         f"has, got {tuple(spins.shape)}")
    H.sites(spins.shape[-2:])  # raises where H cannot live on this shape
    return _unit(H, spins)


def _states(H: EnergyModel, path: Any, like: Tensor) -> Tensor:
    check_spins(path, "path", unit=True, magnetic=H.mask)
    if path.ndim != 4 or path.shape[1:] != like.shape or not len(path):
        raise ValueError(f"path must have shape (n, {', '.join(map(str, like.shape))}), as start has, got "
                         f"{tuple(path.shape)}")
    return _unit(H, path).to(like.device)


def _unit(H: EnergyModel, spins: Tensor) -> Tensor:
    spins = spins.detach().double()
    return normalize(spins if H.mask is None else spins * torch.from_numpy(H.mask.copy()).to(spins.device), dim=-3)


def _slopes(H: EnergyModel, spins: Tensor) -> tuple[Tensor, Tensor]:
    """Return energies (n,) and gradients dE/dS of states (n, 3, Ny, Nx): all that is asked of H."""
    with torch.enable_grad():
        leaf = spins.detach().requires_grad_()
        energies = H.energy(leaf, check=False)
        (gradient,) = torch.autograd.grad(energies.sum(), leaf)
    return energies.detach(), gradient


def _along(fields: Tensor, spins: Tensor) -> Tensor:
    """Return ``fields`` without their parts along the spins."""
    return fields - (fields * spins).sum(1, keepdim=True) * spins


def _norm(fields: Tensor) -> Tensor:
    """Return the length (n, 1, 1, 1) of fields (n, 3, Ny, Nx), over all spins."""
    return torch.linalg.vector_norm(fields, dim=(1, 2, 3), keepdim=True)


def _log(start: Tensor, end: Tensor) -> Tensor:
    """Return the rotation of every spin from ``start`` to ``end`` by the shorter way: its tangent at start, rad long.

    Opposite spins, for which all ways are equal, turn by the fixed frame of the start.
    """
    across = _along(end, start)
    sine, cosine = torch.linalg.vector_norm(across, dim=1, keepdim=True), (start * end).sum(1, keepdim=True)
    opposite, across = (sine < 1e-9) & (cosine < 0), across / sine.clamp_min(1e-300)
    if opposite.any():
        across = torch.where(opposite, tangent_frame(start)[0], across)
    return torch.atan2(sine, cosine) * across


def _exp(start: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Return the spins turned along tangents ``turn`` (rad), and the directions these have there, zero where no turn.

    The inverse of :func:`_log`.
    """
    angle = torch.linalg.vector_norm(turn, dim=1, keepdim=True)
    way = turn / angle.clamp_min(1e-300)
    return normalize(angle.cos() * start + angle.sin() * way, dim=1), angle.cos() * way - angle.sin() * start


def _resampled(states: Tensor, images: int) -> Tensor:
    """Return ``images`` states equally spaced along the geodesics through ``states``; the ends stay as they are."""
    turns = _log(states[:-1], states[1:])
    lengths = _norm(turns).flatten()
    passed = torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
    wanted = torch.linspace(0, 1, images, dtype=passed.dtype, device=passed.device)[1:-1] * passed[-1]
    leg = (torch.searchsorted(passed, wanted, right=True) - 1).clamp(0, len(lengths) - 1)
    share = (wanted - passed[leg]) / lengths[leg].clamp_min(1e-300)
    return torch.cat((states[:1], _exp(states[leg], share[:, None, None, None] * turns[leg])[0], states[-1:]))


def _tangents(energies: Tensor, ahead: Tensor, behind: Tensor) -> Tensor:
    """Return unit tangents at inner images, from the rotations ahead and behind: the one to the higher neighbour.

    At an extremum both count, by the larger and the smaller energy difference.
    """
    rise, fall = energies[2:] - energies[1:-1], energies[:-2] - energies[1:-1]
    most, least = torch.maximum(rise.abs(), fall.abs()), torch.minimum(rise.abs(), fall.abs())
    level = (most == 0).to(most)  # a band of one energy
    forward, backward = torch.where(rise > fall, most, least) + level, torch.where(rise > fall, least, most) + level
    forward = torch.where((rise > 0) & (fall < 0), 1.0, torch.where((rise < 0) & (fall > 0), 0.0, forward))
    backward = torch.where((rise > 0) & (fall < 0), 0.0, torch.where((rise < 0) & (fall > 0), 1.0, backward))
    tangents = forward[:, None, None, None] * ahead + backward[:, None, None, None] * behind
    return tangents / _norm(tangents).clamp_min(1e-300)


class _Band(NamedTuple):
    """Forces on the inner images, and what they are made of."""

    energies: Tensor  # (images,)
    slopes: Tensor  # dE/dS of the inner images
    lengths: Tensor  # (images - 1,), geodesic distances of neighbours
    force: Tensor  # of the inner images
    torque: float  # largest gradient of a spin that should vanish
    largest: float  # the same, or a spring's force


def _band(H: EnergyModel, S: Tensor, spring: float, climber: int | None) -> _Band:
    energies, slopes = _slopes(H, S)
    ahead, behind, slopes = _log(S[:-1], S[1:]), -_log(S[1:], S[:-1]), slopes[1:-1]
    lengths = _norm(ahead)
    tangents = _tangents(energies, ahead[1:], behind[:-1])
    gradient = _along(slopes, S[1:-1])
    climbing = (gradient * tangents).sum((1, 2, 3), keepdim=True)
    across = gradient - climbing * tangents
    pull, left = spring * (lengths[1:] - lengths[:-1]), across.clone()
    if climber is not None and 0 < climber < len(S) - 1:
        pull[climber - 1], left[climber - 1] = climbing[climber - 1], gradient[climber - 1]
    torque = _largest(left)
    return _Band(energies, slopes, lengths.flatten(), pull * tangents - across, torque,
                 max(torque, _largest(pull * tangents)))


def _relaxed(H: EnergyModel, S: Tensor, tolerance: float, max_steps: int,
             report: Callable[[str], None] | None) -> MinimumEnergyPath:
    # The scale of the energy: the field of a spin. It sets the springs and, with the largest curvature met, the step.
    stiffness = spring = _largest(_slopes(H, S)[1])
    velocity, climber = torch.zeros_like(S[1:-1]), None
    last: tuple[Tensor, Tensor] | None = None
    for step in range(max_steps + 1):
        band = _band(H, S, spring, climber)
        top = int(band.energies.argmax())
        converged = climber == top and band.largest <= tolerance
        if report is not None and (step % EVERY == 0 or converged):
            report(f"step {step}: barrier {float(band.energies[top] - band.energies[0]):.6f} J at image {top} of "
                   f"{len(S)}, largest force {band.largest:.1e} J")
        if converged or step == max_steps:
            break
        if climber != top and band.largest <= (CLIMB if climber is None else 1) * tolerance:
            climber = top
            velocity.zero_()
            continue
        if last is not None:
            moved = (S[1:-1] - last[0]).norm().clamp_min(1e-300)
            stiffness = max(stiffness, float((band.slopes - last[1]).norm() / moved))
        last, dt = (S[1:-1], band.slopes), (stiffness + spring) ** -0.5
        # Every image by itself, and along its force alone: a band's forces have no potential, and more momentum (FIRE)
        # makes soft modes swing up.
        power = (band.force * velocity).sum((1, 2, 3), keepdim=True)
        velocity = (power.clamp_min(0) / _norm(band.force).square().clamp_min(1e-300) + dt) * band.force
        velocity = velocity * min(1.0, TURN / max(dt * _largest(velocity), 1e-300))
        inner, way = _exp(S[1:-1], dt * velocity)
        velocity = torch.linalg.vector_norm(velocity, dim=1, keepdim=True) * way
        S = torch.cat((S[:1], inner, S[-1:]))
    distances = torch.cat((band.lengths.new_zeros(1), band.lengths.cumsum(0)))
    return MinimumEnergyPath(S, band.energies, distances, band.torque, converged, top)


def _largest(fields: Tensor) -> float:
    """Return the longest vector of fields (n, 3, Ny, Nx)."""
    return float(torch.linalg.vector_norm(fields, dim=1).max())

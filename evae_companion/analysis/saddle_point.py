r"""The saddle point between two states of different topological charge, and the steepest descents from it.

A band of states (:func:`minimum_energy_path`) converges slowly where a whole lattice glides while a skyrmion vanishes.
Here one state is moved. On the straight turn from start to end, bisection finds the state from which a steepest descent
just keeps the charge: it lies on the border of two basins, and the lowest point of that border is the saddle. It is
reached by Newton steps on the landscape with the lowest mode v (eigenvalue lambda < 0) turned over,

.. math:: (A - 2\lambda\,v v^T + \mu)\,x = -(g - 2\,(v\cdot g)\,v),

with the damping mu raised until the matrix is positive and the step within a trust radius (J. J. More and D. C.
Sorensen, SIAM J. Sci. Stat. Comput. 4, 553 (1983); following the lowest mode: G. Henkelman and H. Jonsson, J. Chem.
Phys. 111, 7010 (1999)). The matrix is sparse and factorised. The descents from the saddle along both
senses of v are the minimum-energy path, and their ends are the states that the saddle connects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, SuperLU, eigsh
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.analysis.descent import charge
from evae_companion.analysis.lowest_modes import SOFT, Hessian, LowestModes, factorised, lowest_modes, negative_pivots
from evae_companion.analysis.minimum_energy_path import MOST, _exp, _log, _resampled, _state
from evae_core.bonds import bond_matrix
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian
from evae_core.validation import check_count, check_is

STEP = 1.2  # of a descent, in units of 1/largest curvature, below 2
FATE = 300  # steps after which a descent counts as having kept its charge
NEAR = 0.05  # rad over all spins: the bisection ends
APART = 0.3  # rad: two descents that part so far are close to the border no more
RADIUS, TURN = 30.0, 0.2  # rad: longest step over all spins, and of a single one
REST = 1e-6  # J: torque at the saddle
STEPS = 300  # Newton steps
AWAY = 0.05  # rad along the mode where the descents begin
DOWN, LEVEL = 20_000, 2e-4  # most steps of a descent and the torque (J) at which it ends
EVERY = 0.3  # rad between the states of a descent that are kept


@dataclass(frozen=True, eq=False)
class SaddlePoint:
    """A saddle of first order and what it connects.

    Attributes
    ----------
    path : (images, 3, Ny, Nx) float64, from the descent's end of the start's charge over the saddle to the other.
    ends : (2, 3, Ny, Nx), the states at rest below the path's two ends. Newton steps lead there, not along a path: a
        lattice may glide far for little energy.
    energies : (images,) total energies, J.
    distances : (images,) geodesic distance along the path, rad.
    saddle : index of the saddle.
    modes : the lowest modes at the saddle, one negative.
    torque : at the saddle, J.
    """

    path: Tensor
    ends: Tensor
    energies: Tensor
    distances: Tensor
    saddle: int
    modes: LowestModes
    torque: float


def saddle_point(H: Hamiltonian, start: Tensor, end: Tensor, images: int = 41, k: int = 4,
                 report: Callable[[str], None] | None = None) -> SaddlePoint:
    """Return a saddle between the basins of two states of different charge, with the minimum-energy path through it.

    The saddle is proved to be one: one negative mode, and descents along both its senses to states of the two charges.
    These may differ from start and end where textures can glide: compare their energies. There may be lower saddles.

    Parameters
    ----------
    start, end : (3, Ny, Nx), unit spins.
    images : states of the path, the ends and the saddle included; 5 to 1000.
    k : number of lowest modes at the saddle, at least 2.
    report : called with a line of progress.

    Raises
    ------
    TypeError, ValueError
        states that are not unit spins, or of one charge; numbers out of range; H has a term that is not bilinear.
    RuntimeError
        no saddle of first order between states of the two charges is found.
    """
    check_hamiltonian(H)
    if H.unknown:
        names = ", ".join(type(term).__name__ for term in H.unknown)
        raise ValueError(f"H must have bilinear terms only, got {names}; minimum_energy_path takes any")
    start, end = (state.cpu() for state in (_state(H, start, "start"), _state(H, end, "end", like=start)))
    check_count("images", images, 5, MOST)
    check_is("report", report, Callable, type(None))
    check_count("k", k, 2, 2 * H.sites(start.shape[-2:]))
    charges = round(charge(H, start)), round(charge(H, end))
    if charges[0] == charges[1]:
        raise ValueError(f"end must have another charge than start, got {charges[0]} twice")
    spins = _climbed(H, _border(H, start, end, charges[1]), report or (lambda line: None))
    modes = lowest_modes(H, spins, k)
    if modes.negative() != 1:
        raise RuntimeError(f"the point found has {modes.negative()} negative modes, not 1: "
                           f"{modes.eigenvalues.tolist()}")
    ways = [_descent(H, spins, sense * modes.vectors[0]) for sense in (1, -1)]
    ways.sort(key=lambda way: round(charge(H, way[-1])) != charges[0])
    ends = [at_rest(H, way[-1]) for way in ways]
    found = tuple(round(charge(H, spins)) for spins in ends)
    if found != charges:
        raise RuntimeError(f"the descents from the saddle end at the charges {found}, not {charges}")
    path, top = _joined(spins, ways, images)
    distances = torch.cat((path.new_zeros(1), _log(path[:-1], path[1:]).square().sum((1, 2, 3)).sqrt().cumsum(0)))
    return SaddlePoint(path, torch.stack(ends), H.energy(path), distances, top, modes, float(H.torque(spins).max()))


def _joined(saddle: Tensor, ways: list[Tensor], images: int) -> tuple[Tensor, int]:
    """Return ``images`` states, equally spaced on either side of the saddle, and the saddle's index."""
    down, on = (torch.cat((saddle[None], way)) for way in ways)
    lengths = [float(_log(way[:-1], way[1:]).square().sum((1, 2, 3)).sqrt().sum()) for way in (down, on)]
    top = min(max(2, round((images - 1) * lengths[0] / sum(lengths))), images - 3)
    return torch.cat((_resampled(down, top + 1).flip(0)[:-1], _resampled(on, images - top))), top


def _turned(spins: Tensor, turn: Tensor) -> Tensor:
    return _exp(spins[None], turn[None])[0][0]


def _curvature(H: Hamiltonian) -> float:
    """Return a bound of the Hessian's largest eigenvalue: of all couplings, and of the field that S.h can reach."""
    bonds, vector, matrix = H.couplings
    coupled = sum(np.linalg.norm(bond_matrix(bond), 2) for bond in bonds) + np.linalg.norm(matrix, 2)
    return float(4 * coupled + np.linalg.norm(vector)) or 1.0


def _downhill(H: Hamiltonian, spins: Tensor, steps: int) -> Tensor:
    """Return the state after so many steps of steepest descent."""
    step = STEP / _curvature(H)
    for _ in range(steps):
        field = H.field(spins)
        spins = normalize(spins + step * (field - (field * spins).sum(0) * spins), dim=0)
    return spins


def _border(H: Hamiltonian, start: Tensor, end: Tensor, target: int) -> Tensor:
    """Return a state near the border of the basins, between two descents from both sides of it that begin to part."""
    def arrives(spins: Tensor) -> bool:
        for _ in range(FATE // 25):
            spins = _downhill(H, spins, 25)
            if round(charge(H, spins)) == target:
                return True
        return False

    turn, low, high = _log(start[None], end[None])[0], 0.0, 1.0
    length = float(turn.norm())
    while (high - low) * length > NEAR:
        middle = (low + high) / 2
        low, high = (low, middle) if arrives(_turned(start, middle * turn)) else (middle, high)
    a, b = _turned(start, low * turn), _turned(start, high * turn)
    for _ in range(20):
        a, b = _downhill(H, a, 10), _downhill(H, b, 10)
        if float((between := _log(a[None], b[None])[0]).norm()) > APART:
            break
    return _turned(a, between / 2)


def _climbed(H: Hamiltonian, spins: Tensor, report: Callable[[str], None]) -> Tensor:
    """Return the saddle that Newton steps lead to, up along the lowest mode and down along all others."""
    mode, damping = None, 0.0
    for step in range(STEPS):
        hessian, row, torque = _second_order(H, spins)
        if step % 10 == 0:
            report(f"saddle, step {step}: {float(H.energy(spins)):.6f} J, torque {torque:.1e} J")
        if torque < REST:
            return spins
        begin = np.random.default_rng(0).normal(size=row.size) if mode is None else hessian.row(mode)
        values, vectors = eigsh(LinearOperator((row.size, row.size), hessian.times, dtype=np.float64), 1, which="SA",
                                v0=begin, tol=1e-3)
        turn, damping = _newton(hessian, row, damping / 16, float(values[0]), vectors[:, 0])
        spins, mode = _turned(spins, turn), hessian.field(vectors[:, 0])
    raise RuntimeError(f"no saddle within {STEPS} steps, the torque is {torque:.1e} J")


def at_rest(H: Hamiltonian, spins: Tensor) -> Tensor:
    """Return the state at rest that Newton steps lead down to, of a Hamiltonian whose terms are all bilinear.

    That is a minimum, unless the state is at rest already. Where a lattice glides far for little energy, L-BFGS takes
    thousands of steps, and these take tens.
    """
    damping, energy = 0.0, float(H.energy(spins))
    for _ in range(STEPS):
        hessian, row, torque = _second_order(H, spins)
        if torque < REST:
            return spins
        turn, damping = _newton(hessian, row, damping / 16)
        lower = _turned(spins, turn)
        if (found := float(H.energy(lower))) <= energy + SOFT:
            spins, energy = lower, found
        else:
            damping = 64 * max(damping, SOFT)
    raise RuntimeError(f"no state at rest within {STEPS} steps, the torque is {torque:.1e} J")


def _second_order(H: Hamiltonian, spins: Tensor) -> tuple[Hessian, np.ndarray, float]:
    """Return the Hessian, the gradient in its tangent frames, and the largest torque."""
    hessian = Hessian(H, spins)
    row = hessian.row(-H.field(spins))
    return hessian, row, float(np.linalg.norm(row.reshape(2, -1), axis=0).max())


def _newton(hessian: Hessian, slope: np.ndarray, damping: float, value: float = 0.0,
            v: np.ndarray | None = None) -> tuple[Tensor, float]:
    """Return Newton's turn of the spins, and the damping, raised from the given one until the turn is within RADIUS.

    It leads down, but up along the mode ``v`` of eigenvalue ``value`` where there is one.
    """
    matrix, up = hessian.matrix(), 0.0 if v is None else float(v @ slope)
    while True:
        try:
            factors: SuperLU | None = factorised(matrix, -damping)
        except RuntimeError:  # singular
            factors = None
        if factors and negative_pivots(factors) <= (value < -damping):
            x = -factors.solve(slope if v is None else slope - up * v)
            if v is not None:
                x += (up / (abs(value) + damping) - v @ x) * v
            if np.linalg.norm(x) <= RADIUS:
                turn = hessian.field(x)
                return turn * min(1.0, TURN / float(turn.norm(dim=0).max())), damping
        damping = max(4 * damping, SOFT)


def _descent(H: Hamiltonian, saddle: Tensor, mode: Tensor) -> Tensor:
    """Return states down from the saddle, the last nearly at rest."""
    spins = _turned(saddle, AWAY * mode)
    kept = [spins]
    for _ in range(DOWN // 10):
        spins = _downhill(H, spins, 10)
        if float(_log(kept[-1][None], spins[None]).norm()) > EVERY:
            kept.append(spins)
        if float(H.torque(spins).max()) < LEVEL:
            return torch.stack([*kept, spins])
    raise RuntimeError(f"the descent from the saddle is not at rest after {DOWN} steps")

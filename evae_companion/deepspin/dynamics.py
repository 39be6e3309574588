r"""Atoms and moments moving together, with any potential of this package.

.. math::
    \dot R = v, \quad m\dot v = F, \quad \dot S = -\gamma\, S\times F^\mathrm{mag}, \quad \gamma = g/\hbar

(S in mu_B, F_mag in eV/mu_B, g = 2). One step is the symmetric splitting v/2, R/2, S, R/2, v/2: leapfrog for the atoms,
and for the moments, at fixed atoms, the spherical midpoint rule (McLachlan, Modin, Verdier, Phys. Rev. E 89, 061301,
2014): every moment is rotated exactly about the field of the configuration half way,

.. math::
    S' = S - \gamma\,\Delta t\,\tfrac{1}{2}(S + S')\times F^\mathrm{mag}(\bar S),
    \qquad \bar S = |S|\,(S + S')/|S + S'|.

It keeps all lengths, is reversible and symplectic on the product of spheres for any energy; the usual sequence of
rotations of single spins is so only where the energy is linear in each, which a network's is not. The implicit equation
is solved by iteration. The thermostat is Langevin's: for the atoms the exact Ornstein-Uhlenbeck step before and after;
for the moments damping and noise in the same midpoint rotation (stochastic Landau-Lifshitz-Gilbert equation).
Units: angstrom, eV, ps, g/mol, K.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.neighbours import Neighbours
from evae_companion.deepspin.potential import Potential, derive, neighbours_of
from evae_core.validation import check_array, check_count, check_flag, check_is, check_number, check_numbers

BOLTZMANN = 8.617333262e-5  # eV/K (CODATA 2018)
HBAR = 6.582119569e-4  # eV ps
GYRO = 2.0 / HBAR  # 1/(ps eV/mu_B): gamma = g/hbar with g = 2
MASS = 1.0364269656e-4  # eV ps^2/angstrom^2 of 1 g/mol
ITERATIONS = 50


@dataclass(frozen=True)
class Thermostat:
    """Langevin's: ``temperature`` (K), friction of the atoms (1/ps), Gilbert damping of the moments."""

    temperature: float
    friction: float = 1.0
    damping: float = 0.1

    def __post_init__(self) -> None:
        for name in ("temperature", "friction", "damping"):
            check_number(name, getattr(self, name), equal=True)


@dataclass(frozen=True, eq=False)
class State:
    """One moving configuration: (N, 3) positions, velocities (angstrom/ps), spins; (N,) masses (g/mol); cell (3, 3)."""

    frames: Frames
    velocities: Tensor
    masses: Tensor

    def __post_init__(self) -> None:
        check_is("frames", self.frames, Frames)
        if len(self.frames) != 1:
            raise ValueError(f"frames must hold one configuration, got {len(self.frames)}; take frames[k:k+1]")
        for name, shape in (("velocities", (self.frames.atoms, 3)), ("masses", (self.frames.atoms,))):
            object.__setattr__(self, name, torch.as_tensor(check_array(name, getattr(self, name), shape)))
        if not bool((self.masses > 0).all()):
            raise ValueError("masses must be positive")

    @property
    def kinetic(self) -> float:
        """Kinetic energy, eV."""
        return float(0.5 * MASS * (self.masses[:, None] * self.velocities.square()).sum())

    @property
    def temperature(self) -> float:
        """Of the atoms, K, from the kinetic energy of 3 N - 3 degrees of freedom."""
        return 2.0 * self.kinetic / (BOLTZMANN * max(3 * self.frames.atoms - 3, 1))


def at_rest(frames: Frames, masses: Sequence[float]) -> State:
    """A configuration at rest; ``masses`` (g/mol) one a type."""
    check_is("frames", frames, Frames)
    of_types = check_numbers("masses", masses, count=len(frames.names))
    of_atoms = torch.tensor(of_types, dtype=torch.float64)[frames.types]
    return State(frames, torch.zeros(frames.atoms, 3), of_atoms)


def heated(state: State, temperature: float, generator: torch.Generator) -> State:
    """The same with velocities of Maxwell's distribution, without drift of the whole."""
    check_is("state", state, State)
    check_number("temperature", temperature, equal=True)
    check_is("generator", generator, torch.Generator)
    spread = (BOLTZMANN * temperature / (MASS * state.masses)).sqrt()[:, None]
    velocities = spread * torch.randn(state.velocities.shape, generator=generator, dtype=torch.float64)
    drift = (state.masses[:, None] * velocities).sum(0) / state.masses.sum()
    return replace(state, velocities=velocities - drift)


class Integrator:
    """Steps of ``dt`` (ps) from ``state``. ``energy`` is the potential energy, ``state`` the present state.

    Parameters
    ----------
    lattice, spins : which of the two move. Both may not rest.
    thermostat, generator : Langevin's, with its random numbers; None keeps the energy.
    skin : angstrom; a new search for neighbours when an atom has moved by half of it.
    tolerance : the midpoint rotation is iterated until no moment changes by more than this part of its length.

    Raises
    ------
    ValueError
        zero moments on magnetic atoms (they have no direction to turn); what :func:`find_neighbours` refuses.
    RuntimeError
        the midpoint rotation does not converge (dt too long), or a number is not finite.
    """

    def __init__(self, potential: Potential, state: State, dt: float, *, lattice: bool = True, spins: bool = True,
                 thermostat: Thermostat | None = None, generator: torch.Generator | None = None, skin: float = 0.6,
                 tolerance: float = 1e-11):
        check_is("state", state, State)
        check_is("thermostat", thermostat, Thermostat, type(None))
        check_is("generator", generator, torch.Generator, type(None))
        check_number("dt", dt, -inf)
        check_number("skin", skin, equal=True)
        check_number("tolerance", tolerance)
        lattice, spins = check_flag("lattice", lattice), check_flag("spins", spins)
        if dt == 0 or not (lattice or spins):
            raise ValueError(f"dt must be finite and not zero (got {dt!r}), and lattice or spins must move")
        if thermostat is not None and generator is None:
            raise ValueError("a thermostat needs a generator of random numbers: torch.Generator().manual_seed(seed)")
        self.potential, self.state, self.dt = potential, state, dt
        self.lattice, self.spins, self.thermostat, self.generator = lattice, spins, thermostat, generator
        self.skin, self.tolerance = skin, tolerance
        frames = state.frames
        lengths = frames.spins[0].norm(dim=-1)
        kinds = frames.types[lengths > 0].unique()
        self.magnetic = torch.isin(frames.types, kinds)
        if spins and bool((lengths[self.magnetic] == 0).any()):
            zero = int(((lengths == 0) & self.magnetic).nonzero()[0])
            raise ValueError(f"spins must not be zero on atoms of a magnetic type: atom {zero} has no moment to turn")
        if spins and not bool(self.magnetic.any()):
            raise ValueError("spins are all zero, so none can turn; use spins=False to move the atoms alone")
        self.neighbours = self._search(frames)
        self.energy, self.forces, self.fields = self._derive(frames.positions, frames.spins)

    @property
    def total(self) -> float:
        """Potential and kinetic energy, eV: what is conserved without a thermostat."""
        return self.energy + self.state.kinetic

    def run(self, steps: int, record: Callable[[Integrator, int], None] | None = None) -> State:
        """Take steps; ``record(self, number)`` is called after each, number from 1."""
        check_is("record", record, Callable, type(None))
        for number in range(1, check_count("steps", steps) + 1):
            self.step()
            if record:
                record(self, number)
        return self.state

    def step(self) -> None:
        """One step of dt."""
        frames, velocities, dt = self.state.frames, self.state.velocities, self.dt
        positions, spins = frames.positions, frames.spins
        mass = MASS * self.state.masses[:, None]
        if self.lattice:
            velocities = self._thermal(velocities, 0.5 * dt) + 0.5 * dt * self.forces / mass
            positions = positions + 0.5 * dt * velocities
        if self.spins:
            spins = self._turn(positions, spins)
        if self.lattice:
            positions = positions + 0.5 * dt * velocities
        frames = replace(frames, positions=positions, spins=spins, energies=None, forces=None, force_mags=None,
                         virials=None)
        self.energy, self.forces, self.fields = self._derive(positions, spins)
        if self.lattice:
            velocities = self._thermal(velocities + 0.5 * dt * self.forces / mass, 0.5 * dt)
        self.state = replace(self.state, frames=frames, velocities=velocities)

    def _search(self, frames: Frames) -> Neighbours:
        found = neighbours_of(self.potential, frames, self.skin)
        parameters = getattr(self.potential, "parameters", None)
        self.dtype = next(parameters()).dtype if parameters else torch.float64
        self.device = next(parameters()).device if parameters else torch.device("cpu")
        return found.to(self.device, self.dtype)

    def _derive(self, positions: Tensor, spins: Tensor) -> tuple[float, Tensor, Tensor]:
        """(energy, forces (N, 3), F_mag (N, 3)) in float64 on the CPU; looks for neighbours when needed."""
        cells = self.state.frames.cells
        if not self.neighbours.covers(positions, cells):
            self.neighbours = self._search(replace(self.state.frames, positions=positions, spins=spins))
        R, S, cells = (x.to(self.device, self.dtype) for x in (positions, spins, cells))
        found = derive(self.potential, R, S, cells, self.neighbours)
        energy = float(found.energies)
        forces, fields = (x[0].cpu().double() for x in (found.forces, found.force_mags))
        if not (isfinite(energy) and bool(torch.isfinite(forces).all() & torch.isfinite(fields).all())):
            raise RuntimeError("the motion diverged: energy or forces are not finite; shorten dt")
        return energy, forces, fields

    def _turn(self, positions: Tensor, spins: Tensor) -> Tensor:
        """The midpoint rotation, (1, N, 3) -> (1, N, 3)."""
        mine = spins[0, self.magnetic]
        lengths = mine.norm(dim=-1, keepdim=True)
        rate, damping, noise = GYRO * self.dt, 0.0, torch.zeros_like(mine)
        if self.thermostat is not None and self.thermostat.damping:
            damping = self.thermostat.damping
            # Fluctuation and dissipation: <b b> = 2 alpha k T / (gamma |S|) delta(t); b is constant during a step.
            spread = (2.0 * damping * BOLTZMANN * self.thermostat.temperature / (GYRO * abs(self.dt) * lengths)).sqrt()
            noise = spread * torch.randn(mine.shape, generator=self.generator, dtype=torch.float64)
        new, fields = mine, self.fields[self.magnetic]
        for _ in range(ITERATIONS):
            field = fields + noise
            middle = torch.nn.functional.normalize(mine + new, dim=-1)
            # Landau and Lifshitz' form of Gilbert's damping: a moment turns about this instead of the field.
            axis = (field + damping * torch.linalg.cross(middle, field)) / (1.0 + damping**2)
            turned = rotate(mine, rate * axis)
            change = float(((turned - new) / lengths).abs().max())
            new = turned
            if change <= self.tolerance:
                whole = spins.clone()
                whole[0, self.magnetic] = new
                return whole
            whole = spins.clone()
            whole[0, self.magnetic] = lengths * torch.nn.functional.normalize(mine + new, dim=-1)
            fields = self._derive(positions, whole)[2][self.magnetic]
        raise RuntimeError(f"the rotation of the moments did not converge in {ITERATIONS} iterations, the last change "
                           f"was {change:.1e} of a moment; shorten dt (now {self.dt:g} ps)")

    def _thermal(self, velocities: Tensor, dt: float) -> Tensor:
        """Friction and noise of the atoms, exact for free ones."""
        if self.thermostat is None or not self.thermostat.friction:
            return velocities
        kept = torch.exp(torch.tensor(-self.thermostat.friction * abs(dt), dtype=torch.float64))
        spread = (BOLTZMANN * self.thermostat.temperature / (MASS * self.state.masses)).sqrt()[:, None]
        random = torch.randn(velocities.shape, generator=self.generator, dtype=torch.float64)
        return kept * velocities + (1.0 - kept.square()).sqrt() * spread * random


def rotate(vectors: Tensor, turns: Tensor) -> Tensor:
    r"""S' with :math:`S' - S = -\tfrac12 (S + S')\times w`: the rotation of S about w by 2 atan(|w|/2), exactly.

    Cayley's form; ``vectors`` and ``turns`` w are (N, 3). Lengths are kept to rounding.
    """
    half = 0.5 * turns
    first = vectors - torch.linalg.cross(vectors, half)
    along = (vectors * half).sum(-1, keepdim=True)
    square = half.square().sum(-1, keepdim=True)
    # (1 + [h x])^-1 (1 - ...) written out: S' = [(1 - h^2) S + 2 (h.S) h - 2 S x h] / (1 + h^2).
    return ((1.0 - square) * vectors + 2.0 * along * half + 2.0 * (first - vectors)) / (1.0 + square)

"""Certificate of one spin state: its energy, whether it is a minimum, and how far it lies above the best known state.

The state is relaxed, the lowest modes of the energy's Hessian say what kind of stationary state it is, and an
independent search in the same box (:mod:`~evae_companion.analysis.ground_state_search`) says what else is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from evae_companion.analysis.descent import at_rest, charge, energies
from evae_companion.analysis.ground_state_search import ALIKE, GroundStateCandidates, Search, ground_state_candidates
from evae_companion.analysis.lowest_modes import REST, LowestModes, lowest_modes
from evae_core.annealing import Schedule, lbfgs_refine, replicas_from
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian, check_spins
from evae_core.validation import check_count, check_flag, check_is, check_seed

# J: an eigenvalue within counts as flat. A lattice pins a gliding texture by less, on either side of zero.
FLAT = 1e-5
SCALE = (0.1, 10.0)  # of the largest coupling: tolerances are absolute, in the unit of the couplings
SEED = 1000  # far from those of the data sets, which begin at 0


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is known about one state. Energies are in J, the unit of the couplings.

    Attributes
    ----------
    state, relaxed : (3, Ny, Nx) float64, as given and after the relaxation; zero on non-magnetic sites.
    energy, relaxed_energy : E/N of both.
    charge, relaxed_charge : topological charges.
    torque, relaxed_torque : largest |S x h|.
    moved : chord per spin between both, (1/N sum |S - S'|^2)^(1/2), 0 ... 2.
    modes : the lowest modes of the relaxed state.
    candidates : what the search found in the same box.
    """

    H: Hamiltonian
    state: Tensor
    relaxed: Tensor
    energy: float
    relaxed_energy: float
    charge: float
    relaxed_charge: float
    torque: float
    relaxed_torque: float
    moved: float
    modes: LowestModes
    candidates: GroundStateCandidates

    @property
    def sites(self) -> int:
        """Number of magnetic sites, N."""
        return self.H.sites(self.state.shape[-2:])

    @property
    def was_relaxed(self) -> bool:
        """Whether the largest torque of the state as given is at most 1e-4 J."""
        return self.torque <= REST

    @property
    def kind(self) -> str:
        """``"saddle"`` where a mode goes down, ``"soft"`` where one is flat to within 1e-5 J, else ``"minimum"``."""
        return "saddle" if self.modes.negative(FLAT) else "soft" if self.modes.soft(FLAT) else "minimum"

    @property
    def gap(self) -> float:
        """E/N of the state as given above the best candidate; negative where it is lower."""
        return self.energy - self.candidates.best.energy

    @property
    def relaxed_gap(self) -> float:
        """The same of the relaxed state."""
        return self.relaxed_energy - self.candidates.best.energy

    @property
    def verdict(self) -> str:
        """One sentence; energies within 2e-7 J per spin count as equal."""
        best, k, down = self.candidates.best, len(self.modes.eigenvalues), self.modes.negative(FLAT)
        lower = f"a state {self.relaxed_gap:.2g} J per spin lower is known ({best.kind}: {best.description})"
        if down:
            known = lower if self.relaxed_gap > ALIKE else "no lower state was found"
            said = f"not stable: {down} of its {k} lowest modes go{'es' * (down == 1)} down, and {known}"
        elif self.relaxed_gap > ALIKE:
            said = f"metastable: {lower}"
        elif self.relaxed_gap >= -ALIKE:
            said = "lower than or equal to every state that we found; that is no proof"
        else:
            said = f"lower than every state that we found, by {-self.relaxed_gap:.2g} J per spin; that is no proof"
        return said if self.was_relaxed else f"relaxed, it is {said}"


def certificate_search(H: Hamiltonian, quick: bool = False, seed: int = SEED) -> Search:
    """Return the search of :func:`certificate`, some minutes at 64 x 64 on two cores, or of seconds with ``quick``.

    Annealings begin at the temperature of the largest coupling.
    """
    check_hamiltonian(H)
    quick, seed, scale = check_flag("quick", quick), check_seed(seed), H.largest_coupling
    schedule = Schedule(T_start=scale, T_end=0.01 * scale, sweeps=300 if quick else 1000)
    return (Search(32, schedule, rounds=1, kicks=16, keep=2, seed=seed) if quick
            else Search(1024, schedule, rounds=60, kicks=128, keep=4, seed=seed))


def certificate(H: Hamiltonian, state: Tensor, search: Search | None = None, modes: int = 4, device: str = "auto",
                report: Callable[[str], None] | None = None) -> Certificate:
    """Measure a state, relax it, and compare it with an independent search in the same box.

    A state with a torque of at most 1e-4 J is only polished by L-BFGS; another one descends to a minimum first. The
    search begins from states of its own, never from the one given.

    Parameters
    ----------
    H : couplings in a unit in which the largest is between 0.1 and 10, as with J = 1; periodic axes need even lengths.
    state : (3, Ny, Nx), unit vectors; values on non-magnetic sites are ignored.
    search : length of the search (default: :func:`certificate_search`, some minutes at 64 x 64).
    modes : number of lowest modes.
    report : called with a line after each part.

    Returns
    -------
    Certificate

    Raises
    ------
    TypeError, ValueError
        a state that is not one configuration of unit vectors, a box in which H cannot be annealed, other couplings.
    RuntimeError
        a state that does not relax, or modes that do not converge.

    Examples
    --------
    >>> H = Hamiltonian(D=0.0, B=0.5)
    >>> up = torch.zeros(3, 8, 8); up[2] = 1.0
    >>> found = certificate(H, up, certificate_search(H, quick=True))
    >>> found.kind, found.verdict
    ('minimum', 'lower than or equal to every state that we found; that is no proof')
    """
    check_hamiltonian(H)
    check_spins(state, "state", unit=True, magnetic=None if H.mask is None else H.mask.copy())
    if state.ndim != 3:
        raise ValueError(f"state must be one configuration (3, Ny, Nx), got shape {tuple(state.shape)}")
    check_is("search", search, Search, type(None))
    if not SCALE[0] <= H.largest_coupling <= SCALE[1]:
        raise ValueError(f"H must have a largest coupling between {SCALE[0]:g} and {SCALE[1]:g}, since tolerances are "
                         f"absolute, got {H.largest_coupling:.3g}; divide its couplings by their largest")
    check_count("modes", modes, 1, 2 * H.sites(state.shape[-2:]))

    def say(line: str) -> None:
        if report is not None:
            report(line)

    magnetic = torch.ones(state.shape[-2:]) if H.mask is None else torch.from_numpy(H.mask.copy())
    given = normalize(state.detach().cpu().double() * magnetic, dim=0)
    replicas_from(H, given[None].float(), device=device)  # refuses at once what cannot be annealed here
    torque = float(H.torque(given).max())
    relaxed, left = lbfgs_refine(H, given) if torque <= REST else at_rest(H, given, device)
    if left > REST:
        raise RuntimeError(f"the state did not relax: a torque of {left:.2g} J is left")
    moved = float((given - relaxed).square().sum().div(H.sites(given.shape[-2:])).sqrt())
    say(f"relaxed from a torque of {torque:.1e} J to {left:.1e} J")
    lowest = lowest_modes(H, relaxed, modes)
    say(f"{modes} lowest modes found")
    candidates = ground_state_candidates(H, given.shape[-2:], search or certificate_search(H), device, report)
    return Certificate(H, given, relaxed, float(energies(H, given)), float(energies(H, relaxed)), charge(H, given),
                       charge(H, relaxed), torque, left, moved, lowest, candidates)

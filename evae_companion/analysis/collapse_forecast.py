"""Forecast of beta_c and gamma_c for any Hamiltonian, from some 100 annealed states and before any training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from evae_companion import claims, published, training_plans
from evae_companion.analysis import linear_theory
from evae_companion.analysis.descent import descended, energies
from evae_companion.analysis.ground_state_search import SAME
from evae_companion.analysis.order import orientations, symmetries
from evae_companion.data_specs import data_schedule
from evae_companion.presets import PRESETS
from evae_companion.progress import Progress
from evae_core.annealing import Schedule, anneal, lbfgs_refine
from evae_core.hamiltonian import Hamiltonian, check_hamiltonian
from evae_core.losses import loss_of_energy
from evae_core.presets import MAX_LATENT, VAEConfig
from evae_core.textures import skyrmion_lattice
from evae_core.validation import check_count, check_is, check_list, check_numbers

BETAS = (1e-2, 1e-3, 1e-4, 1e-5)
LEAST_BETA = 1e-12
MAX_STATES = 10**5
RELAXED = 4  # annealed states, the lowest ones, that are relaxed in search of the one state
ALIKE = 1e-3  # L_RC of the data about their mean: below this they are one state already
OF_THE_DATA = ("size", "J", "D", "B", "sweeps", "quench", "tolerance")  # numbers of a preset that the data depend on
COLUMNS = {"seed": "seed", "beta": "beta", "gamma": "gamma", "kl": "train kl", "kspace_mse": "generated kspace_mse",
           "data_kspace_mse": "data kspace_mse"}  # of the record's table of stages
LATTICE, ANNEALED = "the best commensurate skyrmion lattice", "the lowest annealed state, relaxed"


@dataclass(frozen=True, eq=False)
class Forecast:
    """What linear theory (:mod:`~evae_companion.analysis.linear_theory`) expects of the data that H anneals to.

    Attributes
    ----------
    states, betas : number of annealed states, and the betas of gamma_c.
    theory : eigenvalues, sites, latents, one_state (least L_RC of any one output, L_RC of the lowest state), and excess
        (L_H of the data above the lowest state).
    halves : the same of the first and the second half of the states.
    alone : the same of all states without an average over symmetries.
    symmetries : the number of rotations and mirrors over which ``theory`` is averaged, besides all translations; 0: no
        average at all, since the sample has edges.
    lowest, name : the lowest state known, (3, Ny, Nx) float64, and which of the two kinds it is.
    energy, data_energy : E/N (J) of that state, and the mean of the annealed states.
    """

    states: int
    betas: tuple[float, ...]
    theory: dict[str, Any]
    halves: tuple[dict[str, Any], dict[str, Any]]
    alone: dict[str, Any]
    symmetries: int
    lowest: Tensor
    name: str
    energy: float
    data_energy: float

    def beta_c(self, per_component: bool = False) -> float:
        """Return beta_c, for L_RC per spin or as a mean over all 3N components."""
        return beta_c(self.theory, per_component)

    def gamma_c(self, beta: float, per_component: bool = False) -> tuple[float, float]:
        """Return gamma_c at ``beta``, for the least L_RC of any one output and for that of the lowest state."""
        return linear_theory.gamma_c(self.theory, beta, per_component)


def beta_c(theory: dict[str, Any], per_component: bool = False) -> float:
    """Return beta_c of one of the theories of a :class:`Forecast`."""
    return linear_theory.beta_c(theory["eigenvalues"], theory["sites"], per_component)


def forecast(H: Hamiltonian, shape: Sequence[int], states: int = 100, schedule: Schedule | None = None, seed: int = 0,
             betas: Sequence[float] = BETAS, latents: int = VAEConfig.latent, device: str = "auto",
             report: Callable[[str], None] | None = None) -> Forecast:
    """Anneal some states of H and return what linear theory expects of an E-VAE that learns such states.

    The one state is the lower of the best commensurate skyrmion lattice (J > 0, D != 0, periodic, where one survives)
    and the lowest annealed state, relaxed. On a periodic lattice the spectrum is averaged over all translations and
    over the rotations and mirrors that H allows: few states then suffice. In a sample with edges nothing supplies what
    few states lack, and beta_c and gamma_c are upper bounds, on average.

    Parameters
    ----------
    shape : (Ny, Nx), multiples of 16 as the network needs them.
    states : number of annealed states, at least 4.
    schedule : of the annealing, by which the excess energy is decided; default: that of the desktop preset's data.
    seed : of the annealing.
    betas : where gamma_c is to be evaluated.
    latents : number of latent variables.
    device, report : as for :func:`~evae_core.anneal`; ``report`` is called with one line after each part.

    Raises
    ------
    TypeError, ValueError
        an argument that is wrong, or an H that cannot be annealed.
    RuntimeError
        the annealed states are all alike, or an annealing or a relaxation does not arrive.
    """
    check_hamiltonian(H)
    shape, count = H.check_shape(shape), check_count("states", states, 4, MAX_STATES)
    reduction = VAEConfig().reduction
    if any(side % reduction for side in shape):
        raise ValueError(f"shape must be multiples of {reduction}, as the network needs them, got {shape}")
    check_is("schedule", schedule, Schedule, type(None))
    betas = check_numbers("betas", check_list("betas", betas), LEAST_BETA)
    latents = check_count("latents", latents, 1, MAX_LATENT)
    say, told = Progress(report, count, "state"), 0

    def annealed(done: int, total: int) -> None:
        nonlocal told
        if done == total or done - told >= total / 5:
            say(f"{done} of {total} states annealed", done - told)
            told = done

    spins = anneal(H, shape, count, seed, device, schedule or data_schedule(PRESETS["desktop"]), progress=annealed)
    name, lowest = _lowest(H, spins, device, say)
    energy = float(energies(H, lowest))
    half, kept = count // 2, len(symmetries(H, shape)) if H.periodic else 0
    say("spectra")
    parts = [_theory(H, part, lowest, latents, average) for part, average in (
        (spins, H.periodic), (spins[:half], H.periodic), (spins[half:], H.periodic), (spins, False))]
    if parts[0]["one_state"][0] < ALIKE or not all(part["excess"] > 0 for part in parts):
        raise RuntimeError(f"the {count} annealed states are alike: L_RC about their mean is "
                           f"{parts[0]['one_state'][0]:.2g}, L_H above the lowest state {parts[0]['excess']:.2g}. "
                           "There is nothing to learn and nothing to collapse; choose a weaker field or anisotropy, a "
                           "larger lattice, or anneal in fewer sweeps")
    return Forecast(count, betas, parts[0], (parts[1], parts[2]), parts[3], kept, lowest, name, energy,
                    float(energies(H, spins).mean()))


def _lowest(H: Hamiltonian, spins: Tensor, device: str, say: Callable[[str], None]) -> tuple[str, Tensor]:
    """Return name and spins (float64) of the lowest state that is at hand."""
    ranked = energies(H, spins).argsort()[:RELAXED].cpu()
    near = descended(H, spins[ranked], device)
    name, lowest = ANNEALED, lbfgs_refine(H, near[int(energies(H, near).argmin())])[0]
    if H.periodic and H.J > 0 and H.D:
        try:
            lattice = lbfgs_refine(H, skyrmion_lattice(H, spins.shape[-2:]))[0]
        except RuntimeError as error:
            say(f"no lattice: {error}")
        else:
            if float(energies(H, lattice)) < float(energies(H, lowest)) + SAME:
                name, lowest = LATTICE, lattice
    say(f"the one state is {name}, E/N = {float(energies(H, lowest)):.6f} J")
    return name, lowest


def _theory(H: Hamiltonian, spins: Tensor, lowest: Tensor, latents: int, average: bool) -> dict[str, Any]:
    """Return the quantities of linear theory for states (n, 3, Ny, Nx), averaged over the symmetries of H or not."""
    shape, sites = spins.shape[-2:], H.sites(spins.shape[-2:])
    double = spins.double()
    if average:
        values = linear_theory.averaged_spectrum(spins, H)
        mean = orientations(H, double.mean(0), symmetries(H, shape))
        apart = 2 - 2 * float(mean.mean((0, 2, 3)) @ lowest.mean((1, 2)))  # the mean over all places of unit spins
    else:
        values = linear_theory.spectrum(spins)
        apart = float((double - lowest).square().sum() / (sites * len(spins)))
    above, below = loss_of_energy(H, [float(energies(H, spins).mean()), float(energies(H, lowest))], shape)
    return {"eigenvalues": values, "sites": sites, "latents": latents,
            "one_state": [float(values.sum() / sites), apart], "excess": float(above - below)}


def measured(preset: str) -> list[dict[str, Any]]:
    """Return where the recorded gamma sweeps of a preset's data collapse, each with the beta sweep of its seed.

    Returns
    -------
    list of {ladder, beta, gamma_c_states, gamma_c_kl, beta_c_states, beta_c_kl} : as
        :func:`evae_companion.claims.criticals` defines them; NaN where a sweep does not collapse. Empty if no sweep of
        these data is recorded.

    Raises
    ------
    ValueError
        a damaged record.
    """
    p, record = PRESETS[preset], published.stages(preset)
    if record is None or any(record[0].get(name) != getattr(p, name) for name in OF_THE_DATA):
        return []
    table, betas, gammas = record[1], {}, {}
    for name in (name for name in training_plans.ladders(p) if name.startswith(("beta,", "gamma,"))):
        if (rows := table["ladder"] == name).any():
            sweep = {key: table[column][rows] for key, column in COLUMNS.items()}
            sweep["data_kspace_mse"] = sweep["data_kspace_mse"][0]
            if np.ptp(sweep["beta"]):
                betas[sweep["seed"][0]] = sweep
            elif sweep["gamma"].any():
                gammas[name] = sweep
    return [{"ladder": name, "beta": float(sweep["beta"][0])}
            | claims.criticals(sweep, betas.get(sweep["seed"][0]), VAEConfig.latent) for name, sweep in gammas.items()]

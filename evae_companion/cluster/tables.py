"""Tables of an ensemble: the measurements of every stage, and the final states of every sweep.

They hold no times, so that the numbers are the same wherever and however often they were computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from evae_companion.cluster.grid import Sweep
from evae_companion.cluster.tasks import summary_of
from evae_companion.store.object_store import Remote, StoreLocation
from evae_companion.store.serialization import load_arrays, read_json
from evae_core.hamiltonian import Hamiltonian
from evae_core.textures import helix_period

POINT = ("D", "B", "size", "seed")
STAGE = ("beta", "gamma", "reconstruction", "kl", "energy", "energy_generated", "best_generated", "magnetisation",
         "kspace_mse")
END = ("plateau", "raw", "raw_lowest", *(f"{state}_{key}" for state in ("median", "lowest", "annealed")
                              for key in ("energy", "charge", "magnetisation", "order")))
SKYRMIONS = 0.3  # least |charge| per square of one helix period that counts as skyrmions; a lattice has 0.5 to 1
UNIFORM = 0.5  # least |<S>| of any other state that counts as uniform


def endings(ensemble: Sequence[Sweep], place: StoreLocation) -> dict[Sweep, dict[str, Any]]:
    """Return {sweep: ending.json} for every sweep that has one, pulled first if there is a url."""
    store, remote = place.store(), Remote(place.url) if place.url else None
    result = {}
    for chain in ensemble:
        (spec,) = summary_of(chain).specs()
        if remote:
            remote.pull(spec, store)
        if (folder := store.find(spec)) is not None:
            result[chain] = read_json(folder / "ending.json")
    return result


def states(chain: Sweep, place: StoreLocation) -> dict[str, torch.Tensor]:
    """Return the final states of a gamma sweep, (3, N, N) each: median, lowest (both generated, relaxed), annealed."""
    (spec,) = summary_of(chain).specs()
    arrays = load_arrays(place.store().held(spec) / "states.npz")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def by_stage(results: dict[Sweep, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return the columns of a table with one row per stage.

    They are the point, ``ladder`` ("beta" or "gamma") and the measurements (see
    :func:`evae_companion.trained.history_table`).
    """
    rows = [(chain, end["ladder"]) for chain, end in results.items()]
    columns: dict[str, np.ndarray] = {
        name: np.concatenate([[getattr(chain, name)] * len(columns["gamma"]) for chain, columns in rows])
        for name in POINT}
    columns["ladder"] = np.concatenate([["beta" if chain.beta is None else "gamma"] * len(columns["gamma"])
                                        for chain, columns in rows])
    return columns | {name: np.concatenate([columns[name] for _, columns in rows]) for name in STAGE} | {
        "data_kspace_mse": np.concatenate([[columns["data_kspace_mse"]] * len(columns["gamma"])
                                           for _, columns in rows])}


def phase(H: Hamiltonian, sites: int, charge: float, order: float) -> str:
    """Classify a relaxed state, defects and all: skyrmions, uniform, or helix (neither).

    Parameters
    ----------
    sites : number of sites of the lattice.
    charge, order : topological charge and |<S>| of the state.
    """
    if abs(charge) * helix_period(H) ** 2 / sites >= SKYRMIONS:
        return "skyrmions"
    return "uniform" if order >= UNIFORM else "helix"


def by_chain(results: dict[Sweep, dict[str, Any]], criticals: Callable[..., dict[str, float]]) -> list[dict[str, Any]]:
    """Return one row per gamma sweep.

    A row holds the point (``field``: B J/D^2) and what ``criticals`` (:func:`evae_companion.claims.criticals`) finds
    for the sweep and for the beta sweep of the same seed. Then come L_RC at gamma = 0, the first and the last k-space
    MSE divided by that of the data, and END. Last are the phases of the lowest generated and of the lowest annealed
    state, both relaxed.
    """
    of_beta = {(chain.data, chain.seed): end["ladder"] for chain, end in results.items() if chain.beta is None}
    rows = []
    for chain, end in results.items():
        if chain.beta is None:
            continue
        up = end["ladder"]
        rows.append({
            **{name: getattr(chain, name) for name in POINT}, "beta": chain.beta,
            "field": chain.B * chain.data.hamiltonian.J / chain.D**2,
            **criticals(up, of_beta.get((chain.data, chain.seed))), "reconstruction": up["reconstruction"][0],
            "spread_first": up["kspace_mse"][0] / up["data_kspace_mse"],
            "spread": up["kspace_mse"][-1] / up["data_kspace_mse"], **{key: end[key] for key in END},
            **{name: phase(chain.data.hamiltonian, chain.size**2, end[f"{state}_charge"], end[f"{state}_order"])
               for name, state in (("phase_generated", "lowest"), ("phase_annealed", "annealed"))}})
    return rows

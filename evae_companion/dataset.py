"""Training, validation and test sets: annealed in shards, verified, cached in the store and read from disk when used.

Configuration r of a data set is replica r of :func:`evae_core.anneal` for the seed of the set, whatever the shard size.
So sets of one seed share their shards, and a larger set continues a smaller one. A shard is the unit that is annealed,
verified and stored: the memory this takes does not grow with the set, and a killed run continues with the next shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from evae_companion.data_specs import DataSpec
from evae_companion.progress import Progress
from evae_companion.store import preview
from evae_companion.store.serialization import load_arrays, save_arrays
from evae_companion.store.store import Store
from evae_core.annealing import anneal, replicas_from, runs_on
from evae_core.annealing.threads import in_threads
from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import topological_charge

SETS = ("train", "validation", "test")
SPINS, STATISTICS = "spins.npy", "statistics.npz"  # files of a shard
AT_ONCE = 4  # shards hashed, or processed on a GPU, at a time: one is annealed while others are written
SAME = 1e-5  # E/N, J: a configuration that relaxes this close to the lowest state known counts as that state
AT_REST, AT_REST_SWEEPS = 1e-3, 4000  # final torque (J) and most sweeps of the descent before that comparison
ROUNDING = 1e-4  # J: rounding error of a torque from float32 spins
WHOLE = 1e-6  # a charge this close to an integer counts as one
PIECE = {"cpu": 2**21, "cuda": 2**25}  # bytes of float64 spins verified at a time: they fit a cache, or fill a GPU


class NoStates:
    """Stands for the ``n`` states of a shard of which a record keeps the statistics alone."""

    def __init__(self, spec: DataSpec, n: int):
        self.shape = (n, 3, *spec.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NoReturn:
        preview.refuse("a state of the data set, of which the statistics alone are recorded,")
        raise RuntimeError("this shard came without its states")


class SpinSet:
    """The configurations of a data set with the given ``numbers``, read from their shards when they are used.

    ``spins[indices]`` is a float32 tensor (len(indices), 3, Ny, Nx); ``spins[i]`` is one configuration.
    ``statistics`` holds arrays with one number per configuration: energy (per spin, J), charge, magnetisation (mean
    S^z), torque (largest |S x h|, J) and rest_energy (per spin after relaxation, J).
    """

    def __init__(self, name: str, shards: Sequence[np.ndarray | NoStates], statistics: Mapping[str, np.ndarray],
                 numbers: np.ndarray):
        self.name = name
        self._shards, self._numbers = shards, numbers
        self._starts = np.cumsum([0] + [len(shard) for shard in shards])
        self.statistics = {key: values[numbers] for key, values in statistics.items()}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, 3, Ny, Nx)."""
        return (len(self._numbers), *self._shards[0].shape[1:])

    def __getitem__(self, index: Any) -> Tensor:
        chosen = self._numbers[index]  # checks and resolves slices, lists, negatives
        flat = np.atleast_1d(chosen)
        shard = np.searchsorted(self._starts, flat, side="right") - 1
        spins = np.empty((len(flat), *self._shards[0].shape[1:]), np.float32)
        for s in np.unique(shard):
            here = shard == s
            spins[here] = self._shards[s][flat[here] - self._starts[s]]
        return torch.from_numpy(spins[0] if np.ndim(chosen) == 0 else spins)


@dataclass(frozen=True)
class Data:
    """The three disjoint sets of a data set, and its spec.

    ``left_out`` configurations are omitted because they relax to the state of energy ``spec.lowest``, or below.
    """

    spec: DataSpec
    train: SpinSet
    validation: SpinSet
    test: SpinSet
    left_out: int = 0


def load_data(spec: DataSpec, store: Store | None = None, device: str = "auto",
              report: Callable[[str], None] | None = None) -> Data:
    """Load the data set from the store; anneal, verify and store the shards that are missing.

    ``report`` is called with one line per fifth of the work, with the time left. A killed run continues with the first
    missing shard.

    Raises
    ------
    RuntimeError
        a shard that fails verification (see :func:`verify`), two equal configurations, or a set that consists only of
        copies of the state that is to be left out.
    """
    store = store or Store()
    specs = spec.shards()
    missing = report is not None and None in in_threads(store.find, specs, AT_ONCE)
    done = told = 0
    say = Progress(report if missing else None, len(specs), "shard")

    def get(shard: Any) -> Path:
        return store.get(shard, lambda folder: make_shard(spec, shard, folder, device))

    def finished(folder: Path) -> None:
        nonlocal done, told
        done += 1
        if done % max(1, len(specs) // 5) == 0 or done == len(specs):
            say(f"data: {min(done * spec.shard, spec.train + spec.validation + spec.test)} configurations of "
                f"{spec.shape[0]} x {spec.shape[1]} annealed ({done} of {len(specs)} shards)", done - told)
            told = done

    at_once = AT_ONCE if runs_on(device) == "cuda" and spec.hamiltonian.plain else 1
    folders = in_threads(get, specs, at_once, finished)
    statistics = [load_arrays(folder / STATISTICS) for folder in folders]
    shards = [load_arrays(folder / SPINS, mmap=True) if (folder / SPINS).is_file()
              else NoStates(spec, len(part["energy"])) for folder, part in zip(folders, statistics, strict=True)]
    digests = np.concatenate([part.pop("digest") for part in statistics])
    if len(np.unique(digests)) != len(digests):
        raise RuntimeError(f"{len(digests) - len(np.unique(digests))} configurations of the data set are equal to "
                           "another one; use a longer schedule, a larger lattice or fewer configurations")
    joined = {key: np.concatenate([part[key] for part in statistics]) for key in statistics[0]}
    stays = np.ones(len(digests), bool) if spec.lowest is None else joined["rest_energy"] > spec.lowest + SAME
    edges = np.cumsum([0, spec.train, spec.validation, spec.test])
    train, validation, test = (SpinSet(name, shards, joined, first + np.flatnonzero(stays[first:end]))
                               for name, first, end in zip(SETS, edges[:-1], edges[1:], strict=True))
    left_out = int((~stays).sum())
    if not len(train):
        raise RuntimeError(f"all {spec.train} configurations to train on relax to the lowest state known, of E/N = "
                           f"{spec.lowest:.6f} J: nothing is left to learn; use a faster schedule, a larger lattice, "
                           "or lowest=None to keep them")
    for spins, wanted in ((validation, spec.validation), (test, spec.test)):
        if wanted and not len(spins):
            raise RuntimeError(f"all {wanted} configurations of the {spins.name} set relax to the lowest state known; "
                               "ask for more of them, or for none")
    if left_out and spec.lowest is not None:
        say(f"data: {left_out} of {len(digests)} configurations relax to the lowest state known and are left out")
        if (lower := float(joined["rest_energy"].min())) < spec.lowest - SAME:
            say(f"data: some relax to E/N = {lower:.6f} J, below the lowest state known, {spec.lowest:.6f} J")
    return Data(spec, train, validation, test, left_out)


def make_shard(spec: DataSpec, shard: dict[str, Any], folder: Path, device: str) -> None:
    """Anneal, verify and write the ``shard`` (one of ``spec.shards()``) into ``folder``."""
    spins = anneal(spec.hamiltonian, spec.shape, shard["n"], seed=spec.seed, device=device,
                   schedule=spec.schedule, first=shard["first"], keep=True)
    statistics = verify(spec.hamiltonian, spins, spec.schedule.tolerance)
    statistics["rest_energy"] = rest_energies(spec.hamiltonian, spins, device)
    save_arrays(folder / SPINS, spins.cpu().numpy())
    save_arrays(folder / STATISTICS, statistics)


def rest_energies(H: Hamiltonian, spins: Tensor, device: str = "auto") -> np.ndarray:
    """Return E/N (J) of configurations (n, 3, Ny, Nx) after relaxation, (n,) float64.

    The descent ends at a torque of AT_REST, or after AT_REST_SWEEPS sweeps for a texture that glides. By then the
    energy is that of the minimum to some 1e-7 J.
    """
    energies = []
    for part in spins.split(max(2, PIECE[spins.device.type] // (8 * spins[0].numel()))):
        replicas = replicas_from(H, part, device=device)
        replicas.descend(AT_REST, AT_REST_SWEEPS)
        energies.append(H.energy_per_spin(replicas.spins().double()).cpu().numpy())
    return np.concatenate(energies)


def verify(H: Hamiltonian, spins: Tensor, tolerance: float) -> dict[str, np.ndarray]:
    """Check configurations (n, 3, Ny, Nx) and return their statistics, one number per configuration.

    Everything is computed in float64 on the device of ``spins``, some configurations at a time, so that the memory this
    takes does not grow with n.

    Returns
    -------
    energy : per magnetic site, J.
    charge, magnetisation : topological charge, and mean S^z.
    torque : largest |S x h|, J.
    digest : 64 bits of a hash of the bytes, by which equal configurations are found.

    Raises
    ------
    RuntimeError
        spins that are not finite unit vectors to 1e-5; a torque above the ``tolerance`` (J) by more than rounding; on a
        periodic ferromagnet a charge that is not an integer, since two neighbouring spins are then antiparallel.
    """
    if not len(spins):
        raise ValueError("spins must hold at least one configuration, got none")
    size = max(2, PIECE[spins.device.type] // (8 * spins[0].numel()))
    # Never a piece of one configuration beside larger ones: torch with threads sums a single one in another order.
    parts = [_statistics(H, part, tolerance) for part in spins.tensor_split(max(1, len(spins) // size))]
    joined = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
    return joined | {"digest": np.array([_digest(one) for one in spins.cpu().numpy()], np.uint64)}


def _statistics(H: Hamiltonian, spins: Tensor, tolerance: float) -> dict[str, Tensor]:
    mask = torch.ones(spins.shape[-2:], dtype=torch.bool) if H.mask is None else torch.from_numpy(H.mask.copy())
    length = (torch.linalg.vector_norm(spins, dim=-3)[..., mask.to(spins.device)] - 1).abs()
    if not bool(torch.isfinite(spins).all()) or float(length.max()) > 1e-5:
        raise RuntimeError("annealed spins are not finite unit vectors: the worst length is off by "
                           f"{float(length.max()):g}")
    double = spins.double()
    torque = H.torque(double).amax((-2, -1))
    if float(torque.max()) > tolerance + ROUNDING:
        raise RuntimeError(f"an annealed configuration has a torque of {float(torque.max()):g} J, above the schedule's "
                           f"tolerance={tolerance:g} J; raise max_descent or tolerance of the schedule")
    charge = topological_charge(double, mask=H.mask, periodic=H.periodic_axes)
    # With J < 0 or competing bonds, antiparallel neighbours can have the lowest energy, so the charge is not checked.
    if H.periodic and H.J > 0 and H.plain and float(off := (charge - charge.round()).abs().max()) > WHOLE:
        raise RuntimeError(f"an annealed configuration has a charge that is off an integer by {float(off):g}: two "
                           "neighbouring spins are antiparallel; use more sweeps, or a lower tolerance")
    return {"energy": H.energy_per_spin(double), "charge": charge,
            "magnetisation": double[:, 2].sum((-2, -1)) / H.sites(spins.shape[-2:]), "torque": torque}


def _digest(array: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=8).digest(), "little")

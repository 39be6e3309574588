"""Results of experiments, loaded from the store or data/recorded or else computed, with their states and networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from evae_companion import published
from evae_companion.data_specs import DataSpec
from evae_companion.presets import RunPreset
from evae_companion.processes import run_parallel
from evae_companion.store.packed_spins import pack, unpack
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_core.model import VAE
from evae_core.textures import interstitial_pair, skyrmion_lattice

VERSION = 4  # raise when what is computed changes: older results are then computed again
Report = Callable[[str], None]
T = TypeVar("T")


def get(p: RunPreset, spec: Mapping[str, Any], make: Callable[[Path], None], report: Report) -> tuple[Path, bool]:
    """Return the folder with the files of the result ``spec``, and whether it is a published result.

    The result comes from the store, else from the published results, else from ``make``.
    """
    store = Store()
    if (folder := store.find(spec)) is None and (result := published.find(p.name, spec)):
        folder, entry = result
        report(f"RECORDED results, nothing is trained here: {spec['kind']} of preset {p.name} from its record, "
               f"made {entry['created'][:10]} on {entry['on']} with torch {entry['versions']['torch']}")
        return folder, True
    return folder or store.get(spec, make), False


def cached(kind: str, depends: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> SimpleNamespace:
    """Return what a cell of a notebook computes for longer than a second, cached in the store, as attributes.

    Parameters
    ----------
    kind : name of the result.
    depends : everything that it depends on, as plain JSON values.
    make : returns {name: value}. Tensors are unit spins (..., 3, Ny, Nx), kept in four bytes a site; numpy arrays and
        plain JSON values are kept as they are.
    """
    def write(folder: Path) -> None:
        values = make()
        states = {name: pack(value) for name, value in values.items() if isinstance(value, Tensor)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        for file, part in (("states.npz", states), ("arrays.npz", arrays)):
            if part:
                save_arrays(folder / file, part)
        write_json(folder / "numbers.json", {name: value for name, value in values.items()
                                             if name not in states and name not in arrays})

    folder = Store().get({"kind": kind, "version": VERSION, **depends}, write)
    values = dict(read_json(folder / "numbers.json"))
    if (folder / "arrays.npz").is_file():
        values |= load_arrays(folder / "arrays.npz")
    if (folder / "states.npz").is_file():
        values |= {name: unpack(codes) for name, codes in load_arrays(folder / "states.npz").items()}
    return SimpleNamespace(**values)


def run_jobs(p: RunPreset, jobs: Sequence[Callable[..., T]], report: Report) -> list[T]:
    """:func:`~evae_companion.processes.run_parallel`; at smoke size here, since processes take seconds to start."""
    if p.name == "smoke" or len(jobs) < 2:
        return [job(report=report) for job in jobs]
    return run_parallel(jobs, report)


def compute(p: RunPreset, runs: Sequence[tuple[Mapping[str, Any], Callable[..., Any]]], report: Report) -> None:
    """Compute the results that neither the store nor the record holds at the same time, each in a process of its own.

    Where one alone is missing, nothing is done: the caller computes it when it asks for it.

    Parameters
    ----------
    runs : of (spec, job); job(report=...) computes the result of the spec and is picklable.
    """
    missing = [job for spec, job in runs if Store().find(spec) is None and not published.find(p.name, spec)]
    run_jobs(p, [partial(_discard, job) for job in missing] if len(missing) > 1 else [], report)


def _discard(job: Callable[..., Any], report: Report) -> None:
    """Leave a result in the store: it need not travel between processes."""
    job(report=report)


def system(kind: str, data: DataSpec) -> dict[str, Any]:
    """Return the spec of a result that depends on the lattice and the Hamiltonian alone."""
    return {"kind": kind, "version": VERSION, "hamiltonian": data.hamiltonian.spec(), "shape": list(data.shape)}


def ideal_lattice(data: DataSpec) -> Tensor:
    """Return the best commensurate skyrmion lattice found, (3, Ny, Nx), cached in the store."""
    def make(folder: Path) -> None:
        save_arrays(folder / "lattice.npy", skyrmion_lattice(data.hamiltonian, data.shape).numpy())

    return torch.from_numpy(load_arrays(Store().get(system("lattice", data), make) / "lattice.npy"))


def interstitial(data: DataSpec) -> tuple[Tensor, Tensor]:
    """Return the best skyrmion lattice that can hold an interstitial skyrmion, and the lattice with it, cached."""
    def make(folder: Path) -> None:
        names = ("lattice", "interstitial")
        textures = interstitial_pair(data.hamiltonian, data.shape)
        save_arrays(folder / "pair.npz", {name: spins.numpy() for name, spins in zip(names, textures, strict=True)})

    textures = load_arrays(Store().get(system("pair", data), make) / "pair.npz")
    return torch.from_numpy(textures["lattice"]), torch.from_numpy(textures["interstitial"])


def generate(model: VAE, n: int, seed: int, prior: str = "standard") -> Tensor:
    """Generate n states X'_out (n, 3, Ny, Nx) on the CPU; the latent vectors are the same on every device."""
    return model.generate(n, torch.Generator().manual_seed(seed), prior).cpu()


@torch.no_grad()
def reconstruct(model: VAE, spins: Tensor, seed: int | None) -> Tensor:
    """Return the reconstructions X_out of ``spins`` on the CPU, z drawn from the posterior (``seed``) or mu (None)."""
    x_out = []
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for part in spins.split(100):
        mu, logvar = (value.cpu() for value in model.encode(part.to(next(model.parameters()).device)))
        noise = 0.0 if generator is None else torch.randn(mu.shape, generator=generator)
        x_out.append(model.decode((mu + noise * (logvar / 2).exp()).to(next(model.parameters()).device)).cpu())
    return torch.cat(x_out)

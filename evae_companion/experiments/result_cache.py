"""Where results lie: in the store, in data/recorded, or nowhere yet; and how their states and networks are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from evae_companion import published
from evae_companion.cluster.executors import local
from evae_companion.data_specs import DataSpec
from evae_companion.store.store import Store
from evae_companion.trained import stage_spec
from evae_core.model import VAE
from evae_core.presets import Preset
from evae_core.training import checkpoint
from evae_core.training.stages import Stage

VERSION = 3  # raise when what is computed changes: older results are then computed anew
Report = Callable[[str], None]
T = TypeVar("T")


def get(p: Preset, spec: Mapping[str, Any], make: Callable[[Path], None], report: Report) -> tuple[Path, bool]:
    """Folder with the files of the result ``spec``, and whether it is a recorded one: store, record, else ``make``."""
    store = Store()
    if (folder := store.find(spec)) is None and (found := published.find(p.name, spec)):
        folder, entry = found
        report(f"RECORDED results, nothing is trained here: {spec['kind']} of preset {p.name} from its record, "
               f"made {entry['created'][:10]} on {entry['on']} with torch {entry['versions']['torch']}")
        return folder, True
    return folder or store.get(spec, make), False


def together(p: Preset, jobs: Sequence[Callable[..., T]], report: Report) -> list[T]:
    """What independent ``jobs`` return, called as job(report=...): side by side in processes of one thread each, where
    a job's lines are said when it is done; at smoke size here, one after the other, since processes take seconds to
    start. Jobs must be picklable. The first error ends those that have not begun."""
    if p.name == "smoke" or len(jobs) < 2:
        return [job(report=report) for job in jobs]
    with local()() as pool:
        futures = [pool.submit(_with_lines, job) for job in jobs]
        try:
            for future in as_completed(futures):
                for line in future.result()[1]:
                    report(line)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result()[0] for future in futures]


def _with_lines(job: Callable[..., T]) -> tuple[T, list[str]]:
    lines: list[str] = []
    return job(report=lines.append), lines


def system(kind: str, data: DataSpec) -> dict[str, Any]:
    """The spec of what depends on the lattice and the Hamiltonian alone."""
    return {"kind": kind, "version": VERSION, "hamiltonian": data.hamiltonian.spec(), "shape": list(data.shape)}


def recorded_models(p: Preset, stages: list[Stage], data: DataSpec) -> list[VAE]:
    """The decoders of ``stages`` from the record of the preset, on the CPU."""
    found = []
    for stage in stages:
        entry = published.find(p.name, stage_spec(stage, data))
        if entry is None:
            raise RuntimeError(f"the record of {p.name} holds no decoder of stage ({stage})")
        model = VAE(data.shape, boundary=data.hamiltonian.boundary, config=stage.config)
        checkpoint.load(model, entry[0] / next(iter(entry[1]["files"])))
        found.append(model.eval())
    return found


@torch.no_grad()
def generate(model: VAE, n: int, seed: int) -> Tensor:
    """X'_out, n states on the CPU; the same latent vectors on every device."""
    z = torch.randn(n, model.latent, generator=torch.Generator().manual_seed(seed))
    return model.decode(z.to(next(model.parameters()).device)).cpu()


@torch.no_grad()
def reconstruct(model: VAE, spins: Tensor) -> Tensor:
    """X_out of ``spins``, decoded from their means mu, on the CPU."""
    return model.decode(model.encode(spins.to(next(model.parameters()).device))[0]).cpu()


def as_half(spins: Tensor) -> np.ndarray:
    """Spins for a file: float16, some 2e-4 off, a hundredth of a degree."""
    return spins.numpy().astype(np.float16)


def as_spins(half: np.ndarray) -> Tensor:
    """Unit spins (..., 3, Ny, Nx) float32 from :func:`as_half`; non-magnetic sites stay 0."""
    return F.normalize(torch.from_numpy(half.astype(np.float32)), dim=-3)

"""Specifications of data sets: the system, the numbers of configurations, and how they are annealed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from math import inf
from typing import Any

from evae_core.annealing.schedule import ALGORITHM, Schedule
from evae_core.hamiltonian import Hamiltonian
from evae_core.presets import Preset
from evae_core.validation import check_count, check_is, check_number

STATISTICS = 2  # raise when the statistics stored beside the spins change


@dataclass(frozen=True)
class DataSpec:
    """Everything that a data set depends on.

    Parameters
    ----------
    hamiltonian, shape : the system, (Ny, Nx) sites.
    train, validation, test : number of configurations in the three disjoint sets.
    shard : configurations annealed and stored at a time.
    schedule : of the annealing.
    seed : of the random streams of the replicas.
    lowest : E/N (J) of a state that must not be learned, the lowest one known of the box. Configurations that relax
        to within SAME of it, or below, are left out and counted. None: all stay.

    Raises
    ------
    TypeError, ValueError
        no configuration to train on, negative numbers, a shape that does not fit the Hamiltonian.
    """

    hamiltonian: Hamiltonian
    shape: tuple[int, int]
    train: int
    validation: int
    test: int
    shard: int = 250
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    lowest: float | None = None

    def __post_init__(self) -> None:
        check_is("hamiltonian", self.hamiltonian, Hamiltonian)
        check_is("schedule", self.schedule, Schedule)
        object.__setattr__(self, "shape", self.hamiltonian.check_shape(self.shape))
        H = self.hamiltonian
        if H.plain and any(n % 2 for n, wraps in zip(self.shape, H.periodic_axes, strict=True) if wraps):
            raise ValueError("shape must be even along every periodic axis (two sublattices are updated in turn), got "
                             f"{self.shape}")
        for name, least in (("train", 1), ("validation", 0), ("test", 0), ("shard", 1), ("seed", 0)):
            check_count(name, getattr(self, name), least)
        if self.lowest is not None:
            object.__setattr__(self, "lowest", check_number("lowest", self.lowest, -inf))

    def spec(self) -> dict[str, Any]:
        """Return everything but the shard size as plain JSON values, for cache keys."""
        without = {} if self.lowest is None else {"lowest": self.lowest}
        return self._system() | {"train": self.train, "validation": self.validation, "test": self.test} | without

    def _system(self) -> dict[str, Any]:
        return {"hamiltonian": self.hamiltonian.spec(), "shape": list(self.shape), "seed": self.seed,
                "schedule": asdict(self.schedule), "annealer": ALGORITHM, "statistics": STATISTICS}

    def shards(self) -> list[dict[str, Any]]:
        """Return the specs of the artifacts in which the set is stored."""
        total = self.train + self.validation + self.test
        return [self._system() | {"kind": "shard", "first": first, "n": min(self.shard, total - first)}
                for first in range(0, total, self.shard)]


def data_schedule(preset: Preset) -> Schedule:
    """Return the annealing schedule of a preset's data: plain heat bath from above the Curie temperature to zero.

    The configurations of the paper hold locally ordered domains, stretched and truncated skyrmions, and no two are
    equal. Over-relaxation and a descent that over-shoots would make nearly perfect lattices, many of them equal.
    """
    return Schedule(sweeps=preset.sweeps, overrelax=0, quench=preset.quench, tolerance=preset.tolerance)


def ordered_schedule(preset: Preset, tolerance: float = Schedule.tolerance) -> Schedule:
    """Return the schedule for nearly perfect lattices: over-relaxation, and a descent to a torque ``tolerance`` (J)."""
    return Schedule(sweeps=preset.ordered_sweeps, overrelax=preset.ordered_overrelax, tolerance=tolerance)


def rough_schedule(preset: Preset) -> Schedule:
    """Return a shorter schedule than :func:`data_schedule`: smaller domains, more stretched and truncated skyrmions."""
    return replace(data_schedule(preset), sweeps=max(1, preset.sweeps * 3 // 10), quench=max(1, preset.quench // 10))


def data_spec(preset: Preset, seed: int = 0) -> DataSpec:
    """Return the data set of a training ``seed``: a periodic square, without copies of the lowest state known."""
    return DataSpec(Hamiltonian(J=preset.J, D=preset.D, B=preset.B), (preset.size, preset.size), preset.train,
                    preset.validation, preset.test, preset.shard, data_schedule(preset), seed, preset.lowest)


def confined_spec(preset: Preset, shape: tuple[int, int], seed: int = 0,
                  boundary: str | tuple[str, str] = "open") -> DataSpec:
    """Return the data set of a training ``seed`` for a sample of ``shape`` (Ny, Nx).

    ``boundary`` ``"open"``: all edges are open; ``("open", "periodic")``: an infinite wire along x.
    """
    H = Hamiltonian(J=preset.J, D=preset.D, B=preset.B, boundary=boundary)
    few = max(1, preset.confined_train // 10)
    return DataSpec(H, shape, preset.confined_train, few, 0, preset.shard, data_schedule(preset), seed)

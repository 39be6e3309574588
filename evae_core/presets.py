"""Presets: the numbers of system, data and training at the four sizes that runs have, in one table.

``smoke`` proves that everything runs (tests, CI). ``laptop`` is a small box for tinkering. ``desktop`` is the lattice,
the couplings and the network of Kwon et al., Advanced Science 2021, with fewer data and shorter stages: some hours on
two cores. ``paper`` has the paper's numbers throughout (a GPU is advised). The reduced field B J / D^2 is 0.5556 in all
four; the box holds 5.94 helix periods at the paper's size, 4.1 at laptop size and 2.8 at smoke size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from evae_core.validation import check_count, check_flag, check_is, check_number

BETAS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 2e-2, 5e-2, 1e-1, 1.0)  # decades, and two more near the posterior collapse
GAMMAS = (1e-4, 1.0, 10.0, 100.0, 200.0, 300.0, 500.0, 1e3, 1500.0, 2e3, 5e3, 1e4, 1e5, 1e6)
PAPER_SIZE = 128  # sites a side

MAX_LATENT = 10**5
LOGVAR_MOST = 4.0  # log sigma^2 stays below it


@dataclass(frozen=True)
class VAEConfig:
    """The network's numbers. The defaults are the paper's, except for the two that its text does not state."""

    latent: int = 100  # latent variables
    filters: tuple[int, ...] = (6, 12, 24, 48)  # of the encoder's convolutions; each is followed by a 2x2 pooling
    hidden: int = 512  # width of the dense layers next to the latent space
    slope: float = 0.1  # of the leaky ReLU below zero: chosen here
    logvar_start: float = -6.0  # bias of the head log sigma^2 before training: chosen here

    def __post_init__(self) -> None:
        check_count("latent", self.latent, 1, MAX_LATENT)
        if not isinstance(self.filters, tuple) or not self.filters:
            raise TypeError(f"filters must be a tuple of integers, got {self.filters!r}")
        for filters in self.filters:
            check_count("filters", filters, 1, MAX_LATENT)
        check_count("hidden", self.hidden, 1, MAX_LATENT)
        check_number("slope", self.slope, 0.0, 1.0, equal=True)
        check_number("logvar_start", self.logvar_start, -100.0, LOGVAR_MOST, equal=True)

    @property
    def reduction(self) -> int:
        """The factor by which the poolings shrink each side of the lattice; sides are multiples of it."""
        return 2 ** len(self.filters)


@dataclass(frozen=True)
class TrainingOptions:
    """What this project adds to the training that the paper describes; each can be left out to see if it is needed."""

    warm_up: bool = True  # the learning rate rises over the first steps of a later stage
    fresh_adam: bool = True  # a later stage begins with new moments; False: with those at the end of its parent

    def __post_init__(self) -> None:
        for name in ("warm_up", "fresh_adam"):
            check_flag(name, getattr(self, name))


@dataclass(frozen=True)
class Preset:
    """Every number of a run. Energies in units of J, temperatures in J/k_B, lengths in lattice sites."""

    name: str
    # the system
    size: int  # lattice side, a multiple of 16
    D: float  # DM strength
    B: float  # field
    # the data
    train: int  # configurations to train on
    validation: int
    test: int
    shard: int  # configurations made and stored at a time: bounds the memory of the making
    sweeps: int  # heat-bath sweeps from T_start to T_end, without over-relaxation, as the paper anneals
    quench: int  # and at T = 0: domains, stretched and truncated skyrmions stay
    tolerance: float  # largest torque (J) that is left: what has more is brought down to it
    lowest: float | None  # E/N (J) of the lowest state known of this box: what relaxes to it is left out of the data
    ordered_sweeps: int  # the other schedule, for data that are nearly perfect lattices: heat-bath sweeps,
    ordered_overrelax: int  # and over-relaxation sweeps after each; these states are brought wholly to rest
    # the training
    batch: int
    first_rate: float  # Adam's learning rate in the stage that starts from random weights,
    learning_rate: float  # and in every later one, so that no step of the schedule lies where physics may have one
    final_rate: float  # learning rate at the end of a stage as a share of it (cosine); 1: constant, as in the paper
    first_steps: int  # the stage that starts from random weights
    beta_steps: int  # every later stage of the beta ladder
    gamma_steps: int  # every stage of a gamma ladder
    translate: bool  # shift every batch by a random lattice vector: free new data on a periodic lattice
    seeds: int  # independent trainings, each on data of its own
    # confined samples
    confined: tuple[tuple[int, int], ...]  # open samples (Ny, Nx): squares first, the wire last
    confined_train: int
    confined_steps: int  # every stage of their short ladder; the first takes three times as many
    # the ladders
    betas: tuple[float, ...] = BETAS
    gammas: tuple[float, ...] = GAMMAS
    gamma_betas: tuple[float, ...] = (1e-3, 1e-4)  # where the gamma ladders start
    J: float = 1.0
    config: VAEConfig | None = None  # of the network; None: the paper's
    options: TrainingOptions | None = None  # of the training; None: the defaults

    @property
    def small(self) -> bool:
        """Whether the box is smaller than the paper's, too small for verdicts on its claims."""
        return self.size < PAPER_SIZE

    def spec(self) -> dict[str, Any]:
        """The numbers as plain JSON values."""
        return asdict(self)


P = TypeVar("P", bound=Preset)
PRESETS = {preset.name: preset for preset in (
    Preset(name="smoke", size=32, D=0.6, B=0.2,
           train=160, validation=20, test=20, shard=50, sweeps=60, quench=20, tolerance=0.1, lowest=-2.223309182,
           ordered_sweeps=60, ordered_overrelax=2,
           batch=20, first_rate=1e-3, learning_rate=1e-3, final_rate=0.1, first_steps=12,
           beta_steps=4, gamma_steps=3,
           translate=True, seeds=2,
           confined=((32, 32), (16, 48)), confined_train=40, confined_steps=3),
    Preset(name="laptop", size=48, D=0.6, B=0.2,
           train=4000, validation=500, test=500, shard=250, sweeps=300, quench=100, tolerance=0.1,
           lowest=-2.224487346, ordered_sweeps=60, ordered_overrelax=1,
           batch=32, first_rate=5e-4, learning_rate=1e-3, final_rate=0.1, first_steps=2800,
           beta_steps=250, gamma_steps=200,
           translate=False, seeds=3,
           confined=((32, 32), (48, 48), (16, 64)), confined_train=1000, confined_steps=200),
    Preset(name="desktop", size=128, D=0.3, B=0.05,
           train=3000, validation=300, test=300, shard=100, sweeps=1000, quench=100, tolerance=0.1,
           lowest=-2.057484296, ordered_sweeps=300, ordered_overrelax=1,
           batch=32, first_rate=5e-4, learning_rate=1e-3, final_rate=0.1, first_steps=4000,
           beta_steps=250, gamma_steps=400,
           translate=False, seeds=3,
           confined=((64, 64), (96, 96), (32, 128)), confined_train=1000, confined_steps=200),
    Preset(name="paper", size=128, D=0.3, B=0.05,
           train=30_000, validation=5_000, test=4_300, shard=500, sweeps=1000, quench=100, tolerance=0.1,
           lowest=-2.057484296, ordered_sweeps=1000, ordered_overrelax=3,
           batch=100, first_rate=1e-3, learning_rate=1e-3, final_rate=1.0, first_steps=30_000,
           beta_steps=30_000, gamma_steps=30_000,
           translate=False, seeds=2,
           confined=((64, 64), (96, 96), (128, 128), (32, 128)), confined_train=5000, confined_steps=10_000),
)}


def load_preset(name: str | None = None, table: Mapping[str, P] = PRESETS) -> P:  # type: ignore[assignment]
    """The preset called ``name`` in ``table``; the environment variable EVAE_PRESET, when set, wins; neither: desktop.

    Raises
    ------
    TypeError, ValueError
        a name that is no string, or not one of the presets (the message lists them).

    Examples
    --------
    >>> load_preset("paper").size
    128
    """
    check_is("table", table, Mapping)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"preset must be one of {tuple(table)}, got {name!r}")
    chosen = os.environ.get("EVAE_PRESET") or name or "desktop"
    if chosen not in table:
        source = "EVAE_PRESET" if os.environ.get("EVAE_PRESET") else "preset"
        raise ValueError(f"{source} must be one of {tuple(table)}, got {chosen!r}")
    return table[chosen]

"""The presets with the numbers of the experiments: what is measured, searched for, scanned and compared.

System, data and training are those of :mod:`evae_core.presets`; the numbers here are the companion's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evae_core import presets
from evae_core.presets import Preset


@dataclass(frozen=True, kw_only=True)
class RunPreset(Preset):
    """A preset of the core with the numbers of the experiments. Units as there."""

    # what is measured
    samples: int  # generated states a measurement
    invert_steps: int  # most steps of the inverse mapping
    search_anneals: int  # of the search for the lowest state: annealings from random states,
    search_sweeps: int  # heat-bath sweeps of each,
    search_rounds: int  # rounds of basin hopping
    search_kicks: int  # kicks in each,
    search_keep: int  # and candidates of each kind that are brought to rest
    rival_runs: int  # annealings of each schedule, against which the collapse is measured
    rival_sweeps: int  # heat-bath sweeps of the slow schedule; the fast one is that of the data
    tempering_runs: int  # parallel temperings
    tempering_sweeps: int  # heat-bath sweeps of each at every temperature
    strip_squares: tuple[float, ...]  # sides of open squares without an E-VAE, in spacings of the bulk's skyrmions
    strip_wires: tuple[float, ...]  # widths of such wires
    strip_anneals: int  # search_anneals and
    strip_rounds: int  # search_rounds for these
    strip_trained: tuple[tuple[int, int], ...]  # open samples besides ``confined`` that get an E-VAE
    critical_betas: tuple[float, ...]  # whose collapse is looked for besides that of gamma_betas
    excess_size: int  # side of the lattices that are annealed
    excess_sweeps: tuple[int, ...]  # so fast or slowly, to see gamma_c against their excess energy,
    excess_train: int  # configurations of each
    excess_first: int  # steps of the ladder's first stage
    excess_steps: int  # and of every other
    phase_D: tuple[float, ...]  # of the phase diagram, on lattices of excess_size, excess_train configurations each
    phase_fields: tuple[float, ...]  # B J/D^2 there
    phase_first: int  # steps of its ladders' first stage, which must learn skyrmions that lie apart
    phase_steps: int  # of every gamma stage; a beta stage takes half of them
    phase_rate: float  # Adam's along their gamma: so short a stage collapses only with a large one
    paper_only: bool = False  # notebooks 00 to 07 alone are run, and of other networks than theirs the decoder is kept


_NUMBERS: dict[str, dict[str, Any]] = {
    "smoke": dict(
        samples=16, invert_steps=20, search_anneals=8, search_sweeps=60, search_rounds=1, search_kicks=8,
        search_keep=1,
        rival_runs=8, rival_sweeps=120, tempering_runs=2, tempering_sweeps=40,
        strip_squares=(1.5, 2.5), strip_wires=(1.0,), strip_anneals=8, strip_rounds=1, strip_trained=((16, 16),),
        critical_betas=(1e-2,), excess_size=16, excess_sweeps=(5, 20), excess_train=40, excess_first=3,
        excess_steps=3,
        phase_D=(1.0, 0.8), phase_fields=(0.0, 0.55), phase_first=3, phase_steps=3, phase_rate=1e-3),
    "laptop": dict(
        samples=100, invert_steps=1500, search_anneals=128, search_sweeps=300, search_rounds=6, search_kicks=32,
        search_keep=4,
        rival_runs=64, rival_sweeps=2000, tempering_runs=16, tempering_sweeps=400,
        strip_squares=(1.5, 2.0, 3.0, 4.0, 4.5, 5.0), strip_wires=(0.75, 1.0, 1.5, 2.0, 3.0), strip_anneals=64,
        strip_rounds=3, strip_trained=((16, 16), (32, 64)),
        critical_betas=(1e-5, 1e-2), excess_size=32, excess_sweeps=(6, 150), excess_train=1000, excess_first=1200,
        excess_steps=300,
        phase_D=(0.3, 0.35, 0.4), phase_fields=(0.0, 0.15, 0.3, 0.7, 0.8), phase_first=1000, phase_steps=200,
        phase_rate=2e-3),
    "desktop": dict(
        samples=100, invert_steps=1000, search_anneals=128, search_sweeps=300, search_rounds=4, search_kicks=32,
        search_keep=4,
        rival_runs=64, rival_sweeps=2000, tempering_runs=8, tempering_sweeps=400,
        strip_squares=(1.5, 2.0, 3.0, 4.0), strip_wires=(1.0, 1.5, 2.0), strip_anneals=64, strip_rounds=2,
        strip_trained=(),
        critical_betas=(1e-2,), excess_size=64, excess_sweeps=(30, 300), excess_train=1000, excess_first=1500,
        excess_steps=300,
        phase_D=(0.3, 0.25), phase_fields=(0.0, 0.15, 0.3, 0.7, 0.8), phase_first=1500, phase_steps=250,
        phase_rate=1e-3, paper_only=True),
    "paper": dict(
        samples=100, invert_steps=5000, search_anneals=512, search_sweeps=1000, search_rounds=20, search_kicks=64,
        search_keep=4,
        rival_runs=64, rival_sweeps=10_000, tempering_runs=16, tempering_sweeps=2000,
        strip_squares=(1.5, 2.0, 3.0, 4.0, 4.5, 5.0), strip_wires=(0.75, 1.0, 1.5, 2.0, 3.0), strip_anneals=128,
        strip_rounds=8, strip_trained=((32, 32), (64, 128)),
        critical_betas=(1e-6, 1e-5, 1e-2), excess_size=64, excess_sweeps=(30, 300, 3000), excess_train=5000,
        excess_first=10_000, excess_steps=3000,
        phase_D=(0.3, 0.25, 0.2), phase_fields=(0.0, 0.12, 0.2, 0.3, 0.42, 0.55, 0.65, 0.75, 0.85, 0.95),
        phase_first=10_000, phase_steps=10_000, phase_rate=1e-3),
}
PRESETS = {name: RunPreset(**vars(presets.PRESETS[name]), **numbers) for name, numbers in _NUMBERS.items()}


def load_preset(name: str | None = None) -> RunPreset:
    """Return the preset called ``name``; names, EVAE_PRESET and errors as :func:`evae_core.presets.load_preset`."""
    return presets.load_preset(name, PRESETS)

"""Annealing of one lattice frame by frame, with the settings of the annealing explorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from evae_core.annealing import Annealing, Schedule
from evae_core.hamiltonian import Hamiltonian
from evae_core.observables import topological_charge
from evae_core.validation import check_choice

CELLS = 8  # a mask drawn by the reader has CELLS x CELLS squares
FRAMES = 240  # frames of a whole annealing, or one per sweep if there are fewer sweeps
BOUNDARIES = ("periodic", "open", "drawn")


def disk(cells: int = CELLS) -> np.ndarray:
    """Return the initial mask to draw on: (cells, cells) bool, a disk with a hole in its middle."""
    y, x = np.mgrid[:cells, :cells] - (cells - 1) / 2
    radius = np.hypot(x, y)
    return (radius <= cells / 2) & (radius > cells / 8)


@dataclass(frozen=True)
class Settings:
    """Settings of one annealing.

    Attributes
    ----------
    J, D, B, K : couplings in J.
    boundary : one of BOUNDARIES.
    drawn : squares of the boundary "drawn", row 0 at the bottom.
    sweeps : sweeps from T = 1.2 to 0.01 J/k_B; more sweeps cool more slowly.
    """

    J: float = 1.0
    D: float = 0.6
    B: float = 0.2
    K: float = 0.0
    dmi: str = "bloch"
    boundary: str = "periodic"
    drawn: tuple[tuple[bool, ...], ...] = ()
    sweeps: int = 240
    size: int = 64
    seed: int = 0

    def hamiltonian(self) -> Hamiltonian:
        """Return the Hamiltonian of these settings.

        Raises
        ------
        ValueError
            an unknown boundary, or a drawn sample without sites.
        """
        boundary: Any = check_choice("boundary", self.boundary, BOUNDARIES)
        if self.boundary == "drawn":
            squares = np.array(self.drawn, bool)
            if not squares.any():
                raise ValueError("drawn must hold at least one square that is part of the sample, got none")
            boundary = enlarged(squares, self.size)
        return Hamiltonian(J=self.J, D=self.D, B=self.B, K=self.K, dmi=self.dmi, boundary=boundary)


def enlarged(squares: np.ndarray, size: int) -> np.ndarray:
    """Return the squares (n, n) bool as a mask (size, size): each site takes the square that it lies in."""
    index = np.arange(size) * len(squares) // size
    return np.ascontiguousarray(squares[np.ix_(index, index)])


@dataclass(frozen=True)
class Frame:
    """One frame: spins (3, N, N), E/N in J, charge, temperature in J/k_B, sweeps done, whether it is relaxed."""

    spins: Tensor
    energy: float
    charge: float
    temperature: float
    sweep: int
    done: bool


class Cooling:
    """Annealing of one lattice from T = infinity until relaxed; run to its end it equals ``anneal`` bit for bit."""

    def __init__(self, settings: Settings):
        self.H = settings.hamiltonian()
        self.sweeps = settings.sweeps
        self.stride = max(1, settings.sweeps // FRAMES)
        self.annealing = Annealing(self.H, (settings.size, settings.size), 1, settings.seed, "cpu",
                                   Schedule(sweeps=settings.sweeps))
        self.done = False

    def frame(self) -> Frame:
        """Return the current frame."""
        spins = self.annealing.spins[0]
        return Frame(spins, float(self.H.energy_per_spin(spins)),
                     float(topological_charge(spins, self.H.mask, self.H.periodic_axes)),
                     self.annealing.temperature, self.annealing.sweep, self.done)

    def step(self) -> Frame:
        """Run the next sweeps, or after the last one the descent to T = 0; once relaxed nothing changes any more."""
        if not self.annealing.done:
            self.annealing.run(self.stride)
        elif not self.done:
            self.annealing.finish()
            self.done = True
        return self.frame()

r"""A small ferromagnet to try everything on: an fcc crystal with nearest neighbours only, by the explicit Hamiltonian.

Atoms of iron's mass with moments of 2.2 mu_B, Morse pairs of 0.35 eV, and an exchange of some 5 meV a bond (for unit
moments) that depends on the bond's length. It is made up: magnons (up to 18 THz) and phonons (up to 8 THz) lie close
together and the Curie temperature, near 190 K, far below melting, so that little motion shows much. A crystal has its
closed forms: see tests/deepspin/test_deepspin_spectra.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import numpy as np
import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames, concatenate
from evae_companion.deepspin.dynamics import Integrator, State, Thermostat, at_rest
from evae_companion.deepspin.model import ModelSpec
from evae_companion.deepspin.potential import label
from evae_companion.deepspin.reference import SpinLattice

MOMENT = 2.2  # mu_B
WEIGHT = 55.845  # g/mol
SIDE = 3.6  # angstrom, of the cube with four atoms; bonds are SIDE/sqrt(2)
ENGINE = SpinLattice(("Fe",), (True,), depth=((0.35,),), width=((1.6,),), bond=((2.55,),), exchange=((0.0015,),),
                     shape=0.2, decay=1.841, cutoff=3.4, smooth_from=2.9)
# Its range is the engine's and a virtual atom's distance, 0.3 angstrom.
MODEL = ModelSpec(ENGINE.names, (0.3 / MOMENT,), cutoff=3.8, smooth_from=3.0)


def crystal(repeat: Sequence[int]) -> State:
    """4 * n_x * n_y * n_z atoms on their sites, all moments along z."""
    steps = np.stack(np.meshgrid(*map(np.arange, repeat), indexing="ij"), -1).reshape(-1, 1, 3)
    inside = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    positions = SIDE * (steps + inside).reshape(-1, 3)
    spins = np.zeros_like(positions)
    spins[:, 2] = MOMENT
    return at_rest(Frames(ENGINE.names, torch.zeros(len(positions), dtype=torch.int64),
                          SIDE * torch.diag(torch.tensor(repeat).double())[None], torch.from_numpy(positions[None]),
                          torch.from_numpy(spins[None])), [WEIGHT])


def path(repeat: Sequence[int]) -> tuple[np.ndarray, Tensor]:
    """Wave vectors from Gamma (left out) to X along x that fit into a crystal: parts of the way, (Q, 3) 1/angstrom."""
    parts = np.arange(1, repeat[0] + 1) / repeat[0]
    return parts, torch.from_numpy(2 * pi / SIDE * parts[:, None] * np.array([1.0, 0.0, 0.0]))


def thermal_frames(temperatures: Sequence[float], each: int, repeat: Sequence[int] = (2, 2, 2), apart: int = 15,
                   dt: float = 4e-3, seed: int = 0) -> Frames:
    """Labelled configurations of the engine's own motion with a thermostat, ``each`` at every temperature (K).

    ``apart`` steps lie between two, and four times as many before the first at a temperature.
    """
    generator = torch.Generator().manual_seed(seed)
    state, found = crystal(repeat), []
    for temperature in temperatures:
        integrator = Integrator(ENGINE, state, dt, thermostat=Thermostat(temperature, friction=5.0, damping=0.3),
                                generator=generator, tolerance=1e-4)
        integrator.run(4 * apart)
        for _ in range(each):
            state = integrator.run(apart)
            found.append(state.frames)
    return label(ENGINE, concatenate(found))


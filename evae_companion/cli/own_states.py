"""States and Hamiltonians from a user's own files and options, for ``evae certify`` and ``evae judge``."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from evae_companion.cli.errors import Failure

if TYPE_CHECKING:
    import torch

    from evae_core.hamiltonian import Hamiltonian
    from evae_core.materials import Material

LATTICE = ("J", "D", "B", "K")
CONSTANTS = ("A", "D", "Ms", "Ku", "field", "thickness", "thin_film")  # of a Material, besides dmi
SUFFIXES = (".npy", ".ovf", ".omf")
UNIT = 1e-3  # by which a length may be off


def options(parser: ArgumentParser) -> None:
    """Add the options that say of which Hamiltonian the states are."""
    group = parser.add_argument_group("the Hamiltonian", "--D and --B in units of J, or --material in SI units")
    for name, what in (("J", "exchange (default: 1)"), ("D", "DM strength"), ("B", "field times moment, along +z"),
                       ("K", "uniaxial anisotropy (default: 0)")):
        group.add_argument(f"--{name}", type=float, help=what)
    group.add_argument("--dmi", choices=("bloch", "neel"), help="bulk or interfacial (default: bloch; with --material "
                       "neel)")
    group.add_argument("--boundary", choices=("periodic", "open"), help="default: periodic, or open where the file "
                       "holds zero vectors, which are non-magnetic sites")
    group.add_argument("--material", metavar="A=...,D=...,Ms=...", help="constants of a film: A (J/m), D (J/m^2), Ms "
                       "(A/m), Ku (J/m^3), field (T), thickness (m), thin_film (1: stray field of a thin film)")
    group.add_argument("--cell", type=float, metavar="a", help="side of a cell in m, with --material (default: the OVF "
                       "file's)")


def load(paths: list[str]) -> tuple[torch.Tensor, list[str], tuple[float, ...] | None]:
    """Load the states of files and of folders.

    Returns
    -------
    spins : (n, 3, Ny, Nx), unit vectors, 0 on non-magnetic sites.
    names : n names, of the file and, in a stack, the number.
    step : cell size in m, where every file is an OVF file of that cell; else None.
    """
    import torch

    states: list[torch.Tensor] = []
    names: list[str] = []
    steps: set[tuple[float, ...] | None] = set()
    for path in _files(paths):
        spins, step = _read(path)
        steps.add(step)
        if states and spins.shape[1:] != states[0].shape[1:]:
            raise Failure(f"{path} holds a lattice of {_box(spins)} sites, {names[0]} one of {_box(states[0])}; give "
                          "states of one lattice", code=2)
        states.append(spins.float())
        names += [str(path)] if len(spins) == 1 else [f"{path}[{k}]" for k in range(len(spins))]
    spins = torch.cat(states)
    magnetic = (spins != 0).any(1)
    if not (magnetic == magnetic[0]).all():
        raise Failure("the states have their zero vectors, which are non-magnetic sites, at different places; give "
                      "states of one sample", code=2)
    return spins, names, steps.pop() if len(steps) == 1 else None


def _files(paths: list[str]) -> list[Path]:
    files = []
    for path in map(Path, paths):
        inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise Failure(f"the folder {path} holds no {', '.join(SUFFIXES)} file", code=2)
        files += inside
    return files


def _box(spins: torch.Tensor) -> str:
    return f"{spins.shape[-2]} x {spins.shape[-1]}"


def _read(path: Path) -> tuple[torch.Tensor, tuple[float, ...] | None]:
    """Return the states (n, 3, Ny, Nx) of one file, and the cell of an OVF file."""
    import numpy as np
    import torch
    from torch.nn.functional import normalize

    from evae_companion.io import load_state, read_ovf

    try:
        if path.suffix.lower() not in (".ovf", ".omf"):
            spins, step = load_state(path), None
            spins = spins.reshape(-1, *spins.shape[-3:])
            lengths = spins.double().square().sum(1).sqrt()
        else:
            held = read_ovf(path)
            if held.values.shape[0] != 1:
                raise ValueError(f"it has {held.values.shape[0]} layers; save one layer of it, since the Hamiltonian "
                                 "is that of a single one")
            spins, step = held.spins()[None], held.step if held.header.get("meshunit", "m") == "m" else None
            lengths = torch.from_numpy(np.linalg.norm(held.values[0].astype(np.float64), axis=-1))
            lengths = lengths / lengths.max()  # in A/m, say
        lengths = lengths[lengths > 0]
        if not len(lengths):
            raise ValueError("it holds only zero vectors, or no state")
        if float((lengths - 1).abs().max()) > UNIT:
            raise ValueError(f"its vectors have lengths from {float(lengths.min()):.3g} to {float(lengths.max()):.3g}, "
                             "and spins have length 1; divide each by its length, if they are directions")
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}", code=2) from error
    except (TypeError, ValueError) as error:
        raise Failure(str(error) if str(path) in str(error) else f"{path}: {error}", code=2) from error
    return normalize(spins.double(), dim=1), step


def hamiltonian(arguments: Namespace, spins: torch.Tensor, step: tuple[float, ...] | None
                ) -> tuple[Hamiltonian, Material | None]:
    """Return the Hamiltonian that the options state for the lattice of ``spins``, and the material, if one is given."""
    from evae_core.hamiltonian import Hamiltonian

    magnetic = (spins[0] != 0).any(0).numpy()
    boundary = arguments.boundary or ("periodic" if magnetic.all() else "open")
    if not magnetic.all():
        if boundary == "periodic":
            raise Failure(f"--boundary periodic contradicts the {int((~magnetic).sum())} zero vectors of the file: a "
                          "sample with non-magnetic sites is open; leave --boundary out", code=2)
        boundary = magnetic
    given = {name: value for name in LATTICE if (value := getattr(arguments, name)) is not None}
    try:
        if arguments.material is not None:
            if given:
                raise ValueError(f"--material takes the place of {', '.join('--' + name for name in given)}; give one "
                                 "or the other")
            material = _material(arguments)
            return material.hamiltonian(_cell(arguments, step), boundary), material
        if arguments.cell is not None:
            raise ValueError("--cell belongs to --material; without it, D and B are those of the lattice")
        if missing := [f"--{name}" for name in ("D", "B") if name not in given]:
            raise ValueError(f"{' and '.join(missing)} must be given, in units of J (0 where there is none), or "
                             "--material A=...,D=...,Ms=...")
        return Hamiltonian(**given, dmi=arguments.dmi or "bloch", boundary=boundary), None
    except (TypeError, ValueError) as error:
        raise Failure(str(error), code=2) from error


def _material(arguments: Namespace) -> Material:
    from evae_core.materials import Material

    numbers: dict[str, float] = {}
    for part in arguments.material.split(","):
        name, _, value = part.partition("=")
        if name not in CONSTANTS or name in numbers:
            raise ValueError(f"--material must be name=value with the names {', '.join(CONSTANTS)}, each once and "
                             f"joined by commas, got {part!r:.60}")
        try:
            numbers[name] = float(value)
        except ValueError:
            raise ValueError(f"--material: {name} must be a number, got {value!r:.60}") from None
    if missing := [name for name in ("A", "D", "Ms") if name not in numbers]:
        raise ValueError(f"--material lacks {', '.join(missing)}")
    film = numbers.pop("thin_film", 0.0)
    if film not in (0.0, 1.0):
        raise ValueError(f"--material: thin_film must be 0 or 1, got {film:g}")
    return Material(**numbers, dmi=arguments.dmi or "neel", thin_film=bool(film))


def _cell(arguments: Namespace, step: tuple[float, ...] | None) -> float:
    if arguments.cell is not None:
        return float(arguments.cell)
    if step is None:
        raise ValueError("--cell must be given: the files do not say one side of their cells in m")
    if not math.isclose(step[0], step[1], rel_tol=1e-6):
        raise ValueError(f"the cells of the file are {step[0]:g} m x {step[1]:g} m, and the lattice is square; sample "
                         "the state on square cells")
    return step[0]


def described(H: Hamiltonian, spins: torch.Tensor, material: Material | None) -> str:
    """Return one line about the lattice and the Hamiltonian."""
    mask = H.mask
    edge = str(H.boundary) if mask is None else f"open, {int(mask.sum())} of them magnetic"
    joules = "" if material is None else (
        f"; the unit J is {material.J:.4g} joule in a layer of {material.thickness:g} m")
    return (f"{_box(spins)} sites, {edge}; J = {H.J:g}, D = {H.D:.5g}, B = {H.B:.5g}, K = {H.K:.5g}, {H.dmi} DM"
            f"{joules}")

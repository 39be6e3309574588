"""The command ``evae certify``: is a given state a minimum, and is anything lower known in the same box?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from evae_companion.cli import own_states
from evae_companion.cli.errors import Failure

if TYPE_CHECKING:
    from evae_companion.analysis import Certificate

SHOWN = 10  # candidates printed
KINDS = {"minimum": "a minimum", "saddle": "a saddle point", "soft": "a minimum but for flat modes, as of a texture "
         "that glides"}


def options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("file", metavar="STATE", help=".ovf, .omf or .npy (3, Ny, Nx) of one state")
    own_states.options(parser)
    parser.add_argument("--quick", action="store_true", help="a search of seconds instead of minutes (some three at "
                        "64 x 64 on two cores): it misses more")
    parser.add_argument("--seed", type=int, default=1000, help="of the search (default: 1000)")
    parser.add_argument("--picture", metavar="FILE.png", help="the state as given, relaxed, and the best one known "
                        "(default: STATE_certificate.png here)")


def certify(arguments: Namespace, root: Path) -> int:
    """Print energy, charge, torque, lowest modes, candidates and the verdict; write the picture."""
    from evae_companion.analysis import certificate, certificate_search

    picture = Path(arguments.picture or f"{Path(arguments.file).stem}_certificate.png")
    if picture.suffix != ".png":
        raise Failure(f"--picture must end in .png, got {arguments.picture!r:.60}", code=2)
    spins, names, step = own_states.load([arguments.file])
    if len(spins) > 1:
        raise Failure(f"{arguments.file} holds {len(spins)} states; certify takes one, evae judge scores many", code=2)
    H, material = own_states.hamiltonian(arguments, spins, step)
    print(f"{names[0]}: {own_states.described(H, spins, material)}", flush=True)
    try:
        result = certificate(H, spins[0], certificate_search(H, arguments.quick, arguments.seed),
                             report=lambda line: print(f"  {line}", flush=True))
    except ValueError as error:
        raise Failure(f"{error}; see evae certify --help", code=2) from error
    except RuntimeError as error:
        raise Failure(str(error)) from error
    print("\n".join(lines(result)))
    print(f"written to {draw(result, picture)}")
    return 0


def lines(result: Certificate) -> list[str]:
    """Return what is printed about a certificate; energies in J, the unit of the couplings."""
    def row(name: str, energy: float, charge: float, torque: float) -> str:
        return (f"{name:10}{energy:>16.9f}{energy * result.sites:>18.6f}{charge + 0.0:>10.2f}{torque:>13.1e}")

    values = ", ".join(f"{value:.3g}" for value in result.modes.eigenvalues.tolist())
    lost = result.energy - result.relaxed_energy
    said = ["", f"{'':10}{'E/N (J)':>16}{'E (J)':>18}{'charge':>10}{'torque (J)':>13}",
            row("as given", result.energy, result.charge, result.torque),
            row("relaxed", result.relaxed_energy, result.relaxed_charge, result.relaxed_torque),
            f"relaxing moved it by {result.moved:.2g} (chord per spin) and took {max(lost, 0.0):.2g} J per spin",
            f"lowest modes {values} J: {KINDS[result.kind]}", "",
            "candidates of an independent search in the same box, lowest first"]
    for number, one in enumerate(result.candidates.candidates[:SHOWN], 1):
        said.append(f"{number:3d}  {one.energy:.9f} J per spin  charge {round(one.charge, 2) + 0.0:7.2f}  found "
                    f"{one.found:4d} times  {one.kind}: {one.description}")
    if more := len(result.candidates.candidates) - SHOWN:
        said += [f"     and {more} more"] * (more > 0)
    return [*said, "", f"above the best of them: {result.gap:.3g} J per spin as given, {result.relaxed_gap:.3g} J per "
            "spin relaxed", result.verdict[0].upper() + result.verdict[1:] + "."]


def draw(result: Certificate, path: Path) -> str:
    """Write the state as given, relaxed, and the best candidate as PNG and PDF; return the files' names."""
    import torch

    from evae_companion import plotting
    from evae_companion.plotting.style import minus

    best = result.candidates.best
    shown = [("as given", result.state, result.energy, result.charge),
             ("relaxed", result.relaxed, result.relaxed_energy, result.relaxed_charge),
             ("best known", result.candidates.spins, best.energy, best.charge)]
    labels = [minus(f"{name}\n$E/N$ = {energy:.6f} J\ncharge {round(charge, 1) + 0.0:g}")
              for name, _, energy, charge in shown]
    figure = plotting.gallery(torch.stack([state.double() for _, state, _, _ in shown]).numpy(), labels, 3)
    return " and ".join(map(str, plotting.save(figure, path.parent, path.stem, caption_file=False, caption=(
        "A state as given, the same relaxed, and the best state of an independent search, as maps of spins. "
        "Above each map stand the energy per spin (J) and the topological charge."))))

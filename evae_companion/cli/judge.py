"""The command ``evae judge``: an ensemble of states from any source, scored by the measures of this project."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evae_companion.cli import own_states
from evae_companion.cli.errors import Failure

if TYPE_CHECKING:
    from evae_companion.analysis import Judgement

SHOWN = 5  # states in the figure
ROWS = {
    "energy": "E/N as given, mean (J)", "energy_spread": "E/N as given, standard deviation (J)",
    "energy_lowest": "E/N as given, lowest (J)", "relaxed_energy": "E/N relaxed, mean (J)",
    "relaxed_energy_spread": "E/N relaxed, standard deviation (J)", "relaxed_energy_lowest": "E/N relaxed, lowest (J)",
    "near_minimum": "share within 1e-4 J per spin of its own minimum", "kspace_mse": "diversity: pairwise k-space MSE",
    "copies": "share of states that are copies", "distinct_minima": "distinct minima per state",
    "charge": "topological charge, mean", "charge_spread": "topological charge, standard deviation",
    "theta": "median angle between spin and field (degrees)", "period": "strongest period of S(k) (sites)",
    "coverage": "coverage of the reference", "density": "density in the reference",
    "structure_distance": "distance of S(k) from the reference (0 to 1)"}


def options(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("files", nargs="+", metavar="STATES", help=".ovf, .omf or .npy files, or folders of them; a "
                        ".npy may hold a stack (n, 3, Ny, Nx)")
    own_states.options(parser)
    parser.add_argument("--reference", nargs="+", metavar="STATES", help="states to compare with, as training data")
    parser.add_argument("--json", metavar="FILE", help="write every number, and those of each state")
    parser.add_argument("--figure", metavar="FILE.png", help="energies, charges, structure factor and some states")


def judge(arguments: Namespace, root: Path) -> int:
    """Print the table of scores; write the JSON file and the figure."""
    from evae_companion import analysis
    from evae_companion.store.serialization import write_json

    if arguments.figure is not None and Path(arguments.figure).suffix != ".png":
        raise Failure(f"--figure must end in .png, got {arguments.figure!r:.60}", code=2)
    spins, names, step = own_states.load(arguments.files)
    if len(spins) < 2:
        raise Failure(f"{names[0]} is one state, and an ensemble has two or more; evae certify takes one", code=2)
    H, material = own_states.hamiltonian(arguments, spins, step)
    reference = None if arguments.reference is None else own_states.load(arguments.reference)[0]
    try:
        result = analysis.judge(H, spins, reference)
    except ValueError as error:
        raise Failure(f"{error}; see evae judge --help", code=2) from error
    except RuntimeError as error:
        raise Failure(str(error)) from error
    print(f"{len(spins)} states, {own_states.described(H, spins, material)}\n")
    print("\n".join(table(result)))
    if arguments.json is not None:
        write_json(arguments.json, {"hamiltonian": H.spec(), "shape": list(spins.shape[-2:]),
                                    "states": _plain(result) | {"files": names},
                                    "reference": result.reference and _plain(result.reference)})
        print(f"\nwritten to {arguments.json}")
    if arguments.figure is not None:
        print(f"\nwritten to {draw(result, Path(arguments.figure))}")
    return 0


def _plain(one: Judgement) -> dict[str, Any]:
    return {"measures": one.measures} | {name: getattr(one, name).tolist() for name in (
        "energy", "relaxed_energy", "charge", "relaxed_charge", "structure")}


def table(result: Judgement) -> list[str]:
    """Return the scores as lines of a markdown table, those of the reference in a second column."""
    sets = [result] + ([] if result.reference is None else [result.reference])
    heads = ["these states", "reference"][:len(sets)]
    said = ["| measure | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(sets)]
    for name, what in ROWS.items():
        if name in result.measures:
            cells = [f"{one.measures[name] + 0.0:.6g}" if name in one.measures else "" for one in sets]
            said.append(f"| {what} | " + " | ".join(cells) + " |")
    return said


def draw(result: Judgement, path: Path) -> str:
    """Write the figure as PNG and PDF; return the files' names."""
    from evae_companion import plotting

    sets = {"states": result} | ({} if result.reference is None else {"reference": result.reference})
    lowest = min(float(one.relaxed_energy.min()) for one in sets.values())
    figure = plotting.ensemble_scores(result.spins[:SHOWN].numpy(), {name: {
        key: getattr(one, key) for key in ("energy", "relaxed_energy", "charge", "structure")}
        for name, one in sets.items()}, lowest)
    return " and ".join(map(str, plotting.save(figure, path.parent, path.stem, caption_file=False, caption=(
        "Some states of an ensemble (a) above cumulative distributions of the energy per spin above the lowest (J, b), "
        "the topological charge (c), and the structure factor against the wave number (d)."))))

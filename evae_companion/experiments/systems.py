"""Other magnets for the same code: zero field, an easy plane, frustrated exchange, with their data and stages.

Each lives on a small periodic square, is annealed with the preset's schedule for nearly perfect lattices and trained
with a short gamma sweep. Only the Hamiltonian differs.
"""

from __future__ import annotations

from evae_companion.data_specs import DataSpec, ordered_schedule
from evae_companion.presets import RunPreset
from evae_core.bonds import shell
from evae_core.hamiltonian import Hamiltonian
from evae_core.training.stages import Stage, chained

# Torque (J) below which annealed states count as relaxed. Domain walls of frustrated exchange creep for thousands of
# sweeps; at this torque their energy is within 1e-5 J per spin of its final value (measured on 64 states of 32 x 32).
AT_REST = 1e-3


def hamiltonians(p: RunPreset) -> dict[str, Hamiltonian]:
    """Return the systems by name.

    * helices: B = 0, so that no skyrmion lowers the energy.
    * merons: easy plane K = -1.2 D^2/J with B = 0.4 D^2/J. Annealing finds vortices with cores up and down, mostly on
      square lattices. Why skyrmions fall apart so: S.-Z. Lin, A. Saxena and C. D. Batista, Phys. Rev. B 91, 224407
      (2015).
    * stripes: J1-J2 without DM at J2 = -J1, a collinear order two sites wide.
    * spirals: with third neighbours, J1 + 2 J2 + 4 J3 < 0, so that a uniform state is unstable. J1-J2 alone has no
      spiral on the square lattice.
    """
    J, D = p.J, p.D
    return {"helices": Hamiltonian(J=J, D=D, B=0.0),
            "merons": Hamiltonian(J=J, D=D, B=0.4 * D**2 / J, K=-1.2 * D**2 / J),
            "stripes": Hamiltonian(J=J, D=0.0, B=0.0, further=shell(1, 1, -J)),
            "spirals": Hamiltonian(J=J, D=0.0, B=0.0, further=[*shell(1, 1, -0.4 * J), *shell(0, 2, -0.15 * J)])}


def specs(p: RunPreset) -> dict[str, DataSpec]:
    """Return the data sets of the systems, periodic, each as large as that of the first confined sample."""
    schedule = ordered_schedule(p, AT_REST)
    return {name: DataSpec(H, p.confined[0], p.confined_train, max(1, p.confined_train // 10), 0, p.shard, schedule)
            for name, H in hamiltonians(p).items()}


def way_to_collapse(p: RunPreset, beta: float, seed: int = 0) -> list[Stage]:
    """Return the stages to the collapse: one at gamma = 0 from random weights, then six up to gamma = 1e5.

    The first takes four times ``confined_steps``, each other stage ``confined_steps``.
    """
    steps = p.confined_steps
    gammas = (0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
    return chained([(beta, gamma, steps if gamma else 4 * steps) for gamma in gammas], p, seed)

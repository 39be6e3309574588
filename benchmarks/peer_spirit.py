"""Spirit's Monte Carlo on this machine, for comparison: 128 x 128, J = 1, D = 0.3, B = 0.05, T = 0.5 J; one core.

Run it in an environment of its own: `pip install spirit==2.2.0`, then `python benchmarks/peer_spirit.py`. Spirit takes
meV, tesla and kelvin; with 1 meV for J, B = 0.05 J is 0.05 meV over mu_B, and T = 0.5 J is 0.5 meV over k_B.
"""

import tempfile
import time
from pathlib import Path

from spirit import configuration, hamiltonian, parameters, simulation, state, system

MU_B, K_B = 0.057883817555, 0.08617330350  # meV/T, meV/K
SIZE, SWEEPS = 128, 200
CONFIG = f"""
n_basis_cells {SIZE} {SIZE} 1
boundary_conditions 1 1 0
bravais_lattice sc
mu_s 1.0
output_file_tag <none>
log_to_file 0
log_to_console 0
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "system.cfg"
        path.write_text(CONFIG)
        with state.State(str(path), quiet=True) as p:
            # Each pair once; Spirit's energy is the sum over pairs, as ours.
            hamiltonian.set_exchange(p, 1, [1.0])
            hamiltonian.set_dmi(p, 1, [0.3], chirality=hamiltonian.CHIRALITY_BLOCH)
            hamiltonian.set_field(p, 0.05 / MU_B, [0, 0, 1])
            parameters.mc.set_temperature(p, 0.5 / K_B)
            configuration.random(p)
            simulation.start(p, simulation.METHOD_MC, n_iterations=20)
            rates = []
            for _ in range(5):
                start = time.perf_counter()
                simulation.start(p, simulation.METHOD_MC, n_iterations=SWEEPS)
                rates.append(SWEEPS * SIZE**2 / (time.perf_counter() - start) / 1e6)
            energy = system.get_energy(p) / SIZE**2
    rates.sort()
    print(f"Spirit 2.2.0, Metropolis: {rates[2]:.1f} ({rates[0]:.1f}-{rates[-1]:.1f}) million spin updates/s; "
          f"E/N = {energy:.4f} meV (the right value at T = 0.5 J is -1.5073)")

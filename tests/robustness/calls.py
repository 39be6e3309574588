"""Calls that are right, one for each public function of the package: what argument_fuzz.py gives wrong arguments to."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import torch
from call import Call


@cache
def functions() -> dict[str, Call]:
    """Every public function by name, with a small call that is right."""
    from calls_more import analysis, claims, deepspin, drawn, formats, peace
    found = core() | analysis() | formats() | claims() | drawn() | peace() | deepspin()
    for call in found.values():
        call.function(**call.right)  # it is right; and what is compiled at the first call is compiled now
    return found


def core() -> dict[str, Call]:
    """The E-VAE, its Hamiltonian, annealer, observables and textures."""
    import evae_core
    from evae_companion import data_specs
    from evae_companion.analysis.barrier import barrier
    from evae_companion.analysis.theta_density import theta_density
    from evae_companion.presets import PRESETS
    from evae_companion.store import deadline
    from evae_core import bonds, latent, materials, observables, textures
    from evae_core.annealing import lbfgs_refine, replicas_from, runs_on
    from evae_core.textures import commensurate_lattices
    from evae_core.training import make_step, stages

    H = evae_core.Hamiltonian(D=0.6, B=0.2)
    schedule = evae_core.Schedule(sweeps=2, overrelax=0, tolerance=1.0)
    spins = torch.nn.functional.normalize(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    model = evae_core.VAE(16).eval()
    z = torch.zeros(model.latent)
    centres = np.array([[1.0, 2.0], [6.0, 3.0], [9.0, 9.0]])
    on = {"H": H, "spins": spins}
    one = {"spins": spins[0]}
    stage = {"beta": 1e-3, "gamma": 1.0, "steps": 2, "batch": 4, "learning_rate": 1e-3, "final_rate": 0.1,
             "translate": False, "seed": 0}
    data = {"hamiltonian": H, "shape": (16, 16), "train": 4, "validation": 2, "test": 2, "shard": 4, "lowest": -2.3,
            "schedule": schedule, "seed": 0}
    table = {
        evae_core.Hamiltonian: Call(evae_core.Hamiltonian, {"J": 1.0, "D": 0.6, "B": 0.2, "K": 0.0, "dmi": "bloch",
                                                            "boundary": "periodic", "further": [(1, 1, 0.1)],
                                                            "terms": ()}),
        evae_core.Schedule: Call(evae_core.Schedule, dataclasses.asdict(schedule)),
        evae_core.anneal: Call(evae_core.anneal, {"H": H, "shape": (8, 8), "n": 2, "seed": 0, "device": "cpu",
                                                  "schedule": schedule, "first": 0, "progress": None, "keep": False},
                               {"progress": "lambda|int()"}),
        evae_core.Annealing: Call(evae_core.Annealing, {"H": H, "shape": (8, 8), "n": 2, "seed": 0, "device": "cpu",
                                                        "schedule": schedule, "first": 0}),
        evae_core.heat_bath: Call(evae_core.heat_bath, {**on, "T": 0.5, "sweeps": 1, "seed": 0, "overrelax": 0,
                                                        "device": "cpu"}),
        evae_core.relax: Call(evae_core.relax, {**on, "tolerance": 1.0, "max_sweeps": 500, "device": "cpu"}),
        evae_core.load_preset: Call(evae_core.load_preset, {"name": "smoke", "table": PRESETS},
                                         {"name": "preset", "table": "preset"}),
        evae_core.VAE: Call(evae_core.VAE, {"size": 16, "latent": 100, "boundary": "periodic",
                                                      "config": evae_core.VAEConfig()},
                            {"boundary": "mask", "size": "shape"}),
        evae_core.VAEConfig: Call(evae_core.VAEConfig, {"latent": 10, "filters": (6, 12), "hidden": 20, "slope": 0.1,
                                                        "logvar_start": -6.0}),
        "VAE.loss": Call(model.loss, {"spins": spins, "hamiltonian": H, "beta": 1e-3, "gamma": 1.0}),
        "VAE.encode": Call(model.encode, {"spins": spins}, nan=True),
        "VAE.decode": Call(model.decode, {"z": z[None]}),
        "VAE.generate": Call(model.generate, {"n": 2, "prior": "standard"}),
        evae_core.topological_charge: Call(evae_core.topological_charge, {**one, "mask": None, "periodic": None}),
        evae_core.skyrmion_lattice: Call(evae_core.skyrmion_lattice, {"H": H, "shape": (16, 16), "device": "cpu"},
                                         {"H": "D="}),
        make_step: Call(make_step, {
            "size": 16, "hamiltonian": H, "beta": 1e-3, "gamma": 1.0, "device": "cpu", "learning_rate": 1e-3, "seed": 0,
            "model": None, "fused": False, "precision": None}, {"size": "shape"}),
        stages.Stage: Call(stages.Stage, {**stage, "parent": None, "config": None}),
        stages.stage_schedule: Call(stages.stage_schedule, {"preset": PRESETS["smoke"], "beta": 1e-3, "seed": 0,
                                                "gammas": (1.0, 10.0)}),
        stages.control_stages: Call(stages.control_stages, {"preset": PRESETS["smoke"], "beta": 1e-3, "seed": 0}),
        data_specs.DataSpec: Call(data_specs.DataSpec, data),
        commensurate_lattices.commensurate_cells: Call(commensurate_lattices.commensurate_cells,
                                                       {"shape": (16, 16), "count": 3}, {"shape": "sites"}),
        deadline.after: Call(deadline.after, {"minutes": 1.0}),
    }
    for name, more in {"charge_density": {"mask": None, "periodic": None}, "kspace": {"complex": False, "shift": False},
                       "structure_factor": {"shift": False},
                       "skyrmion_centres": {"threshold": 0.0, "periodic": True}}.items():
        table[name] = Call(getattr(observables, name), {**one, **more})
    for name in ("kspace_mse", "kspace_pairs"):
        table[name] = Call(getattr(observables, name), {"spins": spins, "complex": False})
    wire = table[evae_core.Hamiltonian].right | {"boundary": ("open", "periodic")}
    table["wire"] = Call(evae_core.Hamiltonian, wire)
    table["wire_charge"] = Call(observables.charge_density, {**one, "mask": None, "periodic": (False, True)})
    table["theta"] = Call(observables.theta, on)
    table["theta_density"] = Call(theta_density, {**on, "bins": 20, "log": False, "lowest": 1e-6})
    for name in ("coordination", "defects", "periodic_images"):
        table[name] = Call(getattr(observables, name), {"centres": centres, "shape": (16, 16)})
    table["coordination"].right["periodic"] = True
    table["lbfgs_refine"] = Call(lbfgs_refine, {"H": H, "spins": textures.uniform((16, 16)), "tolerance": 1e-2})
    table["replicas_from"] = Call(replicas_from, {**on, "seed": 0, "device": "cpu"})
    table["runs_on"] = Call(runs_on, {"device": "cpu"})
    table["uniform"] = Call(textures.uniform, {"shape": (16, 16), "up": True})
    table["skyrmions"] = Call(textures.skyrmions, {"H": H, "shape": (16, 16), "centres": centres, "radius": 3.0})
    table["helix_period"] = Call(textures.helix_period, {"H": H})
    table["helix"] = Call(textures.helix, {"H": H, "shape": (16, 16), "turns": 1, "axis": "x"})
    lattice = textures.skyrmion_lattice(H, (32, 32))
    for name in ("with_interstitial",):
        table[name] = Call(getattr(textures, name), {"H": H, "lattice": lattice, "device": "cpu"},
                           {"H": "the lattice|charge|survive|D=", "lattice": "charge|survive|skyrmion"})
    table["interstitial_pair"] = Call(textures.interstitial_pair, {"H": H, "shape": (24, 24), "device": "cpu"},
                                      {"H": "D=", "shape": "holds an interstitial|survives"})
    table["skyrmion_lattices"] = Call(textures.skyrmion_lattices, {"H": H, "shape": (16, 16), "counts": [1],
                                                                   "keep": 1, "tolerance": 1e-3, "device": "cpu"},
                                      {"H": "D=", "counts": "no skyrmion lattice survives"})
    table["interpolate"] = Call(latent.interpolate, {"model": model, "z_start": z, "z_end": z + 1, "steps": 3})
    table["inverse_map"] = Call(latent.inverse_map, {"model": model, "targets": spins, "steps": 2,
                                                     "learning_rate": 0.05})
    table["barrier"] = Call(barrier, {"energy": np.arange(20.0)})
    film = materials.Material(A=1e-11, D=1.5e-3, Ms=6e5, Ku=2.5e5, field=0.1, thickness=1e-9)
    table["Material"] = Call(materials.Material, dataclasses.asdict(film))
    table["Material.hamiltonian"] = Call(film.hamiltonian, {"cell": 2e-9, "boundary": "periodic"})
    table["shell"] = Call(bonds.shell, {"dy": 1, "dx": 1, "J": 0.5})
    for name in ("energy", "energy_density", "field", "alignment", "torque", "energy_per_spin"):
        table[f"Hamiltonian.{name}"] = Call(getattr(H, name), {"spins": spins})
    for name in ("sites", "bonds", "reference_energy", "check_shape"):
        table[f"Hamiltonian.{name}"] = Call(getattr(H, name), {"shape": (16, 16)})
    return {name if isinstance(name, str) else name.__qualname__: call for name, call in table.items()}

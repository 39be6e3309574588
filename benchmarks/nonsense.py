"""Give every public function, and the command line, one wrong argument at a time, and look at what it says.

``functions()`` holds for each of them a call that is right. hypothesis picks one, an argument and a value that may be
nonsense there. Right answers are: a TypeError, ValueError or RuntimeError whose words name the argument, or, where
the value happens to make sense, a result of finite numbers. Everything else is a fault: another exception, words that
do not say what is wrong, NaN, and what takes longer than SECONDS of the processor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import math
import os
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st

SECONDS = 1.0
COMMANDS = ("figures", "train", "claims", "record", "pack", "unpack", "notebooks", "clean", "info")


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, arguments that are right, and other words that may stand for an argument in a message.

    """

    function: Callable
    right: dict
    words: dict[str, str] = dataclasses.field(default_factory=dict)


@cache
def functions() -> dict[str, Call]:
    """Every public function by name, with a small call that is right."""
    import evae_core
    from evae_core import cells, dataset, ladders, latent, observables, textures, timebox, training
    from evae_core.presets import PRESETS

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
    data = {"hamiltonian": H, "shape": (16, 16), "train": 4, "validation": 2, "test": 2, "shard": 4,
            "schedule": schedule, "seed": 0}
    table = {
        evae_core.Hamiltonian: Call(evae_core.Hamiltonian, {"J": 1.0, "D": 0.6, "B": 0.2, "K": 0.0, "dmi": "bloch",
                                                            "boundary": "periodic"}),
        evae_core.Schedule: Call(evae_core.Schedule, dataclasses.asdict(schedule)),
        evae_core.anneal: Call(evae_core.anneal, {"H": H, "shape": (8, 8), "n": 2, "seed": 0, "device": "cpu",
                                                  "schedule": schedule, "first": 0, "progress": None, "keep": False}),
        evae_core.Annealing: Call(evae_core.Annealing, {"H": H, "shape": (8, 8), "n": 2, "seed": 0, "device": "cpu",
                                                        "schedule": schedule, "first": 0}),
        evae_core.heat_bath: Call(evae_core.heat_bath, {**on, "T": 0.5, "sweeps": 1, "seed": 0, "overrelax": 0,
                                                        "device": "cpu"}),
        evae_core.relax: Call(evae_core.relax, {**on, "tolerance": 1.0, "max_sweeps": 500, "device": "cpu"}),
        evae_core.load_preset: Call(evae_core.load_preset, {"name": "smoke"}, {"name": "preset"}),
        evae_core.VAE: Call(evae_core.VAE, {"size": 16, "latent": 100, "boundary": "periodic"},
                            {"boundary": "mask"}),
        "VAE.loss": Call(model.loss, {"spins": spins, "hamiltonian": H, "beta": 1e-3, "gamma": 1.0}),
        "VAE.encode": Call(model.encode, {"spins": spins}),
        "VAE.decode": Call(model.decode, {"z": z[None]}),
        "VAE.generate": Call(model.generate, {"n": 2}),
        evae_core.topological_charge: Call(evae_core.topological_charge, {**one, "mask": None, "periodic": None}),
        evae_core.skyrmion_lattice: Call(evae_core.skyrmion_lattice, {"H": H, "shape": (16, 16), "device": "cpu"},
                                         {"H": "D="}),
        training.make_step: Call(training.make_step, {
            "size": 16, "hamiltonian": H, "beta": 1e-3, "gamma": 1.0, "device": "cpu", "learning_rate": 1e-3, "seed": 0,
            "model": None, "compile": False, "precision": None}),
        ladders.Stage: Call(ladders.Stage, {**stage, "parent": None}),
        ladders.ladder: Call(ladders.ladder, {"preset": PRESETS["smoke"], "beta": 1e-3, "seed": 0}),
        ladders.control: Call(ladders.control, {"preset": PRESETS["smoke"], "beta": 1e-3, "seed": 0}),
        dataset.DataSpec: Call(dataset.DataSpec, data),
        cells.commensurate_cells: Call(cells.commensurate_cells, {"shape": (16, 16), "count": 3}),
        timebox.opened: Call(timebox.opened, {"minutes": 1.0}),
    }
    for name, more in {"charge_density": {"mask": None, "periodic": None}, "kspace": {"complex": False, "shift": False},
                       "structure_factor": {"shift": False},
                       "skyrmion_centres": {"threshold": 0.0, "periodic": True}}.items():
        table[name] = Call(getattr(observables, name), {**one, **more})
    for name in ("kspace_mse", "kspace_pairs"):
        table[name] = Call(getattr(observables, name), {"spins": spins, "complex": False})
    table["theta"] = Call(observables.theta, on)
    table["theta_density"] = Call(observables.theta_density, {**on, "bins": 20, "log": False, "lowest": 1e-6})
    for name in ("coordination", "defects", "periodic_images"):
        table[name] = Call(getattr(observables, name), {"centres": centres, "shape": (16, 16)})
    table["coordination"].right["periodic"] = True
    table["uniform"] = Call(textures.uniform, {"shape": (16, 16), "up": True})
    table["skyrmions"] = Call(textures.skyrmions, {"H": H, "shape": (16, 16), "centres": centres, "radius": 3.0})
    table["skyrmion_lattices"] = Call(textures.skyrmion_lattices, {"H": H, "shape": (16, 16), "counts": [1],
                                                                   "keep": 1, "tolerance": 1e-3, "device": "cpu"},
                                      {"H": "D=", "counts": "no skyrmion lattice survives"})
    table["interpolate"] = Call(latent.interpolate, {"model": model, "z_start": z, "z_end": z + 1, "steps": 3})
    table["inverse_map"] = Call(latent.inverse_map, {"model": model, "targets": spins, "steps": 2,
                                                     "learning_rate": 0.05})
    table["barrier"] = Call(latent.barrier, {"energy": np.arange(20.0)})
    for name in ("energy", "energy_density", "field", "alignment", "torque", "energy_per_spin"):
        table[f"Hamiltonian.{name}"] = Call(getattr(H, name), {"spins": spins})
    for name in ("sites", "bonds", "reference_energy", "check_shape"):
        table[f"Hamiltonian.{name}"] = Call(getattr(H, name), {"shape": (16, 16)})
    for call in table.values():
        call.function(**call.right)  # it is right; and what is compiled at the first call is compiled now
    return {name if isinstance(name, str) else name.__qualname__: call for name, call in table.items()}


def values() -> st.SearchStrategy:
    """What may be given in place of a right argument."""
    spins = torch.nn.functional.normalize(torch.randn(2, 3, 16, 16), dim=1)
    broken = spins.clone()
    broken[0, 0, 0, 0] = float("nan")
    fixed = [None, True, False, "", "x", "cuda", "openx", b"x", [], {}, (), object(), set(), 1j, lambda: None, int,
             float("nan"), float("inf"), -float("inf"), -1, 0, 1, 2, 3, -1.5, 0.5, 1e308, 1e-308, 10**9, 10**30, 2**64,
             (0, 0), (-1, 8), (8.5, 8), (8, 8, 8), ("8", "8"), (10**6, 10**6), (2**40, 2**40), [None], [[]], ["a", "b"],
             np.array([]), np.zeros(3), np.full(20, np.nan), np.zeros((2, 2)), np.array(["a"]), np.zeros((8, 8), bool),
             np.ones((8, 7), bool), np.array([[np.nan, 1.0]]), np.array(None), Path("x"),
             torch.zeros(0), torch.zeros(3), torch.zeros(2, 3, 16, 16), spins[:, :2], spins.half(), spins.int(), broken,
             spins[0, 0], 2 * spins, spins[:0], torch.zeros(2, 3, 0, 16),
             torch.zeros(2, 3, 17, 16, dtype=torch.complex64), spins.numpy()]
    return st.one_of(st.sampled_from(fixed), st.integers(-3, 40), st.floats(), st.text(max_size=5),
                     st.tuples(st.integers(-2, 9), st.integers(-2, 9)), st.lists(st.floats(), max_size=4))


def finite(result) -> bool:
    """Whether all numbers in a result are finite."""
    if isinstance(result, torch.Tensor):
        return not result.is_floating_point() or bool(torch.isfinite(result).all())
    if isinstance(result, np.ndarray):
        return result.dtype.kind != "f" or bool(np.isfinite(result).all())
    if isinstance(result, float):
        return math.isfinite(result)
    return all(finite(one) for one in result) if isinstance(result, (tuple, list)) else True


def wrong(name: str, argument: str, value) -> str | None:
    """What is wrong with how ``name`` takes ``value`` for ``argument``; None where nothing is."""
    call = functions()[name]
    described = f"{name}({argument}={value!r:.60})".replace("\n", " ")
    torch.manual_seed(0)
    start = time.process_time()
    try:
        with np.errstate(all="ignore"):
            result = call.function(**{**call.right, argument: value})
    except (TypeError, ValueError, RuntimeError) as error:
        said = str(error)
        if time.process_time() - start > SECONDS:
            return f"{described} took {time.process_time() - start:.1f} s"
        named = any(word in said for word in (argument, call.words.get(argument, argument)))
        return None if named else f"{described} is not named: {type(error).__name__}: {said:.150}"
    except Exception as error:  # what must not come out of any of them
        return f"{described}: {type(error).__name__}: {str(error):.150}"
    if time.process_time() - start > SECONDS:
        return f"{described} took {time.process_time() - start:.1f} s"
    return None if finite(result) else f"{described} gives numbers that are not finite"


@st.composite
def examples(draw) -> tuple[str, str, object]:
    """A function, one of its arguments, and a value for it."""
    name = draw(st.sampled_from(sorted(functions())))
    return name, draw(st.sampled_from(sorted(functions()[name].right))), draw(values())


def command_lines() -> st.SearchStrategy:
    """Command lines that are wrong, or ask for nothing but words."""
    word = st.one_of(st.sampled_from(["--preset", "smoke", "huge", "--only", "01", "99", "x", "--minutes", "-1", "nan",
                                      "inf", "1e999", "--list", "--recorded", "--yes", "--", "-", "", "--help",
                                      "a\\b"]),
                     st.text(max_size=6).filter(lambda text: "\0" not in text))
    # A right line of these two would compute for minutes or hours.
    return st.tuples(st.sampled_from([*COMMANDS, "dance", ""]), st.lists(word, max_size=4)).map(
        lambda p: [p[0], *p[1], *(["--preset", "huge"] if p[0] in ("train", "certify") else [])])


@cache
def _imported() -> None:
    """What the commands import when they are first given: not a matter of the arguments."""
    for name in ("jupytext.cli", "nbformat", "papermill", "evae_core.carry", "evae_core.recording"):
        import_module(name)


def wrong_command(argv: list[str], root: Path) -> str | None:
    """What is wrong with how the command line takes ``argv`` in a repository without notebooks; None if nothing."""
    from evae_core import cli
    _imported()
    said, start = io.StringIO(), time.process_time()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code = cli.main(argv, root)
        except SystemExit as error:
            code = error.code
        except Exception as error:
            return f"{argv}: {type(error).__name__}: {str(error):.150}"
    if time.process_time() - start > SECONDS:
        return f"{argv} took {time.process_time() - start:.1f} s"
    if code not in (0, 1, 2, 3):
        return f"{argv}: exit code {code}"
    return None if code == 0 or said.getvalue().strip() else f"{argv}: exit code {code} without a word"


TESTED_APART = ("Hamiltonian(further)", "ladder(gammas)")  # test_bonds.py; gammas are the stages' own


def uncovered() -> list[str]:
    """Public names of the package, and arguments of the functions here, that no call holds."""
    import evae_core
    held = functions()
    missing = [name for name in evae_core.__all__ if name not in held and name != "Losses"]
    for name, call in held.items():
        known = set(inspect.signature(call.function).parameters) - {"report", "generator", "check"}
        missing += [f"{name}({argument})" for argument in sorted(known - set(call.right))]
    return [name for name in missing if name not in TESTED_APART]


def run(count: int, root: Path) -> dict:
    """So many examples, three quarters of functions; a row of the table. Faults are printed as they come."""
    from hypothesis import HealthCheck, Phase, given, settings
    faults: set[str] = set()
    how = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    tried = {"functions": 0, "command lines": 0}

    @settings(how, max_examples=3 * count // 4)
    @given(examples())
    def calls(example):
        tried["functions"] += 1
        note(wrong(*example))

    @settings(how, max_examples=count - 3 * count // 4)
    @given(command_lines())
    def lines(argv):
        tried["command lines"] += 1
        note(wrong_command(argv, root))

    def note(fault):
        if fault and fault not in faults:
            faults.add(fault)
            print(f"    {fault}", flush=True)

    calls()
    lines()
    return {"examples": sum(tried.values()), **tried, "functions covered": len(functions()), "faults": len(faults)}


if __name__ == "__main__":
    import sys
    import tempfile
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(EVAE_STORE=f"{folder}/store", EVAE_FIGURES=f"{folder}/figures", EVAE_RECORDED="off")
        os.chdir(folder)
        print(uncovered())
        print(run(int(sys.argv[1]), Path(folder)))

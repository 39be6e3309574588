"""Give every public function, and the command line, one wrong argument at a time, and look at what it says.

calls.py holds for each of them a call that is right. hypothesis picks one, an argument and a value that may be nonsense
there. Right answers are: a TypeError, ValueError or RuntimeError whose words name the argument, an OSError that names
the file, or, where the value happens to make sense, a result of finite numbers. Everything else is a fault: another
exception, words that do not say what is wrong, NaN, and what takes longer than SECONDS of the processor.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import os
import time
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from calls import functions
from hypothesis import strategies as st

SECONDS = 1.0
COMMANDS = ("preview", "figures", "train", "forecast", "certify", "judge", "claims", "publish", "study", "pack",
            "unpack", "notebooks", "clean", "info")


@cache
def fixed() -> list:
    """What may be given in place of a right argument."""
    spins = torch.nn.functional.normalize(torch.randn(2, 3, 16, 16), dim=1)
    broken = spins.clone()
    broken[0, 0, 0, 0] = float("nan")
    return [None, True, False, "", "x", "cuda", "openx", b"x", [], {}, (), object(), set(), 1j, lambda: None, int,
             float("nan"), float("inf"), -float("inf"), -1, 0, 1, 2, 3, -1.5, 0.5, 1e308, 1e-308, 10**9, 10**30, 2**64,
             (0, 0), (-1, 8), (8.5, 8), (8, 8, 8), ("8", "8"), (10**6, 10**6), (2**40, 2**40), [None], [[]], ["a", "b"],
             np.array([]), np.zeros(3), np.full(20, np.nan), np.zeros((2, 2)), np.array(["a"]), np.zeros((8, 8), bool),
             np.ones((8, 7), bool), np.array([[np.nan, 1.0]]), np.array(None), Path("x"),
             torch.zeros(0), torch.zeros(3), torch.zeros(2, 3, 16, 16), spins[:, :2], spins.half(), spins.int(), broken,
             spins[0, 0], 2 * spins, spins[:0], torch.zeros(2, 3, 0, 16),
             torch.zeros(2, 3, 17, 16, dtype=torch.complex64), spins.numpy()]


def drawn(call) -> bool:
    """Whether a call is of a figure."""
    return call.function.__module__.startswith("evae_companion.plotting")


def values() -> st.SearchStrategy:
    """The same, and numbers and words of all kinds."""
    return st.one_of(st.sampled_from(fixed()), st.integers(-3, 40), st.floats(), st.text(max_size=5),
                     st.tuples(st.integers(-2, 9), st.integers(-2, 9)), st.lists(st.floats(), max_size=4))


WRONG = {"None": None, "a word": "wrong", "NaN": float("nan"), "inf": float("inf"), "-1": -1, "1.5": 1.5, "True": True,
         "10^30": 10**30, "an empty array": np.array([]), "an object": object()}  # in every argument's place
# What is right there nevertheless, and is not seen from the right call: signs, measured numbers, empty lists.
ACCEPTED = {
    "-1": """Hamiltonian.J Hamiltonian.D Hamiltonian.B Hamiltonian.K wire.J wire.D wire.B wire.K VAEConfig.logvar_start
        DataSpec.lowest helix.turns
        Material.D Material.Ku Material.field shell.dy shell.dx shell.J critical.data_kspace_mse gamma_sweep.data_energy
        claims.collapse.best_data claims.collapse.ideal plotting.ladder_curves.data_energy SpinLattice.shape
        plotting.ladder_curves.lowest
        plotting.collapse_measure.threshold plotting.collapse_measure.ideal_energy plotting.systems_collapse.threshold
        plotting.ensemble_scores.lowest plotting.ladder_curves.lowest
        SpinLattice.dm SpinLattice.anisotropy iron_like.dm iron_like.anisotropy Integrator.dt
        skyrmion_shapes.field""",
    "NaN": "critical.data_kspace_mse gamma_sweep.data_energy claims.collapse.best_data claims.collapse.ideal",
    "inf": """heat_bath.T camera.photons estimate.grains critical.data_kspace_mse gamma_sweep.data_energy
        claims.collapse.best_data claims.collapse.ideal""",
    "an empty array": """stage_schedule.gammas write_ovf.desc claims.save.results counts.results table.results
        summary.results claims.collapse.other claims.collapse.seeds plotting.phase_diagram.lines
        plotting.interpolation_energies.marks plotting.interpolation_frames.notes""",
    "None": """criticals.beta peace.autocorrelation.camera_noise Tracker.optics peace.train.training peace.train.shape
        peace.train.start Shape.beam""",
    "1.5": """criticals.latents beta_by_kl.latents plotting.save.dpi plotting.interpolation_energies.window
        plotting.minimum_barrier.window""",
    "a word": "write_ovf.title claims.save.notebook claims.load.where plotting.save.name plotting.save.caption",
    "an array": "write_ovf.spins", "NaN in it": "VAE.encode.spins",
    "True": """wire_charge.periodic topological_charge.periodic charge_density.periodic estimate.lag_zero
        plotting.save.caption_file"""}


def may_be(kind: str, name: str, argument: str) -> bool:
    """Whether an argument may have a value of this kind: by its right value, its default, or the list above."""
    call = functions()[name]
    right, parameters = call.right[argument], inspect.signature(call.function).parameters
    default = parameters[argument].default if argument in parameters else right
    return f"{name}.{argument}" in ACCEPTED.get(kind, "").split() or {
        "None": right is None or default is None, "a word": isinstance(right, Path), "True": isinstance(right, bool),
        "1.5": right is None or isinstance(right, float), "10^30": True}.get(kind, False)


def table(name: str) -> list[str]:
    """What is wrong with how ``name`` takes each of ``WRONG`` in the place of each of its arguments in turn.

    TypeError or ValueError that names the argument is right, and a result where the value may be one.
    """
    return [fault for argument, right in functions()[name].right.items()
            for kind, value in (WRONG | spoiled(right)).items() if (fault := wrong(
                name, argument, value, (TypeError, ValueError), refused=not may_be(kind, name, argument)))]


def spoiled(right) -> dict:
    """What no configuration is, made from a right one; nothing for other arguments."""
    if not isinstance(right, torch.Tensor) or right.ndim < 3 or right.shape[-3] != 3:
        return {}
    return {"an array": right.numpy(), "integers": right.int(), "half precision": right.half(),
            "NaN in it": float("nan") * right, "two components": right[..., :2, :, :], "one site": right[..., 0, 0]}


def finite(result) -> bool:
    """Whether all numbers in a result are finite."""
    if isinstance(result, torch.Tensor):
        return not result.is_floating_point() or bool(torch.isfinite(result).all())
    if isinstance(result, np.ndarray):
        return result.dtype.kind != "f" or bool(np.isfinite(result).all())
    if isinstance(result, float):
        return math.isfinite(result)
    return all(finite(one) for one in result) if isinstance(result, (tuple, list)) else True


def wrong(name: str, argument: str, value, refusals=(TypeError, ValueError, RuntimeError),
          refused: bool = False, again: bool = True) -> str | None:
    """What is wrong with how ``name`` takes ``value`` for ``argument``; None where nothing is.

    ``refused``: a result is wrong, too. ``again``: a call that takes too long is tried once more, as the first one may
    have paid for an import, for fonts or for the memory of the calls before it.
    """
    call = functions()[name]
    described = f"{name}({argument}={value!r:.60})".replace("\n", " ")
    torch.manual_seed(0)
    start = time.process_time()
    try:
        with np.errstate(all="ignore"):
            result = call.function(**{**call.right, argument: value})
    except refusals as error:
        said = str(error)
        if (took := time.process_time() - start) > SECONDS:
            return wrong(name, argument, value, refusals, refused, False) if again else f"{described} took {took:.1f} s"
        named = any(word in said for word in (argument, *call.words.get(argument, argument).split("|")))
        return None if named else f"{described} is not named: {type(error).__name__}: {said:.150}"
    except OSError as error:
        return None if str(error.filename) == str(value) or str(value) in str(error) else f"{described}: {error!r:.150}"
    except Exception as error:  # what must not come out of any of them
        return f"{described}: {type(error).__name__}: {str(error):.150}"
    if (took := time.process_time() - start) > SECONDS:
        return wrong(name, argument, value, refusals, refused, False) if again else f"{described} took {took:.1f} s"
    if refused:
        return f"{described} is not refused"
    return None if call.nan or finite(result) else f"{described} gives numbers that are not finite"


@st.composite
def examples(draw) -> tuple[str, str, object]:
    """A function, one of its arguments, and a value for it.

    Not of figures, whose arguments must fit together: a message may name another one. The table has them.
    """
    name = draw(st.sampled_from(sorted(name for name, call in functions().items() if not drawn(call))))
    return name, draw(st.sampled_from(sorted(functions()[name].right))), draw(values())


def command_lines() -> st.SearchStrategy:
    """Command lines that are wrong, or ask for nothing but words."""
    word = st.one_of(st.sampled_from(["--preset", "smoke", "huge", "--only", "01", "99", "x", "--minutes", "-1", "nan",
                                      "inf", "1e999", "--list", "--all", "--yes", "--", "-", "", "--help",
                                      "a\\b", "--size", "16", "--D", "--states", "data_order"]),
                     st.text(max_size=6).filter(lambda text: "\0" not in text))
    # A right line of these would compute for seconds, minutes or hours.
    return st.tuples(st.sampled_from([*COMMANDS, "dance", ""]), st.lists(word, max_size=4)).map(
        lambda p: [p[0], *p[1], *(["--preset", "huge"] if p[0] in ("train", "forecast", "search", "study") else [])])


@cache
def _imported() -> None:
    """What the commands import when they are first given: not a matter of the arguments."""
    for name in ("jupytext.cli", "nbformat", "papermill", "evae_companion.bundle", "evae_companion.publish"):
        import_module(name)


def wrong_command(argv: list[str], root: Path) -> str | None:
    """What is wrong with how the command line takes ``argv`` in a repository without notebooks; None if nothing."""
    from evae_companion import cli
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


TESTED_APART = ("evae_companion.io.export_decoder",)  # it takes seconds: test_network.py
# Names that are no functions, or make what other functions give back.
RECORDS = ("Losses", "LatticeState", "OVF", "CLAIMS", "COLLAPSED", "VERDICTS", "Check", "Autocorrelation", "Estimate",
           "OutsideRange", "ALGORITHM", "CAPTIONS", "ENERGY_LABEL", "Figure", "house_style", "colour_wheel")
WORDS = {"title", "labels", "energy_label", "critical_label", "defect_label", "floor", "largest", "note"}  # of figures


def uncovered() -> list[str]:
    """Public names of the packages, and arguments of the functions here, that no call holds."""
    held, missing = functions(), []
    for package in ("evae_core", "evae_core.annealing", "evae_core.textures", "evae_companion.io",
                    "evae_companion.claims", "evae_companion.plotting", "evae_companion.peace"):
        for name in import_module(package).__all__:
            if not {name, f"{package.rpartition('.')[2]}.{name}"} & {*held, *RECORDS}:
                missing.append(f"{package}.{name}")
    for name, call in held.items():
        known = set(inspect.signature(call.function).parameters) - {"report", "generator", "check", "options", "store"}
        known -= WORDS if drawn(call) else set()
        missing += [f"{name}({argument})" for argument in sorted(known - set(call.right) - {"arguments"})]
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

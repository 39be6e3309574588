"""What the paper claims, claim by claim: the criterion, what was measured here, and the verdict.

The criteria stand here, in code, and are applied to numbers that the notebooks measure; nothing is typed in. A
claim is *reproduced* where all its checks pass, *partly* where some do, *not reproduced* where none does. The claims
are those of Kwon et al., Advanced Science 2021, shortened; the numbers in the criteria (what "almost zero" or
"suddenly" means) are choices of this project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from evae_core.files import read_json, write_json

CLAIMS = {
    "B1": ("2A", "beta 1e-6 to 1e-4: L_RC almost zero, outputs replicate inputs"),
    "B2": ("2A", "L_RC and L_H rise with beta, L_KL falls: the standard VAE's outputs grow less stable"),
    "B3": ("2A, S1", "posterior collapse at beta ~ 1e-2; beyond it every output is the uniform out-of-plane domain"),
    "G1": ("2B", "L_H of the outputs falls as gamma grows, for both betas"),
    "G2": ("2B", "L_RC hardly changes up to gamma ~ 1e2, then rises steeply"),
    "G3": ("2B", "L_H of the outputs drops below the training data's mean"),
    "G4": ("2B", "a sudden drop of L_H at gamma ~ 1e3 to 1e4 for both betas; L_RC saturates, L_KL grows exponentially"),
    "N1": ("3A", "local-correlation maps grow cleaner with gamma = 0, 1, 100, for X_out and for X'_out"),
    "N2": ("3B", "the theta densities sharpen and their peaks move to zero with gamma, for both"),
    "L1": ("4B", "interpolating lattice <-> interstitial shows an energy barrier; it sharpens with gamma"),
    "L2": ("4B", "the plateaus' energy falls with gamma"),
    "L3": ("4C", "at R = 2 the defect is still there for gamma = 0 and gone for gamma = 100"),
    "C1": ("5B", "above gamma_c one state only: pairwise MSE of the Fourier-transformed S^z maps of 100 samples -> 0"),
    "C2": ("5A", "that state is a perfectly ordered skyrmion lattice, lower than every training configuration"),
    "C3": ("5A", "two runs collapse to lattices of different orientation or position and the same energy"),
    "C4": ("5B", "gamma_c depends on beta; small beta too collapses in the end"),
    "S1": ("Note S2", "in square-bounded and wire-shaped samples with open edges the collapse finds the lowest-energy "
                      "state"),
}
COLLAPSED = 1e-2  # a k-space MSE below this share of the training data's is "one state only"


@dataclass(frozen=True)
class Check:
    """One criterion, what was measured against it, and whether it was met."""

    criterion: str
    measured: str
    passed: bool


@dataclass(frozen=True)
class Result:
    """A claim's checks; ``verdict`` follows from them."""

    id: str
    checks: tuple[Check, ...]

    def __post_init__(self):
        if self.id not in CLAIMS:
            raise ValueError(f"id must be one of {tuple(CLAIMS)}, got {self.id!r}")
        if not self.checks:
            raise ValueError(f"claim {self.id} needs at least one check")

    @property
    def verdict(self) -> str:
        passed = sum(check.passed for check in self.checks)
        return "reproduced" if passed == len(self.checks) else "partly" if passed else "not reproduced"


def _result(claim: str, *checks: tuple[str, str, bool]) -> Result:
    return Result(claim, tuple(Check(criterion, measured, bool(passed)) for criterion, measured, passed in checks))


def _rises(values, slack: float) -> bool:
    """No value is below the largest before it by more than ``slack`` times the range."""
    values = np.asarray(values, float)
    return bool((np.maximum.accumulate(values) - values).max() <= slack * np.ptp(values)) and values[-1] > values[0]


def _falls(values, slack: float) -> bool:
    return _rises(-np.asarray(values, float), slack)


def _list(values, form: str = ".3g") -> str:
    return ", ".join(format(float(v), form) for v in values)


def critical(x, kspace_mse, data_kspace_mse: float) -> float:
    """Where a ladder collapses onto one state.

    The geometric mean of x at the last stage before, and the first stage from which on, the k-space MSE of generated
    states stays below ``COLLAPSED`` times the data's; NaN if it never does, the first stage's x if it always does.
    """
    x = np.asarray(x, float)
    below = np.asarray(kspace_mse, float) < COLLAPSED * data_kspace_mse
    if not below[-1]:
        return float("nan")
    first = len(below) - int(np.argmin(below[::-1])) if not below.all() else 0
    return float(x[0] if first == 0 else np.sqrt(x[first - 1] * x[first]))


def beta_sweep(ladders: Sequence[Mapping]) -> list[Result]:
    """B1-B3 from beta ladders (one a seed): arrays beta, reconstruction, kl, energy, magnetisation, kspace_mse
    (generated states) and the number data_kspace_mse."""
    ratio = [max(np.asarray(s["reconstruction"])[np.asarray(s["beta"]) <= 1.01e-4]) / s["reconstruction"][-1]
             for s in ladders]
    beta_c = [critical(s["beta"], s["kspace_mse"], s["data_kspace_mse"]) for s in ladders]
    up = [s["magnetisation"][-1] for s in ladders]
    return [
        _result("B1", ("L_RC for beta <= 1e-4 at most 10 % of the uniform answer's (the one at the largest beta)",
                       f"at most {_list(100 * np.array(ratio), '.0f')} %", max(ratio) <= 0.1)),
        _result("B2", *((f"{name} {'falls' if name == 'L_KL' else 'rises'} along the ladder (to 2 % of its range)",
                         "; ".join(_list(s[key]) for s in ladders),
                         all((_falls if key == "kl" else _rises)(s[key], 0.02) for s in ladders))
                        for key, name in (("reconstruction", "L_RC"), ("energy", "L_H"), ("kl", "L_KL")))),
        _result("B3", ("beta_c within a factor 10 of 1e-2", f"beta_c = {_list(beta_c)}",
                       all(1e-3 <= b <= 1e-1 for b in beta_c)),
                ("outputs at the largest beta are uniform: mean S^z >= 0.99", f"mean S^z = {_list(up, '.4f')}",
                 min(up) >= 0.99)),
    ]


def gamma_sweep(ladders: Sequence[Mapping], data_energy: float) -> list[Result]:
    """G1-G4 from gamma ladders (one a beta); ``data_energy`` is the training data's mean L_H.

    A ladder holds the arrays gamma, reconstruction, kl, energy (of X_out), energy_generated, kspace_mse and beta (the
    same in every stage), and the number data_kspace_mse.
    """
    def at(s, key, gamma):
        return float(np.asarray(s[key])[np.argmin(np.abs(np.log(np.asarray(s["gamma"]) / gamma)))])

    gamma_c = [critical(s["gamma"], s["kspace_mse"], s["data_kspace_mse"]) for s in ladders]
    named = [f"beta = {np.ravel(s['beta'])[0]:g}" for s in ladders]
    early = [max(np.asarray(s["reconstruction"])[np.asarray(s["gamma"]) <= 101]) / s["reconstruction"][0]
             for s in ladders]
    late = [at(s, "reconstruction", 1e4) / at(s, "reconstruction", 100) for s in ladders]
    lowest = [min(s["energy"]) for s in ladders]
    tail = [np.ptp(s["reconstruction"][-3:]) / np.mean(s["reconstruction"][-3:]) for s in ladders]
    growth = [s["kl"][-1] / min(s["kl"]) for s in ladders]
    pairs = list(zip(named, gamma_c, strict=True))
    return [
        _result("G1", *((f"L_H of {label} falls along the ladder (to 2 % of its range), {name}",
                         _list((s[key][0], at(s, key, 1), at(s, key, 100), s[key][-1]), ".5f")
                         + " at gamma = 1e-4, 1, 100 and the largest", _falls(s[key], 0.02))
                        for name, s in zip(named, ladders, strict=True)
                        for key, label in (("energy", "X_out"), ("energy_generated", "X'_out")))),
        _result("G2", ("L_RC up to gamma = 100 at most 1.5 times its value at the smallest gamma",
                       f"{_list(early)} times", max(early) <= 1.5),
                ("L_RC at gamma = 1e4 at least twice that at 100", f"{_list(late)} times", min(late) >= 2)),
        _result("G3", ("lowest L_H of X_out below the training data's mean",
                       f"{_list(lowest, '.5f')} against {data_energy:.5f}", max(lowest) < data_energy)),
        _result("G4", ("onto one state between gamma = 5e2 and 2e4, both betas",
                       "; ".join(f"{name}: gamma_c = {c:.3g}" for name, c in pairs),
                        all(5e2 <= c <= 2e4 for c in gamma_c)),
                ("L_RC of the last three stages within 5 %", f"{_list(100 * np.array(tail))} %", max(tail) <= 0.05),
                ("L_KL at the end at least 10 times its least", f"{_list(growth)} times", min(growth) >= 10)),
    ]


def noise(gammas, median: Mapping[str, Sequence[float]], peak: Mapping[str, Sequence[float]],
          height: Mapping[str, Sequence[float]]) -> list[Result]:
    """N1-N2: the median theta (radians) and the place and height of the theta density's peak, in the order of
    ``gammas``, for the keys "X_out" and "X'_out"."""
    at = "gamma = " + ", ".join(f"{g:g}" for g in gammas)
    return [
        _result("N1", *((f"median theta of {key} falls with gamma",
                         f"{_list(np.degrees(values))} degrees at {at}", bool((np.diff(values) < 0).all()))
                        for key, values in median.items())),
        _result("N2", *((f"the density's peak moves to zero and grows, {key}",
                         f"peak at {_list(np.degrees(peak[key]))} degrees, density {_list(height[key])} per radian "
                         f"at {at}",
                         bool((np.diff(peak[key]) <= 0).all() and peak[key][-1] < peak[key][0]
                              and (np.diff(height[key]) > 0).all())) for key in peak)),
    ]


def interpolation(gammas, height, width, start, end, charge_top: Mapping[float, float],
                  lattice_charge: float) -> list[Result]:
    """L1-L3: barrier height, width (steps) and plateau energies in the order of ``gammas``; ``charge_top``: |charge| at
    R = 2 for gamma = 0 and 100; ``lattice_charge``: |charge| of the ideal lattice."""
    height, width = np.asarray(height, float), np.asarray(width, float)
    at = "gamma = " + ", ".join(f"{g:g}" for g in gammas)
    extra = {g: abs(q) - abs(lattice_charge) for g, q in charge_top.items()}
    return [
        _result("L1", ("a barrier above both plateaus for every gamma", f"height {_list(height)} J per spin at {at}",
                       bool((height > 0).all() and np.isfinite(width).all())),
                ("its width falls with gamma", f"FWHM {_list(width)} steps", bool((np.diff(width) < 0).all()))),
        _result("L2", *((f"energy of the {name} plateau falls with gamma", f"{_list(values, '.5f')} J per spin at {at}",
                         bool((np.diff(values) < 0).all()))
                        for name, values in (("lattice", end), ("interstitial", start)))),
        _result("L3", ("extra charge at R = 2 still there for gamma = 0", f"{extra[0]:.2f}", extra[0] >= 0.5),
                ("and gone for gamma = 100", f"{extra[100]:.2f}", abs(extra[100]) < 0.5)),
    ]


def collapse(above: Sequence[Mapping], gamma_c: Mapping[str, float], best_data: float, ideal: float,
             distance: float) -> list[Result]:
    """C1-C4. ``above``: one dict a run collapsed at beta = 1e-3: seed, gamma, kspace_mse and data_kspace_mse, energy
    (J per spin), defects (share of skyrmions without six neighbours), charge. ``gamma_c`` by beta; ``best_data`` and
    ``ideal``: E/N of the best training configuration and of the ideal lattice; ``distance``: the squared chord per
    spin between the two runs' states."""
    ratio = [run["kspace_mse"] / run["data_kspace_mse"] for run in above]
    energy = [run["energy"] for run in above]
    named = ", ".join(f"beta = {b}: {c:.3g}" for b, c in gamma_c.items())
    return [
        _result("C1", (f"k-space MSE below {COLLAPSED:g} of the data's, every run",
                       f"{_list(ratio)} of it", max(ratio) < COLLAPSED)),
        _result("C2", ("every skyrmion has six neighbours, every run",
                       "; ".join(f"{100 * run['defects']:.0f} % without, {abs(run['charge']):.0f} skyrmions"
                           for run in above),
                       all(run["defects"] == 0 for run in above)),
                ("E/N below every training configuration's, every run",
                 f"{_list(energy, '.6f')} against {best_data:.6f} (ideal lattice {ideal:.6f})",
                 max(energy) < best_data)),
        _result("C3", ("the runs' states differ: squared chord per spin above 0.05", f"{distance:.3g}",
                        distance > 0.05),
                ("their E/N agree to a tenth of the data's gap to the ideal lattice or 1e-4 J",
                 f"differ by {np.ptp(energy):.2g} J",
                 bool(np.ptp(energy) <= max(1e-4, 0.1 * abs(best_data - ideal))))),
        _result("C4", ("both betas collapse in the end", named, all(np.isfinite(c) for c in gamma_c.values())),
                ("at different gamma_c", named, len({c for c in gamma_c.values() if np.isfinite(c)}) == len(gamma_c))),
    ]


def confined(samples: Sequence[Mapping]) -> list[Result]:
    """S1 from dicts: name, energy (J per spin, of the collapsed state), relaxed (after relaxation), best_annealed."""
    return [_result("S1", *((f"{s['name']}: the collapsed state relaxes to the best annealed energy or lower",
                             f"{s['relaxed']:.6f} (as generated {s['energy']:.6f}) against {s['best_annealed']:.6f}",
                             s["relaxed"] <= s["best_annealed"] + 1e-6) for s in samples))]


def save(folder: str | Path, notebook: str, results: Sequence[Result]) -> str:
    """Keep a notebook's results as claims/<notebook>.json under ``folder``; return their table as markdown."""
    path = Path(folder) / "claims" / f"{notebook}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [asdict(result) for result in results])
    return table(results)


def load(folder: str | Path) -> dict[str, Result]:
    """Every saved result under ``folder`` by claim; ValueError for a damaged file."""
    found = {}
    for path in sorted((Path(folder) / "claims").glob("*.json")):
        try:
            for one in read_json(path):
                found[one["id"]] = Result(one["id"], tuple(Check(**check) for check in one["checks"]))
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} does not hold claims; delete it and run its notebook again") from error
    return {claim: found[claim] for claim in CLAIMS if claim in found}


def table(results: Sequence[Result]) -> str:
    """Markdown table "claim | paper | here | verdict"."""
    lines = ["| claim | paper | here | verdict |", "|---|---|---|---|"]
    for result in results:
        figure, text = CLAIMS[result.id]
        here = "; ".join(f"{'+' if check.passed else '-'} {check.criterion}: {check.measured}"
                         for check in result.checks)
        lines.append(f"| {result.id} | {_escape(text)} (Fig. {figure}) | {_escape(here)} | **{result.verdict}** |")
    return "\n".join(lines).replace("Fig. Note", "Note")


def _escape(text: str) -> str:
    return re.sub(r"([|*_])", r"\\\1", text)


def card(folder: str | Path) -> str:
    """The score card of everything saved under ``folder``, as markdown; claims not measured yet are named."""
    results = load(folder)
    counts = {verdict: sum(r.verdict == verdict for r in results.values())
              for verdict in ("reproduced", "partly", "not reproduced")}
    missing = [claim for claim in CLAIMS if claim not in results]
    head = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
    lines = [f"{head}" + (f", not run: {', '.join(missing)}" if missing else ""), "", table(list(results.values())), "",
             "A check that passed is marked +, one that failed -. Criteria: `evae_core/claims.py`."]
    return "\n".join(lines) + "\n"

"""What the paper claims, claim by claim: the criterion, what was measured here, and the verdict.

The criteria stand here, in code, and are applied to numbers that the notebooks measure; nothing is typed in. A
claim is *reproduced* where all its checks pass, *partly* where some do, *not reproduced* where none does; a check
that a network which learnt nothing would pass ("hardly changes") is no evidence alone and makes no "partly". The
claims are those of Kwon et al., Advanced Science 2021, shortened; the numbers in the criteria (what "almost zero" or
"suddenly" means) are choices of this project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from evae_core.files import read_sealed, write_sealed

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
    """One criterion, what was measured against it, whether it was met, and whether meeting it is evidence alone."""

    criterion: str
    measured: str
    passed: bool
    evidence: bool = True


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
        if all(check.passed for check in self.checks):
            return "reproduced"
        return "partly" if any(check.passed and check.evidence for check in self.checks) else "not reproduced"


def _result(claim: str, *checks: tuple) -> Result:
    """Checks are (criterion, measured, passed), with a fourth member False where passing is no evidence alone."""
    return Result(claim, tuple(Check(text, measured, bool(passed), *rest) for text, measured, passed, *rest in checks))


def _rises(values, slack: float) -> bool:
    """No value is below the largest before it by more than ``slack`` times the range."""
    values = np.asarray(values, float)
    return bool((np.maximum.accumulate(values) - values).max() <= slack * np.ptp(values)) and values[-1] > values[0]


def _falls(values, slack: float) -> bool:
    return _rises(-np.asarray(values, float), slack)


def _list(values, form: str = ".3g") -> str:
    return ", ".join(format(float(v), form) for v in values)


def critical(x, kspace_mse, data_kspace_mse: float, lasting: bool = False) -> float:
    """Where a ladder collapses onto one state: x of the crossing below ``COLLAPSED`` times the data's k-space MSE.

    The geometric mean of x at the first stage whose generated states differ by less, and at the stage before it; with
    ``lasting`` the first stage from which on they do. NaN if there is none, or if it is the first: then something else
    than this ladder made them equal.
    """
    x = np.asarray(x, float)
    below = np.asarray(kspace_mse, float) < COLLAPSED * data_kspace_mse
    if lasting:
        below = np.logical_and.accumulate(below[::-1])[::-1]
    if below[0] or not below.any():
        return float("nan")
    first = int(np.argmax(below))
    return float(np.sqrt(x[first - 1] * x[first]))


def beta_sweep(ladders: Sequence[Mapping]) -> list[Result]:
    """B1-B3 from beta ladders (one a seed): arrays beta, reconstruction, kl, energy, magnetisation, kspace_mse
    (generated states) and the number data_kspace_mse."""
    ratio = [np.max(np.asarray(s["reconstruction"])[np.asarray(s["beta"]) <= 1.01e-4]) / s["reconstruction"][-1]
             for s in ladders]
    # Lasting: at the smallest beta the prior misses the states in use, and generated ones differ little there as well.
    beta_c = [critical(s["beta"], s["kspace_mse"], s["data_kspace_mse"], lasting=True) for s in ladders]
    up = [s["magnetisation"][-1] for s in ladders]
    return [
        _result("B1", ("L_RC for beta <= 1e-4 at most 10 % of the uniform answer's (the one at the largest beta)",
                       f"at most {_list(100 * np.array(ratio), '.0f')} %", np.max(ratio) <= 0.1)),
        _result("B2", *((f"{name} {'falls' if name == 'L_KL' else 'rises'} along the ladder (to 2 % of its range)",
                         "; ".join(_list(s[key]) for s in ladders),
                         all((_falls if key == "kl" else _rises)(s[key], 0.02) for s in ladders))
                        for key, name in (("reconstruction", "L_RC"), ("energy", "L_H"), ("kl", "L_KL")))),
        _result("B3", ("beta_c within a factor 10 of 1e-2", f"beta_c = {_list(beta_c)}",
                       all(1e-3 <= b <= 1e-1 for b in beta_c)),
                ("outputs at the largest beta are uniform: mean S^z >= 0.99", f"mean S^z = {_list(up, '.4f')}",
                 np.min(up) >= 0.99)),
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
    early = [np.max(np.asarray(s["reconstruction"])[np.asarray(s["gamma"]) <= 101]) / s["reconstruction"][0]
             for s in ladders]
    late = [at(s, "reconstruction", 1e4) / at(s, "reconstruction", 100) for s in ladders]
    lowest = [np.min(s["energy"]) for s in ladders]
    tail = [np.ptp(s["reconstruction"][-3:]) / np.mean(s["reconstruction"][-3:]) for s in ladders]
    growth = [s["kl"][-1] / at(s, "kl", 100) for s in ladders]
    fall = [s["energy"][0] - s["energy"][-1] for s in ladders]
    drop = [(at(s, "energy", 100) - at(s, "energy", 1e4)) / f if f > 0 else 0.0
            for s, f in zip(ladders, fall, strict=True)]
    pairs = list(zip(named, gamma_c, strict=True))
    return [
        _result("G1", *((f"L_H of {label} falls along the ladder (to 2 % of its range), {name}",
                         _list((s[key][0], at(s, key, 1), at(s, key, 100), s[key][-1]), ".5f")
                         + " at gamma = 1e-4, 1, 100 and the largest", _falls(s[key], 0.02))
                        for name, s in zip(named, ladders, strict=True)
                        for key, label in (("energy", "X_out"), ("energy_generated", "X'_out")))),
        _result("G2", ("L_RC up to gamma = 100 at most 1.5 times its value at the smallest gamma",
                       f"{_list(early)} times", np.max(early) <= 1.5, False),
                ("L_RC at gamma = 1e4 at least twice that at 100", f"{_list(late)} times", np.min(late) >= 2)),
        _result("G3", ("lowest L_H of X_out below the training data's mean",
                       f"{_list(lowest, '.5f')} against {data_energy:.5f}", np.max(lowest) < data_energy)),
        _result("G4", ("onto one state between gamma = 5e2 and 2e4, both betas",
                       "; ".join(f"{name}: gamma_c = {c:.3g}" for name, c in pairs),
                        all(5e2 <= c <= 2e4 for c in gamma_c)),
                ("more than half of the fall of X_out's L_H lies between gamma = 100 and 1e4",
                 f"{_list(100 * np.array(drop), '.0f')} %", np.min(drop) > 0.5),
                ("L_RC of the last three stages within 5 %", f"{_list(100 * np.array(tail))} %",
                 np.max(tail) <= 0.05, False),
                ("L_KL at the end at least 10 times its value at gamma = 100", f"{_list(growth)} times",
                 np.min(growth) >= 10)),
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


def interpolation(gammas, height, width, start, end, extra: Mapping[float, tuple[float, float]]) -> list[Result]:
    """L1-L3: barrier height, width (steps) and plateau energies (J per spin) in the order of ``gammas``.

    ``extra``: for gamma = 0 and 100 a pair, how much larger the |charge| at R = 2, and at the interstitial's end, is
    than at the lattice's end of the same path; NaN where the path has no R = 2.
    """
    height, width = np.asarray(height, float), np.asarray(width, float)
    at = "gamma = " + ", ".join(f"{g:g}" for g in gammas)
    return [
        _result("L1", ("a barrier above both plateaus for every gamma", f"height {_list(height)} J per spin at {at}",
                       bool((height > 0).all() and np.isfinite(width).all())),
                ("its width falls with gamma", f"FWHM {_list(width)} steps", bool((np.diff(width) < 0).all()))),
        _result("L2", *((f"energy of the {name} plateau falls with gamma", f"{_list(values, '.5f')} J per spin at {at}",
                         bool((np.diff(values) < 0).all()))
                        for name, values in (("lattice", end), ("interstitial", start)))),
        _result("L3", ("both paths lead from one extra skyrmion to none", f"extra charge at their start "
                       f"{extra[0][1]:.2f} and {extra[100][1]:.2f}",
                       all(abs(extra[g][1] - 1) < 0.5 for g in (0, 100)), False),
                ("at R = 2 it is still there for gamma = 0", f"{extra[0][0]:.2f}", abs(extra[0][0] - 1) < 0.5),
                ("and gone for gamma = 100", f"{extra[100][0]:.2f}", abs(extra[100][0]) < 0.5)),
    ]


def collapse(above: Sequence[Mapping], gamma_c: Mapping[str, float], gamma_c_seeds: Sequence[float],
             best_data: float, ideal: float, distance: float) -> list[Result]:
    """C1-C4 from runs to the largest gamma at one beta, and from gamma_c of several.

    ``above``: one dict a run: kspace_mse of every stage above gamma_c (array, may be empty), data_kspace_mse, energy
    of the final states (mean, J per spin), defects (share of the median one's skyrmions without six neighbours) and
    its charge. ``gamma_c`` by beta, and of two seeds at the first; ``best_data`` and ``ideal``: E/N of the best
    training configuration and of the best commensurate lattice; ``distance``: squared chord per spin between the two
    runs' states.
    """
    ratio = [np.append(run["kspace_mse"], np.inf)[:-1] / run["data_kspace_mse"] for run in above]
    energy = [run["energy"] for run in above]
    named = ", ".join(f"beta = {b}: {c:.3g}" for b, c in gamma_c.items())
    return [
        _result("C1", *((f"k-space MSE below {COLLAPSED:g} of the data's {where}, every run",
                         "; ".join(_list(r[part]) or "no collapse" for r in ratio) + " of it",
                         all(len(r) > 0 and np.max(r[part]) < COLLAPSED for r in ratio))
                        for where, part in (("at the largest gamma", slice(-1, None)),
                                            ("at every stage above gamma_c", slice(None))))),
        _result("C2", ("every skyrmion has six neighbours, every run",
                       "; ".join(f"{100 * run['defects']:.0f} % without, {abs(run['charge']):.0f} skyrmions"
                                 for run in above),
                       all(run["defects"] == 0 for run in above)),
                ("E/N below every training configuration's, every run",
                 f"{_list(energy, '.6f')} against {best_data:.6f} (best commensurate lattice {ideal:.6f})",
                 np.max(energy) < best_data)),
        _result("C3", ("the runs' states differ: squared chord per spin above 0.05", f"{distance:.3g}",
                        distance > 0.05, False),
                ("both have collapsed and their E/N agree to 1e-3 J", f"differ by {np.ptp(energy):.2g} J",
                 all(len(r) > 0 for r in ratio) and bool(np.ptp(energy) <= 1e-3))),
        _result("C4", ("both betas collapse in the end", named,
                       len(gamma_c) > 0 and bool(np.isfinite(list(gamma_c.values())).all())),
                ("at gamma_c that differ by more than those of two seeds",
                 f"{named}; seeds at the first beta: {_list(gamma_c_seeds)}",
                 bool(np.ptp(list(gamma_c.values())) > np.ptp(gamma_c_seeds)))),
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
    write_sealed(path, [asdict(result) for result in results])
    return table(results)


def load(folder: str | Path) -> dict[str, Result]:
    """Every saved result under ``folder`` by claim; ValueError for a damaged file."""
    found = {}
    for path in sorted((Path(folder) / "claims").glob("*.json")):
        try:
            for one in read_sealed(path):
                found[one["id"]] = Result(one["id"], tuple(Check(**check) for check in one["checks"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} does not hold claims as they were measured; delete it and run its notebook "
                             f"again ({error})") from error
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

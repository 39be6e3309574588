"""The criteria of the claims of Kwon et al., Advanced Science 2021, applied to numbers that the notebooks measure.

What "almost zero" or "suddenly" means is a choice of this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evae_companion.claims.result import Check, Result
from evae_core.validation import check_array, check_flag, check_keys, check_list, check_number

COLLAPSED = 1e-2  # a k-space MSE below this share of the training data's is "one state only"


def _result(claim: str, *checks: tuple[Any, ...]) -> Result:
    """Return the result of a claim from checks (criterion, measured, passed, value).

    A fifth member False marks a check that is no evidence alone.
    """
    return Result(claim, tuple(Check(text, measured, bool(passed), float(value), *rest)
                               for text, measured, passed, value, *rest in checks))


def _fallback(values: Any) -> float:
    """Return how far a value lies below the largest before it, at most, as a share of the range of the values.

    It is inf if the last value is not above the first, since the values then do not rise.
    """
    values = np.asarray(values, float)
    if not values[-1] > values[0]:
        return float("inf")
    return float((np.maximum.accumulate(values) - values).max() / np.ptp(values))


def _worst(values: Any) -> float:
    """Return the largest value, or NaN if there is one."""
    return float(np.max(values))


def _list(values: Any, form: str = ".3g") -> str:
    return ", ".join(format(float(v), form) for v in values)


def _measured(name: str, values: Any, *keys: str, least: int = 1) -> None:
    """Raise unless ``values`` is a sequence of at least ``least`` mappings that hold ``keys``."""
    for one in check_list(name, values, Mapping, least):
        check_keys(name, one, keys)


def _rows(**rows: Any) -> list[np.ndarray]:
    """Return rows of numbers, which may be NaN, as float64 arrays; raise unless all have the same length above 0."""
    arrays: list[np.ndarray] = []
    for name, values in rows.items():
        arrays.append(check_array(name, values, arrays[0].shape if arrays else (None,), finite=False))
    return arrays


def critical(x: Any, kspace_mse: Any, data_kspace_mse: float, lasting: bool = False) -> float:
    """Return x at which a sweep collapses onto one state: the k-space MSE falls below ``COLLAPSED`` times the data's.

    It is the geometric mean of x at the first stage below that threshold and at the stage before it. NaN if there is no
    such stage, or if it is the first one: then something other than this sweep made the states equal.

    Parameters
    ----------
    x, kspace_mse : beta or gamma of every stage, and the k-space MSE of its generated states.
    data_kspace_mse : of the training data.
    lasting : require all later stages to be below the threshold, too.
    """
    x, kspace_mse = _rows(x=x, kspace_mse=kspace_mse)
    below = kspace_mse < COLLAPSED * float(check_array("data_kspace_mse", data_kspace_mse, (), finite=False))
    if check_flag("lasting", lasting):
        below = np.logical_and.accumulate(below[::-1])[::-1]
    if below[0] or not below.any():
        return float("nan")
    first = int(np.argmax(below))
    return float(np.sqrt(x[first - 1] * x[first]))


def crossing(x: Any, y: Any, level: float) -> float:
    """Return the first x at which y crosses ``level``, up or down, or NaN if it never does.

    Between stages y(x) is interpolated linearly on logarithmic axes.
    """
    x, y = _rows(x=x, y=y)
    x, y = np.log(x), np.log(y) - np.log(check_number("level", level))
    change = np.flatnonzero(np.sign(y[1:]) != np.sign(y[:-1]))
    if not len(change):
        return float("nan")
    k = int(change[0])
    return float(np.exp(x[k] - y[k] * (x[k + 1] - x[k]) / (y[k + 1] - y[k])))


def beta_by_kl(beta: Any, kl: Any, latents: int) -> float:
    """Return beta_c from the posterior: where L_KL falls below 0.1 nats per latent variable."""
    beta, kl = _rows(beta=beta, kl=kl)
    return crossing(beta, kl, 0.1 * check_number("latents", latents))


def gamma_by_kl(gamma: Any, kl: Any) -> float:
    """Return gamma_c from the posterior: where L_KL has grown to twice its value at gamma = 100."""
    gamma, kl = _rows(gamma=gamma, kl=kl)
    if not (kl > 0).all():
        raise ValueError(f"kl must be positive, got {kl.min()}")
    start = int(np.argmin(np.abs(np.log(gamma / 100))))
    return crossing(gamma[start:], kl[start:], 2 * kl[start])


def criticals(up: Mapping[str, Any], beta: Mapping[str, Any] | None, latents: int = 100) -> dict[str, float]:
    """Return the critical gamma and beta of a gamma sweep and of the beta sweep of the same training.

    Parameters
    ----------
    up : table of the gamma sweep: gamma, kl, kspace_mse and data_kspace_mse.
    beta : table of the beta sweep, with beta instead of gamma; or None.
    latents : number of latent variables.

    Returns
    -------
    gamma_c_states, gamma_c_kl, beta_c_states, beta_c_kl : NaN if a sweep does not collapse or is None.
    """
    _measured("up", [up], "gamma", "kl", "kspace_mse", "data_kspace_mse")
    _measured("beta", [] if beta is None else [beta], "beta", "kl", "kspace_mse", "data_kspace_mse", least=0)
    _rows(gamma=up["gamma"], kl=up["kl"], kspace_mse=up["kspace_mse"])
    climbed = np.asarray(up["gamma"], float) > 0
    gamma, kl, mse = (np.asarray(up[name], float)[climbed] for name in ("gamma", "kl", "kspace_mse"))
    result = {"gamma_c_states": critical(gamma, mse, up["data_kspace_mse"]), "gamma_c_kl": gamma_by_kl(gamma, kl),
              "beta_c_states": float("nan"), "beta_c_kl": float("nan")}
    if beta is not None:
        result["beta_c_states"] = critical(beta["beta"], beta["kspace_mse"], beta["data_kspace_mse"], lasting=True)
        result["beta_c_kl"] = beta_by_kl(beta["beta"], beta["kl"], latents)
    return result


def beta_sweep(ladders: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Return claims B1-B3 from beta sweeps.

    Parameters
    ----------
    ladders : one table per seed: arrays beta, reconstruction, kl, energy, magnetisation, kspace_mse (generated states)
        and the number data_kspace_mse.
    """
    _measured("ladders", ladders, "beta", "reconstruction", "kl", "energy", "magnetisation", "kspace_mse",
              "data_kspace_mse")
    ratio = [np.max(np.asarray(s["reconstruction"])[np.asarray(s["beta"]) <= 1.01e-4]) / s["reconstruction"][-1]
             for s in ladders]
    # Lasting: also at the smallest beta generated states differ little, because the prior misses the latents in use.
    beta_c = [critical(s["beta"], s["kspace_mse"], s["data_kspace_mse"], lasting=True) for s in ladders]
    up = [s["magnetisation"][-1] for s in ladders]

    def rises(key: str, sign: int) -> tuple[str, bool, float]:
        back = [_fallback(sign * np.asarray(s[key])) for s in ladders]
        return "; ".join(_list(s[key]) for s in ladders), _worst(back) <= 0.02, _worst(back)

    return [
        _result("B1", ("L_RC for beta <= 1e-4 at most 10 % of the uniform answer's (the one at the largest beta)",
                       f"at most {_list(100 * np.array(ratio), '.0f')} %", np.max(ratio) <= 0.1, 100 * np.max(ratio))),
        _result("B2", *((f"{name} {verb} along the ladder (to 2 % of its range)", *rises(key, sign))
                        for key, name, verb, sign in (("reconstruction", "L_RC", "rises", 1),
                                                      ("energy", "L_H", "rises", 1), ("kl", "L_KL", "falls", -1)))),
        _result("B3", ("beta_c within a factor 10 of 1e-2", f"beta_c = {_list(beta_c)}",
                       all(1e-3 <= b <= 1e-1 for b in beta_c), _worst(beta_c)),
                ("outputs at the largest beta are uniform: mean S^z >= 0.99", f"mean S^z = {_list(up, '.4f')}",
                 np.min(up) >= 0.99, np.min(up))),
    ]


def gamma_sweep(ladders: Sequence[Mapping[str, Any]], data_energy: float) -> list[Result]:
    """Return claims G1-G4 from gamma sweeps.

    Parameters
    ----------
    ladders : one table per beta: arrays gamma, reconstruction, kl, energy (of X_out), energy_generated, kspace_mse and
        beta (the same in every stage), and the number data_kspace_mse.
    data_energy : mean L_H of the training data.
    """
    _measured("ladders", ladders, "gamma", "reconstruction", "kl", "energy", "energy_generated", "kspace_mse", "beta",
              "data_kspace_mse")
    check_array("data_energy", data_energy, (), finite=False)

    def at(s: Mapping[str, Any], key: str, gamma: float) -> float:
        return float(np.asarray(s[key])[np.argmin(np.abs(np.log(np.asarray(s["gamma"]) / gamma)))])

    gamma_c = [critical(s["gamma"], s["kspace_mse"], s["data_kspace_mse"]) for s in ladders]
    named = [f"beta = {np.ravel(s['beta'])[0]:g}" for s in ladders]
    early = [np.max(np.asarray(s["reconstruction"])[np.asarray(s["gamma"]) <= 101]) / s["reconstruction"][0]
             for s in ladders]
    late = [at(s, "reconstruction", 1e4) / at(s, "reconstruction", 100) for s in ladders]
    lowest = [np.min(s["energy"]) for s in ladders]
    tail = [100 * np.ptp(s["reconstruction"][-3:]) / np.mean(s["reconstruction"][-3:]) for s in ladders]
    growth = [s["kl"][-1] / at(s, "kl", 100) for s in ladders]
    fall = [s["energy"][0] - s["energy"][-1] for s in ladders]
    drop = [100 * (at(s, "energy", 100) - at(s, "energy", 1e4)) / f if f > 0 else 0.0
            for s, f in zip(ladders, fall, strict=True)]
    pairs = list(zip(named, gamma_c, strict=True))
    return [
        _result("G1", *((f"L_H of {label} falls along the ladder (to 2 % of its range), {name}",
                         _list((s[key][0], at(s, key, 1), at(s, key, 100), s[key][-1]), ".5f")
                         + f" at gamma = {s['gamma'][0]:g}, 1, 100 and the largest",
                         _fallback(-np.asarray(s[key])) <= 0.02, _fallback(-np.asarray(s[key])))
                        for name, s in zip(named, ladders, strict=True)
                        for key, label in (("energy", "X_out"), ("energy_generated", "X'_out")))),
        _result("G2", ("L_RC up to gamma = 100 at most 1.5 times its value at the smallest gamma",
                       f"{_list(early)} times", np.max(early) <= 1.5, np.max(early), False),
                ("L_RC at gamma = 1e4 at least twice that at 100", f"{_list(late)} times", np.min(late) >= 2,
                 np.min(late))),
        _result("G3", ("lowest L_H of X_out below the training data's mean",
                       f"{_list(lowest, '.5f')} against {data_energy:.5f}", np.max(lowest) < data_energy,
                       np.max(lowest) - data_energy)),
        _result("G4", ("onto one state between gamma = 5e2 and 2e4, both betas",
                       "; ".join(f"{name}: gamma_c = {c:.3g}" for name, c in pairs),
                        all(5e2 <= c <= 2e4 for c in gamma_c), _worst(gamma_c)),
                ("more than half of the fall of X_out's L_H lies between gamma = 100 and 1e4",
                 f"{_list(drop, '.0f')} %", np.min(drop) > 50, np.min(drop)),
                ("L_RC of the last three stages within 5 %", f"{_list(tail)} %", np.max(tail) <= 5, np.max(tail),
                 False),
                ("L_KL at the end at least 10 times its value at gamma = 100", f"{_list(growth)} times",
                 np.min(growth) >= 10, np.min(growth))),
    ]


def noise_reduction(gammas: Any, median: Mapping[str, Sequence[float]], peak: Mapping[str, Sequence[float]],
                    height: Mapping[str, Sequence[float]]) -> list[Result]:
    """Return claims N1-N2 from the distribution of theta for the keys "X_out" and "X'_out", in the order of ``gammas``.

    Parameters
    ----------
    median : of theta, radians.
    peak, height : position (radians) and height (per radian) of the peak of the density of theta.
    """
    (gammas,) = _rows(gammas=gammas)
    for name, rows in (("median", median), ("peak", peak), ("height", height)):
        _measured(name, [rows], "X_out", "X'_out")
        for values in rows.values():
            _rows(gammas=gammas, **{name: values})
    at = "gamma = " + ", ".join(f"{g:g}" for g in gammas)
    return [
        _result("N1", *((f"median theta of {key} falls with gamma",
                         f"{_list(np.degrees(values))} degrees at {at}", bool((np.diff(values) < 0).all()),
                         np.degrees(values[-1] - values[0]))
                        for key, values in median.items())),
        _result("N2", *((f"the density's peak moves to zero and grows, {key}",
                         f"peak at {_list(np.degrees(peak[key]))} degrees, density {_list(height[key])} per radian "
                         f"at {at}",
                         bool((np.diff(peak[key]) <= 0).all() and peak[key][-1] < peak[key][0]
                              and (np.diff(height[key]) > 0).all()), np.degrees(peak[key][-1] - peak[key][0]))
                        for key in peak)),
    ]


def latent_interpolation(gammas: Any, height: Any, width: Any, start: Any, end: Any,
                         extra: Mapping[float, tuple[float, float]]) -> list[Result]:
    """Return claims L1-L3 from the barriers along the interpolated paths, in the order of ``gammas``.

    Parameters
    ----------
    height, width : of the barrier; J per spin, and steps.
    start, end : energies of the plateaus of the interstitial and of the lattice, J per spin.
    extra : for gamma = 0 and 100 a pair: |charge| at R = 2, and at the interstitial end, minus |charge| at the lattice
        end of the same path. NaN if the path has no R = 2.
    """
    gammas, height, width, start, end = _rows(gammas=gammas, height=height, width=width, start=start, end=end)
    check_keys("extra", extra, (0, 100))
    at = "gamma = " + ", ".join(f"{g:g}" for g in gammas)
    return [
        _result("L1", ("a barrier above both plateaus for every gamma", f"height {_list(height)} J per spin at {at}",
                       bool((height > 0).all() and np.isfinite(width).all()), np.min(height)),
                ("its width falls with gamma", f"FWHM {_list(width)} steps", bool((np.diff(width) < 0).all()),
                 width[-1] - width[0])),
        _result("L2", *((f"energy of the {name} plateau falls with gamma", f"{_list(values, '.5f')} J per spin at {at}",
                         bool((np.diff(values) < 0).all()), values[-1] - values[0])
                        for name, values in (("lattice", end), ("interstitial", start)))),
        _result("L3", ("both paths lead from one extra skyrmion to none", f"extra charge at their start "
                       f"{extra[0][1]:.2f} and {extra[100][1]:.2f}",
                       all(abs(extra[g][1] - 1) < 0.5 for g in (0, 100)), min(extra[g][1] for g in (0, 100)), False),
                ("at R = 2 it is still there for gamma = 0", f"{extra[0][0]:.2f}", abs(extra[0][0] - 1) < 0.5,
                 extra[0][0]),
                ("and gone for gamma = 100", f"{extra[100][0]:.2f}", abs(extra[100][0]) < 0.5, extra[100][0])),
    ]


def collapse(runs: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]], best_data: float, ideal: float,
             distances: Sequence[float], seeds: Sequence[Mapping[str, Any]] = ()) -> list[Result]:
    """Return claims C1-C4 from gamma sweeps to the largest gamma.

    Parameters
    ----------
    runs : sweeps at one beta: beta, gamma and kspace_mse of every stage (arrays), data_kspace_mse; of the final states
        the mean energy (J per spin), and of the state of median energy defects (share of its skyrmions without six
        neighbours) and charge.
    other : sweeps at other betas, without the last three.
    best_data, ideal : E/N (J) of the best training configuration and of the best commensurate lattice.
    distances : squared chord per spin between the final states of independent trainings.
    seeds : sweeps of all seeds at the beta of ``runs``, by default ``runs``.
    """
    stages = "beta", "gamma", "kspace_mse", "data_kspace_mse"
    _measured("runs", runs, *stages, "energy", "defects", "charge")
    _measured("other", other, *stages, least=0)
    seeds = check_list("seeds", seeds, Mapping, 0)
    _measured("seeds", seeds, *stages, least=0)
    for name, value in (("best_data", best_data), ("ideal", ideal)):
        check_array(name, value, (), finite=False)
    (apart,) = _rows(distances=distances)

    def gamma_c(run: Mapping[str, Any]) -> float:
        return critical(run["gamma"], run["kspace_mse"], run["data_kspace_mse"])

    above = [np.asarray(run["kspace_mse"])[np.asarray(run["gamma"]) > gamma_c(run)] / run["data_kspace_mse"]
             for run in runs]  # empty if gamma_c is NaN
    energy = [run["energy"] for run in runs]
    betas = {f"{np.ravel(run['beta'])[0]:g}": gamma_c(run) for run in (runs[0], *other)}
    named = ", ".join(f"beta = {beta}: {c:.3g}" for beta, c in betas.items())
    gamma_c_seeds = [gamma_c(run) for run in seeds or runs]
    spread = np.ptp(energy) if len(energy) > 1 else abs(energy[0] - ideal)
    to_whom = "their E/N agree" if len(energy) > 1 else "E/N agrees with the best lattice's"
    return [
        _result("C1", *((f"k-space MSE below {COLLAPSED:g} of the data's {where}, every run",
                         "; ".join(_list(r[part]) or "no collapse" for r in above) + " of it",
                         all(len(r) > 0 and np.max(r[part]) < COLLAPSED for r in above),
                         _worst([np.max(r[part], initial=0) if len(r) else np.inf for r in above]))
                        for where, part in (("at the largest gamma", slice(-1, None)),
                                            ("at every stage above gamma_c", slice(None))))),
        _result("C2", ("every skyrmion has six neighbours, every run",
                       "; ".join(f"{100 * run['defects']:.0f} % without, {abs(run['charge']):.0f} skyrmions"
                                 for run in runs),
                       all(run["defects"] == 0 for run in runs), _worst([100 * run["defects"] for run in runs])),
                ("E/N below every training configuration's, every run",
                 f"{_list(energy, '.6f')} against {best_data:.6f} (best commensurate lattice {ideal:.6f})",
                 np.max(energy) < best_data, np.max(energy) - best_data)),
        _result("C3", ("the runs' states differ: squared chord per spin above 0.05", _list(apart),
                        np.min(apart) > 0.05, np.min(apart), False),
                (f"all have collapsed and {to_whom} to 1e-3 J", f"differ by {spread:.2g} J",
                 all(len(r) > 0 for r in above) and bool(spread <= 1e-3), spread)),
        _result("C4", ("all betas collapse in the end", named, bool(np.isfinite(list(betas.values())).all()),
                       _worst(list(betas.values()))),
                ("at gamma_c that differ by more than those of the seeds",
                 f"{named}; seeds at the first beta: {_list(gamma_c_seeds)}",
                 len(betas) > 1 and bool(np.ptp(list(betas.values())) > np.ptp(gamma_c_seeds)),
                 np.ptp(list(betas.values())))),
    ]


def confined(samples: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Return claim S1 from samples with edges.

    Parameters
    ----------
    samples : dicts with name, energy (J per spin, of the lowest generated state), relaxed (the same after relaxation),
        best_annealed, kspace_mse of the generated states and data_kspace_mse.
    """
    _measured("samples", samples, "name", "energy", "relaxed", "best_annealed", "kspace_mse", "data_kspace_mse")
    checks = []
    for s in samples:
        share = s["kspace_mse"] / s["data_kspace_mse"]
        checks += [(f"{s['name']}: one state only, k-space MSE below {COLLAPSED:g} of the data's", f"{share:.2g} of it",
                    share < COLLAPSED, share),
                   (f"{s['name']}: the lowest of the generated states relaxes to the best annealed energy or lower",
                    f"{s['relaxed']:.6f} (as generated {s['energy']:.6f}) against {s['best_annealed']:.6f}",
                    s["relaxed"] <= s["best_annealed"] + 1e-6, s["relaxed"] - s["best_annealed"])]
    return [_result("S1", *checks)]

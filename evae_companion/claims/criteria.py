"""The criteria of the claims of Kwon et al., Advanced Science 2021, applied to numbers that the notebooks measure.

What "almost zero" or "suddenly" means is a choice of this project, made before the run that is judged. Every criterion
gets one number per training (:class:`~evae_companion.claims.Check`), so that each verdict carries an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evae_companion.claims.result import Check, Result
from evae_core.validation import check_array, check_flag, check_keys, check_list, check_number

# A k-space MSE below this share of the training data's is "one state only". It is averaged as it is, not its logarithm:
# by how many decades a training falls below says nothing against another.
COLLAPSED = 1e-2
UP_TO = 1e-2  # beta up to which losses are compared: linear theory has beta_c between 0.05 and 0.1
EARLY = 100.0  # gamma up to which L_RC "hardly changes"
WINDOW = (5e2, 2e4)  # gamma_c "at 1e3 to 1e4"


def _fallback(values: Any) -> float:
    """Return how far a value lies below the largest before it, at most, in percent of the range of the values.

    It is inf if the last value is not above the first, since the values then do not rise.
    """
    values = np.asarray(values, float)
    if not values[-1] > values[0]:
        return float("inf")
    return float(100 * (np.maximum.accumulate(values) - values).max() / np.ptp(values))


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


def _below(what: str, values: Iterable[float], threshold: float, unit: str = "", **more: Any) -> Check:
    return Check(what, tuple(values), threshold, False, unit, **more)


def _above(what: str, values: Iterable[float], threshold: float, unit: str = "", **more: Any) -> Check:
    return Check(what, tuple(values), threshold, True, unit, **more)


def _half_step(x: Any, c: float) -> float:
    """Return half the logarithmic step of the grid ``x`` around ``c``: what a critical value is known to."""
    x = np.asarray(x, float)
    k = int(np.searchsorted(x, c)) if np.isfinite(c) else 0
    return float(np.log(x[k] / x[k - 1]) / 2) if 0 < k < len(x) else 0.0


def _at(x: Any, y: Any, where: float) -> float:
    """Return y at the stage whose x is closest to ``where`` on a logarithmic axis."""
    return float(np.asarray(y)[np.argmin(np.abs(np.log(np.asarray(x, float) / where)))])


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
    ladders : one table per training: arrays beta, reconstruction, kl, energy, magnetisation, kspace_mse (generated
        states), validation with reconstruction, and the number data_kspace_mse.
    """
    _measured("ladders", ladders, "beta", "reconstruction", "kl", "energy", "magnetisation", "kspace_mse",
              "validation", "data_kspace_mse")

    def share(of: Mapping[str, Any], s: Mapping[str, Any]) -> float:
        low = np.asarray(s["beta"]) <= 1.01e-4
        return float(100 * np.max(np.asarray(of["reconstruction"])[low]) / np.asarray(s["reconstruction"])[-1])

    def change(key: str, s: Mapping[str, Any]) -> float:
        """From the smallest beta to UP_TO."""
        return _at(s["beta"], s[key], UP_TO) - float(np.asarray(s[key])[0])

    # Lasting: also at the smallest beta generated states differ little, because the prior misses the latents in use.
    beta_c = [critical(s["beta"], s["kspace_mse"], s["data_kspace_mse"], lasting=True) for s in ladders]
    known = float(np.mean([_half_step(s["beta"], c) for s, c in zip(ladders, beta_c, strict=True)]))
    return [
        # Almost zero: a tenth of the L_RC of one answer for all states.
        Result("B1", (_below("L_RC at β up to 1e-4, share of the uniform answer's",
                             [share(s, s) for s in ladders], 10.0, "%"),
                      _below("validation L_RC, share of the uniform answer's",
                             [share(s["validation"], s) for s in ladders], 10.0, "%"))),
        # From the smallest beta to 1e-2. Not stage by stage: a stage trains the network further, and beyond beta_c
        # every output is the uniform state, whose energy is no property of the network.
        Result("B2", (_above(f"rise of L_RC from the smallest β to {UP_TO:g}",
                             [change("reconstruction", s) for s in ladders], 0.0),
                      _above("rise of L_H", [1e4 * change("energy", s) for s in ladders], 0.0, "1e-4"),
                      _below("change of L_KL", [change("kl", s) for s in ladders], 0.0, "nats"))),
        Result("B3", (_above("β_c", beta_c, 1e-3, log=True, resolution=known),
                      _below("β_c", beta_c, 1e-1, log=True, resolution=known),
                      _above("mean S^z of the outputs at the largest β",
                             [np.asarray(s["magnetisation"])[-1] for s in ladders], 0.99))),
    ]


def gamma_sweep(ladders: Mapping[float, Sequence[Mapping[str, Any]]]) -> list[Result]:
    """Return claims G1-G4 from gamma sweeps.

    Parameters
    ----------
    ladders : {beta: one table per training}, each with arrays gamma, reconstruction, kl, energy (of X_out),
        energy_generated, kspace_mse, and the numbers data_kspace_mse and data_energy (mean L_H of the training data).
    """
    checks: dict[str, list[Check]] = {claim: [] for claim in ("G1", "G2", "G3", "G4")}
    if not isinstance(ladders, Mapping) or not ladders:
        raise TypeError(f"ladders must be a dict of tables, one list per beta, got {ladders!r:.60}")
    for beta, tables in ladders.items():
        _measured("ladders", tables, "gamma", "reconstruction", "kl", "energy", "energy_generated", "kspace_mse",
                  "data_kspace_mse", "data_energy")
        at = f", β = {beta:g}"
        gamma_c = [critical(s["gamma"], s["kspace_mse"], s["data_kspace_mse"]) for s in tables]
        known = float(np.mean([_half_step(s["gamma"], c) for s, c in zip(tables, gamma_c, strict=True)]))
        # Before the collapse: past it every output is the ground state, which lies below any data.
        before = [np.asarray(s["gamma"]) < (c if np.isfinite(c) else 1001)
                  for s, c in zip(tables, gamma_c, strict=True)]
        below = [1e4 * (np.asarray(s["energy"])[b][-1] - s["data_energy"]) for s, b in zip(tables, before, strict=True)]
        checks["G1"] += [
            _below(f"rises of L_H of X_out, share of its fall{at}",
                   [_fallback(-np.asarray(s["energy"])) for s in tables], 5.0, "%"),
            # The paper's sentence is about X_out.
            _below(f"the same of X'_out{at}", [_fallback(-np.asarray(s["energy_generated"])) for s in tables], 5.0, "%",
                   counts=False)]
        checks["G2"] += [
            _below(f"largest L_RC up to γ = 100 over the first{at}", [
                float(np.max(np.asarray(s["reconstruction"])[np.asarray(s["gamma"]) <= 1.01 * EARLY])
                      / np.asarray(s["reconstruction"])[0]) for s in tables], 1.5, "times", log=True, evidence=False),
            _above(f"L_RC at γ = 1e4 over that at 100{at}", [
                _at(s["gamma"], s["reconstruction"], 1e4) / _at(s["gamma"], s["reconstruction"], EARLY)
                for s in tables], 2.0, "times", log=True)]
        checks["G3"].append(_below(f"L_H of X_out before γ_c, less that of the data{at}", below, 0.0, "1e-4"))
        checks["G4"] += [
            _above(f"γ_c{at}", gamma_c, WINDOW[0], log=True, resolution=known),
            _below(f"γ_c{at}", gamma_c, WINDOW[1], log=True, resolution=known),
            # Sudden: the ladder has ten decades, one of them brings more than half of the fall.
            _above(f"share of the fall of L_H within one decade of γ{at}",
                   [_steepest(s["gamma"], s["energy"]) for s in tables], 50.0, "%"),
            _below(f"range of L_RC over the last three stages{at}", [
                float(100 * np.ptp(s["reconstruction"][-3:]) / np.mean(s["reconstruction"][-3:])) for s in tables],
                5.0, "%", evidence=False),
            _above(f"L_KL at the end over that at γ = 100{at}", [
                float(s["kl"][-1] / _at(s["gamma"], s["kl"], EARLY)) for s in tables], 10.0, "times", log=True)]
    return [Result(claim, tuple(of_claim)) for claim, of_claim in checks.items()]


def _steepest(gamma: Any, energy: Any) -> float:
    """Return the largest share (%) of the fall of an energy, first to last stage, that lies within one decade."""
    gamma, energy = _rows(gamma=gamma, energy=energy)
    fall = energy[0] - energy[-1]
    if not fall > 0:
        return 0.0
    within = [[energy[i] - energy[j] for j in range(i + 1, len(gamma)) if gamma[j] <= 10.01 * gamma[i]]
              for i in range(len(gamma) - 1)]
    return float(100 * max((max(falls) for falls in within if falls), default=0.0) / fall)


def noise_reduction(runs: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Return claims N1-N4 from states without the Hamiltonian in training (gamma = 0) and at gamma = 100.

    gamma = 1 is shown and not judged: the paper's three maps are ordered, but a single training differs from the next
    by more than gamma = 1 from 0.

    Parameters
    ----------
    runs : one per training: for the keys "X_out" and "X'_out" a dict with median, peak and height, each a sequence over
        gamma from 0 to 100. Median and position of the density's peak in radians, its height per radian. Other keys
        ("X_out from mu") are shown. Beside these, for the same two keys, deformed: share of stretched, truncated and
        merged skyrmions, and near: share of states that are near their own minimum.
    """
    _measured("runs", runs, "X_out", "X'_out")
    for run in runs:
        for row in run.values():
            check_keys("runs", row, ("median", "peak", "height", "deformed", "near"))
            _rows(**{key: row[key] for key in ("median", "peak", "height", "deformed", "near")})
    n1, n2, n3, n4 = [], [], [], []
    for name in runs[0]:
        counts = name in ("X_out", "X'_out")
        first, last = ([{key: float(np.asarray(run[name][key], float)[end]) for key in run[name]}
                        for run in runs] for end in (0, -1))
        pairs = list(zip(first, last, strict=True))
        n1.append(_below(f"median θ of {name} at γ = 100 over that at 0",
                         [b["median"] / a["median"] for a, b in pairs], 1.0, log=True, counts=counts))
        n2 += [_below(f"shift of the peak, {name}", [np.degrees(b["peak"] - a["peak"]) for a, b in pairs],
                      0.0, "degrees", counts=counts),
               _above(f"growth of the peak, {name}", [b["height"] / a["height"] for a, b in pairs], 1.0, "times",
                      log=True, counts=counts)]
        n3.append(_below(f"deformed skyrmions in {name} at γ = 100, less half their share at 0",
                         [100 * (b["deformed"] - a["deformed"] / 2) for a, b in pairs], 0.0, "%",
                         counts=counts))
        n4.append(_above(f"states near their own minimum at γ = 100, less those at 0, {name}",
                         [100 * (b["near"] - a["near"]) for a, b in pairs], 0.0, "%", counts=counts))
    return [Result(claim, tuple(checks)) for claim, checks in (("N1", n1), ("N2", n2), ("N3", n3), ("N4", n4))]


def latent_interpolation(runs: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Return claims L1-L3 from the paths of each training, averaged over all places of the defect in the box.

    Parameters
    ----------
    runs : one per training, with arrays (gammas, places), gamma from 0 to 100: height, width (of the barrier; J per
        spin, and steps, NaN without a barrier), start, end (energies of the interstitial's and of the lattice's
        plateau, J per spin), extra (|charge| at R = 2 minus that of the lattice's end), change (R at which the
        extra skyrmion goes).
    """
    keys = ("height", "width", "start", "end", "extra", "change")
    _measured("runs", runs, *keys)
    paths = [{key: check_array(key, run[key], (None, None), finite=False) for key in keys} for run in runs]

    def difference(key: str) -> list[float]:
        """From gamma = 0 to 100, place by place."""
        pairs = [run[key][-1] - run[key][0] for run in paths]
        return [float(np.mean(d[np.isfinite(d)])) if np.isfinite(d).any() else float("nan") for d in pairs]

    def share(flags: list[np.ndarray]) -> list[float]:
        return [float(100 * np.mean(flag)) for flag in flags]

    still = [np.abs(run["extra"] - 1) < 0.5 for run in paths]
    gone = [np.abs(run["extra"]) < 0.5 for run in paths]
    return [
        Result("L1", (_above("paths with a barrier above both plateaus",
                             share([np.isfinite(run["width"]) & (run["height"] > 0) for run in paths]), 50.0, "%"),
                      _below("barrier width (FWHM) at γ = 100, less that at 0", difference("width"), 0.0, "steps"))),
        Result("L2", tuple(_below(f"energy of the {name} plateau at γ = 100, less that at 0",
                                  [1e4 * d for d in difference(key)], 0.0, "1e-4 J per spin")
                           for name, key in (("lattice", "end"), ("interstitial", "start")))),
        Result("L3", (_above("places with the defect still there at R = 2, γ = 0",
                             share([flag[0] for flag in still]), 50.0, "%"),
                      _above("places with the defect gone at R = 2, γ = 100",
                             share([flag[-1] for flag in gone]), 50.0, "%", evidence=False),
                      _below("R at which the charge changes at γ = 100, less that at 0", difference("change"), 0.0,
                             "steps", counts=False))),
    ]


def collapse(runs: Mapping[float, Sequence[Mapping[str, Any]]], distances: Sequence[float]) -> list[Result]:
    """Return claims C1-C5 from gamma sweeps to the largest gamma.

    Parameters
    ----------
    runs : {beta: one table per training, in the same order}; the first beta is judged in C1 to C3 and C5. Arrays gamma,
        kspace_mse and energy_per_spin (mean E/N of X'_out, J), the number data_kspace_mse. Of the states generated at
        the largest gamma: energy, their mean (J per spin), and defects, the share of skyrmions without six neighbours
        in the one of median energy. best_data, E/N (J) of the lowest training configuration.
    distances : squared chord per spin between the final states of every two trainings at the first beta.
    """
    if not isinstance(runs, Mapping) or not runs:
        raise TypeError(f"runs must be a dict of tables, one list per beta, got {runs!r:.60}")
    for tables in runs.values():
        _measured("runs", tables, "gamma", "kspace_mse", "energy_per_spin", "data_kspace_mse", "energy", "defects",
                  "best_data")
    first = next(iter(runs.values()))
    (apart,) = _rows(distances=distances) if len(first) > 1 else (np.zeros(0),)
    gamma_c = {beta: [critical(s["gamma"], s["kspace_mse"], s["data_kspace_mse"]) for s in tables]
               for beta, tables in runs.items()}
    known = {beta: float(np.mean([_half_step(s["gamma"], c) for s, c in zip(tables, gamma_c[beta], strict=True)]))
             for beta, tables in runs.items()}
    share = [100 * np.asarray(s["kspace_mse"]) / s["data_kspace_mse"] for s in first]
    above = [one[np.asarray(s["gamma"]) > c] for s, one, c in zip(first, share, gamma_c[next(iter(runs))], strict=True)]
    energies = [s["energy"] for s in first]
    pairs = [1e4 * abs(a - b) for k, a in enumerate(energies) for b in energies[k + 1:]]
    c3 = [_below("difference of two trainings in E/N", pairs, 1.0, "1e-4 J"),
          _above("squared chord per spin between their states", apart, 0.05, evidence=False)] if pairs else [
        _below("two trainings are needed", [np.nan], 0.0)]
    c4 = [_below(f"k-space MSE at the largest γ, share of the data's, β = {beta:g}",
                 [100 * s["kspace_mse"][-1] / s["data_kspace_mse"] for s in tables], 100 * COLLAPSED, "%")
          for beta, tables in runs.items()]
    if len(runs) > 1:
        (large, of_large), (small, of_small) = sorted(gamma_c.items(), reverse=True)[:2]
        # Linear theory has gamma_c fall slowly with beta, by a factor 1.1 to 1.2 here. Trainings of both betas only.
        c4.append(_above(f"γ_c at β = {small:g} over that at {large:g}",
                         [a / b for a, b in zip(of_small, of_large, strict=False)], 1.0, "times", log=True,
                         resolution=float(np.hypot(known[small], known[large]))))
    return [
        Result("C1", (_below("k-space MSE at the largest γ, share of the data's", [one[-1] for one in share],
                             100 * COLLAPSED, "%"),
                      _below("k-space MSE past γ_c, share of the data's",
                             [np.max(one) if len(one) else np.nan for one in above], 100 * COLLAPSED, "%"))),
        Result("C2", (_below("skyrmions without six neighbours", [100 * s["defects"] for s in first],
                             1.0, "%"),
                      _below("E/N, less that of the lowest training configuration",
                             [1e4 * (s["energy"] - s["best_data"]) for s in first], 0.0, "1e-4 J"))),
        Result("C3", tuple(c3)),
        Result("C4", tuple(c4)),
        Result("C5", (_below("range of E/N past γ_c, share of its fall",
                             [_variation(s, c) for s, c in zip(first, gamma_c[next(iter(runs))], strict=True)], 5.0,
                             "%"),)),
    ]


def _variation(run: Mapping[str, Any], gamma_c: float) -> float:
    """Return the range of E/N past gamma_c in percent of its fall from the smallest gamma; NaN without two stages."""
    energy = np.asarray(run["energy_per_spin"], float)
    past = energy[np.asarray(run["gamma"]) > gamma_c]
    return float(100 * np.ptp(past) / (energy[0] - energy[-1])) if len(past) > 1 else float("nan")


def dataset(runs: Sequence[Mapping[str, Any]]) -> list[Result]:
    """Return claim D1 from training data.

    Parameters
    ----------
    runs : one per data set, with redundant, the share of its states that are copies of another one up to the symmetries
        of the lattice and of the Hamiltonian.
    """
    _measured("runs", runs, "redundant")
    return [Result("D1", (_below("states that are copies, up to symmetry",
                                 [100 * s["redundant"] for s in runs], 1.0, "%"),))]


def confined(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Result]:
    """Return claim S1 from samples with edges.

    Parameters
    ----------
    samples : {name: one dict per training}, each with kspace_mse of the generated states, data_kspace_mse, and lowest,
        the share of them that relaxes to the lowest annealed energy or below.
    """
    if not isinstance(samples, Mapping) or not samples:
        raise TypeError(f"samples must be a dict of measurements, one list per sample, got {samples!r:.60}")
    checks = []
    for name, trainings in samples.items():
        _measured("samples", trainings, "kspace_mse", "data_kspace_mse", "lowest")
        checks += [_below(f"{name}: k-space MSE, share of the data's",
                          [100 * s["kspace_mse"] / s["data_kspace_mse"] for s in trainings], 100 * COLLAPSED, "%"),
                   _above(f"{name}: states that relax to the lowest annealed energy",
                          [100 * s["lowest"] for s in trainings], 50.0, "%")]
    return [Result("S1", tuple(checks))]

"""Markdown tables and sentences about the ground-state evidence, generated from its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from math import isfinite
from types import SimpleNamespace
from typing import Any

import numpy as np

from evae_companion.analysis.ground_state_search import GroundStateCandidates
from evae_companion.analysis.latent_directions import LatentDirections
from evae_companion.experiments.budget import FOUND, arrival, curves
from evae_companion.experiments.size_scan import Sample


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _above(energy: float) -> str:
    """Format an energy (J) relative to the best known; "the best known" if both agree to :data:`FOUND`."""
    return "the best known" if abs(energy) < FOUND else f"{energy:+.1e} J"


def _seconds(value: float) -> str:
    return "not reached" if not isfinite(value) else f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def candidates_table(search: GroundStateCandidates, most: int = 12) -> str:
    """Return a table of the ``most`` lowest candidates, and of the best of every kind that is not among them."""
    lowest = search.candidates[:most]
    others = [next((c for c in search.candidates[most:] if c.kind == kind), None) for kind in search.tries
              if kind not in {c.kind for c in lowest}]
    rows = [[str(search.candidates.index(c) + 1), f"{c.kind}: {c.description}", f"{c.energy:.8f}",
             f"{c.energy - search.best.energy:.1e}", f"{round(c.charge, 2) + 0.0:.2f}", f"{c.torque:.0e}",
             ", ".join(f"{number} {kind}" for kind, number in c.origins.items())]
            for c in [*lowest, *(c for c in others if c is not None)]]
    tries = ", ".join(f"{number} {kind}" for kind, number in search.tries.items())
    head = ["", "first found as", "E/N (J)", "above the best (J)", "charge", "torque (J)", "came down to it"]
    return (f"{_table(head, rows)}\n\n{len(search.candidates)} different relaxed states were kept, of {tries} tries. "
            "The first is lower than every other state known to us; that it is the ground state is not proven.")


def stage_table(rows: Mapping[str, Any], lowest: float, data_kspace_mse: float) -> str:
    """Return a table of a sweep (:func:`~evae_companion.experiments.stage_table.columns`), one row per stage.

    Energies are given above ``lowest`` (E/N, J).
    """
    def states(k: int, of: str) -> list[str]:
        energy, spread, low, high = (1e4 * (rows[f"{name}_{of}"][k] - (0 if name == "spread" else lowest))
                                     for name in ("energy", "spread", "rest_low", "rest_high"))
        charges = sorted({round(abs(rows[f"charge_{end}_{of}"][k])) for end in ("low", "high")})
        return [f"{energy:.2f} ({spread:.2f})", f"{rows[f'kspace_mse_{of}'][k] / data_kspace_mse:.2g}",
                f"{low:.2f} to {high:.2f}, {' to '.join(map(str, charges))} skyrmions"]

    head = ["γ", "L_RC (training, validation)", "L_KL", "variance of z"]
    for name in ("X_out", "X'_out"):
        head += [f"{name}: E/N (spread)", "k-space MSE", "relaxed"]
    return _table(head, [[f"{gamma:g}", f"{rows['reconstruction'][k]:.2f}, {rows['reconstruction_validation'][k]:.2f}",
                          f"{rows['kl'][k]:.0f}", f"{rows['variance'][k]:.1f}", *states(k, "x_out"),
                          *states(k, "generated")] for k, gamma in enumerate(rows["gamma"])])


def prior_table(found: SimpleNamespace, lowest: float) -> str:
    """Return a table of generated states by prior (:func:`~evae_companion.experiments.priors.run`), the data first.

    Energies are given above ``lowest`` (E/N, J).
    """
    def row(gamma: str, states: str, one: Mapping[str, float]) -> list[str]:
        return [gamma, states, f"{1e4 * (one['energy'] - lowest):.2f} ({1e4 * one['spread']:.2f})",
                f"{one['diversity']:.2g}", f"{100 * one['coverage']:.0f} %"]

    table = found.table
    return _table(["γ", "states", "E/N above the lowest known, 1e-4 J (spread)", "k-space MSE / data", "coverage"], [
        row("", "training data", found.data), *(
            row(f"{gamma:g}", table["states"][k], {name: table[name][k] for name in found.data})
            for k, gamma in enumerate(table["gamma"]))])


def order_table(sets: Mapping[str, Mapping[str, Any]], lowest: float) -> str:
    """Return a table of sets of textures (:func:`~evae_companion.analysis.order.order`), one column per set.

    Energies are given above ``lowest`` (E/N, J).
    """
    def row(name: str, form: Any) -> list[str]:
        return [name, *(form(one) for one in sets.values())]

    def share(*keys: str) -> Any:
        return lambda one: " / ".join(f"{100 * one[key]:.0f} %" for key in keys)

    return _table(["", *sets], [
        row("E/N above the lowest known (1e-4 J)", lambda one: f"{1e4 * (one['energy'] - lowest):.1f} ± "
            f"{1e4 * one['energy_spread']:.1f}, least {1e4 * (one['lowest'] - lowest):.2f}"),
        row("skyrmions", lambda one: f"{abs(one['charge']):.1f} ± {one['charge_spread']:.1f}"),
        row("angle to the field: median, largest (degrees)",
            lambda one: f"{one['theta_median']:.2g}, {one['theta_max']:.2g}"),
        row("weight of the six strongest Bragg peaks", share("bragg")),
        row("skyrmions with five / seven neighbours", share("five", "seven")),
        row("stretched skyrmions", share("stretched")),
        row("copies of another state", lambda one: str(one["redundant"]))])


def data_order_table(result: SimpleNamespace) -> str:
    """Return a table of :func:`~evae_companion.experiments.data_order.known`: mean over seeds and standard error."""
    def over_seeds(kind: str, value: Any, form: str = ".2g") -> str:
        numbers = np.array([value(end) for end in result.ends[kind]], float)
        here = numbers[np.isfinite(numbers)]
        if not len(here):
            return "never"
        error = f" ± {here.std(ddof=1) / math.sqrt(len(here)):.1g}" if len(here) > 1 else ""
        of = f" in {len(here)} of {len(numbers)}" if len(here) < len(numbers) else ""
        return f"{here.mean():{form}}{error}{of}"

    def theta(name: str) -> Any:
        return lambda end: end["noise"][name]["median"][-1] / end["noise"][name]["median"][0]

    def path(name: str) -> Any:
        def change(end: Mapping[str, Any]) -> float:
            rows = np.array(end["paths"][name], float)
            places = (rows[-1] - rows[0])[np.isfinite(rows[-1] - rows[0])]
            return float(places.mean()) if len(places) else math.nan  # no barrier at any place

        return change

    lowest = result.lowest
    rows: list[tuple[str, Any, str]] = [
        ("γ_c", lambda end: end["gamma_c"], ".2g"),
        ("E/N of X'_out at the largest γ, above the lowest known (1e-4 J)",
         lambda end: 1e4 * (end["energy"] - lowest), ".2f"),
        ("the same, relaxed", lambda end: 1e4 * (end["relaxed"] - lowest), ".2f"),
        ("above the best training state", lambda end: 1e4 * (end["energy"] - end["best_data"]), ".2f"),
        ("skyrmions", lambda end: abs(end["charge"]), ".0f"), ("without six neighbours (%)",
         lambda end: 100 * end["defects"], ".0f"), ("L_KL, times that at γ = 100", lambda end: end["kl_growth"], ".2g"),
        ("k-space MSE of X_out, of the data's", lambda end: end["x_out_share"], ".2g"),
        ("median θ at γ = 100, of that at 0: X_out", theta("X_out"), ".2f"), ("X'_out", theta("X'_out"), ".2f"),
        ("barrier's width, γ = 0 to 100 (steps)", path("width"), ".1f"),
        ("lattice plateau, γ = 0 to 100 (1e-4 J)", lambda end: 1e4 * path("end")(end), ".1f")]
    return _table(["", *result.kinds], [
        ["trainings", *(str(len(result.ends[kind])) for kind in result.kinds)],
        *([name, *(over_seeds(kind, value, form) for kind in result.kinds)] for name, value, form in rows)])


def choices_table(table: Mapping[str, Any]) -> str:
    """Return a table of the choices of :func:`~evae_companion.experiments.training_choices.known`, one row each."""
    return _table(["left out", "L_RC after the first stage (training, validation)", "L_RC, L_KL at β = 1e-3", "γ_c",
                   "k-space MSE of X'_out at the end, of the data's"],
                  [[str(name), f"{first:.3f}, {validation:.3f}", f"{rc:.3f}, {kl:.0f}",
                    f"{gamma:.2g}" if isfinite(gamma) else "none", f"{share:.2g}"]
                   for name, first, validation, rc, kl, gamma, share in zip(
                       *(table[key] for key in ("choice", "first", "first_validation", "beta_rc", "beta_kl", "gamma_c",
                                                "share")), strict=True)])


def lengths_table(table: Mapping[str, Any], lowest: float) -> str:
    """Return a table of the stage lengths of the same result; energies above ``lowest`` (E/N, J)."""
    return _table(["γ", "steps, of the preset's", "L_RC", "L_KL", "X_out: E/N (1e-4 J)", "k-space MSE",
                   "X'_out: E/N (1e-4 J)", "k-space MSE"],
                  [[f"{table['gamma'][k]:g}", f"{int(table['times'][k])}", f"{table['reconstruction'][k]:.2f}",
                    f"{table['kl'][k]:.0f}", *(text for of in ("x_out", "generated") for text in (
                        f"{1e4 * (table[f'energy_{of}'][k] - lowest):.2f}", f"{table[f'share_{of}'][k]:.2g}"))]
                   for k in range(len(table["gamma"]))])


def latent_table(found: Mapping[float, LatentDirections]) -> str:
    """Return a table of :func:`~evae_companion.experiments.latent_symmetry.run`: means over the latent vectors."""
    def of(one: LatentDirections) -> list[str]:
        x, y, any_ = (f"{100 * float(share.mean()):.0f} %" for share in one.shares.values())
        cost = ", ".join(f"{float(one.cost[name].mean()):.2g}" for name in ("along x", "along y"))
        return [f"{float(one.motion.mean()):.2g}", f"{float(one.number.mean()):.0f}", f"{x}, {y}", any_, cost]

    return _table(["γ", "turn of a spin per unit of z (rad)", "participating directions", "of a translation (x, y)",
                   "of a smooth displacement", "length of z per site of translation (x, y)"],
                  [[f"{gamma:g}", *of(one)] for gamma, one in found.items()])


def barrier_table(result: SimpleNamespace, walks: Mapping[float, Mapping[str, float]]) -> str:
    """Return tables of minimum-energy paths (:func:`~evae_companion.experiments.minimum_barrier.run`) and of walks.

    ``walks`` is what :func:`~evae_companion.experiments.minimum_barrier.over_walks` returned.
    """
    def modes(values: Any) -> str:
        return ", ".join(f"{value:.1e}" for value in values)

    paths = _table(["by", "barrier from the interstitial (J)", "from the lattice (J)", "lowest eigenvalues there (J)",
                    "torque (J)", "minima below its ends: charge", "above the two textures (J per spin)"],
                   [[name, f"{way.there:.4f}", f"{way.back:.4f}", modes(way.modes), f"{way.torque:.0e}",
                     " and ".join(f"{charge:.0f}" for charge in way.charges),
                     " and ".join(f"{value:.1e}" for value in way.ends)] for name, way in result.ways.items()])
    ends = _table(["state", "lowest eigenvalues (J)"], [[name, modes(values)] for name, values in result.modes.items()])
    above = _table(["γ", "top of the walk above the lower saddle (J)", "(J per spin)"],
                   [[f"{gamma:g}", f"{one['total']:.2f}", f"{one['per_spin']:.1e}"] for gamma, one in walks.items()])
    return "\n\n".join((paths, ends, above))


def stability_table(table: Mapping[str, Any], tolerance: float) -> str:
    """Return a table of the states that outputs relax to (:func:`~evae_companion.experiments.stability.run`).

    A state with an eigenvalue below ``-tolerance`` (J), the translations left out, counts as a saddle.
    """
    gammas, kinds = np.asarray(table["gamma"], float), np.asarray(table["kind"])
    modes = np.stack([np.asarray(table[f"mode {k}"], float) for k in (1, 2, 3)], 1)
    glides = np.stack([np.asarray(table[f"glide {k}"], float) for k in (1, 2)], 1)
    rows = []
    for gamma, kind in dict.fromkeys(zip(gammas.tolist(), kinds.tolist(), strict=True)):
        of = (gammas == gamma) & (kinds == kind)
        here = of & np.isfinite(modes[:, 0])
        saddles, gliding = int((modes[here, 0] < -tolerance).sum()), glides[here][np.isfinite(glides[here])]
        rows.append([f"{gamma:g}", kind, str(int(here.sum()) - saddles), str(saddles), str(int(of.sum() - here.sum())),
                     ", ".join(f"{value:.1e}" for value in modes[here][modes[here, 0].argmin()]) if here.any() else "-",
                     f"{gliding.min():.1e} to {gliding.max():.1e}" if len(gliding) else "-"])
    return _table(["γ", "relaxed from", "minima", "saddles", "not relaxed", "lowest eigenvalues of the softest (J)",
                   "translations (J)"], rows)


def gap_table(rows: list[dict[str, Any]]) -> str:
    """Return a table of how far generated states lie above the best candidate, as decoded and relaxed."""
    return _table(
        ["training", "stage", "γ", "as decoded: mean, lowest", "relaxed: mean, lowest", "charge",
         "relax to the best known"],
        [[r["run"], r["stage"], f"{r['gamma']:g}", f"{_above(r['mean'])}, {_above(r['lowest'])}",
          f"{_above(r['relaxed_mean'])}, {_above(r['relaxed_lowest'])}", f"{r['charge']:.2f}",
          f"{100 * r['share']:.0f} % of {r['samples']}"] for r in rows])


def quality_table(sampled: SimpleNamespace, step: str) -> str:
    """Return a table of :mod:`~evae_companion.experiments.sample_quality`, one row per set of states.

    ``step`` is "as generated" or "at rest". Energies are per spin above the best commensurate lattice, in 1e-4 J.
    """
    return _table(["states", "density", "coverage", "Vendi score", "S(k)", "E/N above the lattice (1e-4 J)"],
                  [[name, *(f"{m[step][key]:.3g}" for key in ("density", "coverage", "vendi", "structure")),
                    f"{1e4 * (m[step]['energy'] - sampled.ideal):.2f}"] for name, m in sampled.measures.items()])


def budget_table(samples: Mapping[str, SimpleNamespace]) -> str:
    """Return a table with one row per sample and method.

    It gives the cost and energy of one run, and the time until the best known state is reached.
    """
    rows = []
    for name, sample in samples.items():
        for c in curves(sample):
            method = c["label"] + {None: "", True: ", with its training", False: ", training not counted"}[c["once"]]
            at, updates = c["mean_at"], c["updates"][c["mean_at"]]
            rows.append([name, method, _seconds(c["seconds"][at]), f"{updates:.1e}" if updates else "-",
                         _above(c["mean"]), _above(c["least"]), _seconds(arrival(c))])
    return _table(["sample", "method", "one run", "spin updates", "mean E/N above the best known", "lowest of all runs",
                   "at the best known with even odds after"], rows)


def budget_reading(samples: Mapping[str, SimpleNamespace]) -> str:
    """Return a list of sentences, one item per sample, about where the collapse wins and where it loses."""
    lines = []
    for name, sample in samples.items():
        by_method = {(c["label"], c["once"]): c for c in curves(sample)}
        rivals = {label: c for (label, once), c in by_method.items() if once is None}
        rival = min(rivals, key=lambda label: arrival(rivals[label]))
        counted, free = (by_method["E-VAE + descent", once] for once in (True, False))
        fastest, trained, decoded = (arrival(c) for c in (rivals[rival], counted, free))
        if isfinite(trained) and isfinite(fastest):
            text = (f"the collapse {'wins' if trained < fastest else 'loses'}: relaxed, it is at the best known state "
                    f"after {_seconds(trained)} with its training, {rival} after {_seconds(fastest)}, with even odds")
        elif isfinite(trained):
            text = f"the collapse wins: no rival reaches the best known state, it does after {_seconds(trained)}"
        elif isfinite(fastest):
            text = (f"the collapse loses: relaxed, it ends {counted['lowest'][-1, 1]:.1e} J above the best known, "
                    f"which {rival} reaches after {_seconds(fastest)}")
        else:
            text = "neither the collapse nor a rival reaches the best known state"
        if isfinite(decoded):
            text += f"; once trained, it needs {_seconds(decoded)}, {'less' if decoded < fastest else 'more'} than that"
        raw, best = by_method["E-VAE", False], min(rivals, key=lambda label: rivals[label]["mean"])
        text += (f". Its states as decoded lie {raw['mean']:.1e} J above the best known on average, "
                 f"{'below' if raw['mean'] < rivals[best]['mean'] else 'above'} the best average of a rival ({best}, "
                 f"{rivals[best]['mean']:.1e} J).")
        lower = min(c["least"] for c in by_method.values())
        if lower < -FOUND:
            text += f" A method here found a state {-lower:.1e} J below the search's best: the search was too short."
        lines.append(f"* **{name}**: {text}")
    return "\n".join(lines)


def strip_table(samples: list[Sample]) -> str:
    """Return a table of the sizes, which of them have an E-VAE, and where it disagrees with the search."""
    rows = [[f"{s.kind} {s.shape[0]} x {s.shape[1]}", f"{s.size:.2f}", f"{s.skyrmions}", f"{s.energy:.6f}",
             f"{s.runner_up - s.energy:.1e}", f"{100 * s.annealed:.0f} %",
             "-" if s.relaxed is None else "the same state" if s.agrees else
             f"{s.relaxed - s.energy:+.1e} J, {s.relaxed_skyrmions} skyrmions"] for s in samples]
    return _table(["sample", "size (spacings)", "skyrmions", "lowest E/N (J)", "the next above it (J)",
                   "annealings that find it", "E-VAE, relaxed"], rows)

"""The numbers of the replication report, read from data/recorded, data/known and the presets.

Each function returns {name: Typst markup}. Where the prose of ``report.typ`` says something that is no number,
:func:`holds` raises unless the record says so, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from wording import SPACE, grouped, listed, markup, over, percent, power, span, word

from evae_companion import claims
from evae_companion import training_plans as plans
from evae_companion.analysis.samplers import EnergyTrace
from evae_companion.claims import Result, criteria
from evae_companion.claims.result import CONFIDENCE
from evae_companion.data_specs import data_spec
from evae_companion.experiments import budget, latent_interpolation, minimum_barrier
from evae_companion.experiments.confined import SAME
from evae_companion.experiments.noise_reduction import FINE, NEAR
from evae_companion.presets import RunPreset
from evae_companion.store.serialization import load_arrays, load_table, read_json
from evae_core.latent import K_STEPS
from evae_core.presets import VAEConfig
from evae_core.training.stages import confined_stages

ORDINALS = "lowest", "second lowest", "third lowest"


def holds(truth: bool, sentence: str) -> None:
    """Raise a ValueError unless what the prose says is true of the record."""
    if not truth:
        raise ValueError(f"report.typ says that {sentence}; the record denies it, so rewrite the sentence")


class Record:
    """The record of a preset, ``data/recorded/<preset>``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.index = read_json(folder / "record.json")
        self.artifacts = [(read_json(path), path.parent) for path in sorted((folder / "artifacts").glob("*/meta.json"))]

    def of(self, kind: str, matches: Callable[[dict[str, Any]], bool] = lambda spec: True
           ) -> list[tuple[dict[str, Any], Path]]:
        """Return (meta, folder) of the artifacts of a kind whose spec ``matches``; ValueError if there is none."""
        found = [(meta, path) for meta, path in self.artifacts
                 if meta["spec"]["kind"] == kind and matches(meta["spec"])]
        if not found:
            raise ValueError(f"{self.folder} holds no {kind!r} as the report needs it; make publish writes it")
        return found

    def statistics(self, shape: Sequence[int], seed: int, n: int) -> dict[str, np.ndarray]:
        """Return the statistics of the first ``n`` annealed states of a data set, before any is left out."""
        shards = sorted(self.of("shard", lambda spec: (spec["shape"], spec["seed"]) == (list(shape), seed)),
                        key=lambda one: one[0]["spec"]["first"])
        each = [load_arrays(path / "statistics.npz") for _, path in shards]
        return {name: np.concatenate([one[name] for one in each])[:n] for name in each[0]}

    def seeds(self, file: str, n: int) -> list[Any]:
        """Return a JSON result of each of ``n`` trainings: the first lies in the folder itself."""
        return [read_json((self.folder / f"seed_{seed}" if seed else self.folder) / file) for seed in range(n)]


def of_system(p: RunPreset, paper: RunPreset) -> dict[str, str]:
    """Return the numbers of system, network, training and criteria."""
    config, schedule = p.config or VAEConfig(), data_spec(p).schedule
    period = 2 * math.pi / math.atan(p.D / p.J)
    return {
        "size": str(p.size), "D": f"{p.D:g}", "B": f"{p.B:g}", "period": f"{period:.1f}",
        "periods": f"{p.size / period:.1f}", "hot": f"{schedule.T_start:g}", "cold": f"{schedule.T_end:g}",
        "sweeps": grouped(p.sweeps), "quench": str(p.quench), "train": grouped(p.train),
        "confined_train": grouped(p.confined_train), "data_ratio": percent(p.train / paper.train),
        "latent": str(config.latent), "blocks": word(len(config.filters)), "filters": listed(map(str, config.filters)),
        "dense": str(config.filters[-1] * (p.size // config.reduction) ** 2), "hidden": str(config.hidden),
        "slope": f"{config.slope:g}", "logvar": markup(f"{config.logvar_start:g}"),
        "final_rate": percent(p.final_rate), "few_steps": str(p.beta_steps), "many_steps": grouped(p.first_steps),
        "paper_train": grouped(paper.train), "paper_steps": grouped(paper.gamma_steps), "seeds": word(p.seeds),
        "trainings": word(p.seeds * len(p.gamma_betas)), "samples": str(p.samples), "path_steps": str(K_STEPS),
        "places": word(latent_interpolation.PLACES), "early": f"{criteria.EARLY:g}",
        "large_beta": power(p.gamma_betas[0]), "small_beta": power(p.gamma_betas[1]), "beta_first": power(p.betas[0]),
        "beta_last": f"{p.betas[-1]:g}", "gamma_first": power(p.gammas[0]), "gamma_last": power(p.gammas[-1]),
        "confined_gamma": power(confined_stages(p, plans.BETA)[-1].gamma), "collapsed": percent(criteria.COLLAPSED),
        "confidence": percent(CONFIDENCE), "near": power(NEAR), "unit": power(1e-4)}


def of_claims(results: dict[str, Result], p: RunPreset) -> dict[str, str]:
    """Return the numbers of single checks, as the score card writes them."""
    def check(claim: str, pattern: str) -> str:
        (one,) = (check for check in results[claim].checks if re.search(pattern, check.what))
        return markup(one.number)

    large, small = (f"β = {beta:g}$" for beta in p.gamma_betas)
    found = [result.verdict for result in results.values()]
    both = {f"{name}_{size}": check(claim, pattern + at) for size, at in (("large", large), ("small", small))
            for name, claim, pattern in (
                ("g1", "G1", "^ris.*"), ("g2", "G2", "up to γ = 100.*"), ("g3", "G3", ""), ("g4", "G4", "decade.*"),
                ("g4_kl", "G4", "^L_KL.*"))}
    return both | {
        "claims": str(len(found)), "reproduced": word(found.count("reproduced")), "partly": word(found.count("partly")),
        "refuted": word(found.count("not reproduced")), "Open": word(found.count("not decidable")).capitalize(),
        **{f"{claim.lower()}_asked": markup(results[claim].deciding.asked) for claim in ("B1", "G2", "G4")},
        "b1_train": check("B1", "^L_RC"), "b1_validation": check("B1", "validation"),
        "b2_rc": check("B2", "L_RC"), "b2_h": check("B2", "L_H"), "b2_kl": check("B2", "L_KL"),
        "b3": markup(results["B3"].deciding.number), "b3_up": check("B3", r"S\^z"),
        "n1": check("N1", " X_out at"), "n1_generated": check("N1", " X'_out at"),
        "n2_height": check("N2", "growth.* X_out$"), "l1_share": check("L1", "paths"), "l1_width": check("L1", "FWHM"),
        "l2_lattice": check("L2", "lattice"), "l2_interstitial": check("L2", "interstitial"),
        "l3_change": check("L3", "charge changes"), "c1_past": check("C1", "γ_c"), "c2_below": check("C2", "E/N"),
        "c3_energy": check("C3", "E/N"), "c3_chord": check("C3", "chord"), "c4_ratio": check("C4", "γ_c at"),
        "c5": check("C5", "")}


def of_data(record: Record, p: RunPreset) -> dict[str, str]:
    """Return what the data are, and how they change with the annealing."""
    (_, folder), = record.of("data-order")
    order, few = read_json(folder / "numbers.json")["order"], len(load_arrays(folder / "arrays.npz")["defects"])
    ours, relaxed, ordered = order["training data"], order["the same, relaxed"], order["over-relaxation, relaxed"]
    (ends, folder), = record.of("data-ends")
    cooled = load_arrays(folder / "arrays.npz")["energies"][-1]
    best = read_json(record.folder / "collapse.json")["ideal"]["energy"]
    copies = [read_json(path / "numbers.json")["redundant"] for _, path in record.of("data-copies")]
    holds(len(copies) == p.seeds and not any(copies), "no two states of a data set are equal")
    holds(relaxed["stretched"] + ordered["stretched"] == 0, "relaxed data hold hardly a defect")

    def above(one: dict[str, Any]) -> str:
        return markup(f"{1e4 * (one['energy'] - p.lowest):.1f} ± {1e4 * one['energy_spread']:.1f}")

    return {
        "data_few": str(few), "data_above": above(ours),
        "data_skyrmions": markup(f"{-ours['charge']:.1f} ± {ours['charge_spread']:.1f}"),
        **{f"data_{name}": percent(ours[name]) for name in ("bragg", "five", "seven", "stretched")},
        "relaxed_above": above(relaxed), "relaxed_bragg": percent(relaxed["bragg"]),
        "relaxed_copies": str(relaxed["redundant"]), "ordered_above": above(ordered),
        "ordered_copies": str(ordered["redundant"]), "ends_sweeps": grouped(ends["spec"]["sweeps"][-1]),
        "ends_over": word(ends["spec"]["overrelax"]),
        "ends_runs": str(len(cooled)), "ends_reach": word(int((cooled < best + SAME).sum())).capitalize()}


def of_sweeps(record: Record, p: RunPreset) -> dict[str, str]:
    """Return what the sweeps of beta and gamma show beside their claims."""
    table = load_table(record.folder / "stages.csv")
    holds(set(table["device"]) == {"cpu"}, "nothing was run on a GPU")

    def sweeps(name: str) -> list[dict[str, np.ndarray]]:
        return [{key: column[table["ladder"] == f"{name}, seed {seed}"] for key, column in table.items()}
                for seed in range(p.seeds)]

    of_beta, every = sweeps("beta"), [one for beta in p.gamma_betas for one in sweeps(f"gamma, beta {beta:g}")]
    betas, gammas = of_beta[0]["beta"], every[0]["gamma"]
    start, end = (int(np.argmin(np.abs(betas - beta))) for beta in (p.gamma_betas[0], criteria.UP_TO))
    early = int(np.argmin(np.abs(gammas - criteria.EARLY)))
    under = [int(np.argmax(one["x_out energy"] < one["data energy"])) for one in every]
    energy = [one["x_out energy"] for one in every]
    up = float(np.mean(record.statistics((p.size, p.size), 0, p.train)["magnetisation"]))
    drawn = [one["generated energy"] for one in of_beta]
    holds(all(one[start] < one[0] for one in drawn), "generated states first fall in energy along beta")

    def grown(of: str, k: int) -> str:
        return span(one[f"{of} reconstruction"][k] / one[f"{of} reconstruction"][0] for one in every)

    return {
        "uniform_rc": over(one["train reconstruction"][-1] for one in of_beta),
        "beta_before": f"{betas[end]:g}", "kl_before": over((one["train kl"][end] for one in of_beta), "nats"),
        "beta_after": f"{betas[end + 1]:g}", "kl_after": over((one["train kl"][end + 1] for one in of_beta), "nats"),
        "drawn_first": over(one[0] for one in drawn), "drawn_start": over(one[start] for one in drawn),
        "flat_gamma": f"{gammas[early - 1]:g}", "flat": grown("train", early - 1),
        "grown_validation": grown("validation", early),
        "saturated": span(one["train reconstruction"][-1] for one in every),
        "unrelated": span(2 - 2 * up * one["generated magnetisation"][-1] for one in every),
        "under_from": span((gammas[k - 1] for k in under), "g"), "under_to": span((gammas[k] for k in under), "g"),
        "before_early": span((100 * (e[0] - e[early]) / (e[0] - e[-1]) for e in energy), ".0f")}


def of_noise(record: Record, p: RunPreset) -> dict[str, str]:
    """Return angles and deformed skyrmions of the control and of the largest gamma of Fig. 3, over trainings."""
    found = [one["measures"] for one in record.seeds("theta.json", p.seeds)]
    near = [share for one in found for name in ("X_out", "X'_out") for share in one[name]["near"]]
    result = {"peak_bin": f"{math.degrees(FINE[1]):g}°", "near_share": span((100 * share for share in near), ".2g")}
    for name, k in (("control", 1), ("guided", -1)):
        result |= {
            f"theta_{name}": over(math.degrees(one["X_out"]["median"][k]) for one in found) + "°",
            f"peak_{name}": span((math.degrees(one["X_out"]["peak"][k]) for one in found), ".3f") + "°",
            f"deformed_{name}": over((100 * one["X_out"]["deformed"][k] for one in found), "%"),
            f"deformed_drawn_{name}": over((100 * one["X'_out"]["deformed"][k] for one in found), "%")}
    holds(all(one[name]["deformed"][-1] < one[name]["deformed"][1] for one in found for name in ("X_out", "X'_out")),
          "deformed skyrmions become rarer")
    return result


def of_walks(record: Record, p: RunPreset) -> dict[str, str]:
    """Return the latent walks of the control and of the largest gamma of Fig. 4, and the minimum-energy path."""
    found, least = record.seeds("interpolation.json", p.seeds), read_json(record.folder / "barrier.json")
    profile, (first, last) = load_table(record.folder / "interpolation.csv"), latent_interpolation.FRAMED
    ways = {name: SimpleNamespace(**way) for name, way in least["ways"].items()}
    tops = minimum_barrier.over_walks(SimpleNamespace(energy=least["energy"], sites=least["sites"], ways=ways), {
        gamma: profile[f"E/N (J), gamma {gamma:g}"] for gamma in (first, last)})
    holds(tops[first]["total"] > tops[last]["total"] > 0, "the walks pass above the saddle, and less so with gamma")

    def width(network: int) -> str:
        return over((np.nanmean(one["paths"]["width"][network]) for one in found), "steps")

    return {"width_control": width(0), "width_guided": width(-1), "path_gamma": f"{last:g}",
            "saddle_merger": f"{ways['merger'].there:.1f}", "saddle_shrink": f"{ways['collapse'].there:.1f}",
            "top_control": f"{tops[first]['total']:.0f}", "top_guided": f"{tops[last]['total']:.0f}"}


def of_collapse(record: Record, p: RunPreset) -> dict[str, str]:
    """Return where the generated states become one, onto what, and what the reconstructions do."""
    found, table = read_json(record.folder / "collapse.json"), load_table(record.folder / "collapse.csv")
    runs = {name: {key: column[table["run"] == name] for key, column in table.items()} for name in found["final"]}
    final, lowest, gammas = list(found["final"].values()), found["ideal"]["energy"], next(iter(runs.values()))["gamma"]
    shares = {name: {of: run[of] / run["data_kspace_mse"] for of in ("kspace_mse", "kspace_mse_x_out")}
              for name, run in runs.items()}
    ends = [one["kspace_mse"][-1] for one in shares.values()]
    holds(max(ends) < criteria.COLLAPSED and not any(one["defects"] for one in final)
          and all(one["energy"] < one["best_data"] for one in final),
          "all trainings end in one perfect lattice below their data")

    def gamma_c(beta: float, lasting: bool) -> list[float]:
        return [claims.critical(gammas, one["kspace_mse"], 1.0, lasting) for name, one in shares.items()
                if name.startswith(f"β = {beta:g},")]

    first = [c for beta in p.gamma_betas for c in gamma_c(beta, False)]
    large, small = (gamma_c(beta, True) for beta in p.gamma_betas)
    holds(all(a < b for a, b in zip(small, large, strict=True)), "the smaller beta collapses first in every seed")
    back = [bool((one["kspace_mse"][gammas > c] > criteria.COLLAPSED).any())
            for one, c in zip(shares.values(), first, strict=True)]
    others = [one for one in final if one["relaxed"] >= lowest + SAME]
    holds(all(abs(one["relaxed"] - others[0]["relaxed"]) < SAME for one in others), "the others end in one lattice")
    rest = record.statistics((p.size, p.size), 0, p.train)["rest_energy"]
    table = read_json(record.folder / "priors.json")["table"]
    drawn = {(gamma, states): 1e4 * (energy - lowest) for gamma, states, energy in zip(
        *(table[key] for key in ("gamma", "states", "energy")), strict=True)}
    gamma = max(gamma for gamma, _ in drawn if gamma < p.gammas[-1])
    holds(drawn[gamma, "fitted"] < drawn[gamma, "standard"], "a fitted prior lowers the energy of generated states")
    return {
        "lowest": markup(f"{lowest:.6f}"), "skyrmions": f"{-found['ideal']['charge']:.0f}",
        "ground": word(len(final) - len(others)), "others": word(len(others)),
        "other_skyrmions": span((one["skyrmions"] for one in others), "d"),
        "other_above": power(float(np.mean([one["relaxed"] for one in others])) - lowest, 1),
        "raw_above": span((1e4 * (one["energy"] - lowest) for one in final), ".1f"),
        "left_out": str(int((rest < lowest + SAME).sum())),
        "data_in_other": str(int((np.abs(rest - others[0]["relaxed"]) < SAME).sum())),
        "first_c": f"{power(min(first))} to {power(max(first))}",
        "c_decades": f"{math.log10(max(first) / min(first)):.1f}",
        "small_c": f"{power(min(small))} to {power(max(small))}",
        "large_c": f"{power(min(large))} to {power(max(large))}",
        "back": word(sum(back)), "last_share": percent(max(ends), ".1g"),
        "x_out_share": listed(f"{value:.2g}" for value in sorted(
            100 * one["kspace_mse_x_out"][-1] for one in shares.values())),
        "variance_end": span((run["variance"][-1] for run in runs.values()), ".0f"),
        "prior_gamma": grouped(int(gamma)), **{f"prior_{name.lower()}": f"{drawn[gamma, name]:.1f}"
                                               for name in ("standard", "fitted", "X_out")}}


def of_edges(record: Record, p: RunPreset) -> dict[str, str]:
    """Return onto which state the open samples collapse, among those that annealing and the search know."""
    ranks: dict[str, int] = {}
    reached, gaps, shares = [], {}, []
    for shape in map(list, p.confined):
        def of_shape(spec: dict[str, Any], shape: list[int] = shape) -> bool:
            return spec.get("shape", spec.get("stage", {}).get("data", {}).get("shape")) == shape

        name = f"{'square' if shape[0] == shape[1] else 'wire'} {shape[0]}{SPACE}×{SPACE}{shape[1]}"
        (_, folder), *_ = record.of("certificate", of_shape)
        known = [one["energy"] for one in read_json(folder / "certificate.json")["candidates"]]
        ends = [read_json(path / "confined.json") for _, path in record.of("collapsed", of_shape)]
        places = {sum(energy < end["relaxed"] - SAME for energy in known) for end in ends}
        holds(len(places) == 1 and len(ends) == p.seeds, f"all trainings of the {name} end in one state")
        ranks[name], gaps[name] = places.pop(), float(np.mean([end["relaxed"] for end in ends])) - min(known)
        shares += [end["kspace_mse"] / end["data_kspace_mse"] for end in ends]
        for seed in range(p.seeds):
            rest = record.statistics(shape, seed, p.confined_train)["rest_energy"]
            reached.append(100 * np.mean(rest < rest.min() + SAME))
    missed = [name for name, rank in ranks.items() if rank]
    holds(len(missed) == 1 and max(shares) < criteria.COLLAPSED, "all samples collapse, one not onto its lowest state")
    return {"edges_right": listed(f"the {name}" for name in ranks if name not in missed),
            "edges_wrong": f"the {missed[0]}", "edges_rank": ORDINALS[ranks[missed[0]]],
            "edges_gap": power(gaps[missed[0]]), "edges_share": percent(max(shares), ".1g"),
            "edges_reached": span(reached, ".0f")}


def of_cost(record: Record, p: RunPreset, price: Record, small: RunPreset, known: Path) -> dict[str, str]:
    """Return what data, trainings and other searches took, in wall time; ``price`` is the record of ``small``."""
    table, box = load_table(record.folder / "stages.csv"), [small.size] * 2
    shards = [meta for meta, _ in record.of(
        "shard", lambda spec: (spec["shape"], spec["seed"]) == ([p.size, p.size], 0))]
    one = np.isin(table["ladder"], ["beta, seed 0", f"gamma, beta {p.gamma_betas[0]:g}, seed 0"])
    (search,) = read_json(known / "record.json")["entries"].values()
    tried = read_json(known / "certificate.json")

    def periodic(system: dict[str, Any]) -> bool:
        return system["shape"] == box and system["hamiltonian"]["boundary"] == "periodic"

    (_, folder), = price.of("budget", lambda spec: periodic(spec["last"][0]["data"]))
    (_, certificate), = price.of("certificate", periodic)
    best = read_json(certificate / "certificate.json")["candidates"][0]["energy"]
    traces = [EnergyTrace(t["method"], np.array(t["seconds"]), np.array(t["updates"]), np.array(t["energies"]),
                          tuple(t["once"])) for t in read_json(folder / "budget.json")["traces"]]
    curves = budget.curves(SimpleNamespace(best=best, traces=traces))
    annealed = min(budget.arrival(c) for c in curves if c["label"].startswith("annealing"))
    (trained,) = (budget.arrival(c) for c in curves if c["label"] == "E-VAE + descent" and c["once"])
    holds(abs(tried["candidates"][0]["energy"] - p.lowest) < SAME, "the lowest state known is that of the search")
    holds(annealed < trained, "annealing finds low states sooner than the collapse")
    return {
        "cost_states": grouped(sum(meta["spec"]["n"] for meta in shards)),
        "cost_data": f"{sum(meta['wall_seconds'] for meta in shards) / 60:.0f}",
        "cost_steps": grouped(int(table["steps"][one].sum())), "cost_sweep": f"{table['seconds'][one].sum() / 60:.0f}",
        "cost_all_steps": grouped(int(table["steps"].sum())), "cost_all": f"{table['seconds'].sum() / 3600:.1f}",
        "cost_search": f"{search['wall_seconds'] / 60:.0f}", "search_over": word(search["spec"]["search"]["overrelax"]),
        "search_sweeps": grouped(search["spec"]["search"]["sweeps"]), "search_anneals": str(tried["tries"]["annealed"]),
        "search_found": str(tried["candidates"][0]["origins"]["annealed"]), "price_size": str(small.size),
        "price_annealed": f"{annealed:.2g}", "price_trained": f"{trained:.0f}"}

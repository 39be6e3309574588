"""The replication report as a PDF: every number and figure in it is read from data/recorded, data/known and figures.

``report.typ`` holds prose and layout; it has no measured number of its own. :func:`numbers` reads them, as Typst markup,
and :func:`compiled` typesets both. ``make report`` writes build/report/report.pdf, the same bytes each time.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml

from evae_companion import claims
from evae_companion import training_plans as plans
from evae_companion.analysis.samplers import EnergyTrace
from evae_companion.claims import criteria
from evae_companion.claims.result import CONFIDENCE, Check, Result
from evae_companion.data_specs import data_spec
from evae_companion.experiments import budget, confined, latent_interpolation, minimum_barrier
from evae_companion.experiments.noise_reduction import FINE, NEAR
from evae_companion.presets import PRESETS, RunPreset
from evae_companion.store.serialization import load_arrays, load_table, read_json
from evae_core.latent import K_STEPS
from evae_core.presets import VAEConfig
from evae_core.training.stages import confined_stages

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCE = HERE / "report.typ"
PRESET, PRICE = "desktop", "laptop"  # of the results; and of the comparison with other searches, run at that size alone
SAME = confined.SAME  # J per spin, within which two relaxed states are one
WORDS = "no one two three four five six seven eight nine ten eleven twelve".split()
ORDINALS = "lowest", "second lowest", "third lowest"
SYMBOLS = {"L_RC": '$L_"RC"$', "L_KL": '$L_"KL"$', "L_H": '$L_"H"$', "X'_out": '$X\'_"out"$', "X_out": '$X_"out"$',
           "γ_c": '$gamma_"c"$', "β_c": '$beta_"c"$', "S^z": "$S^z$", "E/N": "$E slash N$", "mu": "$mu$", "θ": "$theta$",
           "γ": "$gamma$", "β": "$beta$", "R": "$R$"}
# The verdicts that the prose of report.typ was written for: where a record has others, it has to be read again.
WRITTEN_FOR = {
    "reproduced": "D1 B2 B3 G1 G3 N1 N2 L1 L2 C2 C3", "partly": "G2 S1", "not reproduced": "B1 N3 L3",
    "not decidable": "G4 N4 C1 C4 C5"}


# Text ---------------------------------------------------------------------------------------------------------------

def markup(text: str) -> str:
    """Return plain text as Typst markup: symbols with subscripts, powers of ten, minus signs, numbers in one line."""
    names = "|".join(map(re.escape, sorted(SYMBOLS, key=len, reverse=True)))

    def token(match: re.Match[str]) -> str:
        if match["name"]:
            return SYMBOLS[match["name"]]
        if match["power"]:
            factor = "" if match["factor"] == "1" else f"{match['factor']} times "
            return f"${factor}10^({int(match['power'])})$"
        if match["decade"]:
            return f"$10^(-{len(match['decade']) + 1})$"
        return f"\\{match[0]}"

    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    text = re.sub(r" ([±×%÷]) | (?=%)", lambda m: f"\N{NO-BREAK SPACE}{m[1]}\N{NO-BREAK SPACE}" if m[1] else "\N{NO-BREAK SPACE}",
                  text).replace("(× or ", "(×\N{NO-BREAK SPACE}or\N{NO-BREAK SPACE}")
    return re.sub(rf"(?<![A-Za-z])(?P<name>{names})(?![A-Za-z])|\b(?P<factor>\d+(?:\.\d+)?)e(?P<power>[+-]?\d+)\b"
                  r"|\b0\.(?P<decade>00+)1\b|[\\#*_$<>@~`\[\]]", token, text)


def word(n: int) -> str:
    """Return a small number in words."""
    return WORDS[n] if n < len(WORDS) else str(n)


def grouped(n: int) -> str:
    """Return an integer with thin spaces between its thousands."""
    return f"{n:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def listed(values: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *before, last = values
    return f"{', '.join(before)} and {last}" if before else last


def holds(truth: bool, sentence: str) -> None:
    """Raise a ValueError unless what the prose says is true of the record."""
    if not truth:
        raise ValueError(f"{SOURCE.name} says that {sentence}, which the record denies: rewrite the sentence")


def span(values: Iterable[float], form: str = ".2g") -> str:
    """Return "least to largest", or one number where both read the same."""
    ordered = sorted(values)
    return " to ".join(dict.fromkeys(f"{end:{form}}" for end in (ordered[0], ordered[-1])))


def over(values: Iterable[float], unit: str = "", log: bool = False) -> str:
    """Return the mean over trainings with its standard error, written as the score card writes it."""
    return Check("", tuple(values), 0.0, True, unit, log).number


# Sources ------------------------------------------------------------------------------------------------------------

class Record:
    """The record of a preset, ``data/recorded/<preset>``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.index = read_json(folder / "record.json")
        self.artifacts = [(meta, path.parent) for path in sorted((folder / "artifacts").glob("*/meta.json"))
                          for meta in [read_json(path)]]

    def of(self, kind: str, matches: Callable[[dict[str, Any]], bool] = lambda spec: True
           ) -> list[tuple[dict[str, Any], Path]]:
        """Return (meta, folder) of the artifacts of a kind whose spec ``matches``; ValueError if there is none."""
        found = [(meta, path) for meta, path in self.artifacts if meta["spec"]["kind"] == kind and matches(meta["spec"])]
        if not found:
            raise ValueError(f"{self.folder} holds no artifact {kind!r} that the report asks for; make publish writes it")
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


def verdicts(record: Record) -> dict[str, Result]:
    """Return the results of the claims; ValueError where a verdict is not the one that the prose was written for."""
    results = {one["id"]: Result.parsed(one) for one in read_json(record.folder / "claims.json")}
    written = {claim: verdict for verdict, ids in WRITTEN_FOR.items() for claim in ids.split()}
    other = [f"{claim}: {result.verdict}, not {written.get(claim)}" for claim, result in results.items()
             if result.verdict != written.get(claim)]
    if other or written.keys() - results.keys():
        raise ValueError(f"{SOURCE.name} was written for other verdicts ({'; '.join(other) or 'claims are missing'}); "
                         f"read its prose again, then change WRITTEN_FOR in {Path(__file__).name}")
    return results


def cited() -> dict[str, str]:
    """Return the paper and this software as CITATION.cff names them."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (paper,) = (one for one in [cff.get("preferred-citation"), *cff.get("references", [])]
                if one and one["type"] == "article")
    names = [one["family-names"] for one in paper["authors"]]
    return {"paper_title": markup(paper["title"]), "paper_authors": listed(names), "paper_journal": paper["journal"],
            "paper_year": str(paper["year"]), "paper_doi": paper["doi"], "paper_short": f"{names[0]} et al.",
            "authors": listed(one.get("name") or one["family-names"] for one in cff["authors"]),
            "software": cff["title"], "version": cff["version"], "licence": cff["license"]}


# Numbers ------------------------------------------------------------------------------------------------------------

def of_system(p: RunPreset, paper: RunPreset) -> dict[str, str]:
    """Return the numbers of system, network and training, the paper's and ours."""
    config, schedule = p.config or VAEConfig(), data_spec(p).schedule
    period = 2 * math.pi / math.atan(p.D / p.J)
    result = {
        "size": str(p.size), "D": f"{p.D:g}", "B": f"{p.B:g}", "period": f"{period:.1f}",
        "periods": f"{p.size / period:.1f}", "reduced_field": f"{p.B * p.J / p.D ** 2:.3f}",
        "hot": f"{schedule.T_start:g}", "cold": f"{schedule.T_end:g}", "sweeps": grouped(p.sweeps),
        "quench": str(p.quench), "latent": str(config.latent), "blocks": word(len(config.filters)),
        "filters": listed(map(str, config.filters)), "dense": str(config.filters[-1] * (p.size // config.reduction) ** 2),
        "hidden": str(config.hidden), "slope": f"{config.slope:g}", "logvar": f"{config.logvar_start:g}",
        "final_rate": f"{100 * p.final_rate:.0f} %", "seeds": word(p.seeds), "betas": word(len(p.gamma_betas)),
        "trainings": word(p.seeds * len(p.gamma_betas)), "samples": str(p.samples), "steps_of_path": str(K_STEPS),
        "places": word(latent_interpolation.PLACES), "early": f"{criteria.EARLY:g}",
        "large_beta": markup(f"{p.gamma_betas[0]:.0e}"), "small_beta": markup(f"{p.gamma_betas[1]:.0e}"),
        "beta_first": markup(f"{p.betas[0]:.0e}"), "beta_last": f"{p.betas[-1]:g}",
        "gamma_first": markup(f"{p.gammas[0]:.0e}"), "gamma_last": markup(f"{p.gammas[-1]:.0e}"),
        "collapsed": f"{100 * criteria.COLLAPSED:g} %", "confidence": f"{100 * CONFIDENCE:g} %",
        "near": markup(f"{NEAR:.0e}"), "confined_gamma": markup(f"{confined_stages(p, plans.BETA)[-1].gamma:.0e}"),
        "data_ratio": f"{100 * p.train / paper.train:.0f} %", "confined_train": grouped(p.confined_train),
        "paper_train": grouped(paper.train), "paper_steps": grouped(paper.gamma_steps),
        "few_steps": str(p.beta_steps), "many_steps": grouped(p.first_steps), "train": grouped(p.train)}
    return result


def of_presets(p: RunPreset, paper: RunPreset) -> list[list[str]]:
    """Return the rows of the table "the paper, here"."""
    rows: list[tuple[str, Callable[[RunPreset], str]]] = [
        ("lattice, periodic", lambda q: f"{q.size} × {q.size}"), ("D, B (J)", lambda q: f"{q.D:g}, {q.B:g}"),
        ("training, validation, test states", lambda q: ", ".join(map(grouped, (q.train, q.validation, q.test)))),
        ("batch", lambda q: str(q.batch)),
        ("steps of the first stage, of a β stage, of a γ stage",
         lambda q: ", ".join(map(grouped, (q.first_steps, q.beta_steps, q.gamma_steps)))),
        ("learning rate of the first stage, of later ones", lambda q: f"{q.first_rate:.0e}, {q.learning_rate:.0e}")]
    return [[markup(name), *(markup(value(q)) for q in (paper, p))] for name, value in rows]


def of_claims(results: dict[str, Result]) -> tuple[dict[str, str], list[list[str]]]:
    """Return the numbers of single checks, and the rows of the table of results."""
    def check(claim: str, pattern: str) -> str:
        (one,) = (c for c in results[claim].checks if re.search(pattern, c.what))
        return markup(one.number)

    found = [result.verdict for result in results.values()]
    large, small = (f"β = {beta:g}$" for beta in PRESETS[PRESET].gamma_betas)
    deciding = {claim: result.deciding for claim, result in results.items()}
    numbers = {
        "claims": str(len(found)), "reproduced": word(found.count("reproduced")), "partly": word(found.count("partly")),
        "refuted": word(found.count("not reproduced")), "open": word(found.count("not decidable")),
        **{f"{claim.lower()}_asked": markup(deciding[claim].asked) for claim in ("B1", "G2", "G4")},
        "copies": check("D1", "copies"), "b1_train": check("B1", "^L_RC"), "b1_validation": check("B1", "validation"),
        "b2_rc": check("B2", "L_RC"), "b2_h": check("B2", "L_H"), "b2_kl": check("B2", "L_KL"),
        "b3": markup(deciding["B3"].number), "g2_large": check("G2", f"up to γ = 100.*{large}"),
        "g2_small": check("G2", f"up to γ = 100.*{small}"), "g3_large": check("G3", large), "g3_small": check("G3", small),
        "g4_large": check("G4", f"decade.*{large}"), "g4_small": check("G4", f"decade.*{small}"),
        "g4_kl_large": check("G4", f"^L_KL.*{large}"), "g4_kl_small": check("G4", f"^L_KL.*{small}"),
        "n1": check("N1", " X_out at"), "n1_generated": check("N1", " X'_out at"), "n2_height": check("N2", "growth.* X_out$"),
        "l1_width": check("L1", "FWHM"), "l2_lattice": check("L2", "lattice"), "l2_interstitial": check("L2", "interstitial"),
        "l3_change": check("L3", "charge changes"), "c1_past": check("C1", "γ_c"), "c2_below": check("C2", "E/N"),
        "c3_energy": check("C3", "E/N"), "c3_chord": check("C3", "chord"), "c4_ratio": check("C4", "γ_c at"),
        "c5": check("C5", "")}
    rows = [[claim, markup(claims.CLAIMS[claim][1]), f"{markup(one.what)}: *{markup(one.number)}*", markup(one.asked),
             f"{sum(one.passed)} of {len(one.passed)}", results[claim].verdict] for claim, one in deciding.items()]
    return numbers, rows


def of_data(record: Record, p: RunPreset) -> dict[str, str]:
    """Return what the data are, and how they change with the annealing."""
    (_, folder), = record.of("data-order")
    order, few = read_json(folder / "numbers.json")["order"], len(load_arrays(folder / "arrays.npz")["defects"])
    ours, relaxed, ordered = order["training data"], order["the same, relaxed"], order["over-relaxation, relaxed"]
    (ends, folder), = record.of("data-ends")
    cooled = load_arrays(folder / "arrays.npz")["energies"]
    best, slowest = read_json(record.folder / "collapse.json")["ideal"]["energy"], ends["spec"]["sweeps"][-1]

    def above(one: dict[str, Any]) -> str:
        return f"{1e4 * (one['energy'] - p.lowest):.1f} ± {1e4 * one['energy_spread']:.1f}"

    return {
        "data_few": str(few), "data_above": above(ours), "data_skyrmions": f"{-ours['charge']:.1f} ± {ours['charge_spread']:.1f}",
        "data_bragg": f"{100 * ours['bragg']:.0f} %", "data_five": f"{100 * ours['five']:.0f} %",
        "data_seven": f"{100 * ours['seven']:.0f} %", "data_stretched": f"{100 * ours['stretched']:.0f} %",
        "data_theta": markup(f"{ours['theta_median']:.0e}"), "relaxed_above": above(relaxed),
        "relaxed_bragg": f"{100 * relaxed['bragg']:.0f} %", "relaxed_copies": str(relaxed["redundant"]),
        "ordered_above": above(ordered), "ordered_copies": str(ordered["redundant"]),
        "ends_sweeps": grouped(slowest), "ends_runs": str(cooled.shape[1]),
        "ends_reach": str(int((cooled[-1] < best + SAME).sum()))}


def of_sweeps(record: Record, p: RunPreset) -> dict[str, str]:
    """Return what the sweeps of beta and gamma show beside their claims."""
    table = load_table(record.folder / "stages.csv")
    holds(set(table["device"]) == {"cpu"}, "nothing was run on a GPU")

    def sweep(name: str) -> dict[str, np.ndarray]:
        return {key: column[table["ladder"] == name] for key, column in table.items()}

    of_beta = [sweep(f"beta, seed {seed}") for seed in range(p.seeds)]
    of_gamma = {beta: [sweep(f"gamma, beta {beta:g}, seed {seed}") for seed in range(p.seeds)] for beta in p.gamma_betas}
    every = [one for sweeps in of_gamma.values() for one in sweeps]
    start = int(np.argmin(np.abs(of_beta[0]["beta"] - p.gamma_betas[0])))
    end = int(np.argmin(np.abs(of_beta[0]["beta"] - criteria.UP_TO)))
    early = int(np.argmin(np.abs(every[0]["gamma"] - criteria.EARLY)))
    under = [int(np.argmax(one["x_out energy"] < one["data energy"])) for one in every]
    energy = [one["x_out energy"] for one in every]
    magnetisation = float(np.mean(record.statistics((p.size, p.size), 0, p.train)["magnetisation"]))
    return {
        "uniform_rc": over(one["train reconstruction"][-1] for one in of_beta),
        "kl_before": over((one["train kl"][end] for one in of_beta), "nats"), "beta_before": f"{of_beta[0]['beta'][end]:g}",
        "kl_after": over((one["train kl"][end + 1] for one in of_beta), "nats"), "beta_after": f"{of_beta[0]['beta'][end + 1]:g}",
        "drawn_first": over(one["generated energy"][0] for one in of_beta),
        "drawn_start": over(one["generated energy"][start] for one in of_beta),
        "unit": markup("1e-4"), "flat": span(one["train reconstruction"][early - 1] / one["train reconstruction"][0] for one in every),
        "flat_gamma": f"{every[0]['gamma'][early - 1]:g}",
        "grown": span(one["train reconstruction"][early] / one["train reconstruction"][0] for one in every),
        "grown_validation": span(one["validation reconstruction"][early] / one["validation reconstruction"][0] for one in every),
        "saturated": span(one["train reconstruction"][-1] for one in every),
        "unrelated": span(2 - 2 * magnetisation * one["generated magnetisation"][-1] for one in every),
        "under_from": span((one["gamma"][k - 1] for one, k in zip(every, under, strict=True)), "g"),
        "under_to": span((one["gamma"][k] for one, k in zip(every, under, strict=True)), "g"),
        "before_early": span((100 * (e[0] - e[early]) / (e[0] - e[-1]) for e in energy), ".0f")}


def of_noise(record: Record, p: RunPreset) -> dict[str, str]:
    """Return angles and deformed skyrmions of the control and of the largest gamma of Fig. 3, over trainings."""
    found = [one["measures"] for one in record.seeds("theta.json", p.seeds)]

    def degrees(key: str, network: int) -> str:
        return over((math.degrees(one["X_out"][key][network]) for one in found), "°").replace(" °", "°")

    def deformed(name: str, network: int) -> str:
        return over((100 * one[name]["deformed"][network] for one in found), "%")

    return {"theta_control": degrees("median", 1), "theta_guided": degrees("median", -1), **{f"peak_{name}": span((math.degrees(one["X_out"]["peak"][k]) for one in found), ".3f") + "°"
               for name, k in (("control", 1), ("guided", -1))}, "peak_bin": f"{math.degrees(FINE[1]):g}°",
            "deformed_control": deformed("X_out", 1),
            "deformed_guided": deformed("X_out", -1), "deformed_drawn_control": deformed("X'_out", 1),
            "deformed_drawn_guided": deformed("X'_out", -1)}


def of_walks(record: Record, p: RunPreset) -> dict[str, str]:
    """Return the latent walks of the smallest and the largest gamma of Fig. 4, beside the minimum-energy path."""
    found = record.seeds("interpolation.json", p.seeds)
    least = read_json(record.folder / "barrier.json")
    profile = load_table(record.folder / "interpolation.csv")
    tops = minimum_barrier.over_walks(
        SimpleNamespace(energy=least["energy"], sites=least["sites"],
                        ways={name: SimpleNamespace(**way) for name, way in least["ways"].items()}),
        {gamma: profile[f"E/N (J), gamma {gamma:g}"] for gamma in latent_interpolation.FRAMED})
    first, last = (f"{tops[gamma]['total']:.0f} J" for gamma in latent_interpolation.FRAMED)

    def width(network: int) -> str:
        return over((np.nanmean(one["paths"]["width"][network]) for one in found), "steps")

    return {"width_control": width(0), "width_guided": width(-1), "saddle_merger": f"{least['ways']['merger']['there']:.1f} J",
            "saddle_shrink": f"{least['ways']['collapse']['there']:.1f} J", "top_control": first, "top_guided": last,
            "path_gamma": f"{latent_interpolation.FRAMED[-1]:g}"}


def of_collapse(record: Record, p: RunPreset) -> dict[str, str]:
    """Return where the generated states become one, onto what, and what the reconstructions do."""
    found, table = read_json(record.folder / "collapse.json"), load_table(record.folder / "collapse.csv")
    runs = {name: {key: column[table["run"] == name] for key, column in table.items()} for name in found["final"]}
    final, lowest = list(found["final"].values()), found["ideal"]["energy"]

    def gamma_c(beta: float, lasting: bool) -> list[float]:
        return [claims.critical(run["gamma"], run["kspace_mse"], run["data_kspace_mse"][0], lasting)
                for name, run in runs.items() if name.startswith(f"β = {beta:g},")]

    first = [c for beta in p.gamma_betas for c in gamma_c(beta, False)]
    large, small = (gamma_c(beta, True) for beta in p.gamma_betas)
    ground = [one for one in final if one["relaxed"] < lowest + SAME]
    others = [one for one in final if one["relaxed"] >= lowest + SAME]
    same = [one for one in others if abs(one["relaxed"] - others[0]["relaxed"]) < SAME]
    holds(len(same) == len(others), "the other trainings end in one lattice")
    rest = record.statistics((p.size, p.size), 0, p.train)["rest_energy"]
    drawn = read_json(record.folder / "priors.json")
    past = {(gamma, states): 1e4 * (energy - lowest) for gamma, states, energy in zip(
        *(drawn["table"][key] for key in ("gamma", "states", "energy")), strict=True)}
    compared = max(gamma for gamma, _ in past if gamma < p.gammas[-1])
    share = [100 * run["kspace_mse_x_out"][-1] / run["data_kspace_mse"][0] for run in runs.values()]
    return {
        "lowest": f"{lowest:.6f}", "skyrmions": str(round(-found["ideal"]["charge"])), "ground": word(len(ground)),
        "others": word(len(others)), "other_skyrmions": span((one["skyrmions"] for one in others), "d"),
        "other_above": markup(f"{np.mean([one['relaxed'] for one in others]) - lowest:.1e}"),
        "raw_above": span((1e4 * (one["energy"] - lowest) for one in final), ".2f"),
        "data_in_other": str(int((np.abs(rest - others[0]["relaxed"]) < SAME).sum())),
        "left_out": str(int((rest < lowest + SAME).sum())),
        "first_c": " to ".join(markup(f"{c:.0e}") for c in (min(first), max(first))),
        "small_c": " to ".join(markup(f"{c:.0e}") for c in (min(small), max(small))),
        "large_c": " to ".join(markup(f"{c:.0e}") for c in (min(large), max(large))),
        "small_before": word(sum(a < b for a, b in zip(small, large, strict=True))),
        "back": word(sum(bool((np.asarray(run["kspace_mse"][run["gamma"] > c]) > criteria.COLLAPSED
                               * run["data_kspace_mse"][0]).any()) for run, c in zip(runs.values(), first, strict=True))),
        "x_out_share": listed(f"{value:.2g}" for value in sorted(share)),
        "variance_end": span((run["variance"][-1] for run in runs.values()), ".0f"),
        "prior_gamma": grouped(int(compared)), "prior_standard": f"{past[compared, 'standard']:.1f}",
        "prior_fitted": f"{past[compared, 'fitted']:.1f}", "prior_x_out": f"{past[compared, 'X_out']:.1f}"}


def of_edges(record: Record, p: RunPreset) -> dict[str, str]:
    """Return onto which state the open samples collapse, among those that annealing and the search know."""
    ranks, reached, gap, wrong = {}, [], [], []
    for shape in map(list, p.confined):
        name = f"{'square' if shape[0] == shape[1] else 'wire'} {shape[0]} × {shape[1]}"
        (_, folder), *_ = record.of("certificate", lambda spec, shape=shape: spec["shape"] == shape)
        known = [one["energy"] for one in read_json(folder / "certificate.json")["candidates"]]
        ends = [(meta, read_json(path / "confined.json")) for meta, path in record.of(
            "collapsed", lambda spec, shape=shape: spec["stage"]["data"]["shape"] == shape)]
        places = {sum(energy < end["relaxed"] - SAME for energy in known) for _, end in ends}
        holds(len(places) == 1, f"all trainings of the {name} end in one state")
        ranks[name] = ORDINALS[places.pop()]
        for seed in range(p.seeds):
            rest = record.statistics(shape, seed, p.confined_train)["rest_energy"]
            reached.append(100 * np.mean(rest < rest.min() + SAME))
        if ranks[name] != ORDINALS[0]:
            wrong.append(name)
            gap += [end["relaxed"] - min(known) for _, end in ends]
    (wrong_one,) = wrong
    right = [name for name in ranks if name != wrong_one]
    return {"edges_right": listed(f"the {name}" for name in right), "edges_wrong": f"the {wrong_one}",
            "edges_rank": ranks[wrong_one], "edges_gap": markup(f"{np.mean(gap):.0e}"),
            "edges_reached": span(reached, ".0f")}


def of_cost(record: Record, p: RunPreset, price: Record, known: Path) -> dict[str, str]:
    """Return what data, trainings and other searches took, in seconds of wall time."""
    table = load_table(record.folder / "stages.csv")
    shards = [meta for meta, _ in record.of("shard", lambda spec: spec["shape"] == [p.size, p.size] and spec["seed"] == 0)]
    one = np.isin(table["ladder"], ["beta, seed 0", f"gamma, beta {p.gamma_betas[0]:g}, seed 0"])
    (search,) = read_json(known / "record.json")["entries"].values()
    tried = read_json(known / "certificate.json")
    small = PRESETS[PRICE]
    (_, folder), = price.of("budget", lambda spec: (data := spec["last"][0]["data"])["shape"] == [small.size] * 2
                            and data["hamiltonian"]["boundary"] == "periodic")
    (_, certificate), = price.of("certificate", lambda spec: spec["shape"] == [small.size] * 2
                                 and spec["hamiltonian"]["boundary"] == "periodic")
    traces = [EnergyTrace(t["method"], np.array(t["seconds"]), np.array(t["updates"]), np.array(t["energies"]),
                          tuple(t["once"])) for t in read_json(folder / "budget.json")["traces"]]
    curves = budget.curves(SimpleNamespace(
        best=read_json(certificate / "certificate.json")["candidates"][0]["energy"], traces=traces))
    annealed = min(budget.arrival(c) for c in curves if c["once"] is None)
    (trained,) = (budget.arrival(c) for c in curves if c["label"] == "E-VAE + descent" and c["once"])
    return {
        "cost_data": f"{sum(meta['wall_seconds'] for meta in shards) / 60:.0f}",
        "cost_states": grouped(sum(meta["spec"]["n"] for meta in shards)),
        "cost_steps": grouped(int(table["steps"][one].sum())), "cost_sweep": f"{table['seconds'][one].sum() / 60:.0f}",
        "cost_all": f"{table['seconds'].sum() / 3600:.1f}", "cost_all_steps": grouped(int(table["steps"].sum())),
        "cost_search": f"{search['wall_seconds'] / 60:.0f}", "search_anneals": str(tried["tries"]["annealed"]),
        "search_found": str(tried["candidates"][0]["origins"]["annealed"]), "price_size": str(small.size),
        "price_annealed": f"{annealed:.2g}", "price_trained": f"{trained:.0f}", "price_ratio": markup(f"{trained / annealed:.0e}")}


def gathered(recorded: Path = ROOT / "data/recorded", known: Path = ROOT / "data/known") -> dict[str, Any]:
    """Return all that ``report.typ`` shows: ``n``, {name: Typst markup}, and the rows of its two tables.

    Raises
    ------
    ValueError
        a record without what is asked for, or one that the prose does not fit.
    """
    record, p, paper = Record(recorded / PRESET), PRESETS[PRESET], PRESETS["paper"]
    from_claims, rows = of_claims(verdicts(record))
    made, software = record.index["made"], next(iter(record.index["entries"].values()))["versions"]
    n: dict[str, str] = {}
    for part in (cited(), of_system(p, paper), from_claims, of_data(record, p), of_sweeps(record, p), of_noise(record, p),
                 of_walks(record, p), of_collapse(record, p), of_edges(record, p),
                 of_cost(record, p, Record(recorded / PRICE), known / paper.name / "certificate"),
                 {"made": made[:10], "python": software["python"], "torch": software["torch"], "numpy": software["numpy"]}):
        if twice := n.keys() & part.keys():
            raise ValueError(f"two numbers are called {sorted(twice)[0]}")
        n |= part
    return {"n": n, "made": made, "claims": rows, "presets": of_presets(p, paper)}


def compiled(content: dict[str, Any], **more: Any) -> Any:
    """Return the report as PDF bytes; ``more`` goes to typst.compile, as format="png" for a list of pages."""
    import typst  # here: numbers are gathered and tested without it

    when = datetime.fromisoformat(content["made"])
    return typst.compile(SOURCE, root=ROOT, ignore_system_fonts=True, timestamp=when,
                         sys_inputs={"content": json.dumps(content, ensure_ascii=False)}, **more)


def main(arguments: Sequence[str]) -> None:
    """Write report.pdf into the folder named, else into build/report."""
    folder = Path(arguments[0]) if arguments else ROOT / "build/report"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.pdf").write_bytes(compiled(gathered()))
    print(folder / "report.pdf")


if __name__ == "__main__":
    main(sys.argv[1:])

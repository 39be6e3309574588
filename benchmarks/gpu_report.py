"""Publish what gpu_quarter_hour.sh brought home: tables, figures, and a score card of what was trained.

    python benchmarks/gpu_report.py [FOLDER]

From FOLDER (build/gpu) into data/recorded/paper, figures/paper and benchmarks/GPU.md. A rehearsal is refused. Only
claims whose sweeps are complete get a verdict; a sweep in part is shown in figures and tables, and named so.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gpu_train
import numpy as np
import safetensors.torch
import torch
from gpu_pack import MARK, ROOT
from gpu_pack import page as gpu_page

from evae_companion import claims, plotting, published
from evae_companion.data_specs import DataSpec, data_spec
from evae_companion.experiments.collapse import final_state
from evae_companion.plotting import ENERGY_LABEL
from evae_companion.publish import write_tables
from evae_companion.store.packed_spins import unpack
from evae_companion.store.serialization import load_arrays, replaced_folder, write_json
from evae_companion.trained import history_table
from evae_companion.training_plans import BETA, COLLAPSE, NOISE
from evae_core.losses import energy_per_spin
from evae_core.model import VAE
from evae_core.observables import topological_charge
from evae_core.textures import skyrmion_lattice
from evae_core.training import Stage

PART = ", in part"


def label(sweep: str) -> str:
    """A sweep's name in a legend."""
    return sweep.removeprefix("gamma, ").removeprefix("beta, ").replace("beta ", "β = ")


@dataclass(frozen=True)
class Carried:
    """A stage that was trained elsewhere: what :class:`~evae_companion.trained.TrainedStage` offers, from tables."""

    stage: Stage
    data: DataSpec
    measured: dict[str, Any]
    history: np.ndarray
    decoder: dict[str, torch.Tensor] | None

    def model(self, device: str = "cpu") -> VAE:
        """The network with its decoder alone trained."""
        if self.decoder is None:
            raise ValueError(f"the decoder of stage ({self.stage}) was not packed")
        model = VAE(self.data.shape)
        model.load_state_dict(self.decoder, strict=False)
        return model.to(device).eval()


class Carriage:
    """The folder that gpu_pack.py filled; ValueError for a rehearsal, or for what no GPU has run."""

    def __init__(self, folder: Path):
        self.folder, self.found = folder, json.loads((folder / "results.json").read_text())
        arrays = {path.stem: load_arrays(path) for path in sorted(folder.glob("*.npz"))}
        marks = [self.found["rehearsal"], *(bool(one.pop("rehearsal")) for one in arrays.values())]
        marked = (folder / "stages.csv").is_file() and MARK in (folder / "stages.csv").read_text()
        if any(marks) or marked:
            raise ValueError(f"{folder} holds a rehearsal on a CPU, which is no measurement; nothing is published")
        if not self.found.get("what", {}).get("gpu") or not self.found.get("stages"):
            raise ValueError(f"{folder} names no GPU, or holds no trained stage; nothing is published")
        self.states, self.sample = arrays.get("states", {}), arrays.get("sample", {})
        decoders: dict[str, dict[str, torch.Tensor]] = {}
        for name, file in arrays.items():
            if name.startswith("decoders_"):
                for key, value in file.items():
                    stage, _, tensor = key.partition("/")
                    decoders.setdefault(stage, {})[tensor] = torch.from_numpy(value)
        train = self.found["train"]
        self.preset = gpu_train.preset(train["preset"], train["numbers"])
        self.data, self.ladders = data_spec(self.preset), {}
        for name, stages in gpu_train.sweeps(self.preset).items():
            here = [Carried(stage, self.data, row["measured"], np.array(row["history"], np.float32), decoders.get(key))
                    for stage in stages if (row := self.found["stages"].get(key := gpu_train.name_of(stage)))]
            if len(here) > 1:
                self.ladders[name if len(here) == len(stages) else name + PART] = here

    def of(self, stage: Stage, kind: str) -> np.ndarray | None:
        """States of a stage, "generated" or "x_out", as unit spins; None where they were not packed."""
        half = self.states.get(f"{gpu_train.name_of(stage)}/{kind}")
        return None if half is None else unpack(half).numpy()


def draw(there: Carriage, figures: Path) -> None:
    """Figs. 2A, 2B, S1, 5A and 5B, and some training states."""
    tables = {name: history_table(run) for name, run in there.ladders.items()}
    for kind, figure in (("beta", "fig2a_beta_sweep"), ("gamma", "fig2b_gamma_sweep")):
        series = [t | {"label": label(name), "x": t[kind]} for name, t in tables.items() if name.startswith(kind)]
        if series:
            fig = plotting.ladder_curves(series, xlabel=kind, data_energy=series[0]["data_energy"],
                                         energy_label=ENERGY_LABEL)
            plotting.save(fig, figures, figure)
    run = next((run for name, run in there.ladders.items() if name.startswith("beta")), [])
    columns = [(f"β = {one.stage.beta:g}", x_out[0], generated[0]) for one in run
               if (x_out := there.of(one.stage, "x_out")) is not None
               and (generated := there.of(one.stage, "generated")) is not None]
    if columns:
        fig = plotting.output_ladder(unpack(there.states["given"]).numpy(), columns)
        plotting.save(fig, figures, "figS1_outputs")
    climbed = {name: run for name, run in there.ladders.items() if name.startswith("gamma")}
    by_gamma = {label(name): {one.stage.gamma: there.of(one.stage, "generated") for one in run}
                for name, run in climbed.items() if run[0].stage.beta == BETA}
    shown = [gamma for gamma in dict.fromkeys((*COLLAPSE, there.preset.gammas[-1]))
             if by_gamma and all(states.get(gamma) is not None for states in by_gamma.values())]
    if shown:
        fig = plotting.collapse_states([f"γ = {gamma:g}" for gamma in shown], {
            name: np.stack([states[gamma][:2] for gamma in shown]) for name, states in by_gamma.items()})
        plotting.save(fig, figures, "fig5a_collapse")
    if climbed:
        H, shape, scale = there.data.hamiltonian, there.data.shape, there.found["data"]
        series = [{"label": label(name), "gamma": t["gamma"], "mse": t["kspace_mse"],
                   "energy": energy_per_spin(H, t["energy_generated"], shape)}
                  for name, t in tables.items() if name in climbed]
        fig = plotting.collapse_measure(
            series, threshold=claims.COLLAPSED * tables[next(iter(climbed))]["data_kspace_mse"],
            ideal_energy=there.data.lowest, data=[scale[f"{which}_energy"] for which in ("least", "mean", "largest")])
        plotting.save(fig, figures, "fig5b_kspace_mse")
    if there.sample:
        few, lowest = there.sample["spins"][:8], there.data.lowest
        labels = [f"{1e4 * (energy - lowest):.1f}, Q = {charge:.0f}" for energy, charge in zip(
            there.sample["energy"][:8], there.sample["charge"][:8], strict=True)]
        fig = plotting.gallery(unpack(few).numpy(), labels,
                               title="training states: E/N in $10^{-4}J$ above the lowest state known, charge")
        plotting.save(fig, figures, "data_gallery", caption="Training states as maps of spins. Above each stand its "
                      "energy per spin above the lowest state known, in 1e-4 J, and its charge.")


def judge(there: Carriage, figures: Path) -> list[claims.Result]:
    """The claims whose sweeps are complete, saved beside the figures; the states that the sweeps end in are drawn."""
    tables = {name: history_table(run) for name, run in there.ladders.items()}
    first, small, twin = (f"gamma, beta {BETA:g}, seed 0", f"gamma, beta {there.preset.gamma_betas[1]:g}, seed 0",
                          f"gamma, beta {BETA:g}, seed 1")
    results = []

    def judged(notebook: str, found: list[claims.Result]) -> None:
        claims.save(figures, notebook, found)
        results.extend(found)

    if "beta, seed 0" in tables:
        judged("02_beta_sweep", claims.beta_sweep([tables["beta, seed 0"]]))
    by_beta = {there.ladders[name][0].stage.beta: [tables[one] for one in names if one in tables]
               for name, names in ((first, (first, twin)), (small, (small,))) if name in tables}
    if len(by_beta) == 2:
        judged("03_gamma_sweep", claims.gamma_sweep(by_beta))
    complete = [name for name in (first, twin, small) if name in tables and there.ladders[name][-1].decoder]
    final = {name: final_state(there.ladders[name][-1], there.preset.samples, "cpu") for name in complete}
    if final:
        lattice = skyrmion_lattice(there.data.hamiltonian, there.data.shape)
        ideal = float(there.data.hamiltonian.energy_per_spin(lattice.double()))
        plotting.save(plotting.gallery(
            np.stack([*(state.numpy() for _, state in final.values()), lattice.numpy()]),
            [*(f"{label(name)}\nrelaxed {numbers['relaxed']:.6f} J" for name, (numbers, _) in final.items()),
             f"best lattice, Q = {float(topological_charge(lattice)):.0f}\n{ideal:.6f} J"]),
            figures, "collapsed_states")
    if {first, twin} <= final.keys():
        def measured(name: str) -> dict[str, Any]:
            sweep = {key: tables[name][key] for key in ("gamma", "kspace_mse", "data_kspace_mse")}
            sweep["energy_per_spin"] = energy_per_spin(there.data.hamiltonian, tables[name]["energy_generated"],
                                                       there.data.shape)
            # The least energy is that of all three sets, at most that of the training states.
            return final[name][0] | sweep | {"best_data": there.found["data"]["least_energy"]}

        apart = float((final[first][1] - final[twin][1]).square().sum(0).mean())
        runs = {BETA: [measured(name) for name in (first, twin)]}
        if small in final:
            runs[there.preset.gamma_betas[1]] = [measured(small)]
        judged("06_collapse", claims.collapse(runs, [apart]))
    return results


def publish(there: Carriage, root: Path) -> list[str]:
    """Write everything below ``root``; return what was written, in words."""
    name = there.preset.name
    target, figures = root / "data" / "recorded" / name, root / "figures" / name
    if (target / published.INDEX).exists():
        raise ValueError(f"{target} is the record of a whole run, and stays; move it aside")
    with replaced_folder(figures) as partial:
        draw(there, partial)
        results = judge(there, partial)
        (partial / "claims.md").write_text(
            f"Sweeps of {there.found['train']['steps']} steps per stage on {there.found['what']['gpu']}; of one seed "
            "where no other is named. " + claims.card(partial, there.preset.small), encoding="utf-8")
    with replaced_folder(target) as partial:
        write_tables(there.ladders, partial)
        write_json(partial / "claims.json", [asdict(result) for result in results])
        shutil.copyfile(there.folder / "results.json", partial / "gpu.json")
        for file in ("states.npz", "sample.npz"):
            if (there.folder / file).is_file():
                shutil.copyfile(there.folder / file, partial / file)
        for decoder, one in _decoders(there):
            safetensors.torch.save_file(one, partial / f"{decoder}.safetensors")
    (root / "benchmarks").mkdir(exist_ok=True)
    (root / "benchmarks" / "GPU.md").write_text(gpu_page(there.found), encoding="utf-8")
    return [str(target), str(figures), str(root / "benchmarks" / "GPU.md"), f"claims: {claims.counts(results)}"]


def _decoders(there: Carriage):
    """The decoders that a whole run publishes too, as far as they were packed."""
    stages = [one for run in there.ladders.values() for one in run
              if one.decoder and one.stage.beta == BETA and one.stage.seed == 0]
    for one in stages:
        if one.stage.gamma in NOISE:
            yield f"decoder_gamma_{one.stage.gamma:g}", one.decoder
        if one.stage.gamma == there.preset.gammas[-1]:
            yield "decoder_collapsed", one.decoder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--root", type=Path, default=ROOT, help="write below this folder instead of the checkout")
    chosen = parser.parse_args()
    try:
        for line in publish(Carriage(chosen.folder), chosen.root):
            print(line)
    except (ValueError, OSError) as error:
        sys.exit(f"gpu_report: {error}")

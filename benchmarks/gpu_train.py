"""Two steps of gpu_quarter_hour.sh: the paper preset's data set (data), and training while there is time (train).

    python benchmarks/gpu_train.py data|train [--steps N]

The data set is that of the preset, annealed, verified and without the states that come to rest in the lowest state
known; it stays in WORK, in half precision, for as long as the machine does. The sweeps are trained in the order of
:func:`sweeps`, every stage measured after it as the companion measures stages. All stages have as many steps as let
all sweeps fit into the time, at most MAX_STEPS and at least MIN_STEPS; a stage that no longer fits is not begun. A
second call goes on where the first one ended. Both seeds are trained on this one data set, that of seed 0: a set for
seed 1, as the companion's runs have it, would take the time of a sweep.
"""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import gpu_bare as bare
import gpu_pack
import numpy as np
import torch
from gpu_bare import DEVICE, REHEARSAL, WORK
from torch.nn import functional as F

from evae_companion.data_specs import data_spec
from evae_companion.presets import PRESETS, RunPreset
from evae_companion.training_plans import BETA
from evae_core.losses import LOSSES
from evae_core.training import Stage, stage_schedule, with_lr_backoff

MAX_STEPS, MIN_STEPS = (3, 3) if REHEARSAL else (1500, 250)  # steps of a stage; MIN_STEPS: those of the preset desktop
FIRST = 3 if REHEARSAL else 1600  # least steps of a first stage
OVERHEAD = 5.0  # seconds of a stage besides its steps, before one has been measured: capture, evaluation
# A cosine down to a tenth, as at the preset desktop: stages are far shorter than the paper's.
NUMBERS = {"final_rate": 0.1} | (
    {"betas": (1e-6, 1e-4, 1e-3), "gammas": (1.0, 100.0, 5e3)} if REHEARSAL else {})
PRESET = "smoke" if REHEARSAL else "paper"
EVALUATED, SHOWN, SAMPLE = (8, 2, 4) if REHEARSAL else (500, 4, 64)
BINS = 60  # of the energies' histogram


def preset(name: str, numbers: dict) -> RunPreset:
    """The preset with other numbers of the training; lists, as JSON has them, become tuples."""
    return replace(PRESETS[name], **{key: tuple(v) if isinstance(v, list) else v for key, v in numbers.items()})


def sweeps(p: RunPreset) -> dict[str, list[Stage]]:
    """The sweeps by the names that published tables use, the one that matters most first."""
    return {f"gamma, beta {BETA:g}, seed 0": stage_schedule(p, BETA), "beta, seed 0": stage_schedule(p),
            f"gamma, beta {p.gamma_betas[1]:g}, seed 0": stage_schedule(p, p.gamma_betas[1]),
            f"gamma, beta {BETA:g}, seed 1": stage_schedule(p, BETA, 1)}


def in_order(p: RunPreset) -> list[Stage]:
    """Every stage of the sweeps once, after its parents."""
    found: dict[Stage, None] = {}

    def add(stage: Stage) -> None:
        if stage not in found:
            if stage.parent:
                add(stage.parent)
            found[stage] = None
    for stages in sweeps(p).values():
        for stage in stages:
            add(stage)
    return list(found)


def name_of(stage: Stage) -> str:
    return f"seed{stage.seed}_beta{stage.beta:g}_gamma{stage.gamma:g}"


# --- the data set ---

def shards(spec, size: int) -> list[tuple[int, int]]:
    """(first, n): validation states first, so that a set that is cut short has some."""
    edges = np.cumsum([0, spec.train, spec.validation, spec.test]).tolist()
    parts = [[(a, min(size, end - a)) for a in range(begin, end, size)]
             for begin, end in zip(edges[:-1], edges[1:], strict=True)]
    return parts[1][:1] + parts[0] + parts[1][1:] + parts[2]


def data() -> int:
    bare.need_gpu()
    bare.prepare_annealer()
    from evae_companion import dataset
    from evae_core.annealing import anneal

    spec = data_spec(PRESETS[PRESET])
    H, total = spec.hamiltonian, spec.train + spec.validation + spec.test
    spins = np.lib.format.open_memmap(WORK / "spins.npy", "w+", np.float16, (total, 3, *spec.shape))
    size = spec.shard if REHEARSAL else 8 * torch.cuda.get_device_properties(0).multi_processor_count
    kept: dict[str, np.ndarray] = {}
    digests, longest, begun = [], 0.0, time.perf_counter()
    for first, n in shards(spec, size):
        start = time.perf_counter()
        if bare.left() < 1.5 * longest + 3:
            made = int(np.isfinite(kept["energy"]).sum()) if kept else 0
            print(f"data: no time left, {made} of {total} are made", flush=True)
            break
        states = anneal(H, spec.shape, n, spec.seed, "cuda", spec.schedule, first, keep=True)
        annealed = time.perf_counter() - start
        found = dataset.verify(H, states, spec.schedule.tolerance)
        digests.append(found.pop("digest"))
        found["rest_energy"] = dataset.rest_energies(H, states, "cuda")
        for key, values in found.items():
            kept.setdefault(key, np.full(total, np.nan))[first:first + n] = values
        spins[first:first + n] = states.half().cpu().numpy()
        np.savez(WORK / "statistics.npz", **kept)
        bare.write("data", described(spec, kept, np.concatenate(digests)) | {
            "seconds": time.perf_counter() - begun, "seconds_annealing": annealed + (
                bare.read("data")["seconds_annealing"] if len(digests) > 1 else 0.0)})
        longest = max(longest, time.perf_counter() - start)
        print(f"[{bare.left():6.1f} s left] data: replicas {first} to {first + n - 1}, {annealed:.1f} s to "
              f"anneal of {time.perf_counter() - start:.1f} s", flush=True)
    spins.flush()
    if not kept:
        return 1
    stays = chosen(spec, kept, 0, spec.train)[:SAMPLE]
    np.savez(WORK / "sample.npz", spins=spins[stays], **{key: values[stays] for key, values in kept.items()})
    print(f"data: {bare.read('data')}", flush=True)
    return 0 if np.isfinite(kept["energy"]).all() and bare.read("data")["equal"] == 0 else 1


def chosen(spec, kept: dict[str, np.ndarray], begin: int, end: int) -> np.ndarray:
    """The numbers of the states begin ... end - 1 that are made and stay: not those that rest in the lowest known."""
    from evae_companion.dataset import SAME

    return begin + np.flatnonzero(kept["rest_energy"][begin:end] > spec.lowest + SAME)  # NaN is not above


def described(spec, kept: dict[str, np.ndarray], digests: np.ndarray) -> dict:
    """What is said of the data set: how many, how far above the lowest state known, histograms."""
    from evae_companion.dataset import SAME

    made = np.isfinite(kept["energy"])
    stays = chosen(spec, kept, 0, len(made))
    above = {key: 1e4 * (kept[key][stays] - spec.lowest) for key in ("energy", "rest_energy")}
    found = {"asked": len(made), "made": int(made.sum()), "left_out": int(made.sum()) - len(stays),
             "equal": len(digests) - len(np.unique(digests)),
             "annealed_onto_lowest": int((kept["energy"][made] < spec.lowest + SAME).sum()),
             "schedule": vars(spec.schedule), "lowest_known": spec.lowest,
             "mean_energy": float(kept["energy"][stays].mean()), "least_energy": float(kept["energy"][stays].min()),
             "largest_energy": float(kept["energy"][stays].max()),
             "least_rest_energy": float(kept["rest_energy"][made].min()),
             "mean_charge": float(kept["charge"][stays].mean()), "charge_spread": float(kept["charge"][stays].std()),
             "largest_torque": float(kept["torque"][made].max())}
    for key, values in above.items():
        counts, edges = np.histogram(values, BINS)
        found[f"histogram_{key}"] = {"edges_1e-4_J_above_lowest_known": edges.tolist(), "states": counts.tolist()}
    return found


class HalfSet:
    """The states of the given numbers, read from the file in half precision, as float32 unit spins."""

    def __init__(self, name: str, spins: np.ndarray, kept: dict[str, np.ndarray], numbers: np.ndarray):
        self.name, self.spins, self.numbers = name, spins, numbers
        self.statistics = {key: values[numbers] for key, values in kept.items()}

    def __len__(self) -> int:
        return len(self.numbers)

    def half(self, index) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.spins[self.numbers[index]]))

    def __getitem__(self, index) -> torch.Tensor:
        return F.normalize(self.half(index).float(), dim=1)


# --- training ---

def first_steps(steps: int) -> int:
    """Of a stage from random weights, where the others take so many."""
    return max(FIRST, 2 * steps) if steps > MIN_STEPS else FIRST


def steps_a_stage(p: RunPreset, ms: float, seconds: float) -> int:
    """As many steps as let all sweeps fit into the seconds, at most MAX_STEPS and at least MIN_STEPS."""
    stages = in_order(p)
    firsts = sum(stage.parent is None for stage in stages)
    for steps in range(MAX_STEPS, MIN_STEPS, -50):
        taken = steps * (len(stages) - firsts) + first_steps(steps) * firsts
        if OVERHEAD * len(stages) + 1e-3 * ms * taken <= seconds:
            return steps
    return MIN_STEPS


def ms_measured(size: int, batch: int) -> float:
    """ms of a captured step at the precision of the training: the step before has measured it, or it is done now."""
    import gpu_step

    precision = gpu_step.PRECISION[DEVICE]
    found = (bare.read("step") or {}).get(f"{size}, batch {batch}, {precision}, graph", {})
    if "ms" not in found:
        found = gpu_step.time_step(size, gpu_step.states(size, 2 * batch).half(), batch, precision)
    return found["ms"]


def trained(stage: Stage, data, spins, parent) -> tuple:
    """The network of a stage, begun again at a lower rate where it diverges, and what is recorded of it.

    ``above``: energies per spin in 1e-4 J above the lowest state known, of X_out and X'_out, and of eight of each once
    relaxed; ``diversity``: their k-space MSE as a share of the training data's.
    """
    from evae_companion.evaluation import check_measured, evaluate
    from evae_companion.trained import block_means
    from evae_core.losses import energy_per_spin
    from evae_core.training import train_stage
    from evae_core.training.numerics import device_name, pick_device

    def attempt(rate: float):
        start = time.perf_counter()
        model, history = train_stage(replace(stage, learning_rate=rate), spins, parent, device=DEVICE)
        took = time.perf_counter() - start
        measured = evaluate(model, data, EVALUATED)
        check_measured(measured)
        return model, measured | {"seconds": round(took, 3), "device": device_name(pick_device(DEVICE)),
                                  "mode": history.mode, "precision": history.precision
                                  }, block_means(history.losses.numpy(), stage.steps)[1].tolist()

    (model, measured, history), failures = with_lr_backoff(stage, attempt, partial(print, flush=True))
    H, shape, lowest = data.spec.hamiltonian, data.spec.shape, data.spec.lowest

    def above(energies) -> list[float]:
        return (1e4 * (np.asarray(energies) - lowest)).tolist()

    decoded = {"x_out": measured["train"]["energy"], "generated": measured["generated"]["energy"]}
    return model, {
        "seed": stage.seed, "beta": stage.beta, "gamma": stage.gamma, "steps": stage.steps,
        "above": {of: above(energy_per_spin(H, value, shape)) for of, value in decoded.items()},
        "relaxed_above": {of: above(rest["energies"]) for of, rest in measured["relaxed"].items()},
        "diversity": {of: measured[of]["kspace_mse"] / measured["data"]["kspace_mse"] for of in decoded},
        "measured": measured | ({"diverged": failures} if failures else {}), "history": history}


@torch.no_grad()
def shown(model, given: torch.Tensor) -> dict[str, np.ndarray]:
    """States generated from the same latent vectors after every stage, one reconstruction, and the decoder; halves."""
    from evae_companion.store.weights import halved

    device = next(model.parameters()).device
    generated = model.generate(SHOWN, torch.Generator(device).manual_seed(4))
    x_out = model.decode(model.encode(given.to(device))[0])
    arrays = {"generated": generated, "x_out": x_out} | halved(model.state_dict(), decoder_only=True)
    return {name: (value.half() if value.ndim == 4 else value).cpu().numpy() for name, value in arrays.items()}


def loaded():
    """The data set on disk as the companion's evaluation reads it, and its training states on the device."""
    if not (WORK / "statistics.npz").is_file():
        raise RuntimeError(f"{WORK} holds no data set; run the step data first")
    spec, spins = data_spec(PRESETS[PRESET]), np.load(WORK / "spins.npy", mmap_mode="r")
    with np.load(WORK / "statistics.npz") as file:
        kept = dict(file)
    parts = {"train": (0, spec.train), "validation": (spec.train, spec.train + spec.validation)}
    sets = {name: HalfSet(name, spins, kept, chosen(spec, kept, *edges)) for name, edges in parts.items()}
    there = torch.empty(len(sets["train"]), 3, *spec.shape, dtype=torch.float16, device=DEVICE)
    for i in range(0, len(there), 1000):
        there[i:i + 1000] = sets["train"].half(slice(i, i + 1000))
    return SimpleNamespace(spec=spec, **sets), there


def train(steps: int | None) -> int:
    from evae_core.model import VAE
    from evae_core.training import SpinData

    bare.need_gpu()
    sets, there = loaded()
    spins, given = SpinData(there, sets.spec.hamiltonian, there), sets.validation[:1]
    p, folder, found = preset(PRESET, NUMBERS), WORK / "stages", bare.read("train") or {}
    folder.mkdir(exist_ok=True)
    ms = ms_measured(p.size, p.batch)
    steps = found.get("steps") or steps or steps_a_stage(p, ms, bare.left())
    numbers = NUMBERS | {"beta_steps": steps, "gamma_steps": steps, "first_steps": first_steps(steps)}
    p = preset(PRESET, numbers)
    todo, done, longest, packed = in_order(p), 0, OVERHEAD, time.monotonic()
    bare.write("train", {"preset": PRESET, "numbers": numbers, "steps": steps, "ms_a_step": ms, "batch": p.batch,
                         "states": len(there), "order": [name_of(stage) for stage in todo],
                         "sweeps": {name: [name_of(stage) for stage in stages] for name, stages in sweeps(p).items()}})
    np.savez(WORK / "given.npz", given=given[0].half().numpy())
    print(f"train: {len(todo)} stages of {steps} steps of {ms:.2f} ms, {len(there)} states, {bare.left():.0f} s left",
          flush=True)
    models: dict[Stage, VAE] = {}

    def network(stage: Stage | None) -> VAE | None:
        """The network of a stage trained before, in this call or in an earlier one."""
        if stage is not None and stage not in models:
            models[stage] = VAE(sets.spec.shape).to(DEVICE).eval()
            models[stage].load_state_dict(torch.load(folder / f"{name_of(stage)}.pt", weights_only=True))
        return models.get(stage)

    for number, stage in enumerate(todo):
        name = name_of(stage)
        if (folder / f"{name}.json").is_file():
            done += 1
            continue
        if bare.left() < 1e-3 * ms * stage.steps + 1.2 * longest + 2:
            print(f"train: no time left for {stage} and what follows; {done} of {len(todo)} stages", flush=True)
            break
        start = time.perf_counter()
        models[stage], row = trained(stage, sets, spins, network(stage.parent))
        np.savez(folder / f"{name}.npz", **shown(models[stage], given))
        wanted = {later.parent for later in todo[number + 1:]}
        if stage in wanted:
            torch.save(models[stage].state_dict(), folder / f"{name}.pt")
        bare.write(f"stages/{name}", row)  # last: with it the stage counts as done
        for old in [old for old in models if old not in wanted]:
            del models[old]
            (folder / f"{name_of(old)}.pt").unlink(missing_ok=True)
        done, longest = done + 1, max(longest, time.perf_counter() - start - 1e-3 * ms * stage.steps)
        whole = time.monotonic() - packed > 60
        gpu_pack.pack(arrays=whole)
        packed = time.monotonic() if whole else packed
        losses = row["measured"]
        print(f"[{bare.left():6.1f} s left] {stage}: " + ", ".join(
            f"{key} {losses['train'][key]:.4g}" for key in LOSSES[:3])
            + f", generated {losses['generated']['energy']:.4f}, {time.perf_counter() - start:.1f} s", flush=True)
    return 0 if done else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=("data", "train"))
    parser.add_argument("--steps", type=int, help="of every stage; default: as many as fit; a later "
                        "call keeps those of the first")
    chosen_step = parser.parse_args()
    sys.exit(data() if chosen_step.step == "data" else train(chosen_step.steps))

"""Sequential training: ladders of stages, each continuing from the weights of the one before.

The paper climbs beta from 1e-6 to 1, then starts from the beta = 1e-3 and the beta = 1e-4 model and climbs gamma
from 1e-4 to 1e6 (Kwon et al., Advanced Science 2021). ``ladder`` lists the stages, ``climb`` trains those that the
store does not hold yet. A stage is an artefact: its weights, the losses of every step, and what was measured after it.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from evae_core import weights
from evae_core.annealing import loaded
from evae_core.dataset import Data, DataSpec, load_data
from evae_core.divergence import Diverged, check, check_measured, check_state, retried
from evae_core.files import load_arrays, read_json, save_arrays, write_json
from evae_core.hamiltonian import Hamiltonian
from evae_core.ladders import Stage, climbing, confined_ladder, control, ladder, steps_to_take
from evae_core.lifeline import end_with_parent
from evae_core.model import VAE, Guide, energy_loss, energy_scale
from evae_core.observables import kspace_mse, topological_charge
from evae_core.plan import Plan, plan
from evae_core.progress import STEPS, Report, timed
from evae_core.resident import LOSSES, Resident, upload
from evae_core.step import Step, compilable, device_name, make_step, new_model, pick_device
from evae_core.store import Store
from evae_core.weights import WEIGHTS_FILE, NoEncoder

__all__ = ["ENERGY_LABEL", "Stage", "Step", "Trained", "climb", "climb_all", "climbing", "confined_ladder", "control",
           "energy_per_spin", "ladder", "loss_of_energy", "make_step", "measure", "new_model", "pick_device",
           "stage_spec", "table"]

NETWORK = 3  # raise when the network, the losses or the loop change their results: older stages are then made anew
# A long stage from random weights is begun STARTS times, and goes on from the start with the lowest L_RC after
# TRIAL_STEPS: about every other one still sits on the plateau of uniform outputs then, some for hundreds of steps more
# (48 x 48, ten starts), and clipped gradients, more restarts or other learning rates did not free them.
STARTS, TRIAL_STEPS = 4, 160
EVALUATED = 500  # configurations of each set that the losses after a stage are averaged over
RELAXED = 8  # states of each kind that are brought to rest after a stage,
REST, REST_SWEEPS = 1e-3, 10_000  # to this torque (J), in so many sweeps at most
FEW_STEPS = 400  # not worth the seconds that starting processes takes
ENERGY_LABEL = r"$L_\mathrm{H}$ ($J$ per spin $\times\,(0.3J/D)^2$)"  # for axes
# Steps x batch x sites of a stage from which it is trained with the compiled kernels on a CPU: it then saves some 3 s,
# and compiling costs 6 s once a machine. Shorter ones run as plain torch.
COMPILED_WORK = 5e6


@dataclass(frozen=True)
class Trained:
    """A finished stage in the store.

    ``measured`` holds, after the stage and in evaluation mode: the losses of ``train`` and ``validation`` (dicts of
    reconstruction, kl, energy); of ``generated`` samples X'_out (energy, their mean L_H; best, the lowest; kspace_mse,
    C1's measure, kspace_mse_complex); of the ``data`` (energy, best), all L_H in the units of the loss; of the
    ``x_out`` of training states (spread and best of L_H, kspace_mse); of the aggregated ``posterior``, averaged over
    the latents, mean_square of its mean and its variance (1 for the prior); ``relaxed``: where RELAXED states of each
    kind come to rest (:func:`at_rest`). And of the training: ``seconds``, ``device``, ``mode`` (eager, compiled,
    graph), ``precision``, ``threads`` and ``starts``, the L_RC by which one of several random starts was chosen;
    ``parent_weights`` where the stage before it was carried here; ``diverged`` where it was begun again with a lower
    learning rate (:mod:`evae_core.divergence`).
    """

    stage: Stage
    data: DataSpec
    folder: Path

    @property
    def measured(self) -> dict[str, Any]:
        return read_json(self.folder / "measured.json")

    @property
    def history(self) -> np.ndarray:
        """(steps, 4): reconstruction, kl, energy and total loss of every step's batch; block means if carried here."""
        return load_arrays(self.folder / "history.npy")

    def model(self, device: str = "cpu") -> VAE:
        """The network as trained, in evaluation mode; as far as it was carried, where it was (``weights``)."""
        model = VAE(self.data.shape, boundary=self.data.hamiltonian.boundary)
        weights.load(model, weights.file_in(self.folder))
        return model.to(pick_device(device)).eval()


def climb(stages: list[Stage], data: DataSpec, store: Store | None = None, device: str = "auto",
          report: Callable[[str], None] | None = None, *, compile: bool | None = None,
          precision: str | None = None, guide: Guide | None = None) -> list[Trained]:
    """Train every stage that the store does not hold, after its parents; return them in order.

    Killed at any moment, it loses the stage in progress. ``report`` gets one line a stage. ``compile`` and
    ``precision`` are :func:`make_step`'s; by default kernels are compiled for stages of COMPILED_WORK on a CPU, and on
    a GPU every stage is a CUDA graph. What was used is in the stage's ``measured``: the same seed gives the same bytes
    on the same machine in the same mode. On a CPU a stage is trained on one thread, so that it does, however many
    ladders are climbed beside it (:func:`climb_all` uses the other cores). ``guide`` is the L_H of stages with
    gamma > 0 in the place of the data set's Hamiltonian, by which all is measured still; batches and noise stay.

    Raises
    ------
    RuntimeError
        a stage that diverges at every learning rate tried; names the stage and the numbers.
    """
    store = store or Store()
    report = _timed(report, [stages], [data], store, [guide])
    return _climb(stages, data, store, device, report, compile, precision, {}, guide)


def _timed(report: Report | None, ladders: list[list[Stage]], specs: list[DataSpec], store: Store,
           guides: Sequence[Guide | None]) -> Report | None:
    """``report`` with the time left of the stages that the store does not hold."""
    def kept(stage: Stage, of: tuple[DataSpec, Guide | None]) -> bool:
        return store.find(stage_spec(stage, *of)) is not None

    return timed(report, steps_to_take(ladders, list(zip(specs, guides, strict=True)), kept), STEPS)


def _climb(stages: list[Stage], data: DataSpec, store: Store, device: str, report: Report | None,
           compile: bool | None, precision: str | None, loaded: dict[DataSpec, Any],
           guide: Guide | None = None) -> list[Trained]:
    """:func:`climb`; ``loaded`` keeps the data sets for ladders to come."""
    def data_once() -> tuple[Data, Tensor | None]:
        if data not in loaded:
            sets, where = load_data(data, store, device), pick_device(device)
            loaded[data] = sets, upload(sets.train, where) if where.type == "cuda" else None
        return loaded[data]

    @cache
    def kernels() -> bool:
        return compilable(report)

    def trained(stage: Stage) -> Trained:
        parent = trained(stage.parent) if stage.parent else None
        def make(folder: Path) -> None:
            sets, spins = data_once()
            wanted = spins is None and worth(stage, data) and kernels() if compile is None else compile
            with one_thread() if spins is None else nullcontext():
                _train(stage, parent, sets, spins, folder, device, report, wanted, precision, guide)
        spec = stage_spec(stage, data, guide)
        if store.find(spec) is None:
            data_once()  # before the stage's own time begins
        return Trained(stage, data, store.get(spec, make))

    return [trained(stage) for stage in stages]


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: then what it sums does not depend on how many cores there are, or are free."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stage_spec(stage: Stage, data: DataSpec, guide: Guide | None = None) -> dict[str, Any]:
    """What a stage's artefact depends on; a ``guide`` counts for it and all before it that have gamma > 0."""
    guided = {} if guide is None or not stage.gamma else {"guide": dict(guide.about)}
    return {"kind": "stage", "network": NETWORK, "data": data.spec()} | guided | stage.spec()


def _worker(stages: list[Stage], data: DataSpec, guide: Guide | None, root: Path, device: str, queue: Any,
            compile: bool | None, precision: str | None) -> None:
    torch.set_num_threads(1)  # and it was started with end_with_parent
    _climb(stages, data, Store(root), device, queue.put, compile, precision, {}, guide)


def climb_all(ladders: list[list[Stage]], data: DataSpec | list[DataSpec], store: Store | None = None,
              device: str = "auto", report: Callable[[str], None] | None = None,
              workers: int | None = None, *, compile: bool | None = None, precision: str | None = None,
              guides: Sequence[Guide | None] | None = None) -> list[list[Trained]]:
    """Climb independent ladders side by side, one process and one thread each; return them like :func:`climb`.

    ``data``: one for all, or one a ladder; ``guides``: one a ladder, or none. ``workers``: processes at a time; by
    default the number of cores on a CPU (at most one a ladder), and 1 on a GPU. Common parents are trained once: others
    wait for them. One thread a ladder uses two cores better than two threads for one (some 30 against 50 ms a step at
    laptop size), and makes the bytes independent of the number of cores. Two captured stages at once on one GPU are not
    tried yet: more workers there are processes with a copy of the data each. The rest as in :func:`climb`.
    """
    store = store or Store()
    specs = data if isinstance(data, list) else [data] * len(ladders)
    guided = [None] * len(ladders) if guides is None else list(guides)
    jobs = list(zip(ladders, specs, guided, strict=True))
    todo = [number for number, (stages, spec, guide) in enumerate(jobs)
            if any(store.find(stage_spec(stage, spec, guide)) is None for stage in stages)]
    if workers is None:
        workers = 1 if pick_device(device).type == "cuda" else os.cpu_count() or 1
    steps = sum(stage.steps for number in todo for stage in ladders[number])
    report = _timed(report, ladders, specs, store, guided)
    long = any(worth(stage, specs[number]) for number in todo for stage in ladders[number])
    if compile is None and long and pick_device(device).type == "cpu" and not compilable(report):
        compile = False  # made, or said to be missing, once for all
    if len(todo) > 1 and workers > 1 and steps > FEW_STEPS:
        context = multiprocessing.get_context("spawn")
        for spec in {id(specs[n]): specs[n] for n in todo}.values():
            load_data(spec, store, device, report)  # once, on all cores
        with _manager(context) as manager, ProcessPoolExecutor(min(workers, len(todo)), mp_context=context,
                                                               initializer=end_with_parent) as pool:
            queue = manager.Queue()
            futures = [pool.submit(_worker, *jobs[n], store.root, device, queue, compile, precision) for n in todo]
            _listen(futures, queue, report)
    loaded: dict[DataSpec, Any] = {}
    try:
        return [_climb(stages, spec, store, device, report, compile, precision, loaded, guide)
                for stages, spec, guide in jobs]
    finally:
        loaded.clear()  # gigabytes of a GPU, perhaps


def _manager(context: Any) -> SyncManager:
    """As context.Manager(), but it ends with this process."""
    (manager := SyncManager(ctx=context)).start(end_with_parent)
    return manager


def _listen(futures: Any, queue: Any, report: Callable[[str], None] | None) -> None:
    """Pass the workers' lines on until all are done; the first error ends the others before their next ladder."""
    pending = set(futures)
    try:
        while pending:
            done = {future for future in pending if future.done()}
            for future in as_completed(done):
                future.result()
            pending -= done
            while not queue.empty():
                line = queue.get()
                if report:
                    report(line)
            time.sleep(0.2)
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _seed(stage: Stage, data: DataSpec, purpose: str) -> int:
    """A 63-bit seed of the stage's own, so that no two stages share random numbers."""
    text = json.dumps([purpose, stage_spec(stage, data)], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def _train(stage: Stage, parent: Trained | None, data: Data, spins: Tensor | None, folder: Path, device: str,
           report: Report | None, compile: bool, precision: str | None, guide: Guide | None = None) -> None:
    """``spins``: the training set on the GPU, None on a CPU."""
    H, shape, say = data.spec.hamiltonian, data.spec.shape, report or (lambda line: None)
    if stage.translate and not H.periodic:
        raise ValueError("translate needs a periodic sample; an open one has no translations")

    def taken(todo: Plan, start: int) -> tuple[Step, Tensor, str]:
        """The steps of a plan from the parent's weights, or from random ones: (step, losses, mode)."""
        if parent and isinstance((model := parent.model(device)).encoder, NoEncoder):
            raise RuntimeError(f"stage ({stage}) starts from stage ({parent.stage}), of which {parent.folder} keeps "
                               "the decoder alone; remove that folder to train it anew")
        model = model if parent else new_model(shape, H, _seed(stage, data.spec, f"weights {start}"))
        step = make_step(shape, guide or H, stage.beta, stage.gamma, device, learning_rate=stage.learning_rate,
                         seed=_seed(stage, data.spec, "noise"), model=model, compile=compile, precision=precision)
        if spins is None:
            return step, _loop(step, todo, data), step.mode
        captured = H.mask is None  # a mask is copied from the host in every step
        return step, Resident(step, spins, todo).run(captured, check), "graph" if captured else "eager"

    def attempt(rate: float) -> tuple[VAE, Tensor, dict[str, Any]]:
        """The stage at this learning rate, always with the same batches and noise: (model, losses, measured)."""
        start = time.perf_counter()
        todo = plan(replace(stage, learning_rate=rate), len(data.train), shape,
                    np.random.default_rng(_seed(stage, data.spec, "batches")))
        starts = [0.0]
        if parent is None and stage.steps >= 10 * TRIAL_STEPS:
            starts = [_trial(taken, todo.first(TRIAL_STEPS), k) for k in range(STARTS)]
            say(f"{stage}: L_RC {', '.join(f'{loss:.3f}' for loss in starts)} after {TRIAL_STEPS} steps from {STARTS} "
                "random starts; going on with the best")
        step, history, mode = taken(todo, int(np.argmin(starts)))
        check_state(step.model.state_dict())
        about = {"seconds": round(time.perf_counter() - start, 3), "device": device_name(step.device), "mode": mode,
                 "precision": step.precision, "threads": torch.get_num_threads(), "starts": starts}
        measured = measure(step.model.eval(), data)
        check_measured(measured)
        return step.model, history, measured | about

    (model, history, measured), failures = retried(stage, attempt, say)
    if failures:
        measured["diverged"] = failures
    if parent and "weights" in parent.measured:  # carried here in half precision
        measured["parent_weights"] = parent.measured["weights"]
    safetensors.torch.save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()},
                                folder / WEIGHTS_FILE)
    save_arrays(folder / "history.npy", history.numpy())
    write_json(folder / "measured.json", measured)
    last, guided = measured["train"], f", guided by {guide.name}" if guide is not None and stage.gamma else ""
    say(f"{stage}{guided}: L_RC {last['reconstruction']:.3f}, L_KL {last['kl']:.1f}, L_H {last['energy']:.4f}, "
        f"generated {measured['generated']['energy']:.4f} ({stage.steps} steps, {measured['seconds']:.0f} s)")


def _trial(taken: Any, todo: Plan, start: int) -> float:
    """L_RC at the end of a short training; inf for one that diverges, which then is not gone on with."""
    try:
        return float(taken(todo, start)[1][-20:, 0].mean())
    except Diverged:
        return math.inf


def worth(stage: Stage, data: DataSpec) -> bool:
    """Whether a stage is long enough for the compiled kernels: COMPILED_WORK."""
    return stage.steps * stage.batch * data.shape[0] * data.shape[1] >= COMPILED_WORK


def _loop(step: Step, todo: Plan, data: Data) -> Tensor:
    """Take the steps, batches read from the store as they are used; return their losses, (steps, 4)."""
    history = torch.empty(len(todo.rates), len(LOSSES))
    for number, rate in enumerate(todo.rates):
        if number in todo.restarts:
            step.restart()
        for group in step.optimizer.param_groups:
            group["lr"] = float(rate)
        batch = data.train[todo.indices[number]]
        if todo.shifts is not None:
            shifts = todo.shifts[number].tolist()
            batch = torch.stack([one.roll(shift, (-2, -1)) for one, shift in zip(batch, shifts, strict=True)])
        history[number] = torch.stack(step.update(batch))
        check(history[number:number + 1], number)
    return history


@torch.no_grad()
def measure(model: VAE, data: Data, n: int = EVALUATED, seed: int = 0) -> dict[str, Any]:
    """The losses on up to ``n`` configurations of the training and validation sets and of ``n`` generated ones.

    See :class:`Trained` for what is in it. z is sampled as in training; batch norm uses its running averages.
    """
    H = data.spec.hamiltonian
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    found: dict[str, Any] = {}
    of_train: list[Tensor] = []  # X_out, mu and log sigma^2
    for spins in (data.train, data.validation):
        if not len(spins):
            continue
        sums, rows = torch.zeros(3), []
        for i in range(0, min(n, len(spins)), 100):
            part = spins[i:i + 100].to(device)
            x_out, mu, logvar = model(part, generator)
            rows.append((x_out, mu, logvar))
            sums += len(part) * torch.stack(model.compare(part, x_out, mu, logvar, H, 0.0, 0.0)[:3]).cpu()
        of_train = of_train or [torch.cat(parts) for parts in zip(*rows, strict=True)]
        mean = (sums / min(n, len(spins))).tolist()
        found[spins.name] = dict(zip(LOSSES[:3], mean, strict=True))
    generated = torch.cat([model.generate(min(100, n - i), generator) for i in range(0, n, 100)])
    energies = torch.cat([energy_loss(H, one[None])[None] for one in generated])
    found["generated"] = {"energy": float(energies.mean()), "spread": float(energies.std()),
                          "best": float(energies.min()),
                          "magnetisation": float(generated[:, 2].sum((1, 2)).mean()) / model.sites,
                          "kspace_mse": kspace_mse(generated[:100].cpu()),
                          "kspace_mse_complex": kspace_mse(generated[:100].cpu(), complex=True)}
    of_data = loss_of_energy(H, data.train.statistics["energy"], data.spec.shape)
    found["data"] = {"energy": float(of_data.mean()), "best": float(of_data.min()),
                     "kspace_mse": kspace_mse(data.train[:100]) if len(data.train) > 1 else float("nan")}
    x_out, mu, logvar = of_train
    if not bool(torch.isfinite(x_out).all() and torch.isfinite(generated).all()):
        raise Diverged("what the trained network gives is not finite")
    energies = torch.cat([energy_loss(H, one[None])[None] for one in x_out])
    found["x_out"] = {"spread": float(energies.std(correction=0)), "best": float(energies.min()),
                      "kspace_mse": kspace_mse(x_out[:100].cpu()) if len(x_out) > 1 else float("nan")}
    found["posterior"] = {"mean_square": float(mu.mean(0).square().mean()),
                          "variance": float((mu.var(0, correction=0) + logvar.exp().mean(0)).mean())}
    found["relaxed"] = {"x_out": at_rest(H, x_out[:RELAXED]), "generated": at_rest(H, generated[:RELAXED])}
    return found


def at_rest(H: Hamiltonian, spins: Tensor) -> dict[str, Any]:
    """Where states (n, 3, Ny, Nx) come to rest: energies (E/N, J), charges, and the largest torque left (J)."""
    spins = spins.cpu().float()
    replicas = loaded(H, spins, device="cpu")
    torque = replicas.descend(REST, REST_SWEEPS)
    spins = replicas.spins().double()
    return {"energies": H.energy_per_spin(spins).tolist(), "torque": torque,
            "charges": topological_charge(spins, mask=H.mask, periodic=H.periodic).tolist()}


def table(ladder: list[Trained]) -> dict[str, Any]:
    """What was measured along a ladder, as arrays with one entry a stage.

    beta, gamma; reconstruction, kl, energy (training data), validation (a dict of the same three); of generated
    states energy_generated, best_generated, spread_generated, magnetisation, kspace_mse, kspace_mse_complex; of X_out
    spread_x_out, kspace_mse_x_out; variance, of the aggregated posterior; rest_x_out and rest_generated (stages,
    RELAXED), E/N (J) of states that have come to rest, charge_x_out and charge_generated, theirs. Numbers: data_energy,
    data_best (L_H of the training data), data_kspace_mse.
    """
    measured = [trained.measured for trained in ladder]
    found: dict[str, Any] = {name: np.array([getattr(t.stage, name) for t in ladder]) for name in ("beta", "gamma")}
    found |= {name: np.array([m["train"][name] for m in measured]) for name in LOSSES[:3]}
    found["validation"] = {name: np.array([m["validation"][name] for m in measured]) for name in LOSSES[:3]}
    for name, key in (("energy_generated", "energy"), ("best_generated", "best"), ("magnetisation",) * 2,
                      ("kspace_mse",) * 2, ("kspace_mse_complex",) * 2, ("spread_generated", "spread")):
        found[name] = np.array([m["generated"][key] for m in measured])
    for key in ("spread", "kspace_mse"):
        found[f"{key}_x_out"] = np.array([m["x_out"][key] for m in measured])
    found["variance"] = np.array([m["posterior"]["variance"] for m in measured])
    for of in ("x_out", "generated"):
        found[f"rest_{of}"] = np.array([m["relaxed"][of]["energies"] for m in measured])
        found[f"charge_{of}"] = np.array([m["relaxed"][of]["charges"] for m in measured])
    return found | {"data_" + key: value for key, value in measured[0]["data"].items()}


def loss_of_energy(H: Hamiltonian, energy_per_spin: Any, shape: Sequence[int]) -> np.ndarray:
    """L_H of states with the given energies per spin (J): (E - E0)/N x (0.3/D)^2, as :func:`model.energy_loss`."""
    return (np.asarray(energy_per_spin) - H.reference_energy(shape) / H.sites(shape)) * energy_scale(H)


def energy_per_spin(H: Hamiltonian, loss: Any, shape: Sequence[int]) -> np.ndarray:
    """E/N (J) of states with the given L_H: the inverse of :func:`loss_of_energy`."""
    return np.asarray(loss) / energy_scale(H) + H.reference_energy(shape) / H.sites(shape)

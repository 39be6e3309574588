r"""Training a potential on labelled frames.

.. math::
    L = p_e\,\langle\Delta E^2\rangle/N + p_f\,\langle\Delta F^2\rangle + p_m\,\langle\Delta F_\mathrm{mag}^2\rangle
        + p_v\,\langle\Delta W^2\rangle/N

with averages over frames, components and (F_mag) magnetic atoms; every prefactor slides with the learning rate from
its start to its limit, :math:`p = p_1 + (p_0 - p_1)\,\eta/\eta_0`, as in deepmd-kit.

Three stages: the linear part is fitted to all labels at once (:mod:`.leastsquares`), which alone comes close to the
final errors; Adam, the rate falling exponentially, trains all weights from there; the linear part is fitted once more,
to the columns that Adam has found. The first fit also finds frames whose labels stand out, and they count less in all
stages. A training is a chain of segments, each an artifact in the store with weights, the optimiser's state and errors:
killed, it goes on from the last, to the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.leastsquares import fit_linear
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.neighbours import Neighbours
from evae_companion.deepspin.potential import Potential, evaluate, neighbours_of
from evae_companion.store.serialization import load_arrays, read_json, save_arrays, write_json
from evae_companion.store.store import Store
from evae_core.validation import check_count, check_device, check_flag, check_is, check_number, check_numbers

NETWORK = 2  # raise when model or loop change their results: older trainings are then made anew
CHECKED = 200  # steps between looks at whether the losses are finite


@dataclass(frozen=True)
class TrainSpec:
    """Every number of a training.

    Parameters
    ----------
    steps, batch : optimiser steps, frames in each (all of them, where there are fewer). 0 steps: the linear fit alone.
    rate, last_rate : learning rates of the first and the last step.
    energy, force, force_mag, virial : (start, limit) of the prefactors, in 1/eV^2 and so on. (0, 0) leaves a label out.
    reversal : every frame is shown with S -> -S, F_mag -> -F_mag half of the time: right where there is no field.
    segments : artifacts the training is divided into (one where there are no steps); the result does not depend on it.
    seed : of weights, batches and signs.
    """

    steps: int = 4000
    batch: int = 4
    rate: float = 1e-4
    last_rate: float = 1e-6
    energy: tuple[float, float] = (0.02, 1.0)
    force: tuple[float, float] = (1000.0, 1.0)
    force_mag: tuple[float, float] = (1000.0, 1.0)
    virial: tuple[float, float] = (0.0, 0.0)
    reversal: bool = True
    segments: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 0, 10**9)
        for name in ("batch", "segments"):
            check_count(name, getattr(self, name), 1, 10**9)
        if not self.steps:
            object.__setattr__(self, "segments", 1)
        elif self.segments > self.steps:
            raise ValueError(f"segments must be at most steps, got {self.segments} and {self.steps}")
        check_count("seed", self.seed, 0, 2**63 - 1)
        check_flag("reversal", self.reversal)
        check_number("last_rate", self.last_rate, most=check_number("rate", self.rate))
        for name in ("energy", "force", "force_mag", "virial"):
            object.__setattr__(self, name, check_numbers(name, getattr(self, name), 0.0, 2))  # (start, limit)

    def spec(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def wanted(self) -> dict[str, bool]:
        """Which labels are trained on."""
        return {"energies": any(self.energy), "forces": any(self.force), "force_mags": any(self.force_mag),
                "virials": any(self.virial)}

    def rates(self) -> np.ndarray:
        """(steps,) learning rates."""
        return np.geomspace(self.rate, self.last_rate, self.steps)


@dataclass(frozen=True)
class Trained:
    """A finished training in the store. ``measured``: ``train`` and ``validation`` errors (see :func:`errors`) after
    each segment so far, and the ``seconds`` of the processor that each took."""

    model_spec: ModelSpec
    folder: Path

    @property
    def measured(self) -> dict[str, Any]:
        return read_json(self.folder / "measured.json")

    @property
    def history(self) -> np.ndarray:
        """(steps, 4): root mean square errors of every batch: E (eV/atom), F, F_mag, and the loss."""
        return load_arrays(self.folder / "history.npy")

    def model(self, dtype: torch.dtype = torch.float64) -> DeepSpin:
        """The trained potential."""
        model = DeepSpin(self.model_spec)
        model.load_state_dict(safetensors.torch.load_file(self.folder / "weights.safetensors"))
        return model.to(dtype)


class Step:
    """One optimiser step on some of the frames: ``step(indices, signs, rate)`` -> (4,) of :attr:`Trained.history`.

    Labels, tables and frames are on the model's device, in its precision, from the start.
    """

    def __init__(self, model: DeepSpin, frames: Frames, spec: TrainSpec, neighbours: Neighbours | None = None,
                 weights: Tensor | None = None):
        self.model, self.spec = model, spec
        wanted = {"energies": spec.energy, "forces": spec.force, "force_mags": spec.force_mag, "virials": spec.virial}
        device, dtype = model.crowd.device, model.crowd.dtype
        tables = neighbours_of(model, frames) if neighbours is None else neighbours
        self.neighbours = tables.to(device, dtype)
        self.inputs = [x.to(device, dtype) for x in (frames.positions, frames.spins, frames.cells)]
        counts = torch.bincount(frames.types, minlength=len(model.names)).double()
        labels = {name: getattr(frames, name) for name in wanted if any(wanted[name])}
        if "energies" in labels:
            labels["energies"] = labels["energies"] - counts @ model.bias.cpu()
        self.labels = {name: value.to(device, dtype) for name, value in labels.items()}
        scales = torch.tensor(model.spec.scales)
        self.magnetic = (scales[frames.types] > 0).nonzero().ravel().to(device)
        if any(spec.force_mag) and not len(self.magnetic):
            raise ValueError("there are no magnetic atoms to train force_mag on; set it to (0, 0)")
        self.prefactors = wanted
        self.weights = (torch.ones(len(frames)) if weights is None else weights).to(device, dtype)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=spec.rate, foreach=True)

    def __call__(self, indices: Tensor, signs: Tensor, rate: float) -> Tensor:
        spec, device = self.spec, self.magnetic.device
        indices, signs = indices.to(device), signs.to(device, self.inputs[1].dtype)[:, None, None]
        positions, spins, cells = (x.index_select(0, indices) for x in self.inputs)
        positions, spins = positions.requires_grad_(), (signs * spins).requires_grad_()
        strain = positions.new_zeros(cells.shape).requires_grad_() if "virials" in self.labels else None
        energies = self.model.excess(positions, spins, cells, self.neighbours, strain)
        inputs = [positions, spins, *([] if strain is None else [strain])]
        slopes = torch.autograd.grad(energies.sum(), inputs, create_graph=True)
        atoms = positions.shape[1]
        ours = {"energies": energies, "forces": -slopes[0], "force_mags": -slopes[1] * signs}
        if strain is not None:
            ours["virials"] = -slopes[2]
        loss, squares, weights = energies.new_zeros(()), {}, self.weights.index_select(0, indices)
        for name, label in self.labels.items():
            start, limit = self.prefactors[name]
            wrong = ours[name] - label.index_select(0, indices)
            if name == "force_mags":
                wrong = wrong.index_select(1, self.magnetic)
            square = wrong.square().flatten(1).mean(1) if wrong.ndim > 1 else wrong.square()
            squares[name] = square.detach().mean()
            square = (weights * square).mean()
            prefactor = limit + (start - limit) * rate / spec.rate
            loss = loss + prefactor * square / (atoms if name in ("energies", "virials") else 1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        none = loss.new_full((), float("nan"))
        return torch.stack([squares.get("energies", none).sqrt() / atoms, squares.get("forces", none).sqrt(),
                            squares.get("force_mags", none).sqrt(), loss.detach()]).cpu()

    def state(self) -> dict[str, Tensor]:
        """Weights and the optimiser's averages, as a flat dict of tensors."""
        found = {"model." + name: value for name, value in self.model.state_dict().items()} | {"weights": self.weights}
        # By number: weights that no frame uses (a kind of neighbour that is not there) have no averages.
        for number, one in self.optimizer.state_dict()["state"].items():
            found |= {f"adam.{number}.{name}": value for name, value in one.items()}
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with the averages of what :meth:`state` gave; its model and weights were given to the constructor."""
        whole = self.optimizer.state_dict()
        for name, value in state.items():
            if name.startswith("adam."):
                _, number, key = name.split(".", 2)
                whole["state"].setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict(whole)


def train(frames: Frames, validation: Frames | None, model: ModelSpec, spec: TrainSpec, store: Store | None = None,
          device: str = "cpu", report: Callable[[str], None] | None = None) -> Trained:
    """Train a potential on ``frames``, or take it from the store.

    Computed in float32; derivatives of a float64 model are float64's. The same input gives the same bytes on the same
    machine, with the same number of threads. ``report`` gets a line a segment.

    Raises
    ------
    ValueError
        labels that are missing, moments on types that have none in ``model``, and :func:`find_neighbours`' reasons.
    RuntimeError
        a loss that is not finite; names the step.
    """
    check_is("frames", frames, Frames)
    check_is("validation", validation, Frames, type(None))
    check_is("model", model, ModelSpec)
    check_is("spec", spec, TrainSpec)
    check_is("store", store, Store, type(None))
    check_device(device)
    check_is("report", report, Callable, type(None))
    check_labels(frames, spec)
    store, folder = store or Store(), None
    for segment in range(spec.segments):
        def make(new: Path, segment: int = segment, before: Path | None = folder) -> None:
            _segment(new, before, segment, frames, validation, model, spec, device, report)
        folder = store.get(artifact(frames, validation, model, spec, segment), make)
    assert folder is not None  # there is at least one segment
    return Trained(model, folder)


def artifact(frames: Frames, validation: Frames | None, model: ModelSpec, spec: TrainSpec,
             segment: int = -1) -> dict[str, Any]:
    """What the artifact of a segment of a training (by default the last) depends on: its spec in the store."""
    return {"kind": "deepspin", "network": NETWORK, "model": model.spec(), "train": spec.spec(),
            "data": frames.digest(), "validation": validation and validation.digest(),
            "segment": segment % spec.segments}


def begin(model: DeepSpin, frames: Frames, tables: Neighbours, spec: TrainSpec) -> Tensor:
    """Normalise ``model``, silence its networks and fit its linear part: a training's start. Gives frames' weights."""
    model.normalise(frames, tables)
    for a in range(len(model.names)):
        model.atomic(a).silence()
    return fit_linear(model, frames, tables, spec.wanted(), spec.reversal, spec.seed)


def _segment(folder: Path, before: Path | None, segment: int, frames: Frames, validation: Frames | None,
             model_spec: ModelSpec, spec: TrainSpec, device: str,
             report: Callable[[str], None] | None) -> None:
    started = time.process_time()
    model = DeepSpin(model_spec, spec.seed)
    tables = neighbours_of(model, frames)
    model.to(device)
    state = None if before is None else safetensors.torch.load_file(before / "state.safetensors")
    if state is None:
        weights = begin(model, frames, tables, spec)
    else:
        weights = state["weights"]
        model.load_state_dict({name[6:]: value for name, value in state.items() if name.startswith("model.")})
    step = Step(model, frames, spec, tables, weights)
    history = np.zeros((0, 4), np.float32)
    measured: dict[str, list[Any]] = {"train": [], "validation": [], "seconds": []}
    if before is not None and state is not None:
        step.restore(state)
        history, measured = load_arrays(before / "history.npy"), read_json(before / "measured.json")
    order, signs = schedule(spec, len(frames))
    first, last = (spec.steps * k // spec.segments for k in (segment, segment + 1))
    losses = torch.empty(last - first, 4)
    for number in range(first, last):
        losses[number - first] = step(order[number], signs[number], float(spec.rates()[number]))
        if number % CHECKED == CHECKED - 1 or number == last - 1:
            _check(losses[:number - first + 1, 3], first, spec)
    if last == spec.steps and spec.steps:
        fit_linear(model, frames, tables, spec.wanted(), spec.reversal, spec.seed)
    measured["train"].append(errors(model, frames, tables))
    measured["validation"].append(None if validation is None else errors(model, validation))
    measured["seconds"].append(round(time.process_time() - started, 3))
    safetensors.torch.save_file(step.state(), folder / "state.safetensors")
    safetensors.torch.save_file({name: value.cpu().contiguous() for name, value in model.state_dict().items()},
                                folder / "weights.safetensors")
    save_arrays(folder / "history.npy", np.concatenate([history, losses.numpy()]))
    write_json(folder / "measured.json", measured)
    if report:
        found = measured["validation" if validation is not None else "train"][-1]
        where = f"step {last} of {spec.steps}" if spec.steps else "linear fit"
        report(f"{where}: {describe(found)} ({measured['seconds'][-1]:.0f} s)")


def check_labels(frames: Frames, spec: TrainSpec) -> None:
    """ValueError unless the frames have all labels that are to be trained on."""
    missing = [name for name, wanted in spec.wanted().items() if wanted and getattr(frames, name) is None]
    if missing:
        raise ValueError(f"frames must have {missing} to train on them; leave one out with prefactors (0, 0)")


def _check(losses: Tensor, first: int, spec: TrainSpec) -> None:
    finite = torch.isfinite(losses)
    if not bool(finite.all()):
        step = first + int(finite.long().argmin())
        raise RuntimeError(f"the training diverged: the loss is not finite at step {step}; lower rate ({spec.rate:g})")


def schedule(spec: TrainSpec, frames: int) -> tuple[Tensor, Tensor]:
    """Frame numbers (steps, batch), every frame once an epoch, and signs of the moments, all from the seed."""
    rng = np.random.default_rng(spec.seed)
    batch = min(spec.batch, frames)
    epochs = -(-spec.steps * batch // frames)
    order = np.array([rng.permutation(frames) for _ in range(epochs)], np.int64).ravel()[:spec.steps * batch]
    signs = rng.choice([-1.0, 1.0], (spec.steps, batch)) if spec.reversal else np.ones((spec.steps, batch))
    return torch.from_numpy(order.reshape(spec.steps, batch)), torch.from_numpy(signs)


def errors(potential: Potential, frames: Frames, neighbours: Neighbours | None = None) -> dict[str, float]:
    """Root mean square errors of a potential against labels, and the labels' own root mean squares.

    energy (eV/atom), force (eV/angstrom), force_mag (eV/mu_B, magnetic atoms: those with a moment in any frame), torque
    (eV, the same); for each of the last three also ``.._label``, the rms of the labels, and for the energy the standard
    deviation of the labels per atom. Missing labels are left out.
    """
    device, dtype = torch.device("cpu"), torch.float64
    if isinstance(potential, DeepSpin):
        device, dtype = potential.crowd.device, potential.crowd.dtype
    ours = evaluate(potential, frames, neighbours=neighbours, device=device, dtype=dtype)
    magnetic = torch.isin(frames.types, torch.tensor(frames.magnetic_types(), dtype=torch.int64))
    found = {}
    if frames.energies is not None:
        found["energy"] = _rms(ours.energies.cpu().double() - frames.energies) / frames.atoms
        found["energy_label"] = float(frames.energies.std(correction=0)) / frames.atoms
    pairs = {"force": (ours.forces, frames.forces)}
    if frames.force_mags is not None and bool(magnetic.any()):
        torques = torch.linalg.cross(frames.spins, frames.force_mags)
        pairs |= {"force_mag": (ours.force_mags[:, magnetic], frames.force_mags[:, magnetic]),
                  "torque": (ours.torques[:, magnetic], torques[:, magnetic])}
    for name, (mine, label) in pairs.items():
        if label is not None:
            found[name], found[name + "_label"] = _rms(mine.cpu().double() - label), _rms(label)
    return found


def describe(found: dict[str, float]) -> str:
    """One line of :func:`errors`."""
    parts = [f"E {1e3 * found['energy']:.3f} meV/atom"] if "energy" in found else []
    parts += [f"{name} {found[key]:.2e} {unit} ({found[key] / max(found[key + '_label'], 1e-30):.1%})"
              for name, key, unit in (("F", "force", "eV/A"), ("F_mag", "force_mag", "eV/mu_B")) if key in found]
    return ", ".join(parts)


def _rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())

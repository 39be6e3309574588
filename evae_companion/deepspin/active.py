r"""Active learning: which configurations to label, by the disagreement of a committee.

Potentials fitted to the same frames from different seeds agree where the data determines them and drift apart where
it does not: each has random features of its own, to which its linear part is fitted. One of them explores, by
spin-lattice dynamics with Langevin's thermostat at temperatures that rise from round to round; of every configuration
met,

.. math::
    \epsilon_F = \max_i \sqrt{\langle|F_i - \langle F_i\rangle|^2\rangle},
    \qquad \epsilon_m = \max_i \sqrt{\langle|F^\mathrm{mag}_i - \langle F^\mathrm{mag}_i\rangle|^2\rangle}

(averages over the committee) are compared with trust levels: below the low ones it is known already, above a high one
the dynamics has gone astray, in between it is a candidate. Some candidates are labelled and added, and all potentials
are fitted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames, concatenate
from evae_companion.deepspin.dynamics import Integrator, State, Thermostat, at_rest, heated
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.potential import Potential, evaluate, label, neighbours_of
from evae_companion.deepspin.training import TrainSpec, begin, check_labels
from evae_core.validation import check_count

KNOWN, CANDIDATE, ASTRAY = range(3)
TOLERANCE = 1e-4  # of the rotation of moments: what counts is which configurations are met, not a conserved energy


@dataclass(frozen=True)
class Trust:
    """Low and high levels of the deviations of F (eV/angstrom) and of F_mag (eV/mu_B)."""

    force: tuple[float, float] = (0.1, 1.0)
    force_mag: tuple[float, float] = (0.01, 0.1)

    def __post_init__(self) -> None:
        for name in ("force", "force_mag"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                raise ValueError(f"{name} must be (low, high) with 0 <= low < high, got {getattr(self, name)}")


@dataclass(frozen=True)
class Exploration:
    """Dynamics of every round: ``walkers`` runs of ``steps`` steps of ``dt`` (ps), one configuration kept ``every`` so
    many; ``temperatures`` (K), one a round; ``masses`` (g/mol), one a type."""

    temperatures: tuple[float, ...]
    masses: tuple[float, ...]
    walkers: int = 4
    steps: int = 200
    every: int = 10
    dt: float = 1e-3


@dataclass(frozen=True)
class ActiveSpec:
    """Every number of an active learning; ``labels`` a round at most; ``actively`` False: chosen at random instead,
    from all that exploration meets and that has not gone astray."""

    model: ModelSpec
    exploration: Exploration
    trust: Trust = field(default_factory=Trust)
    committee: int = 4
    labels: int = 8
    actively: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("committee", 2), ("labels", 1), ("seed", 0)):
            check_count(name, getattr(self, name), least)

    def spec(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return asdict(self) | {"model": self.model.spec()}


class Round(NamedTuple):
    """A round: number of frames trained on, the committee, and of the configurations met the deviations and kinds
    (KNOWN, CANDIDATE, ASTRAY); ``added`` of them were labelled."""

    frames: int
    committee: list[Any]
    force: Tensor
    force_mag: Tensor
    kinds: Tensor
    added: int


def deviations(committee: Sequence[Potential], frames: Frames) -> tuple[Tensor, Tensor]:
    """(F,) epsilon_F and (F,) epsilon_m of configurations: see the module."""
    neighbours = neighbours_of(committee[0], frames)
    found = [evaluate(potential, frames, neighbours=neighbours) for potential in committee]
    return _spread([one.forces for one in found]), _spread([one.force_mags for one in found])


def _spread(vectors: list[Tensor]) -> Tensor:
    """k of (F, N, 3) -> (F,)."""
    stacked = torch.stack(vectors)
    return (stacked - stacked.mean(0)).square().sum(-1).mean(0).sqrt().amax(-1)


def kinds(force: Tensor, force_mag: Tensor, trust: Trust) -> Tensor:
    """(F,) KNOWN where both deviations are below the low level, ASTRAY where one is at or above its high one."""
    levels = torch.tensor([trust.force, trust.force_mag], dtype=torch.float64)
    both = torch.stack([force, force_mag]).double()
    found = torch.where((both < levels[:, :1]).all(0), KNOWN, CANDIDATE)
    return torch.where((both >= levels[:, 1:]).any(0) | ~torch.isfinite(both).all(0), ASTRAY, found)


def choose(found: Tensor, spec: ActiveSpec, generator: torch.Generator) -> Tensor:
    """At most ``spec.labels`` indices, drawn among candidates, or (at random) among all that did not go astray."""
    pool = (found == CANDIDATE if spec.actively else found != ASTRAY).nonzero().ravel()
    return pool[torch.randperm(len(pool), generator=generator)[:spec.labels]].sort().values


def explore(potential: Potential, starts: Frames, temperature: float, plan: Exploration,
            generator: torch.Generator) -> Frames:
    """Configurations met by ``plan.walkers`` runs from ``starts`` (drawn at random). A run that diverges ends there,
    with what it met before: a poor potential may well drive atoms into one another."""
    found = []
    for start in torch.randint(0, len(starts), (plan.walkers,), generator=generator).tolist():
        one = starts[start:start + 1]
        bare = Frames(one.names, one.types, one.cells, one.positions, one.spins)

        def keep(integrator: Integrator, number: int) -> None:
            if number % plan.every == 0:
                found.append(integrator.state.frames)

        try:
            state: State = heated(at_rest(bare, plan.masses), temperature, generator)
            Integrator(potential, state, plan.dt, thermostat=Thermostat(temperature, friction=5.0),
                       generator=generator, tolerance=TOLERANCE).run(plan.steps, keep)
        except (RuntimeError, ValueError):  # diverged, or atoms overlap
            continue
    if not found:
        raise RuntimeError(f"no run from {plan.walkers} starts lasted {plan.every} steps at {temperature:g} K; begin "
                           "with more frames, a lower temperature or a shorter dt")
    return concatenate(found)


def fitted(frames: Frames, spec: ModelSpec, seed: int) -> DeepSpin:
    """A potential of random features: :mod:`.leastsquares` on all labels, its networks silent. Seconds, where a
    training takes minutes and gains little on these data. ValueError for missing labels."""
    plan = TrainSpec(seed=seed)
    check_labels(frames, plan)
    model = DeepSpin(spec, seed)
    begin(model, frames, neighbours_of(model, frames), plan)
    return model.double()


def learn(engine: Potential, first: Frames, spec: ActiveSpec,
          report: Callable[[str], None] | None = None) -> list[Round]:
    """Rounds at the exploration's temperatures, from ``first``, labelled frames; ``engine`` labels.

    A round that adds nothing (``actively``: no candidate is left at its temperature) leaves the committee as it is.
    The last round explores no more: its committee is trained on all.
    """
    frames, generator = first, torch.Generator().manual_seed(spec.seed)
    rounds: list[Round] = []
    committee: list[Any] = []
    for number, temperature in enumerate((*spec.exploration.temperatures, None)):
        if not rounds or rounds[-1].added:
            committee = [fitted(frames, spec.model, spec.seed + 1000 * k) for k in range(spec.committee)]
        if temperature is None:
            none = torch.zeros(0)
            rounds.append(Round(len(frames), committee, none, none, none, 0))
            break
        met = explore(committee[0], frames, temperature, spec.exploration, generator)
        force, force_mag = deviations(committee, met)
        found = kinds(force, force_mag, spec.trust)
        chosen = choose(found, spec, generator)
        rounds.append(Round(len(frames), committee, force, force_mag, found, len(chosen)))
        if report:
            share = [float((found == kind).double().mean()) for kind in (CANDIDATE, ASTRAY)]
            report(f"round {number + 1}, {temperature:g} K: {len(frames)} frames, {len(met)} configurations met, "
                   f"{share[0]:.0%} candidates, {share[1]:.0%} astray, {len(chosen)} added")
        if len(chosen):
            frames = concatenate([frames, label(engine, met[chosen])])
    return rounds


def tails(potential: Potential, frames: Frames) -> dict[str, float]:
    """Errors against labels over all atoms, |F - F_label| (eV/angstrom) and |F_mag - ..| (eV/mu_B): force_rms,
    force_95 (95th percentile), force_max, and the same of force_mag."""
    found = evaluate(potential, frames)
    if frames.forces is None or frames.force_mags is None:
        raise ValueError("frames must have forces and force_mags to compare with; see label()")
    result: dict[str, float] = {}
    for name, ours, true in (("force", found.forces, frames.forces),
                             ("force_mag", found.force_mags, frames.force_mags)):
        wrong = (ours - true).norm(dim=-1).flatten()
        result |= {f"{name}_rms": float(wrong.square().mean().sqrt()), f"{name}_95": float(wrong.quantile(0.95)),
                   f"{name}_max": float(wrong.max())}
    return result

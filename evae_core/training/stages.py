"""The stages of the sequential training, as plain descriptions: what is trained, from what, in which order.

The paper climbs beta from 1e-6 to 1, then starts from the beta = 1e-3 and the beta = 1e-4 model and climbs gamma from
1e-4 to 1e6 (Kwon et al., Advanced Science 2021).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import inf
from numbers import Real
from typing import Any

from evae_core.presets import Preset, TrainingOptions, VAEConfig
from evae_core.validation import check_count, check_is, check_number, check_numbers

CONTROLLED = 100.0  # gamma up to which a control is trained beside the sweep


@dataclass(frozen=True)
class Stage:
    """One stage: ``steps`` optimiser steps at fixed beta and gamma, from the weights of ``parent`` (None: random).

    learning_rate falls along a cosine to ``final_rate`` times itself within the stage (1: constant, the paper's).
    With ``translate`` every configuration is shifted by a random lattice vector of its own when it is drawn (periodic
    samples only); one shift for a whole batch makes the gradients much noisier.
    """

    beta: float
    gamma: float
    steps: int
    batch: int
    learning_rate: float
    final_rate: float
    translate: bool
    seed: int
    parent: Stage | None = None
    config: VAEConfig | None = None  # of the network; None: the paper's
    options: TrainingOptions | None = None  # None: the defaults

    def __post_init__(self) -> None:
        for name, most in (("beta", inf), ("gamma", inf), ("final_rate", 1.0)):
            check_number(name, getattr(self, name), 0.0, most, equal=True)
        check_number("learning_rate", self.learning_rate)
        for name, least in (("steps", 1), ("batch", 2), ("seed", 0)):
            check_count(name, getattr(self, name), least)
        check_is("translate", self.translate, bool)
        check_is("parent", self.parent, Stage, type(None))
        check_is("config", self.config, VAEConfig, type(None))
        check_is("options", self.options, TrainingOptions, type(None))

    def spec(self) -> dict[str, Any]:
        """Everything the stage adds to its data set, as plain JSON values."""
        own = {name: getattr(self, name) for name in ("beta", "gamma", "steps", "batch", "learning_rate",
                                                      "final_rate", "translate", "seed")}
        if self.config not in (None, VAEConfig()):
            own["config"] = asdict(self.config)
        if self.options not in (None, TrainingOptions()):
            own["options"] = asdict(self.options)
        return own | {"parent": self.parent and self.parent.spec()}

    def __str__(self) -> str:
        return f"seed {self.seed}, beta {self.beta:g}, gamma {self.gamma:g}"


def chained(rungs: Iterable[tuple[float, float, int]], preset: Preset, seed: int, parent: Stage | None = None,
            translate: bool | None = None) -> list[Stage]:
    """Stages one after the other from (beta, gamma, steps), each the parent of the next; the rest from the preset."""
    stages = []
    for beta, gamma, steps in rungs:
        rate = preset.learning_rate if parent else preset.first_rate
        parent = Stage(beta, gamma, steps, preset.batch, rate, preset.final_rate,
                       preset.translate if translate is None else translate, seed, parent, preset.config,
                       preset.options)
        stages.append(parent)
    return stages


def stage_schedule(preset: Preset, beta: float | None = None, seed: int = 0,
                   gammas: tuple[float, ...] | None = None) -> list[Stage]:
    """The stages of a ladder: of beta at gamma = 0 (``beta`` None), or of gamma from the model of one ``beta``.

    The gamma ladder's first stage has the beta ladder's stage as its parent; gamma = 0 itself is that parent. It climbs
    ``gammas``, by default the preset's.

    Raises
    ------
    ValueError
        a beta that the preset's beta ladder does not hold.
    """
    if not isinstance(preset, Preset):
        raise TypeError(f"preset must be a Preset, got {preset!r:.60}; use load_preset(name)")
    if beta is not None and (isinstance(beta, bool) or not isinstance(beta, Real)):
        raise TypeError(f"beta must be a number or None, got {beta!r:.60}")
    steps = [preset.first_steps] + [preset.beta_steps] * (len(preset.betas) - 1)
    betas = chained(zip(preset.betas, [0.0] * len(steps), steps, strict=True), preset, seed)
    if beta is None:
        return betas
    if beta not in preset.betas:
        raise ValueError(f"beta must be one of the preset's {preset.betas}, got {beta!r}")
    climbed = preset.gammas if gammas is None else check_numbers("gammas", gammas, 0.0)
    rungs = [(beta, gamma, preset.gamma_steps) for gamma in climbed]
    return chained(rungs, preset, seed, parent=betas[preset.betas.index(beta)])


def control_stages(preset: Preset, beta: float, seed: int = 0) -> list[Stage]:
    """The gamma ladder up to gamma = 100 with gamma = 0 instead: as much training, without the Hamiltonian.

    What differs between its last model and the one of gamma = 100 is due to gamma, not to the added steps.
    """
    if beta is None:
        raise TypeError("beta must be a number, got None: a control belongs to a gamma ladder")
    up = [stage for stage in stage_schedule(preset, beta, seed) if stage.gamma <= CONTROLLED]
    return chained([(beta, 0.0, stage.steps) for stage in up], preset, seed, parent=up[0].parent)


def confined_stages(preset: Preset, beta: float, seed: int = 0) -> list[Stage]:
    """A short way to collapse in an open sample: gamma = 0 from random weights, then five stages up to 1e5."""
    steps = preset.confined_steps
    rungs = [(beta, 0.0, 3 * steps), (beta, 100.0, steps), (beta, 1e3, steps), (beta, 3e3, steps),
             (beta, 1e4, steps), (beta, 1e5, steps)]
    return chained(rungs, preset, seed, translate=False)

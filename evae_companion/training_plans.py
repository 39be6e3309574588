"""All trainings of a preset: the beta and gamma sweeps of the notebooks, and which notebook needs which network."""

from __future__ import annotations

from dataclasses import replace

from evae_companion.data_specs import DataSpec, confined_spec, data_spec, ordered_schedule, rough_schedule
from evae_companion.presets import RunPreset
from evae_core.presets import TrainingOptions, VAEConfig
from evae_core.training.stages import Stage, chained, confined_stages, control_stages, stage_schedule

BETA = 1e-3  # of the networks in notebooks 4, 5 and 7
NOISE = (0.0, 1.0, 100.0)  # gammas of Fig. 3
WALK = (0.0, 1.0, 10.0, 100.0)  # gammas of Fig. 4
COLLAPSE = (500.0, 1000.0, 1500.0, 2000.0, 5000.0)  # gammas of Fig. 5A
SHORT = (1.0, 100.0, 500.0, 1e3, 2e3, 5e3, 1e4, 1e5)  # gammas of sweeps that only serve to find their critical gamma
START = (1000.0, 2000.0, 5000.0)  # gammas of the notebook to start with
CHOSEN = (100.0, 1e3, 2e3, 5e3, 1e4)  # gammas of the sweeps that ask what the training needs
LONG, TIMES = (100.0, 2000.0), (1, 4, 16)  # gammas whose stage is repeated with so many times the steps


Sweep = tuple[list[Stage], DataSpec]  # stages, and what they are trained on


def ladders(p: RunPreset) -> dict[str, Sweep]:
    """Return {name: sweep} of a preset's run. Every seed climbs the same sweeps on a data set of its own."""
    result: dict[str, Sweep] = {"start": (shortest(p), data_spec(p))}
    for seed in range(p.seeds):
        data = data_spec(p, seed)
        result[f"beta, seed {seed}"] = stage_schedule(p, seed=seed), data
        for beta in p.gamma_betas:
            result[f"gamma, beta {beta:g}, seed {seed}"] = stage_schedule(p, beta, seed), data
        result[f"control, beta {BETA:g}, seed {seed}"] = control_stages(p, BETA, seed), data
        for ny, nx in (*p.confined, *(() if seed else p.strip_trained)):
            result[f"confined {ny} x {nx}, seed {seed}"] = (
                confined_stages(p, BETA, seed), confined_spec(p, (ny, nx), seed))
    return result


def shortest(p: RunPreset) -> list[Stage]:
    """Return the sweep of the notebook to start with: the fewest stages that end in one state.

    Half a first stage at beta = 1e-3, then three gammas.
    """
    (first,) = chained([(BETA, 0.0, max(1, p.first_steps // 2))], p, seed=0)
    return [first, *chained([(BETA, gamma, p.gamma_steps) for gamma in START], p, 0, first)]


def orders(p: RunPreset, seed: int) -> dict[str, Sweep]:
    """Return the gamma sweep of one seed on four kinds of data: what decides onto which state a model collapses?

    Rough data come from a short annealing, nearly perfect lattices from over-relaxation and a full relaxation. The last
    kind also contains the lowest state known. The second is the data set of the preset's own run.
    """
    data, stages = data_spec(p, seed), stage_schedule(p, BETA, seed)
    perfect = replace(data, schedule=ordered_schedule(p))
    return {"rough": (stages, replace(data, schedule=rough_schedule(p))), "as the paper describes them": (stages, data),
            "nearly perfect lattices": (stages, perfect),
            "nearly perfect lattices with the lowest state": (stages, replace(perfect, lowest=None))}


def choices(p: RunPreset) -> dict[str, Sweep]:
    """Return a gamma sweep of seed 0 with each thing left out that this project adds to the paper's training.

    The first stage has a third of its steps, so that what only helps to leave random weights behind is seen.
    """
    p = replace(p, first_steps=max(1, p.first_steps // 3))
    bare = TrainingOptions(warm_up=False, fresh_adam=False)
    ours, network = p.options or TrainingOptions(), p.config or VAEConfig()
    variants = {
        "as it is": p, "no warm-up": replace(p, options=replace(ours, warm_up=False)),
        "Adam carried over between stages": replace(p, options=replace(ours, fresh_adam=False)),
        "log sigma^2 starts at 0": replace(p, config=replace(network, logvar_start=0.0)),
        "a constant learning rate": replace(p, final_rate=1.0)}
    variants["to the letter: all of these"] = replace(p, options=bare, config=replace(network, logvar_start=0.0),
                                                      final_rate=1.0)
    return {name: (stage_schedule(one, BETA, 0, CHOSEN), data_spec(p)) for name, one in variants.items()}


def lengths(p: RunPreset) -> dict[tuple[float, int], Sweep]:
    """Return {(gamma, n): sweep} of seed 0 whose last stage, at a gamma of LONG, takes n times the preset's steps."""
    result: dict[tuple[float, int], Sweep] = {}
    for number, stage in enumerate(stages := stage_schedule(p, BETA)):
        for times in TIMES if stage.gamma in LONG else ():
            result[stage.gamma, times] = [*stages[:number], replace(stage, steps=times * stage.steps)], data_spec(p)
    return result


def compared(p: RunPreset, beta: float, gammas: tuple[float, ...], seed: int = 0) -> list[Stage]:
    """Return the stages that notebooks 4 and 5 compare, in the order of ``gammas``, which begin with 0.

    gamma = 0 is the control: it starts from the same model of the beta sweep and is trained without the Hamiltonian for
    as many further steps as gamma = 100.
    """
    return [control_stages(p, beta, seed)[-1],
            *(stage for stage in stage_schedule(p, beta, seed) if stage.gamma in gammas)]


def collapsing(p: RunPreset) -> dict[str, Sweep]:
    """Return the gamma sweeps of notebook 6 by name: of every seed, at both betas."""
    return {f"β = {beta:g}, seed {seed}": (stage_schedule(p, beta, seed), data_spec(p, seed))
            for beta in p.gamma_betas for seed in range(p.seeds)}

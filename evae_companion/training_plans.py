"""All trainings of a preset: the beta and gamma sweeps of the notebooks, and which notebook needs which network."""

from __future__ import annotations

from dataclasses import replace

from evae_companion.data_specs import DataSpec, confined_spec, data_spec, ordered_schedule
from evae_companion.presets import RunPreset
from evae_core.training.stages import Stage, confined_stages, control_stages, stage_schedule

BETA = 1e-3  # of the networks in notebooks 4, 5 and 7
NOISE = (0.0, 1.0, 100.0)  # gammas of Fig. 3
WALK = (0.0, 1.0, 10.0, 100.0)  # gammas of Fig. 4
COLLAPSE = (100.0, 500.0, 1000.0, 2000.0, 5000.0)  # gammas of Fig. 5A
SHORT = (1.0, 100.0, 1e3, 2e3, 5e3, 1e4, 1e5)  # gammas of the sweeps that only serve to find their critical gamma


def ladders(p: RunPreset) -> dict[str, tuple[list[Stage], DataSpec]]:
    """Return {name: (stages, data set)} of every sweep of a preset's run, in the order of the notebooks."""
    data = data_spec(p)
    result = {f"beta, seed {seed}": (stage_schedule(p, seed=seed), data) for seed in range(p.seeds)}
    result |= {f"gamma, beta {beta:g}, seed 0": (stage_schedule(p, beta), data) for beta in p.gamma_betas}
    result[f"control, beta {BETA:g}"] = (control_stages(p, BETA), data)
    result |= {f"gamma, beta {beta:g}, seed {seed}": (stage_schedule(p, beta, seed), data)
               for seed in range(1, p.seeds) for beta in p.repeat_betas}
    for ny, nx in (*p.confined, *p.strip_trained):
        result[f"confined {ny} x {nx}"] = (confined_stages(p, BETA), confined_spec(p, (ny, nx)))
    return result | {f"{name}, beta {BETA:g}, seed 1": sweep for name, sweep in list(orders(p).items())[1:]}


def orders(p: RunPreset) -> dict[str, tuple[list[Stage], DataSpec]]:
    """Return one gamma sweep, that of seed 1, on three kinds of data: what decides onto which state a model collapses?

    Nearly perfect lattices come from over-relaxation and a full relaxation. The third kind also contains the lowest
    state known.
    """
    data = data_spec(p)
    perfect = replace(data, schedule=ordered_schedule(p))
    stages = stage_schedule(p, BETA, seed=1)
    return {"as the paper describes them": (stages, data), "nearly perfect lattices": (stages, perfect),
            "nearly perfect lattices with the lowest state": (stages, replace(perfect, lowest=None))}


def compared(p: RunPreset, beta: float, gammas: tuple[float, ...], seed: int = 0) -> list[Stage]:
    """Return the stages that notebooks 4 and 5 compare, in the order of ``gammas``, which begin with 0.

    gamma = 0 is the control: it starts from the same model of the beta sweep and is trained without the Hamiltonian for
    as many further steps as gamma = 100.
    """
    return [control_stages(p, beta, seed)[-1],
            *(stage for stage in stage_schedule(p, beta, seed) if stage.gamma in gammas)]


def collapsing(p: RunPreset) -> dict[str, list[Stage]]:
    """Return the gamma sweeps of notebook 6 by name: at both betas, and those repeated with every other seed."""
    return {f"β = {beta:g}, seed {seed}": stage_schedule(p, beta, seed)
            for seed in range(p.seeds) for beta in (p.repeat_betas if seed else p.gamma_betas)}

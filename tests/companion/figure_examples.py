"""One right call per figure function, and the data it draws: for the tests of figures, and of wrong arguments."""

from functools import partial

import numpy as np

from evae_companion import plotting
from evae_core.model import VAE, layer_shapes


def states(*leading, ny=8, nx=12, seed=0):
    spins = np.random.default_rng(seed).normal(size=(*leading, 3, ny, nx))
    return (spins / np.linalg.norm(spins, axis=-3, keepdims=True)).astype(np.float32)


def cosines(ny=8, nx=12, seed=0):
    return np.cos(np.random.default_rng(seed).exponential(0.1, (ny, nx))).astype(np.float32)


def ladder(n=5, **more):
    x = 10.0 ** np.arange(n)
    return {"label": "a ladder", "x": x, "reconstruction": 0.1 * x, "kl": 1 / x, "energy": -0.05 - 1e-3 * np.arange(n),
            "energy_generated": -0.04 - 3e-3 * np.arange(n)} | more


def collapse(**more):
    gamma = np.array([0.0, 1.0, 100.0, 1e4])
    return {"label": "run", "gamma": gamma, "mse": np.array([0.1, 0.1, 1e-2, 0.0]),
            "energy": np.array([-2.1, -2.15, -2.2, -2.225])} | more


def system(**more):
    return {"label": "run", "gamma": np.array([0.0, 1.0, 100.0, 1e4]), "mse": np.array([1.0, 0.5, 1e-2, 1e-5]),
            "excess": np.array([1.0, 0.1, 1e-2, 1e-4]), "data": (1e-3, 1e-2)} | more


FRONT = [("data", 0.9, 20.0, 1e-3), ("γ = 0", 0.2, 60.0, 0.04), ("γ = 1", 0.2, 50.0, 0.03)]
SAMPLES = {"energy": np.linspace(0, 0.1, 9), "theta": np.linspace(0, 0.1, 201), "charge": -np.arange(9.0)}
ENSEMBLE = {"energy": np.linspace(-2.1, -2, 9), "relaxed_energy": np.linspace(-2.2, -2.1, 9),
            "charge": -np.arange(9.0), "structure": 0.1 ** np.arange(7.0)}
EDGES = np.linspace(0, np.pi, 41)
DENSITY = np.exp(-EDGES[1:]) / (np.exp(-EDGES[1:]) * np.diff(EDGES)).sum()
CONFINED = [("square", {"best": (states(ny=8, nx=8), -2.1), "model": (states(ny=8, nx=8), -2.2)}),
            ("wire", {"best": (states(ny=4, nx=16), -2.0), "model": (states(ny=4, nx=16), -1.9)})]


def rival(label, **more):
    return {"label": label, "seconds": [0.1, 1.0], "updates": [1e5, 1e6], "mean": 2e-3,
            "lowest": [[1e-3, 2e-3, 3e-3], [0.0, 0.0, 1e-3]]} | more


BUDGET = [("box", [rival("annealing"), rival("network", once=True, mean_at=-1),
                   rival("network", once=False, updates=[0.0, 0.0])]), ("wire", [rival("annealing")])]
SIZES = {"size": [1.5, 2.0, 3.0], "skyrmions": [1, 2, 5], "energy": [-2.1, -2.15, -2.2], "trained_size": [2.0, 3.0],
         "trained_skyrmions": [2, 6], "trained_energy": [-2.15, -2.19], "agrees": [True, False]}
CARD = [{"id": "B1", "claim": "small losses", "here": "0.01", "verdict": "reproduced"},
        {"id": "C3", "claim": "two runs differ", "here": "one run only", "verdict": "not measured"}]


def pair(seed=0):
    return states(seed=seed), cosines(seed=seed)


CRITICAL = {"x": [1e-3, 1e-4], "kspace": [[3e3, 2e3], [1e3, np.nan]], "kl": [[3e3, 2e3], [1e3, np.nan]],
            "expected": [[1e3, 4e3], [1.5e3, 4.5e3]]}
POINTS = [(0.5, 0.0, "helix", True), (0.5, 0.5, "skyrmions", False), (0.6, 0.9, "uniform", True)]

FIGURES = {
    "critical_gammas": partial(plotting.critical_gammas, [("beta", CRITICAL), ("excess", CRITICAL)]),
    "what_collapses": partial(plotting.what_collapses, [1.0, 100.0, 1e4],
                              {"X_out": [1.0, 0.9, 0.0], "drawn": [0.5, 0.4, 1e-4]},
                              {"X_out": [1e-3, 1e-4, -1e-6]}, [1.0, 2.0, 30.0], 1e-2),
    "critical_fields": partial(plotting.critical_fields, [("gamma_c", [("D = 0.5", [0.0, 0.5], [1e3, np.nan])])]),
    "phase_diagram": partial(plotting.phase_diagram, [("one", POINTS), ("two", POINTS)],
                             [("a line", [0.5, 0.6], [0.2, 0.3]), ("a tick", [0.5], [0.7])]),
    "gallery": partial(plotting.gallery, states(5), list("abcde"), columns=3, arrows=0, title="five"),
    "gallery of one": partial(plotting.gallery, states(1), arrows=3),
    "annealing_watched": partial(plotting.annealing_watched, [1.0, 0.5, 0.0], states(3), {
        "temperature": np.linspace(1, 0, 9), "energy_per_spin": np.linspace(-1, -2, 9), "charge": -np.arange(9.0)}),
    "dataset_statistics": partial(plotting.dataset_statistics,
        np.linspace(-2.3, -2.2, 30), -np.arange(30.0), np.linspace(0, 0.3, 30), references={"ideal": -2.31}),
    "ladder_curves of beta": partial(plotting.ladder_curves, ladder(), xlabel="beta", data_energy=-0.055, lowest=-0.06,
        marks={"here": 10.0}, critical=(10, 100)),
    "ladder_curves of gamma": partial(plotting.ladder_curves,
        [ladder(), ladder(label="another", validation={k: ladder()[k] for k in ("reconstruction", "kl", "energy")})],
        xlabel="gamma", data_energy=-0.052, lowest=-0.06),
    "output_ladder": partial(plotting.output_ladder, states(), [(f"{i}", states(), states()) for i in range(9)],
                           wrap=7),
    "noise_reduction": partial(plotting.noise_reduction, pair(), [(f"{i}", pair(i), pair(9 + i)) for i in range(3)]),
    "noise_reduction of one": partial(plotting.noise_reduction, pair(), [("0", pair(1), pair(2))]),
    "theta_densities": partial(plotting.theta_densities, EDGES, {"out": {"0": DENSITY}, "generated": {"0": DENSITY}},
        data=DENSITY, scale="log"),
    "theta_densities, linear": partial(plotting.theta_densities, EDGES, {"0": DENSITY}, scale="linear"),
    "interpolation_energies": partial(plotting.interpolation_energies,
        {"a": np.arange(-9, 12), "b": np.arange(-12, 9)}, {"a": np.cos(np.arange(21.0)), "b": np.sin(np.arange(21.0))},
        references={"ideal": -1.2}, marks=[-2, 0, 2], window=5),
    "minimum_barrier": partial(plotting.minimum_barrier,
        {"merger": (np.arange(9.0), np.sin(np.arange(9.0) / 3)), "collapse": (np.arange(9.0), np.cos(np.arange(9.0)))},
        {"γ = 0": (np.arange(-9, 12), 9 + np.cos(np.arange(21.0)))}, window=8),
    "interpolation_frames": partial(plotting.interpolation_frames, states(2, 3), [-2, 0, 2], ["a", "b"],
        notes=[["31", "31", "30"]] * 2),
    "theta_maps of noise": partial(plotting.theta_maps, ["0", "1"],
        [(f"{i}", [pair(i), pair(3 + i)]) for i in range(3)]),
    "network, a drawing": partial(plotting.network, *layer_shapes(VAE(16)), states(ny=16, nx=16), states(ny=16, nx=16)),
    "inverse_mapping, a drawing": partial(plotting.inverse_mapping, states(2), states(5)),
    "reconstruction_pairs": partial(plotting.reconstruction_pairs,
        [(name, pair(), [("0\nMSE 0.1", pair(1)), ("100\nMSE 0.2", pair(2))]) for name in ("ideal", "interstitial")]),
    "collapse_states": partial(plotting.collapse_states, ["500", "5000"], {"1": states(2, 2), "2": states(2, 1)}),
    "collapse_measure": partial(plotting.collapse_measure,
        [collapse(), collapse(label="other", gamma_c=50.0)], threshold=1e-3, data=(-2.21, -2.2, -2.19),
        ideal_energy=-2.22),
    "collapse_measure, plain": partial(plotting.collapse_measure, collapse()),
    "confined_states": partial(plotting.confined_states, CONFINED),
    "confined_energies": partial(plotting.confined_energies,
        [{"label": "square", "annealed": [-2.1, -2.0], "relaxed": -2.11, "collapsed": -1.9},
         {"label": "wire", "annealed": [-2.1, -2.1], "relaxed": -2.05}]),
    "budget_curves": partial(plotting.budget_curves, BUDGET),
    "phase_strip": partial(plotting.phase_strip, [
        ("squares", [(states(ny=n, nx=n), f"{n}\n-1") for n in range(4, 24, 2)]),
        ("wires", [(states(ny=4, nx=20), "wide")])]),
    "strip_curves": partial(plotting.strip_curves, [("squares", SIZES), ("wires", SIZES | {
        key: [] for key in ("trained_size", "trained_skyrmions", "trained_energy", "agrees")})]),
    "still_frames": partial(plotting.still_frames, [(f"n = {n}", np.ones((8, 8 + n, 3)) * n / 3) for n in range(3)],
                            across=2),
    "score_card": partial(plotting.score_card, CARD, title="claims"),
    "quality_front": partial(plotting.quality_front, {"as generated": FRONT, "at rest": FRONT}),
    "quality_distributions": partial(plotting.quality_distributions, {"data": SAMPLES, "gamma 1": SAMPLES}),
    "ensemble_scores": partial(plotting.ensemble_scores, states(3), {"states": ENSEMBLE, "reference": ENSEMBLE}, -2.2),
    "systems_collapse": partial(plotting.systems_collapse,
        [system(), system(label="other", excess=[1.0, 0.1, 1e-3, 1e-9])], threshold=1e-2),
}

"""Calls that are right, as in calls.py, of what stands beside the E-VAE: formats, claims, figures, PEACE, DeepSPIN."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import tempfile
from pathlib import Path

import numpy as np
import torch
from call import Call


@functools.cache
def folder() -> Path:
    """Where the right calls read and write."""
    return Path(tempfile.mkdtemp(prefix="evae right calls "))


def listed(function):
    """A generator function that runs to its end when it is called."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        return list(function(*args, **kwargs))
    return call


def formats() -> dict[str, Call]:
    from evae_companion import io
    spins = torch.nn.functional.normalize(torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0)), dim=0)
    path = folder() / "a.ovf"
    io.save_state(path, spins)
    return {
        "write_ovf": Call(io.write_ovf, {"path": folder() / "b.ovf", "spins": spins, "representation": "text",
                                              "step": (1e-9, 1e-9, 1e-9), "title": "m", "desc": ()}),
        "read_ovf": Call(io.read_ovf, {"path": path, "segment": 0}),
        "save_state": Call(io.save_state, {"path": folder() / "c.npy", "spins": spins}),
        "load_state": Call(io.load_state, {"path": path})}


def claims() -> dict[str, Call]:
    from evae_companion import claims
    check = claims.Check("criterion", (1.0, 2.0), 0.5, True)
    result = claims.Result("B1", (check,))
    x, y = [1.0, 10.0, 100.0, 1000.0], [1.0, 1.0, 1e-3, 1e-4]
    table = {"beta": np.array(x), "gamma": np.array(x), "reconstruction": np.array(y), "kl": np.array(x),
             "energy": np.array(y), "energy_generated": np.array(y), "magnetisation": np.array(y),
             "kspace_mse": np.array(y), "data_kspace_mse": 1.0, "data_energy": -2.0}
    beta = table | {"beta": np.array([1e-5, 1e-4, 1e-3, 1e-2]), "validation": {"reconstruction": np.array(y)}}
    angles = dict.fromkeys(("median", "peak", "height", "deformed", "near"), y)
    run = table | {"energy": -2.0, "defects": 0.0, "best_data": -1.0, "energy_per_spin": np.array(y)}
    path = {key: np.ones((2, 3)) for key in ("height", "width", "start", "end", "extra", "change")}
    sample = {"kspace_mse": 0.5, "data_kspace_mse": 1.0, "lowest": 0.5}
    climb = {"gamma": x, "kl": x, "kspace_mse": y, "data_kspace_mse": 1.0}
    fall = {"beta": x, "kl": y, "kspace_mse": y, "data_kspace_mse": 1.0}
    claims.save(folder(), "right", [result])
    return {
        "Result": Call(claims.Result, {"id": "B1", "checks": (check,)}),
        "agreement": Call(claims.agreement, {"one": [result], "other": [result]}),
        "details": Call(claims.details, {"results": [result]}),
        "summary": Call(claims.summary, {"results": [result]}),
        "claims.save": Call(claims.save, {"folder": folder(), "notebook": "right", "results": [result]}),
        "claims.load": Call(claims.load, {"folder": folder()}),
        "card": Call(claims.card, {"folder": folder(), "small": True}),
        "counts": Call(claims.counts, {"results": [result]}),
        "table": Call(claims.table, {"results": [result]}),
        "critical": Call(claims.critical, {"x": x, "kspace_mse": y, "data_kspace_mse": 1.0, "lasting": False},
                         {"x": "shape"}, nan=True),
        "criticals": Call(claims.criticals, {"up": climb, "beta": fall, "latents": 3}, nan=True),
        "crossing": Call(claims.crossing, {"x": x, "y": y, "level": 0.1}, {"x": "shape"}, nan=True),
        "beta_by_kl": Call(claims.beta_by_kl, {"beta": x, "kl": y, "latents": 3}, {"beta": "shape"}, nan=True),
        "gamma_by_kl": Call(claims.gamma_by_kl, {"gamma": x, "kl": x}, {"gamma": "shape"}, nan=True),
        "beta_sweep": Call(claims.beta_sweep, {"ladders": [beta]}),
        "gamma_sweep": Call(claims.gamma_sweep, {"ladders": {1e-3: [table]}}),
        "claims.noise_reduction": Call(claims.noise_reduction, {"runs": [{"X_out": angles, "X'_out": angles}]}),
        "claims.latent_interpolation": Call(claims.latent_interpolation, {"runs": [path]}),
        "claims.collapse": Call(claims.collapse, {"runs": {1e-3: [run, run]}, "distances": [0.1]}),
        "claims.dataset": Call(claims.dataset, {"runs": [{"redundant": 0.1}]}),
        "claims.confined": Call(claims.confined, {"samples": {"square": [sample]}})}


def drawn() -> dict[str, Call]:
    """The figures: what they draw, but not how (titles, labels)."""
    from figure_examples import FIGURES, cosines, states

    from evae_companion import plotting
    ax = plotting.Figure().subplots()
    inside = {"magnetic": np.ones((8, 12), bool)}
    table = {
        "spin_rgb": Call(plotting.spin_rgb, {"spins": states()}),
        "spin_map": Call(plotting.spin_map, {"ax": ax, "spins": states(), "arrows": 2, "axes": "bar"}),
        "alignment_rgb": Call(plotting.alignment_rgb, {"cos_theta": cosines(), **inside}),
        "alignment_map": Call(plotting.alignment_map, {"ax": ax, "cos_theta": cosines(), "axes": "bar", **inside}),
        "plotting.save": Call(plotting.save, {"fig": plotting.Figure(), "folder": folder() / "figures", "name": "a",
                                              "caption": "A map.", "caption_file": True, "dpi": 20})}
    for example in FIGURES.values():
        right = inspect.signature(example.func).bind(*example.args, **example.keywords).arguments
        table.setdefault(f"plotting.{example.func.__name__}", Call(example.func, {
            name: value for name, value in right.items() if name not in ("title",)}))
    return table


def analysis() -> dict[str, Call]:
    """What is measured of low states and of sets of samples."""
    import evae_core
    from evae_companion import priors
    from evae_companion.analysis import (
        Search,
        certificate,
        certificate_search,
        forecast,
        judge,
        latent_directions,
        linear_theory,
        lowest_modes,
        luttinger_tisza,
        minimum_energy_path,
        order,
        saddle_point,
        sample_metrics,
        skyrmion_shapes,
        tempering,
    )
    from evae_companion.analysis.effective_temperature import effective_temperature
    H = evae_core.Hamiltonian(D=0.6, B=0.2)
    a = torch.nn.functional.normalize(torch.randn(7, 3, 8, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    between = sample_metrics.distances(a, a)
    easy = evae_core.Hamiltonian(D=0.0, B=0.1, K=0.5, boundary="open")
    up = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 2, 2).contiguous()
    box = {"H": H, "shape": (8, 8)}
    states = torch.nn.functional.normalize(torch.randn(6, 3, 16, 16), dim=1)
    model = evae_core.VAE(16, latent=2)
    model(states)  # one batch for the batch norms: a model that was never trained is refused
    mixture = {"weights": torch.ones(1), "means": torch.zeros(1, 2), "factors": torch.eye(2)[None]}
    flat = evae_core.textures.uniform((8, 8)).float().expand(3, -1, -1, -1)
    warm = evae_core.heat_bath(H, flat, 0.2, 5, device="cpu")
    chiral = evae_core.Hamiltonian(D=1.2, B=0.8)
    texture = evae_core.annealing.lbfgs_refine(chiral, evae_core.textures.skyrmions(chiral, (8, 8), [[3.5, 3.5]]))[0]
    quick = evae_core.Schedule(sweeps=2, overrelax=0, tolerance=1.0)
    short = Search(2, quick, rounds=1, kicks=2, warm_sweeps=2, keep=1)

    def certified(H, state, search=None, modes=4, device="auto"):  # the default searches for minutes
        return certificate(H, state, short if search is None else search, modes, device)

    return {
        "certificate": Call(certified, {"H": chiral, "state": texture, "search": short, "modes": 2, "device": "cpu"},
                            {"H": "state", "state": "shape"}),
        "certificate_search": Call(certificate_search, {"H": H, "quick": True, "seed": 0}),
        "judge": Call(judge, {"H": H, "states": a, "reference": a, "device": "cpu"},
                      {"H": "states", "states": "shape", "reference": "shape"}),
        "skyrmion_shapes": Call(skyrmion_shapes.skyrmion_shapes, {"spins": a, "periodic": True, "field": 0.2,
                                                                  "lattice_area": 5.0}),
        "redundancy": Call(skyrmion_shapes.redundancy, {"spins": a, "H": H, "tolerance": 0.05}),
        "share_near_minimum": Call(skyrmion_shapes.share_near_minimum, {
            "energies": [-2.0, -2.1], "rest_energies": [-2.0, -2.2], "tolerance": 1e-3}),
        "averaged_spectrum": Call(linear_theory.averaged_spectrum, {"spins": a, "H": H}),
        "forecast": Call(forecast, {"H": H, "shape": (16, 16), "states": 4, "schedule": quick, "seed": 0,
                                    "betas": [1e-3], "latents": 10, "device": "cpu"}),
        "effective_temperature": Call(effective_temperature, {"H": H, "spins": warm, "temperatures": [0.02, 2.0],
                                                              "sweeps": 5, "seed": 0, "device": "cpu"}),
        "Mixture": Call(priors.Mixture, mixture),
        "Mixture.sample": Call(priors.Mixture(**mixture).sample, {"n": 2}),
        "fit_priors": Call(priors.fit_priors, {"model": model.eval(), "spins": states, "seed": 0}),
        "pairs": Call(sample_metrics.pairs, {"a": a, "b": a}),
        "displacement": Call(sample_metrics.displacement, {"a": a, "b": a}),
        "manifold_measures": Call(sample_metrics.manifold_measures, {"real": between, "fake": between,
                                                                     "between": between, "k": 2}),
        "minimum_energy_path": Call(minimum_energy_path, {
            "H": easy, "start": up, "end": -up, "images": 5, "path": up[[0, 2, 1]][None], "tolerance": 1e-2,
            "max_steps": 200}, {"H": "start", "start": "shape", "end": "start"}),
        "saddle_point": Call(saddle_point, {
            "H": chiral, "start": texture, "end": flat[0].double(), "images": 7, "k": 2, "report": None},
            {"H": "start|charge", "start": "shape|charge", "end": "start"}),
        "latent_directions": Call(latent_directions, {"model": model.eval(), "z": torch.zeros(1, 2)}),
        "lowest_modes": Call(lowest_modes, {"H": easy, "state": up, "k": 2}, {"H": "state", "state": "shape"}),
        "lower_bound": Call(luttinger_tisza.lower_bound, box),
        "spirals": Call(luttinger_tisza.spirals, {**box, "n": 2}),
        "order": Call(order.order, {"H": H, "spins": a}, nan=True),
        "temperatures": Call(tempering.temperatures, {"T_low": 0.1, "T_high": 1.0, "sites": 64, "swap_rate": 0.3,
                                                      "heat_capacity": 1.0}, {"T_high": "T_low must be below"}),
        "Tempering": Call(tempering.Tempering, {**box, "runs": 2, "temperatures": [0.5, 1.0], "seed": 0,
                                                "overrelax": 1, "every": 2, "spins": None, "device": "cpu"})}


def peace() -> dict[str, Call]:
    from PIL import Image

    from evae_companion import peace
    optics = peace.Optics(crop=32, shape=(256, 256))
    sizes = np.linspace(100e-6, 400e-6, 8)
    law = peace.Law(optics, sizes)
    p = np.ones(8)
    cut = peace.Law(optics, sizes, np.arange(16.0))(p).numpy()
    image = next(peace.frames(optics, p, sizes, n=96, grains=50))
    Image.fromarray(np.asarray(image * 50).clip(0, 255).astype(np.uint8)).save(folder() / "a.png")
    shape = peace.Shape(count=16, nodes=16, width=8, blocks=1)
    few = peace.Training(steps=1, batch=4, pool=60)
    net = peace.train(optics, few, shape)
    peace.save([net], folder() / "net.safetensors")

    def tracker(optics, window):
        return peace.Tracker(optics, window)

    def train(optics, training, shape, start, device):  # the default trains for a minute
        return peace.train(optics, few if training is None else training, shape, start=start, device=device)

    warm = peace.Tracker(optics, method="nnls")
    return {
        "Optics": Call(peace.Optics, {"wavelength": 532e-9, "focal_length": 0.25, "beam_diameter": 4.8e-3,
                                      "pixel": 4.8e-6, "shape": (256, 256), "crop": 32, "size": "radius",
                                      "mask": np.ones((4, 4)), "mask_spacing": 1e-4}),
        "Law": Call(peace.Law, {"optics": optics, "sizes": sizes, "lags": np.arange(9.0), "device": "cpu"}),
        "Law.__call__": Call(law, {"p": p, "grains": 100.0, "coverage": 0.3}),
        "peace.autocorrelation": Call(peace.autocorrelation, {"frames": np.asarray(image)[None], "crop": 32,
                                                              "background": None, "camera_noise": 0.0},
                                      {"frames": "frame "}),
        "camera": Call(peace.camera, {"images": image, "photons": 100.0, "read": 0.1, "bits": 8, "exposure": 0.1,
                                      "seed": 0}),
        "peace.frames": Call(listed(peace.frames), {"optics": optics, "p": p, "sizes": sizes, "n": 64, "count": 1,
                                                    "grains": 50, "overlap": True, "step": None, "seed": 0,
                                                    "device": "cpu"},
                             {"n": "object plane", "sizes": "p must have shape"}),
        "read_images": Call(listed(peace.read_images), {"folder": folder()}),
        "estimate": Call(peace.estimate, {"autocorrelation": cut, "optics": optics, "lags": np.arange(16.0),
                                          "unit": "pixels", "frames": 100.0, "grains": None, "coverage": None,
                                          "overlap": True, "calibration": 0.01, "lag_zero": None,
                                          "method": "nnls", "networks": None, "tune": 0},
                         {"optics": "lags", "lags": "cut", "autocorrelation": "cut|lag 0"}),
        "Tracker": Call(tracker, {"optics": optics, "window": 20.0}),
        "Tracker.update": Call(warm.update, {"frame": np.asarray(image)}),
        "peace.train": Call(train, {"optics": optics, "training": few, "shape": shape, "start": net, "device": "cpu"}),
        "Training": Call(peace.Training, dataclasses.asdict(few)),
        "Shape": Call(peace.Shape, dataclasses.asdict(shape), {"high": "low must be below"}),
        "peace.save": Call(peace.save, {"nets": [net], "path": folder() / "net.safetensors"}),
        "peace.load": Call(peace.load, {"path": folder() / "net.safetensors", "device": "cpu"})}


def deepspin() -> dict[str, Call]:
    from evae_companion.deepspin import data, dynamics, model, neighbours, potential, reference, training
    fields = [[0.4]]
    lattice = {"names": ("Fe",), "magnetic": (True,), "depth": fields, "width": [[1.4]], "bond": [[2.8]],
               "exchange": [[0.01]], "shape": 0.2, "decay": 1.8, "dm": 0.0, "anisotropy": 0.0, "axis": (0.0, 0.0, 1.0),
               "landau": (0.0, 0.0), "film": (0.0, 0.0, 0.0), "field": (0.0, 0.0, 0.0),
               "cutoff": 4.0, "smooth_from": 3.5}
    iron = reference.SpinLattice(**lattice)
    positions = 2.8 * torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], dtype=torch.float64)
    plain = {"names": ("Fe",), "types": torch.zeros(4, dtype=torch.int64), "cells": 8.0 * torch.eye(3)[None],
             "positions": positions, "spins": torch.tensor([[[0.0, 0.0, 2.2]] * 4])}
    frames = potential.label(iron, data.Frames(**plain))
    labels = {name: getattr(frames, name) for name in ("energies", "forces", "force_mags")}
    labels["virials"] = torch.zeros(1, 3, 3)
    spec = model.ModelSpec(("Fe",), (0.1,), 4.0, 3.5, (4,), 2, 4, (4,), 0.01)
    train = training.TrainSpec(steps=1, batch=1, segments=1)
    state, generator = dynamics.at_rest(frames, [55.8]), torch.Generator().manual_seed(0)
    data.write_deepmd(frames, folder() / "deepmd")

    def train_anew(**arguments):  # without a store that remembers
        from evae_companion.store.store import Store
        with tempfile.TemporaryDirectory() as new:
            return training.train(store=Store(new), **arguments)

    right = "right"

    def write(frames, folder):
        with tempfile.TemporaryDirectory() as new:
            data.write_deepmd(frames, Path(new) / "right" if folder is right else folder)

    def run(steps, record):  # a large number is right, and takes its time
        return dynamics.Integrator(iron, state, 1e-3).run(min(steps, 3) if isinstance(steps, int) else steps, record)

    return {
        "Frames": Call(data.Frames, plain | labels,
                       {"cells": "cell", "virials": "cell", "types": "positions must have shape"}),
        "concatenate": Call(data.concatenate, {"parts": [frames, frames]}),
        "read_deepmd": Call(data.read_deepmd, {"folder": folder() / "deepmd"}),
        "write_deepmd": Call(write, {"frames": frames, "folder": right}),
        "from_dpdata": Call(data.from_dpdata, {"system": data.to_dpdata(frames)}),
        "to_dpdata": Call(data.to_dpdata, {"frames": frames}),
        "ModelSpec": Call(model.ModelSpec, {field.name: getattr(spec, field.name) for field in
                                            dataclasses.fields(spec)}, {"names": "scales"}),
        "DeepSpin": Call(model.DeepSpin, {"spec": spec, "seed": 0}),
        "TrainSpec": Call(training.TrainSpec, dataclasses.asdict(train)),
        "deepspin.train": Call(train_anew, {"frames": frames, "validation": None, "model": spec, "spec": train,
                                            "device": "cpu"}),
        "deepspin.errors": Call(training.errors, {"potential": iron, "frames": frames, "neighbours": None}),
        "evaluate": Call(potential.evaluate, {"potential": iron, "frames": frames, "virial": False, "neighbours": None,
                                              "dtype": torch.float64, "device": "cpu", "rows": None}),
        "label": Call(potential.label, {"potential": iron, "frames": frames, "virial": False}),
        "neighbours_of": Call(potential.neighbours_of, {"potential": iron, "frames": frames, "skin": 0.0}),
        "find_neighbours": Call(neighbours.find_neighbours, {"positions": frames.positions, "cells": frames.cells,
                                                             "types": frames.types, "cutoff": 4.0, "reach": (0.0,),
                                                             "skin": 0.0}, {"cutoff": "cut-off|cell"}),
        "SpinLattice": Call(reference.SpinLattice, lattice, {"cutoff": "smooth_from must be"}),
        "iron_like": Call(reference.iron_like, {"dm": 0.0, "anisotropy": 0.0, "cutoff": 4.0, "smooth_from": 3.5},
                          {"cutoff": "smooth_from must be"}),
        "Thermostat": Call(dynamics.Thermostat, {"temperature": 10.0, "friction": 1.0, "damping": 0.1}),
        "State": Call(dynamics.State, {"frames": frames, "velocities": state.velocities, "masses": state.masses}),
        "at_rest": Call(dynamics.at_rest, {"frames": frames, "masses": [55.8]}),
        "heated": Call(dynamics.heated, {"state": state, "temperature": 10.0, "generator": generator}),
        "Integrator": Call(dynamics.Integrator, {"potential": iron, "state": state, "dt": 1e-3, "lattice": True,
                                                 "spins": True, "thermostat": None, "generator": None, "skin": 0.3,
                                                 "tolerance": 1e-11}, {"thermostat": "generator"}),
        "Integrator.run": Call(run, {"steps": 1, "record": None},
                               {"record": "lambda|int()"})}

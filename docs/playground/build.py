"""The playground, a page that needs no kernel and no network, with the recorded decoders: ``make playground``.

The page's sources lie beside this file. This step writes what they need from data/recorded/desktop: the decoders, and
the numbers that the page shows. Weights are text in scripts, because a page opened from a folder may load scripts but
no other files.
"""

from __future__ import annotations

import base64
import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion import training_plans as plans
from evae_companion.analysis.latent_directions import jacobian
from evae_companion.data_specs import data_spec
from evae_companion.experiments.latent_interpolation import FRAMED
from evae_companion.presets import PRESETS
from evae_companion.sweeps import recorded_models
from evae_core import VAE, Hamiltonian
from evae_core.training.stages import Stage

HERE = Path(__file__).resolve().parent
SOURCES = ("index.html", "style.css", "spins.js", "decoder.js", "annealer.js", "page.js")
PRESET = PRESETS["desktop"]
AXES = 6  # sliders


def decoders() -> dict[str, tuple[Stage, VAE]]:
    """Return {name: (stage, network)} of the three recorded decoders, named as their files."""
    stages = {**{f"gamma_{stage.gamma:g}": stage for stage in plans.compared(PRESET, plans.BETA, FRAMED)},
              "collapsed": next(iter(plans.collapsing(PRESET).values()))[0][-1]}
    models = recorded_models(PRESET, list(stages.values()), data_spec(PRESET))
    return {name: (stage, model) for (name, stage), model in zip(stages.items(), models, strict=True)}


def response_axes(model: VAE, count: int = AXES) -> tuple[Tensor, Tensor]:
    """Return the directions of z (count, latent) along which the state at z = 0 changes most, and their shares.

    The eigenvectors of the response G = (dX/dz)^T (dX/dz), by central differences, largest eigenvalue first. The shares
    are those of the trace of G. Averaged over random z, no direction stands out, so the axes are those of one point.
    """
    change = jacobian(copy.deepcopy(model).double(), torch.zeros(model.latent, dtype=torch.float64)).flatten(1)
    values, vectors = torch.linalg.eigh(change @ change.T)
    axes = vectors.flip(1).T[:count]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return axes * largest.sign(), values.flip(0)[:count] / values.sum()  # an eigenvector's sign is arbitrary


def weights(model: VAE) -> tuple[bytes, bytes]:
    """Return the decoder's weights in half precision, as recorded, and its batch norms as scales and shifts.

    Both in the order in which ``decoder.js`` uses them; the last convolution's bias comes after the scales.
    """
    halves, scales = [], []
    for layer in [*model.decoder.dense, *model.decoder.convolutions]:
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            scales += [scale, layer.bias - layer.running_mean * scale]
        elif hasattr(layer, "weight"):
            halves.append(layer.weight)
    scales.append(model.decoder.convolutions[-1].bias)
    exact = torch.cat([tensor.detach().flatten() for tensor in halves])
    if not torch.equal(exact.half().float(), exact):
        raise ValueError("the decoder's weights are not those of a record in half precision")
    return _bytes(exact, "<f2"), _bytes(torch.cat([tensor.detach() for tensor in scales]), "<f4")


def _bytes(tensor: Tensor, dtype: str) -> bytes:
    return np.ascontiguousarray(tensor.numpy(), dtype).tobytes()


def record(found: dict[str, tuple[Stage, VAE]]) -> dict[str, Any]:
    """Return the numbers of the page: networks, couplings, axes and the cooling of the training data."""
    stage, model = found["gamma_100"]
    axes, shares = response_axes(model)
    config, schedule = model.config, data_spec(PRESET).schedule
    up = torch.zeros(3, *model.size, dtype=torch.float64)
    up[2] = 1
    return {
        "names": {name: ("collapsed" if name == "collapsed" else f"\u03b3 = {stage.gamma:g}")
                  for name, (stage, _) in found.items()},
        "gamma_collapsed": found["collapsed"][0].gamma,
        "shape": {"latent": config.latent, "hidden": config.hidden, "channels": [*config.filters[::-1], 3],
                  "size": model.size[0], "slope": config.slope},
        "beta": stage.beta, "D": PRESET.D, "B": PRESET.B, "lowest": PRESET.lowest,
        "uniform": float(Hamiltonian(D=PRESET.D, B=PRESET.B).energy_per_spin(up)),
        "axes": [[round(float(v), 6) for v in axis] for axis in axes], "share": float(shares.sum()),
        "cooling": {"T_start": schedule.T_start, "T_end": schedule.T_end, "sweeps": schedule.sweeps,
                    "quench": schedule.quench}}


def build(folder: Path) -> None:
    """Write the page into ``folder``, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in SOURCES:
        shutil.copyfile(HERE / name, folder / name)
    found = decoders()
    (folder / "record.js").write_text(f"const RECORD = {json.dumps(record(found))};\n", encoding="utf-8")
    for name, (_, model) in found.items():
        text = ", ".join(json.dumps(base64.b64encode(part).decode()) for part in weights(model))
        (folder / f"weights_{name}.js").write_text(f'received("{name}", {text});\n', encoding="utf-8")


if __name__ == "__main__":
    target = HERE.parents[1] / "build" / "playground"
    build(target)
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target / 'index.html'}, {size / 2**20:.1f} MiB")

"""Evaluation of a network after a stage: losses, generated states, reconstructions, and their relaxed energies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from evae_core.annealing import replicas_from
from evae_core.hamiltonian import Hamiltonian
from evae_core.losses import LOSSES, energy_loss, loss_of_energy
from evae_core.model import VAE
from evae_core.observables import kspace_mse, topological_charge
from evae_core.training.divergence import Diverged

if TYPE_CHECKING:
    from evae_companion.dataset import Data

EVALUATED = 500  # training configurations that are reconstructed, and generated states; of validation data all are
SAMPLES = 100  # states of each kind whose diversity is measured, as in the paper
SCALES = (0.5, 2.0, 4.0, 8.0)  # by which draws from the prior are stretched, to see what lies beyond it
RELAXED = 8  # states of each kind that are relaxed after a stage
REST, REST_SWEEPS = 1e-3, 10_000  # torque (J) at which that descent ends, and its most sweeps


@torch.no_grad()
def evaluate(model: VAE, data: Data, n: int = EVALUATED, seed: int = 0) -> dict[str, Any]:
    """Measure a network on up to ``n`` training configurations, all validation ones and ``n`` generated states.

    :class:`~evae_companion.trained.TrainedStage` lists the entries of the result. z is sampled as in training; batch
    norm uses its running averages.

    Raises
    ------
    Diverged
        an output of the network that is not finite.
    """
    H = data.spec.hamiltonian
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    result: dict[str, Any] = {}
    of_train: list[Tensor] = []  # X_out, mu and log sigma^2
    for spins, most in ((data.train, n), (data.validation, len(data.validation))):
        if not len(spins):
            continue
        number, sums, rows = min(most, len(spins)), torch.zeros(3), []
        for i in range(0, number, 100):
            part = spins[i:min(i + 100, number)].to(device)
            x_out, mu, logvar = model(part, generator)
            if not of_train:
                rows.append((x_out, mu, logvar))
            sums += len(part) * torch.stack(model.compute_losses(part, x_out, mu, logvar, H, 0.0, 0.0)[:3]).cpu()
        of_train = of_train or [torch.cat(parts) for parts in zip(*rows, strict=True)]
        result[spins.name] = dict(zip(LOSSES[:3], (sums / number).tolist(), strict=True))
    generated = torch.cat([model.generate(min(100, n - i), generator) for i in range(0, n, 100)])
    energies = _energies(H, generated)
    result["generated"] = {"energy": float(energies.mean()), "spread": float(energies.std()),
                           "best": float(energies.min()),
                           "magnetisation": float(generated[:, 2].sum((1, 2)).mean()) / model.sites,
                           "kspace_mse": kspace_mse(generated[:SAMPLES].cpu()),
                           "kspace_mse_complex": kspace_mse(generated[:SAMPLES].cpu(), complex=True)}
    of_data = loss_of_energy(H, data.train.statistics["energy"], data.spec.shape)
    result["data"] = {"energy": float(of_data.mean()), "best": float(of_data.min()),
                      "kspace_mse": kspace_mse(data.train[:SAMPLES]) if len(data.train) > 1 else float("nan")}
    x_out, mu, logvar = of_train
    if not bool(torch.isfinite(x_out).all() and torch.isfinite(generated).all()):
        raise Diverged("what the trained network gives is not finite")
    result["x_out"], result["x_mu"] = (_of_states(H, states) for states in (x_out, model.decode(mu[:SAMPLES])))
    z = torch.randn(SAMPLES, model.latent, generator=generator, device=device)
    result["scaled"] = [{"scale": scale} | _of_states(H, model.decode(scale * z)) for scale in SCALES]
    result["posterior"] = {"mean_square": float(mu.mean(0).square().mean()),
                           "variance": float((mu.var(0, correction=0) + logvar.exp().mean(0)).mean())}
    result["relaxed"] = {"x_out": at_rest(H, x_out[:RELAXED]), "generated": at_rest(H, generated[:RELAXED])}
    return result


def _energies(H: Hamiltonian, spins: Tensor) -> Tensor:
    """Return L_H of every state."""
    return torch.cat([energy_loss(H, one[None])[None] for one in spins])


def _of_states(H: Hamiltonian, spins: Tensor) -> dict[str, float]:
    """Return mean, spread and least L_H of states, and the k-space MSE of the first SAMPLES of them."""
    energies = _energies(H, spins)
    return {"energy": float(energies.mean()), "spread": float(energies.std(correction=0)),
            "best": float(energies.min()),
            "kspace_mse": kspace_mse(spins[:SAMPLES].cpu()) if len(spins) > 1 else float("nan")}


def at_rest(H: Hamiltonian, spins: Tensor) -> dict[str, Any]:
    """Relax states (n, 3, Ny, Nx); return their energies (E/N, J), charges, and the largest torque left (J)."""
    spins = spins.cpu().float()
    replicas = replicas_from(H, spins, device="cpu")
    torque = replicas.descend(REST, REST_SWEEPS)
    spins = replicas.spins().double()
    return {"energies": H.energy_per_spin(spins).tolist(), "torque": torque,
            "charges": topological_charge(spins, mask=H.mask, periodic=H.periodic_axes).tolist()}


def check_measured(measured: Mapping[str, Any]) -> None:
    """Raise :class:`Diverged` if a measurement after a stage, on data or on generated states, is not finite."""
    for of in ("train", "validation", "generated"):
        if not all(math.isfinite(value) for value in measured.get(of, {}).values()):
            raise Diverged(f"what the trained network gives ({of}) is not finite", losses=measured[of])

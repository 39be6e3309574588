r"""Learning the Hamiltonian of a film from energies and torques.

.. math::
    L = \langle\Delta\tau^2\rangle + p_e\,\langle(\Delta E/N)^2\rangle, \qquad \tau_i = S_i\times F^\mathrm{mag}_i

averaged over configurations, sites and components. Labels come from the explicit
:class:`~evae_core.hamiltonian.Hamiltonian`, which stands for a first-principles code: the potential sees energies and
torques of small periodic pieces and nothing of J, D and B. The pieces are cut out of annealed configurations, and of
the same disturbed: an E-VAE's outputs on its way are blends of several textures and rough, and a potential knows only
what it was shown. All pieces are used in every step, by L-BFGS with line search in float64: the problem is small and
badly conditioned (in a trial of five seconds Adam ended at a torque error of 39 %, L-BFGS at 7 %).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from evae_companion.deepspin.lattice import LatticeSpec, LatticeSpin, to_neel
from evae_core.hamiltonian import Hamiltonian
from evae_core.validation import check_count, check_number

VERSION = 1  # raise when model or loop change their results
AT_ONCE = 4  # configurations whose energy and gradient are found together: their maps stay in the processor's cache


class Labelled(NamedTuple):
    """Configurations (F, 3, Ny, Nx) in Neel's frame, energies (F,) in J, torques S x F_mag (F, 3, Ny, Nx) in J;
    float64."""

    spins: Tensor
    energies: Tensor
    torques: Tensor


@dataclass(frozen=True)
class LatticeTraining:
    """Every number of a potential's training.

    Parameters
    ----------
    steps : of L-BFGS.
    pieces, side : so many periodic pieces of side x side sites are learned from.
    energy : p_e.
    seed : of the choice and disturbance of the pieces and of the weights.
    """

    steps: int = 200
    pieces: int = 16
    side: int = 16
    energy: float = 10.0
    seed: int = 0
    model: LatticeSpec = field(default_factory=LatticeSpec)

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("pieces", 1), ("side", 2), ("seed", 0)):
            check_count(name, getattr(self, name), least)
        check_number("energy", self.energy, equal=True)

    def spec(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return asdict(self) | {"model": self.model.spec()}


def disturbed(spins: Tensor, generator: torch.Generator) -> Tensor:
    """Configurations (F, 3, Ny, Nx) blended with one another, shifted, and roughened; every fourth is as it was.

    S + x S' + a noise, brought to unit length: x from 0 to 1, a from 0.03 to 3, each its own for a configuration.
    """
    draw = (len(spins), 1, 1, 1)
    others = spins[torch.randperm(len(spins), generator=generator)]
    shifts = torch.randint(0, max(spins.shape[-2:]), (len(spins), 2), generator=generator).tolist()
    others = torch.stack([one.roll(shift, (-2, -1)) for one, shift in zip(others, shifts, strict=True)])
    rough = 10.0 ** (2.0 * torch.rand(draw, generator=generator) - 1.5)
    noise = rough * torch.randn(spins.shape, generator=generator)
    mixed = spins + torch.rand(draw, generator=generator) * others + noise
    kept = (torch.arange(len(spins)) % 4 == 0)[:, None, None, None]
    return torch.where(kept, spins, F.normalize(mixed, dim=1))


def pieces(spins: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A piece (F, 3, side, side) cut out of each configuration, anywhere; with periodic edges it is one of its own."""
    ny, nx = spins.shape[-2:]
    if side > min(ny, nx):
        raise ValueError(f"side must be at most {min(ny, nx)}, the configurations' own, got {side}")
    corners = torch.rand(len(spins), 2, generator=generator) * torch.tensor([ny - side + 1, nx - side + 1])
    return torch.stack([one[:, y:y + side, x:x + side]
                        for one, (y, x) in zip(spins, corners.long().tolist(), strict=True)])


def label(H: Hamiltonian, spins: Tensor) -> Labelled:
    """What a periodic Hamiltonian says of configurations (F, 3, Ny, Nx) in its own frame; returned in Neel's."""
    if not H.periodic:
        raise ValueError(f"H must be periodic, as the potential is, got boundary {H.boundary!r}")
    spins = F.normalize(spins.double(), dim=1)
    torques = torch.linalg.cross(spins, H.field(spins), dim=1)
    if H.dmi == "bloch":
        return Labelled(to_neel(spins), H.energy(spins), to_neel(torques))
    return Labelled(spins, H.energy(spins), torques)


def train(data: Labelled, spec: LatticeTraining) -> LatticeSpin:
    """A potential (float64) trained on ``data``.

    Raises
    ------
    RuntimeError
        the error is not finite.
    """
    sites = data.spins.shape[-2] * data.spins.shape[-1]
    potential = LatticeSpin(spec.model, spec.seed).double()
    potential.normalise(*data)
    weights = [value for value in potential.parameters() if value.requires_grad]
    optimizer = torch.optim.LBFGS(weights, max_iter=spec.steps, max_eval=2 * spec.steps, history_size=50,
                                  tolerance_grad=0.0, tolerance_change=0.0, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        energies, fields = potential.fields(data.spins.clone().requires_grad_(), create_graph=True)
        wrong = (torch.linalg.cross(data.spins, fields, dim=1) - data.torques).square().mean()
        total = wrong + spec.energy * ((energies - data.energies) / sites).square().mean()
        total.backward()
        return total

    if spec.steps:
        optimizer.step(loss)
    if not bool(torch.isfinite(last := loss().detach())):
        raise RuntimeError(f"the training diverged: its loss is {float(last)} after {spec.steps} steps")
    return potential.requires_grad_(False)


def errors(potential: LatticeSpin, data: Labelled) -> dict[str, float]:
    """Root mean square errors in J: energy (E/N), torque (components); and torque_label, the labels' own size."""
    sites = data.spins.shape[-2] * data.spins.shape[-1]
    wrong, wrong_energy = 0.0, 0.0
    for k in range(0, len(data.spins), AT_ONCE):
        spins, energies, torques = (x[k:k + AT_ONCE] for x in data)
        found, fields = potential.fields(spins)
        wrong += float((torch.linalg.cross(spins, fields, dim=1) - torques).square().sum())
        wrong_energy += float(((found - energies) / sites).square().sum())
    return {"energy": (wrong_energy / len(data.spins)) ** 0.5, "torque": (wrong / data.torques.numel()) ** 0.5,
            "torque_label": float(data.torques.square().mean().sqrt())}

r"""The linear part of a potential, fitted to all labels at once: where a training starts.

Energies are linear in the weights w of :attr:`AtomicEnergy.linear`, so forces and magnetic forces are, too:

.. math::
    E = \sum_k w_k\Phi_k, \quad F = -\sum_k w_k\,\partial\Phi_k/\partial R, \quad
    F^\mathrm{mag} = -\sum_k w_k\,\partial\Phi_k/\partial S, \qquad \Phi_k = \sum_i D_{ik}

and the best w solves a linear system, in float64, in one go. Gradient descent does not get there: the columns differ
in size by many orders and nearly cancel (in NiO atoms move by 0.002 angstrom and moments by an angle of order one, and
both count alike). Derivatives are taken forward, along one direction in the space of all positions or of all moments
at a time, for all weights together.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.model import DeepSpin
from evae_companion.deepspin.neighbours import Neighbours
from evae_companion.deepspin.potential import evaluate

ROWS = 20000  # derivatives used: all where there are fewer, random directions where there are more
NUMBERS = 5e7  # most numbers in the table of the linear system (400 MB)
ENERGY = 0.01  # weight of all energies against that of all derivatives
RIDGE = 1e-9  # of the mean square of a column
# Weights are expected to be of size PRIOR (eV, for columns of variance 1) where labels are met to a part NOISE of them.
# Without that some reach 10^4 eV and cancel to less than float32 resolves.
PRIOR, NOISE = 0.03, 0.03
PENALTIES = tuple(10.0**k for k in (0.0, 1.0, 2.0, 3.0, 4.5, 6.0, 7.5))  # multiples of that penalty to choose from
OUTLIER, ROUNDS, FOLDS = 3.0, 2, 4  # see _solve
CHUNK = 16  # directions at a time


@torch.no_grad()
def fit_linear(model: DeepSpin, frames: Frames, neighbours: Neighbours, wanted: Mapping[str, bool],
               reversal: bool = True, seed: int = 0) -> Tensor:
    """Set the linear weights to what brings energies, forces and magnetic forces nearest to the labels, with the
    networks as they are. Gives (F,) weights of the frames: 1, and less for outliers.

    ``wanted`` says which of energies, forces, force_mags count. ``reversal``: every frame counts with S -> -S and
    F_mag -> -F_mag too, so that the linear part is even in S. ``seed`` is of random directions.
    """
    for a in range(len(model.names)):
        model.atomic(a).linear.zero_()
    exact = copy.deepcopy(model).double()
    tables = neighbours.to(model.crowd.device, torch.float64)
    parts = [_table(exact, frames, tables, wanted, sign, 2 if reversal else 1, seed)
             for sign in ([1.0, -1.0] if reversal else [1.0])]
    A, b = (torch.cat([part[k] for part in parts], 1) for k in (0, 1))
    if not len(b[0]):
        return torch.ones(len(frames), dtype=torch.float64)
    w, weights = _solve(A, b)
    start = 0
    for first in tables.first_of_centres():
        linear = model.atomic(first.centre).linear
        linear.copy_(w[start:start + len(linear)] / model.scale)
        start += len(linear)
    if wanted["energies"] and frames.energies is not None:  # their mean was left out of the system
        counts = torch.bincount(frames.types, minlength=len(model.names)).double()
        left = frames.energies - evaluate(copy.deepcopy(model).double(), frames, neighbours=neighbours,
                                          device=model.crowd.device).energies.cpu()
        shift = float(weights @ left / weights.sum())
        model.bias += (shift * counts / counts.square().sum()).to(model.bias)
    return weights


def _solve(A: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """w (P,) and weights (F,) of A (F, rows, P) w = b (F, rows), regularised and robust.

    The penalty of large weights is the one of PENALTIES that serves best for frames left out of the fit, by the
    weighted mean of their residuals' sizes. Frames whose residual is more than OUTLIER times the median pull no harder
    than one at that size (Huber): among first-principles frames there are some whose electrons have not converged, and
    squares would let one decide.
    """
    size = A.flatten(0, 1).norm(dim=0)
    size.clamp_(min=1e-10 * float(size.max()))
    penalty = (NOISE / (PRIOR * size)).square()
    A, weights = A / size, A.new_ones(len(A))
    folds = [torch.arange(k, len(A), FOLDS, device=A.device) for k in range(min(FOLDS, len(A)))]
    for _ in range(ROUNDS):
        parts = []
        for fold in folds:
            G = A.new_zeros(len(size), len(size))
            for k in fold.tolist():
                G.addmm_(A[k].T, weights[k] * A[k])
            parts.append((G, torch.einsum("f,frp,fr->p", weights[fold], A[fold], b[fold])))
        G, right = (torch.stack(values).sum(0) for values in zip(*parts, strict=True))

        def solved(G: Tensor, right: Tensor, factor: float) -> Tensor:
            G = G.clone()
            G.diagonal().add_(RIDGE + factor * penalty)
            return torch.cholesky_solve(right[:, None], torch.linalg.cholesky(G))[:, 0]

        def left(fold: Tensor, w: Tensor) -> Tensor:
            return (b[fold] - A[fold] @ w).square().mean(1).sqrt()

        best = min(PENALTIES, key=lambda factor: float(torch.cat([
            weights[fold].sqrt() * left(fold, solved(G - part[0], right - part[1], factor))
            for fold, part in zip(folds, parts, strict=True)]).sum())) if len(folds) > 1 else PENALTIES[0]
        w = solved(G, right, best)
        sizes = torch.stack([(y - a @ w).square().mean().sqrt() for a, y in zip(A, b, strict=True)])
        weights = (OUTLIER * sizes.median() / sizes.clamp_min(1e-30)).clamp_max(1.0).square()
    return w / size, weights.cpu()


def _table(model: DeepSpin, frames: Frames, tables: Neighbours, wanted: Mapping[str, bool], sign: float, signs: int,
           seed: int) -> tuple[Tensor, Tensor]:
    """A (F, rows, P) and b (F, rows) of the frames with moments times ``sign``: labels in parts of their size."""
    device = model.crowd.device
    inputs = [x.to(device) for x in (frames.positions, sign * frames.spins, frames.cells)]
    centres = tables.first_of_centres()
    atoms = {"forces": torch.arange(frames.atoms), "force_mags": torch.isin(
        frames.types, torch.tensor([t for t, scale in enumerate(model.spec.scales) if scale])).nonzero().ravel()}
    labels = {name: getattr(frames, name) for name in atoms if wanted[name] and getattr(frames, name) is not None}
    width = sum(model.atomic(s.centre).linear.numel() for s in centres)
    rows = min(ROWS, NUMBERS / width) / (len(frames) * signs) / sum(3 * len(atoms[name]) for name in labels or atoms)
    generator = torch.Generator().manual_seed(seed)
    ours = evaluate(model, replace(frames, spins=sign * frames.spins), neighbours=tables, device=device)
    A, b = [A_none := torch.zeros(len(frames), 0, width, dtype=torch.float64, device=device)], [A_none[..., 0]]

    def features(positions: Tensor, spins: Tensor, cells: Tensor) -> Tensor:
        return torch.cat([model.atomic(s.centre).standard(model.descriptor(
            s.centre, tables.of_centre(s.centre), positions, spins, cells)).sum((0, 1)) for s in centres])

    for name, label in labels.items():
        count = 3 * len(atoms[name])
        number = max(1, min(count, int(rows * count)))
        directions = torch.eye(count).double() if number == count else (
            torch.randn(number, count, generator=generator).double() / number**0.5)
        along = torch.zeros(number, frames.atoms, 3, dtype=torch.float64)
        along[:, atoms[name]] = directions.unflatten(1, (-1, 3))
        along = along.to(device)
        size = float(label[:, atoms[name]].square().mean().sqrt()) or 1.0
        flip = sign if name == "force_mags" else 1.0
        A.append(-torch.stack([_slopes(features, [x[k:k + 1] for x in inputs], name, along)
                               for k in range(len(frames))]) / size)
        b.append(torch.einsum("fax,rax->fr", flip * label.to(device) - getattr(ours, name), along) / size)
    if wanted["energies"] and frames.energies is not None and len(frames) > 1:
        values = torch.stack([features(*(x[k:k + 1] for x in inputs)) for k in range(len(frames))])
        size = float(frames.energies.std()) or 1.0
        size /= (ENERGY * max(sum(part.shape[1] for part in b), 1)) ** 0.5
        energies = frames.energies.to(device) - ours.energies
        A.append((values - values.mean(0))[:, None] / size)
        b.append((energies - energies.mean())[:, None] / size)
    return torch.cat(A, 1), torch.cat(b, 1)


def _slopes(features: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: Sequence[Tensor], name: str,
            along: Tensor) -> Tensor:
    """(directions, P): derivatives of ``features`` along directions (.., N, 3) of positions or moments.

    The backward derivative is linear in what it starts from, v; its own derivative by v is the forward one.
    """
    with torch.enable_grad():
        positions, spins, cells = (x.detach().requires_grad_() for x in inputs)
        found = features(positions, spins, cells)
        v = torch.zeros_like(found, requires_grad=True)
        moving = positions if name == "forces" else spins
        backward, = torch.autograd.grad(found, moving, v, create_graph=True)
        return torch.cat([torch.autograd.grad(backward, v, part[:, None], retain_graph=True, is_grads_batched=True)[0]
                          for part in along.split(CHUNK)])

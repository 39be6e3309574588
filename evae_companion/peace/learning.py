r"""Training: synthetic distributions through the forward law with the law's noise, made on the fly.

.. math::
    \mathrm{loss} = L_1(\mathrm{CDF}_\mathrm{number}) + L_1(\mathrm{CDF}_\mathrm{volume})
      + w\,\langle|\,\mathrm{forward}(\mathrm{PSD})^{1/4} - |A|^{1/4}\,|\rangle + \mathrm{spread's}

The L1 distance of cumulative curves is the Wasserstein-1 distance in units of the grid's range. The second term needs
no label, so it trains on unlabelled images too (:func:`fine_tune`); it runs over the nodes where the noise is
less than half of the signal of a small grain. w = 0 is the network without physics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from evae_companion.peace import sizes as s
from evae_companion.peace.calibration import WIDEST, responses
from evae_companion.peace.inverse import kernel, whitening
from evae_companion.peace.network import BLIND, FINE, Shape, SizeNet
from evae_companion.peace.optics import Optics
from evae_companion.peace.reduction import Reduction, reduce_cut, reduce_image
from evae_core.validation import check_count, check_device, check_is, check_number, check_numbers

CLEAR = 0.5  # the physics term takes nodes with a standard deviation of P^2 below this


@dataclass(frozen=True)
class Training:
    """What a network is trained on and for how long."""

    steps: int = 20_000
    batch: int = 256
    rate: float = 2e-3  # the learning rate, falling along a cosine
    physics: float = 0.3  # w; 0: the network without physics
    pool: int = 120_000  # distributions, each seen with many draws of the noise
    frames: tuple[float, float] = (1.0, 1000.0)  # log-uniform: the speckle's noise
    grains: tuple[float, float] = (1e3, 1e7)  # independent grains in all frames, log-uniform: the surface's noise
    cuts: float = 0.3  # share of the batch that is one-dimensional cuts
    scales: float = 0.4  # share whose scale is uncertain, by a standard error log-uniform from 1e-4 to 0.02
    heights: float = 0.2  # share whose height is uncertain, likewise from 1e-4 to 0.03
    untold: float = 0.04  # share whose scale is wrong by up to 3 %, uniformly, and nothing is told
    labelled: int | None = None  # only so many distributions have labels; the rest train the physics term. None: all
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in (("steps", 10**9), ("batch", 10**6), ("pool", 10**8)):
            check_count(name, getattr(self, name), 1, most)
        check_count("seed", self.seed, 0, 2**63 - 1)
        check_number("rate", self.rate)
        check_number("physics", self.physics, equal=True)
        for name in ("cuts", "scales", "heights", "untold"):
            check_number(name, getattr(self, name), 0.0, 1.0, equal=True)
        if self.labelled is not None:
            check_count("labelled", self.labelled, 1, 10**8)
        for name in ("frames", "grains"):
            pair = check_numbers(name, getattr(self, name), count=2)
            if not 0 < pair[0] <= pair[1]:
                raise ValueError(f"{name} must be two numbers, 0 < least <= most, got {pair}")


class Given(NamedTuple):
    """A batch as a network is given it: ``squared``, ``spread``, ``beam2`` (batch, nodes), ``doubt`` (batch, 2), and
    ``right`` (batch,): 1 where scale and height are right, else 0."""

    squared: Tensor
    spread: Tensor
    doubt: Tensor
    beam2: Tensor
    right: Tensor


class Noise:
    """The noise of P^2 at the nodes: images and cuts, any number of frames, data that end at some node, wrong scales
    and heights. ``responses``: of images and of cuts, see :func:`~evae_companion.peace.calibration.responses`."""

    def __init__(self, image: Reduction, cut: Reduction, responses: Sequence[np.ndarray]):
        self.reductions = pair = (image, cut)
        self.factors = [[torch.from_numpy(factor(c)).float() for c in (r.speckle, r.surface)] for r in pair]
        self.variances = torch.from_numpy(np.stack([np.diag(c) for r in pair for c in (r.speckle, r.surface)])).float()
        self.beams = torch.stack([torch.from_numpy(r.beam2).float() for r in pair])
        self.responses = [torch.from_numpy(np.concatenate(list(b), 1)).float() for b in responses]

    def __call__(self, clean: Tensor, training: Training, generator: torch.Generator) -> Given:
        """What is given of clean P^2 (batch, nodes)."""
        n, nodes = clean.shape

        def some(share: float) -> Tensor:
            return torch.rand(n, generator=generator) < share

        def spread_between(low: float, high: float) -> Tensor:
            return low * (high / low) ** torch.rand(n, generator=generator)

        cut = some(training.cuts).long()
        doubt = torch.stack((torch.where(some(training.scales), spread_between(1e-4, 0.02), 0.0),
                             torch.where(some(training.heights), spread_between(1e-4, 0.03), 0.0)), 1)
        off = doubt * torch.randn(n, 2, generator=generator)
        untold = some(training.untold)
        off[:, 0] = torch.where(untold, 0.06 * torch.rand(n, generator=generator) - 0.03, off[:, 0])
        doubt[untold] = 0.0
        moved = self.moved(clean, off[:, 0].clamp(-WIDEST, WIDEST), cut) * (1 + off[:, 1:])
        noise, variance = torch.zeros(n, nodes), torch.zeros(n, nodes)
        for kind, limits in enumerate((training.frames, training.grains)):
            low, high = (math.log(x) for x in limits)
            scale = torch.exp(-low - (high - low) * torch.rand(n, 1, generator=generator))  # of the variance
            draws = torch.randn(n, nodes, generator=generator) * scale.sqrt()
            noise += torch.where(cut[:, None] == 0, draws @ self.factors[0][kind].T, draws @ self.factors[1][kind].T)
            guess = torch.exp(0.4 * torch.randn(n, 1, generator=generator))  # the noise is itself estimated
            variance += self.variances[2 * cut + kind] * scale * guess
        spread = variance.clamp(min=0).sqrt()
        ends = torch.where(some(0.2), torch.randint(nodes // 2, nodes, (n,), generator=generator), nodes)
        gone = torch.arange(nodes) >= ends[:, None]
        return Given(torch.where(gone, 1.0, moved + noise), torch.where(gone, BLIND, spread), doubt, self.beams[cut],
                     (off == 0).all(1).float())

    def moved(self, clean: Tensor, off: Tensor, cut: Tensor) -> Tensor:
        """P^2 (batch, nodes) as the reduction finds it with scales wrong by ``off`` (batch,)."""
        n, nodes = clean.shape
        given = torch.cat((torch.ones(n, 1), clean - 1), 1)
        image, line = ((given @ b).reshape(n, -1, nodes) for b in self.responses)
        change = torch.where(cut[:, None, None] == 0, image, line)
        powers = off[:, None] ** torch.arange(change.shape[1])
        return clean + (change * powers[..., None]).sum(1)


def factor(covariance: np.ndarray) -> np.ndarray:
    """F with F F^T = covariance, negative eigenvalues of rounding left out."""
    scale = np.sqrt(np.diag(covariance).clip(0))
    scale = np.maximum(scale, 1e-12 * scale.max())
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return scale[:, None] * vectors * np.sqrt(np.maximum(values, 0))


def basis(noise: Noise, clean: Tensor) -> Tensor:
    """(nodes, nodes): the noise of a typical image whitened, then turned to the principal axes of clean P^2 (n, nodes).

    Rounded to half precision, in which weights are kept: any basis near this one serves as well, but not another
    later."""
    white = whitening(noise.reductions[0].covariance(200, 1e6))
    _, _, axes = np.linalg.svd((clean.double().numpy() - 1) @ white.T, full_matrices=False)
    return torch.from_numpy(FINE * axes @ white).half().float()


def noise_of(optics: Optics, shape: Shape) -> Noise:
    """The noise of an optics' image and of a cut at whole pixels, at a network's nodes."""
    nodes = shape.node * np.arange(1, shape.nodes + 1)
    lags = np.arange(optics.crop // 2)
    pair = reduce_image(optics, optics.crop, nodes), reduce_cut(optics, lags, nodes)
    radii, rng = np.linspace(shape.low, shape.high, shape.count), np.random.default_rng(0)
    p = np.concatenate([s.draw(kind, 150, radii, rng) for kind in s.TRAINED])
    return Noise(*pair, [responses(optics, made, at, p, radii) for made, at in zip(pair, (None, lags), strict=True)])


def physics_term(net: SizeNet, area: Tensor, squared: Tensor, spread: Tensor, beam2: Tensor) -> Tensor:
    """Mean over the clear nodes of | (|M|^2 P^2)^(1/4) - |A|^(1/4) |, one number a row."""
    clear = (spread < CLEAR).float()
    made, seen = (torch.clamp(beam2 * x, min=1e-10) ** 0.25 for x in (net.coherence2(area), squared.abs()))
    return ((made - seen).abs() * clear).sum(-1) / clear.sum(-1).clamp(min=1)


def losses(net: SizeNet, given: Given, number: Any, volume: Any, weight: float, labels: int | None = None,
           ) -> tuple[Tensor, dict[str, Tensor]]:
    """The total to minimise, the mean over the network's rounds, and its parts by name, of the last round; only the
    first ``labels`` rows have labels (None: all)."""
    totals = []
    for found in net.answers(given.squared, given.spread, given.doubt):
        wrong = torch.stack([(a - b)[:labels].cumsum(-1).abs()
                             for a, b in ((found.number, number), (found.volume, volume))], -2)
        physics = physics_term(net, found.area, given.squared, given.spread, given.beam2)
        physics = (physics * given.right).sum() / given.right.sum().clamp(min=1)
        spread = found.spread[:labels]
        honest = (wrong.detach() / spread + spread.log()).mean()  # least where spread = expected |error|
        parts = {"number": wrong[:, 0].mean(), "volume": wrong[:, 1].mean(), "physics": physics}
        totals.append(parts["number"] + parts["volume"] + weight * physics + 2e-3 * honest)
    return torch.stack(totals).mean(), parts


def pool(training: Training, radii: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
    """The training distributions: shares by number and by volume, (pool, s) float32, of radii in m."""
    rng = np.random.default_rng(seed)
    each = math.ceil(training.pool / len(s.TRAINED))
    p = np.concatenate([s.draw(kind, each, radii, rng) for kind in s.TRAINED])
    return torch.from_numpy(p).float(), torch.from_numpy(s.weighted(p, radii, s.VOLUME)).float()


def train(optics: Optics, training: Training | None = None, shape: Shape | None = None, *, start: SizeNet | None = None,
          device: Any = "cpu", report: Any = None) -> SizeNet:
    """A network trained from random weights, or on from a copy of ``start``, of which ``shape`` may differ in its
    rounds, for an optics; ``report(step, parts)`` is called every 500 steps.

    Same optics, training, start and device: same weights.
    """
    check_is("optics", optics, Optics)
    check_is("training", training, Training, type(None))
    check_is("shape", shape, Shape, type(None))
    check_is("start", start, SizeNet, type(None))
    check_device(device)
    check_is("report", report, Callable, type(None))
    training, shape = training or Training(), shape or (start.shape if start else Shape())
    shape = replace(shape, beam=optics.beam_diameter if optics.mask is None else None)
    if start is not None and replace(shape, rounds=start.shape.rounds) != start.shape:
        raise ValueError(f"shape must be that of start, {start.shape}, but for its rounds, or None, got {shape}")
    if training.pool < shape.nodes:
        raise ValueError(f"training.pool must be at least the nodes of shape, {shape.nodes}, got {training.pool}")
    torch.manual_seed(training.seed)
    net = (SizeNet(shape) if start is None else start.with_rounds(shape.rounds)).to(device).train()
    noise, generator = noise_of(optics, shape), torch.Generator().manual_seed(training.seed)
    number, volume = pool(training, net.radii.numpy(), training.seed)
    area = s.weighted(number, net.ratio.cpu(), s.AREA)
    optimiser = torch.optim.AdamW(net.parameters(), lr=training.rate, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.rate, training.steps, pct_start=0.1)
    kernel_t = net.kernel.cpu().T
    if start is None:
        net.basis.copy_(basis(noise, (area[:5000] @ kernel_t) ** 2))
    if shape.rounds:
        net.averaging.copy_(noise.responses[0][:, :shape.nodes].half())
    known = torch.randperm(len(number), generator=generator)[:training.labelled]
    for step in range(training.steps):
        rows = known[torch.randint(len(known), (training.batch,), generator=generator)]
        if training.labelled is not None:  # as many again without labels
            rows = torch.cat((rows, torch.randint(len(number), (training.batch,), generator=generator)))
        given = Given(*(x.to(device) for x in noise((area[rows] @ kernel_t) ** 2, training, generator)))
        total, parts = losses(net, given, number[rows].to(device), volume[rows].to(device), training.physics,
                              None if training.labelled is None else training.batch)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if report is not None and (step + 1) % 500 == 0:
            report(step + 1, {name: float(value.detach()) for name, value in parts.items()})
    return net.eval()


def fine_tune(nets: Sequence[SizeNet], squared: Any, spread: Any, beam2: Any, doubt: Any = None, *, steps: int = 100,
              rate: float = 1e-4) -> list[SizeNet]:
    """Copies of networks, trained on unlabelled data by the physics term alone: only their first layer and blocks move.

    Parameters
    ----------
    squared, spread : (n, nodes) P^2 of measurements and its standard deviation; beam2 (nodes,) or (n, nodes).
    doubt : (n, 2) standard errors of scale and height; None: exact.
    """
    squared, spread, beam2 = (torch.as_tensor(np.array(x), dtype=torch.float32) for x in (squared, spread, beam2))
    doubt = torch.as_tensor(np.zeros((len(squared), 2)) if doubt is None else np.array(doubt), dtype=torch.float32)
    tuned = [deepcopy(net).train() for net in nets]
    for net in tuned:
        device = net.ratio.device
        seen = torch.isfinite(squared)
        y, noise = (torch.where(seen, x, away).to(device) for x, away in ((squared, 1.0), (spread, BLIND)))
        optimiser = torch.optim.Adam([*net.first.parameters(), *net.blocks.parameters()], lr=rate)
        for _ in range(steps):
            area = net(y, noise, doubt.to(device)).area
            loss = physics_term(net, area, y, noise, beam2.to(device)).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        net.eval()
    return tuned


def squared_of(p: Any, radii: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Clean P^2 (..., nodes) float64 of shares by number p (..., s) at radii in m."""
    return (s.weighted(np.asarray(p), np.asarray(radii), s.AREA) @ kernel(nodes, radii).T) ** 2

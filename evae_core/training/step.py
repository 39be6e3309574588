"""One optimiser step, in the form that suits the device: plain torch, layers in C++ (fused), or for a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from evae_core.losses import EnergyModel, Losses
from evae_core.model import VAE, check_size
from evae_core.presets import VAEConfig
from evae_core.training import fused as passes
from evae_core.training.numerics import numerics, pick_device
from evae_core.validation import check_choice, check_is, check_number, check_seed, say_once

# float32 everywhere but in a GPU's matrix products and convolutions, where TF32 (10 bits of mantissa) is torch's own
# choice for convolutions too. bfloat16 is faster and coarser: ask for it. The losses are float32 in every case.
PRECISION = {"cpu": "float32", "cuda": "tf32"}
PRECISIONS = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "tf32", "bfloat16")}
# Lattice sites from which a single step uses the fused passes unless told otherwise: compiling them takes some 8 s,
# once per machine.
FUSED_SITES = 64 * 64


class Step:
    """One optimiser step on a batch, made by :func:`make_step`.

    ``mode``: ``"eager"`` (plain torch) or ``"compiled"`` (the fused passes); ``precision``: see PRECISIONS.
    """

    def __init__(self, model: VAE, hamiltonian: EnergyModel, beta: float, gamma: float, learning_rate: float,
                 seed: int, mode: str, precision: str):
        self.model, self.hamiltonian, self.beta, self.gamma = model, hamiltonian, beta, gamma
        self.mode, self.precision = mode, precision
        self.device = next(model.parameters()).device
        if mode == "compiled":
            passes.keep_memory()
        else:  # channels last is some 1.2x faster for convolutions with so few channels on a CPU
            cast(Any, self.model).to(memory_format=torch.channels_last)  # a form that torch's types leave out
        self.model.train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate, betas=(0.9, 0.999), fused=True)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def adam(self) -> dict[str, Tensor]:
        """Adam's moments and step counts of every weight, on the CPU."""
        return {f"{name}.{key}": value.detach().cpu().clone() for name, weight in self.model.named_parameters()
                for key, value in self.optimizer.state[weight].items()}

    def load_adam(self, moments: Mapping[str, Tensor]) -> None:
        """Go on from the moments that :meth:`adam` gave. ValueError: they are those of another network."""
        keys = ("step", "exp_avg", "exp_avg_sq")
        weights = dict(self.model.named_parameters())
        if set(moments) != {f"{name}.{key}" for name in weights for key in keys}:
            raise ValueError("adam must hold the moments of every weight of this network, from History.adam")
        for name, weight in weights.items():
            step, *both = (moments[f"{name}.{key}"].to(weight.device, copy=True) for key in keys)
            # In the memory layout of the weight: the fused Adam does not look at strides.
            self.optimizer.state[weight] = dict(zip(keys, (step, *(torch.empty_like(weight.detach()).copy_(moment)
                                                                   for moment in both)), strict=True))

    def __call__(self, batch: Tensor) -> Losses:
        """Update the weights once; return the losses of the batch (before the update), detached.

        Raises TypeError or ValueError for a batch that is not (n >= 2, 3, Ny, Nx) unit spins of the model's size.
        """
        self.model.check_batch(batch, self.hamiltonian)
        if len(batch) < 2:
            raise ValueError("batch must hold at least 2 configurations, batch norm needs a spread")
        return self.update(batch)

    def update(self, batch: Tensor) -> Losses:
        """The same for a batch known to be right: nothing is checked, nothing waits for the device."""
        batch = batch.to(self.device, non_blocking=True)
        with numerics(self.device, self.precision):
            losses = self.losses(batch)
            self.optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
            self.optimizer.step()
        return Losses(*(value.detach() for value in losses))

    def losses(self, batch: Tensor) -> Losses:
        """The losses of a batch on the step's device, with their graph."""
        model, H = self.model, self.hamiltonian
        # Without its cache autocast casts the weights anew in every step, as a captured step must.
        with torch.autocast(self.device.type, torch.bfloat16, self.precision == "bfloat16", cache_enabled=False):
            if self.mode == "compiled":
                return passes.losses(model, batch, H, self.beta, self.gamma, self.generator)
            batch = batch.contiguous(memory_format=torch.channels_last)
            x_out, mu, logvar = model(batch, self.generator)
        return model.compute_losses(batch, x_out, mu, logvar, H, self.beta, self.gamma)


def make_step(size: Any, hamiltonian: EnergyModel, beta: float, gamma: float, device: str = "auto", *,
              learning_rate: float = 1e-3, seed: int = 0, model: VAE | None = None, fused: bool | None = None,
              precision: str | None = None, report: Callable[[str], None] | None = None) -> Step:
    """Return ``step(batch) -> Losses``: one Adam step (betas 0.9, 0.999) of a new, or the given, model.

    ``step.model`` is the network, ``step.optimizer`` the optimiser.

    Parameters
    ----------
    size : lattice side or (Ny, Nx), multiples of 16; with a ``model``, its own size counts.
    hamiltonian : of L_H; its boundary is the model's.
    beta, gamma : weights of L_KL and L_H.
    seed : of the weights of a new model, and of the noise epsilon.
    fused : on a CPU, whether the passes of :mod:`evae_core.training.fused` are used; None: from 64 x 64 sites on
        and where they can be had (if not, ``report``, or standard error, gets one line). They give the same losses to
        rounding.
    precision : of convolutions and matrix products, one of PRECISIONS; None: PRECISION of the device. The fused
        passes convolve in float32 always.

    Raises
    ------
    TypeError, ValueError
        a size that is no multiple of 16, negative beta or gamma, an unusable device, an unknown precision.
    RuntimeError
        ``fused=True`` without a working C++ compiler, or for a network that the passes do not know.
    """
    for name, value in (("beta", beta), ("gamma", gamma), ("learning_rate", learning_rate)):
        check_number(name, value, 0.0, equal=True)
    if not isinstance(hamiltonian, EnergyModel):
        raise TypeError(f"hamiltonian must be a Hamiltonian, got {type(hamiltonian).__name__}")
    where = pick_device(device)
    check_is("fused", fused, bool, type(None))
    check_is("model", model, VAE, type(None))
    check_seed(seed)
    precision = PRECISION[where.type] if precision is None else precision
    check_choice("precision", precision, PRECISIONS[where.type])
    if fused and where.type == "cuda":
        raise ValueError("fused=True is for the CPU; on a GPU train_stage() captures the step as a CUDA graph")
    ny, nx = check_size(size) if model is None else model.size
    if model is None:
        model = new_model(size, hamiltonian, seed)
    single = next(model.parameters()).dtype == torch.float32
    if fused is None:
        wanted = where.type == "cpu" and single and ny * nx >= FUSED_SITES
        fused = wanted and fused_available(report, model)
    elif fused and (problem := passes.problem() or passes.why_not(model)):
        raise RuntimeError(f"fused=True: {problem}; use fused=None or False")
    if precision == "bfloat16" and where.type == "cpu" and not fused:
        raise ValueError('precision "bfloat16" on a CPU needs the fused passes; use fused=True')
    return Step(model.to(where), hamiltonian, beta, gamma, learning_rate, seed, "compiled" if fused else "eager",
                precision)


def fused_available(report: Callable[[str], None] | None = None, model: VAE | None = None) -> bool:
    """True where the fused passes can be had, and know the ``model`` where one is given; if not, one line why."""
    problem = passes.problem() or (None if model is None else passes.why_not(model))
    if problem:
        (report or say_once)(f"training steps run uncompiled, several times slower: {problem}")
    return problem is None


def new_model(size: Any, hamiltonian: EnergyModel, seed: int, config: VAEConfig | None = None) -> VAE:
    """A VAE for the Hamiltonian's boundary with random weights from ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(size, boundary=hamiltonian.boundary, config=config)

"""Linear theory of the two collapses: beta_c and gamma_c from the spectrum of the data, without any training.

Linear theory means a linear VAE, which is probabilistic PCA with a fixed noise. Let lambda_k be the eigenvalues of the
covariance C of the data, each state S of N sites taken as a vector of 3N numbers. A mode is used if lambda_k exceeds
N beta/2. It then costs beta (1 + log(2 lambda_k / (N beta))) / 2 of L_RC + beta L_KL instead of lambda_k / N. Hence

    beta_c = 2 lambda_1 / N,
    F(beta) = min (L_RC + beta L_KL) = sum_k of those costs over all modes,
    gamma_c = (L_RC(one state) - F(beta)) / (L_H(data) - L_H(one state)),

At gamma_c, reproducing the data, with outputs of exactly the L_H of the data, costs as much as giving it up for one
state. L_H(one state) is that of the best lattice, or of another lowest state. For L_RC(one state) two values are given:

* the least that any one output can have: that of the mean of the data, which no state of that energy has;
* that of the lowest state, in which the collapse ends.

**Normalisation.** The above is for L_RC per spin. As a mean over the 3N components it is a third:
L_RC/3 + beta L_KL + gamma L_H is a third of L_RC + 3 beta L_KL + 3 gamma L_H. So beta_c is a third, and gamma_c(beta)
is a third of gamma_c(3 beta). At equal beta/beta_c the ratio gamma_c/beta_c is the same; at equal beta nearly so, as
long as F(beta) is small against L_RC(one state).

**Few states.** lambda_1 is a convex function of C, and F, a minimum of costs that are linear in C, a concave one. The
covariance of a sample is right on average; hence its lambda_1 is too large on average, its F too small and its gamma_c
too large (Jensen). With n states of 3N numbers the effect is large: n - 1 modes must carry all of the variance. On a
periodic lattice the states that anneal from random spins are as likely in any place and, as far as H allows,
orientation. :func:`averaged_spectrum` takes the mean over all of these: C is then one 3x3 matrix per wave vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evae_companion.analysis.order import orientations, symmetries
from evae_core.hamiltonian import Hamiltonian, check_spins
from evae_core.validation import check_is


def spectrum(spins: Tensor) -> np.ndarray:
    """Return the eigenvalues, in descending order, of the covariance of configurations (n, 3, Ny, Nx) as vectors.

    There are at most n - 1.
    """
    flat = spins.double().flatten(1)
    flat = flat - flat.mean(0)
    gram = flat @ flat.T / (len(flat) - 1)
    return np.clip(torch.linalg.eigvalsh(gram).flip(0)[:-1].numpy(), 0, None)


def averaged_spectrum(spins: Tensor, H: Hamiltonian | None = None) -> np.ndarray:
    """Return the 3N eigenvalues, in descending order, of the covariance over all translations of (n, 3, Ny, Nx).

    It consists of one matrix per wave vector k, the mean over configurations of F_a(k) F_b(k)*, with the Fourier
    transform F of the components a and b. The mean that is subtracted is uniform. With ``H`` the average also includes
    the rotations and mirrors that leave the energy as it is (:func:`~evae_companion.analysis.order.symmetries`).
    """
    check_spins(spins)
    check_is("H", H, Hamiltonian, type(None))
    if spins.ndim != 4 or not len(spins):
        raise ValueError(f"spins must be (n, 3, Ny, Nx) with n >= 1, got shape {tuple(spins.shape)}")
    shape = spins.shape[-2:]
    kept = [0] if H is None else symmetries(H, shape)
    moments, mean = torch.zeros(*shape, 3, 3, dtype=torch.complex128), torch.zeros(3, dtype=torch.float64)
    for one in spins.double():
        copies = one[None] if H is None else orientations(H, one, kept)
        waves = torch.fft.fft2(copies, norm="ortho")
        moments += torch.einsum("nayx,nbyx->yxab", waves, waves.conj())
        mean += copies.mean((-2, -1)).sum(0)
    count = len(spins) * len(kept)
    moments, mean = moments / count, mean / count
    moments[0, 0] -= shape.numel() * torch.outer(mean, mean)
    return np.clip(torch.linalg.eigvalsh(moments).flatten().sort(descending=True).values.numpy(), 0, None)


def free_energy(eigenvalues: np.ndarray, sites: int, beta: float, latents: int) -> float:
    """Return F(beta) of linear theory: min (L_RC + beta L_KL) with ``latents`` latent variables."""
    saved = eigenvalues / sites
    used = (saved > beta / 2) & (np.arange(len(saved)) < latents)
    cost = beta / 2 * (1 + np.log(np.where(used, 2 * saved / beta, 1)))
    return float(np.where(used, cost, saved).sum())


def expected(theory: Mapping[str, Any], beta: float) -> tuple[float, float]:
    """Return gamma_c of linear theory, with the least L_RC of any one output and with that of the best lattice.

    ``theory`` holds eigenvalues, sites, latents, one_state (both L_RC) and excess (L_H of the data above one state).
    """
    used = free_energy(theory["eigenvalues"], theory["sites"], beta, theory["latents"])
    return tuple((one - used) / theory["excess"] for one in theory["one_state"])


def beta_c(eigenvalues: np.ndarray, sites: int, per_component: bool = False) -> float:
    """Return beta_c of linear theory, for L_RC per spin, or as a mean over the three components too."""
    return float(2 * eigenvalues[0] / sites) / (3 if per_component else 1)


def gamma_c(theory: Mapping[str, Any], beta: float, per_component: bool = False) -> tuple[float, float]:
    """Return :func:`expected` for L_RC per spin, or as a mean over the three components too."""
    of = 3 if per_component else 1
    least, lowest = expected(theory, of * beta)
    return least / of, lowest / of

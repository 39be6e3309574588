r"""Priors fitted after training: distributions of the latent vectors that a network gives its training states.

The paper decodes z ~ N(0, 1). The aggregated posterior, i.e. the vectors z = mu + sigma epsilon of all training states,
is another distribution. So N(0, 1) gives the decoder vectors on which it was not trained. A density fitted to the
aggregated posterior does not: ex-post density estimation (P. Ghosh et al., "From variational to deterministic
autoencoders", ICLR (2020)). "fitted" is one Gaussian with full covariance, "mixture" consists of several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from evae_companion.dataset import SpinSet, load_data
from evae_companion.store.artifact import require_meta
from evae_companion.store.store import Store
from evae_companion.trained import TrainedStage
from evae_core.hamiltonian import Hamiltonian, check_spins
from evae_core.model import MAX_STATES, PRIORS, VAE
from evae_core.training import checkpoint
from evae_core.validation import check_count, check_is, check_seed

VERSION = 1  # raise when fits change: older ones are then made again
COMPONENTS = 10  # Gaussians of the mixture, Ghosh et al.'s choice
STATES_EACH = 10  # training states a Gaussian at the least: with fewer, the mixture is a list of the training states
VECTORS_EACH = 50  # drawn for every latent variable, from several epsilon a state where there are few states
FILE = "priors.safetensors"


@dataclass(frozen=True, eq=False)
class Mixture:
    """Mixture of k Gaussians over latent vectors: z = means[c] + factors[c] epsilon, with c drawn by ``weights``.

    Attributes
    ----------
    weights : (k,), of sum 1.
    means : (k, latent).
    factors : (k, latent, latent), F of the covariances F F^T. All three are float32.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __post_init__(self) -> None:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in held.items():
            check_is(name, value, Tensor)
        shapes = [tuple(value.shape) for value in held.values()]
        k, latent = self.weights.numel(), self.means.shape[-1] if self.means.ndim else 0
        if shapes != [(k,), (k, latent), (k, latent, latent)] or not latent:
            raise ValueError("weights, means and factors must be (k,), (k, latent) and (k, latent, latent), got "
                             f"{shapes}")
        for name, value in held.items():
            if value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be finite and float32, got {value.dtype}")
        if bool((self.weights < 0).any()) or abs(float(self.weights.sum()) - 1) > 1e-3:
            raise ValueError(f"weights must be at least 0, with sum 1, got {self.weights.tolist()!r:.60}")

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n latent vectors (n, latent), on the device of ``generator``, which is the CPU by default."""
        check_count("n", n, 1, MAX_STATES)
        check_is("generator", generator, torch.Generator, type(None))
        device = torch.device("cpu") if generator is None else generator.device
        component = torch.multinomial(self.weights.to(device), n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, device=device)
        for c, (mean, factor) in enumerate(zip(self.means.to(device), self.factors.to(device), strict=True)):
            of = component == c
            z[of] = mean + z[of] @ factor.T
        return z


def fit_priors(model: VAE, spins: Tensor | SpinSet, seed: int = 0) -> dict[str, Mixture]:
    """Fit the priors "fitted" and "mixture" to the latent vectors of the training states, for ``model.priors``.

    Parameters
    ----------
    model : trained, in evaluation mode.
    spins : (n, 3, Ny, Nx) the training states, n >= 2.
    seed : of epsilon and of the fit's start.

    Raises
    ------
    TypeError, ValueError
        a model in training mode, spins that are not states of its size, a seed that is none.
    RuntimeError
        a model that was never trained, or that came without its encoder.
    """
    check_is("model", model, VAE)
    check_is("spins", spins, Tensor, SpinSet)
    check_seed(seed)
    if model.training:
        raise ValueError("model must be in eval mode; call model.eval() first")
    if isinstance(model.encoder, checkpoint.NoEncoder):
        raise RuntimeError("priors are fitted with the encoder, and this model came with its decoder alone; fit them "
                           "where the whole stage is in the store")
    # Every training step of every network counts here, whichever code runs it.
    if not any(int(norm.num_batches_tracked) for norm in model.modules()
               if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.num_batches_tracked is not None):
        raise RuntimeError("this model was never trained: its latent vectors say nothing about its training states; "
                           "train it or load its weights before priors are fitted")
    if len(spins) < 2:
        raise ValueError(f"spins must hold at least two training states, got {len(spins)}")
    z, n = latent_vectors(model, spins, seed), len(spins)
    return {"fitted": _fitted(z, 1, seed), "mixture": _fitted(z, max(1, min(COMPONENTS, n // STATES_EACH)), seed)}


@torch.no_grad()
def latent_vectors(model: VAE, spins: Tensor | SpinSet, seed: int = 0) -> np.ndarray:
    """Return z = mu + sigma epsilon of every state, (draws n, latent) float64: a sample of the aggregated posterior.

    There are as many draws of epsilon per state as give :data:`VECTORS_EACH` vectors per latent variable.
    """
    H, device = Hamiltonian(boundary=model.boundary), next(model.parameters()).device
    generator, heads = torch.Generator().manual_seed(seed), []
    for i in range(0, len(spins), 100):
        part = spins[i:i + 100]
        check_spins(part, unit=True, magnetic=H.mask)
        heads.append([head.cpu() for head in model.encode(part.to(device))])
    mu, logvar = (torch.cat(parts) for parts in zip(*heads, strict=True))
    draws = -(-VECTORS_EACH * model.latent // len(mu))
    noise = torch.randn(draws, *mu.shape, generator=generator)
    return (mu + (0.5 * logvar).exp() * noise).reshape(-1, model.latent).double().numpy()


def _fitted(z: np.ndarray, k: int, seed: int) -> Mixture:
    from sklearn.mixture import GaussianMixture  # here: it takes a second to import

    fit = GaussianMixture(k, max_iter=1000, random_state=seed % 2**32).fit(z)
    return Mixture(*(torch.from_numpy(values).float() for values in (
        fit.weights_, fit.means_, np.linalg.cholesky(fit.covariances_))))


def save_priors(path: Path, priors: Mapping[str, Mixture]) -> None:
    """Write priors as a safetensors file."""
    safetensors.torch.save_file({f"{name}.{field.name}": getattr(prior, field.name).contiguous()
                                 for name, prior in priors.items() for field in fields(prior)}, path)


def load_priors(path: Path) -> dict[str, Mixture]:
    """Read what :func:`save_priors` wrote. Raises ValueError for any other file, and RuntimeError if there is none."""
    if not path.is_file():
        raise RuntimeError(f"{path} is not there")
    state = checkpoint.read(path)
    names = [field.name for field in fields(Mixture)]
    held = [prior for prior in PRIORS if any(key.startswith(f"{prior}.") for key in state)]
    if not held or set(state) != {f"{prior}.{name}" for prior in held for name in names}:
        raise ValueError(f"{path} holds no priors, but {[*state]!r:.200}")
    try:
        return {prior: Mixture(*(state[f"{prior}.{name}"] for name in names)) for prior in held}
    except ValueError as error:
        raise ValueError(f"{path} holds no priors: {error}") from None


def attach(trained: TrainedStage, device: str = "cpu", store: Store | None = None,
           report: Callable[[str], None] | None = None) -> VAE:
    """Return the network of a stage with its priors, which are fitted now unless the store holds them.

    A fit is an artifact of its own beside the stage, whose spec stays as it is. Published networks and previews
    hold none.

    Raises
    ------
    NotRecorded
        in a preview.
    RuntimeError
        a stage of which only the decoder was kept.
    """
    check_is("trained", trained, TrainedStage)
    store, model = store or Store(), trained.model(device)

    def make(folder: Path) -> None:
        train = load_data(trained.data, store, device, report).train
        save_priors(folder / FILE, fit_priors(model, train))

    named = {name: getattr(trained.stage, name) for name in ("seed", "beta", "gamma")}  # for messages
    spec = {"kind": "prior", "version": VERSION, **named, "stage": require_meta(trained.folder)["spec"]}
    model.priors = load_priors(store.get(spec, make) / FILE)
    return model

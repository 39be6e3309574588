# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 · Noise reduction (Fig. 3A, 3B)
#
# A spin at rest is parallel to its local field $\mathbf h_i=-\partial E/\partial\mathbf S_i$. The angle between the two,
# $\cos\theta_i=\mathbf S_i\cdot\mathbf h_i/|\mathbf h_i|$, therefore shows site by site how far a texture is from being stable. The
# paper compares, at $\beta=10^{-3}$, the standard VAE ($\gamma=0$) with the E-VAE at $\gamma=1$ and 100: maps of the local
# correlation grow cleaner, and the density of θ sharpens and moves to zero, both for reconstructions $X_\mathrm{out}$
# and for generated states $X'_\mathrm{out}$.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
beta = 1e-3

# %%
import numpy as np
import torch
from IPython.display import Markdown

from evae_core import claims, load_preset, plotting, widgets
from evae_core.dataset import data_spec, load_data
from evae_core.observables import theta, theta_density
from evae_core.presets import figures_folder
from evae_core.training import climb, ladder

p = load_preset(preset)
figures = figures_folder(p)
spec = data_spec(p)
H = spec.hamiltonian

# %%
# NBVAL_CHECK_OUTPUT
gammas = (0.0, 1.0, 100.0)
print("columns: gamma =", ", ".join(f"{g:g}" for g in gammas))

# %% [markdown]
# The models are stages of the two ladders; they are loaded where notebooks 2 and 3 have run, and trained otherwise.

# %%
data = load_data(spec, device=device, report=print)
stages = [stage for stage in ladder(p, beta) if stage.gamma in gammas]
models = {t.stage.gamma: t.model() for t in climb([stages[0].parent, *stages] if stages[0].gamma else stages, spec,
                                                  device=device, report=print) if t.stage.gamma in gammas}
models[0.0] = climb([ladder(p, beta)[0].parent], spec, device=device)[0].model()

# %% [markdown]
# ## Fig. 3A
# One test state, its reconstruction and a generated state, each beside its map of θ.

# %%
def with_map(spins):
    return spins.numpy(), H.alignment(spins.double()).clamp(-1, 1).numpy()

def reconstruct(model, spins):
    with torch.no_grad():
        return model.decode(model.encode(spins)[0])

given = data.test[:1]
columns = [(f"γ = {g:g}", with_map(reconstruct(models[g], given)[0]),
            with_map(models[g].generate(1, torch.Generator().manual_seed(2))[0])) for g in gammas]
fig = plotting.noise_reduction(with_map(given[0]), columns)
plotting.save(fig, figures, "fig3a_noise_reduction")
fig

# %% [markdown]
# ## Fig. 3B
# The density of θ over all sites of many states.

# %%
n = min(p.samples, len(data.test))
outputs = {"X_out": {g: reconstruct(models[g], data.test[:n]) for g in gammas},
           "X'_out": {g: models[g].generate(n, torch.Generator().manual_seed(3)) for g in gammas}}
log_edges = theta_density(H, data.test[:1], bins=80, log=True, lowest=1e-4)[0]
panels = {name: {f"γ = {g:g}": theta_density(H, spins, bins=log_edges)[1] for g, spins in by_gamma.items()}
          for name, by_gamma in outputs.items()}
fig = plotting.theta_densities(log_edges, panels)
plotting.save(fig, figures, "fig3b_theta_densities")
fig

# %% [markdown]
# The training data themselves rest to a torque of $10^{-4}J$: their θ lie below $10^{-4}$ rad, left of this axis.
#
# ## What the paper claims
# Peaks are read from densities over linear bins of 0.25 degrees.

# %%
edges = np.radians(np.arange(0, 180.01, 0.25))
linear = {name: [theta_density(H, spins, bins=edges)[1] for spins in by_gamma.values()] for name, by_gamma in outputs.items()}
centres = (edges[1:] + edges[:-1]) / 2
median = {name: [float(theta(H, spins).median()) for spins in by_gamma.values()] for name, by_gamma in outputs.items()}
peak = {name: [float(centres[d.argmax()]) for d in densities] for name, densities in linear.items()}
height = {name: [float(d.max()) for d in densities] for name, densities in linear.items()}
results = claims.noise(gammas, median, peak, height)
Markdown(claims.save(figures, "04_noise_reduction", results))

# %% [markdown]
# ## Look around
# Another test state through the three models.

# %%
def one_state(index):
    spins = data.test[index:index + 1]
    return plotting.noise_reduction(with_map(spins[0]), [
        (f"γ = {g:g}", with_map(reconstruct(models[g], spins)[0]),
         with_map(models[g].generate(1, torch.Generator().manual_seed(index))[0])) for g in gammas])

widgets.explorer(one_state, index=range(min(50, len(data.test))))

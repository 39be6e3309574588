# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7 · Samples with edges (Note S2)
#
# Squares and a wire with open edges: bonds that would leave the sample do not exist, spins at the edge tilt, and
# skyrmions keep their distance from it. The paper's supporting note finds the collapse useful here too: it finds the
# lowest-energy state. (The note itself was not at hand; sizes are ours.) For each sample: annealed data, an E-VAE with
# zero padding taken up to $\gamma=10^5$, and the states it gives, compared with the best of all annealed states.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
beta = 1e-3

# %%
import torch
from IPython.display import Markdown

from evae_core import claims, load_preset, plotting, relax, widgets
from evae_core.dataset import confined_spec, load_data
from evae_core.observables import kspace_mse
from evae_core.presets import figures_folder
from evae_core.training import climb_all, confined_ladder

p = load_preset(preset)
figures = figures_folder(p)

# %%
# NBVAL_CHECK_OUTPUT
print("edges:", confined_spec(p, p.confined[0]).hamiltonian.boundary)
print("gamma climbs", ", ".join(f"{stage.gamma:g}" for stage in confined_ladder(p, beta)))

# %%
specs = {f"{'square' if ny == nx else 'wire'} {ny} x {nx}": confined_spec(p, (ny, nx)) for ny, nx in p.confined}
runs = dict(zip(specs, climb_all([confined_ladder(p, beta)] * len(specs), list(specs.values()), device=device, report=print),
                strict=True))

# %% [markdown]
# ## The states found

# %%
columns, bars, found = [], [], []
generated_states = {}
for name, spec in specs.items():
    H, data = spec.hamiltonian, load_data(spec, device=device)
    annealed = data.train.statistics["energy"]
    best = data.train[int(annealed.argmin())]
    generated = runs[name][-1].model().generate(p.samples, torch.Generator().manual_seed(6))
    energies = H.energy_per_spin(generated.double())
    state = generated[energies.argmin()]
    rest = relax(H, state)
    raw, low = float(energies.min()), float(H.energy_per_spin(rest.double()))
    generated_states[name] = generated
    columns.append((name, {"an annealed state": (data.train[0].numpy(), float(annealed[0])),
                           "best annealed": (best.numpy(), float(annealed.min())),
                           "E-VAE, lowest": (state.numpy(), raw), "the same, relaxed": (rest.numpy(), low)}))
    bars.append({"label": name, "annealed": annealed, "relaxed": low, "collapsed": raw})
    found.append({"name": name, "energy": raw, "relaxed": low, "best_annealed": float(annealed.min())})
    print(f"{name}: annealed {annealed.mean():.6f} ± {annealed.std():.6f} J, best of {len(annealed)} {annealed.min():.6f} J "
          f"(reached by {100 * (annealed < annealed.min() + 1e-6).mean():.1f} %); E-VAE lowest {raw:.6f} J, relaxed {low:.6f} J, "
          f"mean {float(energies.mean()):.6f} J; k-space MSE {kspace_mse(generated):.2g} against {kspace_mse(data.train[:100]):.2g} of the data")
fig = plotting.confined_states(columns)
plotting.save(fig, figures, "figS_confined_states")
fig

# %%
fig = plotting.confined_energies(bars)
plotting.save(fig, figures, "figS_confined_energies")
fig

# %% [markdown]
# ## What the paper claims

# %%
results = claims.confined(found)
Markdown(claims.save(figures, "07_confined_geometries", results))

# %% [markdown]
# ## Look around
# Generated states of each sample at the end of its training.

# %%
def states(sample):
    return plotting.gallery(generated_states[sample][:4].numpy(), columns=4, title=sample)

widgets.explorer(states, sample=list(specs))

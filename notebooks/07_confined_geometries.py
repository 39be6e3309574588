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
# zero padding taken up to $\gamma=10^5$, and the states it gives, compared with the best of all annealed states. Then the
# lowest state that an independent search finds, against the size of squares and wires, and whether the E-VAE agrees.

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
from evae_core.results import reading, strip
from evae_core.training import climb_all, confined_ladder

p = load_preset(preset)
figures = figures_folder(p)

# %%
# NBVAL_CHECK_OUTPUT
print("edges:", confined_spec(p, p.confined[0]).hamiltonian.boundary)
print("gamma climbs", ", ".join(f"{stage.gamma:g}" for stage in confined_ladder(p, beta)))

# %%
specs = {f"{'square' if ny == nx else 'wire'} {ny} x {nx}": confined_spec(p, (ny, nx)) for ny, nx in p.confined}
more = [confined_spec(p, shape) for shape in p.strip_trained]  # for the sizes below: trained at once, on all cores
climbed = climb_all([confined_ladder(p, beta)] * (len(specs) + len(more)), [*specs.values(), *more], device=device, report=print)
runs = dict(zip(specs, climbed, strict=False))

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
# ## The lowest state against the size
# Squares from 1.5 to 5 spacings of the bulk's skyrmions and wires of several widths, searched without the network as in
# notebook 8 (states by hand, cut lattices, annealings, basin hopping). "Lowest" means lower than every other state known to us. An
# E-VAE was trained for a few of these sizes only; sides must be multiples of 16 sites.

# %%
samples = strip(p, device=device)
kinds = {"squares": [s for s in samples if s.kind == "square"], "wires": [s for s in samples if s.kind == "wire"]}
titles = {"squares": "squares: side in spacings a of the bulk, number of skyrmions", "wires": "wires: width, number of skyrmions"}
fig = plotting.phase_strip([(titles[name], [(s.spins.numpy(), f"{s.size:.1f} a\n{s.skyrmions}") for s in of_kind])
                            for name, of_kind in kinds.items()])
plotting.save(fig, figures, "figS_confined_strip")
fig

# %%
trained = {title: [s for s in of_kind if s.agrees is not None] for title, of_kind in kinds.items()}
fig = plotting.strip_curves([(title, {
    **{key: [getattr(s, key) for s in kinds[title]] for key in ("size", "skyrmions", "energy")},
    "trained_size": [s.size for s in few], "trained_skyrmions": [s.relaxed_skyrmions for s in few],
    "trained_energy": [s.relaxed for s in few], "agrees": [s.agrees for s in few]}) for title, few in trained.items()])
plotting.save(fig, figures, "figS_confined_sizes")
fig

# %%
Markdown(reading.strip_table(samples))

# %% [markdown]
# Where an E-VAE was trained: the search's lowest state above, the E-VAE's lowest, relaxed, below. It is judged more kindly here
# than in claim S1: all generated states of its best stage are relaxed, and the lowest counts.

# %%
fig = plotting.confined_states([
    (f"{s.kind} {s.shape[0]} x {s.shape[1]}" + ("" if s.agrees else "\n(another state)"),
     {"lowest known": (s.spins.numpy(), s.energy), "E-VAE, relaxed": (s.state.numpy(), s.relaxed)})
    for s in samples if s.agrees is not None])
plotting.save(fig, figures, "figS_confined_agreement")
fig

# %% [markdown]
# ## Look around
# Generated states of each sample at the end of its training.

# %%
def states(sample):
    return plotting.gallery(generated_states[sample][:4].numpy(), columns=4, title=sample)

widgets.explorer(states, sample=list(specs))

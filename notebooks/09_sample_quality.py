# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9 · Sample quality against diversity
#
# *Two minutes on two cores the first time, at the laptop preset.*
#
# You will see how stable and how diverse generated states are along γ, as generated and relaxed. You will see whether
# they end in minima or at saddle points.
#
# States $X'_\mathrm{out}$ from random latent vectors at γ = 0, 1, 10, 100 and 1000 stand beside test states, which no
# network has seen. The distance of two states is the root mean square chord per spin, least over all translations. The
# ball of a state reaches to its fifth nearest neighbour in its own set.

# %% [markdown]
# * **Density**: the number of balls of training states in which a sample lies, over five; it is 1 for samples like the
#   data.
# * **Coverage**: share of training states whose ball holds a sample.
# * **Vendi score**: effective number of distinct states, from the eigenvalues of a translation-invariant kernel.
# * **S(k)**: total variation distance between the radial structure factors of samples and training states.
#
# All are measured as generated and *relaxed*, after descent to the nearest local minimum.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
beta = 1e-3

# %%
import numpy as np
from IPython.display import Markdown, display

from evae_companion import plotting, widgets
from evae_companion.experiments import report_tables, sample_quality, stability
from evae_companion.experiments.sample_quality import GAMMAS, STEPS
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset

p = load_preset(preset)
figures = figures_folder(p)

# %%
# NBVAL_CHECK_OUTPUT
print("sets: test data and gamma =", ", ".join(f"{g:g}" for g in GAMMAS))

# %%
sampled = sample_quality.run(p, beta, device=device)
for step in STEPS:
    display(Markdown(f"**{step.replace('at rest', 'relaxed')}**\n\n" + report_tables.quality_table(sampled, step)))

# %%
for name, way in sampled.way.items():
    print(f"{name}: {100 * way['same_charge']:.0f} % keep their charge when relaxed; "
          f"they move by {way['moved']:.3f} (chord per spin) and lose {way['lost']:.2g} J per spin")

# %% [markdown]
# ### Minima or saddle points
# The table gives the lowest eigenvalues of the energy's Hessian for a few $X_\mathrm{out}$ and $X'_\mathrm{out}$ along
# γ, relaxed to a torque of 1e-4 J or less. A negative eigenvalue says that the descent ended at a saddle point. The
# two translations of the texture are left out: the lattice of sites hardly pins them.

# %%
stable = stability.run(p, device=device)
Markdown(report_tables.stability_table(stable.table, stability.TOLERANCE))

# %% [markdown]
# ### Distributions
# The curves are shares of states (of sites for θ) below a value. The values are the energy per spin above the best
# commensurate lattice, the angle between spin and field, and the topological charge.

# %%
fig = plotting.quality_distributions({
    name.replace("gamma", "γ ="): values | {"energy": values["energy"] - sampled.ideal}
    for name, values in sampled.distributions.items()})
plotting.save(fig, figures, "sample_quality_distributions")
fig

# %% [markdown]
# ### The front
# Lower is more stable, right is more diverse. The star is where samples like the data would lie.

# %%
fig = plotting.quality_front({
    step.replace("at rest", "relaxed"): [
        (name.replace("gamma", "γ ="), m[step]["coverage"], m[step]["vendi"], m[step]["energy"] - sampled.ideal)
        for name, m in sampled.measures.items()] for step in STEPS})
plotting.save(fig, figures, "sample_quality_front")
fig

# %%
fig = plotting.gallery(
    np.concatenate([[sampled.states[name][k, 0].numpy() for name in sampled.names] for k in (0, 1)]),
    [*(name.replace("gamma", "γ =") for name in sampled.names), *["relaxed"] * len(sampled.names)],
    columns=len(sampled.names))
plotting.save(fig, figures, "sample_quality_states")
fig

# %% [markdown]
# ### What we see

# %%
low, high = (sampled.measures[f"gamma {g:g}"] for g in (0, 1000))
data = sampled.measures["data"]["at rest"]

# %%
for step in STEPS:
    a, b, d = low[step], high[step], sampled.measures["data"][step]
    print(f"{step.replace('at rest', 'relaxed')}: from gamma = 0 to 1000 E/N goes from "
          f"{a['energy'] - data['energy']:+.2g} to {b['energy'] - data['energy']:+.2g} J against the data's mean, "
          f"coverage from {a['coverage']:.2f} to {b['coverage']:.2f} ({d['coverage']:.2f} for test data), "
          f"Vendi score from {a['vendi']:.1f} to {b['vendi']:.1f} ({d['vendi']:.1f})")
way = [sampled.way[f"gamma {g:g}"] for g in (0, 1000)]
print(f"energy lost in relaxing falls by a factor {way[0]['lost'] / way[1]['lost']:.1f}; "
      f"{100 * way[0]['same_charge']:.0f} % keep their charge at gamma = 0, "
      f"{100 * way[1]['same_charge']:.0f} % at 1000")
better = [name for name in sampled.names[1:]
          if sampled.measures[name]["at rest"]["energy"] < data["energy"]]
print("relaxed, lower on average than the data:", ", ".join(better) or "none", "| as generated:",
      ", ".join(n for n in sampled.names[1:]
                if sampled.measures[n]["as generated"]["energy"] < data["energy"]) or "none")

# %% [markdown]
# A Vendi score above that of the data is no merit of samples as generated: distortions count as differences. Relaxed
# states differ in the arrangement of skyrmions alone.

# %% [markdown]
# ## Try this
# The widget shows generated states at each γ, and the states that they relax to. At which γ does relaxing change
# least?
#
# Next: [where it collapses, and does it carry over?](10_where_it_collapses.ipynb)

# %%
def pair(name):
    return plotting.gallery(sampled.states[name].flatten(0, 1).numpy(), ["as generated"] * 2 + ["relaxed"] * 2,
                            columns=4, title=name)

widgets.explorer(pair, name=list(sampled.states))

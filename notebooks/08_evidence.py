# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8 · Evidence
#
# How good are the samples, how different from each other, and does the collapse carry over to other Hamiltonians? The paper
# answers with pictures; this notebook with measures whose definitions stand in `evae_core.quality` and `evae_core.spirals`.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
beta = 1e-3

# %%
import numpy as np

from evae_core import claims, load_preset, plotting, systems, widgets
from evae_core.presets import figures_folder
from evae_core.results import other_systems, quality
from evae_core.results.other_systems import reading
from evae_core.results.sample_quality import GAMMAS, STEPS

p = load_preset(preset)
figures = figures_folder(p)

# %% [markdown]
# ## 3 · Sample quality against diversity
#
# States $X'_\mathrm{out}$ decoded from random latent vectors at γ = 0, 1, 10, 100 and 1000, beside test states, which no
# network has seen. Two states that differ by a translation count as one: their distance is the root mean square chord per spin,
# least over all translations. With balls that reach to the fifth nearest neighbour among the training states,
#
# * **precision**: share of samples that lie in the ball of some training state; **density**: in how many, over five;
# * **coverage**: share of training states whose ball holds a sample; **recall**: the same with the samples' balls;
# * **Vendi score**: the effective number of different states, from the eigenvalues of a translation-invariant kernel;
# * **MMD²**: squared maximum mean discrepancy between samples and training states in that kernel;
# * **S(k)**: total variation distance between the radial structure factors of samples and training states.
#
# All of it as generated and *at rest*, after descent to the nearest local minimum; and the way there: energy lost, distance
# moved, share that keeps its topological charge.

# %%
# NBVAL_CHECK_OUTPUT
print("sets: test data and gamma =", ", ".join(f"{g:g}" for g in GAMMAS))

# %%
found = quality(p, beta, device=device)
columns = ("precision", "density", "coverage", "recall", "vendi", "apart", "mmd", "structure", "energy_distance",
           "charge_distance")
for step in STEPS:
    print(f"{step:13}" + "".join(f"{name:>17}" for name in columns))
    for name in found.names:
        print(f"  {name:11}" + "".join(f"{found.measures[name][step][key]:17.4g}" for key in columns))
print("the way to rest: same charge, moved (chord per spin), energy lost (J per spin)")
for name, way in found.way.items():
    print(f"  {name:11} {100 * way['same_charge']:5.0f} %  {way['moved']:.3f}  {way['lost']:.2g}")

# %% [markdown]
# ### Distributions
# Energy per spin above the best commensurate lattice, angle between spin and field, topological charge: shares of states (of
# sites for θ) below a value.

# %%
fig = plotting.quality_distributions({
    name: values | {"energy": values["energy"] - found.ideal} for name, values in found.distributions.items()})
plotting.save(fig, figures, "fig8_distributions")
fig

# %% [markdown]
# ### The front
# Stability upwards is downwards in energy; diversity to the right. The star is where samples like the data would lie.

# %%
fig = plotting.quality_front({
    step: [(name.replace("gamma", "γ ="), m[step]["coverage"], m[step]["vendi"], m[step]["energy"] - found.ideal)
           for name, m in found.measures.items()] for step in STEPS})
plotting.save(fig, figures, "fig8_front")
fig

# %%
fig = plotting.gallery(np.concatenate([[found.states[name][k, 0].numpy() for name in found.names] for k in (0, 1)]),
                       [*found.names, *["at rest"] * len(found.names)], columns=len(found.names))
plotting.save(fig, figures, "fig8_samples")
fig

# %% [markdown]
# ### What it says

# %%
low, high = (found.measures[f"gamma {g:g}"] for g in (0, 1000))
data = found.measures["data"]["at rest"]
for step in STEPS:
    a, b, d = low[step], high[step], found.measures["data"][step]
    print(f"{step}: from gamma = 0 to 1000 E/N goes from {a['energy'] - data['energy']:+.2g} to "
          f"{b['energy'] - data['energy']:+.2g} J against the data's mean, coverage from {a['coverage']:.2f} to "
          f"{b['coverage']:.2f} ({d['coverage']:.2f} for test data), Vendi score from {a['vendi']:.1f} to {b['vendi']:.1f} "
          f"({d['vendi']:.1f})")
way = [found.way[f"gamma {g:g}"] for g in (0, 1000)]
print(f"energy lost on the way to rest falls by a factor {way[0]['lost'] / way[1]['lost']:.1f}; "
      f"{100 * way[0]['same_charge']:.0f} % keep their charge at gamma = 0, {100 * way[1]['same_charge']:.0f} % at 1000")
better = [name for name in found.names[1:] if found.measures[name]["at rest"]["energy"] < data["energy"]]
print("at rest, lower on average than the data:", ", ".join(better) or "none",
      "| as generated:", ", ".join(n for n in found.names[1:] if found.measures[n]["as generated"]["energy"] < data["energy"])
      or "none")

# %% [markdown]
# A Vendi score above the data's does not praise samples as generated: distortions of each sample's own count as differences.
# At rest only the arrangement of skyrmions is left to differ.

# %% [markdown]
# ## 5 · Does it carry over?
#
# The same code, unchanged, on four other Hamiltonians in a small periodic square, each annealed like the training data and taken
# to γ = 10⁵ by one short ladder:
#
# * **helices**: $B=0$;
# * **merons**: easy plane, $K=-1.2\,D^2/J$, $B=0.4\,D^2/J$;
# * **stripes**: $J_1$-$J_2$ exchange without DM, $J_2=-J_1$;
# * **spirals**: $J_2=-0.4\,J_1$ and $J_3=-0.15\,J_1$ ($J_1$-$J_2$ alone has no spiral on the square lattice).
#
# *Lowest known*: the best of uniform states, single waves, slow anneals and training states, all at rest. On a periodic box
# Luttinger and Tisza's argument gives a bound that no state lies below; where a wave has that energy, it is a ground state and
# no search could find better.

# %%
# NBVAL_CHECK_OUTPUT
print("systems:", ", ".join(systems.hamiltonians(p)))
print("gamma climbs", ", ".join(f"{stage.gamma:g}" for stage in systems.way_to_collapse(p, beta)))

# %%
others = other_systems(p, device=device)
fig = plotting.confined_states([(name, {row: (spins.numpy(), energy) for row, (spins, energy) in others.states[name].items()})
                                for name in others.names])
plotting.save(fig, figures, "fig8_systems")
fig

# %%
fig = plotting.systems_collapse([
    {"label": name, "gamma": t["gamma"], "mse": t["kspace_mse"], "excess": t["energy"] - others.numbers[name]["best"],
     "data": [others.numbers[name]["data"][key] - others.numbers[name]["best"] for key in ("energy_min", "energy_mean")]}
    for name, t in others.ladder.items()], threshold=claims.COLLAPSED)
plotting.save(fig, figures, "fig8_systems_collapse")
fig

# %% [markdown]
# ### What it says

# %%
for name, numbers in others.numbers.items():
    ladder = others.ladder[name]
    print(reading(name, numbers, ladder, claims.COLLAPSED))
    print(f"    gamma_c = {claims.critical(ladder['gamma'], ladder['kspace_mse'], 1.0):.3g}; mean training state "
          f"{numbers['data']['energy_mean'] - numbers['best']:.2g} J, generated {numbers['raw'] - numbers['best']:.2g} J, "
          f"the same at rest {numbers['relaxed'] - numbers['best']:.2g} J above the lowest known")
counts = others.numbers["merons"]["merons"]
print("cores a state in 'merons': " + "; ".join(
    f"{who}: " + ", ".join(f"{number:.1f} {kind}" for kind, number in counts[key].items())
    for who, key in (("annealed", "data"), ("collapsed", "final"))))
not_one = [name for name, n in others.numbers.items() if n["relaxed"] - n["best"] > 1e-6]
print("collapse, at rest, misses the lowest state known in:", ", ".join(not_one) or "none")

# %% [markdown]
# ## Look around
# Samples of section 3 and the states they come to rest in.

# %%
samples = found.states


def pair(name):
    return plotting.gallery(samples[name].flatten(0, 1).numpy(), ["as generated"] * 2 + ["at rest"] * 2, columns=4, title=name)


widgets.explorer(pair, name=list(samples))

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8 · Is it the ground state, and at what price?
#
# *Eight minutes on two cores the first time, at the laptop preset (a small box, where a search is cheap).*
#
# You will see the lowest states that an independent search finds, and how far above them the collapsed networks end.
# You will see what annealing and parallel tempering reach at the same cost.
#
# The paper says that the collapse finds "the ground state of the system". It compares with no other way to get there.
# Here the search knows nothing of the network, and the budget counts the seconds of one core.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
beta = 1e-3

# %%
import numpy as np
from IPython.display import Markdown

from evae_companion import plotting, widgets
from evae_companion.analysis import rate, temperatures
from evae_companion.experiments import budget, report_tables
from evae_companion.experiments.budget import curves
from evae_companion.experiments.ground_state import gaps, known_best
from evae_companion.places import figures_folder
from evae_companion.presets import PRESETS, load_preset

p = load_preset(preset)
figures = figures_folder(p)

# %%
# NBVAL_CHECK_OUTPUT
ladder = temperatures(0.15, 0.7, sites=48 * 48)
print(f"parallel tempering of 48 x 48 spins from 0.15 to 0.7 J/k_B: {len(ladder)} temperatures, "
      f"expected to swap at {100 * rate(ladder[1] / ladder[0], 48 * 48):.0f} %")

# %% [markdown]
# ## The lowest states known
# The search tries
#
# * uniform states;
# * helices and their sums (2-q, 3-q) at the wave vectors that the Fourier transform of the coupling favours;
# * every skyrmion lattice that fits the box, up to the strain of the square lattice;
# * annealings from random states.
#
# Then basin hopping starts from the best: a disc is heated, emptied or reversed, or everything is warmed. All
# candidates are relaxed to a torque below 1e-6 J. Those of the same energy (1e-8 J per spin) and charge count as one.

# %%
found = gaps(p, device=device)
Markdown(report_tables.candidates_table(found.candidates))

# %% [markdown]
# How far above the best candidate do the collapsed networks end? "Last" is the stage of the largest γ, "best" the
# stage with the lowest generated states.

# %%
print(f"{100 * found.data_share:.1f} % of the training states are the best known state already")
Markdown(report_tables.gap_table(found.rows))

# %%
names = ["best of the search", *found.state]
fig = plotting.gallery(np.stack([found.candidates.spins.float().numpy(), *(s.numpy() for s in found.state.values())]),
                       names, columns=4)
plotting.save(fig, figures, "ground_state_candidates")
fig

# %% [markdown]
# ### The paper's own system
# This is the recorded search of the 128 × 128 box with D = 0.3.

# %%
known = known_best(PRESETS["paper"])
print(known[1] if known else "no search of the paper's system is recorded")
Markdown(report_tables.candidates_table(known[0]) if known else "")

# %% [markdown]
# ## At what budget
# Three ways to a low state are compared, in seconds of one core:
#
# * annealing on two schedules (fast: that of the training data), as it ends at $T$ = 0.01 $J/k_B$ and after a descent
#   to $T=0$;
# * parallel tempering, with a descent of the coldest replica;
# * the E-VAE, as decoded and after the same descent, with and without the cost of training and data.
#
# A curve is the lowest of 1, 2, 4, ... runs, a cross the mean of single runs. Triangles lie at most 1e-6 J per spin
# above the best state known. Bands span 16 to 84 % of groups of runs. For the E-VAE they span the range of its
# trainings, each from its best stage.

# %%
rivals = budget.run(p, device=device)
fig = plotting.budget_curves([(name, curves(sample)) for name, sample in rivals.items()])
plotting.save(fig, figures, "budget")
fig

# %%
for name, sample in rivals.items():
    swaps = sample.ladder["rates"]
    print(f"{name}: {len(swaps) + 1} temperatures, "
          f"measured swap rates {np.nanmin(swaps):.2f} to {np.nanmax(swaps):.2f}, "
          f"mean {np.nanmean(swaps):.2f}; training and data "
          + ", ".join(f"{seconds:.0f} s" for seconds in sample.training.values()))
Markdown(report_tables.budget_table(rivals))

# %% [markdown]
# ### What we see

# %%
Markdown(report_tables.budget_reading(rivals))

# %% [markdown]
# The state itself is no reason to train: an annealing reaches it sooner. Before the collapse, training gives a
# differentiable map from latent vectors to states of low energy, through which one can walk
# ([notebook 5](05_latent_interpolation.ipynb)).

# %% [markdown]
# ## Try this
# Choose a sample. Its energies appear against the seconds of one core. Where does annealing meet the best state known?
#
# Next: [how good and how different are the generated states?](09_sample_quality.ipynb)

# %%
def one(sample):
    return plotting.budget_curves([(sample, curves(rivals[sample]))])

widgets.explorer(one, sample=list(rivals))

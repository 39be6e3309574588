# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6 · Collapse onto one state (Fig. 5A, 5B)
#
# *Half a minute from the store, after the trainings of notebook 2.*
#
# You will see the paper's headline: past a critical weight $\gamma_c$ of the Hamiltonian all generated states are one
# and the same. You will see which state that is, and what exactly collapses.
#
# The paper measures the collapse by the pairwise mean squared difference of the Fourier-transformed $S^z$ maps of 100
# generated states. It finds that
#
# * this difference goes to zero;
# * the state is a perfectly ordered skyrmion lattice, lower in energy than every training configuration;
# * two trainings end in lattices of different orientation or position and equal energy;
# * $\gamma_c$ depends on β.
#
# We use $|\mathrm{FFT}_2(S^z)|/\sqrt N$. A translation leaves it unchanged, so that it asks whether the *textures*
# agree. The complex transform, which asks whether the states agree site by site, is printed beside it.

# %% tags=["parameters"]
preset = "desktop"
device = "auto"

# %%
import numpy as np
import torch
from IPython.display import Markdown, display

from evae_companion import claims, plotting, widgets
from evae_companion.data_specs import data_spec
from evae_companion.experiments import collapse, data_order, priors, report_tables
from evae_companion.places import figures_folder
from evae_companion.plotting.style import power
from evae_companion.presets import load_preset
from evae_companion.training_plans import COLLAPSE as shown
from evae_core.observables import kspace_mse

p = load_preset(preset)
figures = figures_folder(p)

# %%
# NBVAL_CHECK_OUTPUT
print("columns of Fig. 5A: gamma =", ", ".join(f"{g:g}" for g in shown))
print("all on the ladder:", all(g in p.gammas for g in shown))

# %% [markdown]
# ## Trainings
# These are the sweeps of notebook 3: independent trainings, each with initial weights, batches, noise and data of its
# own. The two β of a training share its data and the sweep in β from which they branch off. Where the store lacks the
# results of this preset and `data/recorded` holds them, the recorded ones are shown, and the next cell says so.

# %%
found = collapse.run(p, device=device)
first = next(iter(found.runs))
seeds = [name.split(", ")[1] for name in found.twins]
data, ideal = found.data, found.ideal["energy"]

# %% [markdown]
# ## Fig. 5A
# The figure shows two generated states for each γ at β = 1e-3: the columns of the paper, and the last stage. The
# trainings stand below each other.

# %%
def samples(run, gamma):
    return found.states[run][found.shown.index(gamma)].numpy()

fig = plotting.collapse_states([f"γ = {power(g)}" for g in found.shown], {
    seed: np.stack([samples(name, g) for g in found.shown]) for seed, name in zip(seeds, found.twins, strict=True)})
plotting.save(fig, figures, "fig5a_collapse")
fig

# %% [markdown]
# ## Fig. 5B
# Top: the pairwise k-space MSE of the generated states. They count as one below the dash-dotted line, a hundredth of
# the MSE of the training data. Bottom: their mean energy above the best commensurate lattice; grey: the training data.

# %%
data_mse = data["kspace_mse"]
gamma_c = {name: [claims.critical(t["gamma"], t["kspace_mse"], t["data_kspace_mse"], lasting)
                  for lasting in (False, True)]
           for name, t in found.runs.items()}
series = [{"label": name, "gamma": t["gamma"], "mse": t["kspace_mse"], "energy": t["energy_per_spin"]}
          for name, t in found.runs.items()]
fig = measure = plotting.collapse_measure(series, threshold=claims.COLLAPSED * data_mse, ideal_energy=ideal,
                                          data=(data["energy_min"], data["energy_mean"], data["energy_max"]))
plotting.save(fig, figures, "fig5b_kspace_mse")
fig

# %%
print(f"pairwise k-space MSE of the data: {data_mse:.3g} (complex: {data['kspace_mse_complex']:.3g})")
for name, t in found.runs.items():
    first_time, lasting = gamma_c[name]
    print(f"{name}: gamma_c = {first_time:.3g}, for good {lasting:.3g}; "
          f"at the largest gamma MSE {t['kspace_mse'][-1]:.2g}, complex {t['kspace_mse_complex'][-1]:.2g}")

# %% [markdown]
# ## The state it collapses onto
# For the largest γ, the lines give the mean energy of the generated states. Beside it stands the energy of the median
# state, the one of median energy, once relaxed. The first line decodes as many new latent vectors here and now. The
# figure shows the median states of all trainings beside the best commensurate lattice.

# %%
again = found.model.generate(p.samples, torch.Generator().manual_seed(7))
print(f"{p.samples} states decoded anew, {first}: k-space MSE {kspace_mse(again):.2g}")
for name, f in found.final.items():
    print(f"{name}: E/N = {f['energy']:.6f} J (mean), median state relaxed {f['relaxed']:.6f} J; "
          f"{f['skyrmions']} skyrmions, {100 * f['defects']:.0f} % without six neighbours")
print(f"training data: mean {data['energy_mean']:.6f} J, best {data['energy_min']:.6f} J, "
      f"best once relaxed {data['rest_min']:.6f} J; "
      f"best commensurate lattice {ideal:.6f} J, {abs(found.ideal['charge']):.0f} skyrmions")
fig = plotting.gallery(np.stack([s.numpy() for s in found.last.values()]),
                       [*list(found.last)[:-1], "best lattice"], columns=4)
plotting.save(fig, figures, "collapsed_states")
fig

# %% [markdown]
# ## What collapses: reconstructions and generated states
# Generated states come from $z$ sampled from the prior, $N(0,1)$. Training states may be encoded elsewhere: past
# $\gamma_c$ their latent vectors spread far beyond the prior (bottom panel). So reconstructions $X_\mathrm{out}$ ($z$
# from the posterior, or its mean μ) and generated states $X'_\mathrm{out}$ need not collapse together (top: their
# diversity). Samples from a prior stretched by 8 show what lies beyond it. The figure shows one training; its table
# stands below.

# %%
t = found.runs[first]
share = {r"$X_\mathrm{out}$": t["kspace_mse_x_out"], r"$X_\mathrm{out}$ from $\mu$": t["kspace_mse_x_mu"],
         r"$X'_\mathrm{out}$": t["kspace_mse"], r"$X'_\mathrm{out}$, $8z$": t["kspace_mse_scaled_8"]}
excess = {r"$X_\mathrm{out}$": t["energy_x_out"], r"$X_\mathrm{out}$ from $\mu$": t["energy_x_mu"],
          r"$X'_\mathrm{out}$": t["energy_per_spin"]}
fig = plotting.what_collapses(t["gamma"], {name: mse / t["data_kspace_mse"] for name, mse in share.items()},
                              {name: energy - p.lowest for name, energy in excess.items()},
                              t["variance"], claims.COLLAPSED)
plotting.save(fig, figures, "what_collapses")
fig

# %% [markdown]
# Energies are per spin in $10^{-4}J$ above the lowest state known. The k-space MSE is a share of that of the training
# data. Of each kind eight states are relaxed.

# %%
Markdown(report_tables.stage_table(t, p.lowest, t["data_kspace_mse"]))

# %% [markdown]
# ## The prior or the decoder?
# Before the collapse a state generated from $N(0,1)$ lies far above a reconstruction in energy. Is the decoder to
# blame, or the prior?
#
# * "Standard" is the prior of the paper, on which the claims rest.
# * "Fitted" is one Gaussian and "mixture" are ten, fitted after training to the latent vectors of the training states
#   (ex-post density estimation, Ghosh et al., ICLR 2020).
# * Coverage is the share of test states that have a generated state among their nearest neighbours (Naeem et al., ICML
#   2020).
#
# γ = 0 is the control. Where the energy falls to that of $X_\mathrm{out}$ with a fitted prior, the prior is to blame.

# %%
drawn = priors.run(p, device=device)
Markdown(report_tables.prior_table(drawn, p.lowest))

# %% [markdown]
# At γ = 0 a fitted prior closes a tenth of the gap between generated and reconstructed states, at γ = 100 four tenths:
# there the decoder is to blame, too. At γ = 1000 it closes all of it (first training).

# %% [markdown]
# ## Do small steps of z move the lattice?
# A small step of $z$ changes the decoded state. So does a small translation of it. How much of the translation can
# small steps make? The table gives the share, in squared length, that lies in the range of the Jacobian $\partial
# X/\partial z$ of the decoder. Beside it stands the share of a smooth displacement of the texture that is random, with
# waves of the box and its half. The last column is the length of the step that translates by one site; vectors of the
# prior have a length of 10. Means over four latent vectors.

# %%
from evae_companion.experiments import latent_symmetry

Markdown(report_tables.latent_table(latent_symmetry.run(p, device=device)))

# %% [markdown]
# At the paper's lattice (first training, β = 1e-3) small steps of $z$ move skyrmions about. They can make three
# quarters of a translation at γ = 0 and nine tenths at γ = 100, and nearly as much of any smooth displacement. So the
# network has learned no translation as such: it is little easier than a slow distortion of the lattice. A site costs a
# step of 3 at γ = 0 and of 4 at γ = 100. After the collapse it costs some 300: the lattice stays where it is.

# %% [markdown]
# ## On which data the collapse ends in the ground state
# The paper's headline is that the model finds the ground state "even if the ground states are not included in the
# training". So the same sweep, with the same random numbers, is to be trained on four kinds of data:
#
# * ours, as disordered as the paper describes its own;
# * rougher ones from a shorter annealing;
# * nearly perfect lattices from over-relaxation and a full relaxation;
# * the latter with the lowest state known among them.
#
# At the paper's lattice this takes hours. `evae study data_order` does it, one training after the other. The next cell
# shows those that are done.

# %%
decides = data_order.known(p)
if decides.kinds:
    display(Markdown(report_tables.order_table(decides.data, decides.lowest)),
            Markdown(report_tables.data_order_table(decides)))
if decides.missing:
    print(f"{decides.missing} trainings are missing at preset {p.name}: evae study data_order --preset {p.name}")

# %% [markdown]
# Where there are any, the figure shows the generated state of median energy at the largest γ for each kind of data
# (first training). Above each stands the mean energy over all trainings.

# %%
if decides.kinds:
    labels = []
    for kind in decides.kinds:
        e = 1e4 * (np.array([end["energy"] for end in decides.ends[kind]]) - decides.lowest)
        error = f" ± {e.std(ddof=1):.2f}" if len(e) > 1 else ""
        labels.append(f"{kind.replace(' lattices', '')}\n{e.mean():.2f}{error} $\\times 10^{{-4}}\\,J$ per spin")
    fig = plotting.gallery(np.stack([decides.last[kind].numpy() for kind in decides.kinds]), labels, columns=4)
    plotting.save(fig, figures, "data_order")
    display(fig)

# %% [markdown]
# ## What the paper claims, and what we see
# At the paper's lattice (preset desktop) there are three seeds, each with data and weights of its own. The sweeps of
# its two β branch off one sweep in β. At γ = 1e6 each of the six trainings generates one state. It is a perfect
# lattice, 6e-4 to 7e-4 J per spin below the lowest training configuration, at another position or orientation in each.
#
# The headline holds in one of six. One of these states relaxes to the lowest state known, with 30 skyrmions, which is
# in no training data. The other five relax to a lattice of 28, 3.7e-5 J per spin higher. Some training states relax to
# that lattice, too: relaxing the data finds it as well. At β = 1e-3, where C2 is judged, all three end there.

# %% [markdown]
# By γ = 1e6 reconstructions have become one state in two of six trainings. In three others their diversity is 1.6 to
# 2.9 % of that of the data, in the sixth half of it.
#
# The generated states are one for the first time at γ between 2e3 and 3e5 (geometric means of neighbouring stages). For
# good they are one from a γ between 7e3 and 3e5 on. Then the smaller β comes first in all three seeds, the first time
# in two. Linear theory expects the opposite (C4). Above 1e4 a stage is a whole decade, and longer stages collapse
# earlier (benchmarks/SCHEDULES.md): γ_c belongs to a schedule.

# %%
runs = {beta: [found.final[name] | found.runs[name] for name in found.runs if name.startswith(f"β = {beta:g},")]
        for beta in p.gamma_betas}
apart = found.distances[np.triu_indices(len(found.twins), 1)]
results = claims.collapse(runs, apart)
Markdown(claims.save(figures, "06_collapse", results))

# %%
Markdown(claims.details(results))

# %% [markdown]
# ## Try this
# Slide γ over Fig. 5B. Two generated states of every training appear side by side. Where do the two of a pair become
# equal?
#
# Next: [samples with edges](07_confined_geometries.ipynb).

# %%
widgets.CollapseExplorer(found, data_spec(p).hamiltonian, measure)

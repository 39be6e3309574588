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
# Past a critical weight $\gamma_c$ the Hamiltonian wins: whatever $z$ is drawn, the decoder returns one and the same
# state. The paper measures this by the pairwise mean squared difference of Fourier-transformed $S^z$ maps of 100 generated
# states, which goes to zero; it finds that the state is a perfectly ordered skyrmion lattice with an energy below every training
# configuration, that two trainings end in lattices of different orientation or position and equal energy, and that $\gamma_c$
# depends on β. We use $|\mathrm{FFT}_2(S^z)|/\sqrt N$, which a translation leaves unchanged, and report the complex variant too.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"

# %%
import numpy as np
import torch
from IPython.display import Markdown

from evae_core import claims, load_preset, plotting, relax, skyrmion_lattice, topological_charge, widgets
from evae_core.dataset import data_spec, load_data
from evae_core.observables import defects, kspace_mse, skyrmion_centres
from evae_core.presets import figures_folder
from evae_core.training import climb_all, energy_per_spin, ladder, table

p = load_preset(preset)
figures = figures_folder(p)
spec = data_spec(p)
H, shape = spec.hamiltonian, spec.shape

# %%
# NBVAL_CHECK_OUTPUT
shown = (100.0, 500.0, 1000.0, 2000.0, 5000.0)
print("columns of Fig. 5A: gamma =", ", ".join(f"{g:g}" for g in shown))
print("all on the ladder:", all(g in p.gammas for g in shown))

# %% [markdown]
# ## Three trainings
# Both betas of notebook 3, and an independent training: other initial weights, other batches, other noise.

# %%
first, small_beta, second = climb_all(
    [ladder(p, p.gamma_betas[0]), ladder(p, p.gamma_betas[1]), ladder(p, p.gamma_betas[0], seed=1)], spec,
    device=device, report=print)
data = load_data(spec, device=device)
lattice = skyrmion_lattice(H, shape)  # the best commensurate lattice found
ideal = float(H.energy_per_spin(lattice.double()))

# %% [markdown]
# ## Fig. 5A
# Two generated states for each γ; the two trainings below each other.

# %%
def samples(run, gamma, n=2):
    trained = run[p.gammas.index(gamma)]
    return trained.model().generate(n, torch.Generator().manual_seed(4)).numpy()

fig = plotting.collapse_states([f"γ = {g:g}" for g in shown], {
    "seed 0": np.stack([samples(first, g) for g in shown]), "seed 1": np.stack([samples(second, g) for g in shown])})
plotting.save(fig, figures, "fig5a_collapse")
fig

# %% [markdown]
# ## Fig. 5B

# %%
data_energy = data.train.statistics["energy"]
data_mse = kspace_mse(data.train[:min(100, len(data.train))])
runs = {f"β = {p.gamma_betas[0]:g}, seed 0": first, f"β = {p.gamma_betas[1]:g}, seed 0": small_beta,
        f"β = {p.gamma_betas[0]:g}, seed 1": second}
tables = {name: table(run) for name, run in runs.items()}
gamma_c = {name: claims.critical(t["gamma"], t["kspace_mse"], data_mse) for name, t in tables.items()}
series = [{"label": name, "gamma": t["gamma"], "mse": t["kspace_mse"],
           "energy": energy_per_spin(H, t["energy_generated"], shape)} for name, t in tables.items()]
fig = plotting.collapse_measure(series, threshold=claims.COLLAPSED * data_mse,
                                data=(data_energy.min(), data_energy.mean(), data_energy.max()), ideal_energy=ideal)
plotting.save(fig, figures, "fig5b_kspace_mse")
fig

# %%
print(f"pairwise k-space MSE of the data: {data_mse:.3g} (complex: {kspace_mse(data.train[:100], complex=True):.3g})")
for name, t in tables.items():
    print(f"{name}: gamma_c = {gamma_c[name]:.3g}; at the largest gamma MSE {t['kspace_mse'][-1]:.2g}, "
          f"complex {t['kspace_mse_complex'][-1]:.2g}")

# %% [markdown]
# ## The state it collapses onto
# At the largest γ: the generated state of median energy, as generated and after relaxation to $T=0$, and the mean over all
# generated states.

# %%
above = []
states = {}
for name, run in runs.items():
    generated = run[-1].model().generate(p.samples, torch.Generator().manual_seed(5))
    energies = H.energy_per_spin(generated.double())
    state = generated[energies.argsort()[len(energies) // 2]]
    low, mean = float(H.energy_per_spin(relax(H, state).double())), float(energies.mean())
    centres = skyrmion_centres(state)
    share = defects(centres, shape) if len(centres) else 1.0
    states[name] = state
    above.append({"name": name, "gamma": run[-1].stage.gamma, "energy": mean, "defects": share, "data_kspace_mse": data_mse,
                  "kspace_mse": tables[name]["kspace_mse"][tables[name]["gamma"] > gamma_c[name]], "charge": float(topological_charge(state))})
    print(f"{name}: E/N = {mean:.6f} J (mean), median state relaxed {low:.6f} J; {len(centres)} skyrmions, {100 * share:.0f} % without six neighbours")
print(f"training data: mean {data_energy.mean():.6f} J, best {data_energy.min():.6f} J; best commensurate lattice {ideal:.6f} J, "
      f"{abs(float(topological_charge(lattice))):.0f} skyrmions")
fig = plotting.gallery(np.stack([s.numpy() for s in (*states.values(), lattice)]), [*states, "best commensurate lattice"], columns=4)
plotting.save(fig, figures, "fig5_states")
fig

# %% [markdown]
# ## What the paper claims

# %%
one, _, other = states.values()
distance = float((one - other).square().sum(0).mean())
c_first, c_small, c_second = gamma_c.values()
results = claims.collapse([above[0], above[2]], {f"{p.gamma_betas[0]:g}": c_first, f"{p.gamma_betas[1]:g}": c_small},
                          (c_first, c_second), float(data_energy.min()), ideal, distance)
Markdown(claims.save(figures, "06_collapse", results))

# %% [markdown]
# ## Look around
# γ against the states of both trainings.

# %%
def both(gamma):
    return plotting.gallery(np.concatenate([samples(first, gamma, 3), samples(second, gamma, 3)]),
                            ["seed 0"] * 3 + ["seed 1"] * 3, columns=6, title=f"γ = {gamma:g}")

widgets.explorer(both, gamma=p.gammas)

# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0 · Start here
#
# From a Hamiltonian to a skyrmion lattice, and to a network that has found one which it was never shown: twenty minutes on two
# cores the first time. Run the cells from the top (Shift+Enter); what takes longer than a few seconds is kept in the store and
# loaded the next time.
#
# The paper behind this is Kwon et al., *Advanced Science* 2021: a variational autoencoder (VAE) learns what the low-energy
# states of a magnet look like; because the magnet's Hamiltonian is part of its loss, what it draws lies closer to *stable* states,
# and past a critical weight of the Hamiltonian it draws one state only.

# %% tags=["parameters"]
preset = "desktop"
device = "auto"
seed = 0

# %%
import torch

from evae_companion import plotting, widgets
from evae_companion import training_plans as plans
from evae_companion.data_specs import data_schedule, data_spec
from evae_companion.dataset import load_data
from evae_companion.experiments import result_cache
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_core import Hamiltonian, anneal, relax, skyrmion_lattice
from evae_core.observables import kspace_mse, topological_charge
from evae_core.textures import helix_period

p = load_preset(preset)
figures = figures_folder(p)

# %% [markdown]
# ## A Hamiltonian
# Unit spins on a square lattice, with exchange $J$, Dzyaloshinskii-Moriya interaction $D$ and a field $B$ along $z$; energies
# are in units of $J$, lengths in lattice sites. $D$ turns neighbouring spins, so that without a field the ground state is a
# helix; the field breaks it up into skyrmions.

# %%
H = Hamiltonian(J=1.0, D=p.D, B=p.B)
shape = (p.size, p.size)
print(f"{p.name}: {shape[0]} x {shape[1]} sites, D = {H.D:g} J, B = {H.B:g} J, a helix period of {helix_period(H):.1f} sites")

# %%
# NBVAL_CHECK_OUTPUT
up = torch.zeros(3, 16, 16)
up[2] = 1.0
print(f"all spins up: {float(H.energy_per_spin(up)) + H.B:.1f} J a spin without the field, charge {float(topological_charge(up)):.0f}")

# %% [markdown]
# ## Skyrmions
# Cooled from random spins to $T=0$, the magnet ends in one of very many metastable states. Below: three of them, cooled as the
# training data are, and the best perfect lattice that fits into the box. White is up, black is down, colour is the direction in the plane; the charge counts
# skyrmions, with a minus sign here.

# %%
def cool():
    cooled = anneal(H, shape, n=3, seed=seed, device=device, schedule=data_schedule(p))
    return {"states": torch.cat([cooled, skyrmion_lattice(H, shape)[None]])}

states = result_cache.cached("start-skyrmions", {"data": data_spec(p).spec(), "seed": seed}, cool).states
labels = [f"E/N = {float(H.energy_per_spin(one.double())):.4f} J\ncharge {float(topological_charge(one)):.0f}" for one in states]
fig = plotting.gallery(states.numpy(), [*labels[:3], "best lattice\n" + labels[3]], columns=4)
plotting.save(fig, figures, "start_skyrmions")
fig

# %% [markdown]
# ## A network that draws them
# The network minimises $L_\mathrm{RC}+\beta L_\mathrm{KL}+\gamma L_H$: how badly it reproduces the annealed states that it is shown,
# how far its latent vectors are from normally distributed ones, and the energy per spin of what it returns. Here it learns at
# $\beta=10^{-3}$ without the Hamiltonian ($\gamma=0$), then γ rises to 5000 in three stages: the shortest way that we know to the
# paper's end. No state that it is shown comes to rest in the lowest state known of this box; such states are left out. One line a
# stage: its losses, and $L_H$ of states drawn. On two cores the data take some seven minutes and the training ten; then both are in
# the store.

# %%
data = load_data(data_spec(p), device=device, report=print)
run = train_stages(plans.shortest(p), data_spec(p), device=device, report=print)

# %% [markdown]
# The same four random vectors, drawn after every stage.

# %%
def draw(trained, n=4, start=0):
    return trained.model().generate(n, torch.Generator().manual_seed(start))

def drawn_by_all():
    many = [draw(trained, 32) for trained in run]
    return {"states": torch.cat([draw(trained) for trained in run]),
            "share": [kspace_mse(few) / kspace_mse(data.train[:32]) for few in many],
            "energy": [float(H.energy_per_spin(few.double()).mean()) for few in many],
            "rest": [float(H.energy_per_spin(relax(H, few.double(), tolerance=1e-3)).mean()) for few in many]}

drawn = result_cache.cached("start-generated", {"stages": [stage_spec(one.stage, one.data) for one in run]}, drawn_by_all)
fig = plotting.gallery(drawn.states.numpy(), [f"γ = {one.stage.gamma:g}" for one in run for _ in range(4)], columns=4)
plotting.save(fig, figures, "start_generated")
fig

# %% [markdown]
# How alike they are (the pairwise k-space MSE of 32 states, 1 for states as different as the training data's), and how far from
# rest: their mean energy, that of the states in which they come to rest (a descent that turns every spin towards its local field),
# both above the lowest state known of this box, in $10^{-4}J$ per spin. Training data for comparison.

# %%
print(f"{data.left_out} of {p.train + p.validation + p.test} states came to rest in the lowest state known and are left out")
rows = [(f"gamma = {one.stage.gamma:4g}", *values) for one, *values in zip(run, drawn.share, drawn.energy, drawn.rest, strict=True)]
for name, share, energy, rest in [*rows, ("training data ", 1.0, *(data.train.statistics[key].mean() for key in ("energy", "rest_energy")))]:
    print(f"{name}: diversity {share:.3f}, drawn {1e4 * (energy - p.lowest):5.2f}, at rest {1e4 * (rest - p.lowest):5.2f}")

# %% [markdown]
# ## Where to go
#
# | notebook | shows |
# |---|---|
# | [01](01_dataset.ipynb) | cooling watched, the data, and why the ground state is hard to reach |
# | [02](02_beta_sweep.ipynb) | the standard VAE: what β does, and where it collapses (Fig. 2A) |
# | [03](03_gamma_sweep.ipynb) | the Hamiltonian in the loss: what γ does (Fig. 2B) |
# | [04](04_noise_reduction.ipynb) | every spin comes closer to its field (Fig. 3) |
# | [05](05_latent_interpolation.ipynb) | walking from one state to another (Fig. 4) |
# | [06](06_collapse.ipynb) | past a critical γ: one state only, a perfect lattice (Fig. 5) |
# | [07](07_confined_geometries.ipynb) | squares and a wire, with edges (Note S2) |
# | [08](08_evidence.ipynb) | is the state it collapses to the lowest one, and what does it cost to get there? |
# | [09](09_your_own_system.ipynb) | your own Hamiltonian, shape and material, in one page |
# | [10](10_deepspin.ipynb) | a related system: a potential learned for atoms and moments that move |
# | [11](11_peace.ipynb) | a related system: sizes of particles from laser speckle |
# | [12](12_phase_diagram.ipynb) | helix, skyrmions or uniform: what collapsed models say, and how to train many at once |
#
# Each opens on its own, in any order: what it needs and does not find, it makes. **Other sizes:** set `preset` above to
# `"smoke"` (seconds, untrained), `"laptop"` (48 x 48, a small box) or `"paper"` (its numbers throughout, for a GPU), or run everything with
# `make figures-all PRESET=...`. `evae --help` lists what else can be done.
#
# ## Look around
# Other random vectors, the first and the last network.

# %%
def others(start):
    return plotting.gallery(torch.cat([draw(one, 2, start) for one in (run[0], run[-1])]).numpy(),
                            [f"γ = {one.stage.gamma:g}" for one in (run[0], run[-1]) for _ in range(2)], columns=4)

widgets.explorer(others, start=range(20))

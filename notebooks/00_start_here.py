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
# *Twenty minutes on two cores the first time; seconds once the results are in the store.*
#
# You will see a magnet cooled into skyrmions, a network that learns such states, and what happens when the magnet's
# energy enters the network's loss: random vectors end in one and the same skyrmion lattice, which is in none of the
# training data. Three short stages come close to it, the whole ladder of notebook 6 reaches it.
#
# The paper behind this is Kwon et al., *Advanced Science* 2021. A variational autoencoder (VAE) compresses a state
# into a short *latent vector* and expands it again. The energy of the returned state is part of its loss, weighted by
# γ. So the states that it generates from random latent vectors become more stable as γ grows. Past a critical γ they
# are all the same.
#
# Run the cells from the top (Shift+Enter). At the end there are sliders.

# %% tags=["parameters"]
preset = "desktop"
device = "auto"
seed = 0

# %%
import torch

from evae_companion import plotting, widgets
from evae_companion.data_specs import data_schedule, data_spec
from evae_companion.experiments import result_cache
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset
from evae_core import Hamiltonian, anneal, relax, skyrmion_lattice
from evae_core.observables import kspace_mse, topological_charge
from evae_core.textures import helix_period

p = load_preset(preset)
figures = figures_folder(p)

# %% [markdown]
# ## A Hamiltonian
# Unit spins $\mathbf S_i$ on a square lattice, with exchange $J$, Dzyaloshinskii-Moriya (DM) interaction $D$ and a
# field $B$ along $z$:
#
# $$E = -J\sum_{\langle ij\rangle}\mathbf S_i\cdot\mathbf S_j
#      -\sum_{\langle ij\rangle}\mathbf D_{ij}\cdot(\mathbf S_i\times\mathbf S_j) - B\sum_i S_i^z .$$
#
# Energies are in units of $J$, lengths in lattice sites. The DM interaction turns neighbouring spins; without a field
# the ground state is a helix. The field breaks the helix up into skyrmions.

# %%
H = Hamiltonian(J=1.0, D=p.D, B=p.B)
shape = (p.size, p.size)
print(f"{p.name}: {shape[0]} x {shape[1]} sites, D = {H.D:g} J, B = {H.B:g} J, "
      f"a helix period of {helix_period(H):.1f} sites")

# %%
# NBVAL_CHECK_OUTPUT
up = torch.zeros(3, 16, 16)
up[2] = 1.0
print(f"all spins up: {float(H.energy_per_spin(up)) + H.B:.1f} J per spin without the field, "
      f"charge {float(topological_charge(up)):.0f}")

# %% [markdown]
# ## Skyrmions
# Cooled from random spins to $T=0$, the magnet ends in one of many metastable states. Three of them are shown,
# annealed as the training data are, beside the best perfect lattice that fits into the box. White is up, black is
# down, colour is the direction in the plane. The topological charge counts skyrmions, here with a minus sign.

# %%
def cool():
    cooled = anneal(H, shape, n=3, seed=seed, device=device, schedule=data_schedule(p))
    return {"states": torch.cat([cooled, skyrmion_lattice(H, shape)[None]])}

states = result_cache.cached("start-skyrmions", {"data": data_spec(p).spec(), "seed": seed}, cool).states
labels = [f"E/N = {float(H.energy_per_spin(one.double())):.4f} J\ncharge {float(topological_charge(one)):.0f}"
          for one in states]
fig = plotting.gallery(states.numpy(), [*labels[:3], "best lattice\n" + labels[3]], columns=4)
plotting.save(fig, figures, "start_skyrmions")
fig

# %% [markdown]
# ## A network that generates them
# The network minimises
#
# $$L = L_\mathrm{RC} + \beta L_\mathrm{KL} + \gamma L_\mathrm{H}.$$
#
# $L_\mathrm{RC}$ is the squared distance per spin between a training state and its reconstruction, $L_\mathrm{KL}$
# the distance of the latent vectors' distribution from a normal one, $L_\mathrm{H}$ the energy per spin of the
# reconstruction. Training begins at $\beta=10^{-3}$ without the Hamiltonian (γ = 0). Then γ rises to 5000 in three
# stages, the shortest way towards the collapse that we know. No training state relaxes to the lowest state known of this
# box: such states are left out. On two cores the data take some seven minutes and the training ten. Each stage prints
# its losses.

# %%
from evae_companion import training_plans as plans
from evae_companion.dataset import load_data
from evae_companion.sweeps import train_stages

data = load_data(data_spec(p), device=device, report=print)
run = train_stages(plans.shortest(p), data_spec(p), device=device, report=print)

# %% [markdown]
# The same four random latent vectors, decoded after every stage. Each row is a stage, each column a vector.

# %%
def draw(trained, n=4, start=0):
    return trained.model().generate(n, torch.Generator().manual_seed(start))

def drawn_by_all():
    many = [draw(trained, 32) for trained in run]
    return {"states": torch.cat([draw(trained) for trained in run]),
            "share": [kspace_mse(few) / kspace_mse(data.train[:32]) for few in many],
            "energy": [float(H.energy_per_spin(few.double()).mean()) for few in many],
            "rest": [float(H.energy_per_spin(relax(H, few.double(), tolerance=1e-3)).mean()) for few in many]}

# %%
from evae_companion.trained import stage_spec

drawn = result_cache.cached("start-generated", {"stages": [stage_spec(one.stage, one.data) for one in run]},
                            drawn_by_all)
fig = plotting.gallery(drawn.states.numpy(), [f"γ = {one.stage.gamma:g}" for one in run for _ in range(4)], columns=4)
plotting.save(fig, figures, "start_generated")
fig

# %% [markdown]
# How different are the generated states, and how stable? *Diversity* is the pairwise mean squared difference of their
# Fourier transforms, as a share of that of the training states: 0 means that all are the same but for a translation.
# Energies are means over 32 states, in $10^{-4}J$ per spin above the lowest state known of this box: as generated,
# and relaxed (every spin turned towards its local field until none moves).

# %%
print(f"{data.left_out} of {p.train + p.validation + p.test} annealed states "
      f"relax to the lowest state known and are left out")
rows = [(f"gamma = {one.stage.gamma:4g}", *values)
        for one, *values in zip(run, drawn.share, drawn.energy, drawn.rest, strict=True)]
for name, share, energy, rest in [
        *rows, ("training data ", 1.0,
                *(data.train.statistics[key].mean() for key in ("energy", "rest_energy")))]:
    print(f"{name}: diversity {share:.3f}, as generated {1e4 * (energy - p.lowest):5.2f}, "
          f"relaxed {1e4 * (rest - p.lowest):5.2f}")

# %% [markdown]
# ## Where to go
# Each notebook opens on its own, in any order. It computes the results that it needs and that the store lacks.
#
# The notebooks of the paper's figures and claims:
#
# | notebook | shows |
# |---|---|
# | [01](01_dataset.ipynb) | annealing watched, the data, and why the ground state is hard to reach |
# | [1b](01_network_and_loss.ipynb) | energy, network and losses in 40 lines of plain PyTorch (Fig. 1) |
# | [02](02_beta_sweep.ipynb) | the standard VAE: what β does, and where it collapses (Fig. 2A) |
# | [03](03_gamma_sweep.ipynb) | the Hamiltonian in the loss: what γ does (Fig. 2B) |
# | [04](04_noise_reduction.ipynb) | the angle between spins and their fields falls (Fig. 3) |
# | [05](05_latent_interpolation.ipynb) | walking from one state to another (Fig. 4) |
# | [06](06_collapse.ipynb) | past a critical γ: one state only, a perfect lattice (Fig. 5) |
# | [07](07_confined_geometries.ipynb) | squares and a wire, with edges (Note S2) |

# %% [markdown]
# Our own questions, other Hamiltonians and two related systems:
#
# | notebook | shows |
# |---|---|
# | [08](08_ground_state.ipynb) | is the state it collapses onto the lowest one, and what does it cost to get there? |
# | [09](09_sample_quality.ipynb) | how stable and how diverse generated states are |
# | [10](10_where_it_collapses.ipynb) | β_c and γ_c against theory, and other Hamiltonians |
# | [11](11_your_own_system.ipynb) | your own Hamiltonian, shape and material, in one page |
# | [12](12_deepspin.ipynb) | a related system: a potential learned for atoms and moments that move |
# | [13](13_peace.ipynb) | a related system: sizes of particles from laser speckle |
# | [14](14_phase_diagram.ipynb) | helix, skyrmions or uniform: what collapsed models say, and how to train many at once |

# %% [markdown]
# ## Other sizes
# Set `preset` above to another value:
#
# | `preset` | what it is |
# |---|---|
# | `"smoke"` | seconds, untrained |
# | `"laptop"` | 48 x 48, a small box |
# | `"paper"` | the paper's numbers throughout, for a GPU |

# %% [markdown]
# ## Try this
# Move `start`: other random latent vectors, decoded by the first and by the last network. At γ = 0 every vector gives
# another state. At the largest γ the lattice stays, and what is left of the differences are a few defects.

# %%
def others(start):
    return plotting.gallery(torch.cat([draw(one, 2, start) for one in (run[0], run[-1])]).numpy(),
                            [f"γ = {one.stage.gamma:g}" for one in (run[0], run[-1]) for _ in range(2)], columns=4)

widgets.explorer(others, start=range(20))

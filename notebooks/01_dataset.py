# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · The data: annealed spin textures
#
# *Half a minute from the store; the annealing of the data takes some twenty minutes on two cores the first time.*
#
# You will see one lattice cooled, the training data and how disordered they are, and why annealing seldom finds the
# ground state.
#
# The E-VAE is trained on metastable states of a chiral magnet: a square lattice of unit spins with exchange $J$,
# Dzyaloshinskii-Moriya interaction $D$ and a field $B$,
#
# $$E = -J\sum_{\langle ij\rangle}\mathbf S_i\cdot\mathbf S_j
#      -\sum_{\langle ij\rangle}\mathbf D_{ij}\cdot(\mathbf S_i\times\mathbf S_j) - B\sum_i S_i^z ,$$
#
# every bond counted once. The paper (Kwon et al., *Advanced Science* 2021) cools 39 300 lattices of 128 × 128 sites
# from above the Curie temperature to $T=0$ ($J=1$, $|D|=0.3$, $B=0.05$).

# %% [markdown]
# The paper does not state its schedule. It describes the result: states that are locally stable, with locally ordered
# domains and with "truncated or stretched" skyrmions, no two of them equal, and no ground state among them.
#
# Our schedule is plain heat bath, which samples every spin from its exact Boltzmann distribution in the local field.
# A hundred sweeps at $T=0$ follow. Each turns every spin along its local field
# $\mathbf h_i=-\partial E/\partial\mathbf S_i$. States that relax to the lowest state known of the box are left out
# of the data.
#
# The long-wavelength physics depends only on the helix period $2\pi/\arctan(D/J)$ and on $BJ/D^2=0.556$. Smaller
# presets have a larger $D$ and the same $BJ/D^2$: the same magnet on a coarser lattice. The paper's box holds 5.9
# helix periods, that of the preset laptop 4.1.

# %% tags=["parameters"]
preset = "desktop"
seed = 0
device = "auto"
watched_sweeps = 240

# %%
import numpy as np
import torch

from evae_companion import plotting, widgets
from evae_companion.data_specs import data_spec
from evae_companion.experiments import result_cache
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset
from evae_core import Annealing, Hamiltonian, Schedule, anneal, relax
from evae_core.observables import defects, skyrmion_centres, topological_charge

# %%
p = load_preset(preset)
H = Hamiltonian(J=p.J, D=p.D, B=p.B)
shape = (p.size, p.size)
figures = figures_folder(p)
print(f"{p.name}: {p.size} x {p.size} sites, D = {p.D} J, B = {p.B} J, "
      f"helix period {2 * np.pi / np.arctan(p.D / p.J):.1f} sites")

# %% [markdown]
# A first check: the uniform state has the energy $-2J-B$ per spin. It is stationary, yet far above the skyrmion
# states that follow.

# %%
# NBVAL_CHECK_OUTPUT
from evae_core.textures import uniform

up = uniform((16, 16))
print(f"uniform state: (E + B N)/N = {float(H.energy_per_spin(up)) + p.B:.4f} J, "
      f"smallest cos(theta) = {float(H.alignment(up).min()):.4f}, charge {float(topological_charge(up)):.0f}")

# %% [markdown]
# ## Annealing, watched
# One lattice, cooled from the paramagnet and relaxed (240 heat-bath sweeps, three over-relaxation sweeps after each).
# In the paramagnet the topological charge means little. Once it counts skyrmions, a skyrmion can appear or vanish
# only if a core flips. Below some temperature that no longer happens.

# %%
def watch():
    watched = Annealing(H, shape, n=1, seed=seed, schedule=Schedule(sweeps=watched_sweeps), device=device)
    trace = {"temperature": [], "energy_per_spin": [], "charge": []}
    states = []
    while not watched.done:
        spins = watched.run(4).spins
        trace["temperature"].append(watched.temperature)
        states.append(spins[0].clone())
        trace["energy_per_spin"].append(float(H.energy_per_spin(spins)[0]))
        trace["charge"].append(float(topological_charge(spins)[0]))
    return {"trace": trace, "states": torch.stack([*states[::10], watched.finish()[0]])}

# %%
system = {"data": data_spec(p).spec(), "seed": seed}
cooling = result_cache.cached("data-annealing", system | {"sweeps": watched_sweeps}, watch)
trace, states = cooling.trace, cooling.states.numpy()
temperatures = [*trace["temperature"][::10], 0.0]
picked = [0, len(states) // 3, 2 * len(states) // 3, len(states) - 1]
fig = plotting.annealing_watched([temperatures[k] for k in picked], states[picked], trace)
plotting.save(fig, figures, "data_annealing")
fig

# %%
changes = np.flatnonzero(np.diff(np.round(trace["charge"])))
print(f"last change of the charge at T = {trace['temperature'][changes[-1] + 1]:.3f} J/k_B"
      if len(changes) else "no change")

# %% [markdown]
# ## The data set
# The states are annealed in shards. Each shard is verified (unit length, torque, integer charge, no duplicates) and
# kept in the store.

# %%
from evae_companion.dataset import load_data

data = load_data(data_spec(p), device=device, report=print)
print(f"{data.left_out} configurations relax to the lowest state known ({p.lowest:.6f} J per spin) and are left out")

# %% [markdown]
# Above: training states. Below: the same states, fully relaxed. The descent over-shoots and goes on finding order:
# stretched skyrmions contract, rows straighten, and many states become the same nearly perfect lattice. A network
# that is trained on such lattices has little left to stabilise (notebook 6 shows the result).

# %%
from evae_companion.analysis.order import order
from evae_companion.data_specs import ordered_schedule


def disorder():
    few = data.train[:min(200, len(data.train))]
    rest = relax(H, few, tolerance=1e-3, device=device)
    ordered = anneal(H, shape, len(few), seed=seed + 2, device=device, schedule=ordered_schedule(p))
    return {"states": torch.cat([few[:4], rest[:4]]),
            "order": {"training data": order(H, few), "the same, relaxed": order(H, rest),
                      "over-relaxation, relaxed": order(H, ordered)},
            "defects": np.array([defects(c, shape) if len(c := skyrmion_centres(one)) else 0.0 for one in few])}

# %%
few = result_cache.cached("data-order", system, disorder)
fig = plotting.gallery(few.states.numpy(),
                       [f"E/N = {float(e):.4f} J" for e in H.energy_per_spin(few.states.double())], columns=4)
plotting.save(fig, figures, "data_gallery")
fig

# %% [markdown]
# The paper's description of its data, as numbers: for the training states, for the same states relaxed, and for
# states that were annealed with over-relaxation and then relaxed.

# %%
from IPython.display import Markdown

from evae_companion.experiments.report_tables import order_table

Markdown(order_table(few.order, p.lowest))

# %% [markdown]
# ## What the paper claims
# "It is highly unlikely" that the data hold redundant configurations. Here copies are counted among 200 states of
# each data set, up to the symmetries of the lattice and of the Hamiltonian.

# %%
from functools import partial

from evae_companion import claims


def copies(number):
    some = load_data(data_spec(p, number), device=device).train[:200]
    return {"redundant": order(H, some)["redundant"] / len(some)}

counted = [result_cache.cached("data-copies", {"data": data_spec(p, number).spec()}, partial(copies, number))
           for number in range(p.seeds)]
results = claims.dataset([vars(one) for one in counted])
Markdown(claims.save(figures, "01_dataset", results))

# %%
ideal = float(H.energy_per_spin(result_cache.ideal_lattice(data_spec(p)).double()))
shown = len(few.defects)
fig = plotting.dataset_statistics(data.train.statistics["energy"][:shown], data.train.statistics["charge"][:shown],
                                  few.defects, references={"best commensurate lattice": ideal},
                                  defect_label="share without six neighbours")
plotting.save(fig, figures, "data_statistics")
fig

# %% [markdown]
# ## Why the ground state is hard to reach
# Slower cooling lowers the mean energy. Skyrmions are topologically protected, and to heal a defect whole rows of them
# have to move. The difficulty depends on the size and on the annealer: over-relaxation finds order. With
# over-relaxation and full relaxation, a fair share of all annealings ends in the best lattice of a box as small as that
# of the preset laptop. At 128 × 128 at most three in a hundred do so. Where the data hold that state, no model can be
# *lower than every training configuration* (claim C2).

# %%
def ends(sweeps):
    batch = anneal(H, shape, n=32, seed=seed + 1, device=device,
                   schedule=Schedule(sweeps=sweeps, overrelax=p.ordered_overrelax))
    return H.energy_per_spin(batch.cpu().double()).numpy()

lengths = [p.ordered_sweeps // 4, p.ordered_sweeps, 4 * p.ordered_sweeps]
cooled = result_cache.cached("data-ends", system | {"sweeps": lengths, "overrelax": p.ordered_overrelax},
                             lambda: {"energies": np.stack([ends(sweeps) for sweeps in lengths])})
print("sweeps   mean E/N     best E/N     mean above the best lattice   annealings that reach it")
for sweeps, e in zip(lengths, cooled.energies, strict=True):
    print(f"{sweeps:6d}   {float(e.mean()):.6f}   {float(e.min()):.6f}    {float(e.mean()) - ideal:.2e} J"
          f"                    {100 * float((e < ideal + 1e-6).mean()):.0f} %")

# %% [markdown]
# ## The data in numbers

# %%
sets = {"train": data.train, "validation": data.validation, "test": data.test}
for name, spins in sets.items():
    s = spins.statistics
    print(f"{name:10s} {len(spins):6d} configurations   E/N = {s['energy'].mean():.5f} ± {s['energy'].std():.5f} J   "
          f"charge {s['charge'].min():.0f} ... {s['charge'].max():.0f}   <S^z> = {s['magnetisation'].mean():.3f}   "
          f"largest torque {s['torque'].max():.1e} J")
print(f"share of the first {shown} training configurations with a defect: {100 * (few.defects > 0).mean():.0f} %")
energies = data.train.statistics["energy"]
print(f"the lowest training configuration lies {energies.min() - ideal:.1e} J per spin "
      "above the best commensurate lattice, "
      f"{data.train.statistics['rest_energy'].min() - ideal:.1e} J once relaxed")

# %% [markdown]
# The paper gives no statistics of its data to compare with. [DATA.md](../benchmarks/DATA.md) compares schedules at
# the paper's lattice, Metropolis among them. More sweeps, over-relaxation and a descent that over-shoots each take
# disorder away.
#
# ## Try this
# Move `frame` through the annealing above: the skyrmions appear at once, then only their order changes.

# %%
widgets.explorer(lambda frame: plotting.gallery(states[frame][None],
                                                [f"T = {temperatures[frame]:.3f} J/$k_B$"], columns=1),
                 frame=range(len(states)))

# %% [markdown]
# Anneal a lattice with couplings of your own. A moved slider begins anew from random spins; more sweeps mean slower
# cooling. With "drawn" as the boundary, click squares in and out of the sample. All energies are in one unit, called
# J below the picture.
#
# Next: [the network and its loss](01_network_and_loss.ipynb).

# %%
widgets.AnnealingExplorer(size=64, J=p.J, D=p.D, B=p.B)

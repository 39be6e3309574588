# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · A system of your own
#
# *One minute on two cores the first time, at the laptop preset.*
#
# You will see the whole method once, from the constants of a film in SI units to a collapsed network. Change the
# cells and run.

# %% [markdown]
# ## From material constants
# A film has exchange stiffness $A$, Dzyaloshinskii-Moriya constant $D$, saturation magnetisation $M_s$ and anisotropy
# $K_u$ in a field $B$. On square cells of side $a$ it is a lattice. In units of $J=2At$, with $t$ the thickness, the
# constants of the lattice are
#
# $$\frac{D_{\mathrm{lattice}}}{J}=\frac{Da}{2A},\qquad \frac{B_{\mathrm{lattice}}}{J}=\frac{M_sBa^2}{2A},\qquad
# \frac{K_{\mathrm{lattice}}}{J}=\frac{K_{\mathrm{eff}}a^2}{2A},\qquad K_{\mathrm{eff}}=K_u-\tfrac12\mu_0M_s^2 .$$
#
# The last term is the demagnetisation of a thin film. The interfacial $D$ (`dmi = "neel"`) changes its sign: $D>0$ of
# mumax3 is negative here. The $D$ of chiral crystals (`"bloch"`) keeps its sign.
#
# The example is a Pt/Co/Ta film. In multilayers of this system Woo et al. saw skyrmions at room temperature (*Nature
# Materials* **15**, 501 (2016), doi:10.1038/nmat4593). **The numbers below are assumed**, of the order that is usual
# for such films. Put in yours.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
exchange_A = 1e-11  # J/m
dmi_D = 1.5e-3  # J/m^2
dmi = "neel"
magnetisation_Ms = 6e5  # A/m
anisotropy_Ku = 2.5e5  # J/m^3, out of the plane where positive
field = 0.06  # T, along +z
thickness = 0.9e-9  # m
cell = 8e-9  # m, the side of a lattice cell

# %%
import numpy as np
import torch

from evae_companion import plotting, widgets
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset
from evae_core.materials import K_B, Material

p = load_preset(preset)
figures = figures_folder(p)
film = Material(A=exchange_A, D=dmi_D, Ms=magnetisation_Ms, Ku=anisotropy_Ku, field=field, thickness=thickness, dmi=dmi,
                thin_film=True)
H = film.hamiltonian(cell)

# %%
# NBVAL_CHECK_OUTPUT
print(f"D = {H.D:.3f} J, B = {H.B:.3f} J, K = {H.K:.3f} J on cells of {1e9 * cell:g} nm; "
      f"J / k_B = {film.J / K_B:.0f} K")
print(f"helix period {1e9 * film.helix_period:.0f} nm, K_eff = {film.Keff:.3g} J/m^3, "
      + (f"wall width {1e9 * film.wall_width:.0f} nm" if film.Keff > 0
         else "an easy plane, without walls between up and down"))
print(f"without a field walls cost nothing from D = {1e3 * film.critical_D:.2f} mJ/m^2 on, "
      f"here {1e3 * abs(film.D):.2f}; "
      f"helices end at {1e3 * film.saturation_field:.0f} mT, here {1e3 * film.field:.0f}")

# %% [markdown]
# Look at three things before anything is computed:
#
# * $|D|$ must exceed its critical value. Otherwise the uniform state is the ground state, and skyrmions are only
#   metastable.
# * The same holds in fields well above the field at which helices end. A skyrmion lattice survives that field by a
#   third at most ($K=0$).
# * A helix period should hold at least ten cells and fit into the box a few times.
#
# This model has the stray field as $-\tfrac12\mu_0M_s^2$ only. In thick multilayers the stray field acts over
# distance and makes domains and bubbles wider than these.
#
# ## Or in lattice units
# `Hamiltonian(J, D, B, K, dmi, boundary)`: `dmi` is `"neel"` (interfaces) or `"bloch"` (chiral crystals). `boundary`
# is `"periodic"`, `"open"`, or a mask of magnetic sites, so that any shape can be cut out.

# %%
from dataclasses import asdict

from evae_companion.data_specs import ordered_schedule
from evae_companion.experiments import result_cache
from evae_core import anneal
from evae_core.annealing import ALGORITHM

y, x = np.mgrid[:p.size, :p.size] - (p.size - 1) / 2
shapes = {"film, periodic": "periodic", "square": "open", "disk": np.hypot(x, y) < p.size / 2,
          "triangle": (y > -0.45 * p.size) & (y + 3**0.5 * abs(x) < 0.45 * p.size)}
schedule = ordered_schedule(p)  # with over-relaxation, until wholly relaxed

# %%
def cooled(systems):  # one state of each Hamiltonian; kept in the store, as all that takes long
    depends = {"systems": [one.spec() for one in systems], "size": p.size, "schedule": asdict(schedule),
               "annealer": ALGORITHM}
    return result_cache.cached("own-states", depends, lambda: {"states": torch.cat([
        anneal(one, (p.size, p.size), n=1, seed=1, device=device, schedule=schedule) for one in systems])}).states

cut = cooled([film.hamiltonian(cell, edge) for edge in shapes.values()])
fig = plotting.gallery(cut.numpy(), list(shapes), columns=4)
plotting.save(fig, figures, "own_shapes")
fig

# %% [markdown]
# A list adds bonds other than those to the nearest neighbours. Each entry is $(\Delta y,\Delta x,J)$ or
# $(\Delta y,\Delta x,J,(D_x,D_y,D_z))$, every bond once. `shell` writes all bonds that are equal by symmetry.
#
# Here the film gets antiferromagnetic exchange to second neighbours. It weakens the exchange that smooth textures
# feel, $J+2J_2$, and so makes skyrmions smaller. The reduced field $B(J+2J_2)/D^2$ falls with it, so that they
# stretch into pieces of a helix. Where $J+2J_2<0$, the exchange alone turns the spins, without any $D$.

# %%
from dataclasses import replace

from evae_core.bonds import shell
from evae_core.observables import topological_charge

weaker = [0.0, -0.1, -0.2, -0.3]
frustrated = [replace(H, further=shell(1, 1, J2)) for J2 in weaker]
print("of a site:", [tuple(bond) for bond in frustrated[-1].further])
states = cooled(frustrated)
fig = plotting.gallery(
    states.numpy(), [f"$J_2$ = {J2:g} J\ncharge {float(q):.0f}"
                     for J2, q in zip(weaker, topological_charge(states), strict=True)], columns=4)
plotting.save(fig, figures, "own_bonds")
fig

# %% [markdown]
# ## Annealing
# `DataSpec` says what is wanted; `load_data` makes what the store does not hold.

# %%
from evae_companion.data_specs import DataSpec
from evae_companion.dataset import load_data
from evae_core.textures import uniform

shape = (p.size, p.size)
spec = DataSpec(H, shape, train=p.confined_train, validation=max(1, p.confined_train // 10), test=0, shard=p.shard,
                schedule=schedule)
data = load_data(spec, device=device, report=print)
ideal = result_cache.ideal_lattice(spec)
e, best = data.train.statistics["energy"], float(H.energy_per_spin(ideal.double()))
print(f"{len(e)} annealed states: E/N = {e.mean():.5f} ± {e.std():.5f} J, lowest {e.min():.5f} J; "
      f"best commensurate lattice {best:.5f} J, charge {float(topological_charge(ideal)):.0f}; "
      f"all spins up {float(H.energy_per_spin(uniform(shape))):.5f} J")

# %% [markdown]
# ## Training, up to the collapse
# The loss is that of [notebook 3](03_gamma_sweep.ipynb). A ladder is a list of $(\beta,\gamma,\text{steps})$. Each
# stage starts from the weights of the one before, the first from random weights. β is small first: the network learns
# to reproduce what it is shown. Then γ goes up.

# %%
from evae_companion.sweeps import train_stages
from evae_core.training.stages import chained

steps = p.confined_steps
rungs = [(1e-4, 0.0, 5 * steps), (1e-3, 100.0, steps), (1e-3, 1e3, steps), (1e-3, 3e3, steps), (1e-3, 1e4, steps)]
runs = train_stages(chained(rungs, p, seed=0), spec, device=device, report=print)

# %%
from evae_companion.trained import stage_spec
from evae_core.observables import kspace_mse


def measure():
    models = [trained.model() for trained in runs]
    drawn = [model.generate(min(100, p.samples), torch.Generator().manual_seed(0)) for model in models]
    return {"energy": [float(H.energy_per_spin(states.double()).mean()) for states in drawn],
            "mse": [kspace_mse(states) for states in drawn], "data_mse": kspace_mse(data.train[:100]),
            "pairs": torch.stack([model.generate(2, torch.Generator().manual_seed(1)) for model in models])}

# %%
drawn = result_cache.cached("own-collapse", {"last": stage_spec(runs[-1].stage, spec), "samples": p.samples}, measure)
print("   gamma   generated E/N     above that of the data    k-space MSE, of the data")
for trained, energy, mse in zip(runs, drawn.energy, drawn.mse, strict=True):
    print(f"{trained.stage.gamma:8g}   {energy:10.5f} J   {energy - e.mean():+18.5f} J   {mse / drawn.data_mse:20.3g}")

# %% [markdown]
# A network has collapsed where all its states are the same. The last column then goes to zero: the mean squared
# difference of the Fourier-transformed $S^z$ of two states ([notebook 6](06_collapse.ipynb)). Two generated states at
# every γ, one column per γ:

# %%
fig = plotting.collapse_states([f"γ = {trained.stage.gamma:g}" for trained in runs], {"generated": drawn.pairs.numpy()})
plotting.save(fig, figures, "own_collapse")
fig

# %% [markdown]
# ## To other programs
# OOMMF, mumax3, ubermag and Spirit read OVF. `evae_companion.io.export_decoder(model, "decoder.onnx")` writes a
# decoder for any program that runs ONNX. The documentation of `evae_companion.io` says which axis is which.

# %%
import tempfile
from pathlib import Path

from evae_companion.io import load_state, write_ovf

state = drawn.pairs[-1, 0]
with tempfile.TemporaryDirectory() as folder:  # a folder of your own in its place
    path = Path(folder) / "skyrmions.ovf"
    write_ovf(path, state, "binary 4", step=(cell, cell, thickness), title="m")
    print(f"{path.name}: {path.stat().st_size} bytes, read back: {torch.equal(load_state(path), state)}")

# %% [markdown]
# ## Try this
# States generated at every γ. Then set `field` above to 0 and run again: what becomes of the skyrmions?
#
# Next: [a learned spin-lattice potential](12_deepspin.ipynb).

# %%
def states(gamma):
    (trained,) = [t for t in runs if t.stage.gamma == gamma]
    return plotting.gallery(trained.model().generate(4, torch.Generator().manual_seed(2)).numpy(), columns=4,
                            title=f"γ = {gamma:g}")

widgets.explorer(states, gamma=[trained.stage.gamma for trained in runs])

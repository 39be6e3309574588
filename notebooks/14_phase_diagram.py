# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14 · A phase diagram from collapsed models
#
# *Some ten minutes on two cores the first time, at the laptop preset.*
#
# You will see which phase collapsed models find at every $D$ and field, beside annealing and states made by hand.
#
# Past a critical γ a model gives one state of low energy. Is it in the right phase? A short sweep is trained at each
# point of a small diagram. Three diagrams are compared: the lowest state of a fast annealing, the lowest of the
# collapsed model, and the lowest made by hand. All three are relaxed.
#
# Fields are in units of $D^2/J$: in the continuum the phases depend on $BJ/D^2$ alone. A film without anisotropy goes
# from helix to skyrmions to the uniform state.
#
# A finer diagram takes a cluster ([CLUSTER](../docs/CLUSTER.md)):
# `evae ensemble --preset paper --short --betas 1e-3 --D 0.2:0.3:3 --B 0:0.95:10 --reduced --scheduler ...`

# %% tags=["parameters"]
preset = "laptop"
device = "auto"

# %%
import numpy as np
from IPython.display import Markdown

from evae_companion import claims, plotting, widgets
from evae_companion.cluster.tables import by_chain
from evae_companion.experiments import phase_diagram
from evae_companion.experiments.phase_diagram import SATURATION, boundaries, ensemble, evidence, fitting
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset

p = load_preset(preset)
figures = figures_folder(p)

# %%
# NBVAL_CHECK_OUTPUT
print(f"the uniform state is lower than every helix from B J/D^2 = {SATURATION:.4f} on (continuum, no anisotropy)")

# %% [markdown]
# ## What is trained
# Every point has some thousand annealed states of a small periodic square, and two short sweeps from one first stage.
# One raises γ at β = 10⁻³, the other β at γ = 0. Stop at any time and run again.

# %%
plan = ensemble(p)
print(f"{len(plan) // 2} points of {plan[0].size} x {plan[0].size} sites, {plan[0].data.train} states each; "
      f"gammas {', '.join(f'{s.gamma:g}' for s in plan[1].stages)}; "
      f"betas {', '.join(f'{s.beta:g}' for s in plan[0].stages)}")
for D, (period, best) in fitting(plan).items():
    print(f"D = {D:g}: a helix of {period:.1f} sites; "
          f"the lowest that fits the box has {best:.1f} ({100 * (best / period - 1):+.0f} %)")
found = phase_diagram.run(p, device)
rows = by_chain(found.endings, claims.criticals)
for error in found.errors:
    print("not made:", error)

# %% [markdown]
# ## Which phase is lowest?
# A relaxed state is called
#
# * *skyrmions* where a square of one helix period holds a topological charge of at least 0.3 (a lattice has 0.5 to
#   1);
# * else *uniform* where its mean spin is longer than ½;
# * else *helix*, with whatever defects.
#
# A filled marker in the middle panel is evidence: at γ = 0 the model has learned its data and gives many states, and
# at the last γ it gives one. An open marker is none: a network that has learned nothing gives the uniform state
# whatever is right.
#
# Lines: where states made by hand are equally low, and the closed form for uniform against helix. A helix that does
# not fit the box costs energy, which moves its boundary.

# %%
shows = [evidence(row, claims.COLLAPSED) for row in rows]
points = [(row["D"], round(row["field"], 9), row) for row in rows]
lowest_made = {point: min((e, kind) for kind, e in kinds.items() if e == e) for point, kinds in found.made.items()}
span = sorted({min(p.phase_D), max(p.phase_D)})
lines = [("uniform = helix, closed form", span, [SATURATION] * len(span))]
lines += [(f"{low} = {high}, made states", sorted(crossing), [crossing[D] for D in sorted(crossing)])
          for (low, high), crossing in boundaries(found.made).items()]
fig = plotting.phase_diagram([
    ("annealed", [(D, b, row["phase_annealed"], True) for D, b, row in points]),
    ("E-VAE, collapsed", [(D, b, row["phase_generated"], words == "yes")
                           for (D, b, row), words in zip(points, shows, strict=True)]),
    ("made by hand", [(D, b, kind, True) for (D, b), (_, kind) in lowest_made.items()])], lines)
plotting.save(fig, figures, "phase_diagram")
fig

# %%
best = {(D, b): min((row["annealed_energy"], row["phase_annealed"]), (row["lowest_energy"], row["phase_generated"]),
                    lowest_made[D, b])
        for D, b, row in points}
right = [row["phase_generated"] == best[D, b][1] for D, b, row in points]
count = sum(words == "yes" for words in shows)
reached = sum(words == "yes" and row["lowest_energy"] < best[D, b][0] + 1e-6
              for (D, b, row), words in zip(points, shows, strict=True))
below = sum(row["lowest_energy"] < row["annealed_energy"] - 1e-6 for _, _, row in points)
Markdown(f"{count} of {len(points)} points are evidence; at "
         f"{sum(r and words == 'yes' for r, words in zip(right, shows, strict=True))} of these {count} the "
         "collapsed model's phase is that of the lowest state known. "
         f"At {reached} of them its energy is, too (to 1e-6 J per spin); at the others it "
         f"lies above. It is lower than the annealed one at {below} of all points.")

# %% [markdown]
# The states themselves, relaxed. One row per field; for every $D$ the annealed one and that of the E-VAE.

# %%
drawn = [(found.states[D, b][kind].numpy(), f"{kind.replace('lowest', 'E-VAE')}\nD = {D:g}\n$BJ/D^2$ = {b:g}")
         for b in p.phase_fields for D in p.phase_D for kind in ("annealed", "lowest")]
fig = plotting.gallery(np.stack([state for state, _ in drawn]), [words for _, words in drawn],
                       columns=2 * (len(p.phase_D) if len(p.phase_D) > 1 else len(p.phase_fields)))
plotting.save(fig, figures, "phase_diagram_states")
fig

# %% [markdown]
# In numbers. Energies are per spin above the lowest known here (J). All are of relaxed states, but for the mean as
# generated. "States" is the diversity of the generated states. "Right phase" is the phase of the lowest state known.

# %%
head = ("| D | B J/D² | lowest made | annealed | E-VAE, lowest | its median | as generated (mean) "
        "| L_RC at γ = 0, of the plateau's | states at γ = 0, last | evidence? | right phase? | the E-VAE is |\n"
        + "|---" * 12 + "|\n")

# %%
lines_ = []
for (D, b, row), words, agrees in zip(points, shows, right, strict=True):
    (energy, kind), low = lowest_made[D, b], best[D, b][0]
    gap = row["lowest_energy"] - row["annealed_energy"]
    verdict = ("the annealed one" if abs(gap) < 1e-6
               else f"{abs(gap):.1e} J {'below' if gap < 0 else 'above'} the annealed")
    if row["phase_generated"] != row["phase_annealed"]:
        verdict += f", {row['phase_generated']} for {row['phase_annealed']}"
    lines_.append(f"| {D:g} | {b:g} | {energy - low:.1e} ({kind}) | {row['annealed_energy'] - low:.1e} "
                  f"| {row['lowest_energy'] - low:.1e} | {row['median_energy'] - low:.1e} | {row['raw'] - low:.1e} "
                  f"| {row['reconstruction'] / row['plateau']:.2f} "
                  f"| {row['spread_first']:.2g}, {row['spread']:.1e} "
                  f"| {words} | {'yes' if agrees else 'no'} | {verdict} |")
Markdown(head + "\n".join(lines_))

# %% [markdown]
# ## Where do the sweeps collapse?
# * $\gamma_c$ by the states: where they become one.
# * $\gamma_c$ by $L_\mathrm{KL}$: where $L_\mathrm{KL}$ has doubled since γ = 100.
# * $\beta_c$ at γ = 0: where $L_\mathrm{KL}$ falls below 0.1 nats per latent variable.
#
# The two $\gamma_c$ differ by up to a factor of five: such short sweeps give an order of magnitude, and no trend. No
# marker: not reached, or one state before the sweep began.

# %%
def curves(name):
    return [(f"D = {D:g}", [b for d, b, _ in points if d == D], [row[name] for d, _, row in points if d == D])
            for D in p.phase_D]

fig = plotting.critical_fields([(r"$\gamma_c$, states", curves("gamma_c_states")),
                                (r"$\gamma_c$, $L_\mathrm{KL}$", curves("gamma_c_kl")),
                                (r"$\beta_c$, $L_\mathrm{KL}$", curves("beta_c_kl"))])
plotting.save(fig, figures, "phase_diagram_critical")
fig

# %% [markdown]
# ## Try this
# The three states of a point, relaxed: annealed, the lowest of the E-VAE, and its state of median energy.

# %%
def at(D, b):
    three = found.states[D, b]
    return plotting.gallery(np.stack([three[kind].numpy() for kind in ("annealed", "lowest", "median")]),
                            ["annealed", "E-VAE, lowest", "E-VAE, median"], columns=3,
                            title=f"D = {D:g}, $BJ/D^2$ = {b:g}")

widgets.explorer(at, D=sorted({D for D, _ in found.states}), b=sorted({b for _, b in found.states}))

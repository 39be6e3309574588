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
# Past a critical γ a model gives one state of low energy. Is it the right phase at every $D$ and $B$? This notebook trains a short ladder
# at each point of a small diagram, as many at a time as there are cores, and puts three diagrams side by side: the lowest state that a fast annealing found,
# the lowest that the collapsed model gives, and the lowest made by hand, all brought to rest before they are compared. Fields are measured in $D^2/J$: in the continuum the phases depend on
# $BJ/D^2$ alone, and a film without anisotropy goes from helix to skyrmions to the uniform state.
#
# The laptop's diagram: $D$ = 0.3, 0.35 and 0.4 $J$; $BJ/D^2$ = 0 and 0.15 (helix), 0.3 and 0.7 (skyrmions), 0.8 (uniform), so that 0.15 and 0.3, 0.7 and
# 0.8 lie on the two sides of the two boundaries. The whole notebook, with nothing in the store, took 11 minutes on two hyperthreads of one core with a little other work beside, 900 s of CPU time in all processes, a minute a point. Larger $D$ has smaller skyrmions, which this network learns later: at $D$ = 0.45, left out here, it stayed on its first plateau at three of the five fields. A finer one, on the machines of a cluster
# (docs/CLUSTER.md): `evae ensemble --preset paper --short --betas 1e-3 --D 0.2:0.3:3 --B 0:0.95:10 --reduced --scheduler ...`

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
# At every point some thousand annealed states of a small periodic square and two short ladders from one first stage: γ at β = 10⁻³, and β
# at γ = 0. Every shard and stage is an artifact of the store; stop at any time and run again.

# %%
plan = ensemble(p)
print(f"{len(plan) // 2} points of {plan[0].size} x {plan[0].size} sites, {plan[0].data.train} states each; "
      f"gammas {', '.join(f'{s.gamma:g}' for s in plan[1].stages)}; betas {', '.join(f'{s.beta:g}' for s in plan[0].stages)}")
for D, (period, best) in fitting(plan).items():
    print(f"D = {D:g}: a helix of {period:.1f} sites; the lowest that fits the box has {best:.1f} ({100 * (best / period - 1):+.0f} %)")
found = phase_diagram.run(p, device)
rows = by_chain(found.endings, claims.criticals)
for error in found.errors:
    print("not made:", error)

# %% [markdown]
# ## Which phase is lowest?
# A state at rest is called *skyrmions* where a square of one helix period holds a topological charge of at least 0.3 (a lattice has 0.5 to 1),
# else *uniform* where its mean spin is longer than ½, and *helix* otherwise, with whatever defects. A filled marker in the middle panel is evidence: at γ = 0 the
# model has learned its data ($L_\mathrm{RC}$ below half of what a network reaches that gives one spin everywhere) and gives many states, and at the last γ it
# gives one (they differ by less than 1 % of the data's k-space MSE). An open one is not: a network that never left its first plateau gives the uniform
# state whatever is right. Lines: where
# states made by hand are equally low, straight between the fields of the diagram, and the closed form (skyrmions are lower there, so it bounds no phase). The box counts: a helix that does not fit it costs energy, and moves its boundary.

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
best = {(D, b): min((row["annealed_energy"], row["phase_annealed"]), (row["lowest_energy"], row["phase_generated"]), lowest_made[D, b])
        for D, b, row in points}
right = [row["phase_generated"] == best[D, b][1] for D, b, row in points]
count = sum(words == "yes" for words in shows)
reached = sum(words == "yes" and row["lowest_energy"] < best[D, b][0] + 1e-6 for (D, b, row), words in zip(points, shows, strict=True))
below = sum(row["lowest_energy"] < row["annealed_energy"] - 1e-6 for _, _, row in points)
Markdown(f"{count} of {len(points)} points are evidence; at {sum(r and words == 'yes' for r, words in zip(right, shows, strict=True))} of these {count} the "
         f"collapsed model's phase is that of the lowest state known. At {reached} of them its energy is, too (to 1e-6 J per spin); at the others it "
         f"lies above. It is lower than the annealed one at {below} of all points.")

# %% [markdown]
# The states themselves, all at rest, one row a field, for every $D$ the annealed one and the E-VAE's:

# %%
drawn = [(found.states[D, b][kind].numpy(), f"{kind.replace('lowest', 'E-VAE')}\nD = {D:g}\n$BJ/D^2$ = {b:g}")
         for b in p.phase_fields for D in p.phase_D for kind in ("annealed", "lowest")]
fig = plotting.gallery(np.stack([state for state, _ in drawn]), [words for _, words in drawn],
                       columns=2 * (len(p.phase_D) if len(p.phase_D) > 1 else len(p.phase_fields)))
plotting.save(fig, figures, "phase_diagram_states")
fig

# %% [markdown]
# In numbers. Energies per spin above the lowest known here (J), all at rest but the mean as generated; states: how much generated ones differ, in the
# data's k-space MSE; evidence: see above; right phase: that of the lowest state known.

# %%
head = ("| D | B J/D² | lowest made | annealed | E-VAE, lowest | its median | as generated (mean) | L_RC at γ = 0, of the plateau's | states at γ = 0, last | evidence? | right phase? | the E-VAE is |\n"
        + "|---" * 12 + "|\n")
lines_ = []
for (D, b, row), words, agrees in zip(points, shows, right, strict=True):
    (energy, kind), low = lowest_made[D, b], best[D, b][0]
    gap = row["lowest_energy"] - row["annealed_energy"]
    verdict = "the annealed one" if abs(gap) < 1e-6 else f"{abs(gap):.1e} J {'below' if gap < 0 else 'above'} the annealed"
    if row["phase_generated"] != row["phase_annealed"]:
        verdict += f", {row['phase_generated']} for {row['phase_annealed']}"
    lines_.append(f"| {D:g} | {b:g} | {energy - low:.1e} ({kind}) | {row['annealed_energy'] - low:.1e} | {row['lowest_energy'] - low:.1e} | "
                  f"{row['median_energy'] - low:.1e} | {row['raw'] - low:.1e} | {row['reconstruction'] / row['plateau']:.2f} | "
                  f"{row['spread_first']:.2g}, {row['spread']:.1e} | {words} | {'yes' if agrees else 'no'} | {verdict} |")
Markdown(head + "\n".join(lines_))

# %% [markdown]
# ## Where do the ladders collapse?
# $\gamma_c$: by the states, where they become one; by $L_\mathrm{KL}$, where it has doubled since γ = 100. $\beta_c$ at γ = 0: where $L_\mathrm{KL}$ falls
# below a tenth of a nat a latent number. By the states it is the
# geometric mean of two stages' γ, right to a factor of 1.7; the others are interpolated on logarithmic axes. The two $\gamma_c$ differ by up to a factor of
# five: these short ladders give an order of magnitude, and no trend. No mark: not reached, or one state before the ladder began (where
# the data were not learned; $\beta_c$ means nothing there).

# %%
def curves(name):
    return [(f"D = {D:g}", [b for d, b, _ in points if d == D], [row[name] for d, _, row in points if d == D]) for D in p.phase_D]

fig = plotting.critical_fields([(r"$\gamma_c$, states", curves("gamma_c_states")), (r"$\gamma_c$, $L_\mathrm{KL}$", curves("gamma_c_kl")),
                                (r"$\beta_c$, $L_\mathrm{KL}$", curves("beta_c_kl"))])
plotting.save(fig, figures, "phase_diagram_critical")
fig

# %% [markdown]
# ## Look around
# The three states of a point: annealed, the E-VAE's lowest, and the one of its median energy, all at rest.

# %%
def at(D, b):
    three = found.states[D, b]
    return plotting.gallery(np.stack([three[kind].numpy() for kind in ("annealed", "lowest", "median")]),
                            ["annealed", "E-VAE, lowest", "E-VAE, median"], columns=3, title=f"D = {D:g}, $BJ/D^2$ = {b:g}")

widgets.explorer(at, D=sorted({D for D, _ in found.states}), b=sorted({b for _, b in found.states}))

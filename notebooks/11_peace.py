# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · Particle sizes from speckle
#
# A third system with the physics inside the estimator: the size distribution of a powder from the speckle that a laser makes
# of it ("PEACE", arXiv:2204.09516). The lit spot's edge is smeared by the grains, and the autocorrelation of the speckle in the
# Fourier plane of a lens shows by how much:
#
# $$\langle A(q)\rangle = |M(q)|^2 \left[\frac{\int r^2\,\mathrm{Jinc}(qr)\,p(r)\,dr}{\int r^2 p(r)\,dr}\right]^2,\qquad
# \mathrm{Jinc}(x)=\frac{2J_1(x)}{x}$$
#
# with $M$ the Fourier transform of the beam's intensity, $p(r)$ the number density of the grains' radius. The paper's full text is not at
# hand: what is compared here is estimator with estimator on the same data, not with the paper's tables.

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
frames = 60
count = 40

# %%
import time

import numpy as np
from IPython.display import Markdown

from evae_core import load_preset, peace, plotting, widgets
from evae_core.peace import images, sizes, tracking, trial
from evae_core.presets import figures_folder

p = load_preset(preset)
figures = figures_folder(p)
if p.name == "smoke":
    frames, count = 4, 4
grid = sizes.size_grid()

# %%
# NBVAL_CHECK_OUTPUT
law = peace.Law(peace.Optics(), grid)
powder = sizes.lognormal(grid, 300e-6, 0.3)
print("lag (pixels)  A: " + "  ".join(f"{lag}: {float(law(powder)[48, 48 + lag]):.5f}" for lag in (0, 1, 2, 4, 8)))

# %% [markdown]
# ## 1 · The law and the simulator
# Frames of grains at random, random phases, intensity by FFT; against the law with the term of the grains' number,
# $\langle r^4\,\mathrm{Jinc}^2(qr)\rangle / (N\langle r^2\rangle^2)$, which the published law leaves out.

# %%
small = peace.Optics(pixel=9.6e-6, crop=64, shape=(512, 512))
grains = sizes.lognormal(grid, 130e-6, 0.3)
each = np.array([images.radial(peace.autocorrelation([frame.numpy()], 64).mean)[1]
                 for frame in peace.frames(small, grains, grid, n=512, count=frames, grains=5000, seed=3)])
lags, with_number, _ = images.radial(peace.Law(small, grid)(grains, grains=5000).numpy())
plain = images.radial(peace.Law(small, grid)(grains).numpy())[1]
mean, error = each.mean(0), each.std(0, ddof=1) / np.sqrt(frames)
print(f"main lobe (A > 0.15): largest deviation {100 * np.abs(mean / with_number - 1)[with_number > 0.15].max():.2f} %; "
      f"side lobes: {np.sqrt(np.mean(((mean - with_number)[3:] / error[3:]) ** 2)):.2f} standard errors (rms)")
fig = plotting.law_against_simulator(lags[1:], with_number[1:], mean[1:], error[1:], plain=plain[1:])
plotting.save(fig, figures, "fig11_law")
fig

# %% [markdown]
# ## 2 · Two lines for a measurement
# An autocorrelation, an image or a one-dimensional cut, and the optics. Here the law's own, without noise:

# %%
found = peace.estimate(law(powder).numpy(), peace.Optics(), frames=200)
print(", ".join(f"d{k} = {found.d(k)[0] * 1e6:.0f} ({found.d(k)[1] * 1e6:.0f} to {found.d(k)[2] * 1e6:.0f}) um" for k in (10, 50, 90))
      + f"; effective size {found.effective[0] * 1e6:.0f} um")

# %% [markdown]
# ## 3 · Estimators side by side
# "peace" is the network with the forward law in its loss, "plain" the same network without it, then non-negative least
# squares and Tikhonov (weight by the discrepancy principle). Distances are mean |difference| of cumulative curves: W1 in units of
# the range 10 to 1200 µm. 5000 independent grains a frame. Kinds below the line were not trained on.

# %%
networks = {name: peace.estimator.trained(name) for name in peace.estimator.available()}
shape = next(iter(networks.values()))[0].shape
image = trial.reduction_of(peace.Optics(), False, shape)
cut = trial.reduction_of(peace.Optics(), True, shape)

def row(words, case):
    scores = trial.compare(case, networks, made=cut if case.cut else image)
    return words, scores

def table(rows):
    names = [score.method for score in rows[0][1]]
    head = "| | " + " | ".join(f"{n}: volume / number / d50" for n in names) + " |\n|---" + "|---" * len(names) + "|\n"
    return Markdown(head + "\n".join(f"| {words} | " + " | ".join(
        f"{x.volume:.4f} / {x.number:.4f} / {100 * x.d_volume[1]:.1f} %" for x in scores) + " |" for words, scores in rows))

kinds = [row(kind, trial.Case(kind=kind, count=count)) for kind in (*sizes.TRAINED, *sizes.UNSEEN)]
table(kinds)

# %% [markdown]
# By frames, by size, without the surface's noise, on a cut, and with the focal length off by 2 % (log-normals):

# %%
by_frames = [row(f"{n} frames", trial.Case(frames=n, count=count)) for n in (1, 10, 50, 200)]
by_size = [row(f"{1e6 * m:.0f} um", trial.Case(median=m, count=count)) for m in (50e-6, 100e-6, 200e-6, 400e-6, 700e-6, 1e-3)]
others = [row("no surface noise", trial.Case(grains=1e9, count=count)), row("200 grains a frame", trial.Case(grains=200, count=count)),
          row("cut", trial.Case(cut=True, count=count)),
          row("focal length + 2 %", trial.Case(focal_error=0.02, count=count)),
          row("focal length - 2 %", trial.Case(focal_error=-0.02, count=count))]
table(by_frames + by_size + others)

# %%
def curves(rows):
    return {name: [scores[k].volume for _, scores in rows] for k, name in enumerate(x.method for x in rows[0][1])}

fig = plotting.score_curves([("frames", [1, 10, 50, 200], curves(by_frames)),
                             ("median size (µm)", [50, 100, 200, 400, 700, 1000], curves(by_size))], goal=0.007)
plotting.save(fig, figures, "fig11_scores")
fig

# %% [markdown]
# How honest is the error that is told? Share of the cumulative curve's errors within twice of it:

# %%
for words, scores in kinds + by_frames:
    print(f"{words}: " + ", ".join(f"{x.method} {x.within:.2f}" for x in scores if x.within == x.within))

# %% [markdown]
# ## 4 · Drying: a powder that breaks up
# Lumps of 700 µm turn into grains of 250 µm while frames come in; the autocorrelation is a running mean over 20 frames of a
# simulated camera (1024 × 1024), so the answer lags behind by about as many.

# %%
camera = peace.Optics(shape=(1024, 1024))
length = frames
tracker, found, truth = peace.Tracker(camera, window=20), [], []
seconds = []
for k, numbers in enumerate(tracking.break_up(grid, length)):
    (frame,) = peace.frames(camera, numbers, grid, n=1024, grains=2000, seed=100 + k)
    start = time.perf_counter()
    found.append([tracker.update(frame.numpy()).d(x) for x in (10, 50, 90)])
    seconds.append(time.perf_counter() - start)
    truth.append([sizes.quantile(sizes.weighted(numbers, grid, sizes.VOLUME), grid, x) for x in (0.1, 0.5, 0.9)])
found, truth = np.array(found), np.array(truth)
print(f"one image of 1024 x 1024: {np.median(seconds[1:]) * 1e3:.0f} ms from image to sizes, {1 / np.median(seconds[1:]):.1f} images a second")
fig = plotting.evolution(np.arange(length), truth, *(found[..., k] for k in range(3)))
plotting.save(fig, figures, "fig11_drying")
fig

# %% [markdown]
# ## Look around
# A log-normal powder, its law with noise, and what is found.

# %%
def one(median=300, width=0.3, frames=200):
    case = trial.Case(frames=frames)
    covariance = image.covariance(case.frames, case.frames * case.grains)
    numbers = sizes.lognormal(grid, median * 1e-6, width)
    clean = peace.learning.squared_of(numbers, grid, image.nodes)
    noise = peace.learning.factor(covariance) @ np.random.default_rng(0).standard_normal(len(clean))
    curves = {"true": np.cumsum(sizes.weighted(numbers, grid, sizes.VOLUME))}
    for name, nets in networks.items():
        _, _, volume, error = peace.estimator.predict(nets, clean + noise, np.sqrt(np.diag(covariance)))
        curves[name] = (np.cumsum(volume), error[1])
    return plotting.cumulative_curves([(f"{median} µm, width {width}, {frames} frames", grid, curves)])

widgets.explorer(one, median=[60, 100, 200, 300, 500, 800], width=[0.05, 0.15, 0.3, 0.5], frames=[1, 10, 50, 200])

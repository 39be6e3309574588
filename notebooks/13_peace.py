# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 13 · Particle sizes from speckle
#
# *Two minutes on two cores the first time, at the laptop preset; seconds from the store.*
#
# You will see the sizes of the grains of a powder, found from the speckle that a laser makes of it.
#
# This is a third system with the physics inside the estimator ("PEACE", arXiv:2204.09516). Wanted is the size
# distribution of the powder. The grains smear the edge of the lit spot. The autocorrelation of the speckle in the
# Fourier plane of a lens shows by how much:
#
# $$\langle A(q)\rangle = |M(q)|^2 \left[\frac{\int r^2\,\mathrm{Jinc}(qr)\,p(r)\,dr}{\int r^2 p(r)\,dr}\right]^2,\qquad
# \mathrm{Jinc}(x)=\frac{2J_1(x)}{x}$$
#
# * $A$ is the normalised autocovariance of the image, $A(0)=1$.
# * $q=2\pi u/(\lambda f)$ at a shift $u$ on the camera, wavelength $\lambda$ and focal length $f$.
# * $M$ is the Fourier transform of the beam's intensity, $M(0)=1$.
# * $p(r)$ is the number density of the radius of the grains.

# %% [markdown]
# *Size* is the published convention: the number that is reported stands where the law has the radius
# (`Optics(size=...)` changes it). The paper's full text is not at hand. So estimators are compared with each other on
# the same data, not with the paper's tables.
#
# Most simulated frames have 5000 independent grains, one over another, which would cover the 4.8 mm spot 10 to 120
# times. Side by side, some 50 grains of 300 µm fit. For such beds errors are larger: `benchmarks/PEACE.md`, "Grains
# side by side".

# %% tags=["parameters"]
preset = "laptop"
device = "auto"
frames = 60
count = 30

# %%
import numpy as np
import torch

from evae_companion import peace, plotting, widgets
from evae_companion.experiments import result_cache
from evae_companion.peace import images, plots, sizes
from evae_companion.places import figures_folder
from evae_companion.presets import load_preset

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
# The simulator makes frames of grains at random places with random phases, and the intensity by FFT. They are
# compared with the law and a term that the published law leaves out. It comes from the number $N$ of lit grains:
# $\langle r^4\,\mathrm{Jinc}^2(qr)\rangle / (N\langle r^2\rangle^2)$. (The sum is then divided by its value at
# $q=0$.)

# %%
small = peace.Optics(pixel=9.6e-6, crop=64, shape=(512, 512))
grains = sizes.lognormal(grid, 130e-6, 0.3)
each = result_cache.cached("peace-law", {"frames": frames}, lambda: {"each": np.array([
    images.radial(peace.autocorrelation([frame.numpy()], 64).mean)[1]
    for frame in peace.frames(small, grains, grid, n=512, count=frames, grains=5000, seed=3)])}).each
lags, with_number, _ = images.radial(peace.Law(small, grid)(grains, grains=5000).numpy())
plain = images.radial(peace.Law(small, grid)(grains).numpy())[1]
mean, error = each.mean(0), each.std(0, ddof=1) / np.sqrt(frames)

# %%
print("main lobe (A > 0.15): largest deviation "
      f"{100 * np.abs(mean / with_number - 1)[with_number > 0.15].max():.2f} %; "
      f"side lobes: {np.sqrt(np.mean(((mean - with_number)[3:] / error[3:]) ** 2)):.2f} standard errors (rms)")
one = each.std(0, ddof=1)
for k in (4, 9, 16):
    if frames >= 2 * k:
        blocks = each[:frames // k * k].reshape(frames // k, k, -1).mean(1)
        print(f"means over {k:2d} frames scatter "
              f"{np.sqrt(np.mean((blocks.std(0, ddof=1)[1:] / one[1:]) ** 2)):.3f} times as much as single frames "
              f"(1/sqrt({k}) = {k**-0.5:.3f})")
fig = plots.law_against_simulator(lags[1:], with_number[1:], mean[1:], error[1:], plain=plain[1:])
plotting.save(fig, figures, "peace_law")
fig

# %% [markdown]
# ## 2 · Two lines for a measurement
# An estimate takes an autocorrelation, an image or a one-dimensional cut, and the optics. Here the autocorrelation is
# that of the law itself, without noise. (For a bed of grains add `coverage=0.6, overlap=False`; coverage is the share
# of the lit area that they cover.)

# %%
found = peace.estimate(law(powder).numpy(), peace.Optics(), frames=200)
print(", ".join(f"d{k} = {found.d(k)[0] * 1e6:.0f} ({found.d(k)[1] * 1e6:.0f} to {found.d(k)[2] * 1e6:.0f}) um"
                for k in (10, 50, 90))
      + f"; effective size {found.effective[0] * 1e6:.0f} um")

# %% [markdown]
# ## 3 · Estimators side by side
# * "peace" is the network with the forward law inside. The law is in its loss (which brings nothing, see below). And
#   what the law leaves unexplained of its answer is given back to it, four times over.
# * "plain" is the same perceptron without either. It was trained for as many steps, the last 10 000 of which took
#   "peace" four times as long.
# * Then there are non-negative least squares and Tikhonov (weight by the discrepancy principle).
#
# Distances are mean |difference| of cumulative curves: W1 in units of the range 10 to 1200 µm. For d50 by volume the
# tables have the median |relative error|.
#
# Where nothing else is said, a row has 200 frames and 30 powders (15 for the focal lengths), with 5000 independent
# grains per frame. The last three kinds were not trained on.

# %%
from dataclasses import asdict
from types import SimpleNamespace

from evae_companion.peace import method_comparison
from evae_companion.store.artifact import sha256

networks = {name: peace.estimator.trained(name) for name in peace.estimator.available()}
shape = next(iter(networks.values()))[0].shape
image = method_comparison.reduction_of(peace.Optics(), False, shape)
cut = method_comparison.reduction_of(peace.Optics(), True, shape)

known = {name: sha256(peace.estimator.FOLDER / f"{name}.safetensors") for name in networks}  # what results depend on

# %%
def rows(cases, nets=networks, **options):  # kept in the store, as all that takes long
    plain = [{key: None if value is None else np.asarray(value).tolist() for key, value in asdict(case).items()}
             for case in cases.values()]
    scores = result_cache.cached(
        "peace-scores", {"cases": plain, "networks": {name: known[name] for name in nets}} | options, lambda: {
            "rows": [[asdict(score) for score in method_comparison.compare(
                case, nets, made=cut if case.cut else image, **options)] for case in cases.values()]}).rows
    return [(words, [SimpleNamespace(**score) for score in of_case])
            for words, of_case in zip(cases, scores, strict=True)]

# %%
from IPython.display import Markdown


def table(rows):
    names = [score.method for score in rows[0][1]]
    head = "| | " + " | ".join(f"{n}: volume / number / d50" for n in names) + " |\n|---" + "|---" * len(names) + "|\n"
    return Markdown(head + "\n".join(f"| {words} | " + " | ".join(
        f"{x.volume:.4f} / {x.number:.4f} / {100 * x.d_volume[1]:.1f} %" for x in scores) + " |"
        for words, scores in rows))

kinds = rows({kind: method_comparison.Case(kind=kind, count=count) for kind in (*sizes.TRAINED, *sizes.UNSEEN)})
table(kinds)

# %% [markdown]
# How much of that error comes from the noise? `benchmarks/peace_floor.py` recorded three answers on log-normals at
# 200 frames:
#
# * a least-squares fit of median and width;
# * the posterior median under the families of the training: on average over these families the best (here on
#   log-normals alone, and on 150 of the 400 powders);
# * the networks on data without noise (but told of it).

# %%
import json
from pathlib import Path

recorded = json.loads((Path(peace.__file__).parents[2] / "benchmarks" / "peace.json").read_text())
for words in ("posterior", "log-normal fit", "peace", "peace, no noise", "plain", "plain, no noise"):
    print(f"{words}: mean distance by volume {recorded['floor'][words]:.4f}")

# %% [markdown]
# So "peace" is as good as a fit that knows the family, and near the posterior. Without noise it keeps most of its
# error, because it is told of noise and answers with caution.
#
# The next tables go by frames, by size, without the surface's noise, and on a cut (log-normals). Then the focal
# length is 2 % off, once trusted and once found from the data (`calibration`). Near $q=0$ a wrong scale looks like
# other sizes. But the places of the zeros of $|M|^2$ on the camera do not depend on the sizes. They give the scale,
# which is beam width over focal length. (If it is the beam that is off, sizes stay wrong by as many per cent.)

# %%
by_frames = rows({f"{n} frames": method_comparison.Case(frames=n, count=count) for n in (1, 10, 50, 200)})
by_size = rows({f"{1e6 * m:.0f} um": method_comparison.Case(median=m, count=count)
                for m in (50e-6, 100e-6, 200e-6, 400e-6, 700e-6, 1e-3)})
others = rows({"no surface noise": method_comparison.Case(grains=1e9, count=count),
               "200 grains a frame": method_comparison.Case(grains=200, count=count),
               "cut": method_comparison.Case(cut=True, count=count)})
wrong = rows({f"focal length {100 * e:+.0f} %, {words}": method_comparison.Case(
    focal_error=e, calibration=trust, count=count // 2)
              for e in (0.0, 0.02, -0.02) for words, trust in (("trusted", 0.0), ("found", 0.02))})
table(by_frames + by_size + others + wrong)

# %%
def curves(rows):
    return {name: [scores[k].volume for _, scores in rows] for k, name in enumerate(x.method for x in rows[0][1])}

fig = plots.score_curves([("frames", [1, 10, 50, 200], curves(by_frames)),
                             ("median size (µm)", [50, 100, 200, 400, 700, 1000], curves(by_size))], goal=0.007)
plotting.save(fig, figures, "peace_scores")
fig

# %% [markdown]
# The effective size, $\sqrt{\langle r^4\rangle/\langle r^2\rangle}$, needs no inversion: it is the curvature of
# $A/|M|^2$ at $q=0$. Its median |relative error| (log-normals), from the curvature alone and from the distribution
# that "peace" finds:

# %%
def effective(case):
    p_true, data = method_comparison.make(case, peace.Optics(), image, grid)
    alone = np.array([peace.inverse.effective_radius(y, image.nodes, c)
                      for y, c in zip(data.squared, data.covariance, strict=True)])[:, 0]
    _, found, _, _ = peace.estimator.predict(networks["peace"], *data.resample_for(peace.Optics(), shape), data.doubt)
    true, of_found = (np.sqrt((np.asarray(p) @ grid**4) / (np.asarray(p) @ grid**2)) for p in (p_true, found))
    return [100 * float(np.median(np.abs(x / true - 1))) for x in (alone, of_found)]

of_frames = result_cache.cached("peace-effective", {"count": count, "networks": known}, lambda: {
    "found": [[n, *effective(method_comparison.Case(frames=n, count=count))] for n in (1, 10, 50, 200)]}).found
for n, alone, of_found in of_frames:
    print(f"{n} frames: curvature {alone:.2f} %, peace {of_found:.2f} %")

# %% [markdown]
# How honest is the error that the network tells, the expected |error|? The share of the errors of the cumulative
# curve that are within twice the told error; a Gaussian would give 0.89:

# %%
for words, scores in kinds + by_frames + wrong:
    print(f"{words}: " + ", ".join(f"{x.method} {x.within:.2f}" for x in scores if x.within == x.within))

# %% [markdown]
# On kinds trained on the told error is right, but for mixtures. On unseen kinds with other shapes too little is told
# (Rosin-Rammler, two narrow peaks).
#
# d10, d50, d90, median error, by volume and by number (log-normals):

# %%
for words, scores in by_frames:
    print(f"{words}: " + "; ".join(
        f"{x.method} " + " / ".join(f"{100 * v:.1f}" for v in (*x.d_volume, *x.d_number)) + " %" for x in scores))

# %% [markdown]
# Two peaks of width 0.1, by volume, the finer at 150 µm: how far apart, and in which ratio?

# %%
def two_peaks(apart, share):
    one, two = (sizes.weighted(sizes.lognormal(grid, m, 0.1), grid, sizes.VOLUME) for m in (150e-6, 150e-6 * apart))
    return sizes.numbers(share * one + (1 - share) * two, grid, sizes.VOLUME)

peaks = rows({f"{apart} times, {100 * share:.0f} % fine": method_comparison.Case(
    powder=two_peaks(apart, share), count=max(count // 4, 2))
              for apart in (1.5, 2, 3, 5) for share in (0.2, 0.5, 0.8)})
table(peaks)

# %% [markdown]
# None of these pairs can be called resolved: the mean distance is about 0.15 of the gap at every ratio. (This is at
# half of the volume each; then d50 lies in the gap, and its error says nothing.)
#
# What is the law worth? `benchmarks/peace_labels.py` recorded networks trained from random weights for 1500 steps,
# with 100 labelled distributions or all. The law enters as the term in the loss, which needs no label, and as its
# residual given back (rounds).

# %%
def worth(rows, columns):
    shown = ("lognormal", "mixture", "rosin_rammler", "two_narrow")
    return Markdown(
        f"| {' | '.join((*columns, *shown))} |\n" + "|---" * (len(columns) + len(shown)) + "|\n" + "\n".join(
            f"""| {' | '.join(str(row[c] or 'no') if c == 'rounds' else str(row[c] or 'all') if c == 'labelled'
                             else str(row[c]) for c in columns)} | """
            + " | ".join(f"{row[kind]:.4f}" for kind in shown) + " |" for row in rows))

worth(recorded["labels"]["trained"], ("labelled", "rounds", "weight"))

# %% [markdown]
# The residual given back helps with few labels and with all. The term in the loss helps nowhere beyond what one
# training each can tell (some 0.001), and alone mostly harms.
#
# Trained networks tuned on unlabelled data alone, by the physics term, at several rates:

# %%
worth(recorded["labels"]["tuned"], ("network", "steps", "rate"))

# %% [markdown]
# It harms, the more the further it goes. The reason: the physics term of the tuned networks falls below that of the
# truth itself. Fourth roots of a noisy autocorrelation are fitted best by something else.

# %%
def terms():
    case = method_comparison.Case(count=3 * count)
    p_true, data = method_comparison.make(case, peace.Optics(), image, grid)
    given = (data.squared, data.spread, image.beam2)
    tuned = peace.learning.fine_tune(networks["peace"][:1], *given, data.doubt)

    def term(area):
        return float(peace.learning.physics_term(tuned[0], *(
            torch.tensor(np.array(x), dtype=torch.float32) for x in (area, *given))).mean())

    return {"truth": term(sizes.weighted(p_true, grid, sizes.AREA))} | {
        words: term(peace.estimator.predict(nets, *given[:2], data.doubt)[0])
        for words, nets in (("peace", networks["peace"][:1]), ("tuned", tuned))}

# %%
found = result_cache.cached("peace-term", {"count": count, "networks": known}, terms)
print("physics term: " + ", ".join(f"{words} {term:.5f}" for words, term in vars(found).items()))

# %% [markdown]
# By kind, here and now: "tuned" is "peace" after 100 steps of the term at a rate of 1e-4 on the case's own data, all
# at once.

# %%
unseen = {k: method_comparison.Case(kind=k, count=count) for k in ("lognormal", *sizes.UNSEEN)}
strange = {"1 frame": method_comparison.Case(frames=1, count=count),
           "focal length - 2 %, trusted": method_comparison.Case(focal_error=-0.02, count=count)}
table(rows(unseen | strange, {"peace": networks["peace"]}, least_squares=False, tune=100))

# %% [markdown]
# ## 4 · From frames to sizes
# End to end: frames of 5000 grains, a camera, the autocorrelation of so many frames, the estimate. The camera has 8
# bits, 500 photo-electrons for the mean intensity and read noise of 2 % of it. Nothing is told of its noise, which
# sits on lag 0 and is left out with it.
#
# The finite number of grains at random gives the term of section 1. This is as large as the law itself from about the
# fifth ring of the beam on. With `grains=5000` (or `coverage=`, the share of the lit area) the term is formed from
# the sizes found and taken off. Beside it stands every estimator without. With so many grains it is worth little to
# the networks; what matters is lag 0.

# %% [markdown]
# The shade is the error that "peace" tells, which does not cover the broad answer at 400 µm. The grid ends at 10 µm,
# so the answers of least squares by number are no measurement.
#
# The pixels of this camera are twice those that the networks were trained for. So the networks are shown the data as
# their own camera would (`peace.view`). More of this, and beds of grains side by side: `benchmarks/PEACE.md`.

# %%
from evae_companion.peace import end_to_end

powders = {"150 µm": sizes.lognormal(grid, 150e-6, 0.3), "400 µm": sizes.lognormal(grid, 400e-6, 0.2),
           "150 and 450 µm": two_peaks(3, 0.5)}
averaged = [n for n in (1, 10, 50, 200) if n <= frames]
told, distances, panels = {"published law": {}, "number known": {"grains": 5000}}, {}, []

def answers(p_true, seed):
    for words, method, n, answer in end_to_end.rehearse(small, p_true, grid, averaged, told, seed=seed):
        yield {"words": words, "method": method, "n": n, "distance": end_to_end.distance(answer, p_true, grid),
               "d": [[answer.d(x)[0] * 1e6, answer.d(x, "number")[0] * 1e6] for x in (10, 50, 90)],
               "height": float(answer.height[0]), "scale": float(answer.scale[0]),
               "curve": end_to_end.curve(answer, grid).tolist(),
               "error": np.interp(grid, answer.sizes, answer.error_volume).tolist() if method == "peace" else None}

# %%
found = result_cache.cached(
    "peace-frames", {"powders": [p_true.tolist() for p_true in powders.values()], "averaged": averaged,
                     "networks": known},
    lambda: {"answers": [list(answers(p_true, seed)) for seed, p_true in enumerate(powders.values())]}).answers

# %%
for of_powder, (name, p_true) in zip(found, powders.items(), strict=True):
    by_volume = sizes.weighted(p_true, grid, sizes.VOLUME)
    shown = {"true": np.cumsum(by_volume)}
    print(f"{name}, true: " + ", ".join(
        f"d{x} {1e6 * sizes.quantile(by_volume, grid, x / 100):.0f} µm" for x in (10, 50, 90)))
    for answer in of_powder:
        method, n = answer["method"], answer["n"]
        distances.setdefault((method, answer["words"]), {}).setdefault(n, []).append(answer["distance"])
        if n == averaged[-1] and answer["words"] == "number known":
            curve = np.array(answer["curve"])
            shown[method] = (curve, np.array(answer["error"])) if method == "peace" else curve
            print(f"{name}, {n} frames, {method}: " + ", ".join(f"d{x} {volume:.0f} (number {number:.0f}) µm"
                  for x, (volume, number) in zip((10, 50, 90), answer["d"], strict=True))
                  + f"; lag 0 high by {100 / answer['height'] - 100:.2f} %, scale {answer['scale']:.4f}")
    panels.append((f"{name}, {averaged[-1]} frames", grid, shown))

# %%
for (method, words), by in distances.items():
    print(f"{method}, {words}: mean distance by volume "
          + ", ".join(f"{n} frames {np.mean(d):.4f}" for n, d in by.items()))
fig = plots.cumulative_curves(panels)
plotting.save(fig, figures, "peace_frames")
fig

# %% [markdown]
# ## 5 · Drying: a powder that breaks up
# Lumps of 700 µm turn into grains of 250 µm while frames come in. The autocorrelation is an exponentially forgetting
# mean (20 frames; the plain mean before that), so the answer lags by about 20 frames. The camera is simulated: 1024 ×
# 1024, without noise, 2000 grains, their number not told.
#
# While both sizes are in the mean, the answer is also broader than the truth at any time. The band does not cover
# this: the error told knows of noise, not of a mixture of times.

# %%
import time

from evae_companion.peace import tracking

camera = peace.Optics(shape=(1024, 1024))
length = frames

# %%
def track():
    tracker, found, truth, seconds = peace.Tracker(camera, window=20), [], [], []
    for k, numbers in enumerate(tracking.break_up(grid, length)):
        (frame,) = peace.frames(camera, numbers, grid, n=1024, grains=2000, seed=100 + k)
        start = time.perf_counter()
        found.append([tracker.update(frame.numpy()).d(x) for x in (10, 50, 90)])
        seconds.append(time.perf_counter() - start)
        truth.append([sizes.quantile(sizes.weighted(numbers, grid, sizes.VOLUME), grid, x) for x in (0.1, 0.5, 0.9)])
    return {"found": np.array(found), "truth": np.array(truth), "seconds": np.array(seconds)}

# %%
drying = result_cache.cached("peace-drying", {"frames": length, "networks": known}, track)
found, truth, seconds = drying.found, drying.truth, drying.seconds
print(f"one image of 1024 x 1024: {np.median(seconds[1:]) * 1e3:.0f} ms from image to sizes, "
      f"{1 / np.median(seconds[1:]):.1f} images a second")
fig = plots.evolution(np.arange(length), truth, *(found[..., k] for k in range(3)))
plotting.save(fig, figures, "peace_drying")
fig

# %% [markdown]
# ## 6 · Skyrmions: where the analogy ends
# Coherent scattering of the $m_z$ contrast of a film under a finite beam makes speckle too, but a skyrmion is smooth:
# all of it scatters in phase. The speckle of a dilute gas at random places has the autocorrelation of the beam alone,
# within the scatter of 16 states. The size is in the envelope $\langle f_r^2(q)\rangle$. This is the same term that
# the law of the powder has as a correction for the number of grains. Non-negative least squares give the mean size to
# some per cent. They use the profile that the gas was made of, their best case.
#
# In the states of this companion skyrmions sit side by side. The envelope shows rings of their order (and of the
# 48-site box, which is repeated to fill the beam, at multiples of $2\pi/48$). The fit ends at the edge of the sizes
# tried, which is no answer. So it does for annealed states as for states that the E-VAE generated.

# %%
from evae_companion.data_specs import data_spec
from evae_companion.dataset import load_data
from evae_companion.peace import magnetism
from evae_companion.sweeps import train_stages
from evae_companion.trained import stage_spec
from evae_companion.training_plans import BETA, compared
from evae_core import Hamiltonian, textures

H = Hamiltonian(D=0.6, B=0.2)
side, waist, states = 256, 40, 4 if p.name == "smoke" else 16
radii, q = np.linspace(2, 10, 33), np.arange(side) * np.pi / side
rng = np.random.default_rng(0)

# %%
def gas(median, width):
    places = magnetism.places(30, side, 2.2 * median, rng)
    return textures.skyrmions(H, (side, side), places,
                              np.clip(np.exp(rng.normal(np.log(median), width, len(places))), 2.5, 9))

def looked_at(spins, cells=None):  # what scattering tells of the states, and how large their skyrmions are
    seen = np.array([magnetism.intensity(one, waist) for one in spins])
    envelope = magnetism.envelope(seen.mean(0))
    return {"counted": np.concatenate([magnetism.skyrmion_radii(one)[1]
                                       for one in (spins if cells is None else cells)]).tolist(),
            "envelope": envelope.tolist(),
            "found": np.cumsum(magnetism.sizes_from_envelope(H, envelope[12:110], q[12:110], radii)).tolist(),
            "correlation": None if cells is not None else magnetism.correlation(seen, 12, 50)[16, 16:].tolist()}

# %%
def scatter():
    cells = {"annealed": load_data(data_spec(p)).test[:states]}
    sets = {"gas, 3.5 sites": [gas(3.5, 0.1) for _ in range(states)],
            "gas, 5.5 sites": [gas(5.5, 0.1) for _ in range(states)],
            "gas, broad": [gas(4.5, 0.3) for _ in range(states)]}
    if stage is not None:
        (trained,) = train_stages([stage], data_spec(p), device=device, report=print)
        cells["generated"] = result_cache.generate(trained.model(), states, seed=7)
    for name, dense in cells.items():
        repeats = side // dense.shape[-1] + 1
        sets[name] = [spins.tile(1, repeats, repeats)[:, :side, :side] for spins in dense]
    return {"sets": {name: looked_at(spins, cells.get(name)) for name, spins in sets.items()}}

# %%
stage = None if p.name == "smoke" else compared(p, BETA, (100.0,))[-1]  # at smoke networks learn nothing
network = stage and stage_spec(stage, data_spec(p))
looked = result_cache.cached(
    "peace-skyrmions", {"data": data_spec(p).spec(), "states": states, "network": network}, scatter).sets

# %%
correlations, envelopes, shares = {}, {}, {}
for name, one in looked.items():
    envelopes[name], found, counted = np.array(one["envelope"]), np.array(one["found"]), np.array(one["counted"])
    shares[name] = (np.mean(counted[:, None] <= radii, 0), found)
    if one["correlation"] is not None:
        correlations[name] = np.array(one["correlation"])
    print(f"{name}: counted {counted.mean():.2f} +- {counted.std():.2f} sites; from the envelope "
          f"{(weights := np.diff(found, prepend=0)) @ radii:.2f} "
          f"+- {np.sqrt(weights @ radii**2 - (weights @ radii) ** 2):.2f}"
          + f"; {weights[0]:.0%} of them at the edge of the sizes tried" * int(weights[0] > 0.01))
lags = np.arange(17)
fig = plots.skyrmion_speckle(lags, np.exp(-(lags * np.pi / side * waist) ** 2 / 2), correlations, q[3:130],
                                {name: y[3:130] for name, y in envelopes.items()}, radii, shares)
plotting.save(fig, figures, "peace_skyrmions")
fig

# %% [markdown]
# ## Look around
# A log-normal powder, its law with noise, and what is found: by "peace", the networks with the forward law inside,
# and by "plain", those without it. The shade is the error that each tells.

# %%
def one(median=300, width=0.3, frames=200):
    case = method_comparison.Case(frames=frames)
    covariance = image.covariance(case.frames, case.frames * case.grains)
    numbers = sizes.lognormal(grid, median * 1e-6, width)
    clean = peace.learning.squared_of(numbers, grid, image.nodes)
    noise = peace.learning.factor(covariance) @ np.random.default_rng(0).standard_normal(len(clean))
    curves = {"true": np.cumsum(sizes.weighted(numbers, grid, sizes.VOLUME))}
    for name, nets in networks.items():
        _, _, volume, error = peace.estimator.predict(nets, clean + noise, np.sqrt(np.diag(covariance)))
        curves[name] = (np.cumsum(volume), error[1])
    return plots.cumulative_curves([(f"{median} µm, width {width}, {frames} frame{'s' * (frames > 1)}", grid, curves)])

widgets.explorer(one, median=[60, 100, 200, 300, 500, 800], width=[0.05, 0.15, 0.3, 0.5], frames=[1, 10, 50, 200])

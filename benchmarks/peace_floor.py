"""How near the noise lets anyone come: networks against fits and posteriors that know what the powders are drawn from.

    python benchmarks/peace_floor.py [count]     # default 150 powders for the posterior; two minutes of one core

On log-normals with the noise of 200 frames, as in notebook 13:

* a least-squares fit of median and width: the family is known;
* the posterior median of every point of the cumulative curve when powders come from the families that networks are
  trained on (log-normals, mixtures, truncated): least mean distance that an estimator of this training can reach.
  Particles, tempered from the prior to the posterior with Metropolis moves within each family;
* the networks, with the noise and without it (told of it all the same): what is left without is their own.

Results go to build/peace/floor.json, from which benchmarks/bench_peace.py makes its table.
"""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares
from scipy.special import betaincinv

from evae_companion import peace
from evae_companion.peace import inverse, method_comparison, sizes
from evae_companion.peace.law import jinc

ROOT = Path(__file__).resolve().parents[1]
GRID = sizes.size_grid()
LOW, HIGH = np.log(sizes.TRUSTED)
SHARES, DIMENSIONS = (1 / 3, 0.7 / 3, 0.3 / 3, 1 / 3), (2, 5, 8, 4)  # lognormal, two or three of them, truncated
LEVELS = np.linspace(0, 1, 2001)
BETA = {pair: betaincinv(*pair, LEVELS) for pair in ((1.5, 1.5), (1.5, 3.0))}
PARTICLES, MOVES = 2000, 4


def law_of(made):
    """P^2 at the nodes as the reduction sees it, of shares (..., s): exact, with averaging over neighbourhoods."""
    law = peace.Law(peace.Optics(), GRID)
    q, where = np.unique(law.q, return_inverse=True)
    matrix = np.zeros((len(made.nodes), len(q)))
    np.add.at(matrix.T, where.ravel(), (made.matrix * law.beam2.ravel()).T)
    used = (matrix != 0).any(0)
    few = np.linspace(0, q[used].max(), 140)  # a spline: P is smooth in q
    matrix, kernel = matrix[:, used] @ CubicSpline(few, np.eye(len(few)))(q[used]), jinc(few[:, None] * GRID)
    return lambda p: (sizes.weighted(p, GRID, sizes.AREA) @ kernel.T) ** 2 @ matrix.T


def powders(family: int, u: np.ndarray) -> np.ndarray:
    """Shares by number (n, s) of points u (n, d) of the unit cube: sizes.draw with its random numbers given."""
    medians = np.exp(LOW + (HIGH - LOW) * u)
    if family == 0:
        return sizes.lognormal(GRID, medians[:, 0], 0.03 + 0.57 * u[:, 1])
    if family < 3:
        k = family + 1
        parts = sizes.weighted(sizes.lognormal(GRID, medians[:, :k], 0.03 + 0.37 * u[:, k:2 * k]), GRID, sizes.VOLUME)
        one = np.interp(u[:, 2 * k], LEVELS, BETA[1.5, 1.5 * family])
        two = (1 - one) * (np.interp(u[:, 7], LEVELS, BETA[1.5, 1.5]) if k == 3 else 1.0)
        share = np.stack((one, two, 1 - one - two)[:k], 1)
        return sizes.numbers(np.einsum("nk,nks->ns", share, parts), GRID, sizes.VOLUME)
    width = 0.2 + 0.6 * u[:, 1]
    ends = np.exp(width[:, None] * (0.1 + 1.4 * u[:, 2:4]) * (-1, 1))
    ends = np.clip(medians[:, :1] * ends, *sizes.TRUSTED)
    step = GRID[1] - GRID[0]
    inside = np.clip((GRID - ends[:, :1]) / step + 1, 0, 1) * np.clip((ends[:, 1:] - GRID) / step + 1, 0, 1)
    whole = sizes.weighted(sizes.lognormal(GRID, medians[:, 0], width), GRID, sizes.VOLUME)
    return sizes.numbers(whole * inside, GRID, sizes.VOLUME)


def posterior(squared, white, law, rng) -> np.ndarray:
    """Median over the posterior of the cumulative curve by volume, (s,)."""
    family, u = rng.choice(4, PARTICLES, p=SHARES), rng.random((PARTICLES, 8))

    def look(family, u):
        p = np.empty((len(u), len(GRID)))
        for f in np.unique(family):
            p[family == f] = powders(f, u[family == f])
        return p, (((law(p) - squared) @ white.T) ** 2).sum(1)

    def weights(step):
        w = np.exp(-step / 2 * (chi - chi.min()))
        return w / w.sum()

    p, chi = look(family, u)
    heat, stride = 0.0, np.ones(4)
    while heat < 1:
        steps = (1 - heat) * 0.8 ** np.arange(120)  # the largest that leaves half of the particles
        step = next(x for x in steps if 1 / (weights(x) ** 2).sum() > PARTICLES / 2 or x == steps[-1])
        kept = np.searchsorted(weights(step).cumsum(), (np.arange(PARTICLES) + rng.random()) / PARTICLES)
        kept, heat = kept.clip(max=PARTICLES - 1), heat + step
        family, u, p, chi = family[kept], u[kept], p[kept], chi[kept]
        roots = {f: np.linalg.cholesky(np.cov(u[family == f, :d].T) + 1e-14 * np.eye(d))
                 for f, d in enumerate(DIMENSIONS) if (family == f).sum() > 3 * d}
        for _ in range(MOVES):
            moved = u.copy()
            for f, root in roots.items():
                d, mine = len(root), np.flatnonzero(family == f)
                far = stride[f] * 2.38 / np.sqrt(d) * np.where(rng.random(len(mine)) < 0.5, 1.0, 0.2)
                moved[mine, :d] += (far[:, None] * rng.standard_normal((len(mine), d))) @ root.T
            tried = np.flatnonzero(((moved > 0) & (moved < 1)).all(1))
            new, level = look(family[tried], moved[tried])
            taken = rng.random(len(tried)) < np.exp(np.minimum(heat / 2 * (chi[tried] - level), 0))
            at = tried[taken]
            u[at], p[at], chi[at] = moved[at], new[taken], level[taken]
            for f in roots:
                stride[f] *= np.exp((np.isin(np.flatnonzero(family == f), at).mean() - 0.25) / 2)
    return np.median(np.cumsum(sizes.weighted(p, GRID, sizes.VOLUME), -1), 0)


def fitted(squared, white, law) -> np.ndarray:
    """The log-normal (s,) by number of least squares."""
    def apart(x):
        return white @ (law(sizes.lognormal(GRID, *np.exp(x))) - squared)

    starts = [(m, w) for m in np.linspace(LOW, HIGH, 25) for w in np.log((0.05, 0.12, 0.25, 0.5))]
    best = sorted(starts, key=lambda x: float((apart(x) ** 2).sum()))[:3]
    bounds = (LOW - 1, np.log(0.01)), (HIGH + 0.2, 0.0)
    fits = [least_squares(apart, x, bounds=bounds, x_scale=(0.01, 0.1)) for x in best]
    return sizes.lognormal(GRID, *np.exp(min(fits, key=lambda fit: fit.cost).x))


def main(count: int = 150) -> None:
    networks = {name: peace.estimator.trained(name) for name in peace.estimator.available()}
    optics, shape = peace.Optics(), networks["peace"][0].shape
    made = method_comparison.reduction_of(optics, False, shape)
    law, case = law_of(made), method_comparison.Case(count=400)
    p, data = method_comparison.make(case, optics, made, networks["peace"][0].radii.numpy())
    white, volume = inverse.whitening(data.covariance[0]), sizes.weighted(p, GRID, sizes.VOLUME)

    def off(found, rows=slice(None)):
        return float(np.abs(found - volume[rows].cumsum(-1)).mean())

    found = {"powders": case.count, "posterior's powders": count}
    for name, nets in networks.items():
        for words, squared in (("", data.squared), (", no noise", law(p))):
            _, number, v, _ = peace.estimator.predict(nets, squared, data.spread)
            found[name + words] = off(v.cumsum(-1))
            found[f"{name}{words}, first {count}"] = off(v[:count].cumsum(-1), slice(count))
            if not words:
                found[f"{name}, misfit"] = float((((law(number) - squared) @ white.T) ** 2).mean())
    fits = np.array([fitted(y, white, law) for y in data.squared])
    found["log-normal fit"] = off(sizes.weighted(fits, GRID, sizes.VOLUME).cumsum(-1))
    rng = np.random.default_rng(0)
    curves = np.array([posterior(y, white, law, rng) for y in data.squared[:count]])
    found["posterior"] = off(curves, slice(count))
    path = ROOT / "build" / "peace" / "floor.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))

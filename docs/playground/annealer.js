// Simulated annealing by heat bath on a checkerboard, as in evae_core/annealing: every spin of one colour is drawn from
// its exact Boltzmann distribution in the field of its neighbours, which are all of the other colour.
"use strict";

// n x n spins (n even) at coupling J = 1; D, B and T (in J) may change at any time.
class Annealer {
  constructor(n, D, B, seed) {
    Object.assign(this, {n, D, B, uniform: uniformNumbers(seed), spins: new Float32Array(3 * n * n)});
    this.randomise();
  }

  randomise() {
    this.sweep(Infinity);
    this.sweeps = 0;
  }

  // One update of every spin at temperature T: Infinity draws at random, 0 turns every spin into its field.
  sweep(T) {
    for (let colour = 0; colour < 2; colour++) {
      for (let y = 0; y < this.n; y++) for (let x = (y + colour) % 2; x < this.n; x += 2) this.draw(y, x, T);
    }
    this.T = T;
    this.sweeps++;
  }

  draw(y, x, T) {
    const {n, D, spins: s} = this, N = n * n, i = y * n + x;
    const right = y * n + (x + 1) % n, left = y * n + (x + n - 1) % n;
    const up = (y + 1) % n * n + x, down = (y + n - 1) % n * n + x;
    // The field h = -dE/dS_i.
    const hx = s[right] + s[left] + s[up] + s[down] + D * (s[2 * N + down] - s[2 * N + up]);
    const hy = s[N + right] + s[N + left] + s[N + up] + s[N + down] + D * (s[2 * N + right] - s[2 * N + left]);
    const hz = s[2 * N + right] + s[2 * N + left] + s[2 * N + up] + s[2 * N + down] + this.B
      + D * (s[up] - s[down] - s[N + right] + s[N + left]);
    const h = Math.sqrt(hx * hx + hy * hy + hz * hz);
    if (h === 0 && T === 0) return;  // no direction is better than another
    const nx = h ? hx / h : 0, ny = h ? hy / h : 0, nz = h ? hz / h : 1;

    // The cosine between spin and field has the density exp(cosine h/T).
    const u = this.uniform(), angle = 2 * Math.PI * this.uniform(), ratio = h / T;
    let cosine = 1;
    if (T > 0) cosine = ratio < 1e-5 ? 2 * u - 1 : 1 + Math.log(u + (1 - u) * Math.exp(-2 * ratio)) / ratio;
    const sine = Math.sqrt(Math.max(0, 1 - cosine * cosine)), p = sine * Math.cos(angle), q = sine * Math.sin(angle);

    // Two unit vectors across the field (Duff et al., J. Comput. Graph. Tech. 6, 1 (2017)) carry the rest of the spin.
    const sign = nz < 0 ? -1 : 1, a = -1 / (sign + nz), b = nx * ny * a;
    s[i] = cosine * nx + p * (1 + sign * nx * nx * a) + q * b;
    s[N + i] = cosine * ny + p * sign * b + q * (sign + ny * ny * a);
    s[2 * N + i] = cosine * nz - p * sign * nx - q * ny;
  }
}

// The temperature of every sweep of a cooling: linear from the first to the last, then some sweeps at T = 0.
function coolingTemperatures({T_start, T_end, sweeps, quench}) {
  const cooling = Array.from({length: sweeps}, (_, i) => T_start + (T_end - T_start) * i / (sweeps - 1));
  return [...cooling, ...Array(quench).fill(0)];
}

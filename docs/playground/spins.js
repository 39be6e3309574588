// Spin states: energy, topological charge, colours, random numbers and the OVF file.
//
// A state is one Float32Array of three planes S^x, S^y, S^z of n x n sites, site (y, x) at y*n + x: the order of
// evae_core's arrays (3, Ny, Nx). The lattice is periodic and J = 1. tests/repository/test_playground.py compares with
// evae_core/hamiltonian.py, evae_core/observables.py and evae_companion/plotting/spins.py, whose formulas these are.
"use strict";

// Energy per spin in J: exchange, DM (Bloch, strength D) and field B along z; every bond is counted once.
function energyPerSpin(s, n, D, B) {
  const N = n * n;
  let energy = 0;
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) {
      const i = y * n + x, right = y * n + (x + 1) % n, up = (y + 1) % n * n + x;
      const sx = s[i], sy = s[N + i], sz = s[2 * N + i];
      energy -= sx * (s[right] + s[up]) + sy * (s[N + right] + s[N + up]) + sz * (s[2 * N + right] + s[2 * N + up]);
      energy -= D * (sy * s[2 * N + right] - sz * s[N + right]);  // x component of S_i x S_right
      energy -= D * (sz * s[up] - sx * s[2 * N + up]);  // y component of S_i x S_up
      energy -= B * sz;
    }
  }
  return energy / N;
}

// Half the solid angle of the triangle of the spins at sites a, b, c.
function halfSolidAngle(s, N, a, b, c) {
  const ax = s[a], ay = s[N + a], az = s[2 * N + a], bx = s[b], by = s[N + b], bz = s[2 * N + b];
  const cx = s[c], cy = s[N + c], cz = s[2 * N + c];
  const triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx);
  const ab = ax * bx + ay * by + az * bz, bc = bx * cx + by * cy + bz * cz, ca = cx * ax + cy * ay + cz * az;
  return Math.atan2(triple, 1 + ab + bc + ca);
}

// Topological charge of Berg and Luescher, Nucl. Phys. B 190, 412 (1981); one skyrmion with its core down counts -1.
function charge(s, n) {
  const N = n * n;
  let sum = 0;
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) {
      const i = y * n + x, right = y * n + (x + 1) % n, up = (y + 1) % n * n + x;
      const corner = (y + 1) % n * n + (x + 1) % n;
      sum += halfSolidAngle(s, N, i, right, corner) + halfSolidAngle(s, N, corner, up, i);
    }
  }
  return sum / (2 * Math.PI);
}

// Red, green, blue (0 to 1) of a spin: hue is the angle in the plane, lightness (1 + S^z)/2, full saturation.
function spinColour(sx, sy, sz) {
  const hue = Math.atan2(sy, sx) / (2 * Math.PI), lightness = Math.min(Math.max((1 + sz) / 2, 0), 1);
  const chroma = 1 - Math.abs(2 * lightness - 1);
  return [0, 1 / 3, 2 / 3].map((peak) => {
    const turn = hue - peak + 0.5, distance = Math.abs(turn - Math.floor(turn) - 0.5);  // around the circle
    return lightness + chroma * (Math.min(Math.max(2 - 6 * distance, 0), 1) - 0.5);
  });
}

// The picture of a state as n*n*4 bytes; y points up, so the last row of sites comes first.
function pixels(s, n) {
  const N = n * n, bytes = new Uint8ClampedArray(4 * N);
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) {
      const i = y * n + x, at = 4 * ((n - 1 - y) * n + x), rgb = spinColour(s[i], s[N + i], s[2 * N + i]);
      for (let c = 0; c < 3; c++) bytes[at + c] = 255 * rgb[c];
      bytes[at + 3] = 255;
    }
  }
  return bytes;
}

// A function that returns uniform numbers in (0, 1): the generator sfc32 of PractRand, seeded by an integer.
function uniformNumbers(seed) {
  let a = 0, b = seed | 0, c = Math.floor(seed / 2 ** 32) | 0, counter = 1;
  const next = () => {
    const t = (a + b | 0) + counter | 0;
    counter = counter + 1 | 0;
    a = b ^ b >>> 9;
    b = c + (c << 3) | 0;
    c = (c << 21 | c >>> 11) + t | 0;
    return ((t >>> 0) + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < 15; i++) next();  // until the seed has reached all bits
  return next;
}

// Float64Array of standard normal numbers (Box and Muller).
function normalNumbers(count, seed) {
  const uniform = uniformNumbers(seed), z = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform())), angle = 2 * Math.PI * uniform();
    z[i] = radius * Math.cos(angle);
    if (i + 1 < count) z[i + 1] = radius * Math.sin(angle);
  }
  return z;
}

// The parts of an OVF 2.0 file ("binary 4"), which OOMMF, mumax3 and ubermag read; one site is a cell of 1 nm.
function ovfFile(s, n, title) {
  const N = n * n, values = new DataView(new ArrayBuffer(4 * (3 * N + 1)));
  const entries = [`Title: ${title}`, "meshunit: m", "meshtype: rectangular",
    ...["x", "y", "z"].map((axis) => `${axis}base: 5e-10`),
    `xnodes: ${n}`, `ynodes: ${n}`, "znodes: 1", ...["x", "y", "z"].map((axis) => `${axis}stepsize: 1e-09`),
    ...["x", "y", "z"].map((axis) => `${axis}min: 0.0`), `xmax: ${n}e-09`, `ymax: ${n}e-09`, "zmax: 1e-09",
    "valuedim: 3", "valuelabels: m_x m_y m_z", "valueunits: 1 1 1"];
  const lines = ["OOMMF OVF 2.0", "Segment count: 1", "Begin: Segment", "Begin: Header", ...entries, "End: Header",
    "Begin: Data Binary 4"];
  values.setFloat32(0, 1234567, true);  // the format's check value; true: little-endian
  for (let i = 0; i < N; i++) for (let c = 0; c < 3; c++) values.setFloat32(4 * (1 + 3 * i + c), s[c * N + i], true);
  return [lines.map((line) => `# ${line}\n`).join(""), new Uint8Array(values.buffer),
    "\n# End: Data Binary 4\n# End: Segment\n"];
}

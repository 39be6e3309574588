"""The obvious annealer, which the fast one is measured against: spin by spin, float64, an array (Ny, Nx, 3)."""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def plain_sweep(S, J, D, B, T, heat):
    """One checkerboard sweep of a periodic lattice, Bloch DM: heat bath at temperature T, else over-relaxation."""
    Ny, Nx = S.shape[:2]
    for colour in range(2):
        for y in range(Ny):
            for x in range((y + colour) % 2, Nx, 2):
                r, b = S[y, (x + 1) % Nx], S[y, (x - 1) % Nx]
                u, d = S[(y + 1) % Ny, x], S[(y - 1) % Ny, x]
                hx = J * (r[0] + b[0] + u[0] + d[0]) - D * (u[2] - d[2])
                hy = J * (r[1] + b[1] + u[1] + d[1]) + D * (r[2] - b[2])
                hz = J * (r[2] + b[2] + u[2] + d[2]) + D * (u[0] - d[0] - r[1] + b[1]) + B
                h = math.sqrt(hx * hx + hy * hy + hz * hz)
                s = S[y, x]
                if not heat:
                    f = 2 * (s[0] * hx + s[1] * hy + s[2] * hz) / (h * h)
                    s[0], s[1], s[2] = f * hx - s[0], f * hy - s[1], f * hz - s[2]
                    continue
                a, w = h / T, np.random.random()  # noqa: NPY002
                c = 1 + math.log(w + (1 - w) * math.exp(-2 * a)) / a
                q, phi = math.sqrt(max(1 - c * c, 0.0)), 2 * math.pi * np.random.random()  # noqa: NPY002
                p, q = q * math.cos(phi), q * math.sin(phi)
                nx, ny, nz = hx / h, hy / h, hz / h
                sign = 1.0 if nz >= 0 else -1.0
                f = -1 / (sign + nz)
                s[0] = c * nx + p * (1 + sign * nx * nx * f) + q * nx * ny * f
                s[1] = c * ny + p * sign * nx * ny * f + q * (sign + ny * ny * f)
                s[2] = c * nz - p * sign * nx - q * ny


def plain_anneal(S, J, D, B, temperatures, overrelax):
    """Sweep S (Ny, Nx, 3) along the temperatures, in place."""
    for T in temperatures:
        plain_sweep(S, J, D, B, T, True)
        for _ in range(overrelax):
            plain_sweep(S, J, D, B, T, False)

r"""The annealing kernels on the CPU, in numba: all that is compiled, in one file, because numba's cache notices only
changes of the file that a cached function is in.

Layout. ``W`` replicas form a block; a row of one checkerboard colour holds its sites one
after the other with the W replicas of each site side by side, so every loop below runs over
contiguous numbers whatever the lattice size, and all replicas do the same arithmetic. The
flat array ``S`` has the axes (2 colours, Ny + 1 rows, 3 components, (Nc + 2) W): Nc = ceil(Nx/2)
sites a row, one ghost site at either end, and a last row of zeros. Ghosts hold the opposite
edge where x is periodic and zeros where it is open, and holes of a masked lattice hold zeros,
so the field needs no case for the boundary. In row y the sites of colour c lie at
x = 2k + (y + c) % 2; their four neighbours have the other colour.

Only the Bloch form of the DM interaction exists here: the Neel form is the same system with
all spins turned by 90 degrees about z (see :class:`evae_core.Hamiltonian`), and turning is exact.

numba does not tell LLVM that arrays are disjoint, and then most of these loops would not
vectorise. ``get`` and ``put`` read and write one element and do tell it: accesses with
different tags never overlap. The tags below are used for the same memory everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

F = np.float32
# Tags: the spins' components; the four words of the random state; row buffers.
SX, SY, SZ, S0, S1, S2, S3, HX, HY, HZ, UNIFORM, COS, SIN, WARMTH, OLDX, OLDY, OLDZ, WORST, OVER = range(19)
_TAGS = 19
# Fused multiply-adds, quotients by the processor's reciprocal estimate and a Newton step, no test for division by zero
# (its branch stops vectorisation). Nothing that lets LLVM assume that inf and nan do not occur: a zero field may give
# them in the branch that is not selected.
FAST: dict[str, Any] = {"fastmath": {"contract", "nsz", "arcp", "afn"}, "error_model": "numpy"}
# The same with exact quotients and roots: estimates are for whole vectors only, and would tie a replica's bits to its
# place in the row. A descent packs replicas anew on its way.
EXACT: dict[str, Any] = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}


def _element(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], signature.args[1], types.intp)
    return builder.gep(array.data, [index], inbounds=True)


def _mark(builder, instruction, tag):
    """Attach LLVM's scoped no-alias metadata: this access touches the memory of ``tag`` and of no other tag."""
    module = builder.module
    domain = module.add_metadata(["annealing arrays"])
    scopes = [module.add_metadata([f"tag {k}", domain]) for k in range(_TAGS)]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[tag]]))
    instruction.set_metadata("noalias", module.add_metadata(scopes[:tag] + scopes[tag + 1:]))


@intrinsic(prefer_literal=True)
def get(typing, array, index, tag):
    """array[index] of a contiguous 1-D array; ``tag`` says which memory it is."""
    if not isinstance(tag, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        # LLVM stops at 256 bits on many processors that have 512; llvmlite's own add() knows no attribute with a value.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        value = builder.load(_element(context, builder, signature, args))
        _mark(builder, value, tag.literal_value)
        return value
    return array.dtype(array, index, tag), codegen


@intrinsic(prefer_literal=True)
def put(typing, array, index, tag, value):
    """array[index] = value, likewise."""
    if not isinstance(tag, types.IntegerLiteral):
        return None

    def codegen(context, builder, signature, args):
        new = context.cast(builder, args[3], signature.args[3], signature.args[0].dtype)
        _mark(builder, builder.store(new, _element(context, builder, signature, args)), tag.literal_value)
        return context.get_dummy_value()
    return types.none(array, index, tag, value), codegen


# --- random numbers: xoshiro128++ (Blackman and Vigna 2021), one stream for every (replica, column k) ---

@njit(inline="always")
def _rotl(x, k):
    return np.uint32(np.uint32(x << np.uint32(k)) | np.uint32(x >> np.uint32(32 - k)))


@njit(inline="always")
def _next(a, b, c, d):
    """One step: (random word, new state)."""
    word = np.uint32(_rotl(np.uint32(a + d), 7) + a)
    t = np.uint32(b << np.uint32(9))
    c = np.uint32(c ^ a)
    d = np.uint32(d ^ b)
    b = np.uint32(b ^ c)
    a = np.uint32(a ^ d)
    return word, a, b, np.uint32(c ^ t), _rotl(d, 11)


@njit(inline="always")
def _unit(word):
    """The upper 24 bits as a float32 in (0, 1]: a logarithm may be taken of it."""
    return F(np.int32(word >> np.uint32(8)) + np.int32(1)) * F(2**-24)


# --- elementary functions without calls or branches, so that loops over them vectorise ---

@njit(inline="always")
def _exp(x):
    """exp(x) for x <= 0, relative error 2e-7; 1e-38 below -87.5."""
    x = max(x, F(-87.5))
    k = np.int32(x * F(1.44269504) - F(0.5))  # truncation rounds to nearest, since x <= 0
    f = F(k)
    r = (x - f * F(0.693359375)) + f * F(2.12194440e-4)
    q = r * r
    p = (F(5.0000001201e-1) + F(1.6666665459e-1) * r) + q * ((F(4.1665795894e-2) + F(8.3334519073e-3) * r)
                                                             + q * (F(1.3981999507e-3) + F(1.9875691500e-4) * r))
    p = (F(1) + r) + q * p
    return p * np.int32(np.int32(k + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always")
def _log(x):
    """log(x) for normal x > 0, absolute error 1e-7 of the larger of 1 and the result (Cephes logf)."""
    bits = np.int32(np.float32(x).view(np.int32) - np.int32(0x3F3504F3))  # mantissa in [sqrt(1/2), sqrt(2))
    e = F(np.int32(bits >> np.int32(23)))
    m = np.int32(np.int32(bits & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32) - F(1)
    z = m * m
    low = (F(3.3333331174e-1) - F(2.4999993993e-1) * m) + z * (F(2.0000714765e-1) - F(1.6668057665e-1) * m)
    high = (F(1.4249322787e-1) - F(1.2420140846e-1) * m) + z * (F(1.1676998740e-1) - F(1.1514610310e-1) * m)
    p = low + (z * z) * (high + F(7.0376836292e-2) * (z * z))
    return (p * m * z - F(2.12194440e-4) * e) - F(0.5) * z + m + F(0.693359375) * e


@njit(inline="always")
def _sin_cos(word):
    """sin and cos, to 2e-7, of an angle uniform on the circle: pi t with t from the upper 24 bits in [-1/2, 1/2),
    plus pi where the lowest bit is set."""
    t = F(np.int32(word >> np.uint32(8)) - np.int32(0x800000)) * F(2**-24)
    sign = F(1) - F(np.int32((word & np.uint32(1)) << np.uint32(1)))
    z = t * t
    q = z * z
    s = (F(3.14159264) - F(5.167710077) * z) + q * ((F(2.550077387) - F(0.5982904113) * z) + F(0.07765591225) * q)
    c = (F(1) - F(4.934802137) * z) + q * ((F(4.058709155) - F(1.335211949) * z)
                                           + q * (F(0.2349370685) - F(0.02439593196) * z))
    return sign * t * s, sign * c


# --- one row of one colour: n = Nc W sites from S[at]; component stride R = n + 2W ---

@njit(**FAST)
def _draw(state, n, uniform, cos, sin):
    """Two random numbers a site: ``uniform`` in (0, 1], and a direction (cos, sin)."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for j in range(n):
        word, a, b, c, d = _next(get(s0, j, S0), get(s1, j, S1), get(s2, j, S2), get(s3, j, S3))
        put(uniform, j, UNIFORM, _unit(word))
        word, a, b, c, d = _next(a, b, c, d)
        y, x = _sin_cos(word)
        put(cos, j, COS, x)
        put(sin, j, SIN, y)
        put(s0, j, S0, a)
        put(s1, j, S1, b)
        put(s2, j, S2, c)
        put(s3, j, S3, d)


@njit(**FAST)
def _draw_uniform(state, n, uniform):
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    for j in range(n):
        word, a, b, c, d = _next(get(s0, j, S0), get(s1, j, S1), get(s2, j, S2), get(s3, j, S3))
        put(uniform, j, UNIFORM, _unit(word))
        put(s0, j, S0, a)
        put(s1, j, S1, b)
        put(s2, j, S2, c)
        put(s3, j, S3, d)


@njit(inline="always")
def _field(S, left, right, up, down, R, j, J, D, B):
    """h = J (sum of neighbours) + D (-dy_z, dx_z, dy_x - dx_y) + B z, with dx = right - left and dy = up - down.

    ``left`` ... ``down`` are where the x components of the row's neighbours start in S. The K term is left out.
    """
    lx, ly, lz = get(S, left + j, SX), get(S, left + R + j, SY), get(S, left + 2 * R + j, SZ)
    rx, ry, rz = get(S, right + j, SX), get(S, right + R + j, SY), get(S, right + 2 * R + j, SZ)
    ux, uy, uz = get(S, up + j, SX), get(S, up + R + j, SY), get(S, up + 2 * R + j, SZ)
    dx, dy, dz = get(S, down + j, SX), get(S, down + R + j, SY), get(S, down + 2 * R + j, SZ)
    return (J * ((lx + rx) + (ux + dx)) - D * (uz - dz),
            J * ((ly + ry) + (uy + dy)) + D * (rz - lz),
            J * ((lz + rz) + (uz + dz)) + D * ((ux - dx) - (ry - ly)) + B)


@njit(**FAST)
def _axis(S, left, right, up, down, R, n, J, D, B, T, hx, hy, hz, warmth):
    """The field's direction, and ``warmth`` = T/|h|."""
    for j in range(n):
        x, y, z = _field(S, left, right, up, down, R, j, J, D, B)
        square = x * x + y * y + z * z
        gone = square < F(1e-20)  # no field: any axis serves, and z is one
        x, y, z = F(0) if gone else x, F(0) if gone else y, F(1e-10) if gone else z
        square = F(1e-20) if gone else square
        inverse = F(1) / np.sqrt(square)
        put(warmth, j, WARMTH, min(T * inverse, F(1e15)))  # 1/T = 0 draws from the whole sphere
        put(hx, j, HX, x * inverse)
        put(hy, j, HY, y * inverse)
        put(hz, j, HZ, z * inverse)


@njit(**FAST)
def _draw_angle(n, uniform, warmth):
    """``warmth`` -> ``drop`` = 1 - cos(angle to h), in place, by the inverse of its Boltzmann distribution.

    With a = |h|/T = 1/warmth and r uniform in (0, 1]: drop = -log(r + (1 - r) exp(-2a)) / a. For a < 0.005 that is
    noise over a, and the expansion drop = (1 - x) - a (1 - x^2)/2 + O(a^2), x = 2r - 1, takes its place.
    """
    for j in range(n):
        w, r = get(warmth, j, WARMTH), get(uniform, j, UNIFORM)
        a = F(1) / w
        far = -_log(r + (F(1) - r) * _exp(F(-2) * a)) * w
        u = F(2) * r - F(1)
        near = (F(1) - u) - F(0.5) * a * (F(1) - u * u)
        d = near if a < F(0.005) else far
        put(warmth, j, WARMTH, min(max(d, F(0)), F(2)))


@njit(**FAST)
def _rotate(S, at, R, n, drop, cos, sin, hx, hy, hz):
    """S = the spin at the drawn angles to the axis h (a unit vector).

    The frame about h is that of Duff et al., J. Comput. Graph. Techn. 6 (2017), which has no singular direction.
    """
    for j in range(n):
        x, y, z, d = get(hx, j, HX), get(hy, j, HY), get(hz, j, HZ), get(drop, j, WARMTH)
        s = np.sqrt(d * (F(2) - d))
        p, q, c = s * get(cos, j, COS), s * get(sin, j, SIN), F(1) - d
        sign = F(1) if z >= F(0) else F(-1)
        f = F(-1) / (sign + z)
        g = x * y * f
        put(S, at + j, SX, c * x + p * (F(1) + sign * x * x * f) + q * g)
        put(S, at + R + j, SY, c * y + p * sign * g + q * (sign + y * y * f))
        put(S, at + 2 * R + j, SZ, c * z - p * sign * x - q * y)


@njit(**FAST)
def _reflect(S, at, left, right, up, down, R, n, J, D, B):
    """S = the spin reflected about its field h, 2 (S.h) h/|h|^2 - S."""
    for j in range(n):
        x, y, z = _field(S, left, right, up, down, R, j, J, D, B)
        sx, sy, sz = get(S, at + j, SX), get(S, at + R + j, SY), get(S, at + 2 * R + j, SZ)
        f = F(2) * (sx * x + sy * y + sz * z) / max(x * x + y * y + z * z, F(1e-20))
        put(S, at + j, SX, f * x - sx)
        put(S, at + R + j, SY, f * y - sy)
        put(S, at + 2 * R + j, SZ, f * z - sz)


@njit
def _remember(S, at, R, n, oldx, oldy, oldz):
    for j in range(n):
        put(oldx, j, OLDX, get(S, at + j, SX))
        put(oldy, j, OLDY, get(S, at + R + j, SY))
        put(oldz, j, OLDZ, get(S, at + 2 * R + j, SZ))


@njit(**FAST)
def _accept(S, at, R, n, beta_K, uniform, oldx, oldy, oldz):
    """Metropolis step for the K term: keep the new spin with probability min(1, exp(beta K (new_z^2 - old_z^2))).

    Both updates above satisfy detailed balance for the energy without K (the heat bath draws from its Boltzmann
    weight, the reflection is its own inverse and keeps its energy), so accepting with the K term's ratio alone
    satisfies it for the whole energy.
    """
    for j in range(n):
        new, old = get(S, at + 2 * R + j, SZ), get(oldz, j, OLDZ)
        keep = get(uniform, j, UNIFORM) <= _exp(min(beta_K * (new * new - old * old), F(0)))
        put(S, at + j, SX, get(S, at + j, SX) if keep else get(oldx, j, OLDX))
        put(S, at + R + j, SY, get(S, at + R + j, SY) if keep else get(oldy, j, OLDY))
        put(S, at + 2 * R + j, SZ, new if keep else old)


@njit
def _close(S, at, R, W, ghost, source, holes, first, last):
    """After a row has changed: zero its holes, and renew its one ghost that is ever read, where there is one."""
    for i in range(first, last):
        for a in range(3):
            for w in range(W):
                S[at + a * R + holes[i] * W + w] = 0
    if ghost >= 0:
        for a in range(3):
            for w in range(W):
                S[ghost + a * R + w] = S[source + a * R + w]


@njit(inline="always")
def _row(c, y, Ny, W, R, periodic):
    """Where S holds the first site of row y of colour c; its left, right, upper and lower neighbours; and the row's
    ghost (-1: none) and what it is a copy of. The row's own parity says which end the other colour looks beyond."""
    rows = 3 * R
    other = (1 - c) * (Ny + 1) * rows
    at = (c * (Ny + 1) + y) * rows + W
    beyond = Ny  # the row of zeros
    up = y + 1 if y + 1 < Ny else (0 if periodic[0] else beyond)
    down = y - 1 if y > 0 else (Ny - 1 if periodic[0] else beyond)
    odd = (y + c) % 2
    left = other + y * rows + odd * W
    last = at + R - 3 * W  # of this row's sites
    ghost, source = (last + W, at) if odd == 0 else (at - W, last)
    return at, left, left + W, other + up * rows + W, other + down * rows + W, ghost if periodic[1] else -1, source


@njit(nogil=True, cache=True, **FAST)
def sweep(S, state, buffers, holes, starts, Ny, W, periodic, coupling, betas, heat):
    """One sweep for each inverse temperature in ``betas``: heat bath where ``heat`` is true, else over-relaxation.

    S : float32, flat, axes (2, Ny + 1, 3, R) as described above; state : (4, n) uint32; buffers : (10, n) float32;
    holes, starts : the non-magnetic k of row (c, y) are holes[starts[i]:starts[i + 1]] with i = c Ny + y;
    periodic : along (y, x); coupling : J, D, B, K ... as float32. S and state change in place; beta = 0 makes the spins
    uniform on the sphere.
    """
    n = state.shape[1]
    R = n + 2 * W
    J, D, B, K = coupling[0], coupling[1], coupling[2], coupling[3]
    hx, hy, hz = buffers[0], buffers[1], buffers[2]
    uniform, cos, sin, warmth = buffers[3], buffers[4], buffers[5], buffers[6]
    oldx, oldy, oldz = buffers[7], buffers[8], buffers[9]
    for step in range(betas.size):
        beta = betas[step]
        T = F(1) / beta
        for c in range(2):
            for y in range(Ny):
                first, last = starts[c * Ny + y], starts[c * Ny + y + 1]
                if (last - first) * W == n:
                    continue
                at, left, right, up, down, ghost, source = _row(c, y, Ny, W, R, periodic)
                if K != 0:
                    _remember(S, at, R, n, oldx, oldy, oldz)
                if heat[step]:
                    _draw(state, n, uniform, cos, sin)
                    _axis(S, left, right, up, down, R, n, J, D, B, T, hx, hy, hz, warmth)
                    _draw_angle(n, uniform, warmth)
                    _rotate(S, at, R, n, warmth, cos, sin, hx, hy, hz)
                else:
                    _reflect(S, at, left, right, up, down, R, n, J, D, B)
                if K != 0:
                    _draw_uniform(state, n, uniform)
                    _accept(S, at, R, n, beta * K, uniform, oldx, oldy, oldz)
                _close(S, at, R, W, ghost, source, holes, first, last)


@njit(inline="always")
def _descent_field(S, at, left, right, up, down, R, j, J, D, B, K, fall):
    """The spin, and the field that a descent may follow: h + 2 K S^z z, and + ``fall`` S with fall = max(-2K, 0).

    Then the energy with K lies below its tangent -S.h everywhere on the sphere, so turning a spin towards h never
    raises it; S is parallel to itself, so the torque is that of the field -dE/dS.
    """
    x, y, z = _field(S, left, right, up, down, R, j, J, D, B)
    sx, sy, sz = get(S, at + j, SX), get(S, at + R + j, SY), get(S, at + 2 * R + j, SZ)
    return sx, sy, sz, x + fall * sx, y + fall * sy, z + (fall + K + K) * sz


@njit(**EXACT)
def _align(S, at, left, right, up, down, R, n, J, D, B, K, fall, tiny, one, overshoot):
    """Turn S towards h and beyond it by a factor f of ``overshoot``: S = normalise(f h - (f - 1) (S.h) S).

    The tangent of the angle turned by is f times that of the angle to h, so the angle to h shrinks for every f in
    [1, 2), whatever it was: the energy cannot rise. Where f is 0, S stays.
    """
    for j in range(n):
        sx, sy, sz, x, y, z = _descent_field(S, at, left, right, up, down, R, j, J, D, B, K, fall)
        factor = get(overshoot, j, OVER)
        along = sx * x + sy * y + sz * z
        back = along - factor * along
        x, y, z = factor * x + back * sx, factor * y + back * sy, factor * z + back * sz
        square = x * x + y * y + z * z
        move = (square > tiny) & (factor > 0)
        inverse = one / np.sqrt(max(square, tiny))
        put(S, at + j, SX, x * inverse if move else sx)
        put(S, at + R + j, SY, y * inverse if move else sy)
        put(S, at + 2 * R + j, SZ, z * inverse if move else sz)


@njit(**EXACT)
def _square_torque(S, at, left, right, up, down, R, n, J, D, B, K, fall, worst):
    """worst = max(worst, |S x h|^2)."""
    for j in range(n):
        sx, sy, sz, x, y, z = _descent_field(S, at, left, right, up, down, R, j, J, D, B, K, fall)
        p, q, r = sy * z - sz * y, sz * x - sx * z, sx * y - sy * x
        put(worst, j, WORST, max(get(worst, j, WORST), p * p + q * q + r * r))


@njit(nogil=True, cache=True, **EXACT)
def descend(S, worst, overshoot, holes, starts, Ny, W, periodic, coupling, sweeps):
    """``sweeps`` sweeps of over-shooting alignment, and a measurement of the torque.

    Works in the dtype of S, float32 or float64. coupling : J, D, B, K, max(-2K, 0), the least squared length
    that can be normalised, and 1. ``overshoot``: the over-shooting factor of each (k, replica), 0 where it may not
    move; ``worst`` receives the largest squared torque of each (k, replica).
    """
    n = worst.size
    R = n + 2 * W
    J, D, B, K, fall, tiny, one = coupling
    worst[:] = 0
    for step in range(sweeps + 1):
        for c in range(2):
            for y in range(Ny):
                first, last = starts[c * Ny + y], starts[c * Ny + y + 1]
                if (last - first) * W == n:
                    continue
                at, left, right, up, down, ghost, source = _row(c, y, Ny, W, R, periodic)
                if step == sweeps:
                    _square_torque(S, at, left, right, up, down, R, n, J, D, B, K, fall, worst)
                else:
                    _align(S, at, left, right, up, down, R, n, J, D, B, K, fall, tiny, one, overshoot)
                    _close(S, at, R, W, ghost, source, holes, first, last)

r"""The annealing kernels on the CPU, in numba.

Layout. ``W`` replicas form a block; a row of one checkerboard colour holds its sites one
after the other with the W replicas of each site side by side, so every loop below runs over
contiguous numbers whatever the lattice size, and all replicas do the same arithmetic. The
flat array ``S`` has the axes (2 colours, Ny + 1 rows, 3 components, (Nc + 2) W): Nc = ceil(Nx/2)
sites a row, one ghost site at either end, and a last row of zeros. Ghosts hold the opposite
edge of a periodic lattice and zeros of an open one, and holes of a masked lattice hold zeros,
so the field needs no case for the boundary. In row y the sites of colour c lie at
x = 2k + (y + c) % 2; their four neighbours have the other colour.

Only the Bloch form of the DM interaction exists here: the Neel form is the same system with
all spins turned by 90 degrees about z (see :class:`evae_core.Hamiltonian`), and turning is exact.

numba does not tell LLVM that arrays are disjoint, and then most of these loops would not
vectorise. ``get`` and ``put`` read and write one element and do tell it: accesses with
different tags never overlap. The tags below are used for the same memory everywhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit, types
from numba.extending import intrinsic

F = np.float32
# Tags: the spins; the four words of the random state; row buffers.
SPINS, S0, S1, S2, S3, HX, HY, HZ, UNIFORM, COS, SIN, DROP, WORST, OVER = range(14)
_TAGS = 14
# Fused multiply-adds, no test for division by zero (its branch stops vectorisation). Nothing that lets LLVM assume that
# inf and nan do not occur: a zero field may give them in the branch that is not selected.
FAST = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}


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

def splitmix(x: np.ndarray) -> np.ndarray:
    """splitmix64's output for the uint64 states x (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def seed_streams(seed: int, replicas: np.ndarray, columns: int) -> np.ndarray:
    """(4, columns, len(replicas)) uint32: the streams' states, hashed from (seed, replica, column)."""
    key = splitmix(splitmix(np.array([seed], np.uint64)) + replicas.astype(np.uint64))
    words = splitmix(key + np.arange(2 * columns, dtype=np.uint64).reshape(2, columns, 1))
    high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    return np.stack((high[0], low[0], high[1], low[1])).astype(np.uint32)


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
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * r * r + r + F(1)
    return p * np.int32(np.int32(k + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always")
def _log(x):
    """log(x) for normal x > 0, absolute error 1e-7 of the larger of 1 and the result (Cephes logf)."""
    bits = np.int32(np.float32(x).view(np.int32) - np.int32(0x3F3504F3))  # mantissa in [sqrt(1/2), sqrt(2))
    e = F(np.int32(bits >> np.int32(23)))
    m = np.int32(np.int32(bits & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)).view(np.float32) - F(1)
    p = F(7.0376836292e-2)
    p = p * m - F(1.1514610310e-1)
    p = p * m + F(1.1676998740e-1)
    p = p * m - F(1.2420140846e-1)
    p = p * m + F(1.4249322787e-1)
    p = p * m - F(1.6668057665e-1)
    p = p * m + F(2.0000714765e-1)
    p = p * m - F(2.4999993993e-1)
    p = p * m + F(3.3333331174e-1)
    z = m * m
    return (p * m * z - F(2.12194440e-4) * e) - F(0.5) * z + m + F(0.693359375) * e


@njit(inline="always")
def _sin_cos(word):
    """sin and cos, to 2e-7, of an angle uniform on the circle: pi t with t from the upper 24 bits in [-1/2, 1/2),
    plus pi where the lowest bit is set."""
    t = F(np.int32(word >> np.uint32(8)) - np.int32(0x800000)) * F(2**-24)
    sign = F(1) - F(np.int32((word & np.uint32(1)) << np.uint32(1)))
    z = t * t
    s = F(0.07765591225)
    s = s * z - F(0.5982904113)
    s = s * z + F(2.550077387)
    s = s * z - F(5.167710077)
    s = s * z + F(3.14159264)
    c = F(-0.02439593196)
    c = c * z + F(0.2349370685)
    c = c * z - F(1.335211949)
    c = c * z + F(4.058709155)
    c = c * z - F(4.934802137)
    c = c * z + F(1)
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


@njit(**FAST)
def _field(S, left, right, up, down, R, n, J, D, B, hx, hy, hz):
    """h = J (sum of neighbours) + D (-dy_z, dx_z, dy_x - dx_y) + B z, with dx = right - left and dy = up - down.

    The last four arguments of S are where the neighbours' x components start. The K term is left out.
    """
    for j in range(n):
        lx, ly, lz = get(S, left + j, SPINS), get(S, left + R + j, SPINS), get(S, left + 2 * R + j, SPINS)
        rx, ry, rz = get(S, right + j, SPINS), get(S, right + R + j, SPINS), get(S, right + 2 * R + j, SPINS)
        ux, uy, uz = get(S, up + j, SPINS), get(S, up + R + j, SPINS), get(S, up + 2 * R + j, SPINS)
        dx, dy, dz = get(S, down + j, SPINS), get(S, down + R + j, SPINS), get(S, down + 2 * R + j, SPINS)
        put(hx, j, HX, J * ((lx + rx) + (ux + dx)) - D * (uz - dz))
        put(hy, j, HY, J * ((ly + ry) + (uy + dy)) + D * (rz - lz))
        put(hz, j, HZ, J * ((lz + rz) + (uz + dz)) + D * ((ux - dx) - (ry - ly)) + B)


@njit(**FAST)
def _draw_angle(n, beta, T, uniform, hx, hy, hz, drop):
    """h -> h/|h|, and ``drop`` = 1 - cos(angle to h) by the inverse of its Boltzmann distribution.

    With a = beta |h| = |h|/T and r uniform in (0, 1]: drop = -log(r + (1 - r) exp(-2a)) / a. For a < 0.005 that is
    noise over a, and the expansion drop = (1 - x) - a (1 - x^2)/2 + O(a^2), x = 2r - 1, takes its place.
    """
    for j in range(n):
        x, y, z, r = get(hx, j, HX), get(hy, j, HY), get(hz, j, HZ), get(uniform, j, UNIFORM)
        square = x * x + y * y + z * z
        gone = square < F(1e-20)  # no field: any axis serves, and z is one
        z = F(1e-10) if gone else z
        square = F(1e-20) if gone else square
        inverse = F(1) / np.sqrt(square)
        a = beta * (square * inverse)
        far = -_log(r + (F(1) - r) * _exp(F(-2) * a)) * (T * inverse)
        u = F(2) * r - F(1)
        near = (F(1) - u) - F(0.5) * a * (F(1) - u * u)
        d = near if a < F(0.005) else far
        put(drop, j, DROP, min(max(d, F(0)), F(2)))
        put(hx, j, HX, x * inverse)
        put(hy, j, HY, y * inverse)
        put(hz, j, HZ, z * inverse)


@njit(**FAST)
def _rotate(n, drop, cos, sin, hx, hy, hz):
    """The new spin, at the drawn angles to the axis h (a unit vector), in place of h.

    The frame about h is that of Duff et al., J. Comput. Graph. Techn. 6 (2017), which has no singular direction.
    """
    for j in range(n):
        x, y, z, d = get(hx, j, HX), get(hy, j, HY), get(hz, j, HZ), get(drop, j, DROP)
        s = np.sqrt(d * (F(2) - d))
        p, q, c = s * get(cos, j, COS), s * get(sin, j, SIN), F(1) - d
        sign = F(1) if z >= F(0) else F(-1)
        f = F(-1) / (sign + z)
        g = x * y * f
        put(hx, j, HX, c * x + p * (F(1) + sign * x * x * f) + q * g)
        put(hy, j, HY, c * y + p * sign * g + q * (sign + y * y * f))
        put(hz, j, HZ, c * z - p * sign * x - q * y)


@njit(**FAST)
def _reflect(S, at, R, n, hx, hy, hz):
    """The spin reflected about the axis h, 2 (S.h) h/|h|^2 - S, in place of h."""
    for j in range(n):
        x, y, z = get(hx, j, HX), get(hy, j, HY), get(hz, j, HZ)
        sx, sy, sz = get(S, at + j, SPINS), get(S, at + R + j, SPINS), get(S, at + 2 * R + j, SPINS)
        f = F(2) * (sx * x + sy * y + sz * z) / max(x * x + y * y + z * z, F(1e-20))
        put(hx, j, HX, f * x - sx)
        put(hy, j, HY, f * y - sy)
        put(hz, j, HZ, f * z - sz)


@njit(**FAST)
def _accept(S, at, R, n, beta_K, uniform, hx, hy, hz):
    """Metropolis step for the K term: keep the proposal with probability min(1, exp(beta K (new_z^2 - old_z^2))).

    Both proposals above satisfy detailed balance for the energy without K (the heat bath draws from its Boltzmann
    weight, the reflection is its own inverse and keeps its energy), so accepting with the K term's ratio alone
    satisfies it for the whole energy.
    """
    for j in range(n):
        new, old = get(hz, j, HZ), get(S, at + 2 * R + j, SPINS)
        keep = get(uniform, j, UNIFORM) <= _exp(min(beta_K * (new * new - old * old), F(0)))
        put(hz, j, HZ, new if keep else old)
        put(hx, j, HX, get(hx, j, HX) if keep else get(S, at + j, SPINS))
        put(hy, j, HY, get(hy, j, HY) if keep else get(S, at + R + j, SPINS))


@njit
def _store(S, at, R, n, W, ghost, source, row_holes, hx, hy, hz):
    """Write a row's new spins, zero its holes, and renew its one ghost that is ever read, where there is one."""
    for j in range(n):
        put(S, at + j, SPINS, get(hx, j, HX))
        put(S, at + R + j, SPINS, get(hy, j, HY))
        put(S, at + 2 * R + j, SPINS, get(hz, j, HZ))
    for k in row_holes:
        for a in range(3):
            for w in range(W):
                put(S, at + a * R + k * W + w, SPINS, 0)
    if ghost >= 0:
        for a in range(3):
            for w in range(W):
                put(S, ghost + a * R + w, SPINS, get(S, source + a * R + w, SPINS))


@njit(inline="always")
def _row(c, y, Ny, W, R, periodic):
    """Where S holds the first site of row y of colour c; its left, right, upper and lower neighbours; and the row's
    ghost (-1: none) and what it is a copy of. The row's own parity says which end the other colour looks beyond."""
    rows = 3 * R
    other = (1 - c) * (Ny + 1) * rows
    at = (c * (Ny + 1) + y) * rows + W
    beyond = Ny  # the row of zeros
    up = y + 1 if y + 1 < Ny else (0 if periodic else beyond)
    down = y - 1 if y > 0 else (Ny - 1 if periodic else beyond)
    odd = (y + c) % 2
    left = other + y * rows + odd * W
    last = at + R - 3 * W  # of this row's sites
    ghost, source = (last + W, at) if odd == 0 else (at - W, last)
    return at, left, left + W, other + up * rows + W, other + down * rows + W, ghost if periodic else -1, source


@njit(nogil=True, cache=True, **FAST)
def sweep(S, state, buffers, holes, starts, Ny, W, periodic, coupling, betas, heat):
    """One sweep for each inverse temperature in ``betas``, in place: heat bath where ``heat`` is true, else over-relaxation.

    S : float32, flat, axes (2, Ny + 1, 3, R) as described above; state : (4, n) uint32; buffers : (10, n) float32;
    holes, starts : the non-magnetic k of row (c, y) are holes[starts[i]:starts[i + 1]] with i = c Ny + y;
    coupling : J, D, B, K ... as float32; beta = 0 makes the spins uniform on the sphere.
    """
    n = state.shape[1]
    R = n + 2 * W
    J, D, B, K = coupling[0], coupling[1], coupling[2], coupling[3]
    hx, hy, hz, uniform, cos, sin, drop = (buffers[0], buffers[1], buffers[2], buffers[3], buffers[4], buffers[5],
                                           buffers[6])
    for step in range(betas.size):
        beta = betas[step]
        T = F(1) / beta
        for c in range(2):
            for y in range(Ny):
                row_holes = holes[starts[c * Ny + y]:starts[c * Ny + y + 1]]
                if row_holes.size * W == n:
                    continue
                at, left, right, up, down, ghost, source = _row(c, y, Ny, W, R, periodic)
                _field(S, left, right, up, down, R, n, J, D, B, hx, hy, hz)
                if heat[step]:
                    _draw(state, n, uniform, cos, sin)
                    _draw_angle(n, beta, T, uniform, hx, hy, hz, drop)
                    _rotate(n, drop, cos, sin, hx, hy, hz)
                else:
                    _reflect(S, at, R, n, hx, hy, hz)
                if K != 0:
                    _draw_uniform(state, n, uniform)
                    _accept(S, at, R, n, beta * K, uniform, hx, hy, hz)
                _store(S, at, R, n, W, ghost, source, row_holes, hx, hy, hz)


@njit(**FAST)
def _add_anisotropy(S, at, R, n, K, fall, hx, hy, hz):
    """Add the K term's field in the form that a descent may follow: h + 2 K S^z z, and + 2|K| S for K < 0.

    Then the energy with K lies below its tangent -S.h everywhere on the sphere, so turning a spin towards h never
    raises it; S is parallel to itself, so the torque is that of the field -dE/dS.
    """
    for j in range(n):
        put(hx, j, HX, get(hx, j, HX) + fall * get(S, at + j, SPINS))
        put(hy, j, HY, get(hy, j, HY) + fall * get(S, at + R + j, SPINS))
        put(hz, j, HZ, get(hz, j, HZ) + (fall + K + K) * get(S, at + 2 * R + j, SPINS))


@njit(**FAST)
def _align(S, at, R, n, tiny, overshoot, hx, hy, hz):
    """Turn S towards h by a factor f of ``overshoot``: normalise(f h/|h| - (f - 1) S), in place of h.

    The angle to h shrinks for every f in [1, 2): the energy cannot rise. Where f is 0, S stays.
    """
    for j in range(n):
        x, y, z = get(hx, j, HX), get(hy, j, HY), get(hz, j, HZ)
        sx, sy, sz = get(S, at + j, SPINS), get(S, at + R + j, SPINS), get(S, at + 2 * R + j, SPINS)
        factor = get(overshoot, j, OVER)
        size = np.sqrt(x * x + y * y + z * z)
        back = size - factor * size
        x, y, z = factor * x + back * sx, factor * y + back * sy, factor * z + back * sz
        size = np.sqrt(x * x + y * y + z * z)
        move = (size > tiny) & (factor > 0)
        size = max(size, tiny)
        put(hx, j, HX, x / size if move else sx)
        put(hy, j, HY, y / size if move else sy)
        put(hz, j, HZ, z / size if move else sz)


@njit(**FAST)
def _square_torque(S, at, R, n, hx, hy, hz, worst):
    """worst = max(worst, |S x h|^2)."""
    for j in range(n):
        x, y, z = get(hx, j, HX), get(hy, j, HY), get(hz, j, HZ)
        sx, sy, sz = get(S, at + j, SPINS), get(S, at + R + j, SPINS), get(S, at + 2 * R + j, SPINS)
        p, q, r = sy * z - sz * y, sz * x - sx * z, sx * y - sy * x
        put(worst, j, WORST, max(get(worst, j, WORST), p * p + q * q + r * r))


@njit(nogil=True, cache=True, **FAST)
def descend(S, buffers, holes, starts, Ny, W, periodic, coupling, sweeps):
    """``sweeps`` sweeps of over-shooting alignment, and a measurement of the torque.

    Works in the dtype of S, float32 or float64. coupling : J, D, B, K, max(-2K, 0) and the least length that can be
    normalised. buffers[9] holds the over-shooting factor of each (k, replica), 0 where it may not move; buffers[8]
    receives the largest squared torque of each (k, replica).
    """
    n = buffers.shape[1]
    R = n + 2 * W
    J, D, B, K, fall, tiny = coupling
    hx, hy, hz, worst, overshoot = buffers[0], buffers[1], buffers[2], buffers[8], buffers[9]
    worst[:] = 0
    for step in range(sweeps + 1):
        for c in range(2):
            for y in range(Ny):
                row_holes = holes[starts[c * Ny + y]:starts[c * Ny + y + 1]]
                if row_holes.size * W == n:
                    continue
                at, left, right, up, down, ghost, source = _row(c, y, Ny, W, R, periodic)
                _field(S, left, right, up, down, R, n, J, D, B, hx, hy, hz)
                if K != 0:
                    _add_anisotropy(S, at, R, n, K, fall, hx, hy, hz)
                if step == sweeps:
                    _square_torque(S, at, R, n, hx, hy, hz, worst)
                else:
                    _align(S, at, R, n, tiny, overshoot, hx, hy, hz)
                    _store(S, at, R, n, W, ghost, source, row_holes, hx, hy, hz)


# --- blocks of replicas ---

# The descent over-shoots by the first factor. The measure of progress is the torque after every STRIDE sweeps, of which
# the last two are plain alignments (they remove what over-shooting leaves of short waves); where it has not fallen
# threefold, long waves are what remains, and the factor moves half the way towards 2, up to the last one.
OVERSHOOT, LAST_OVERSHOOT, STRIDE = 1.95, 1.99, 50


def lanes(shape) -> int:
    """Replicas a block: rows of at least 128 numbers, as far as a block's spins stay below 512 KiB of cache."""
    ny, nx = shape
    sites = (nx + 1) // 2
    W = 1
    while W < 16 and W * sites < 128 and 2 * W * ny * sites * 24 < 2**19:
        W *= 2
    return W


def workers() -> int:
    """Pieces that are computed at a time."""
    return torch.get_num_threads()


def pieces(shape, first: int, n: int) -> list[tuple[int, int]]:
    """The replicas first ... first + n - 1, divided into blocks: (first, n) of each."""
    W, end = lanes(shape), first + n
    edges = [first, *range((first // W + 1) * W, end, W), end]
    return [(a, b - a) for a, b in zip(edges, edges[1:], strict=False)]


class Replicas:
    """Replicas ``first`` ... ``first + n - 1`` of a lattice, and the sweeps over them.

    A replica's lane in its block is its index modulo W and its random streams are its own, so its
    spins do not depend on which other replicas are computed, nor on the number of threads.

    Parameters
    ----------
    H, shape : Hamiltonian and (Ny, Nx); even sizes where H is periodic.
    seed : of the random numbers. Without spins loaded, all spins are zero: begin with ``sweep([0.0], 0)``.
    dtype : np.float32, or np.float64 for an accurate descent (then without sweeps at T > 0).
    """

    def __init__(self, H, shape, n, first=0, seed=0, dtype=np.float32):
        ny, nx = self.shape = H.check_shape(shape)
        self.H, self.n, self.first, self.dtype = H, n, first, np.dtype(dtype)
        self.W = W = lanes(self.shape)
        self.columns = (nx + 1) // 2
        y, x = np.mgrid[:ny, :nx]
        self.site = (x + y) % 2, y, slice(None), x // 2 + 1  # (colour, row, component, k with ghost) of every site
        magnetic = np.zeros((2, ny, self.columns), bool)
        magnetic[self.site[0], y, x // 2] = True if H.mask is None else H.mask
        holes = ~magnetic.reshape(2 * ny, self.columns)
        self.holes = np.nonzero(holes)[1]
        self.starts = np.concatenate(([0], np.cumsum(holes.sum(1))))
        self.coupling = np.array([H.J, H.D, H.B, H.K, max(-2 * H.K, 0.0), 1e-12], self.dtype)
        blocks = range(first // W, (first + n - 1) // W + 1)
        self.S = np.zeros((len(blocks), 2, ny + 1, 3, self.columns + 2, W), self.dtype)
        self.state = np.stack([seed_streams(seed, np.arange(b * W, (b + 1) * W), self.columns) for b in blocks])

    def _each(self, work):
        """work(i) for every block i, on torch.get_num_threads() threads."""
        threads = min(torch.get_num_threads(), len(self.S))
        if threads == 1:
            return [work(i) for i in range(len(self.S))]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, range(len(self.S))))

    def _lattice(self):
        return self.holes, self.starts, self.shape[0], self.W, self.H.periodic, self.coupling

    def _buffers(self):
        return np.zeros((10, self.columns * self.W), self.dtype)

    def load(self, spins: torch.Tensor) -> None:
        """Take the spins of all replicas, (n, 3, Ny, Nx)."""
        spins = spins.detach().cpu().numpy().astype(self.dtype)
        if self.H.mask is not None:
            spins = np.where(self.H.mask, spins, 0)
        if self.H.dmi == "neel":
            spins = np.stack((spins[:, 1], -spins[:, 0], spins[:, 2]), 1)
        lead = self.first % self.W
        for i, block in enumerate(self.S):
            a, b = max(i * self.W - lead, 0), min((i + 1) * self.W - lead, self.n)
            w = slice(a + lead - i * self.W, b + lead - i * self.W)
            block[(*self.site, w)] = spins[a:b].transpose(2, 3, 1, 0)
            if self.H.periodic:
                block[..., 0, :], block[..., -1, :] = block[..., -2, :], block[..., 1, :]

    def spins(self) -> torch.Tensor:
        """A copy of the spins, (n, 3, Ny, Nx), zero on non-magnetic sites."""
        spins = np.concatenate([block[self.site].transpose(3, 2, 0, 1) for block in self.S])
        lead = self.first % self.W
        spins = spins[lead:lead + self.n]
        if self.H.dmi == "neel":
            spins = np.stack((-spins[:, 1], spins[:, 0], spins[:, 2]), 1)
        return torch.from_numpy(np.ascontiguousarray(spins))

    def sweep(self, betas, overrelax: int, heat: bool = True) -> None:
        """A heat-bath sweep (over-relaxation where ``heat`` is false) and ``overrelax`` over-relaxation sweeps at each
        inverse temperature of ``betas``."""
        kinds = (np.arange(len(betas) * (overrelax + 1)) % (overrelax + 1) == 0) & heat
        betas = np.repeat(np.asarray(betas, np.float32), overrelax + 1)
        holes, starts, *rest = self._lattice()

        def work(i):
            buffers = self._buffers()
            sweep(self.S[i].reshape(-1), self.state[i].reshape(4, -1), buffers, holes, starts, *rest, betas, kinds)
        self._each(work)

    def descend(self, tolerance: float, max_sweeps: int) -> float:
        """Turn the spins into their fields until no torque exceeds ``tolerance``; return the largest one left.

        Each replica stops by itself, and after ``max_sweeps`` at the latest.
        """
        def work(i):
            W, buffers = self.W, self._buffers()
            index = np.arange(i * W, (i + 1) * W) - self.first % W
            active = (index >= 0) & (index < self.n)
            torque, factor = np.full(W, np.inf), np.full(W, OVERSHOOT)

            def go(sweeps, factor):
                buffers[9] = np.tile(np.where(active, factor, 0), self.columns)
                descend(self.S[i].reshape(-1), buffers, *self._lattice(), sweeps)

            done = 0
            go(0, 1)
            while True:
                new = np.sqrt(buffers[8].reshape(-1, W).max(0))
                factor = np.where(new > torque / 3, np.minimum(1 + factor / 2, LAST_OVERSHOOT), factor)
                torque = np.where(active, new, torque)
                active &= new > tolerance
                if not active.any() or done >= max_sweeps:
                    return float(torque[(index >= 0) & (index < self.n)].max())
                stride = min(STRIDE, max_sweeps - done)
                done += stride
                go(max(stride - 2, 0), factor)
                go(min(stride, 2), 1)
        return max(self._each(work))

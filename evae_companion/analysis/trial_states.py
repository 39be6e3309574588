"""Trial states for the ground-state search: uniform states, helices, multi-q states, whole and cut skyrmion lattices.

Wave vectors and planes of rotation come from the Hamiltonian (J. M. Luttinger and L. Tisza, Phys. Rev. 70, 954 (1946)).
With E = -1/2 sum S_i A_ij S_j - B sum S^z, let A(k) be the Fourier transform of the coupling. The plane wave
Re(v exp(ik.r)) of lowest energy has the eigenvector v of the largest eigenvalue of A(k). This holds for all bonds of H.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from evae_companion.analysis.luttinger_tisza import coupling
from evae_core.hamiltonian import Hamiltonian
from evae_core.textures import MAX_STRAIN, SPACINGS, helix_period, skyrmions
from evae_core.textures.commensurate_lattices import commensurate_cells

HELICES = 24  # wave vectors tried, from the most favourable on
SHELL = 16  # wave vectors that multi-q states combine, with their mirror images
MULTI = 6  # number of double-q, and of triple-q, combinations that are tried
BACKGROUNDS = (0.0, 0.5, -0.5)  # Sz added to multi-q states, along the field, before normalising
CONES = (0.0, 0.6)  # Sz added to helices
DIRECTIONS = {"+z": (0, 0), "-z": (180, 0), "+x": (90, 0), "+y": (90, 90), "+x+y": (90, 45), "tilted": (45, 20)}
# Lattices cut for samples with edges: spacing in helix periods, angle in degrees, margin to the edge in spacings.
CUT_SPACINGS = (0.95, 1.1, 1.25)
CUT_ANGLES = (0, 15, 30)
CUT_SHIFTS = 6
CUT_MARGIN = 0.35
DEGENERATE = 1e-9  # eigenvalues closer than this, in units of the largest, count as equal

Wave = tuple[float, tuple[int, int], np.ndarray]  # an item of wave_vectors


@dataclass(frozen=True, eq=False)
class TrialState:
    """A trial state, not relaxed; ``kind`` names the family, ``description`` the member."""

    kind: str
    description: str
    spins: Tensor  # (3, Ny, Nx) float32


def wave_vectors(H: Hamiltonian, shape: Sequence[int]) -> list[Wave]:
    """Return the wave vectors of the box, most favourable first, without k = 0 and with one of every pair k, -k.

    The energy of a wave is -eigenvalue/2 per spin if its spins have unit length.

    Returns
    -------
    list of (eigenvalue, (turns along y, turns along x), (3, m) eigenvectors) : the eigenvectors of the m degenerate
        largest eigenvalues are the columns.
    """
    ny, nx = shape
    values, vectors = np.linalg.eigh(coupling(H, shape))
    waves = []
    for y, x in itertools.product(range(ny), range(nx)):
        place = ((y + ny // 2) % ny - ny // 2, (x + nx // 2) % nx - nx // 2)
        if place <= (0, 0) and (-y % ny, -x % nx) != (y, x) or (y, x) == (0, 0):
            continue
        top = values[y, x, -1]
        many = values[y, x] > top - DEGENERATE * abs(values).max()
        waves.append((float(top), place, vectors[y, x][:, many]))
    return sorted(waves, key=lambda wave: (-round(wave[0], 9), abs(wave[1][0]), wave[1]))


def _phase(shape: Sequence[int], turns: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[:shape[0], :shape[1]]
    return np.exp(2j * np.pi * (turns[0] * y / shape[0] + turns[1] * x / shape[1]))


def _unit(H: Hamiltonian, spins: np.ndarray) -> Tensor:
    length = np.linalg.norm(spins, axis=0)
    spins = np.where(length > 1e-6, spins / np.maximum(length, 1e-6), np.array([0.0, 0, 1])[:, None, None])
    unit = torch.from_numpy(spins.astype(np.float32))
    return unit if H.mask is None else unit * torch.from_numpy(H.mask.copy())


def _amplitudes(vectors: np.ndarray) -> list[np.ndarray]:
    """Return complex amplitudes v of waves whose spins have unit length, as far as the eigenvectors allow."""
    if vectors.shape[1] == 1:
        return [vectors[:, 0] * math.sqrt(2)]
    # Degenerate: no DM term picks a plane of rotation, so any two orthogonal real directions span one.
    real = np.linalg.qr(np.concatenate((vectors.real, vectors.imag), 1))[0][:, :vectors.shape[1]]
    return [real[:, a] + 1j * real[:, b] for a, b in itertools.combinations(range(real.shape[1]), 2)]


def _uniform(H: Hamiltonian, shape: Sequence[int]) -> Iterator[TrialState]:
    for name, angles in DIRECTIONS.items():
        polar, azimuth = np.radians(angles)
        direction = [math.sin(polar) * math.cos(azimuth), math.sin(polar) * math.sin(azimuth), math.cos(polar)]
        yield TrialState("uniform", f"begun along {name}", _unit(H, np.broadcast_to(
            np.array(direction)[:, None, None], (3, *shape))))


def _helices(H: Hamiltonian, shape: Sequence[int], waves: list[Wave]) -> Iterator[TrialState]:
    up = np.array([0, 0, math.copysign(1.0, H.B)])[:, None, None]
    once = {round(value, 9): (turns, vectors) for value, turns, vectors in reversed(waves)}  # one of all mirror images
    for _, (turns, vectors) in sorted(once.items(), reverse=True)[:HELICES]:
        wave = _phase(shape, turns)
        for v, cone in itertools.product(_amplitudes(vectors), CONES if H.B else CONES[:1]):
            name = f"{turns[1]} x {turns[0]} turns" + (f", cone {cone:g}" if cone else "")
            yield TrialState("helix", name, _unit(H, (v[:, None, None] * wave).real + cone * up))


def _multi_q(H: Hamiltonian, shape: Sequence[int], waves: list[Wave]) -> Iterator[TrialState]:
    """Yield sums of two or three waves at wide angles, among them the skyrmion lattice."""
    ny, nx = shape
    known = {turns: (value, vectors) for value, turns, vectors in waves}
    shell = [turns for _, turns, _ in waves[:SHELL]]
    signed = shell + [(-y, -x) for y, x in shell]
    combinations: dict[int, list[Any]] = {2: [], 3: []}
    for a, b in itertools.combinations(signed, 2):
        ka, kb = np.array(a) / (ny, nx), np.array(b) / (ny, nx)
        cosine = ka @ kb / math.sqrt(ka @ ka * (kb @ kb))
        if a not in known:
            continue
        sum_value = known[a][0] + known[b if b in known else (-b[0], -b[1])][0]
        if abs(cosine) < 0.2 and b in known:
            combinations[2].append((sum_value, (a, b)))
        third = (-a[0] - b[0], -a[1] - b[1])
        other = third if third in known else (-third[0], -third[1])
        if -0.7 < cosine < -0.3 and other in known:
            combinations[3].append((sum_value + known[other][0], (a, b, third)))
    up = math.copysign(1.0, H.B)
    for count, groups in combinations.items():
        groups.sort(key=lambda one: (-round(one[0], 9), one[1]))
        for _, group in groups[:MULTI]:
            total = np.zeros((3, ny, nx))
            for turns in group:
                flipped = turns not in known
                v = _amplitudes(known[(-turns[0], -turns[1]) if flipped else turns][1])[0]
                v = v.conj() if flipped else v
                if abs(v[2]) > 1e-6:  # let all waves point against the field at the origin
                    v = -up * v * abs(v[2]) / v[2]
                total += (v[:, None, None] * _phase(shape, turns)).real
            for background in BACKGROUNDS:
                spins = total + up * background * np.array([0, 0, 1.0])[:, None, None]
                places = ", ".join(f"({x} {y})" for y, x in group)
                yield TrialState(f"{count}-q", f"turns {places}, background {background:g}", _unit(H, spins))


def _lattices(H: Hamiltonian, shape: Sequence[int]) -> Iterator[TrialState]:
    """Yield every commensurate skyrmion lattice, in any orientation, that is less strained than the square one."""
    ny, nx = shape
    period = helix_period(H)
    area = nx * ny * 2 / math.sqrt(3) / period**2  # skyrmions at a spacing of one period
    least, most = max(1, math.floor(area / SPACINGS[0] ** 2)), math.ceil(area / SPACINGS[1] ** 2)
    for count in range(least, most + 1):
        radius = 0.3 * period * min(1.0, 0.85 * math.sqrt(area / count))
        for strain, cell, points in commensurate_cells(shape, count):
            if strain >= MAX_STRAIN:
                break
            angle = math.degrees(math.atan2(cell[0][1], cell[0][0])) % 180
            name = f"{count} skyrmions, strain {strain:.3f}, at {angle:.0f} degrees"
            yield TrialState("lattice", name, skyrmions(H, shape, points, radius=radius))


def _cut_lattices(H: Hamiltonian, shape: Sequence[int], rng: np.random.Generator) -> Iterator[TrialState]:
    """Yield triangular lattices of about the bulk spacing in a sample with edges, at several angles and shifts."""
    ny, nx = shape
    inside = np.pad(np.ones(shape, bool) if H.mask is None else H.mask, 1)
    depth = distance_transform_edt(inside)[1:-1, 1:-1]
    period, reach = helix_period(H), 2 * max(ny, nx)
    for factor, degrees in itertools.product(CUT_SPACINGS, CUT_ANGLES):
        spacing = factor * period
        number = int(reach / spacing) + 1
        i, j = (index.ravel() for index in np.mgrid[-number:number + 1, -number:number + 1])
        grid = spacing * np.stack((i + 0.5 * j, 0.5 * math.sqrt(3) * j), 1)
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        grid = grid @ np.array([[c, s], [-s, c]])
        for number in range(CUT_SHIFTS):
            shift = np.zeros(2) if number == 0 else rng.uniform(-spacing, spacing, 2)
            centres = grid + shift + ((nx - 1) / 2, (ny - 1) / 2)
            x, y = np.rint(centres).astype(int).T
            fits = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
            fits[fits] = depth[y[fits], x[fits]] > CUT_MARGIN * spacing
            if fits.any():
                name = f"{fits.sum()} skyrmions {spacing:.1f} sites apart, at {degrees} degrees, place {number}"
                yield TrialState("cut lattice", name, skyrmions(H, shape, centres[fits], radius=0.25 * spacing))


def trial_states_of(H: Hamiltonian, shape: Sequence[int], seed: int = 0) -> list[TrialState]:
    """Return all trial states of a box: uniform states, helices, multi-q states, skyrmion lattices.

    Skyrmion lattices need J > 0 and D != 0; otherwise the 2-q and 3-q states stand for crystals. Samples with edges
    get cut lattices instead of commensurate ones.
    """
    shape = H.check_shape(shape)
    waves = wave_vectors(H, shape)
    states = [*_uniform(H, shape), *_helices(H, shape, waves), *_multi_q(H, shape, waves)]
    if H.J > 0 and H.D != 0:
        rng = np.random.default_rng([seed, 1])
        states += _lattices(H, shape) if H.periodic else _cut_lattices(H, shape, rng)
    return states

"""DeepSPIN's model: exact symmetries, derivatives, limits, cost, and what it refuses. All in float64."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from evae_companion.deepspin.data import Frames
from evae_companion.deepspin.descriptor import rows, switch
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.neighbours import MAX_IMAGES, displacements, find_neighbours
from evae_companion.deepspin.potential import evaluate, neighbours_of
from evae_companion.deepspin.reference import SpinLattice

SPEC = ModelSpec(("X", "Y"), (0.3, 0.0), cutoff=4.0, smooth_from=3.0, embedding=(6, 12), axis=4, components=24,
                 fitting=(16, 16))
ENGINE = SpinLattice(("X", "Y"), (True, False), ((0.3, 0.2), (0.2, 0.1)), ((1.4, 1.5), (1.5, 1.3)),
                     ((2.5, 2.2), (2.2, 2.9)), ((0.02, 0.0), (0.0, 0.0)), dm=0.01, anisotropy=3e-3,
                     axis=(1.0, 2.0, 0.5), landau=(-0.01, 0.002), field=(0.0, 0.01, 0.02), cutoff=4.0, smooth_from=3.0)


def crystal(repeat=(2, 1, 1), frames=1, seed=0, amplitude=0.15) -> Frames:
    """A shaken triclinic crystal of two types; the cell is thinner than twice the cut-off."""
    rng = np.random.default_rng(seed)
    cell = np.array([[3.1, 0.2, -0.1], [0.7, 3.3, 0.3], [-0.4, 0.5, 3.2]])
    steps = np.stack(np.meshgrid(*map(np.arange, repeat), indexing="ij"), -1).reshape(-1, 3)
    whole = (steps[:, None] + np.array([[0, 0, 0], [0.5, 0.5, 0.5]])).reshape(-1, 3) @ cell
    types = np.tile([0, 1], len(steps))
    positions = whole + amplitude * rng.standard_normal((frames, *whole.shape))
    spins = rng.standard_normal(positions.shape) * (types == 0)[:, None]
    cells = np.repeat((cell * np.array(repeat)[:, None])[None], frames, 0)
    return Frames(("X", "Y"), torch.from_numpy(types), cells, positions, spins)


def model_for(frames: Frames, spec=SPEC, seed=1) -> DeepSpin:
    model = DeepSpin(spec, seed).double()
    model.normalise(frames, neighbours_of(model, frames))
    return model


@pytest.fixture(scope="module", params=["model", "engine"])
def potential(request):
    return model_for(crystal(frames=3, seed=5)) if request.param == "model" else ENGINE


def moved(frames: Frames, **changes) -> Frames:
    names = ("names", "types", "cells", "positions", "spins")
    return Frames(**({name: getattr(frames, name) for name in names} | changes))


# Neighbours ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 1, 1), (3, 2, 2)])
def test_neighbours_are_those_of_a_plain_search(repeat):
    """Pairs and displacements against all images in a box far larger than the cut-off, one by one."""
    frames = crystal(repeat)
    reach = (0.4, 0.0)
    found = find_neighbours(frames.positions, frames.cells, frames.types, 4.0, reach, skin=0.2)
    seen = []
    for section in found.sections:
        apart = displacements(section, frames.positions, frames.cells)[0]
        limit = 4.2 + reach[section.neighbour]
        near = apart.norm(dim=-1) <= limit
        assert bool((section.padding[..., 0] == 0).eq(near).all())
        for row, atom in enumerate(section.atoms.tolist()):
            seen += [(atom, int(section.index[row, k]), *np.round(apart[row, k].numpy(), 6)) for k in
                     near[row].nonzero().ravel()]
        assert not bool(((apart.norm(dim=-1) <= 4.2).nonzero()[:, 1] >= section.real).any())
    images = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3) @ frames.cells[0].numpy()
    x, kinds, wanted = frames.positions[0].numpy(), frames.types.numpy(), []
    for i in range(frames.atoms):
        for j in range(frames.atoms):
            apart = x[j] + images - x[i]
            r = np.linalg.norm(apart, axis=1)
            wanted += [(i, j, *np.round(d, 6)) for d in apart[(r <= 4.2 + reach[kinds[j]]) & (r > 1e-9)]]
    assert sorted(seen) == sorted(wanted) and len(wanted) > 10 * frames.atoms


def test_one_table_serves_all_frames():
    frames = crystal(frames=4, amplitude=0.3)
    model = model_for(frames)
    together = evaluate(model, frames)
    for k in range(4):
        alone = evaluate(model, frames[k:k + 1])
        torch.testing.assert_close(together.energies[k:k + 1], alone.energies, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.forces[k:k + 1], alone.forces, rtol=1e-9, atol=1e-10)


def test_skin_covers_what_it_says():
    frames = crystal()
    tables = find_neighbours(frames.positions, frames.cells, frames.types, 4.0, (0.4, 0.0), skin=0.6)
    step = torch.zeros_like(frames.positions)
    step[0, 0] = torch.tensor([0.29, 0.0, 0.0])
    assert tables.covers(frames.positions + step, frames.cells)
    assert not tables.covers(frames.positions + 1.1 * step, frames.cells)
    assert not tables.covers(frames.positions, frames.cells * 1.001)
    far = moved(frames, positions=frames.positions + step)
    model = model_for(frames)
    model_tables = neighbours_of(model, frames, skin=0.6)
    torch.testing.assert_close(evaluate(model, far, neighbours=model_tables).energies, evaluate(model, far).energies,
                               rtol=1e-12, atol=1e-12)


# Symmetries ---------------------------------------------------------------------------------------------------------

def test_translation_and_images(potential):
    frames = crystal()
    before = evaluate(potential, frames)
    images = torch.tensor([[1.0, -2.0, 3.0]] + [[0.0, 0.0, 0.0]] * (frames.atoms - 1), dtype=torch.float64)
    after = evaluate(potential, moved(frames, positions=frames.positions + torch.tensor([0.3, -7.1, 2.2])
                                      + images @ frames.cells[0]))
    for x, y in zip(before[:4], after[:4], strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-11)


def test_permutation(potential):
    frames = crystal((2, 2, 1))
    order = torch.from_numpy(np.random.default_rng(3).permutation(frames.atoms))
    after = evaluate(potential, moved(frames, types=frames.types[order], positions=frames.positions[:, order],
                                      spins=frames.spins[:, order]), virial=True)
    before = evaluate(potential, frames, virial=True)
    torch.testing.assert_close(after.energies, before.energies, rtol=1e-12, atol=1e-11)
    torch.testing.assert_close(after.virials, before.virials, rtol=1e-10, atol=1e-10)
    for x, y in zip(before[1:4], after[1:4], strict=True):
        torch.testing.assert_close(x[:, order], y, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mirror", [False, True])
def test_joint_rotation(mirror):
    """Energies stay, vectors turn with the crystal. The descriptor knows no handedness, so that a reflection of
    positions and moments (as arrows) changes nothing either."""
    frames = crystal()
    model = model_for(frames)
    turn = torch.from_numpy(Rotation.random(rng=np.random.default_rng(2)).as_matrix()) * (-1 if mirror else 1)
    turned = moved(frames, cells=frames.cells @ turn.T, positions=frames.positions @ turn.T,
                   spins=frames.spins @ turn.T)
    before, after = evaluate(model, frames, virial=True), evaluate(model, turned, virial=True)
    torch.testing.assert_close(after.energies, before.energies, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after.forces, before.forces @ turn.T, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(after.force_mags, before.force_mags @ turn.T, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(after.virials, turn @ before.virials @ turn.T, rtol=1e-9, atol=1e-9)


def test_rotation_of_one_alone_matters():
    """Energy depends on how moments stand to the lattice, so the test of joint rotations can fail."""
    frames = crystal()
    model = model_for(frames)
    turn = torch.from_numpy(Rotation.from_rotvec([0.3, 0.2, 0.9]).as_matrix())
    found = evaluate(model, moved(frames, spins=frames.spins @ turn.T)).energies - evaluate(model, frames).energies
    assert float(found.abs()) > 1e-5
    reversed_ = evaluate(model, moved(frames, spins=-frames.spins)).energies - evaluate(model, frames).energies
    assert float(reversed_.abs()) > 1e-5  # S -> -S is not built in


def test_no_net_force_and_no_net_torque():
    """Translations and joint rotations, said once more by the derivatives: sum F = 0; sum R x F + S x F_mag = 0 (in a
    periodic cell through the virial: its antisymmetric part is the moments' torque)."""
    frames = crystal()
    found = evaluate(model_for(frames), frames, virial=True)
    torch.testing.assert_close(found.forces.sum(1), torch.zeros(1, 3, dtype=torch.float64), rtol=0, atol=1e-11)
    W, torque = found.virials[0], found.torques.sum(1)[0]
    twist = torch.stack([W[1, 2] - W[2, 1], W[2, 0] - W[0, 2], W[0, 1] - W[1, 0]])
    assert float(torque.norm()) > 1e-6
    torch.testing.assert_close(twist, -torque, rtol=1e-8, atol=1e-11)


# Derivatives --------------------------------------------------------------------------------------------------------

def slope(potential, frames, name, direction, step):
    """dE along a direction by the five-point rule."""
    def at(x):
        there = moved(frames, **{name: getattr(frames, name) + x * step * direction})
        return float(evaluate(potential, there).energies)

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)


@pytest.mark.parametrize("name, label", [("positions", "forces"), ("spins", "force_mags")])
def test_forces_are_derivatives(potential, name, label):
    frames = crystal(seed=7)
    found = getattr(evaluate(potential, frames), label)
    rng = np.random.default_rng(4)
    for _ in range(4):
        direction = torch.from_numpy(rng.standard_normal(found.shape))
        if name == "spins":
            direction[:, frames.types == 1] = 0.0
        assert slope(potential, frames, name, direction, 4e-5) == pytest.approx(-float((found * direction).sum()),
                                                                                rel=1e-6)


def test_forces_of_single_atoms_are_derivatives(potential):
    """One component at a time: an error in one kind of neighbour must not hide in a sum."""
    frames = crystal(seed=8)
    found = evaluate(potential, frames)
    largest = {"forces": float(found.forces.abs().max()), "force_mags": float(found.force_mags.abs().max())}
    for name, label in (("positions", "forces"), ("spins", "force_mags")):
        for atom in ((0, 1) if name == "positions" else (0, 2)):
            for axis in range(3):
                direction = torch.zeros_like(frames.positions)
                direction[0, atom, axis] = 1.0
                assert slope(potential, frames, name, direction, 4e-5) == pytest.approx(
                    -float(getattr(found, label)[0, atom, axis]), rel=1e-6, abs=1e-6 * largest[label])


def test_virial_is_the_derivative_by_strain(potential):
    frames = crystal(seed=9)
    found = evaluate(potential, frames, virial=True).virials[0]
    for a, b in ((0, 0), (1, 2), (2, 0)):
        def at(x, a=a, b=b):
            change = torch.eye(3, dtype=torch.float64)
            change[a, b] += x
            return float(evaluate(potential, moved(frames, cells=frames.cells @ change,
                                                   positions=frames.positions @ change)).energies)
        h = 1e-5
        assert (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h) == pytest.approx(
            -float(found[a, b]), rel=1e-6, abs=1e-8)


def test_torque_is_the_derivative_by_rotation(potential):
    frames = crystal(seed=6)
    found = evaluate(potential, frames).torques[0, 0].numpy()
    for axis in np.eye(3):
        def at(angle, axis=axis):
            spins = frames.spins.clone()
            spins[0, 0] = torch.from_numpy(Rotation.from_rotvec(angle * axis).apply(spins[0, 0].numpy()))
            return float(evaluate(potential, moved(frames, spins=spins)).energies)
        h = 1e-3
        assert (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h) == pytest.approx(-found @ axis, rel=1e-6,
                                                                                           abs=1e-9)


# Limits -------------------------------------------------------------------------------------------------------------

def test_smooth_where_a_moment_vanishes():
    """Along a line through S = 0 energy and magnetic force are finite and the force does not jump: it turns within the
    protection length, and on both sides of zero it differs by the (finite) slope times the step."""
    frames = crystal()
    model = model_for(frames)
    direction = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)

    def force(x):
        spins = frames.spins.clone()
        spins[0, 0] = x * direction
        found = evaluate(model, moved(frames, spins=spins))
        assert all(bool(torch.isfinite(part).all()) for part in found[:4])
        return found.force_mags[0, 0]

    at_zero, scale = force(0.0), float(force(0.02).norm())
    jumps = [float((force(x) - force(-x)).norm()) for x in (1e-4, 1e-5, 1e-6)]
    assert jumps[1] == pytest.approx(jumps[0] / 10, rel=0.01) and jumps[2] == pytest.approx(jumps[0] / 100, rel=0.01)
    assert jumps[2] < 1e-2 * scale and float((force(1e-9) - at_zero).norm()) < 1e-4 * scale
    assert slope(model, moved(frames, spins=frames.spins * torch.tensor([[[0.0]] + [[1.0]] * 3])), "spins",
                 torch.cat([direction[None], torch.zeros(3, 3)])[None], 1e-5) == pytest.approx(
        -float(force(0.0) @ direction), rel=1e-5)


def test_all_moments_zero():
    frames = moved(crystal(), spins=torch.zeros(1, 4, 3))
    found = evaluate(model_for(crystal()), frames)
    assert all(bool(torch.isfinite(part).all()) for part in found[:4]) and float(found.torques.abs().max()) == 0.0


def test_smooth_at_the_cut_off(potential):
    """Two atoms (in a large cell) drawn apart across r_s and r_c: energy, force and the force's slope are continuous,
    and beyond r_c there is no force."""
    cell = 12.0 * torch.eye(3, dtype=torch.float64)[None]

    def pair(r):
        return Frames(("X", "Y"), torch.tensor([0, 1]), cell,
                      torch.tensor([[[0.0, 0, 0], [r, 0, 0]]], dtype=torch.float64), torch.zeros(1, 2, 3))

    def force(r):
        return float(evaluate(potential, pair(r)).forces[0, 1, 0])

    largest = max(abs(force(r)) for r in np.linspace(2.0, 3.9, 15))
    assert largest > 1e-4 and force(4.0 + 1e-9) == 0.0 and abs(force(4.0 - 1e-4)) < 1e-5 * largest
    for r in (3.0, 4.0):
        h = 1e-4
        left, right = (force(r - h) - force(r - 2 * h)) / h, (force(r + 2 * h) - force(r + h)) / h
        assert abs(right - left) < 2e-2 * largest  # slope; it changes by h times the third derivative
        assert abs(force(r + 1e-7) - force(r - 1e-7)) < 1e-5 * largest
        energies = [float(evaluate(potential, pair(r + x)).energies) for x in (-1e-7, 1e-7)]
        assert energies[1] == pytest.approx(energies[0], abs=1e-6 * largest)


def test_virtual_atoms_cross_the_cut_off_smoothly():
    """A moment turned so that its virtual atom leaves another atom's range."""
    cell = 12.0 * torch.eye(3, dtype=torch.float64)[None]
    model = model_for(crystal())
    energies, forces = [], []
    angles = np.linspace(0.2, 1.4, 400)
    for angle in angles:
        spins = torch.tensor([[[1.0, 0, 0], [np.cos(angle), np.sin(angle), 0]]], dtype=torch.float64)
        frames = Frames(("X", "Y"), torch.tensor([0, 0]), cell, torch.tensor([[[0.0, 0, 0], [3.75, 0, 0]]]), spins)
        found = evaluate(model, frames)
        energies.append(float(found.energies))
        forces.append(float(found.torques[0, 1, 2]))
    # The energy's rise is the integral of the torque: trapezoids, to second order in the step.
    assert np.trapezoid(forces, angles) == pytest.approx(-(energies[-1] - energies[0]), rel=1e-3)
    assert np.ptp(energies) > 1e-11  # rounding is 1e-15; weights are random, so the size is what it is


def test_switch_and_rows_by_hand():
    r = torch.tensor([1.0, 3.0, 3.5, 4.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(switch(r, 3.0, 4.0), torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0], dtype=torch.float64))
    found = rows(torch.tensor([0.0, 3.5, 0.0], dtype=torch.float64), 3.0, 4.0, 1e-9)
    torch.testing.assert_close(found, torch.tensor([0.5 / 3.5, 0.0, 0.5 / 3.5, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("repeat", [(2, 1, 1), (1, 3, 2)])
def test_extensive(potential, repeat):
    """A crystal repeated has as many times the energy, and the same forces."""
    one = crystal((1, 1, 1))
    steps = torch.from_numpy(np.stack(np.meshgrid(*map(np.arange, repeat), indexing="ij"), -1).reshape(-1, 3)).double()
    shifts = steps @ one.cells[0]
    many = Frames(one.names, one.types.repeat(len(shifts)), one.cells * torch.tensor(repeat)[:, None],
                  (one.positions[:, None] + shifts[:, None]).flatten(1, 2), one.spins.repeat(1, len(shifts), 1))
    small, large = evaluate(potential, one, virial=True), evaluate(potential, many, virial=True)
    torch.testing.assert_close(large.energies, small.energies * len(shifts), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(large.virials, small.virials * len(shifts), rtol=1e-9, atol=1e-9)
    for name in ("forces", "force_mags"):
        torch.testing.assert_close(getattr(large, name), getattr(small, name).repeat(1, len(shifts), 1), rtol=1e-9,
                                   atol=1e-10)


def test_far_apart_systems_do_not_see_each_other(potential):
    """The energy of two clusters beyond the cut-off is the sum; forces of one do not depend on the other."""
    cell, rng = 30.0 * torch.eye(3, dtype=torch.float64)[None], np.random.default_rng(0)
    block = torch.from_numpy(2.4 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.3]]) + 0.1 * rng.standard_normal((3, 3)))
    spins = torch.from_numpy(rng.standard_normal((3, 3)) * [[1], [0], [1]])
    kinds = torch.tensor([0, 1, 0])
    one = Frames(("X", "Y"), kinds, cell, block[None], spins[None])
    two = Frames(("X", "Y"), kinds.repeat(2), cell, torch.cat([block, block + 12.0])[None], spins.repeat(2, 1)[None])
    small, large = evaluate(potential, one), evaluate(potential, two)
    torch.testing.assert_close(large.energies, 2 * small.energies, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(large.forces[:, :3], small.forces, rtol=1e-9, atol=1e-11)


def test_parts_add_up(potential):
    frames = crystal((2, 2, 1))
    whole, parts = evaluate(potential, frames, virial=True), evaluate(potential, frames, virial=True, rows=3)
    for x, y in zip(whole, parts, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-11)


def test_float32_is_float64_rounded():
    frames = crystal()
    model = model_for(frames)
    exact = evaluate(model, frames)
    rough = evaluate(model.float(), frames, dtype=torch.float32)
    assert float((rough.forces - exact.forces).norm() / exact.forces.norm()) < 1e-4
    assert float((rough.force_mags - exact.force_mags).norm() / exact.force_mags.norm()) < 1e-4


def test_tables_grow_with_the_atoms():
    """Places in the tables (memory, and the time of a step) are proportional to the number of atoms."""
    counts = {repeat: find_neighbours(f.positions, f.cells, f.types, 4.0, (0.4, 0.0)).pairs / f.atoms
              for repeat in ((4, 4, 4), (8, 8, 8)) for f in [crystal(repeat, amplitude=0.0)]}
    assert counts[8, 8, 8] == pytest.approx(counts[4, 4, 4], rel=1e-12)


# Bad input ----------------------------------------------------------------------------------------------------------

def test_overlapping_atoms_are_refused():
    frames = crystal()
    positions = frames.positions.clone()
    positions[0, 1] = positions[0, 2] + frames.cells[0, 1] + 0.01
    with pytest.raises(ValueError, match="atoms (1 and 2|2 and 1) in frame 0 overlap"):
        evaluate(ENGINE, moved(frames, positions=positions))


def test_a_thin_or_flat_cell_is_refused():
    frames = crystal()
    with pytest.raises(ValueError, match="at least .* high for a cutoff of 4"):
        evaluate(ENGINE, moved(frames, cells=frames.cells * torch.tensor([1.0, 1.0, 3.9 / MAX_IMAGES / 3.5])[:, None]))
    cells = frames.cells.clone()
    cells[0, 2] = cells[0, 0] + cells[0, 1]
    with pytest.raises(ValueError, match="without a volume"):
        moved(frames, cells=cells)
    with pytest.raises(ValueError, match="without a volume"):
        moved(frames, cells=frames.cells * torch.tensor([1.0, 1.0, 0.0])[:, None])


def test_wrong_shapes_and_numbers_are_refused():
    frames = crystal()
    for name, value, message in [
        ("positions", frames.positions[0], r"positions must have shape"),
        ("positions", frames.positions[:, :3], r"positions must have shape \(1, 4, 3\), got \(1, 3, 3\)"),
        ("spins", frames.spins[..., :2], r"spins must have shape \(1, 4, 3\), got \(1, 4, 2\)"),
        ("cells", frames.cells[0], r"cells must have shape \(1, 3, 3\)"),
        ("spins", frames.spins * float("nan"), "spins holds NaN"),
        ("positions", frames.positions * float("inf"), "positions holds NaN or infinity"),
        ("types", torch.tensor([0, 1, 2, 1]), r"unknown types \[2\]"),
        ("types", torch.tensor([0, 1, -1, 1]), r"unknown types \[-1\]"),
        ("types", torch.tensor([0.0, 1, 0, 1]), "types must be integers"),
        ("names", ("X", "X"), "names must be different"),
        ("energies", torch.zeros(2), r"energies must have shape \(1,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            moved(frames, **{name: value})


def test_unknown_types_are_refused(potential):
    with pytest.raises(ValueError, match=r"types \('X', 'Z'\), the potential knows \('X', 'Y'\)"):
        evaluate(potential, moved(crystal(), names=("X", "Z")))


def test_moments_where_there_are_none_are_refused(potential):
    frames = crystal()
    spins = frames.spins.clone()
    spins[0, 1, 2] = 0.1
    with pytest.raises(ValueError, match="spins of type Y must be zero"):
        evaluate(potential, moved(frames, spins=spins))


def test_tables_of_other_atoms_are_refused():
    model = model_for(crystal())
    with pytest.raises(ValueError, match="other atoms"):
        evaluate(model, crystal((2, 2, 1)), neighbours=neighbours_of(model, crystal()))


@pytest.mark.parametrize("change, message", [
    ({"scales": (0.3,)}, "scales must be 2 numbers"), ({"scales": (-0.3, 0.0)}, "scales must be finite and at least 0"),
    ({"smooth_from": 4.0}, "smooth_from < cutoff"), ({"axis": 13}, "axis must be at most 12"),
    ({"components": 0}, "components must be at least 1"),
    ({"embedding": ()}, "at least 1 of widths"),
])
def test_bad_specs_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(**({"names": ("X", "Y"), "scales": (0.3, 0.0), "cutoff": 4.0, "smooth_from": 3.0,
                      "embedding": (6, 12), "axis": 4, "components": 9} | change))

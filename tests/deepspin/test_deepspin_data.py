"""The record of frames, the DeePMD layout and dpdata's keys; real NiO frames where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evae_companion.deepspin.data import LABELS, Frames, concatenate, from_dpdata, read_deepmd, to_dpdata, write_deepmd

NIO = Path(__file__).parents[3] / "shared" / "data" / "nio_dft" / "data_0"
ARRAYS = ("cells", "positions", "spins", *LABELS)


def made(frames=3, seed=0) -> Frames:
    rng = np.random.default_rng(seed)
    types = np.array([0, 1, 0])
    vectors = rng.standard_normal((4, frames, 3, 3))
    return Frames(("Fe", "O"), torch.from_numpy(types), np.tile(4.0 * np.eye(3) + 0.1, (frames, 1, 1)),
                  vectors[0], vectors[1] * (types == 0)[:, None], rng.standard_normal(frames), vectors[2],
                  vectors[3] * (types == 0)[:, None], rng.standard_normal((frames, 3, 3)))


def same(one: Frames, other: Frames) -> bool:
    return one.names == other.names and torch.equal(one.types, other.types) and all(
        (x is None and y is None) or torch.equal(x, y)
        for x, y in ((getattr(one, name), getattr(other, name)) for name in ARRAYS))


def test_deepmd_layout_comes_back(tmp_path):
    frames = made()
    write_deepmd(frames, tmp_path / "new")
    assert same(read_deepmd(tmp_path / "new"), frames)
    assert np.load(tmp_path / "new" / "set.000" / "force_mag.npy").shape == (3, 9)
    with pytest.raises(FileExistsError):
        write_deepmd(frames, tmp_path / "new")


def test_deepmd_layout_as_others_write_it(tmp_path):
    """Files by hand: two sets, energies as a column, types in one line, no type map, no virial."""
    frames = made(4)
    (tmp_path / "type.raw").write_text("0 1 0")
    for k, part in enumerate((frames[:1], frames[1:])):
        folder = tmp_path / f"set.00{k}"
        folder.mkdir()
        np.save(folder / "box.npy", part.cells.numpy().reshape(-1, 9))
        np.save(folder / "coord.npy", part.positions.numpy().reshape(-1, 9))
        np.save(folder / "spin.npy", part.spins.numpy().reshape(-1, 9))
        np.save(folder / "energy.npy", part.energies.numpy()[:, None])
        np.save(folder / "force_mag.npy", part.force_mags.numpy().reshape(-1, 9).astype(np.float32))
    found = read_deepmd(tmp_path)
    assert found.names == ("type0", "type1") and found.forces is None and found.virials is None and len(found) == 4
    assert torch.equal(found.positions, frames.positions) and torch.equal(found.energies, frames.energies)
    torch.testing.assert_close(found.force_mags, frames.force_mags, rtol=1e-6, atol=1e-7)


def test_deepmd_layout_that_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"type.raw is missing"):
        read_deepmd(tmp_path)
    write_deepmd(made(), tmp_path / "x")
    sets = tmp_path / "x" / "set.000"
    np.save(sets / "coord.npy", np.zeros((3, 8)))
    with pytest.raises(ValueError, match=r"coord.npy must hold 9 numbers a frame for 3 atoms, got shape \(3, 8\)"):
        read_deepmd(tmp_path / "x")
    np.save(sets / "coord.npy", np.zeros((2, 9)))
    with pytest.raises(ValueError, match="different numbers of frames"):
        read_deepmd(tmp_path / "x")
    (sets / "coord.npy").unlink()
    with pytest.raises(FileNotFoundError, match="coord.npy is missing"):
        read_deepmd(tmp_path / "x")
    (tmp_path / "x" / "nopbc").touch()
    with pytest.raises(ValueError, match="nopbc"):
        read_deepmd(tmp_path / "x")


def test_a_pickle_is_not_opened(tmp_path):
    write_deepmd(made(), tmp_path / "x")
    np.save(tmp_path / "x" / "set.000" / "coord.npy", np.array([{}], object))
    with pytest.raises(ValueError, match="coord.npy is not a readable .npy file without pickle"):
        read_deepmd(tmp_path / "x")


def test_dpdata_keys():
    """dpdata's own names, written out: a system of it is a dict of these under .data."""
    frames = made()
    data = to_dpdata(frames)
    assert set(data) == {"atom_names", "atom_numbs", "atom_types", "orig", "cells", "coords", "spins", "energies",
                         "forces", "force_mags", "virials"} and data["atom_numbs"] == [2, 1]
    assert same(from_dpdata(data), frames)
    assert same(from_dpdata(type("System", (), {"data": data})()), frames)
    with pytest.raises(ValueError, match="spins"):
        from_dpdata({key: value for key, value in data.items() if key != "spins"})


def test_parts_and_wholes():
    frames = made(5)
    assert same(concatenate([frames[:2], frames[2:]]), frames) and len(frames[[4, 0]]) == 2
    assert torch.equal(frames[[4, 0]].energies, frames.energies[[4, 0]])
    assert frames.magnetic_types() == (0,) and frames.digest() != frames[:4].digest() == frames[[0, 1, 2, 3]].digest()
    with pytest.raises(TypeError, match="take"):
        frames[0]
    bare = Frames(frames.names, frames.types, frames.cells, frames.positions, frames.spins)
    with pytest.raises(ValueError, match="energies must be in all of the parts or in none"):
        concatenate([frames, bare])
    with pytest.raises(ValueError, match="same atoms"):
        concatenate([bare, Frames(frames.names, 0 * frames.types, frames.cells, frames.positions, frames.spins)])


@pytest.mark.skipif(not NIO.is_dir(), reason="the NiO frames are not beside the repository")
def test_nio_frames():
    """Facts of the public data: 60 frames of 16 Ni and 16 O, moments of 1.274 mu_B, one frame's excepted
    (they were not brought to it there), on Ni alone, no net force."""
    frames = read_deepmd(NIO)
    assert (len(frames), frames.atoms, frames.names, frames.magnetic_types()) == (60, 32, ("Ni", "O"), (0,))
    nickel = frames.types == 0
    assert int(nickel.sum()) == 16 and frames.virials is None
    lengths = frames.spins[:, nickel].norm(dim=-1)
    off = (lengths - 1.2737).abs().amax(1)
    assert int((off > 5e-4).sum()) == 1 and int(off.argmax()) == 8 and float(off.max()) < 0.01
    assert float(frames.force_mags[:, ~nickel].abs().max()) == 0.0
    assert float(frames.forces.sum(1).abs().max()) < 1e-2 and 0.01 < float(frames.forces.std()) < 0.03

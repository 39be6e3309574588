"""Certificates of single states and scores of ensembles, against states of which the answer is known; both commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from evae_companion import cli
from evae_companion.analysis import Search, certificate, certificate_search, judge
from evae_companion.io import save_state, write_ovf
from evae_core import Hamiltonian, Schedule, anneal, heat_bath, skyrmion_lattice
from evae_core.textures import skyrmions, uniform

H = Hamiltonian(D=0.6, B=0.2)
TINY = Search(anneals=8, schedule=Schedule(T_start=1.0, sweeps=60), rounds=1, kicks=8, warm_sweeps=40, keep=2)


@pytest.fixture(scope="module")
def lattice():
    return skyrmion_lattice(H, (16, 16))


@pytest.fixture(scope="module")
def annealed():
    return anneal(H, (24, 24), 6, seed=3, schedule=Schedule(sweeps=10))


# Certificates -------------------------------------------------------------------------------------------------------

def test_a_known_lattice_is_certified(lattice):
    result = certificate(H, lattice, TINY)
    assert result.verdict == "lower than or equal to every state that we found; that is no proof"
    assert result.was_relaxed and result.kind == "soft", "a periodic texture glides"
    assert result.modes.soft(1e-5) == 2 and result.moved < 0.3 and result.sites == 256
    assert abs(result.gap) < 2e-7 and abs(result.relaxed_gap) < 2e-7 and result.charge == pytest.approx(-2, abs=1e-6)
    assert result.energy == pytest.approx(float(H.energy(lattice.double())) / 256, abs=1e-7)


def test_a_shaken_lattice_is_certified_once_relaxed(lattice):
    result = certificate(H, heat_bath(H, lattice, 0.02, 2, seed=1), TINY)
    assert not result.was_relaxed and result.torque > 1e-2 and result.relaxed_torque <= 1e-6
    assert result.gap > 1e-3 and abs(result.relaxed_gap) < 2e-7 and result.moved > 0.05
    assert result.verdict.startswith("relaxed, it is lower than or equal to every state")


def test_a_single_skyrmion_is_metastable():
    """Random noise on it; one skyrmion in a box for two lies higher, and nothing goes down from there."""
    start = skyrmions(H, (16, 16), [[8.0, 8.0]]).float()
    noise = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    result = certificate(H, normalize(start + 0.2 * noise, dim=0), TINY)
    assert round(result.relaxed_charge) == -1 and result.kind in ("soft", "minimum")
    gap = result.relaxed_energy - result.candidates.best.energy
    assert result.relaxed_gap == gap > 1e-3
    assert result.verdict.startswith(f"relaxed, it is metastable: a state {gap:.2g} J per spin lower is known (")


def test_a_saddle_point_is_called_one():
    """Uniform along x, where DM vectors have a part along the moments: a helix grows from it by itself."""
    along_x = uniform((16, 16)).roll(1, 0)
    assert float(along_x[0].min()) == 1
    result = certificate(Hamiltonian(D=0.6, B=0.0), along_x, TINY)
    assert result.torque == 0 and result.moved == 0 and result.kind == "saddle"
    q = 2 * np.pi / 16  # E(q) of a wave around x: 2 J (1 - cos q) - 2 D sin q, the energy of two components
    assert float(result.modes.eigenvalues[0]) == pytest.approx(2 * (1 - np.cos(q)) - 1.2 * np.sin(q), abs=1e-6)
    assert result.verdict.startswith("not stable: 4 of its 4 lowest modes go down, and a state 0.17 J per spin lower")


def test_a_state_below_the_search_says_so(lattice):
    """Against a search whose only candidate is the uniform state."""
    result = certificate(H, lattice, TINY)
    only = next(one for one in result.candidates.candidates if one.kind == "uniform")
    result.candidates.candidates[:] = [only]
    assert result.relaxed_gap == pytest.approx(-0.0215463, abs=1e-6)
    assert result.verdict == "lower than every state that we found, by 0.022 J per spin; that is no proof"


def test_masks_and_units_of_certificates():
    y, x = np.mgrid[:16, :16]
    disc = Hamiltonian(D=0.6, B=0.2, boundary=np.hypot(y - 7.5, x - 7.5) < 7)
    state = anneal(disc, (16, 16), 1, seed=1, schedule=Schedule(sweeps=40))[0]
    result = certificate(disc, state, TINY)
    assert result.sites == int(disc.mask.sum()) and not result.relaxed[:, ~torch.from_numpy(disc.mask.copy())].any()
    with pytest.raises(ValueError, match="H must have a largest coupling between 0.1 and 10"):
        certificate(Hamiltonian(J=1e-20, D=1e-21, B=0.0), uniform((16, 16)), TINY)
    with pytest.raises(ValueError, match="shape must be even"):
        certificate(H, uniform((15, 16)), TINY)
    assert certificate_search(Hamiltonian(J=2.0)).schedule.T_start == 2.0
    assert certificate_search(H).spec() == TINY.spec() | {"anneals": 1024, "sweeps": 1000, "rounds": 60,
                                                          "kicks": 128, "warm_sweeps": 200, "keep": 4, "seed": 1000}


# Ensembles ----------------------------------------------------------------------------------------------------------

def test_copies_have_no_diversity(lattice):
    turned = lattice.roll((3, 5), (-1, -2))
    scores = judge(H, torch.stack([lattice, turned, lattice])).measures
    assert scores["copies"] == 1 and scores["kspace_mse"] == pytest.approx(0, abs=1e-12)
    assert scores["distinct_minima"] == pytest.approx(1 / 3) and scores["near_minimum"] == 1
    assert scores["charge"] == pytest.approx(-2) and scores["charge_spread"] == pytest.approx(0, abs=1e-6)
    assert scores["energy"] == pytest.approx(scores["relaxed_energy"], abs=1e-7) and scores["theta"] < 0.01
    assert scores["period"] == 16


def test_independent_states_are_no_copies(annealed):
    hot = heat_bath(H, annealed, 0.02, 3, seed=1)
    result = judge(H, hot, annealed)
    scores = result.measures
    assert scores["copies"] == 0 and scores["kspace_mse"] > 0.05 and scores["near_minimum"] == 0
    assert 2 / 6 <= scores["distinct_minima"] < 1, "some of these anneals end in one minimum"
    energy = H.energy_per_spin(hot.double())
    assert scores["energy"] == pytest.approx(float(energy.mean()), abs=1e-7)
    assert scores["energy_lowest"] == pytest.approx(float(energy.min()), abs=1e-7)
    assert scores["energy_spread"] == pytest.approx(float(energy.std()), abs=1e-7)
    assert result.relaxed_energy == pytest.approx(H.energy_per_spin(annealed.double()).numpy(), abs=1e-5)
    assert scores["theta"] > 1 and result.reference.measures["theta"] < 0.01
    assert scores["coverage"] > 0.5 and scores["density"] > 0.5 and 0 < scores["structure_distance"] < 0.1
    assert result.structure.sum() == pytest.approx(1, abs=1e-5) and "coverage" not in result.reference.measures


def test_near_states_cover_and_far_ones_do_not(lattice):
    """Shaken lattices against others of the same temperature, and a polarised film against them."""
    reference, same = (heat_bath(H, lattice.expand(12, -1, -1, -1), 0.02, 3, seed=seed) for seed in (1, 2))
    scores = judge(H, same, reference).measures
    assert scores["coverage"] == 1 and 0.3 < scores["density"] < 2 and scores["structure_distance"] < 0.01
    flat = uniform((16, 16)).float().expand(12, -1, -1, -1)
    scores = judge(H, heat_bath(H, flat, 0.02, 3, seed=1), reference).measures
    assert scores["coverage"] == scores["density"] == 0 and scores["structure_distance"] > 0.5
    assert scores["charge"] == pytest.approx(0, abs=1e-6)


def test_ensembles_of_samples_with_edges(annealed):
    """A copy is the same site by site there: a translated state is another one."""
    edges = Hamiltonian(D=0.6, B=0.2, boundary="open")
    one = anneal(edges, (16, 16), 1, seed=1, schedule=Schedule(sweeps=40))[0]
    up = uniform((16, 16)).float()
    assert judge(edges, torch.stack([one, one, up])).measures["copies"] == pytest.approx(2 / 3)
    assert judge(edges, torch.stack([one, one.roll(4, -1), up])).measures["copies"] == 0
    with pytest.raises(ValueError, match=r"reference must be states of the lattice \(3, 16, 16\), got \(3, 24, 24\)"):
        judge(edges, torch.stack([one, up]), annealed)
    with pytest.raises(ValueError, match="states must be .* n >= 2"):
        judge(edges, one[None])


# Commands -----------------------------------------------------------------------------------------------------------

GIVEN = ["--D", "0.6", "--B", "0.2"]


@pytest.fixture
def inside(tmp_path, monkeypatch, lattice):
    monkeypatch.chdir(tmp_path)
    save_state("a.ovf", lattice)
    save_state("a.npy", lattice)
    save_state("b.npy", torch.stack([lattice, lattice.roll(2, -1)]))
    return tmp_path


def test_certify_by_command_from_both_formats(inside, capsys, lattice):
    write_ovf("amperes.ovf", lattice, step=(8e-9, 8e-9, 1e-9))
    said = {}
    for name in ("a.ovf", "a.npy", "amperes.ovf"):
        assert cli.main(["certify", name, *GIVEN, "--quick"], inside) == 0
        said[name] = capsys.readouterr().out.replace(name, "")
        assert "Lower than or equal to every state that we found; that is no proof." in said[name]
        assert "a minimum but for flat modes" in said[name] and "-2.00" in said[name] and "found" in said[name]
    strip = [text.partition("written to")[0] for text in said.values()]
    assert strip[0] == strip[1] == strip[2]
    assert Path("a_certificate.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main(["certify", "a.npy", "--D", "0.6", "--B", "0.2", "--quick", "--picture", "p/c.png"], inside) == 0
    assert Path("p/c.png").is_file() and "written to p/c.png and p/c.pdf" in capsys.readouterr().out
    # J = 1, D = 0.6, B = 0.2 in SI units; the cell is the file's.
    film = ["--material", "A=1e-11,D=1.5e-3,Ms=5e5,field=0.125", "--dmi", "bloch", "--quick"]
    assert cli.main(["certify", "amperes.ovf", *film], inside) == 0
    text = capsys.readouterr().out
    assert "J = 1, D = 0.6, B = 0.2, K = 0, bloch DM; the unit J is 2e-20 joule in a layer of 1e-09 m" in text
    assert "-2.221546" in text and "Lower than or equal" in text


def test_judge_by_command(inside, capsys, lattice):
    assert cli.main(["judge", "a.ovf", "b.npy", *GIVEN, "--reference", str(inside), "--json", "j.json", "--figure",
                     "j.png"], inside) == 0
    text = capsys.readouterr().out
    assert text.startswith("3 states, 16 x 16 sites, periodic") and "| measure | these states | reference |" in text
    assert "| share of states that are copies | 1 | 1 |" in text and "| coverage of the reference | 1 |  |" in text
    held = json.loads(Path("j.json").read_text())
    assert held["states"]["files"] == ["a.ovf", "b.npy[0]", "b.npy[1]"] and held["hamiltonian"] == H.spec()
    assert held["states"]["measures"] == pytest.approx(judge(H, torch.stack([lattice, lattice, lattice.roll(2, -1)]),
                                                             lattice.expand(4, -1, -1, -1)).measures, abs=1e-6)
    assert len(held["reference"]["energy"]) == 4 and Path("j.png").is_file() and Path("j.pdf").is_file()
    assert cli.main(["judge", "b.npy", *GIVEN], inside) == 0
    assert "reference" not in capsys.readouterr().out


def test_zero_vectors_are_not_magnetic(inside, capsys):
    y, x = np.mgrid[:16, :16]
    disc = Hamiltonian(D=0.6, B=0.2, boundary=np.hypot(y - 7.5, x - 7.5) < 7)
    states = anneal(disc, (16, 16), 2, seed=1, schedule=Schedule(sweeps=40))
    save_state("disc.ovf", states[0])
    assert cli.main(["certify", "disc.ovf", *GIVEN, "--quick"], inside) == 0
    assert f"open, {int(disc.mask.sum())} of them magnetic" in capsys.readouterr().out
    assert cli.main(["certify", "disc.ovf", *GIVEN, "--boundary", "periodic"], inside) == 2
    assert f"contradicts the {256 - int(disc.mask.sum())} zero vectors" in capsys.readouterr().err
    save_state("full.npy", torch.where(states[1] == 0, torch.tensor([0.0, 0, 1])[:, None, None], states[1]))
    assert cli.main(["judge", "disc.ovf", "full.npy", *GIVEN], inside) == 2
    assert "zero vectors, which are non-magnetic sites, at different places" in capsys.readouterr().err


def layers(path: str, count: int, values: np.ndarray) -> None:
    head = {"meshunit": "m", "meshtype": "rectangular", "xbase": 0, "ybase": 0, "zbase": 0, "xnodes": 4, "ynodes": 4,
            "znodes": count, "xstepsize": 2e-9, "ystepsize": 1e-9, "zstepsize": 1e-9, "xmin": 0, "ymin": 0, "zmin": 0,
            "xmax": 8e-9, "ymax": 4e-9, "zmax": 1e-9, "valuedim": 3, "valuelabels": "x y z", "valueunits": "1 1 1"}
    Path(path).write_text("\n".join(["# OOMMF OVF 2.0", "# Segment count: 1", "# Begin: Segment", "# Begin: Header",
                                     *(f"# {key}: {value}" for key, value in head.items()), "# End: Header",
                                     "# Begin: Data Text", *(" ".join(map(str, row)) for row in values),
                                     "# End: Data Text", "# End: Segment", ""]))


@pytest.mark.parametrize("argv, said", [
    (["certify", "a.npy"], "--D and --B must be given"),
    (["certify", "a.npy", "--D", "0.6"], "--B must be given"),
    (["certify", "a.npy", "--D", "nan", "--B", "0"], "D must be finite"),
    (["certify", "a.npy", *GIVEN, "--cell", "1e-9"], "--cell belongs to --material"),
    (["certify", "a.npy", "--D", "1", "--material", "A=1"], "--material takes the place of --D"),
    (["certify", "a.npy", "--material", "A=1e-11,D=1e-3"], "--material lacks Ms"),
    (["certify", "a.npy", "--material", "A=1e-11,D=x,Ms=1"], "D must be a number, got 'x'"),
    (["certify", "a.npy", "--material", "A=1e-11,E=1"], "each once and joined by commas, got 'E=1'"),
    (["certify", "a.npy", "--material", "A=1e-11,D=1e-3,Ms=1e6,thin_film=2"], "thin_film must be 0 or 1"),
    (["certify", "a.npy", "--material", "A=1e-11,D=1e-3,Ms=1e6"], "--cell must be given"),
    (["certify", "flat.ovf", "--material", "A=1e-11,D=1e-3,Ms=1e6"], "cells of the file are 2e-09 m x 1e-09 m"),
    (["certify", "a.npy", *GIVEN, "--picture", "a.jpg"], "--picture must end in .png"),
    (["certify", "a.npy", *GIVEN, "--seed", "-1"], "seed must be at least 0"),
    (["certify", "a.npy", "--J", "100", *GIVEN], "largest coupling between 0.1 and 10"),
    (["certify", "b.npy", *GIVEN], "holds 2 states; certify takes one"),
    (["certify", "none.npy", *GIVEN], "none.npy cannot be read: No such file"),
    (["certify", "a.txt", *GIVEN], "path must end in .npy, .ovf or .omf"),
    (["certify", "broken.ovf", *GIVEN], "broken.ovf cannot be read as OVF 2.0"),
    (["certify", "long.npy", *GIVEN], "long.npy: its vectors have lengths from 2 to 2, and spins have length 1"),
    (["certify", "unequal.ovf", *GIVEN], "lengths from 0.5 to 1"),
    (["certify", "thick.ovf", *GIVEN], "it has 2 layers; save one layer of it"),
    (["certify", "odd.npy", *GIVEN], "shape must be even"),
    (["judge", "a.npy", *GIVEN], "an ensemble has two or more; evae certify takes one"),
    (["judge", "a.npy", "odd.npy", *GIVEN], "odd.npy holds a lattice of 15 x 16 sites, a.npy one of 16 x 16"),
    (["judge", "empty", *GIVEN], "the folder empty holds no .npy, .ovf, .omf file"),
    (["judge", "b.npy", *GIVEN, "--reference", "a.npy"], "reference must be (n, 3, Ny, Nx) with n >= 2"),
    (["judge", "b.npy", *GIVEN, "--figure", "j"], "--figure must end in .png")])
def test_wrong_files_and_options_say_what_to_do(inside, capsys, lattice, argv, said):
    Path("empty").mkdir()
    Path("a.txt").write_text("0")
    Path("broken.ovf").write_bytes(Path("a.ovf").read_bytes()[:900])
    save_state("long.npy", 2 * lattice)
    save_state("odd.npy", uniform((15, 16)))
    up = np.tile([0.0, 0.0, 1.0], (32, 1))
    layers("flat.ovf", 1, up[:16])
    layers("thick.ovf", 2, up)
    layers("unequal.ovf", 1, up[:16] * np.repeat([1.0, 0.5], 8)[:, None])
    assert cli.main(argv, inside) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line

"""Baselines: made states against exact energies, the search against what is known, parallel tempering as physics."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erfc

from evae_companion.analysis import Search, Tempering, ground_state_candidates, overlap_rate, rate, temperatures
from evae_companion.analysis.descent import descended, energies
from evae_companion.analysis.ground_state_search import wave_length
from evae_companion.analysis.samplers import EnergyTrace, annealings, decoded, tempering
from evae_companion.analysis.trial_states import coupling, trial_states_of, wave_vectors
from evae_core import Hamiltonian, Schedule, heat_bath, topological_charge
from evae_core.annealing import lbfgs_refine, replicas_from
from evae_core.textures import uniform

SMALL = Search(anneals=8, schedule=Schedule(T_start=1.0, sweeps=60), rounds=1, kicks=8, warm_sweeps=40, keep=2)


# Made states --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("H", [Hamiltonian(D=0.7, B=0.0), Hamiltonian(J=0.8, D=-0.4, B=0.0, K=-0.2, dmi="neel")])
def test_coupling_is_the_energy_of_any_state(H):
    """E = -1/2 sum over k of S(k)* A(k) S(k), for random spins: all the physics but the field."""
    spins = heat_bath(H, torch.ones(1, 3, 6, 8) / 3**0.5, math.inf, 1, seed=3)[0].double()
    S = np.fft.fft2(spins.numpy()).transpose(1, 2, 0)
    E = -0.5 * np.einsum("yxa,yxab,yxb->", S.conj(), coupling(H, (6, 8)), S).real / 48
    assert E == pytest.approx(float(H.energy(spins)), abs=1e-9)


def test_best_wave_vector_is_that_of_the_helix():
    """tan(q/sqrt 2) = D/(sqrt 2 J) along the diagonal, energy -2 sqrt(J^2 + D^2/2): below the helix along x."""
    D = math.sqrt(2) * math.tan(2 * math.pi * 2 / 16)
    H = Hamiltonian(D=D, B=0.0)
    value, turns, vectors = wave_vectors(H, (16, 16))[0]
    assert tuple(map(abs, turns)) == (2, 2) and vectors.shape == (3, 1)
    assert -value / 2 == pytest.approx(-2 * math.sqrt(1 + D * D / 2), abs=1e-12)
    helix = next(m for m in trial_states_of(H, (16, 16)) if m.kind == "helix")
    assert float(H.energy_per_spin(helix.spins.double())) == pytest.approx(-value / 2, abs=1e-6)
    assert -value / 2 < -(1 + math.sqrt(1 + D * D)) and float(H.torque(helix.spins).max()) < 1e-5
    assert wave_length(H, (16, 16)) == pytest.approx(16 / math.hypot(2, 2))


def test_waves_without_a_preferred_plane_have_unit_length():
    """Without DM term all planes are degenerate: an antiferromagnet is found as the wave (pi, pi)."""
    H = Hamiltonian(J=-1.0, D=0.0, B=0.0)
    value, turns, vectors = wave_vectors(H, (6, 6))[0]
    assert tuple(map(abs, turns)) == (3, 3) and vectors.shape == (3, 3) and -value / 2 == pytest.approx(-2)
    helix = next(m for m in trial_states_of(H, (6, 6)) if m.kind == "helix")
    assert float(H.energy_per_spin(helix.spins)) == pytest.approx(-2, abs=1e-6)


@pytest.mark.parametrize("boundary, kinds", [
    ("periodic", {"uniform", "helix", "2-q", "3-q", "lattice"}),
    ("open", {"uniform", "helix", "2-q", "3-q", "cut lattice"}),
    (("open", "periodic"), {"uniform", "helix", "2-q", "3-q", "cut lattice"})])
def test_made_states_are_unit_spins_of_every_kind(boundary, kinds):
    H = Hamiltonian(D=0.6, B=0.2, boundary=boundary)
    made = trial_states_of(H, (32, 32))
    assert {m.kind for m in made} == kinds
    lengths = torch.stack([m.spins for m in made]).norm(dim=1)
    assert float((lengths - 1).abs().max()) < 1e-5
    if boundary == "periodic":
        charges = {m.description.split()[0]: float(topological_charge(m.spins)) for m in made if m.kind == "lattice"}
        assert all(round(charge) == -int(count) for count, charge in charges.items())


def test_masked_samples_are_empty_outside():
    y, x = np.mgrid[:24, :24]
    mask = np.hypot(y - 11.5, x - 11.5) < 11
    H = Hamiltonian(D=0.6, B=0.2, boundary=mask)
    spins = torch.stack([m.spins for m in trial_states_of(H, (24, 24))])
    assert not spins[..., torch.from_numpy(~mask)].any()
    found = ground_state_candidates(H, (24, 24), SMALL)
    assert found.best.torque < 1e-6 and not found.spins[:, torch.from_numpy(~mask)].any()
    assert found.best.energy == pytest.approx(float(H.energy_per_spin(found.spins)), abs=1e-12)


def test_the_lowest_state_of_a_wire():
    wire = Hamiltonian(D=0.6, B=0.2, boundary=("open", "periodic"))
    found = ground_state_candidates(wire, (17, 24), SMALL)
    assert found.best.torque < 1e-6 and found.best.energy <= float(wire.energy_per_spin(uniform((17, 24)).double()))
    moved = found.spins.roll(5, -1)
    assert float(wire.energy_per_spin(moved)) == pytest.approx(found.best.energy, abs=1e-10)
    assert float(wire.torque(moved).max()) < 1e-6
    assert found.best.charge == pytest.approx(float(topological_charge(found.spins, periodic=(False, True))), abs=1e-6)


# Settling -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_settle_arrives_and_never_climbs(boundary):
    H = Hamiltonian(D=0.6, B=0.2, boundary=boundary)
    random = heat_bath(H, torch.ones(1, 3, 24, 24) / 3**0.5, 0.3, 5, seed=1)
    rough = descended(H, random)[0]
    state, torque = lbfgs_refine(H, rough)
    assert torque < 1e-6 and torque == pytest.approx(float(H.torque(state).max()))
    assert float(H.energy_per_spin(state)) <= float(energies(H, rough)) + 1e-12
    with pytest.raises(ValueError, match="one configuration"):
        lbfgs_refine(H, rough[None])


# The search ---------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def found():
    return ground_state_candidates(Hamiltonian(D=0.6, B=0.2), (32, 32), SMALL)


def test_search_is_ordered_at_rest_and_holds_every_kind(found):
    E = [c.energy for c in found.candidates]
    assert E == sorted(E) and max(c.torque for c in found.candidates) < 1e-6
    assert {"uniform", "helix", "2-q"} <= {c.kind for c in found.candidates}
    assert set(found.tries) == {"uniform", "helix", "2-q", "3-q", "lattice", "annealed", "hopped"}
    for one, other in zip(found.candidates, found.candidates[1:], strict=False):
        assert other.energy - one.energy > 1e-8 or abs(other.charge - one.charge) > 0.05, "merged where they coincide"
    assert all(sum(c.origins.values()) == c.found for c in found.candidates)
    total = {kind: sum(c.origins.get(kind, 0) for c in found.candidates) for kind in found.tries}
    assert all(total[kind] <= found.tries[kind] for kind in total)
    assert next(c for c in found.candidates if c.kind == "uniform").energy == pytest.approx(-2.2, abs=1e-9)


def test_search_beats_its_own_annealings(found):
    H = found.H
    annealed = annealings(H, (32, 32), 8, Schedule(T_start=1.0, sweeps=60), "short", seed=5)[1]
    assert found.best.energy <= annealed.energies.min() + 1e-8
    assert round(found.best.charge) == -6


def test_gap_before_and_after_rest(found):
    zero = found.gap(found.spins.float())
    assert abs(zero.raw) < 1e-7 and abs(zero.relaxed) < 1e-9
    uniform = torch.zeros(3, 32, 32)
    uniform[2] = 1
    gap = found.gap(uniform)
    assert gap.raw == pytest.approx(-2.2 - found.best.energy, abs=1e-9) and gap.relaxed == pytest.approx(gap.raw)
    shaken = heat_bath(found.H, found.spins.float(), 0.02, 2, seed=1)
    gap = found.gap(shaken)
    assert gap.raw > 1e-3 and abs(gap.relaxed) < 1e-8, "a shaken best state comes back"


def test_search_is_deterministic(found):
    again = ground_state_candidates(Hamiltonian(D=0.6, B=0.2), (32, 32), SMALL)
    assert again.candidates == found.candidates and torch.equal(again.spins, found.spins)


def test_the_helix_wins_without_a_field():
    found = ground_state_candidates(Hamiltonian(D=0.6, B=0.0), (16, 16), SMALL)
    assert found.best.kind == "helix" and abs(found.best.charge) < 1e-6


def test_loaded_replicas_hold_what_they_were_given():
    H = Hamiltonian(D=0.6, B=0.2, dmi="neel")
    spins = heat_bath(H, torch.ones(3, 3, 8, 8) / 3**0.5, math.inf, 1, seed=1)
    assert torch.allclose(replicas_from(H, spins).spins(), spins, atol=1e-6)


# Parallel tempering -------------------------------------------------------------------------------------------------

def test_expected_rate_inverts_the_ladder_and_is_the_gaussian_one():
    T = temperatures(0.1, 1.0, 400, swap_rate=0.3)
    assert T[0] == pytest.approx(0.1) and T[-1] == pytest.approx(1.0)
    measured = rate(T[1] / T[0], 400)
    assert 0.3 <= measured < 0.34
    # Energies drawn from the Gaussian model, not from spins: N C T on average, variance N C T^2.
    rng = np.random.default_rng(0)
    low, high = (rng.normal(400 * t, math.sqrt(400) * t, 1500) for t in T[:2])
    assert overlap_rate(low, high, T[0], T[1]) == pytest.approx(measured, abs=0.03)
    assert rate(1.0, 400) == 1 and rate(T[1] / T[0], 400) == pytest.approx(
        erfc(math.log(T[1] / T[0]) * math.sqrt(400) / 2))


def test_free_spins_have_langevin_energies_at_every_temperature():
    """No coupling: E/N = -B (coth(B/T) - T/B), exact. Swaps must leave it alone."""
    H = Hamiltonian(J=1e-6, D=0.0, B=1.0)
    T = np.array([0.5, 0.55, 0.6])
    chain = Tempering(H, (8, 8), 32, T, seed=2, every=1, overrelax=0).run(120)
    E = np.array(chain.energies)[10:] / 64
    exact = -(1 / np.tanh(1 / T) - T)
    error = E.std(axis=(0, 2)) / math.sqrt(E.shape[0] * E.shape[2])
    assert (abs(E.mean(axis=(0, 2)) - exact) < 4 * error).all(), (E.mean(axis=(0, 2)) - exact) / error
    expected = [overlap_rate(64 * E[:, i], 64 * E[:, i + 1], T[i], T[i + 1]) for i in range(2)]
    spread = np.sqrt(0.25 / chain.tried)
    assert (abs(chain.rates - expected) < 4 * spread).all() and (chain.swapped > 100).all()


def test_energies_equal_single_temperature_runs():
    H, T = Hamiltonian(D=0.6, B=0.2), temperatures(0.4, 0.6, 144, swap_rate=0.4)
    chain = Tempering(H, (12, 12), 16, T, seed=4, every=2).run(500)
    E = np.array(chain.energies)[50:]
    assert (chain.rates > 0.1).all()
    for i in (0, len(T) - 1):
        alone = torch.zeros(32, 3, 12, 12)
        alone[:, 2] = 1
        alone = heat_bath(H, alone, T[i], 100, seed=i, overrelax=1)
        means = []
        for k in range(60):
            alone = heat_bath(H, alone, T[i], 4, seed=100 + k, overrelax=1)
            means.append(H.energy(alone.double()).numpy())
        single = np.array(means).mean(0)  # one mean a replica: independent
        tempered = E[:, i].mean(0)
        error = math.hypot(single.std(ddof=1) / math.sqrt(len(single)), tempered.std(ddof=1) / math.sqrt(16))
        assert abs(single.mean() - tempered.mean()) < 4 * error


def test_two_levels_keep_their_weights():
    """Detailed balance of the swap alone: two states of energies 0 and 1 at two temperatures, no sweeps between.

    Swapping without sweeping permutes the two members; the share of time the lower temperature holds the lower state
    is 1/(1 + exp(-A)), A = (1/T_0 - 1/T_1) (E_1 - E_0).
    """
    H = Hamiltonian(J=1e-6, D=0.0, B=1.0)
    up = torch.zeros(3, 2, 2)
    up[2] = 1
    tilted = torch.zeros(3, 2, 2)
    tilted[0], tilted[2] = math.sqrt(1 - 0.75**2), 0.75  # E higher by 4 x 0.25 = 1
    runs, T = 64, (0.5, 0.8)
    spins = torch.stack([up.expand(runs, 3, 2, 2), tilted.expand(runs, 3, 2, 2)]).clone()
    chain = Tempering(H, (2, 2), runs, T, spins=spins)
    for batch in chain._batches:
        batch.sweep = lambda betas, overrelax: None
    chain.every = 1
    chain.run(600)
    E = np.array(chain.energies)[::2]  # only every other attempt concerns the one pair there is
    share = float((E[20:, 0] < -3.5).mean())
    exact = 1 / (1 + math.exp(-(1 / T[0] - 1 / T[1])))
    error = math.sqrt(exact * (1 - exact) / (runs * len(E[20:]) / 3))  # successive attempts are correlated
    assert abs(share - exact) < 4 * error


def test_tempering_is_deterministic_and_counts_updates():
    H, T = Hamiltonian(D=0.6, B=0.2), (0.3, 0.32, 0.34)
    one, two = (Tempering(H, (8, 8), 2, T, seed=5).run(20) for _ in range(2))
    assert torch.equal(one.spins(0), two.spins(0)) and one.updates == 20 * 2 * 3 * 2 * 64
    assert (one.tried == [2, 2]).all()
    with pytest.raises(ValueError, match="ascending"):
        Tempering(H, (8, 8), 2, (0.3, 0.2))
    with pytest.raises(ValueError, match="T_low"):
        temperatures(1.0, 0.5, 64)


# Rivals -------------------------------------------------------------------------------------------------------------

def test_best_of_k_is_the_order_statistic():
    pool = np.arange(16.0)[None]
    trace = EnergyTrace("any", np.array([2.0]), np.array([5.0]), pool, once=(100.0, 7.0))
    best = trace.best_of((1, 4, 16, 64))
    assert best["seconds"].tolist() == [102, 108, 132] and best["updates"].tolist() == [12, 27, 87]
    assert trace.best_of((1,), once=False)["seconds"].tolist() == [2]
    assert best["mean"] == 7.5 and best["lowest"][-1].tolist() == [0, 0, 0]
    assert best["lowest"][0, 1] == pytest.approx(7.5, abs=1) and (np.diff(best["lowest"][:, 1]) < 0).all()


def test_descent_takes_the_heat_out_of_an_annealing():
    H, schedule = Hamiltonian(D=0.6, B=0.2), Schedule(T_start=1.0, sweeps=40, overrelax=1)
    warm, cold = annealings(H, (16, 16), 8, schedule, "short")
    assert warm.updates[0] == 40 * 2 * 256 and cold.seconds[0] > warm.seconds[0] > 0
    drop = (warm.energies - cold.energies).mean()
    assert 0.7 * schedule.T_end < drop < 2 * schedule.T_end, "about k_B T a spin: two quadratic modes"


def test_tempering_trace_and_decoded_states():
    H = Hamiltonian(D=0.6, B=0.2)
    trace, ladder = tempering(H, (16, 16), 2, 40, (0.2, 0.5), checkpoints=3)
    assert trace.energies.shape == (len(trace.seconds), 2) and (np.diff(trace.updates) > 0).all()
    assert len(ladder["rates"]) == len(ladder["temperatures"]) - 1
    assert (np.diff(trace.in_time()["lowest"], axis=0) <= 0).all()
    up = torch.zeros(4, 3, 16, 16)
    up[:, 2] = 1
    raw, relaxed = decoded(H, lambda n: up[:n], 4, (60.0, 1e6))
    assert raw.energies.tolist() == pytest.approx(np.full((1, 4), -2.2)) and relaxed.once == (60.0, 1e6)

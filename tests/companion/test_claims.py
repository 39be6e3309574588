"""The verdicts: data that follow the paper are reproduced, data that contradict it are not, noise is not decidable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evae_companion import claims
from evae_companion.claims import Check, Result

BETA = np.array([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 4e-2, 1.0])
GAMMA = np.array([1e-4, 1e-2, 1.0, 1e2, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6])


def beta_ladder(**changes):
    reconstruction = [0.01, 0.011, 0.02, 0.1, 0.3, 0.92, 0.92]
    return {"beta": BETA, "reconstruction": reconstruction, "validation": {"reconstruction": reconstruction},
            "kl": [400, 300, 200, 100, 20, 0.1, 0.0], "energy": [-0.056, -0.055, -0.054, -0.053, -0.052, -0.05, -0.05],
            "magnetisation": [0.5] * 5 + [1.0, 1.0], "kspace_mse": [0.2] * 5 + [1e-6, 1e-6],
            "data_kspace_mse": 0.2} | changes


def gamma_ladder(**changes):
    return {"gamma": GAMMA, "reconstruction": [0.1, 0.1, 0.1, 0.11, 0.4, 0.9, 1.2, 1.3, 1.3, 1.3],
            "kl": [60, 60, 61, 70, 120, 200, 400, 700, 1500, 5000],
            "energy": [-0.05, -0.051, -0.052, -0.053, -0.0535, -0.0575, -0.058, -0.058, -0.058, -0.058],
            "energy_generated": [-0.04, -0.041, -0.042, -0.05, -0.055, -0.056, -0.0561, -0.0561, -0.0561, -0.0561],
            "kspace_mse": [0.2] * 6 + [1e-4] * 4, "data_kspace_mse": 0.2, "data_energy": -0.0558} | changes


def verdicts(results):
    return {result.id: result.verdict for result in results}


def check(*values, threshold=1.0, above=True, **more):
    return Check("a number", values, threshold, above, **more)


# The statistics of one check

def test_a_check_needs_more_than_its_error():
    assert check(1.9, 2.0, 2.1).outcome == "met" and check(0.1, 0.2, 0.3).outcome == "not met"
    assert check(0.5, 1.0, 2.5).outcome == "not decidable", "the mean is above, by less than the error"
    assert check(0.1, 0.2, 0.3, above=False).outcome == "met"
    assert check(2.0).outcome == "not decidable", "one training has no error"
    assert check(2.0, 2.0, 2.0).outcome == "met" and check(1.0, 1.0, 1.0).outcome == "not decidable"


def test_the_error_is_students():
    """Three values of mean 3 and standard deviation 1: t(0.95, 2) = 2.920, so the bound is 2.920 / sqrt(3)."""
    mean, error = check(2.0, 3.0, 4.0).margin
    assert mean == pytest.approx(2.0) and error == pytest.approx(2.919986 / np.sqrt(3), rel=1e-6)
    assert check(2.0, 3.0, 4.0, threshold=1.3).outcome == "met"
    assert check(2.0, 3.0, 4.0, threshold=1.32).outcome == "not decidable"


def test_false_positives_are_as_rare_as_stated():
    """Three trainings without an effect: 5 % are taken for one, 5 % for the opposite."""
    drawn = np.random.default_rng(0).normal(1.0, 1.0, (4000, 3))
    outcomes = [check(*values).outcome for values in drawn]
    for outcome in ("met", "not met"):
        assert abs(outcomes.count(outcome) / len(drawn) - 0.05) < 0.012


def test_factors_are_compared_as_factors():
    ratio = check(2.0, 8.0, threshold=4.0, log=True)
    assert ratio.margin[0] == pytest.approx(0.0, abs=1e-12) and "4" in ratio.number
    assert check(1e-6, 1e-3, 1e-2, threshold=1.0, above=False, log=True).outcome == "met"


def test_a_grid_adds_what_it_leaves_open():
    assert check(3.0, 3.0, 3.0, threshold=2.0, log=True).outcome == "met"
    assert check(3.0, 3.0, 3.0, threshold=2.0, log=True, resolution=np.log(2)).outcome == "not decidable"


def test_values_that_are_missing():
    nan = float("nan")
    assert check(nan, nan, nan).outcome == "not met" and check(nan).outcome == "not decidable"
    assert check(2.0, 2.1, nan).outcome == "not decidable" and check(0.1, 0.2, nan).outcome == "not met"
    assert check(nan, nan).number == "never" and "in 2 of 3" in check(2.0, 2.1, nan).number
    assert check(2.0, 2.1, nan).passed == (True, True, False)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6), st.floats(-1e6, 1e6), st.booleans())
def test_the_opposite_question_has_the_opposite_answer(values, threshold, above):
    opposite = {"met": "not met", "not met": "met", "not decidable": "not decidable"}
    asked, turned = (check(*values, threshold=threshold, above=side) for side in (above, not above))
    assert turned.outcome == opposite[asked.outcome]
    assert turned.number == asked.number


def test_the_verdict_of_a_claim():
    met, refuted, unclear = check(2.0, 2.0), check(0.0, 0.0), check(0.0, 3.0)

    def verdict(*checks):
        return Result("B1", checks).verdict

    assert verdict(met, met) == "reproduced" and verdict(refuted, refuted) == "not reproduced"
    assert verdict(met, refuted) == "partly" and verdict(met, unclear) == "not decidable"
    assert verdict(unclear, refuted) == "not reproduced" and verdict(met, unclear, refuted) == "partly"
    assert verdict(check(2.0, 2.0, evidence=False), refuted) == "not reproduced", "no evidence alone"
    assert verdict(met, check(0.0, 0.0, counts=False)) == "reproduced", "shown only"
    assert Result("B1", (met, unclear, refuted)).deciding == refuted
    with pytest.raises(ValueError, match="checks must hold one that counts"):
        Result("B1", (check(2.0, 2.0, counts=False),))
    with pytest.raises(ValueError, match="values must hold one number"):
        check()


# The criteria

def test_beta_sweep():
    good = verdicts(claims.beta_sweep([beta_ladder(), beta_ladder()]))
    assert good == {"B1": "reproduced", "B2": "reproduced", "B3": "reproduced"}
    bad = beta_ladder(reconstruction=[0.5] * 7, validation={"reconstruction": [0.5] * 7}, kl=[1.0] * 7,
                      energy=np.linspace(-0.05, -0.056, 7),
                      magnetisation=[0.5] * 7, kspace_mse=[0.2] * 7)
    found = verdicts(claims.beta_sweep([bad, bad]))
    assert found["B1"] == found["B3"] == "not reproduced" and found["B2"] != "reproduced"
    assert set(verdicts(claims.beta_sweep([beta_ladder(), bad])).values()) == {"not decidable"}
    learned_by_heart = beta_ladder(validation={"reconstruction": [0.5] * 7})
    assert verdicts(claims.beta_sweep([learned_by_heart] * 2))["B1"] == "partly"
    # What lies beyond beta_c, the uniform state's energy, is no part of B2.
    beyond = beta_ladder(energy=[-0.056, -0.055, -0.054, -0.053, -0.052, -0.06, -0.06])
    assert verdicts(claims.beta_sweep([beyond, beyond]))["B2"] == "reproduced"


def test_gamma_sweep():
    def judged(*ladders):
        return verdicts(claims.gamma_sweep({1e-3: ladders, 1e-4: ladders}))

    assert judged(gamma_ladder(), gamma_ladder()) == dict.fromkeys(("G1", "G2", "G3", "G4"), "reproduced")
    low = gamma_ladder(data_energy=-0.06)
    assert judged(low, low)["G3"] == "not reproduced"
    late = gamma_ladder(kspace_mse=[0.2] * 9 + [1e-4])
    assert judged(late, late)["G4"] == "partly"
    slow = gamma_ladder(energy=-0.05 - 1e-3 * np.arange(10))  # a tenth of the fall in every stage
    found = claims.gamma_sweep({1e-3: [slow, slow]})[3]
    assert [c.outcome for c in found.checks if "within one decade" in c.what] == ["not met"]
    early = gamma_ladder(reconstruction=[0.1, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert judged(early, early)["G2"] == "not reproduced"
    # The energy is taken before the collapse, past which it lies below any data.
    only_past = gamma_ladder(energy=[-0.05, -0.051, -0.052, -0.053, -0.054, -0.055, -0.058, -0.058, -0.058, -0.058])
    assert judged(only_past, only_past)["G3"] == "not reproduced"


def test_critical():
    assert claims.critical(GAMMA, [0.2] * 6 + [1e-4] * 4, 0.2) == pytest.approx(np.sqrt(2e3 * 5e3))
    relapse = [0.2] * 6 + [1e-4, 0.2, 1e-4, 1e-4]
    assert claims.critical(GAMMA, relapse, 0.2) == pytest.approx(np.sqrt(2e3 * 5e3))
    assert claims.critical(GAMMA, relapse, 0.2, lasting=True) == pytest.approx(np.sqrt(1e4 * 1e5))
    assert np.isnan(claims.critical(GAMMA, [1e-4] * 9 + [0.2], 0.2, lasting=True))
    assert np.isnan(claims.critical(GAMMA, [0.2] * 10, 0.2))
    assert np.isnan(claims.critical(GAMMA, [1e-4] * 10, 0.2)), "collapsed before the ladder began"


def thetas(median, peak, height, deformed=(0.3, 0.2, 0.1), near=(0.1, 0.2, 0.3)):
    return {"median": median, "peak": peak, "height": height, "deformed": deformed, "near": near}


def test_noise():
    cleaner = thetas([0.3, 0.2, 0.1], [0.3, 0.2, 0.1], [1, 2, 3])
    dirtier = thetas([0.1, 0.1, 0.3], [0.1, 0.2, 0.3], [3, 2, 1], (0.1, 0.2, 0.3), (0.3, 0.2, 0.1))
    four = ("N1", "N2", "N3", "N4")
    good = {"X_out": cleaner, "X'_out": cleaner}
    assert verdicts(claims.noise_reduction([good, good])) == dict.fromkeys(four, "reproduced")
    mixed = {"X_out": cleaner, "X'_out": dirtier}
    assert verdicts(claims.noise_reduction([mixed, mixed])) == dict.fromkeys(four, "partly")
    bad = {"X_out": dirtier, "X'_out": dirtier, "X_out from mu": cleaner}
    assert verdicts(claims.noise_reduction([bad, bad])) == dict.fromkeys(four, "not reproduced")
    tied = {"X_out": thetas([0.3, 0.2, 0.1], [0.1, 0.1, 0.1], [1, 2, 3]), "X'_out": cleaner}
    assert verdicts(claims.noise_reduction([tied, tied]))["N2"] == "not decidable", "a tie is no fall"
    assert set(verdicts(claims.noise_reduction([good, bad | {"X_out": cleaner}])).values()) == {"not decidable"}


def path(**changes):
    rows = {"height": [[0.01, 0.01], [0.03, 0.02]], "width": [[9, 8], [5, 6]], "start": [[-2.1] * 2, [-2.22] * 2],
            "end": [[-2.15] * 2, [-2.224] * 2], "extra": [[1.0, 0.9], [0.1, 0.0]], "change": [[3, 4], [1, 2]]}
    return {key: np.array(value, float) for key, value in (rows | changes).items()}


def test_interpolation():
    good = verdicts(claims.latent_interpolation([path(), path()]))
    assert good == {"L1": "reproduced", "L2": "reproduced", "L3": "reproduced"}
    wider = path(width=[[5, 6], [9, 8]])
    assert verdicts(claims.latent_interpolation([wider, wider]))["L1"] == "partly"
    none = path(width=[[np.nan] * 2] * 2)
    assert verdicts(claims.latent_interpolation([none, none]))["L1"] == "not reproduced"
    gone = path(extra=[[0.0, 0.0], [0.0, 0.0]])
    assert verdicts(claims.latent_interpolation([gone, gone]))["L3"] == "not reproduced", "gone proves nothing alone"
    outside = path(extra=[[np.nan] * 2] * 2)
    assert verdicts(claims.latent_interpolation([outside, outside]))["L3"] == "not reproduced"


RUN = {"gamma": [100, 1e3, 1e4, 1e5, 1e6], "kspace_mse": [0.2, 0.1, 1e-4, 1e-4, 1e-5], "data_kspace_mse": 0.2,
       "energy_per_spin": [-2.215, -2.2243, -2.2244, -2.2244, -2.2244], "energy": -2.2244, "defects": 0.0,
       "best_data": -2.224}


def test_collapse():
    earlier = RUN | {"kspace_mse": [0.2, 1e-4, 1e-4, 1e-4, 1e-5]}

    def judged(first, distances=(0.5,), other=(RUN, RUN)):
        return verdicts(claims.collapse({1e-3: first, 1e-4: other}, distances))

    assert judged([earlier, earlier | {"energy": -2.22441}]) == {
        "C1": "reproduced", "C2": "reproduced", "C3": "not decidable", "C4": "reproduced", "C5": "reproduced"}, (
        "one pair has no error")
    drifts = RUN | {"energy_per_spin": [-2.215, -2.22, -2.222, -2.223, -2.2244]}
    assert judged([drifts, drifts])["C5"] == "not reproduced"
    near = RUN | {"gamma": [100, 5e2, 1e4, 1e5, 1e6], "kspace_mse": [0.2, 0.1, 1e-4, 1e-4, 1e-5]}
    assert judged([near, near])["C4"] == "not decidable", "the grid leaves gamma_c open"
    three = judged([earlier, earlier | {"energy": -2.22441}, earlier], distances=(0.5, 0.6, 0.7), other=(RUN, RUN, RUN))
    assert three["C3"] == "reproduced"
    fine = np.geomspace(100, 1e5, 31)
    by_beta = {beta: [RUN | {"gamma": fine, "kspace_mse": np.where(fine > at, 1e-4, 0.2),
                             "energy_per_spin": -2.22 - 1e-4 * np.arange(31)}] * 3
               for beta, at in ((1e-3, 1e3), (1e-4, 4e3))}
    assert verdicts(claims.collapse(by_beta, (0.5, 0.6, 0.7)))["C4"] == "reproduced"
    relapsed = RUN | {"kspace_mse": [0.2, 0.1, 1e-4, 0.1, 1e-5]}
    assert judged([relapsed, relapsed])["C1"] == "partly"
    never = RUN | {"kspace_mse": [0.2] * 5, "defects": 0.2, "best_data": -2.2245}
    bad = judged([never, never], other=(never, never))
    assert bad["C1"] == bad["C2"] == bad["C4"] == "not reproduced"
    assert judged([RUN, never])["C1"] == "not decidable"


def test_dataset():
    assert verdicts(claims.dataset([{"redundant": 0.0}] * 2)) == {"D1": "reproduced"}
    assert verdicts(claims.dataset([{"redundant": 0.3}, {"redundant": 0.31}])) == {"D1": "not reproduced"}


def test_confined():
    square = {"kspace_mse": 1e-4, "data_kspace_mse": 0.1, "lowest": 1.0}

    def judged(*samples):
        return verdicts(claims.confined({f"sample {k}": [one, one] for k, one in enumerate(samples)}))["S1"]

    assert judged(square) == "reproduced" and judged(square, square | {"lowest": 0.0}) == "partly"
    assert judged(square | {"kspace_mse": 0.05}) == "partly"
    assert judged(square | {"kspace_mse": 0.05, "lowest": 0.2}) == "not reproduced"


def test_saved_and_read_again(tmp_path):
    results = claims.beta_sweep([beta_ladder(), beta_ladder(kspace_mse=[0.2] * 7)])
    text = claims.save(tmp_path, "02", results)
    assert text.startswith("| claim | paper | here | trainings | verdict |") and text.count("\n") == 4
    loaded = claims.load(tmp_path)
    assert verdicts(loaded.values()) == verdicts(results) and list(loaded) == ["B1", "B2", "B3"]
    assert loaded["B1"] == results[0] and np.isnan(loaded["B3"].checks[0].values[1])
    card = claims.card(tmp_path)
    assert card.startswith("2 reproduced, 0 partly, 0 not reproduced, 1 not decidable; not run: D1,")
    assert claims.card(tmp_path, small=True).startswith("**Too small a box for verdicts")
    short = claims.summary(results).splitlines()
    assert len(short) == 2 + 3 and short[2].startswith("| B1 | β up to 1e-4: L\\_RC almost zero")
    assert "% | 2/2 | reproduced |" in short[2]
    rows = claims.details(results).splitlines()
    assert len(rows) == 2 + sum(len(result.checks) for result in results) and "not decidable" in claims.details(results)
    shown = claims.details(claims.gamma_sweep({1e-3: [gamma_ladder(), gamma_ladder()]}))
    assert shown.count("shown only") == 1, "L_H of X'_out"
    (tmp_path / "claims" / "02.json").write_text('[{"id": "B1"}]')
    with pytest.raises(ValueError, match="02.json"):
        claims.load(tmp_path)


def test_two_cards_agree():
    good = claims.beta_sweep([beta_ladder(), beta_ladder()])
    other = claims.beta_sweep([beta_ladder(kspace_mse=[0.2] * 7)] * 2)
    assert claims.agreement(good, good) == (3, 3) and claims.agreement(good, other) == (2, 3)
    assert claims.agreement(good, other[:1]) == (1, 1)


def test_an_untrained_network_proves_nothing():
    """Nothing changes along the ladder: checks that ask for no change pass, and make no verdict better."""
    flat = gamma_ladder(reconstruction=[0.9] * 10, kl=[250.0] * 10, energy=[-0.03] * 10, energy_generated=[-0.03] * 10,
                        kspace_mse=[0.2] * 10)
    assert set(verdicts(claims.gamma_sweep({1e-3: [flat, flat]})).values()) == {"not reproduced"}


def test_nan_passes_no_check():
    nan = [float("nan")] * 10
    holes = gamma_ladder(energy=nan, reconstruction=nan, kl=nan)
    assert "reproduced" not in verdicts(claims.gamma_sweep({1e-3: [gamma_ladder(), holes]})).values()

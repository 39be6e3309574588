"""The verdicts: data that follow the paper are reproduced, data that contradict it are not, each check on its own."""

import numpy as np
import pytest

from evae_companion import claims

BETA = np.array([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
GAMMA = np.array([1e-4, 1e-2, 1.0, 1e2, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6])


def beta_ladder(**changes):
    return {"beta": BETA, "reconstruction": [0.01, 0.011, 0.02, 0.1, 0.3, 0.92, 0.92], "data_kspace_mse": 0.2,
            "kl": [400, 300, 200, 100, 20, 0.1, 0.0], "energy": [-0.056, -0.055, -0.054, -0.053, -0.052, -0.05, -0.05],
            "magnetisation": [0.5] * 5 + [1.0, 1.0], "kspace_mse": [0.2] * 5 + [1e-6, 1e-6]} | changes


def gamma_ladder(**changes):
    return {"beta": 1e-3, "gamma": GAMMA, "reconstruction": [0.1, 0.1, 0.1, 0.11, 0.4, 0.9, 1.2, 1.3, 1.3, 1.3],
            "kl": [60, 60, 61, 70, 120, 200, 400, 700, 1500, 5000],
            "energy": [-0.05, -0.051, -0.052, -0.053, -0.055, -0.056, -0.0561, -0.0561, -0.0561, -0.0561],
            "energy_generated": [-0.04, -0.041, -0.042, -0.05, -0.055, -0.056, -0.0561, -0.0561, -0.0561, -0.0561],
            "kspace_mse": [0.2] * 6 + [1e-4] * 4, "data_kspace_mse": 0.2} | changes


def verdicts(results):
    return {result.id: result.verdict for result in results}


def test_beta_sweep():
    assert verdicts(claims.beta_sweep([beta_ladder()])) == {"B1": "reproduced", "B2": "reproduced", "B3": "reproduced"}
    bad = beta_ladder(reconstruction=[0.5] * 7, kl=[1.0] * 7, energy=np.linspace(-0.05, -0.056, 7),
                      magnetisation=[0.5] * 7, kspace_mse=[0.2] * 7)
    assert set(verdicts(claims.beta_sweep([bad])).values()) == {"not reproduced"}
    assert verdicts(claims.beta_sweep([beta_ladder(), bad]))["B1"] == "not reproduced"


def test_gamma_sweep():
    good = verdicts(claims.gamma_sweep([gamma_ladder(), gamma_ladder(beta=1e-4)], -0.0558))
    assert good == dict.fromkeys(("G1", "G2", "G3", "G4"), "reproduced")
    assert verdicts(claims.gamma_sweep([gamma_ladder()], -0.06))["G3"] == "not reproduced"
    late = gamma_ladder(kspace_mse=[0.2] * 9 + [1e-4])
    assert verdicts(claims.gamma_sweep([gamma_ladder(), late], -0.0558))["G4"] == "partly"
    early = gamma_ladder(reconstruction=[0.1, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert verdicts(claims.gamma_sweep([early], -0.0558))["G2"] == "not reproduced"


def test_critical():
    assert claims.critical(GAMMA, [0.2] * 6 + [1e-4] * 4, 0.2) == pytest.approx(np.sqrt(2e3 * 5e3))
    relapse = [0.2] * 6 + [1e-4, 0.2, 1e-4, 1e-4]
    assert claims.critical(GAMMA, relapse, 0.2) == pytest.approx(np.sqrt(2e3 * 5e3))
    assert claims.critical(GAMMA, relapse, 0.2, lasting=True) == pytest.approx(np.sqrt(1e4 * 1e5))
    assert np.isnan(claims.critical(GAMMA, [1e-4] * 9 + [0.2], 0.2, lasting=True))
    assert np.isnan(claims.critical(GAMMA, [0.2] * 10, 0.2))
    assert np.isnan(claims.critical(GAMMA, [1e-4] * 10, 0.2)), "collapsed before the ladder began"


def test_noise():
    falls, stays = [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]
    keys = ("X_out", "X'_out")
    good = claims.noise_reduction((0, 1, 100), {k: falls for k in keys}, {k: falls for k in keys},
                                  {k: stays for k in keys})
    assert verdicts(good) == {"N1": "reproduced", "N2": "reproduced"}
    grows = {k: stays for k in keys}
    mixed = claims.noise_reduction((0, 1, 100), {keys[0]: falls, keys[1]: stays}, grows, grows)
    assert verdicts(mixed) == {"N1": "partly", "N2": "not reproduced"}


def test_interpolation():
    arguments = dict(gammas=(0, 1, 100), height=[0.01, 0.02, 0.03], width=[9, 8, 5], start=[-2.1, -2.2, -2.22],
                     end=[-2.15, -2.21, -2.224], extra={0: (0.9, 1.0), 100: (0.1, 1.0)})
    assert set(verdicts(claims.latent_interpolation(**arguments)).values()) == {"reproduced"}
    none = claims.latent_interpolation(**arguments | {"width": [5, 8, float("nan")]})
    assert verdicts(none)["L1"] == "not reproduced"
    gone = claims.latent_interpolation(**arguments | {"extra": {0: (0.0, 1.0), 100: (0.0, 1.0)}})
    assert verdicts(gone)["L3"] == "partly"
    outside = claims.latent_interpolation(**arguments | {"extra": {0: (float("nan"), 1.0), 100: (float("nan"), 1.0)}})
    assert verdicts(outside)["L3"] == "not reproduced"


def test_collapse_and_confined():
    run = {"beta": 1e-3, "gamma": [100, 1e3, 1e4, 1e5, 1e6], "kspace_mse": [0.2, 0.1, 1e-4, 1e-4, 1e-5],
           "data_kspace_mse": 0.2, "energy": -2.2244, "defects": 0.0, "charge": -23.0}
    other = run | {"beta": 1e-4, "kspace_mse": [0.2, 1e-4, 1e-4, 1e-4, 1e-5]}
    numbers = dict(other=[other], best_data=-2.224, ideal=-2.22445, distances=[0.5, 0.7])
    good = claims.collapse([run, run | {"energy": -2.22441}], **numbers)
    assert set(verdicts(good).values()) == {"reproduced"}
    assert set(verdicts(claims.collapse([run], **numbers)).values()) == {"reproduced"}
    relapsed = claims.collapse([run | {"kspace_mse": [0.2, 0.1, 1e-4, 0.1, 1e-5]}, run], **numbers)
    assert verdicts(relapsed)["C1"] == "partly"
    assert verdicts(claims.collapse([run, run | {"energy": -2.22}], **numbers))["C3"] == "not reproduced"
    same = claims.collapse([run, run], **numbers, seeds=[run, other | {"kspace_mse": [0.2, 0.2, 0.2, 1e-4, 1e-5]}])
    assert verdicts(same)["C4"] == "partly"
    never = run | {"kspace_mse": [0.2] * 5, "defects": 0.2}
    bad = claims.collapse([never, run | {"energy": -2.2}], **numbers | {"other": [never], "best_data": -2.2245})
    assert set(verdicts(bad).values()) == {"not reproduced"}
    square = {"name": "square", "energy": -2.1, "relaxed": -2.2, "best_annealed": -2.2, "kspace_mse": 1e-4,
              "data_kspace_mse": 0.1}
    assert verdicts(claims.confined([square])) == {"S1": "reproduced"}
    assert verdicts(claims.confined([square, square | {"best_annealed": -2.3}])) == {"S1": "partly"}
    assert verdicts(claims.confined([square | {"kspace_mse": 0.05}])) == {"S1": "partly"}


def test_over_seeds():
    good, bad = beta_ladder(), beta_ladder(kspace_mse=[0.2] * 7)
    cards = [claims.beta_sweep([ladder]) for ladder in (good, good, bad)]
    found = claims.over_seeds(cards)
    assert verdicts(found) == {"B1": "reproduced", "B2": "reproduced", "B3": "partly"}
    (beta_c, up) = found[2].checks
    assert not beta_c.passed and "met by 2 of 3 seeds" in beta_c.measured and np.isnan(beta_c.value)
    assert up.passed and up.value == 1.0 and "± 0 (met by 3 of 3 seeds)" in up.measured
    assert verdicts(claims.over_seeds(cards[:2]))["B3"] == "reproduced"
    for wrong in ([], [cards[0], cards[0][:2]]):
        with pytest.raises(ValueError, match="cards"):
            claims.over_seeds(wrong)


def test_saved_and_read_again(tmp_path):
    results = claims.beta_sweep([beta_ladder()])
    text = claims.save(tmp_path, "02", results)
    assert text.startswith("| claim | paper | here | verdict |") and text.count("\n") == 4
    assert claims.load(tmp_path) == {r.id: r for r in results}
    card = claims.card(tmp_path)
    assert card.startswith("3 reproduced, 0 partly, 0 not reproduced, not run: G1,") and "seed" not in card
    over = claims.over_seeds([results, claims.beta_sweep([beta_ladder(kspace_mse=[0.2] * 7)])])
    claims.save(tmp_path, "seeds/08", over)
    assert claims.load(tmp_path) == {r.id: r for r in results} and np.isnan(over[2].checks[0].value)
    assert claims.load(tmp_path, "claims/seeds")["B3"].verdict == "partly"
    assert "all seeds meet it: 2 reproduced, 1 partly" in claims.card(tmp_path)
    (tmp_path / "claims" / "02.json").write_text('[{"id": "B1"}]')
    with pytest.raises(ValueError, match="02.json"):
        claims.load(tmp_path)


def test_an_untrained_network_proves_nothing():
    """Nothing changes along the ladder: checks that ask for no change pass, and make no verdict better."""
    flat = gamma_ladder(reconstruction=[0.9] * 10, kl=[250.0] * 10, energy=[-0.03] * 10, energy_generated=[-0.03] * 10,
                        kspace_mse=[0.2] * 10)
    assert set(verdicts(claims.gamma_sweep([flat, flat], -0.0558)).values()) == {"not reproduced"}


def test_nan_passes_no_check():
    holes = gamma_ladder(energy=[float("nan")] * 10, reconstruction=[float("nan")] * 10, kl=[float("nan")] * 10)
    assert "reproduced" not in verdicts(claims.gamma_sweep([gamma_ladder(), holes], -0.0558)).values()

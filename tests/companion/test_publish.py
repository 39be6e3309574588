"""Results recorded and shown without a store: the same numbers, the same states, and a line that says what it is."""

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from evae_companion import bundle, claims, cli, dataset, places, publish, publish_known, published, sweeps, widgets
from evae_companion import training_plans as plans
from evae_companion.cli import notebook_runner, publishing
from evae_companion.data_specs import data_spec
from evae_companion.evaluation import SCALES
from evae_companion.experiments import (
    beta_sweep,
    collapse,
    data_order,
    latent_interpolation,
    minimum_barrier,
    noise_reduction,
    priors,
    report_tables,
    result_cache,
    study,
)
from evae_companion.presets import PRESETS
from evae_companion.store import preview, weights
from evae_companion.store.artifact import identity, meta_bytes
from evae_companion.store.serialization import load_table, read_json
from evae_companion.store.store import Store
from evae_core.observables import theta
from evae_core.textures import skyrmions
from evae_core.training.stages import stage_schedule

ROOT = Path(__file__).resolve().parents[2]
TINY = dataclasses.replace(
    PRESETS["smoke"], name="tiny", size=16, train=24, validation=6, test=8, shard=12, sweeps=10, batch=8,
    first_steps=4, beta_steps=2, gamma_steps=2, samples=6, invert_steps=5, betas=(1e-4, 1e-3),
    gammas=(1.0, 10.0, 100.0, *plans.COLLAPSE, 1e6), confined=((16, 16),), confined_train=20, confined_steps=2)

# Of two seeds on three more kinds of data each: both stages of the beta sweep, those of gamma, three of the control.
TRAINED_FOR_ORDER = 2 * 3 * (2 + len(TINY.gammas) + 3)


def two_textures(H, shape, device="cpu"):
    """Stand for the lattice and the interstitial: the real ones do not fit into 16 x 16."""
    return tuple(skyrmions(H, shape, centres).float() for centres in ([[4.0, 4.0]], [[4.0, 4.0], [11.0, 11.0]]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete run in a store, its claims, and its record: (store, record folder)."""
    folder = tmp_path_factory.mktemp("recorded")
    store = Store(folder / "store")
    *results, last = (claims.Result(name, (claims.Check("met", (1.0, 1.0), 0.5, True),)) for name in claims.CLAIMS)
    claims.save(folder / "figures", "02_x", results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(store.root))
        patch.setenv("EVAE_RECORDED", str(folder / "records"))
        with pytest.raises(ValueError, match="not complete.*missing, first stage"):
            list(publish.record(TINY, store, folder / "figures"))
        patch.setattr(result_cache, "interstitial_pair", two_textures)
        patch.setattr(result_cache, "skyrmion_lattice", lambda H, shape: two_textures(H, shape)[0])
        for stages, data in plans.ladders(TINY).values():
            sweeps.train_stages(stages, data, store, "cpu")
        with pytest.raises(ValueError, match="9 missing, first outputs"):
            list(publish.record(TINY, store, folder / "figures"))
        minimum_barrier.run(TINY, report=lambda line: None)
        for experiment in (beta_sweep, collapse, priors):
            experiment.run(TINY, device="cpu", report=pytest.fail)  # nothing is trained, nothing is recorded
        for seed in range(TINY.seeds):
            noise_reduction.run(TINY, device="cpu", report=pytest.fail, seed=seed)
            latent_interpolation.run(TINY, device="cpu", report=pytest.fail, seed=seed, networks=not seed)
        with pytest.raises(ValueError, match=f"1 missing, first claim {last.id} in"):
            list(publish.record(TINY, store, folder / "figures"))
        claims.save(folder / "figures", "03_y", [last])
        list(publish.record(TINY, store, folder / "figures"))
        assert "data_order.json" not in listed(folder / "records" / "tiny") and data_order.known(TINY).missing == 8
        patch.setattr(places, "known_folder", lambda preset, kind: folder / "known" / preset / kind)
        planned = [part.spec for part in data_order.parts(TINY).values()]
        said: list[str] = []

        def done(part):
            said.extend(publish_known.record_part(TINY, store, part.spec, planned))

        data_order.run(TINY, "cpu", said.append, done)  # on three kinds of data that were not trained on
        assert len([line for line in said if "L_RC" in line]) == TRAINED_FOR_ORDER
        before = listed(folder / "records" / "tiny")
        list(publish.record(TINY, store, folder / "figures"))
        assert listed(folder / "records" / "tiny") == before, "a study is no part of a run"
        told = [line for line in said if line.startswith("written to")]
        assert [line.split(": ")[1] for line in told] == [f"{n} of 8 parts" for n in range(1, 9)]
        assert said.index(told[0]) < len(said) - len(told) - 1, "published as they end"
    return store, folder / "records"


@pytest.fixture
def here(run, monkeypatch):
    """The machine that ran it."""
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", "off")


@pytest.fixture
def elsewhere(run, monkeypatch, tmp_path):
    """A machine with the record and an empty store, which stays empty."""
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    yield
    assert not (tmp_path / "empty").exists()


@pytest.fixture
def studied(run, monkeypatch):
    """The study of the order of the data, published on request."""
    monkeypatch.setattr(places, "known_folder", lambda preset, kind: run[1].parent / "known" / preset / kind)


@pytest.fixture
def copied(run, monkeypatch, tmp_path):
    """A copy of the record's folder, to be damaged, in front of an empty store."""
    shutil.copytree(run[1], tmp_path / "records")
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    return tmp_path / "records" / "tiny"


def both(result, run, monkeypatch, tmp_path, **seed):
    """A result where it was computed, and from the record; and what was said there."""
    said = []
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", "off")
    here = result.run(TINY, device="cpu", report=pytest.fail, **seed)
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    there = result.run(TINY, device="cpu", report=said.append, **seed)
    assert not (tmp_path / "empty").exists(), "nothing is computed"
    (line,) = said
    assert re.match(r"RECORDED results, nothing is trained here: \w+ of preset tiny", line)
    assert "on cpu with torch" in line
    return here, there


def same(a, b):
    """Equal to the last bit, whatever holds it."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, str):
        return a == b
    return np.array_equal(a, b, equal_nan=True)


def test_noise(run, monkeypatch, tmp_path):
    here, there = both(noise_reduction, run, monkeypatch, tmp_path)
    assert len(vars(here)) == 8 and all(same(value, getattr(there, key)) for key, value in vars(here).items())
    assert here.x_out.shape == here.generated.shape == (4, noise_reduction.SHOWN, 3, 16, 16)


def test_decoders_are_those_of_the_run_within_rounding(run, monkeypatch, tmp_path):
    stages = plans.compared(TINY, plans.BETA, latent_interpolation.FRAMED)
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    models = [trained.model() for trained in sweeps.train_stages(stages, data_spec(TINY), run[0], "cpu")]
    for model, decoder in zip(models, sweeps.recorded_models(TINY, stages, data_spec(TINY)), strict=True):
        states, recorded_states = (m.generate(4, torch.Generator().manual_seed(0)) for m in (model, decoder))
        assert 0 < float((states - recorded_states).abs().mean()) < 5e-3
        with pytest.raises(RuntimeError, match="without its encoder"):
            decoder.encode(states)


def test_another_seed_is_recorded_beside_the_first(run, monkeypatch, tmp_path):
    """Its numbers, to the last bit, in a folder of its own; its networks stay where it was trained."""
    here, there = both(noise_reduction, run, monkeypatch, tmp_path, seed=1)
    assert all(same(value, getattr(there, key)) for key, value in vars(here).items())
    first = noise_reduction.run(TINY, device="cpu", report=lambda line: None)
    assert not same(first.measures, there.measures)
    assert len(first.given) == noise_reduction.SHOWN
    assert there.x_out.shape == (4, 0, 3, 16, 16), "no figure shows its states"

    here, there = both(latent_interpolation, run, monkeypatch, tmp_path, seed=1, networks=False)
    assert all(same(value, getattr(there, key)) for key, value in vars(here).items() if key != "frame")
    assert not same(latent_interpolation.run(TINY, device="cpu", report=lambda line: None).paths, there.paths)
    with pytest.raises(RuntimeError, match=r"the record of tiny holds no decoder of stage \(seed 1"):
        latent_interpolation.run(TINY, device="cpu", report=lambda line: None, seed=1)


def test_noise_is_that_of_the_networks(run, here):
    """The numbers are computed from the networks in full precision, not from what is kept."""
    found = noise_reduction.run(TINY, device="cpu")
    data = dataset.load_data(data_spec(TINY), run[0], "cpu")
    (trained,) = sweeps.train_stages(noise_reduction.compared(TINY, plans.BETA)[3:], data.spec, run[0], "cpu")
    H, model, test = data.spec.hamiltonian, trained.model(), data.test[:]
    assert found.states == len(test) > noise_reduction.SHOWN
    with torch.no_grad():
        x_mu = model.decode(model.encode(test)[0])
    x_out = result_cache.reconstruct(model, test, seed=2)
    for name, states in (("X_out", x_out), ("X_out from mu", x_mu),
                         ("X'_out", result_cache.generate(model, len(test), seed=3))):
        assert found.measures[name]["median"][3] == float(theta(H, states).median()), name
    torch.testing.assert_close(found.x_out[3], x_out[:noise_reduction.SHOWN], rtol=0, atol=1e-4)
    assert found.measures["X_out"]["median"] != found.measures["X_out from mu"]["median"]
    assert torch.allclose(found.x_out.square().sum(-3), torch.ones(()), atol=1e-6)
    assert found.labels == ["standard VAE", "γ = 0, trained on", "γ = 1", "γ = 100"]
    covered = [float((d * np.diff(found.edges)).sum()) for d in found.density["X'_out"]]
    assert covered == pytest.approx([1.0] * 4, abs=1e-9)


def test_noise_compares_equal_numbers_of_steps(here):
    """The control has as many steps as gamma = 100; the standard VAE, which has fewer, is shown and not judged."""
    standard, control, one, hundred = noise_reduction.compared(TINY, plans.BETA)
    assert (standard.beta, standard.gamma, control.gamma, one.gamma, hundred.gamma) == (1e-3, 0, 0, 1, 100)

    def steps(stage):
        return 0 if stage is None else stage.steps + steps(stage.parent)

    assert steps(control) == steps(hundred) > steps(one) > steps(standard)
    found = noise_reduction.run(TINY, device="cpu")
    judged = noise_reduction.judged(found)
    assert judged["X'_out"]["peak"] == found.measures["X'_out"]["peak"][1:] and len(judged["X_out"]["median"]) == 3
    assert [result.id for result in claims.noise_reduction([judged, judged])] == ["N1", "N2", "N3", "N4"]


def test_walk(run, monkeypatch, tmp_path):
    here, there = both(latent_interpolation, run, monkeypatch, tmp_path)
    plain = {key: value for key, value in vars(here).items() if key != "frame"}
    assert len(plain) == 13 and all(same(value, getattr(there, key)) for key, value in plain.items())
    for gamma in (0.0, 100.0):
        # The median: on a path of hardly trained networks a spin may pass zero, where any rounding turns it.
        apart = [float((here.frame(gamma, k) - there.frame(gamma, k)).abs().max()) for k in range(0, 201, 20)]
        assert 0 < np.median(apart) < 5e-4
        torch.testing.assert_close(here.frame(gamma, 0), here.ends[gamma][0], rtol=0, atol=1e-3)
        energy = data_spec(TINY).hamiltonian.energy_per_spin(here.frame(gamma, 77).double())
        assert float(energy) == pytest.approx(here.profile[gamma][77], abs=1e-5)


def test_collapse(run, monkeypatch, tmp_path):
    here, there = both(collapse, run, monkeypatch, tmp_path)
    plain = {key: value for key, value in vars(here).items() if key not in ("model", "twins")}
    assert len(plain) == 8 and all(same(value, getattr(there, key)) for key, value in plain.items())
    name = next(iter(here.runs))
    (trained,) = sweeps.train_stages([stage_schedule(TINY, 1e-3)[-1]], data_spec(TINY), run[0], "cpu")
    assert here.runs[name]["kspace_mse"][-1] == trained.measured["generated"]["kspace_mse"]
    state = trained.model().generate(2, torch.Generator().manual_seed(4))
    torch.testing.assert_close(here.states[name][-1], state, rtol=0, atol=1e-3)


def test_outputs(here):
    found = beta_sweep.run(TINY, device="cpu", report=pytest.fail)
    assert found.x_out.shape == found.generated.shape == (2, 3, 16, 16) and found.given.shape == (3, 16, 16)


def test_paths_are_those_of_all_places(here):
    """Every place and gamma has its measures; those of the place that is shown follow from the profile."""
    found = latent_interpolation.run(TINY, device="cpu", report=pytest.fail, networks=False)
    assert tuple(found.gammas) == plans.WALK and set(found.paths) == set(latent_interpolation.OF_PATH)
    places = latent_interpolation.places(TINY)
    for k, gamma in enumerate(found.gammas):
        shown = latent_interpolation.of_path(found.profile[gamma], found.charges[gamma])
        number = places.index(tuple(found.place[gamma]))
        for name, rows in found.paths.items():
            assert len(rows) == len(plans.WALK) and len(rows[k]) == latent_interpolation.PLACES
            assert rows[k][number] == pytest.approx(shown[name], nan_ok=True, rel=1e-9), name
    assert [result.id for result in claims.latent_interpolation([found.paths] * 2)] == ["L1", "L2", "L3"]
    assert tuple(latent_interpolation.run(TINY, device="cpu", seed=1, networks=False).gammas) == (0.0, 100.0)


def test_data_order(here):
    """The sweeps of both seeds on four kinds of data; the second kind is that of the run."""
    found = data_order.run(TINY, device="cpu", report=pytest.fail)
    assert found.kinds == ["rough", "as the paper describes them", "nearly perfect lattices",
                           "nearly perfect lattices with the lowest state"]
    gammas = [stage.gamma for stage in stage_schedule(TINY, 1e-3)]
    assert found.data[found.kinds[3]]["left_out"] == 0 and set(found.data) == set(found.last) == set(found.kinds)
    assert list(found.rows) == [(kind, seed) for seed in (0, 1) for kind in found.kinds] and found.missing == 0
    for key, rows in found.rows.items():
        assert rows["gamma"].tolist() == gammas and all(np.isfinite(row).all() for row in rows.values()), key
        assert (rows["rest_low_x_out"] <= rows["rest_high_x_out"]).all()
    own = collapse.run(TINY, device="cpu", report=pytest.fail)
    for seed in (0, 1):
        name = f"β = 0.001, seed {seed}"
        assert same(found.rows[found.kinds[1], seed], {key: own.runs[name][key] for key in found.rows["rough", 0]})
        assert found.ends[found.kinds[1]][seed].items() >= own.final[name].items(), "the run's own data"
    for kind, ends in found.ends.items():
        assert len(ends) == TINY.seeds and found.last[kind].shape == (3, 16, 16)
        for end in ends:
            numbers = {key: end[key] for key in ("energy", "relaxed", "charge", "defects", "best_data", "kl_growth",
                                                 "x_out_share")}
            assert np.isfinite(list(numbers.values())).all() and end["gamma"] == 1e6
            assert end["relaxed"] < end["energy"] + 0.2 and end["kl_growth"] > 0 and end["x_out_share"] > 0
            judged = (*claims.noise_reduction([end["noise"]] * 2), *claims.latent_interpolation([end["paths"]] * 2))
            assert [result.id for result in judged] == ["N1", "N2", "N3", "N4", "L1", "L2", "L3"]
            assert np.isfinite(judged[0].checks[0].values).all()
    ends = {kind: [end["energy"] for end in of_kind] for kind, of_kind in found.ends.items()}
    assert found.data[found.kinds[2]]["left_out"] == 0 and ends[found.kinds[2]] == ends[found.kinds[3]], (
        "in so small a box no state is left out: the same data, and the same random numbers whatever the data")
    assert len({energy for of_kind in ends.values() for energy in of_kind}) == 6
    past, early = (gammas.index(gamma) for gamma in (5000.0, 100.0))  # the stage closest to 1e5, and that at 100
    rows = found.rows["rough", 1]
    assert found.ends["rough"][1]["kl_growth"] == pytest.approx(rows["kl"][past] / rows["kl"][early], rel=1e-12)
    data_mse = found.data[found.kinds[0]]["kspace_mse"]
    text = report_tables.stage_table(found.rows[found.kinds[0], 0], found.lowest, data_mse)
    assert len(text.splitlines()) == 2 + len(gammas)
    assert "copies of another state" in report_tables.order_table(found.data, found.lowest)
    table = report_tables.data_order_table(found).splitlines()
    assert len(table) == 2 + 13 and all(line.count("|") == len(found.kinds) + 2 for line in table)


def test_where_the_order_of_data_is_known(run, monkeypatch, tmp_path):
    """In the store, or among the results made on request; elsewhere it would be made for hours."""
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", "off")
    other, parts = dataclasses.replace(TINY, first_steps=5), list(data_order.parts(TINY).values())
    assert data_order.known(TINY).missing == 0 and data_order.known(other).missing == 8
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    assert data_order.known(TINY).missing == 8 and data_order.known(TINY).kinds == []
    monkeypatch.setattr(places, "known_folder", lambda preset, kind: run[1].parent / "known" / preset / kind)
    assert data_order.known(TINY).missing == 0 and not (tmp_path / "empty").exists()
    assert data_order.known(other).missing == 8, "known of other numbers"
    with pytest.raises(ValueError, match="does not hold data_order-.* of preset tiny; run evae study data_order --pre"):
        list(publish_known.record_part(TINY, Store(tmp_path / "empty"), parts[0].spec, []))


def test_parts_of_a_study_stand_alone(run, monkeypatch, tmp_path):
    """A lost store costs one sweep: what is published is not trained again, and half a study is shown as half."""
    known = tmp_path / "known" / "tiny" / "data_order"
    monkeypatch.setattr(places, "known_folder", lambda preset, kind: tmp_path / "known" / preset / kind)
    monkeypatch.setenv("EVAE_RECORDED", "off")
    parts = data_order.parts(TINY)
    (_, first), (_, second), *rest = parts.items()
    planned = [part.spec for part in parts.values()]
    for part in (first, second):
        list(publish_known.record_part(TINY, run[0], part.spec, planned))
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    half = data_order.known(TINY)
    assert half.missing == 6 and len(half.kinds) == 2 and [len(ends) for ends in half.ends.values()] == [1, 1]
    assert report_tables.data_order_table(half).splitlines()[2].split("|")[1:4] == [" trainings ", " 1 ", " 1 "]
    asked = []
    monkeypatch.setattr(study, "train_sweeps", lambda stages, data, **how: asked.append(len(stages)))
    monkeypatch.setattr(result_cache, "run_jobs", lambda p, jobs, report: None)
    data_order.run(TINY, device="cpu", report=pytest.fail)
    assert sum(asked) == 2 * len(rest), "a sweep and its control for each part that is missing"
    # Other numbers replace what was published before, with its files.
    list(publish_known.record_part(TINY, run[0], first.spec, [first.spec]))
    assert sorted(path.name for path in known.iterdir()) == sorted([identity(first.spec)[1], "record.json"])


def test_a_damaged_study_is_an_error(run, monkeypatch, tmp_path):
    shutil.copytree(run[1].parent / "known", tmp_path / "known")
    monkeypatch.setattr(places, "known_folder", lambda preset, kind: tmp_path / "known" / preset / kind)
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    name = identity(next(iter(data_order.parts(TINY).values())).spec)[1]
    (tmp_path / "known" / "tiny" / "data_order" / name / "data_order.json").write_text("{}")
    with pytest.raises(ValueError, match=f"{name} is damaged: data_order.json has 2 bytes"):
        data_order.run(TINY, device="cpu")


def test_the_order_of_data_as_published(run, studied, monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_RECORDED", "off")
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    here = data_order.known(TINY)
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    there = data_order.known(TINY)
    assert here.missing == 0 and len(vars(here)) == 7
    assert all(same(value, getattr(there, key)) for key, value in vars(here).items())


def test_the_store_goes_before_the_record(run, monkeypatch):
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    noise_reduction.run(TINY, device="cpu", report=pytest.fail)


def test_what_the_record_does_not_hold_is_computed(run, monkeypatch, tmp_path):
    """Another number in the preset is another result: it is not shown under this one's name."""
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "other"))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    said = []
    noise_reduction.run(dataclasses.replace(TINY, first_steps=5), device="cpu", report=said.append)
    assert not any("RECORDED" in line for line in said) and any("L_RC" in line for line in said)


@pytest.mark.parametrize("damage, words", [
    (lambda f: (f / "theta.json").write_text("{}"), "theta.json has 2 bytes"),
    (lambda f: (f / "theta_states.npz").unlink(), "theta_states.npz is missing"),
    (lambda f: (f / "record.json").write_text("{}"), "record.json is damaged"),
])
def test_a_damaged_record_is_an_error(copied, tmp_path, damage, words):
    damage(copied)
    with pytest.raises(ValueError, match=words):
        noise_reduction.run(TINY, device="cpu")


@pytest.mark.parametrize("damage, words", [
    (lambda f: (f / "seed_1" / "theta.json").write_text("{}"), r"tiny/seed_1 is damaged: theta.json has 2 bytes"),
    (lambda f: (f / "seed_1" / "theta_states.npz").unlink(), r"tiny/seed_1 is damaged: theta_states.npz is missing"),
    (lambda f: (f / "seed_1" / "theta.json").write_bytes((f / "theta.json").read_bytes()), "seed_1 is damaged"),
    (lambda f: shutil.rmtree(f / "seed_1"), "seed_1 is damaged"),
    (lambda f: (f / "record.json").write_text("{}"), "record.json is damaged"),
])
def test_a_damaged_folder_of_a_seed_is_an_error(copied, damage, words):
    """Of that seed's result alone, unless the index itself is damaged."""
    damage(copied)
    with pytest.raises(ValueError, match=words):
        noise_reduction.run(TINY, device="cpu", seed=1)
    if "record.json" not in words:
        noise_reduction.run(TINY, device="cpu", report=lambda line: None)


@pytest.mark.parametrize("outside", ["..", "../tiny/seed_1", "/tmp", "seed_1/../..", "seed_1/", "", 1])
def test_a_folder_outside_the_record_is_refused(copied, outside):
    """Even with a valid checksum of the index, and even where the files would be there."""
    body = json.loads((copied / "record.json").read_text())
    entry = body["entries"][identity(noise_reduction.spec(TINY, plans.BETA, 1))[1]]
    assert entry["folder"] == "seed_1"
    entry["folder"] = outside
    (copied / "record.json").write_bytes(meta_bytes({key: body[key] for key in body if key != "sha256"}))
    with pytest.raises(ValueError, match="record.json is not a record"):
        noise_reduction.run(TINY, device="cpu", seed=1)


@pytest.mark.parametrize("outside", ["..", ".", "../theta.json", "/etc/hostname"])
def test_a_file_outside_the_record_is_refused(copied, outside):
    body = json.loads((copied / "record.json").read_text())
    entry = body["entries"][identity(noise_reduction.spec(TINY, plans.BETA, 1))[1]]
    entry["files"][outside] = entry["files"].pop("theta.json")
    (copied / "record.json").write_bytes(meta_bytes({key: body[key] for key in body if key != "sha256"}))
    with pytest.raises(ValueError, match="record.json is not a record"):
        noise_reduction.run(TINY, device="cpu", seed=1)


def test_where_records_lie(monkeypatch, tmp_path):
    monkeypatch.delenv("EVAE_RECORDED", raising=False)
    assert places.record_folder("paper").parts[-3:] == ("data", "recorded", "paper")
    assert published.find("nowhere", {"kind": "noise"}) is None
    monkeypatch.setenv("EVAE_RECORDED", "off")
    assert places.record_folder("paper") is None and published.find("paper", {"kind": "noise"}) is None
    with pytest.raises(ValueError, match='EVAE_RECORDED is "off"'):
        list(publish.record(TINY, Store(tmp_path), tmp_path))


def test_tables_to_read_and_cite(run):
    folder = run[1] / "tiny"
    stages, histories = load_table(folder / "stages.csv"), load_table(folder / "histories.csv")
    ladders = plans.ladders(TINY)
    assert len(stages["gamma"]) == sum(len(ladder) for ladder, _ in ladders.values())
    row = np.flatnonzero((stages["ladder"] == "gamma, beta 0.001, seed 1") & (stages["gamma"] == 500))[0]
    (trained,) = sweeps.train_stages([s for s in stage_schedule(TINY, 1e-3, 1) if s.gamma == 500],
                                     data_spec(TINY, 1), run[0], report=pytest.fail)
    assert stages["train energy"][row] == trained.measured["train"]["energy"]
    assert set(stages["weights"]) == {"float32"} and set(stages["device"]) == {"cpu"}
    for key in ("energy", "kspace_mse"):
        assert stages[f"x_mu {key}"][row] == trained.measured["x_mu"][key]
        assert [stages[f"scaled {scale:g} {key}"][row] for scale in SCALES] == [
            one[key] for one in trained.measured["scaled"]]
    mine = histories["stage"] == row
    np.testing.assert_array_equal(histories["energy"][mine].astype(np.float32), trained.history[:, 2])
    assert [claim["id"] for claim in read_json(folder / "claims.json")] == list(claims.CLAIMS)
    index = json.loads((folder / "record.json").read_text())
    assert set(index["files"]) | {"record.json"} == listed(folder)
    of_seed = {"theta.json", "theta_densities.csv", "theta_states.npz", "interpolation.json", "interpolation.csv",
               "interpolation_states.npz"}
    assert of_seed | {f"seed_1/{name}" for name in of_seed} <= set(index["files"])
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"seed_1"}
    assert {name for name in index["files"] if name.startswith(publish.DECODER)} == {
        "decoder_gamma_0.safetensors", "decoder_gamma_100.safetensors", "decoder_collapsed.safetensors"}


def test_recording_again_replaces_the_record(run, monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    (tmp_path / "records" / "tiny").mkdir(parents=True)
    (tmp_path / "records" / "tiny" / "old").write_text("")
    lines = list(publish.record(TINY, run[0], run[0].root.parent / "figures"))
    assert "MB  in" in lines[-1] and not (tmp_path / "records" / "tiny" / "old").exists()
    again = tmp_path / "records" / "tiny"
    assert listed(again) == listed(run[1] / "tiny")
    for name in listed(again):
        assert (again / name).read_bytes() == (run[1] / "tiny" / name).read_bytes(), name
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["tiny"]


def test_what_was_written_is_compared_with_the_store(run, monkeypatch, tmp_path):
    def copy(source, target):
        Path(target).write_bytes(Path(source).read_bytes() + b" ")

    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    monkeypatch.setattr(publish.shutil, "copyfile", copy)
    with pytest.raises(RuntimeError, match="is not what was recorded"):
        list(publish.record(TINY, run[0], run[0].root.parent / "figures"))


# publish ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def repository(run, monkeypatch, tmp_path):
    """(root, the run's figures): two notebooks that save figures and claims, and a run of them."""
    root, made = tmp_path / "repository", tmp_path / "made" / "tiny"
    (root / "notebooks").mkdir(parents=True)
    (root / "notebooks" / "02_x.py").write_text('plotting.save(fig, figures, "fig2")\n'
                                                'Markdown(claims.save(figures, "02_x", results))\n')
    (root / "notebooks" / "03_y.py").write_text('if oxide:\n    plotting.save(fig, figures, "fig3")\n'
                                                'claims.save(figures, "03_y", results)\n')
    shutil.copytree(run[0].root.parent / "figures", made)
    for name in ("fig2.png", "fig2.pdf", "fig2.txt", "old.png"):
        (made / name).write_text(f"{name} of this run")
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_FIGURES", str(tmp_path / "made"))
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    return root, made


def listed(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_publish_copies_a_complete_run(repository, run, tmp_path, capsys):
    """What no notebook saves goes; what only some runs make stays as it was published."""
    root, made = repository
    target = root / "figures" / "tiny"
    target.mkdir(parents=True)
    for name in ("fig2.png", "fig3.png", "gone.png"):
        (target / name).write_text("published before")
    assert cli.main(["publish", "--preset", "tiny"], root) == 0
    said = capsys.readouterr().out
    assert "left as published: fig3.png" in said and f"in {target}" in said
    copied = {"fig2.png", "fig2.pdf", "fig2.txt", "claims/02_x.json", "claims/03_y.json"}
    assert listed(target) == copied | {"fig3.png", "claims.md"}
    assert all((target / name).read_bytes() == (made / name).read_bytes() for name in copied)
    assert (target / "fig3.png").read_text() == "published before"
    assert (target / "claims.md").read_text() == claims.card(made, small=True)
    assert [path.name for path in (root / "figures").iterdir()] == ["tiny"]
    for name in listed(run[1] / "tiny"):
        assert (tmp_path / "records" / "tiny" / name).read_bytes() == (run[1] / "tiny" / name).read_bytes(), name


def test_publish_our_own_notebooks_alone(repository, run, tmp_path, monkeypatch, capsys):
    root, made = repository
    (root / "notebooks" / "08_z.py").write_text('plotting.save(fig, figures, "fig8")\n')
    requests = notebook_runner.requests_file(root, "tiny", "08_z")
    requests.parent.mkdir(parents=True)
    requests.write_text(sorted(run[0].names())[-1])
    assert cli.main(["publish", "--preset", "tiny", "--own"], root) == 1
    assert "3 files missing, first fig8.png" in capsys.readouterr().err
    for name in ("fig8.png", "fig8.pdf", "fig8.txt"):
        (made / name).write_text(f"{name} of this run")
    assert cli.main(["publish", "--preset", "tiny", "--own"], root) == 0
    assert "a preview shows 08_z" in capsys.readouterr().out
    assert listed(root / "figures" / "tiny") == {"fig8.png", "fig8.pdf", "fig8.txt"}
    assert published.notebooks(tmp_path / "records" / "tiny") == ["08_z"]
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(TINY, paper_only=True))
    assert cli.main(["publish", "--preset", "tiny", "--own"], root) == 1
    assert "for the paper's notebooks alone" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["fig2.pdf", "fig2.txt", "claims/03_y.json"])
def test_publish_refuses_half_a_run(repository, tmp_path, capsys, missing):
    root, made = repository
    (made / missing).unlink()
    assert cli.main(["publish", "--preset", "tiny"], root) == 1
    said = capsys.readouterr().err
    assert f"1 files missing, first {missing}" in said and "figures --all --preset tiny" in said
    assert not (root / "figures").exists() and not (tmp_path / "records").exists()


def test_publish_refuses_damaged_claims_before_it_writes(repository, tmp_path, capsys):
    root, made = repository
    (made / "claims" / "03_y.json").write_text("[]")
    assert cli.main(["publish", "--preset", "tiny"], root) == 1
    assert "03_y.json does not hold claims" in capsys.readouterr().err
    assert not (root / "figures").exists() and not (tmp_path / "records").exists()


def test_publish_refuses_a_store_without_the_run(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    assert cli.main(["publish", "--preset", "tiny"], repository[0]) == 1
    assert "not complete" in capsys.readouterr().err and not (repository[0] / "figures").exists()


def test_publish_does_not_take_the_published_for_the_run(repository, monkeypatch, capsys):
    monkeypatch.setenv("EVAE_FIGURES", str(repository[0] / "figures"))
    assert cli.main(["publish", "--preset", "tiny"], repository[0]) == 1
    assert "EVAE_FIGURES" in capsys.readouterr().err


def test_what_the_notebooks_save_is_what_is_committed():
    figures, claimed = publishing.saved(notebook_runner.sources(ROOT, []))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    assert len(figures) == sources.count("plotting.save(") and len(claimed) == sources.count("claims.save(")
    for folder in (ROOT / "figures").iterdir():
        place = places.record_folder(folder.name)
        shown = set(published.notebooks(place))  # a preview's
        figures, claimed = publishing.saved([path for path in notebook_runner.sources(ROOT, []) if path.stem in shown])
        files = {*(["claims.md"] if claimed else []), *(f"claims/{name}.json" for name in claimed),
                 *(f"{name}.{kind}" for name in figures for kind in ("png", "pdf", "txt"))}
        studied = places.known_folder(folder.name, "data_order").is_dir()  # a study is made on request
        order = {f"data_order.{kind}" for kind in ("png", "pdf", "txt")}
        assert listed(folder) == files - (set() if studied else order)


def test_results_from_carried_weights_are_the_same_within_rounding(run, monkeypatch, tmp_path):
    """The results are left behind, so that they are computed anew from half-precision networks.

    Except for the latent vectors of Fig. 4: the last digit decides where Adam's five steps end and which of eight
    places is the best.
    """
    monkeypatch.setattr(bundle, "_results", lambda p: [latent_interpolation.inverse_spec(p, stage) for stage in
                                                      plans.compared(p, plans.BETA, plans.WALK)])
    monkeypatch.setattr(bundle, "needs", lambda p, store: dict.fromkeys(store.names(), weights.WHOLE))
    list(bundle.pack(TINY, run[0], tmp_path / "pack"))
    other = Store(tmp_path / "other")
    list(bundle.unpack(tmp_path / "pack", other))
    monkeypatch.setattr(result_cache, "interstitial_pair", two_textures)
    monkeypatch.setattr(result_cache, "skyrmion_lattice", lambda H, shape: two_textures(H, shape)[0])
    found = []
    for store in (run[0], other):
        monkeypatch.setenv("EVAE_STORE", str(store.root))
        monkeypatch.setenv("EVAE_RECORDED", "off")
        found.append([one.run(TINY, device="cpu", report=lambda line: None)
                      for one in (noise_reduction, latent_interpolation, collapse)])
    (noise_here, walk_here, collapse_here), (noise_there, walk_there, collapse_there) = found
    for name in noise_reduction.NAMES:
        assert noise_there.measures[name]["median"] == pytest.approx(noise_here.measures[name]["median"], rel=5e-3)
    assert not same(noise_there.measures, noise_here.measures), "they went through half precision"
    for g in walk_here.gammas:
        assert 0 < np.median(np.abs(walk_there.profile[g] - walk_here.profile[g])) < 2e-4
    # Trainings differ by some 0.03 J.
    for name, final in collapse_here.final.items():
        assert collapse_there.final[name]["energy"] == pytest.approx(final["energy"], abs=5e-3)
    assert same(collapse_there.runs, collapse_here.runs)  # measured after each stage, before the carrying


def executed(number: int, figures, monkeypatch) -> None:
    """Run a notebook's source here and now."""
    (source,) = (ROOT / "notebooks").glob(f"{number:02d}_*.py")
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setenv("EVAE_PRESET", "tiny")
    monkeypatch.setenv("EVAE_FIGURES", str(figures))
    exec(compile(source.read_text(encoding="utf-8"), source.name, "exec"), {"__name__": "__main__"})


def pictures(number: int, figures, monkeypatch, capsys) -> tuple[dict, str]:
    """Run a notebook's source here and now; {file: its bytes} of its figures, and what it printed."""
    executed(number, figures, monkeypatch)
    return {path.name: path.read_bytes() for path in (figures / "tiny").glob("*.png")}, capsys.readouterr().out


# Noise and walks of both seeds, and the minimum-energy path; the collapse, the priors, and the order of the data.
@pytest.mark.parametrize("number, results, from_decoders", [
    (4, 2, set()), (5, 3, {"inverse_mapping.png", "fig4c_frames.png"}), (6, 2, set())])
def test_notebooks_show_the_record(run, studied, monkeypatch, tmp_path, capsys, number, results, from_decoders):
    """With an empty store: the figures of the run, byte for byte, or within some grey levels where decoders draw."""
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", "off")
    here, said = pictures(number, tmp_path / "here", monkeypatch, capsys)
    assert "RECORDED" not in said
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    there, said = pictures(number, tmp_path / "there", monkeypatch, capsys)
    assert said.count("RECORDED results") == results and not (tmp_path / "empty").exists()
    assert not re.search(r"\(\d+ steps, \d+ s\)", said), "something is trained"
    assert here.keys() == there.keys() and from_decoders <= here.keys() and len(here) >= 2
    for name, content in here.items():
        if name in from_decoders:
            a, b = (255 * imread(io.BytesIO(image)) for image in (content, there[name]))
            assert a.shape == b.shape and np.abs(a - b).mean() < 1 and (np.abs(a - b) > 8).mean() < 1e-2, name
        else:
            assert content == there[name], name
    a, b = ((tmp_path / side / "tiny" / "claims").iterdir() for side in ("here", "there"))
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]


@pytest.fixture(scope="module")
def asked(run, tmp_path_factory):
    """What notebooks 2 to 6 ask the store of the run for, by name, and the folder of their figures."""
    folder, lists = tmp_path_factory.mktemp("asked"), {}
    for number, name in ((2, "02_beta_sweep"), (3, "03_gamma_sweep"), (4, "04_noise_reduction"),
                         (5, "05_latent_interpolation"), (6, "06_collapse")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("EVAE_STORE", str(run[0].root))
            patch.setenv("EVAE_RECORDED", "off")
            patch.setenv(preview.REQUESTS, str(folder / name))
            executed(number, folder, patch)
        lists[name] = (folder / name).read_text().split()
        assert len(set(lists[name])) == len(lists[name]) > 0
    return lists, folder


def nothing(*args, **kwargs):
    pytest.fail("a preview makes nothing")


def test_a_preview_shows_what_notebooks_asked_for(run, asked, monkeypatch, tmp_path, capsys):
    """The same claims from the record alone; stages without their networks, shards without their states."""
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    lines = list(publish.record(TINY, run[0], run[0].root.parent / "figures", asked[0]))
    place = tmp_path / "records" / "tiny"
    assert "MB  artifacts" in lines[0] and published.notebooks(place) == sorted(asked[0])
    kept = Store(place / preview.ARTIFACTS)
    files = {name.split("-")[0]: {path.name for path in (kept.root / name).iterdir()} for name in kept.names()}
    assert files["stage"] == {"history.npy", "measured.json", "meta.json"} and "collapse" not in files
    assert {path.name for path in kept.root.iterdir()} == kept.names(), "no locks"

    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv(preview.ENV, str(place))
    monkeypatch.setattr(sweeps, "_train", nothing)
    monkeypatch.setattr(dataset, "make_shard", nothing)
    for number in (2, 3, 4, 5, 6):
        executed(number, tmp_path / "shown", monkeypatch)
    assert not (tmp_path / "empty").exists() and "RECORDED results" in capsys.readouterr().out
    shown, made = (folder / "tiny" for folder in (tmp_path / "shown", asked[1]))
    assert listed(shown) == listed(made)
    for name in listed(made):
        same = (shown / name).read_bytes() == (made / name).read_bytes()
        assert same == name.endswith((".json", ".txt")), f"{name}: figures are marked, claims and captions are the same"


def test_a_preview_says_what_it_lacks(run, asked, monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    lists = asked[0] | {"01_dataset": [identity(shard)[1] for shard in data_spec(TINY).shards()]}
    list(publish.record(TINY, run[0], run[0].root.parent / "figures", lists))
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv(preview.ENV, str(tmp_path / "records" / "tiny"))
    ending = f"is not in the record {tmp_path}/records/tiny, and a preview makes nothing; evae figures --all"
    data = dataset.load_data(data_spec(TINY))
    assert len(data.train) == 24 and data.train.statistics["energy"].shape == (24,)
    with pytest.raises(preview.NotRecorded, match="a state of the data set.*" + ending):
        data.train[0]
    stages = stage_schedule(TINY, 1e-3)
    (trained,) = sweeps.train_stages(stages[-1:], data_spec(TINY))
    assert trained.measured["generated"] and trained.history.shape[1] == 4
    with pytest.raises(preview.NotRecorded, match=r"the network of stage \(seed 0, beta 0.001, .*\) " + ending):
        trained.model()
    other = dataclasses.replace(stages[-1], seed=7)
    for train in (sweeps.train_stages, lambda stages, data: sweeps.train_sweeps([stages, stages], data)):
        with pytest.raises(preview.NotRecorded, match="stage seed 7 .*" + ending):
            train([other], data_spec(TINY))
    explorer = widgets.SweepExplorer({"one": [trained]})
    (words,) = explorer.box.children
    assert words.value.startswith("Not shown in this preview: the network of stage")
    model, spins = widgets.latent_network(TINY)
    assert spins is None and model.generate(1).shape == (1, 3, 16, 16)
    assert not (tmp_path / "empty").exists()


def test_a_record_is_limited_and_of_a_complete_store(run, asked, monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    figures = run[0].root.parent / "figures"
    with monkeypatch.context() as patch:
        patch.setattr(publish, "LIMIT", 10_000)
        with pytest.raises(ValueError, match="MB, at most are 0.01; the largest: "):
            list(publish.record(TINY, run[0], figures, asked[0]))
    with pytest.raises(ValueError, match="stage-0123456789abcdef, which a notebook asked for, is not in the store"):
        list(publish.record(TINY, run[0], figures, {"02_x": ["stage-0123456789abcdef"]}))
    assert not list((tmp_path / "records").iterdir())


def test_committed_records_are_small():
    for place in (ROOT / "data" / "recorded").iterdir():
        assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < publish.LIMIT, place.name


def test_notebooks_alone_are_recorded_and_shown(run, asked, monkeypatch, tmp_path):
    """Without the run that they belong to, which a record of them never replaces."""
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    name, place = "03_gamma_sweep", tmp_path / "records" / "tiny"
    (line,) = publish.record_notebooks(TINY, run[0], {name: asked[0][name]})
    assert line.endswith(f"MB  in {place}") and published.notebooks(place) == [name]
    assert published.claims(place) == [] and re.fullmatch(r"\d{4}-\d\d-\d\d", preview.made(place))
    assert published.stages("tiny") is None and not published.find("tiny", collapse.spec(TINY))
    with monkeypatch.context() as patch:
        patch.setenv("EVAE_STORE", str(tmp_path / "empty"))
        patch.setenv(preview.ENV, str(place))
        executed(3, tmp_path / "shown", patch)
    assert listed(tmp_path / "shown" / "tiny") and not (tmp_path / "empty").exists()
    list(publish.record(TINY, run[0], run[0].root.parent / "figures"))
    with pytest.raises(ValueError, match="the record of a whole run"):
        list(publish.record_notebooks(TINY, run[0], {name: asked[0][name]}))


@pytest.mark.parametrize("preset", sorted(path.parent.name for path in ROOT.glob("data/recorded/*/record.json")))
def test_the_committed_record_is_of_this_code(monkeypatch, tmp_path, preset):
    """What a fresh clone shows before it has trained: without a store, and without training."""
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("EVAE_RECORDED", raising=False)
    p, said = PRESETS[preset], []
    if not published.claims(places.record_folder(preset)):
        pytest.skip(f"{preset} holds our own notebooks alone; make preview shows them")
    found = [one.run(p, device="cpu", report=said.append)
             for one in (beta_sweep, noise_reduction, latent_interpolation, collapse)]
    assert len(said) == 4 and all("RECORDED" in line for line in said)
    assert found[3].runs and not Store(tmp_path / "store").root.exists()
    model, spins = widgets.latent_network(p)
    assert spins is None and model.generate(2).shape == (2, 3, p.size, p.size)


def test_the_stages_of_an_unfinished_run_are_recorded(tmp_path, monkeypatch):
    """Of the ladders that are complete, so that a lost store costs the others; a whole record is never replaced."""
    store = Store(tmp_path / "store")
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    with pytest.raises(ValueError, match="no ladder of preset tiny is complete"):
        list(publish.record_stages(TINY, store))
    sweeps.train_stages(stage_schedule(TINY), data_spec(TINY), store, "cpu")
    (line,) = publish.record_stages(TINY, store)
    assert line.startswith("1 of ") and "beta, seed 0" in line
    assert listed(tmp_path / "records" / "tiny") == {"stages.csv", "histories.csv"}
    table = load_table(tmp_path / "records" / "tiny" / "stages.csv")
    assert table["beta"].tolist() == list(TINY.betas) and (table["posterior variance"] > 0).all()
    (tmp_path / "records" / "tiny" / "record.json").write_text("{}")
    with pytest.raises(ValueError, match="record of a whole run"):
        list(publish.record_stages(TINY, store))

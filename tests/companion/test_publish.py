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

from evae_companion import bundle, claims, cli, dataset, places, publish, published, sweeps, trained, widgets
from evae_companion import training_plans as plans
from evae_companion.cli import publishing
from evae_companion.data_specs import data_spec
from evae_companion.experiments import (
    beta_sweep,
    collapse,
    data_order,
    latent_interpolation,
    noise_reduction,
    report_tables,
)
from evae_companion.presets import PRESETS
from evae_companion.store import preview, weights
from evae_companion.store.artifact import identity
from evae_companion.store.serialization import load_table, read_json
from evae_companion.store.store import Store
from evae_core import VAE
from evae_core.observables import theta
from evae_core.textures import skyrmions
from evae_core.training.stages import stage_schedule

ROOT = Path(__file__).resolve().parents[2]
TINY = dataclasses.replace(
    PRESETS["smoke"], name="tiny", size=16, train=24, validation=6, test=8, shard=12, sweeps=10, batch=8,
    first_steps=4, beta_steps=2, gamma_steps=2, collapse_steps=2, samples=6, invert_steps=5, betas=(1e-4, 1e-3),
    gammas=(1.0, 10.0, *plans.COLLAPSE, 1e6), confined=((16, 16),), confined_train=20, confined_steps=2)


def two_textures(H, shape, device="cpu"):
    """Stand for the lattice and the interstitial: the real ones do not fit into 16 x 16."""
    return tuple(skyrmions(H, shape, centres).float() for centres in ([[4.0, 4.0]], [[4.0, 4.0], [11.0, 11.0]]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete run in a store, its claims, and its record: (store, record folder)."""
    folder = tmp_path_factory.mktemp("recorded")
    store = Store(folder / "store")
    *results, last = (claims.Result(name, (claims.Check("met", "1", True, 1.0),)) for name in claims.CLAIMS)
    claims.save(folder / "figures", "02_x", results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVAE_STORE", str(store.root))
        patch.setenv("EVAE_RECORDED", str(folder / "records"))
        with pytest.raises(ValueError, match="not complete.*missing, first stage"):
            list(publish.record(TINY, store, folder / "figures"))
        patch.setattr(latent_interpolation, "interstitial_pair", two_textures)
        patch.setattr(collapse, "skyrmion_lattice", lambda H, shape: two_textures(H, shape)[0])
        for stages, data in plans.ladders(TINY).values():
            sweeps.train_stages(stages, data, store, "cpu")
        with pytest.raises(ValueError, match="6 missing, first outputs"):
            list(publish.record(TINY, store, folder / "figures"))
        for experiment in (beta_sweep, noise_reduction, latent_interpolation, collapse, data_order):
            experiment.run(TINY, device="cpu", report=pytest.fail)  # nothing is trained, nothing is recorded
        with pytest.raises(ValueError, match=f"1 missing, first claim {last.id} in"):
            list(publish.record(TINY, store, folder / "figures"))
        claims.save(folder / "figures", "03_y", [last])
        list(publish.record(TINY, store, folder / "figures"))
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


def both(result, run, monkeypatch, tmp_path):
    """A result where it was computed, and from the record; and what was said there."""
    said = []
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", "off")
    here = result.run(TINY, device="cpu", report=pytest.fail)
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    there = result.run(TINY, device="cpu", report=said.append)
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
    return np.array_equal(a, b, equal_nan=True)


def test_noise(run, monkeypatch, tmp_path):
    here, there = both(noise_reduction, run, monkeypatch, tmp_path)
    plain = {key: value for key, value in vars(here).items() if key != "models"}
    assert len(plain) == 9 and all(same(value, getattr(there, key)) for key, value in plain.items())
    for model, decoder in zip(here.models, there.models, strict=True):
        states, recorded_states = (m.generate(4, torch.Generator().manual_seed(0)) for m in (model, decoder))
        assert 0 < float((states - recorded_states).abs().mean()) < 5e-3
        with pytest.raises(RuntimeError, match="without its encoder"):
            decoder.encode(states)


def test_noise_is_that_of_the_networks(run, here):
    """The numbers are computed from the networks in full precision, not from what is kept."""
    found = noise_reduction.run(TINY, device="cpu")
    data = dataset.load_data(data_spec(TINY), run[0], "cpu")
    with torch.no_grad():
        x_out = found.models[2].decode(found.models[2].encode(data.test[:6])[0])
    assert found.median["X_out"][2] == float(theta(data.spec.hamiltonian, x_out).median())
    torch.testing.assert_close(found.x_out[2], x_out, rtol=0, atol=1e-3)
    assert torch.allclose(found.x_out.square().sum(-3), torch.ones(()), atol=1e-6) and list(found.gammas) == [0, 1, 100]
    covered = [float((d * np.diff(found.edges)).sum()) for d in found.density["X'_out"]]
    assert covered == pytest.approx([1.0] * 3, abs=1e-9)


def test_walk(run, monkeypatch, tmp_path):
    here, there = both(latent_interpolation, run, monkeypatch, tmp_path)
    plain = {key: value for key, value in vars(here).items() if key != "frame"}
    assert len(plain) == 12 and all(same(value, getattr(there, key)) for key, value in plain.items())
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


def test_data_order(here):
    """One sweep on three data sets; the first is that of the run."""
    found = data_order.run(TINY, device="cpu", report=pytest.fail)
    assert len(found.names) == 3 and found.data[found.names[2]]["left_out"] == 0
    gammas = [stage.gamma for stage in stage_schedule(TINY, 1e-3, seed=1)]
    for name in found.names:
        assert found.rows[name]["gamma"].tolist() == gammas and found.last[name].shape == (3, 16, 16)
        assert (found.rows[name]["rest_low_x_out"] <= found.rows[name]["rest_high_x_out"]).all()
    text = report_tables.stage_table(found.rows[found.names[0]], found.lowest, found.data[found.names[0]]["kspace_mse"])
    assert len(text.splitlines()) == 2 + len(gammas)
    assert "copies of another state" in report_tables.order_table(found.data, found.lowest)


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
def test_a_damaged_record_is_an_error(run, monkeypatch, tmp_path, damage, words):
    shutil.copytree(run[1], tmp_path / "records")
    damage(tmp_path / "records" / "tiny")
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    with pytest.raises(ValueError, match=words):
        noise_reduction.run(TINY, device="cpu")


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
    (trained,) = sweeps.train_stages([s for s in stage_schedule(TINY, 1e-3, 1) if s.gamma == 500], data_spec(TINY),
                                     run[0])
    assert stages["train energy"][row] == trained.measured["train"]["energy"]
    assert set(stages["weights"]) == {"float32"} and set(stages["device"]) == {"cpu"}
    mine = (histories["ladder"] == "gamma, beta 0.001, seed 1") & (histories["number"] == stages["number"][row])
    np.testing.assert_array_equal(histories["total"][mine].astype(np.float32), trained.history[:, 3])
    assert [claim["id"] for claim in read_json(folder / "claims.json")] == list(claims.CLAIMS)
    index = json.loads((folder / "record.json").read_text())
    assert set(index["files"]) | {"record.json"} == {path.name for path in folder.iterdir()}
    assert {"decoder_gamma_0.safetensors", "decoder_gamma_1.safetensors", "decoder_gamma_100.safetensors",
            "decoder_collapsed.safetensors"} <= set(index["files"])


def test_recording_again_replaces_the_record(run, monkeypatch, tmp_path):
    monkeypatch.setenv("EVAE_RECORDED", str(tmp_path / "records"))
    (tmp_path / "records" / "tiny").mkdir(parents=True)
    (tmp_path / "records" / "tiny" / "old").write_text("")
    lines = list(publish.record(TINY, run[0], run[0].root.parent / "figures"))
    assert "MB  in" in lines[-1] and not (tmp_path / "records" / "tiny" / "old").exists()
    for path in (run[1] / "tiny").iterdir():
        assert (tmp_path / "records" / "tiny" / path.name).read_bytes() == path.read_bytes(), path.name
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
                                                'claims.save(figures, "03_y", results)\n'
                                                'claims.save(figures, "seeds/03_y", results)\n')
    shutil.copytree(run[0].root.parent / "figures", made)
    claims.save(made, "seeds/03_y", list(claims.load(made).values()))
    for name in ("fig2.png", "fig2.pdf", "old.png"):
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
    copied = {"fig2.png", "fig2.pdf", "claims/02_x.json", "claims/03_y.json", "claims/seeds/03_y.json"}
    assert listed(target) == copied | {"fig3.png", "claims.md"}
    assert all((target / name).read_bytes() == (made / name).read_bytes() for name in copied)
    assert (target / "fig3.png").read_text() == "published before"
    assert (target / "claims.md").read_text() == claims.card(made)
    assert [path.name for path in (root / "figures").iterdir()] == ["tiny"]
    for path in (run[1] / "tiny").iterdir():
        assert (tmp_path / "records" / "tiny" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("missing", ["fig2.pdf", "claims/03_y.json", "claims/seeds/03_y.json"])
def test_publish_refuses_half_a_run(repository, tmp_path, capsys, missing):
    root, made = repository
    (made / missing).unlink()
    assert cli.main(["publish", "--preset", "tiny"], root) == 1
    said = capsys.readouterr().err
    assert f"1 files missing, first {missing}" in said and "figures --all --preset tiny" in said
    assert not (root / "figures").exists() and not (tmp_path / "records").exists()


def test_publish_refuses_damaged_claims_before_it_writes(repository, tmp_path, capsys):
    root, made = repository
    (made / "claims" / "seeds" / "03_y.json").write_text("[]")
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
    figures, claimed = publishing.saved(ROOT, "laptop")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    assert len(figures) == sources.count("plotting.save(") and len(claimed) == sources.count("claims.save(")
    for folder in (ROOT / "figures").iterdir():
        figures, claimed = publishing.saved(ROOT, folder.name)
        files = {"claims.md", *(f"claims/{name}.json" for name in claimed),
                 *(f"{name}.{kind}" for name in figures for kind in ("png", "pdf"))}
        # Of a preset whose record is gone, to be run again, the figures of newer cells may be missing.
        assert listed(folder) == files if places.record_folder(folder.name).is_dir() else listed(folder) <= files


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
    monkeypatch.setattr(latent_interpolation, "interstitial_pair", two_textures)
    monkeypatch.setattr(collapse, "skyrmion_lattice", lambda H, shape: two_textures(H, shape)[0])
    found = []
    for store in (run[0], other):
        monkeypatch.setenv("EVAE_STORE", str(store.root))
        monkeypatch.setenv("EVAE_RECORDED", "off")
        found.append([one.run(TINY, device="cpu", report=lambda line: None)
                      for one in (noise_reduction, latent_interpolation, collapse)])
    (noise_here, walk_here, collapse_here), (noise_there, walk_there, collapse_there) = found
    for name in ("X_out", "X'_out"):
        assert noise_there.median[name] == pytest.approx(noise_here.median[name], rel=5e-3)
    assert not same(noise_there.median, noise_here.median), "they went through half precision"
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


@pytest.mark.parametrize("number, from_decoders", [(4, {"fig3a_noise_reduction.png"}), (5, {"fig4c_frames.png"}),
                                                   (6, set())])
def test_notebooks_show_the_record(run, monkeypatch, tmp_path, capsys, number, from_decoders):
    """With an empty store: the figures of the run, byte for byte, or within some grey levels where decoders draw."""
    monkeypatch.setenv("EVAE_STORE", str(run[0].root))
    monkeypatch.setenv("EVAE_RECORDED", "off")
    here, said = pictures(number, tmp_path / "here", monkeypatch, capsys)
    assert "RECORDED" not in said
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "empty"))
    monkeypatch.setenv("EVAE_RECORDED", str(run[1]))
    there, said = pictures(number, tmp_path / "there", monkeypatch, capsys)
    assert said.count("RECORDED results") == (2 if number == 6 else 1) and not (tmp_path / "empty").exists()
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
        assert same if name.endswith(".json") else not same, f"{name}: figures are marked, claims are the same"


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
        with pytest.raises(ValueError, match="MB beside its decoders, at most are 0.01; the largest: record.json"):
            list(publish.record(TINY, run[0], figures, asked[0]))
    with pytest.raises(ValueError, match="stage-0123456789abcdef, which a notebook asked for, is not in the store"):
        list(publish.record(TINY, run[0], figures, {"02_x": ["stage-0123456789abcdef"]}))
    assert not list((tmp_path / "records").iterdir())


def test_a_record_at_the_size_of_the_paper_is_below_25_mb(tmp_path):
    """Untrained networks and states of 128 x 128, in the formats of a record; the tables at their number of rows."""
    p = PRESETS["paper"]
    decoder = weights.halved(VAE(p.size).state_dict(), decoder_only=True)
    decoders = 4 * sum(value.numel() * value.element_size() for value in decoder.values())
    state = 3 * p.size**2 * 2
    # Of notebooks 2, 4, 5 and 6, as kept in half precision.
    shown = (1 + 2 * len(p.betas)) + (1 + 3) * 6 + (2 * 4 + 2) + (2 * 6 * 2 + 4)
    stages = sum(len(ladder) for ladder, _ in plans.ladders(p).values())
    rows = 150 * stages * trained.ROWS + 600 * stages + 200 * 200  # histories, stages, the paths' energies and charges
    assert 12e6 < decoders + shown * state + rows < 25e6


def test_a_preview_of_the_papers_lattice_fits():
    """What is recorded at 128 x 128 today, and what a preview adds to it, by the sizes of its states and the stages."""
    p = PRESETS["desktop"]
    today = sum(path.stat().st_size for path in (ROOT / "data/recorded/desktop").iterdir()
                if not path.name.startswith(publish.DECODER))
    spacing = 25  # sites, of skyrmions in the lowest state
    open_samples = (sum((size * spacing) ** 2 for size in p.strip_squares)
                    + sum(size * spacing * p.size for size in p.strip_wires) + sum(y * x for y, x in p.confined))
    states = (12 + 15) * p.size**2 + 8 * sum(y * x for y, x in p.confined)  # of notebooks 0, 1 and 7, half precision
    lowest = 2 * p.size**2 + open_samples  # of box and open samples, single precision
    ladders = [ladder for name, ladder in plans.ladders(p).items()  # those that notebooks 2, 3 and 7 ask for
               if name.startswith(("beta", "confined")) or name.startswith("gamma") and name.endswith("seed 0")]
    stages = sum(len(stages) for stages, _ in ladders)
    shards = sum(len(data.shards()) for data in {data for _, data in ladders})
    assert 12e6 < today + 6 * states + 12 * lowest + 9e3 * stages + 8e3 * shards < publish.LIMIT


@pytest.mark.parametrize("preset", sorted(path.parent.name for path in ROOT.glob("data/recorded/*/record.json")))
def test_the_committed_record_is_of_this_code(monkeypatch, tmp_path, preset):
    """What a fresh clone shows before it has trained: without a store, and without training."""
    monkeypatch.setenv("EVAE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("EVAE_RECORDED", raising=False)
    p, said = PRESETS[preset], []
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

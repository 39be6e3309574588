"""A run carried by hand: only what is needed, small files, checked on arrival, and a run that goes on from there."""

import dataclasses

import numpy as np
import pytest
import torch

from evae_companion import bundle, sweeps, trained
from evae_companion import training_plans as plans
from evae_companion.data_specs import data_spec
from evae_companion.presets import PRESETS
from evae_companion.store import weights
from evae_companion.store.artifact import identity, manifest, meta_bytes, read_meta
from evae_companion.store.store import Store
from evae_core.training.stages import stage_schedule

TINY = dataclasses.replace(
    PRESETS["smoke"], size=16, train=24, validation=6, test=6, shard=12, sweeps=10, batch=8, first_steps=4,
    beta_steps=2, gamma_steps=2, betas=(1e-4, 1e-3), gammas=(1.0, 100.0, 300.0, 1e3), confined=())
DATA = data_spec(TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The beta ladder, and the first stage of the first gamma ladder."""
    store = Store(tmp_path_factory.mktemp("carry") / "store")
    sweeps.train_stages([*stage_schedule(TINY), stage_schedule(TINY, 1e-3)[0]], DATA, store, "cpu")
    return store


def carried(run, tmp_path) -> Store:
    list(bundle.pack(TINY, run, tmp_path / "pack"))
    other = Store(tmp_path / "other")
    list(bundle.unpack(tmp_path / "pack", other))
    return other


def spec(stage):
    return trained.stage_spec(stage, DATA)


def test_only_what_is_needed_is_carried(run, tmp_path):
    other = carried(run, tmp_path)
    low, high = stage_schedule(TINY)
    first = stage_schedule(TINY, 1e-3)[0]
    assert {name.split("-")[0] for name in other.names()} == {"stage"} and len(other.names()) == 3
    for stage in (low, high, first):  # each has a child to come: the other gamma ladder, the control, the next rung
        meta = other.meta(spec(stage))
        assert meta["packed"]["weights"] == "whole" and meta["packed"]["precision"] == "float16"
        told = trained.TrainedStage(stage, DATA, other.find(spec(stage))).measured
        assert told.pop("weights") == meta["packed"]
        original = run.meta(spec(stage))
        assert told == trained.TrainedStage(stage, DATA, run.find(spec(stage))).measured
        assert {k: meta[k] for k in ("created", "wall_seconds", "versions")} == {
            k: original[k] for k in ("created", "wall_seconds", "versions")}


def test_thin_keeps_decoders_and_the_encoders_that_are_needed(tmp_path):
    """After a whole ladder, and while a stage is in the making: every network generates the same states as before."""
    store = Store(tmp_path / "store")
    beta, gamma = stage_schedule(TINY), stage_schedule(TINY, 1e-3)
    trained = sweeps.train_stages([*beta, *gamma], DATA, store, "cpu", report=lambda line: bundle.thin(TINY, store))
    climbed = dict(zip([*beta, *gamma], trained, strict=True))

    def drawn(trained):
        return trained.model().generate(2, torch.Generator().manual_seed(0))

    before = {stage: drawn(trained) for stage, trained in climbed.items()}
    saved = bundle.thin(TINY, store)
    thinned = [stage for stage, trained in climbed.items()
               if weights.file_in(trained.folder).name == weights.DECODER_FILE]
    # beta 1e-4 and 1e-3 have children to come; of gamma 1, 100 and the last latents are still wanted; 300 is done.
    done = gamma[2]
    assert thinned == [done] and saved > 0
    for stage, trained in climbed.items():
        assert store.find(spec(stage)) == trained.folder
        assert torch.equal(drawn(trained), before[stage])
    with pytest.raises(RuntimeError, match="without its encoder"):
        climbed[done].model().encode(torch.zeros(2, 3, 16, 16))
    more = dataclasses.replace(done, gamma=1e5, parent=done)
    with pytest.raises(RuntimeError, match="decoder alone; remove that folder"):
        sweeps.train_stages([more], DATA, store, "cpu")
    assert bundle.thin(TINY, store) == 0
    assert list(bundle.pack(TINY, store, tmp_path / "pack"))


def test_needs_follow_the_run(run):
    names = {stage: identity(spec(stage))[1] for ladder, _ in plans.ladders(TINY).values() for stage in ladder}
    rungs = stage_schedule(TINY, 1e-3)
    needed = bundle.needs(TINY, run)
    assert needed[names[rungs[0]]] == weights.WHOLE
    assert needed[names[rungs[-1]]] == weights.WHOLE, "priors are fitted to its latents"
    open_too = dataclasses.replace(TINY, confined=((16, 16),))
    edges = {identity(trained.stage_spec(stages[-1], data))[1]
             for name, (stages, data) in plans.ladders(open_too).items() if name.startswith("confined")}
    assert {bundle.needs(open_too, run)[name] for name in edges} == {weights.WHOLE}, "training states are reconstructed"
    everything = {identity(spec(stage))[1] for stage in names}

    class Finished:
        def find(self, spec):
            return spec["kind"] != "stage" or identity(spec)[1] in everything

    needed = bundle.needs(TINY, Finished())
    assert needed[names[rungs[-1]]] == weights.DECODER, "the collapsed state"
    assert weights.WHOLE not in needed.values() and 4 < len(needed) < len(everything)


def test_a_stage_that_nobody_needs_comes_without_weights(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "needs", lambda p, store: {})
    other = carried(run, tmp_path)
    low = stage_schedule(TINY)[0]
    (trained,) = sweeps.train_stages([low], DATA, other, "cpu", report=pytest.fail)  # finished, and found
    assert trained.measured["weights"]["weights"] == "none"
    with pytest.raises(RuntimeError, match="carried here without its weights"):
        trained.model()


def test_the_run_goes_on_from_what_was_carried(run, tmp_path):
    """The data are made again, nothing is trained twice, and the next stage comes out the same within rounding."""
    other = carried(run, tmp_path)
    said = []
    here = sweeps.train_stages(stage_schedule(TINY, 1e-3)[:2], DATA, run, "cpu")[-1]
    there = sweeps.train_stages(stage_schedule(TINY, 1e-3)[:2], DATA, other, "cpu", said.append)[-1]
    assert len(said) == 1
    np.testing.assert_allclose(there.history[:, :3], here.history[:, :3], rtol=2e-2, atol=1e-4)
    model, twin = here.model(), there.model()
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (model.decode(z) - twin.decode(z)).square().sum(1).mean()
    assert 0 < float(difference) < 1e-4


def test_files_are_small_whatever_they_hold(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MAX_BYTES", 50_000)
    other = carried(run, tmp_path)
    sizes = [path.stat().st_size for path in (tmp_path / "pack").glob("part-*")]
    assert len(sizes) > 3 and max(sizes) <= 50_000 and sizes.count(50_000) >= len(sizes) - 1
    trained.TrainedStage(stage_schedule(TINY)[1], DATA, other.find(spec(stage_schedule(TINY)[1]))).model()


def test_the_networks_of_the_paper_are_halved_and_cut(tmp_path):
    """128 x 128: 12.8 million parameters, more than one file of 16 MB."""
    from evae_core import VAE

    state = weights.halved(VAE(128).state_dict())
    size = sum(value.numel() * value.element_size() for value in state.values())
    assert bundle.MAX_BYTES < size < 2 * bundle.MAX_BYTES
    decoder = weights.halved(VAE(128).state_dict(), decoder_only=True)
    assert sum(value.numel() * value.element_size() for value in decoder.values()) < 3.5e6


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def indexed(folder, change=lambda body: None):
    """Write the index anew, with right sums of whatever the parts hold now, and a change of its body."""
    body = read_meta(folder / "pack.json")
    body["files"] = manifest({part: folder / part for part in body["files"]})
    change(body)
    (folder / "pack.json").write_bytes(meta_bytes(body))


def harmed(folder, place):
    """Flip a bit of the archive, and make the index agree with it."""
    flipped(folder / "part-000", place)
    indexed(folder)


def renamed(folder):
    """Another file name inside, of the same length, with all sums right but that of the header."""
    part = folder / "part-000"
    part.write_bytes(part.read_bytes().replace(b"measured.json", b"../../escaped"))
    indexed(folder)


def doubled(folder):
    """Every artifact twice."""
    part = folder / "part-000"
    part.write_bytes(part.read_bytes()[:-1024] + part.read_bytes())  # without the end of the first
    indexed(folder)


@pytest.mark.parametrize("damage, message", [
    (lambda f: flipped(f / "part-000", 0), "part-000 has another SHA-256"),
    (lambda f: flipped(f / "part-000", -1), "part-000 has another SHA-256"),
    (lambda f: (f / "part-000").write_bytes((f / "part-000").read_bytes()[:-1]), "part-000 has .* bytes instead of"),
    (lambda f: (f / "part-000").unlink(), "part-000 is missing"),
    (lambda f: (f / "pack.json").write_text((f / "pack.json").read_text().replace("smoke", "spoke")), "pack.json"),
    (lambda f: (f / "pack.json").unlink(), "pack.json"),
    (lambda f: harmed(f, 0), "no plain file name|no header"),
    (lambda f: harmed(f, 150), "no header"),
    (lambda f: harmed(f, 156), "no header"),
    (lambda f: harmed(f, 600), "has another SHA-256 than when it was made"),
    (lambda f: harmed(f, -1), "does not end where it should"),
    (renamed, "no plain file name"),
    (doubled, "there twice"),
    (lambda f: indexed(f, lambda body: body["files"].update({"../outside": body["files"]["part-000"]})), "outside"),
    (lambda f: indexed(f, lambda body: body["files"].update({"pack.json": body["files"]["part-000"]})), "pack.json"),
    (lambda f: indexed(f, lambda body: body["files"].clear()), "no file of it is named"),
    (lambda f: indexed(f, lambda body: body["spec"].pop("format")), "another version of evae.* pack again"),
])
def test_a_damaged_pack_is_refused_whole(run, tmp_path, damage, message):
    list(bundle.pack(TINY, run, tmp_path / "pack"))
    damage(tmp_path / "pack")
    other = Store(tmp_path / "other")
    with pytest.raises(ValueError, match=message):
        list(bundle.unpack(tmp_path / "pack", other))
    assert other.names() == set() and not list(tmp_path.rglob("*escaped*"))


def test_a_killed_pack_starts_over(run, tmp_path, monkeypatch):
    """Parts without an index are no bundle; the next pack replaces them, and a finished bundle is not overwritten."""
    folder = tmp_path / "pack"
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "MAX_BYTES", 50_000)
        patch.setattr(bundle, "atomic_write", lambda path, content: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(bundle.pack(TINY, run, folder))
    assert len(list(folder.glob("part-*"))) > 3
    with pytest.raises(ValueError, match="pack.json is missing"):
        list(bundle.unpack(folder, Store(tmp_path / "other")))
    list(bundle.pack(TINY, run, folder))
    assert sorted(path.name for path in folder.iterdir()) == ["pack.json", "part-000"]
    with pytest.raises(ValueError, match="new or empty"):
        list(bundle.pack(TINY, run, folder))


def test_what_is_there_stays(run, tmp_path):
    list(bundle.pack(TINY, run, tmp_path / "pack"))
    stage = stage_schedule(TINY)[0]
    before = run.meta(spec(stage))
    (line,) = bundle.unpack(tmp_path / "pack", run)
    assert line.startswith("0 artifacts taken") and run.meta(spec(stage)) == before


def test_carried_twice_is_carried_once(run, tmp_path):
    other = carried(run, tmp_path)
    (tmp_path / "again").mkdir()
    again = carried(other, tmp_path / "again")
    for name in other.names():
        files = {path.name: path.read_bytes() for path in (other.root / name).iterdir()}
        assert {path.name: path.read_bytes() for path in (again.root / name).iterdir()} == files


def test_nothing_to_pack_and_no_room(run, tmp_path):
    with pytest.raises(ValueError, match="nothing of preset smoke"):
        list(bundle.pack(TINY, Store(tmp_path / "empty"), tmp_path / "pack"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    with pytest.raises(ValueError, match="new or empty"):
        list(bundle.pack(TINY, run, tmp_path / "full"))


def test_histories_as_block_means():
    history = np.arange(40.0).reshape(10, 4)
    last, means = trained.block_means(history, 10)
    assert last.tolist() == list(range(1, 11)) and np.array_equal(means, history)
    history = np.random.default_rng(0).normal(size=(250, 4)).astype(np.float32)
    last, means = trained.block_means(history, 250)
    assert last[0] == 3 and last[-1] == 250 and len(means) == len(last) == 84
    np.testing.assert_allclose(means[1], history[3:6].mean(0), rtol=1e-5)
    np.testing.assert_allclose(means[-1], history[249:].mean(0), rtol=1e-5)
    assert np.array_equal(trained.block_means(means, 250)[1], means)
    with pytest.raises(ValueError, match="250 rows, or 84"):
        trained.block_means(history[:100], 250)

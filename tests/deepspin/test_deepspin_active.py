"""Active learning: what the committee's deviations are, which configurations they select, and that rounds run."""

import math
from dataclasses import replace

import pytest
import torch

from evae_companion.deepspin import active
from evae_companion.deepspin.active import (
    ASTRAY,
    CANDIDATE,
    KNOWN,
    ActiveSpec,
    Exploration,
    Trust,
    choose,
    deviations,
    kinds,
)
from evae_companion.deepspin.experiments.active_learning import ENGINE, crystal, sample_md
from evae_companion.deepspin.model import DeepSpin, ModelSpec
from evae_companion.deepspin.potential import evaluate, label

MODEL = ModelSpec(("Fe",), (0.13,), cutoff=3.6, smooth_from=3.0, embedding=(4,), axis=2, components=8, fitting=(6,))
PLAN = Exploration((50.0, 60.0), (55.845,), walkers=2, steps=4, every=2)
SPEC = ActiveSpec(MODEL, PLAN, committee=2, labels=3)


def test_deviations_are_the_formula():
    """The largest over atoms of the spread over potentials, written out; none among equals."""
    frames = sample_md(300.0, 4, 0)
    committee = [DeepSpin(MODEL, seed).double() for seed in range(3)]
    force, force_mag = deviations(committee, frames)
    found = [evaluate(potential, frames) for potential in committee]
    for mine, name in ((force, "forces"), (force_mag, "force_mags")):
        for f in range(len(frames)):
            worst = 0.0
            for atom in range(frames.atoms):
                vectors = [getattr(one, name)[f, atom] for one in found]
                mean = sum(vectors) / 3
                worst = max(worst, math.sqrt(sum(float((v - mean).square().sum()) for v in vectors) / 3))
            assert float(mine[f]) == pytest.approx(worst, rel=1e-9)
    assert float(deviations([committee[0]] * 2, frames)[0].max()) == 0.0


def test_kinds():
    """Low and high levels of either deviation; a deviation that is no number has gone astray."""
    trust = Trust((0.1, 1.0), (0.01, 0.1))
    force, force_mag = torch.tensor([[0.05, 0.1, 0.05, 1.0, 0.5, 0.0, float("nan"), 0.99],
                                     [0.005, 0.0, 0.01, 0.0, 0.2, 0.0, 0.0, 0.099]], dtype=torch.float64)
    assert kinds(force, force_mag, trust).tolist() == [KNOWN, CANDIDATE, CANDIDATE, ASTRAY, ASTRAY, KNOWN, ASTRAY,
                                                       CANDIDATE]


def test_choice():
    """Candidates alone, at most so many, each once; at random all but those astray."""
    found = torch.tensor([KNOWN] * 5 + [CANDIDATE] * 4 + [ASTRAY] * 3)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        chosen = choose(found, SPEC, generator).tolist()
        assert len(set(chosen)) == 3 and all(found[k] == CANDIDATE for k in chosen)
    passive = replace(SPEC, actively=False, labels=100)
    assert choose(found, passive, torch.Generator()).tolist() == list(range(9))
    assert choose(found[:5], SPEC, torch.Generator()).tolist() == []


def test_rounds(monkeypatch):
    """Labels are the engine's, frames grow by what was added; where no candidate is left nothing is trained anew."""
    first = sample_md(100.0, 2, 0)
    everything = replace(SPEC, trust=Trust((0.0, 1e9), (0.0, 1e9)))
    lines, seen = [], []
    monkeypatch.setattr(active, "label", lambda engine, frames: seen.append(label(engine, frames)) or seen[-1])
    rounds = active.learn(ENGINE, first, everything, lines.append)
    assert [one.frames for one in rounds] == [2, 5, 8] and [one.added for one in rounds] == [3, 3, 0]
    assert len(lines) == 2 and "100% candidates" in lines[0] and len(rounds[0].kinds) == 4
    assert torch.equal(seen[0].forces, evaluate(ENGINE, seen[0]).forces)
    sure = replace(SPEC, trust=Trust((1e8, 1e9), (1e8, 1e9)))
    rounds = active.learn(ENGINE, first, sure)
    assert [one.frames for one in rounds] == [2, 2, 2] and rounds[0].committee is rounds[2].committee
    passive = active.learn(ENGINE, first, replace(sure, actively=False))
    assert [one.frames for one in passive] == [2, 5, 8]


def test_a_committee_agrees_on_what_it_has_seen():
    """Members of different seeds are different potentials: near one another on the frames they were fitted to, apart
    on hotter ones, where their errors are larger, too."""
    first, hot = sample_md(100.0, 4, 0), sample_md(1500.0, 4, 1)
    committee = [active.fitted(first, MODEL, seed) for seed in range(3)]
    assert 0 < 2 * float(deviations(committee, first)[0].mean()) < float(deviations(committee, hot)[0].mean())
    seen, new = (active.tails(committee[0], frames)["force_rms"] for frames in (first, hot))
    assert 2 * seen < new
    with pytest.raises(ValueError, match="forces"):
        active.fitted(replace(first, forces=None), MODEL, 0)


def test_runs_that_diverge_end_there():
    def stuck(*args, **kwargs):
        raise RuntimeError("the motion diverged")

    class Bad:
        names, cutoff = ENGINE.names, ENGINE.cutoff
        reach, energies = staticmethod(ENGINE.reach), staticmethod(stuck)

    with pytest.raises(RuntimeError, match="lasted"):
        active.explore(Bad(), crystal(), 100.0, SPEC.exploration, torch.Generator())


def test_tails():
    frames = sample_md(300.0, 4, 0)
    assert max(active.tails(ENGINE, frames).values()) < 1e-12
    found = active.tails(DeepSpin(MODEL, 0).double(), frames)
    assert 0 < found["force_rms"] <= found["force_max"] and found["force_95"] <= found["force_max"]


def test_bad_input():
    with pytest.raises(ValueError, match="force_mag"):
        Trust(force_mag=(0.2, 0.1))
    with pytest.raises(ValueError, match="committee"):
        replace(SPEC, committee=1)

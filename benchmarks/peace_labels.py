"""What the law is worth to a network: with few labels, with all, and where there are only unlabelled data.

    python benchmarks/peace_labels.py [steps]     # default 1500; six minutes of one core

First networks trained from nothing, with 100 or all of 120 000 distributions labelled, with the physics term in the
loss or not, with the law's residual given back (rounds) or not. All see the same; those with the term also see the
autocorrelations, but not the labels, of the others. Then networks tuned by the physics term alone on 200 unlabelled
autocorrelations of one kind. Results go to build/peace/labels.json, from which benchmarks/bench_peace.py makes tables.
"""

import json
import sys
from pathlib import Path

from evae_companion import peace
from evae_companion.peace import learning, method_comparison, sizes

ROOT = Path(__file__).resolve().parents[1]
TRAINED = [(labelled, rounds, weight) for labelled in (100, None) for rounds in (0, 2) for weight in (0.0, 1.0, 10.0)
           if weight <= 1 or labelled and not rounds]
TUNED = ((0, 0.0), (100, 1e-4), (400, 1e-5), (400, 1e-6))  # steps, rate
KINDS = (*sizes.TRAINED, *sizes.UNSEEN)
COUNT = 200


def scores(nets, image, tune=(0, 0.0)) -> dict[str, float]:
    """Mean distance by kind at 200 frames, of the networks as they are or tuned on each kind's own data."""
    found = {}
    for kind in KINDS:
        case, used = method_comparison.Case(kind=kind, count=COUNT), nets
        if tune[0]:
            _, data = method_comparison.make(case, peace.Optics(), image, nets[0].radii.numpy())
            used = learning.fine_tune(nets, data.squared, data.spread, image.beam2, data.doubt, steps=tune[0],
                                      rate=tune[1])
        (score,) = method_comparison.compare(case, {"net": used}, made=image, least_squares=False)
        found[kind] = score.volume
    return found


def main(steps: int = 1500) -> None:
    path = ROOT / "build" / "peace" / "labels.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    image = method_comparison.reduction_of(peace.Optics(), False, peace.Shape())
    rows, few = {"trained": [], "tuned": []}, None

    def note(table, **row):
        rows[table].append(row)
        print(row, flush=True)
        path.write_text(json.dumps(rows, indent=1))

    for labelled, rounds, weight in TRAINED:
        training = peace.Training(steps=steps, rate=2e-3, physics=weight, labelled=labelled, seed=7, batch=128,
                                  scales=0.0, heights=0.0, untold=0.0)
        net = peace.train(peace.Optics(), training, peace.Shape(rounds=rounds))
        few = few or net
        note("trained", labelled=labelled, rounds=rounds, weight=weight, steps=steps, **scores([net], image))
    for words, nets in (("100 labels, no law", [few]), ("plain", peace.estimator.trained("plain")[:1]),
                        ("peace", peace.estimator.trained("peace")[:1])):
        for tune in TUNED:
            note("tuned", network=words, steps=tune[0], rate=tune[1], **scores(nets, image, tune))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))

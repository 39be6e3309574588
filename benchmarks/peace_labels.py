"""Does the physics term help where labels are few? Networks trained with 100 labelled distributions, with it and not.

    python benchmarks/peace_labels.py [steps]     # default 2000; half a minute each on one core of a quiet Xeon

Both see the same 100 labelled distributions; the one with the term also sees the autocorrelations, but not the
labels, of the other 119 900. Results go to build/peace/labels.json, from which benchmarks/bench_peace.py makes its
table.
"""

import json
import sys
from pathlib import Path

from evae_core import peace
from evae_core.peace import sizes, trial

ROOT = Path(__file__).resolve().parents[1]
LABELLED = (100, None)
WEIGHTS = (0.0, 1.0, 10.0)


def main(steps: int = 2000) -> None:
    rows, image = [], None
    for labelled in LABELLED:
        for weight in WEIGHTS:
            if labelled is None and weight > 1:
                continue
            training = peace.Training(steps=steps, rate=2e-3, physics=weight, labelled=labelled, seed=7, batch=128,
                                      scales=0.0, heights=0.0, untold=0.0)
            net = peace.train(peace.Optics(), training)
            image = image or trial.reduction_of(peace.Optics(), False, net.shape)
            scores = {kind: trial.compare(trial.Case(kind=kind, count=200), {"net": [net]}, made=image,
                                          least_squares=False)[0].volume for kind in (*sizes.TRAINED, *sizes.UNSEEN)}
            rows.append({"labelled": labelled, "weight": weight, "steps": steps, **scores})
            print(rows[-1], flush=True)
            path = ROOT / "build" / "peace" / "labels.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))

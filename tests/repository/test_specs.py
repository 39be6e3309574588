"""What results depend on hashes as before, so that stores and published results stay valid when code is moved.

A change of a spec is made on purpose: then run this file, and say in the commit which results are made anew.
"""

import hashlib
import json
from pathlib import Path

import pytest

from evae_companion import training_plans as plans
from evae_companion.data_specs import data_spec
from evae_companion.experiments import (
    beta_sweep,
    collapse,
    data_order,
    ground_state,
    latent_interpolation,
    noise_reduction,
    other_systems,
    priors,
    sample_quality,
    training_choices,
)
from evae_companion.presets import PRESETS
from evae_companion.store.artifact import identity
from evae_companion.trained import stage_spec

HASHES = Path(__file__).with_name("spec_hashes.json")


def hashes(p) -> dict[str, str]:
    """Names, which hold hashes, of a preset's results; one hash of all stages and shards; one of the preset itself."""
    parts = {identity(spec)[1] for stages, data in plans.ladders(p).values()
             for spec in (*(stage_spec(stage, data) for stage in stages), *data.shards())}
    data, walked = data_spec(p), plans.compared(p, plans.BETA, plans.WALK)
    specs = {"outputs": beta_sweep.spec(p), "noise": noise_reduction.spec(p, plans.BETA),
             "walk": latent_interpolation.spec(p, plans.BETA), "collapse": collapse.spec(p),
             "priors": priors.spec(p), "quality": sample_quality.spec(p, plans.BETA),
             "systems": other_systems.spec(p), "inverse": latent_interpolation.inverse_spec(p, walked[0]),
             "certificate": ground_state.spec(data.hamiltonian, data.shape, ground_state.search_of(p))}
    return {"stages and shards": hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16],
            "preset": hashlib.sha256(json.dumps(p.spec(), sort_keys=True).encode()).hexdigest()[:16],
            **{module.__name__.rsplit(".")[-1]: hashlib.sha256("\n".join(
                identity(part.spec)[1] for part in module.parts(p).values()).encode()).hexdigest()[:16]
               for module in (data_order, training_choices)},
            **{name: identity(spec)[1] for name, spec in specs.items()}}


@pytest.mark.parametrize("preset", PRESETS)
def test_specs_hash_as_before(preset):
    assert hashes(PRESETS[preset]) == json.loads(HASHES.read_text())[preset]


if __name__ == "__main__":
    HASHES.write_text(json.dumps({name: hashes(p) for name, p in PRESETS.items()}, indent=1) + "\n")

"""Studies: sweeps that answer a question of ours, trained on request, each measured and published as it ends.

A store that is lost then costs one sweep, and whoever goes on trains the rest alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from evae_companion import published
from evae_companion.experiments import result_cache
from evae_companion.presets import RunPreset
from evae_companion.store.store import Store
from evae_companion.sweeps import train_sweeps
from evae_companion.training_plans import Sweep


@dataclass(frozen=True)
class Part:
    """One measurement of a study.

    Attributes
    ----------
    spec : its cache key.
    sweeps : what is trained before it.
    measure : picklable; measure(folder, report=...) writes the files of the result.
    """

    spec: Mapping[str, Any]
    sweeps: tuple[Sweep, ...]
    measure: Callable[..., None]


def find(p: RunPreset, part: Part) -> Path | None:
    """Return the folder of a part that the store or data/known holds, or None."""
    folder = Store().find(part.spec)
    if folder is None and (result := published.find(p.name, part.spec)):
        folder = result[0]
    return folder


def complete(p: RunPreset, parts: Sequence[Part], device: str, report: result_cache.Report,
             done: Callable[[Part], None] | None = None) -> list[Path]:
    """Train and measure the parts that are missing, as many at a time as there are cores; return all folders.

    Parameters
    ----------
    done : called with every part, as soon as it is there.
    """
    def tell(ended: Sequence[Part]) -> None:
        if done is not None:
            for part in ended:
                done(part)

    there = [find(p, part) is not None for part in parts]
    tell([part for part, held in zip(parts, there, strict=True) if held])
    missing = [part for part, held in zip(parts, there, strict=True) if not held]
    step = os.cpu_count() or 1
    for group in (missing[k:k + step] for k in range(0, len(missing), step)):
        jobs = [sweep for part in group for sweep in part.sweeps]
        train_sweeps([stages for stages, _ in jobs], [data for _, data in jobs], device=device, report=report)
        result_cache.run_jobs(p, [partial(_make, part) for part in group], report)
        tell(group)
    return [folder for part in parts if (folder := find(p, part)) is not None]


def _make(part: Part, report: result_cache.Report) -> None:
    Store().get(part.spec, partial(part.measure, report=report))

"""Deadline after which no new artifact is started; artifacts started before it are finished.

A long run with a deadline stops between artifacts and resumes at the next call. The deadline is one environment
variable, so that notebook kernels and worker processes inherit it: EVAE_DEADLINE = "start+seconds", start in seconds
since 1970.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from evae_companion.store.artifact import META, NAME, read_meta
from evae_core.validation import check_number

ENV = "EVAE_DEADLINE"


class DeadlineExceeded(Exception):
    """The deadline has passed, or is too near for the next artifact; the message names that artifact."""


def after(minutes: float) -> str:
    """Return the value of EVAE_DEADLINE for a run of ``minutes`` that starts now.

    Raises
    ------
    TypeError, ValueError
        ``minutes`` is not a number; it is negative or not finite.
    """
    return f"{time.time()!r}+{60.0 * check_number('minutes', minutes, most=1e9, equal=True)!r}"


def interval() -> tuple[float, float] | None:
    """Return start and end of the run, in seconds since 1970, or None without a deadline.

    Raises
    ------
    ValueError
        a malformed EVAE_DEADLINE.
    """
    text = os.environ.get(ENV)
    if not text:
        return None
    try:
        start, seconds = map(float, text.split("+"))
    except ValueError:
        raise ValueError(f'{ENV} must be "start+seconds", got {text!r}') from None
    return start, start + seconds


def passed() -> bool:
    """Return whether a deadline is set and has passed."""
    limits = interval()
    return limits is not None and time.time() >= limits[1]


def check(name: str, spec: dict[str, Any], root: Path) -> None:
    """Raise :class:`DeadlineExceeded` if the artifact ``name`` of ``spec`` should not be started any more.

    ``root`` is the folder of the store. The error is raised after the deadline, and before it if a similar
    artifact took longer than the time left. Before the deadline the first artifact of a run is started in any case.
    Otherwise too short a run would make no progress.
    """
    limits = interval()
    if limits is None:
        return
    start, end = limits
    left = end - time.time()
    if left <= 0:
        raise DeadlineExceeded(f"next is {name} ({describe(spec)})")
    expected = expected_seconds(spec, root)
    if expected is not None and expected > left and _made_since(start, root):
        raise DeadlineExceeded(f"next is {name} ({describe(spec)}), which takes about {expected / 60:.2g} minutes; "
                               f"{left / 60:.2g} are left")


def expected_seconds(spec: dict[str, Any], root: Path) -> float | None:
    """Return the seconds that the most similar artifact took, or None if there is none.

    Most similar is the one of the same kind with the most equal entries in its spec; of several, the one made last.
    Imported artifacts (``packed`` in meta.json) are left out: they took their time on another machine.
    """
    bodies = [read_meta(path / META) for path in root.glob(f"{spec['kind']}-*")
              if NAME.fullmatch(path.name) and (path / META).is_file()]
    similar = [(sum(body["spec"].get(key) == value for key, value in spec.items()), body["created"],
                body["wall_seconds"]) for body in bodies if body and "packed" not in body]
    return max(similar)[2] if similar else None


def _made_since(start: float, root: Path) -> bool:
    return any(NAME.fullmatch(path.name) and path.stat().st_mtime >= start for path in root.iterdir())


def describe(spec: dict[str, Any]) -> str:
    """Return a spec in a few words: kind and, if present, seed, beta, gamma, steps, first configuration and n."""
    return " ".join([spec["kind"], *(f"{key} {spec[key]:g}" for key in ("seed", "beta", "gamma", "steps", "first", "n")
                                     if isinstance(spec.get(key), (int, float)))])

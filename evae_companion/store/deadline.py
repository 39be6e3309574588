"""The time box: a moment after which no artefact is begun; what was begun before is finished.

A long run in boxes stops between artefacts and goes on at the next call. The box is one environment variable, so that
notebook kernels and worker processes inherit it: EVAE_DEADLINE = "start+seconds", start in seconds since 1970.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from evae_companion.store.artifact import META, NAME, read_meta

ENV = "EVAE_DEADLINE"


class DeadlineExceeded(Exception):
    """The time box is over, or too short for the next artefact; the message names it."""


def opened(minutes: float) -> str:
    """The value of EVAE_DEADLINE for a box of ``minutes`` that begins now; ValueError for negative or endless ones."""
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        raise TypeError(f"minutes must be a number, got {minutes!r:.60}")
    if not 0 <= minutes < float("inf"):
        raise ValueError(f"minutes must be a finite number >= 0, got {minutes!r}")
    return f"{time.time()!r}+{60.0 * minutes!r}"


def box() -> tuple[float, float] | None:
    """Start and end of the box, in seconds since 1970, or None where there is none; ValueError for a malformed one."""
    text = os.environ.get(ENV)
    if not text:
        return None
    try:
        start, seconds = map(float, text.split("+"))
    except ValueError:
        raise ValueError(f'{ENV} must be "start+seconds", got {text!r}') from None
    return start, start + seconds


def over() -> bool:
    """Whether there is a box and its time is over."""
    found = box()
    return found is not None and time.time() >= found[1]


def check(name: str, spec: dict[str, Any], root: Path) -> None:
    """Raise :class:`DeadlineExceeded` where the artefact ``name`` of ``spec`` should not be begun in the store at
    ``root``.

    That is after the end of the box; and before it where a similar artefact took longer than what is left. The first
    artefact of a box is begun whatever it takes, or a box that is too short would never get anywhere.
    """
    found = box()
    if found is None:
        return
    start, end = found
    left = end - time.time()
    if left <= 0:
        raise DeadlineExceeded(f"next is {name} ({describe(spec)})")
    expected = expected_seconds(spec, root)
    if expected is not None and expected > left and _made_since(start, root):
        raise DeadlineExceeded(f"next is {name} ({describe(spec)}), which takes about {expected / 60:.2g} minutes; "
                        f"{left / 60:.2g} are left")


def expected_seconds(spec: dict[str, Any], root: Path) -> float | None:
    """Seconds that the artefact of the same kind with the most equal entries in its spec took; None if there is none.

    Of several the one made last. Those that were carried here (``packed`` in meta.json) took their time elsewhere.
    """
    bodies = [read_meta(path / META) for path in root.glob(f"{spec['kind']}-*")
              if NAME.fullmatch(path.name) and (path / META).is_file()]
    similar = [(sum(body["spec"].get(key) == value for key, value in spec.items()), body["created"],
                body["wall_seconds"]) for body in bodies if body and "packed" not in body]
    return max(similar)[2] if similar else None


def _made_since(start: float, root: Path) -> bool:
    return any(NAME.fullmatch(path.name) and path.stat().st_mtime >= start for path in root.iterdir())


def describe(spec: dict[str, Any]) -> str:
    """A spec's own numbers in a few words: kind, seed, beta, gamma, steps, first configuration, where it has them."""
    return " ".join([spec["kind"], *(f"{key} {spec[key]:g}" for key in ("seed", "beta", "gamma", "steps", "first", "n")
                                     if isinstance(spec.get(key), (int, float)))])

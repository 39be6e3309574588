"""User-facing errors and messages that the commands share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evae_companion.store import deadline

if TYPE_CHECKING:
    from evae_companion.store.store import Store

DEFAULT_PRESET = "desktop"
OWN_PRESET = "laptop"  # of our own notebooks, 08 and on, where the preset is for the paper's alone
TIME_IS_OVER = 3  # exit code
COMPLETE = "complete.json"  # lists the notebooks that earlier calls of an unfinished run completed


class Failure(Exception):
    """Error whose message is printed for the user; ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn RuntimeError and ValueError into :class:`Failure`: their messages are sentences for the user."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise Failure(str(error)) from error


def chosen_preset(chosen: str | None, default: str = DEFAULT_PRESET) -> str:
    """Return the name of a known preset. --preset takes precedence over EVAE_PRESET, and says so if they differ."""
    from evae_companion.presets import PRESETS

    named = os.environ.get("EVAE_PRESET") or None
    preset = chosen or named or default
    if preset not in PRESETS:
        where = "--preset" if chosen else "EVAE_PRESET"
        raise Failure(f"{where} must be one of {', '.join(PRESETS)}, got {preset!r}", code=2)
    if named and named != preset:
        print(f"EVAE_PRESET is {named} in your environment; --preset {preset} goes before it in this run", flush=True)
    return preset


def deadline_in(minutes: float | None) -> str | None:
    """Return the deadline that --minutes sets, for ``deadline.ENV``; None if it was not given."""
    try:
        return None if minutes is None else deadline.after(minutes)
    except ValueError as error:
        raise Failure(f"--{error}", code=2) from error


def human_size(count: int) -> str:
    """Return a number of bytes as text: 0 B, 1.5 KiB, 3.2 GiB."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, _ = size / 1024, units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def say_what_was_done(store: Store, before: set[str]) -> None:
    """Print which artifacts the store holds now and did not hold ``before``."""
    from evae_companion.store.artifact import META, read_meta

    bodies = [read_meta(store.root / name / META) for name in sorted(store.names() - before)]
    specs = [body["spec"] for body in sorted(filter(None, bodies), key=lambda body: body["created"])]
    counts = Counter(spec["kind"] for spec in specs)
    print("made in this call: " + (", ".join(f"{n} x {kind}" for kind, n in counts.items()) or "nothing"))
    for spec in specs:
        if spec["kind"] != "shard":
            print(f"  {deadline.describe(spec)}")


def print_card(folder: Path, preset: str, head: str = "") -> int:
    """Print the score card of a preset's claims in ``folder`` after ``head``, and write it there."""
    from evae_companion import claims
    from evae_companion.presets import PRESETS
    from evae_companion.store.serialization import atomic_write

    try:
        card = head + claims.card(folder, small=PRESETS[preset].small)
    except ValueError as error:  # a damaged record of claims
        raise Failure(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "claims.md", card.encode())
    print(card)
    print(f"written to {folder / 'claims.md'}")
    return 0

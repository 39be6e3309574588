"""The command that trains without notebooks: what takes the hours of a large preset, on a machine without Jupyter."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from evae_core import timebox
from evae_core.cli import running
from evae_core.cli.figures import TIME_IS_OVER, say_what_was_done, thin
from evae_core.cli.words import chosen_preset, deadline, plainly


def train(arguments: Namespace, root: Path) -> int:
    """Train every stage of a preset that the store does not hold, whole or in a time box; a line a stage."""
    from evae_core import runs
    from evae_core.presets import PRESETS
    from evae_core.store import Store
    from evae_core.training import climb_all

    name = chosen_preset(arguments.preset)
    settings = {timebox.ENV: deadline(arguments.minutes)}
    ladders = runs.ladders(PRESETS[name]).values()
    with running.environment(settings), plainly():
        store = Store()
        before, code = store.names(), 0

        def report(line: str) -> None:
            print(line, flush=True)
            thin(name)

        try:
            climb_all([stages for stages, _ in ladders], [data for _, data in ladders], store, report=report)
        except timebox.OutOfTime as over:
            print(f"the {arguments.minutes:g} minutes are over: {over}; the same command goes on from here")
            code = TIME_IS_OVER
        say_what_was_done(store, before)
    return code

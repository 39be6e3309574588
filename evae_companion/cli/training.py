"""The command ``evae train``: trains all stages of a preset, hours for a large one, without notebooks and Jupyter."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import TIME_IS_OVER, chosen_preset, deadline_in, say_what_was_done, user_errors
from evae_companion.store import deadline


def train(arguments: Namespace, root: Path) -> int:
    """Train every stage of a preset that the store lacks, at most until the deadline; print one line per stage."""
    from evae_companion import bundle
    from evae_companion import training_plans as plans
    from evae_companion.presets import PRESETS
    from evae_companion.store.store import Store
    from evae_companion.sweeps import train_sweeps

    name = chosen_preset(arguments.preset)
    settings = {deadline.ENV: deadline_in(arguments.minutes)}
    ladders = plans.ladders(PRESETS[name]).values()
    with notebook_runner.environment(settings), user_errors():
        store = Store()
        before, code = store.names(), 0

        def report(line: str) -> None:
            print(line, flush=True)
            bundle.thin_preset(name)

        try:
            train_sweeps([stages for stages, _ in ladders], [data for _, data in ladders], store, report=report)
        except deadline.DeadlineExceeded as over:
            print(f"the {arguments.minutes:g} minutes are over: {over}; the same command goes on from here")
            code = TIME_IS_OVER
        say_what_was_done(store, before)
    return code

"""The command ``evae train``: trains all stages of a preset, hours for a large one, without notebooks and Jupyter.

``evae figures`` does the same before its first notebook: all trainings of the paper's notebooks at once keep every core
busy, where one notebook's few sweeps leave one idle.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import TIME_IS_OVER, chosen_preset, deadline_in, say_what_was_done, user_errors
from evae_companion.store import deadline


def train(arguments: Namespace, root: Path) -> int:
    """Train every stage of a preset that the store lacks, at most until the deadline; print one line per stage."""
    from evae_companion import bundle
    from evae_companion.store.store import Store

    name = chosen_preset(arguments.preset)
    settings = {deadline.ENV: deadline_in(arguments.minutes)}
    with notebook_runner.environment(settings), user_errors():
        store = Store()
        before, code = store.names(), 0
        try:
            bundle.train_all(name)
        except deadline.DeadlineExceeded as over:
            print(f"the {arguments.minutes:g} minutes are over: {over}; the same command goes on from here")
            code = TIME_IS_OVER
        say_what_was_done(store, before)
    return code

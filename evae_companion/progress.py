"""Progress of a long run: one line per stage with the estimated time left, and a bar in Jupyter.

The commands and tests that run the notebooks set EVAE_PROGRESS to "lines". In the saved file a bar would stand at 0 %
for ever, and many lines would swell it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable

ENV = "EVAE_PROGRESS"
STEPS = re.compile(r"\((\d+) steps, \d+ s\)$")  # end of a stage's line: the steps of this stage
SHARDS = re.compile(r"\((\d+) of \d+ shards\)$")  # end of a data set's line: all shards done so far

Report = Callable[[str], None]


def watched() -> bool:
    """Return whether a bar is shown: in a Jupyter kernel, or as EVAE_PROGRESS says ("lines" or "bar")."""
    chosen = os.environ.get(ENV)
    if chosen not in (None, "", "lines", "bar"):
        raise ValueError(f'{ENV} must be "lines" or "bar", got {chosen!r}')
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None  # never imports IPython
    return chosen == "bar" or (chosen != "lines" and hasattr(shell, "kernel"))


def timed(report: Report | None, total: int, pattern: re.Pattern[str]) -> Report | None:
    """Return ``report`` extended by the estimated time left, and by a bar (see :func:`watched`).

    Parameters
    ----------
    report : takes one line. None stays None. Only ``print`` gets a bar: any other report is the caller's own.
    total : all the work, in the unit of the lines (steps or shards). The time left is extrapolated from the work so
        far.
    pattern : STEPS or SHARDS, which finds the work done in a line.
    """
    if report is None or not total:
        return report
    start, done = time.monotonic(), 0
    bar = None
    if report is print and watched():
        from tqdm.notebook import tqdm  # imported here: it needs Jupyter

        bar = tqdm(total=total, unit="step" if pattern is STEPS else "shard")

    def say(line: str) -> None:
        nonlocal done
        if match := pattern.search(line):
            before, done = done, int(match[1]) + (done if pattern is STEPS else 0)
            if done < total:
                line += f"; about {in_words((time.monotonic() - start) / done * (total - done))} left"
            if bar is not None:
                bar.update(done - before)
        report(line)

    return say


def in_words(seconds: float) -> str:
    """Return a time span as text: 40 s, 12 min, 3.5 h, 2.1 days."""
    for limit, unit, form in ((100, 1, ".0f s"), (5400, 60, ".0f min"), (1.8e5, 3600, ".1f h")):
        if seconds < limit:
            return f"{seconds / unit:{form.split()[0]}} {form.split()[1]}"
    return f"{seconds / 86400:.1f} days"

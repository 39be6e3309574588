"""Progress of a long run: one line per stage with the estimated time left, and a bar in Jupyter.

The commands and tests that run the notebooks set EVAE_PROGRESS to "lines". In the saved file a bar would stand at 0 %
for ever, and many lines would swell it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

ENV = "EVAE_PROGRESS"
Report = Callable[..., None]  # report(line), or report(line, done) where the line tells of work done


def watched() -> bool:
    """Return whether a bar is shown: in a Jupyter kernel, or as EVAE_PROGRESS says ("lines" or "bar")."""
    chosen = os.environ.get(ENV)
    if chosen not in (None, "", "lines", "bar"):
        raise ValueError(f'{ENV} must be "lines" or "bar", got {chosen!r}')
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None  # never imports IPython
    return chosen == "bar" or (chosen != "lines" and hasattr(shell, "kernel"))


class Progress:
    """A report that adds the estimated time left to each line that tells of work done, and moves a bar.

    ``progress(line)`` passes the line on; ``progress(line, done)`` counts ``done`` units of work first.

    Parameters
    ----------
    report : takes one line; None: nothing is said. Only ``print`` gets a bar (see :func:`watched`): any other report
        is the caller's own.
    total : all the work, in units (steps or shards); the time left is extrapolated from the work so far.
    unit : what the bar counts.
    """

    def __init__(self, report: Callable[[str], None] | None, total: int, unit: str) -> None:
        self.report, self.total, self.done, self.start = report, total, 0, time.monotonic()
        self.bar: Any = None
        if report is print and total and watched():
            from tqdm.notebook import tqdm  # imported here: it needs Jupyter

            self.bar = tqdm(total=total, unit=unit)

    def __call__(self, line: str, done: int = 0) -> None:
        if self.report is None:
            return
        self.done += done
        if done and self.done < self.total:
            left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
            line += f"; about {in_words(left)} left"
        if self.bar is not None and done:
            self.bar.update(done)
        self.report(line)


def in_words(seconds: float) -> str:
    """Return a time span as text: 40 s, 12 min, 3.5 h, 2.1 days."""
    for limit, unit, form in ((100, 1, ".0f s"), (5400, 60, ".0f min"), (1.8e5, 3600, ".1f h")):
        if seconds < limit:
            return f"{seconds / unit:{form.split()[0]}} {form.split()[1]}"
    return f"{seconds / 86400:.1f} days"

"""What a long run says of itself: a line a stage with the time that is left, and a bar where somebody is watching.

Somebody is watching in a notebook in JupyterLab. Where the commands and tests run the notebooks, EVAE_PROGRESS is
"lines": a bar there would stand at 0 % in the file for ever, and many lines would swell it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable

ENV = "EVAE_PROGRESS"
STEPS = re.compile(r"\((\d+) steps, \d+ s\)$")  # how a stage's line ends: its own steps
SHARDS = re.compile(r"\((\d+) of \d+ shards\)$")  # a data set's line: all that are done

Report = Callable[[str], None]


def watched() -> bool:
    """Whether a bar is drawn: in a Jupyter kernel, unless EVAE_PROGRESS is "lines"."""
    chosen = os.environ.get(ENV)
    if chosen not in (None, "", "lines", "bar"):
        raise ValueError(f'{ENV} must be "lines" or "bar", got {chosen!r}')
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None  # nothing is imported for it
    return chosen == "bar" or (chosen != "lines" and hasattr(shell, "kernel"))


def timed(report: Report | None, total: int, pattern: re.Pattern[str]) -> Report | None:
    """``report`` with the time left after each line that ``pattern`` finds the work done in, and with the bar.

    The time is that of the work so far, for ``total`` in the unit of the lines. None stays None. Only ``print`` gets
    a bar: another report is somebody's own.
    """
    if report is None or not total:
        return report
    start, done = time.monotonic(), 0
    bar = None
    if report is print and watched():
        from tqdm.notebook import tqdm  # here: it needs Jupyter

        bar = tqdm(total=total, unit="step" if pattern is STEPS else "shard")

    def say(line: str) -> None:
        nonlocal done
        if found := pattern.search(line):
            before, done = done, int(found[1]) + (done if pattern is STEPS else 0)
            if done < total:
                line += f"; about {in_words((time.monotonic() - start) / done * (total - done))} left"
            if bar is not None:
                bar.update(done - before)
        report(line)

    return say


def in_words(seconds: float) -> str:
    """A span of time as a person says it: 40 s, 12 min, 3.5 h, 2.1 days."""
    for limit, unit, form in ((100, 1, ".0f s"), (5400, 60, ".0f min"), (1.8e5, 3600, ".1f h")):
        if seconds < limit:
            return f"{seconds / unit:{form.split()[0]}} {form.split()[1]}"
    return f"{seconds / 86400:.1f} days"

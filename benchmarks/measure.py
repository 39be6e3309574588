"""What the benchmarks share: the machine in words, and timings taken in turns."""

import os
import platform
import statistics
import time
from pathlib import Path

import torch


def machine() -> str:
    """The machine and the versions, in one line."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")] if Path("/proc/cpuinfo").is_file() else []
    name = names[0] if names else platform.processor() or platform.machine()
    return (f"{name}, {len(os.sched_getaffinity(0))} cores, "
            f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}; "
            f"load {os.getloadavg()[0]:.1f} before")


def in_turns(works: dict, repeats: int = 5) -> dict[str, list[float]]:
    """Seconds of every call of every work, one after the other in turns, after one turn that does not count.

    In turns, because a shared machine changes its mood within seconds: ratios of medians then mean something.
    """
    found = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                found[name].append(time.perf_counter() - start)
    return found


def median(values) -> float:
    return statistics.median(values)


def spread(values, scale: float = 1.0, digits: int = 0) -> str:
    """median (least-most), each times ``scale``."""
    a, b, c = (f"{scale * v:.{digits}f}" for v in (median(values), min(values), max(values)))
    return f"{a} ({b}-{c})"


def table(title: str, columns, rows) -> None:
    """Print a Markdown table under a heading."""
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)

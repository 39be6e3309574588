"""What was tried to break this, how often, and what was lost: a table.

    python benchmarks/faults.py --kills 100 --damages 1000 --examples 10000 --steps 2000 --shards 200 --write

Each part runs in a process of its own, and what it found is kept under build/faults: a part that this commit has
already run is not run again, and killing goes on where it was when it was stopped. ``--write`` puts all that is kept
into benchmarks/FAULTS.md. The tests run short forms.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import corruption
import killing
import memory
from measure import machine

from evae_companion.store.serialization import read_json, write_json

HERE = Path(__file__).resolve().parent
KEPT = HERE.parent / "build" / "faults"
LOST = ("files that differ", "left behind", "unnoticed", "unnamed", "not moved aside", "not made anew", "failed",
        "made twice", "faults")  # what a row counts as lost; the rest of it says what was tried

HEAD = """# What was tried, how often, and what was lost

`benchmarks/faults.py --write` writes this table; what a row means is said where it is counted
([killing.py](killing.py), [corruption.py](corruption.py), [argument_fuzz.py](../tests/robustness/argument_fuzz.py),
[memory.py](memory.py)). Times are
those of a shared, busy machine; minutes those of a part's last start.

    python benchmarks/faults.py --kills 100 --damages 1000 --examples 10000 --steps 2000 --shards 200 --write

{table}

Measured on:

{machine}
"""


def kills(count: int, command: bool, only: Sequence[str], folder: Path | None = None) -> dict[str, dict]:
    argv = ["--kills", str(count), *(["--command"] if command else []), *(["--only", *only] if only else []),
            *(["--folder", str(folder)] if folder else [])]
    how = "figures, with kernels" if command else "the notebooks' sources"
    return {f"SIGKILL at random moments: {how}{', notebook ' + ' '.join(only) if only else ''}": killing.main(argv)}


def damages(count: int) -> dict[str, dict]:
    """On a small store of shards and stages, a pack, and the compiled passes."""
    from evae_companion import bundle, sweeps
    from evae_companion.data_specs import data_spec
    from evae_companion.presets import PRESETS
    from evae_companion.store.store import Store
    from evae_core.training import stage_schedule
    small = dataclasses.replace(PRESETS["smoke"], size=16, train=24, validation=4, test=4, shard=8, sweeps=5, batch=8,
                                first_steps=2, beta_steps=2, betas=(1e-4, 1e-3, 1e-2))
    rng, rows = random.Random(0), {}
    with tempfile.TemporaryDirectory(prefix="evae damages {é} ") as temporary:
        folder = Path(temporary)
        store = Store(folder / "store")
        sweeps.train_stages(stage_schedule(small), data_spec(small), store, "cpu")
        shutil.copytree(folder / "store", folder / "spare")
        rows["one file of the store damaged"] = corruption.artifacts(store, folder / "spare", count, rng)
        list(bundle.pack(small, store, folder / "pack"))
        rows["one file of a pack damaged"] = corruption.packed(folder / "pack", folder / "unpacked", count // 10, rng)
        os.environ["EVAE_CACHE"] = str(folder / "cache")
        from evae_core.training.fused.extension import FUSED
        FUSED.load()
        if row := corruption.compiled(folder / "cache", max(1, count // 100), rng):
            rows["the compiled passes damaged"] = row
    return rows


def committed(count: int) -> dict[str, dict]:
    """On copies of what is committed: the score card, the known best state, PEACE's networks."""
    rng, rows = random.Random(0), {}
    with tempfile.TemporaryDirectory(prefix="evae damages {é} ") as temporary:
        folder = Path(temporary)
        shutil.copytree(HERE.parent / "figures" / "desktop" / "claims", folder / "figures" / "claims")
        rows["one file of the score card damaged"] = corruption.score_card(folder / "figures", count, rng)
        shutil.copytree(HERE.parent / "data" / "known" / "paper" / "certificate", folder / "known")
        rows["one file of data/known damaged"] = corruption.known(folder / "known", count, rng)
        shutil.copytree(HERE.parent / "evae_companion" / "peace" / "trained", folder / "trained")
        rows["PEACE's networks damaged"] = corruption.networks(folder / "trained", count, rng)
    return rows


def together(only: Sequence[str]) -> dict[str, dict]:
    with tempfile.TemporaryDirectory(prefix="evae together {é} ") as temporary:
        expected, _ = killing.undisturbed(killing.Command(Path(temporary) / "one", only))
        row = killing.together(Path(temporary) / "several", expected, only)
    return {f"two figures and a reader at once, notebook {' '.join(only)}": row}


def examples(count: int) -> dict[str, dict]:
    import sys
    import warnings
    sys.path[:0] = [str(HERE.parent / "tests" / folder) for folder in ("robustness", "companion")]
    import argument_fuzz
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(EVAE_STORE=f"{folder}/store", EVAE_FIGURES=f"{folder}/figures", EVAE_RECORDED="off")
        os.chdir(folder)
        return {"wrong arguments": argument_fuzz.run(count, Path(folder))}


def long_run(steps: int, shards: int) -> dict[str, dict]:
    return {"training steps, memory": memory.training(steps), "shards, memory": memory.annealing(shards)}


def _part(function, arguments, queue) -> None:
    import torch

    from evae_companion.parent_watchdog import end_with_parent
    end_with_parent()
    torch.set_num_threads(1)
    queue.put(function(*arguments))


def separately(function, *arguments) -> dict[str, dict]:
    """The part in a process of its own: it forks, changes the environment, or measures its own memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_part, args=(function, arguments, queue))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__} ended with {process.exitcode}")
    return queue.get()


def commit() -> str:
    """The commit that is tried, with ``-dirty`` where files differ from it."""
    return subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=HERE, check=True,
                          capture_output=True, text=True).stdout.strip()


def kept(name: str, function, *arguments) -> None:
    """Run a part and keep what it found in build/faults/``name``.json, unless that holds it for this commit."""
    path, what = KEPT / f"{name}.json", {"commit": commit(), "arguments": repr(arguments)}
    if path.exists() and what.items() <= read_json(path).items():
        return
    start, where = time.monotonic(), machine()
    if function is kills:
        arguments = (*arguments, KEPT / f"{name} {what['commit']} {{é}}")
    rows = separately(function, *arguments)
    KEPT.mkdir(parents=True, exist_ok=True)
    write_json(path, {**what, "rows": rows, "machine": where, "minutes": (time.monotonic() - start) / 60,
                      "date": f"{datetime.now(UTC):%Y-%m-%d}"})
    print(json.dumps(rows, ensure_ascii=False), flush=True)


def table(parts: Sequence[dict]) -> str:
    """Markdown: what was tried, what was lost, and what else was counted; a line a row of every part."""
    lines = ["| tried | lost | counts | commit | minutes |", "|---|---|---|---|---|"]
    for part in parts:
        for name, row in part["rows"].items():
            lost = {key: value for key, value in row.items() if key in LOST}
            said = ", ".join(f"{key} {value}" for key, value in row.items() if key not in LOST)
            what = ", ".join(f"{key} {value}" for key, value in lost.items() if value) or "nothing" if lost else "-"
            lines.append(f"| {name} | {what} | {said} | {part['commit']} | {part['minutes']:.0f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kills", "command-kills", "damages", "examples", "steps", "shards"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], help="notebooks to run (default: all)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/FAULTS.md")
    asked = parser.parse_args(argv)
    parts = (("kills", asked.kills, kills, asked.kills, False, asked.only),
             ("command-kills", asked.command_kills, kills, asked.command_kills, True, asked.only),
             ("damages", asked.damages, damages, asked.damages),
             ("committed", asked.damages, committed, asked.damages // 10),
             ("together", asked.together, together, asked.only or ["02"]),
             ("examples", asked.examples, examples, asked.examples),
             ("memory", asked.steps or asked.shards, long_run, asked.steps, asked.shards))
    for name, wanted, *part in parts:
        if wanted:
            kept(name, *part)
    found = [read_json(path) for name, *_ in parts if (path := KEPT / f"{name}.json").exists()]
    if asked.write:
        where = "\n".join(dict.fromkeys(f"{part['machine'].split('; load')[0]}, on {part['date']}." for part in found))
        (HERE / "FAULTS.md").write_text(HEAD.format(machine=where, table=table(found)), encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()

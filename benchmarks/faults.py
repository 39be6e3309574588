"""What was tried to break this, how often, and what was lost: a table.

    python benchmarks/faults.py --kills 100 --damages 1000 --examples 10000 --steps 2000 --shards 200 --write

Each part in a process of its own; ``--write`` puts the table into benchmarks/FAULTS.md. The tests run short forms.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import damaging
import killing
import memory
import nonsense

HERE = Path(__file__).resolve().parent


def kills(count: int, command: bool, only: Sequence[str]) -> dict[str, dict]:
    argv = ["--kills", str(count), *(["--command"] if command else []), *(["--only", *only] if only else [])]
    how = "figures, with kernels" if command else "the notebooks' sources"
    return {f"SIGKILL at random moments: {how}{', notebook ' + ' '.join(only) if only else ''}": killing.main(argv)}


def damages(count: int) -> dict[str, dict]:
    """On a small store of shards and stages, the committed score card, a pack, and the compiled passes."""
    from evae_core import carry, training
    from evae_core.dataset import data_spec
    from evae_core.presets import PRESETS
    from evae_core.store import Store
    small = dataclasses.replace(PRESETS["smoke"], size=16, train=24, validation=4, test=4, shard=8, sweeps=5, batch=8,
                                first_steps=2, beta_steps=2, betas=(1e-4, 1e-3, 1e-2))
    rng, rows = random.Random(0), {}
    with tempfile.TemporaryDirectory(prefix="evae damages {é} ") as temporary:
        folder = Path(temporary)
        store = Store(folder / "store")
        training.climb(training.ladder(small), data_spec(small), store, "cpu")
        shutil.copytree(folder / "store", folder / "spare")
        rows["one file of the store damaged"] = damaging.artefacts(store, folder / "spare", count, rng)
        shutil.copytree(HERE.parent / "figures" / "laptop" / "claims", folder / "figures" / "claims")
        rows["one file of the score card damaged"] = damaging.score_card(folder / "figures", count // 10, rng)
        list(carry.pack(small, store, folder / "pack"))
        rows["one file of a pack damaged"] = damaging.packed(folder / "pack", folder / "unpacked", count // 10, rng)
        os.environ["EVAE_CACHE"] = str(folder / "cache")
        from evae_core.fused.library import FUSED
        FUSED.load()
        if row := damaging.compiled(folder / "cache", max(1, count // 100), rng):
            rows["the compiled passes damaged"] = row
    return rows


def together(only: Sequence[str]) -> dict[str, dict]:
    with tempfile.TemporaryDirectory(prefix="evae together {é} ") as temporary:
        expected, _ = killing.undisturbed(killing.Command(Path(temporary) / "one", only))
        row = killing.together(Path(temporary) / "several", expected, only)
    return {f"two figures and a reader at once, notebook {' '.join(only)}": row}


def examples(count: int) -> dict[str, dict]:
    import warnings
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(EVAE_STORE=f"{folder}/store", EVAE_FIGURES=f"{folder}/figures", EVAE_RECORDED="off")
        os.chdir(folder)
        return {"wrong arguments": nonsense.run(count, Path(folder))}


def long_run(steps: int, shards: int) -> dict[str, dict]:
    return {"training steps, memory": memory.training(steps), "shards, memory": memory.annealing(shards)}


def _part(function, arguments, queue) -> None:
    import torch

    from evae_core.lifeline import end_with_parent
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


def table(rows: dict[str, dict]) -> str:
    """Markdown: what was tried, and what came of it."""
    lines = ["| tried | what came of it |", "|---|---|"]
    lines += [f"| {name} | {', '.join(f'{key} {value}' for key, value in row.items())} |" for name, row in rows.items()]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kills", "command-kills", "damages", "examples", "steps", "shards"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], help="notebooks to run (default: all)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/FAULTS.md")
    arguments, rows = parser.parse_args(argv), {}
    for wanted, part in ((arguments.kills, (kills, arguments.kills, False, arguments.only)),
                         (arguments.command_kills, (kills, arguments.command_kills, True, arguments.only)),
                         (arguments.damages, (damages, arguments.damages)),
                         (arguments.together, (together, arguments.only or ["02"])),
                         (arguments.examples, (examples, arguments.examples)),
                         (arguments.steps or arguments.shards, (long_run, arguments.steps, arguments.shards))):
        if wanted:
            rows |= (found := separately(*part))
            print(json.dumps(found, ensure_ascii=False), flush=True)
    if arguments.write:
        (HERE / "FAULTS.md").write_text(f"# What was tried, how often, and what was lost\n\n{table(rows)}\n")
    print(table(rows))


if __name__ == "__main__":
    main()

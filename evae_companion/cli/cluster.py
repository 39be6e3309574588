"""The command ``evae ensemble``: trains many sweeps, here or on workers of a Dask scheduler, and writes tables."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import TIME_IS_OVER, Failure, chosen_preset, deadline_in, user_errors
from evae_companion.store import deadline

if TYPE_CHECKING:
    from evae_companion.cluster.grid import Sweep

STAGES, CHAINS, ENSEMBLE = "stages.csv", "chains.csv", "ensemble.json"


def options(parser: ArgumentParser) -> None:
    """Add the options of the command besides the preset and the minutes."""
    span = "numbers as 0.2,0.3 or first:last:count as 0.2:0.4:5"
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of every ladder (default: 1)")
    parser.add_argument("--betas", help="where gamma ladders start, of the preset's betas (default: the preset's)")
    parser.add_argument("--D", help=f"DM strengths in J: {span} (default: the preset's)")
    parser.add_argument("--B", help="fields in J, written as --D; default: the preset's B J/D^2 at every D")
    parser.add_argument("--reduced", action="store_true", help="--B is in units of D^2/J")
    parser.add_argument("--sizes", help="sides of the lattices, multiples of 16 (default: the preset's)")
    parser.add_argument("--short", action="store_true", help="the short ladders of the phase diagram instead of the "
                        "preset's own: small data sets, five stages")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, tcp://127.0.0.1:8786 or "
                        "tls://head:8786 (extra `cluster`); default: processes of this machine")
    parser.add_argument("--workers", type=int, metavar="N", help="processes of this machine (default: one a core)")
    parser.add_argument("--gpus", action="store_true", help="a GPU a unit of work: the scheduler's workers "
                        'were started with --resources "GPU=1"')
    parser.add_argument("--store", metavar="FOLDER", help="the workers' store; default: EVAE_STORE as each worker has "
                        "it. Without --url it is one folder that all of them see")
    parser.add_argument("--url", help="where workers share artifacts, anything fsspec opens: file:///shared/evae, "
                        "s3://bucket/evae; each keeps its own store as a cache")
    parser.add_argument("--output", metavar="FOLDER", help="where the tables go (default: build/PRESET/ensemble)")
    parser.add_argument("--list", action="store_true", help="say what there is to do, and do nothing")


def ensemble(arguments: Namespace, root: Path) -> int:
    """Run all tasks of the ensemble, at most until the deadline, then write the tables of what is complete."""
    from evae_companion.cluster.executors import dask, exposed, local
    from evae_companion.cluster.scheduler import present, run_tasks
    from evae_companion.cluster.tasks import work
    from evae_companion.store.object_store import StoreLocation

    name = chosen_preset(arguments.preset)
    plan = _chains(arguments, name)
    if arguments.workers is not None and (arguments.workers < 1 or arguments.scheduler):
        raise Failure("--workers must be at least 1, and goes without --scheduler, whose workers are its own", code=2)
    if arguments.gpus and not arguments.scheduler:
        raise Failure("--gpus needs --scheduler: processes of one machine do not share out its GPUs", code=2)
    units = work(plan)
    kinds = {kind: sum(type(unit).__name__ == kind for unit in units) for kind in ("Shard", "Climb", "Summary")}
    print(f"{len(plan)} ladders at {len({chain.data for chain in plan})} points: {kinds['Shard']} shards, "
          f"{kinds['Climb']} climbs, {kinds['Summary']} summaries", flush=True)
    place = StoreLocation(arguments.store, arguments.url)
    folder = Path(arguments.output) if arguments.output else root / "build" / name / "ensemble"
    with notebook_runner.environment({deadline.ENV: deadline_in(arguments.minutes)}), user_errors():
        if arguments.list:
            cached = present(place)(spec for unit in units for spec in unit.specs())
            print(f"{len(cached)} of {sum(len(unit.specs()) for unit in units)} artifacts are complete")
            return 0
        if arguments.scheduler:
            start = dask(arguments.scheduler, arguments.gpus)
            if exposed(arguments.scheduler):
                print(f"{arguments.scheduler} crosses a network without encryption: who reaches it can run any code "
                      "on its workers; docs/CLUSTER.md says how to use TLS", file=sys.stderr, flush=True)
        else:
            start = local(arguments.workers)
        with _Bar(len(units)) as bar:
            outcome = run_tasks(units, start, place, "cuda" if arguments.gpus else "auto", bar.say, bar.done)
        complete = _write(folder, plan, place, outcome.errors)
    if outcome.lost:
        print(f"work that was lost with its worker or scheduler and sent again: {outcome.lost} times")
    print(f"{complete} of {len(plan)} ladders are complete; tables in {folder}", flush=True)
    if outcome.errors:
        first = next(iter(outcome.errors.values()))
        raise Failure(f"{len(outcome.errors)} of {len(units)} units failed, first: {first}\n"
                      f"all are in {folder / ENSEMBLE}; the others are complete")
    if outcome.over:
        print(f"the {arguments.minutes:g} minutes are over: {outcome.over}; the same command goes on from here")
        return TIME_IS_OVER
    return 0


class _Bar:
    """Progress bar of tqdm in a terminal; elsewhere one line per tenth of the work."""

    def __init__(self, total: int):
        self.total, self.count, self.bar = total, 0, None

    def __enter__(self) -> _Bar:
        from tqdm import tqdm

        if sys.stderr.isatty():
            self.bar = tqdm(total=self.total, unit="unit")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def done(self, unit: Any) -> None:
        self.count += 1
        if self.bar is not None:
            self.bar.update()
        elif self.count == self.total or self.count % max(1, self.total // 10) == 0:
            print(f"{self.count} of {self.total} units are done", flush=True)

    def say(self, line: str) -> None:
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)


def _chains(arguments: Namespace, name: str) -> list[Sweep]:
    from evae_companion.cluster.grid import chains, numbers
    from evae_companion.presets import PRESETS

    p = PRESETS[name]
    try:
        def given(text: str | None, option: str, default: Any) -> Any:
            return default if text is None else numbers(text, f"--{option}")

        sizes = given(arguments.sizes, "sizes", [])
        if any(size != int(size) for size in sizes):
            raise ValueError(f"--sizes must be whole numbers, got {arguments.sizes!r}")
        return chains(p, arguments.seeds, given(arguments.betas, "betas", p.gamma_betas),
                      given(arguments.D, "D", [p.D]), given(arguments.B, "B", None), arguments.reduced,
                      [int(size) for size in sizes], arguments.short)
    except (ValueError, TypeError) as error:
        raise Failure(str(error), code=2) from error


def _write(folder: Path, plan: list[Sweep], place: Any, errors: Any) -> int:
    """Write the tables of the complete sweeps; return how many there are."""
    from evae_companion import claims
    from evae_companion.cluster.tables import by_chain, by_stage, endings
    from evae_companion.store.serialization import save_table, write_json

    results = endings(plan, place)
    rows = by_chain(results, claims.criticals)
    os.makedirs(folder, exist_ok=True)
    if results:
        save_table(folder / STAGES, by_stage(results))
    if rows:
        save_table(folder / CHAINS, {name: [row[name] for row in rows] for name in rows[0]})
    write_json(folder / ENSEMBLE, {
        "ladders": len(plan), "complete": len(results), "chains": rows,
        "errors": [{"unit": deadline.describe(unit.specs()[-1]), "error": text} for unit, text in errors.items()]})
    return len(results)

"""The command ``evae preview``: every recorded notebook, figure and claim, from data/recorded; nothing is computed."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from evae_companion import places
from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import Failure, chosen_preset, human_size, print_card, user_errors
from evae_companion.store import deadline, preview

AT_ONCE = 2  # notebooks at a time: most of their seconds go into starting kernels and drawing, on one core each
COPIED = "00_recorded"  # claims of notebooks that are not recorded; sorts before the notebooks' own, which replace it


def show(arguments: Namespace, root: Path) -> int:
    """Run every notebook from the record of the largest lattice that holds it, and print the score card."""
    named = arguments.preset or os.environ.get("EVAE_PRESET")
    records = _records([chosen_preset(arguments.preset)] if named else None)
    built = root / "build" / "preview"
    paths = notebook_runner.sources(root, arguments.only)
    plan = {path: next((preset for preset, (_, names) in records.items() if path.stem in names), None)
            for path in paths}
    for path in paths:
        notebook_runner.check_parameter(path)
    used = {preset: records[preset][0] for preset in plan.values() if preset}
    judged = []  # presets whose record holds claims
    with user_errors():
        for preset, place in used.items():
            size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            print(f"recorded at preset {preset} on {preview.made(place)}: {_short(place, root)}, {human_size(size)}",
                  flush=True)
            if _copy_claims(place, built / preset):
                judged.append(preset)
    for path, chosen in plan.items():
        if chosen is None:
            first = next(iter(records))
            choice = f"--preset {first} " if path in notebook_runner.notebooks_of(root, first, own=True) else ""
            print(f"{path.stem} is not recorded yet; to compute it: evae figures {choice}--only {path.stem[:2]}",
                  flush=True)
    for preset, place in used.items():
        with notebook_runner.kernel_environment(preset, {
                preview.ENV: str(place), places.RECORDED: str(place.parent), places.FIGURES: str(built),
                deadline.ENV: None}), ThreadPoolExecutor(AT_ONCE) as pool:
            running = [pool.submit(_run, path, built / preset / path.name, root, preset)
                       for path, chosen in plan.items() if chosen == preset]
            try:
                for one in as_completed(running):
                    one.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    for preset in judged:
        print_card(built / preset, preset, f"**Recorded** on {preview.made(used[preset])} at preset {preset} "
                   f"({_short(used[preset], root)}): nothing was trained or measured for this card.\n\n")
    return 0


def _records(presets: list[str] | None) -> dict[str, tuple[Path, list[str]]]:
    """Return {preset: (record, notebooks that it shows)}, largest lattice first; None: of all presets.

    Raises
    ------
    Failure
        there is none, or a record is damaged.
    """
    from evae_companion import published
    from evae_companion.presets import PRESETS

    result = {}
    wanted = presets or sorted(PRESETS, key=lambda name: -PRESETS[name].size)
    with user_errors():
        for preset in wanted:
            place = places.record_folder(preset)
            if place is not None and (place / preview.INDEX).is_file():
                result[preset] = place.absolute(), published.notebooks(place)
    if not result:
        raise Failure(f"nothing is recorded of preset {' or '.join(wanted)} in "
                      f"{os.environ.get(places.RECORDED) or 'data/recorded'}; evae figures computes the figures")
    return result


def _run(path: Path, output: Path, root: Path, preset: str) -> None:
    from jupyter_core.utils import ensure_event_loop

    try:
        notebook_runner.run(path, output, root, {"preset": preset}, alone=False)
    finally:
        ensure_event_loop().close()  # Jupyter makes one per thread


def _short(place: Path, root: Path) -> Path:
    return place.relative_to(root) if place.is_relative_to(root) else place


def _copy_claims(place: Path, folder: Path) -> bool:
    """Begin the claims in ``folder`` with those of the record ``place``; return whether it holds any."""
    from evae_companion import claims, published

    shutil.rmtree(folder / "claims", ignore_errors=True)
    results = [claims.Result.parsed(one) for one in published.claims(place)]
    claims.save(folder, COPIED, results)
    return bool(results)

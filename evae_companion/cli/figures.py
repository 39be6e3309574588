"""Commands that run notebooks and show their results: figures, claims, notebooks."""

from __future__ import annotations

import hashlib
import os
import shutil
from argparse import Namespace
from pathlib import Path

from evae_companion import places
from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import (
    COMPLETE,
    DEFAULT_PRESET,
    OWN_PRESET,
    TIME_IS_OVER,
    Failure,
    chosen_preset,
    deadline_in,
    print_card,
    say_what_was_done,
    user_errors,
)
from evae_companion.store import deadline, preview

FEW_STEPS = 1000  # up to this number, at the smallest preset, the notebooks make short work of the trainings themselves


def figures(arguments: Namespace, root: Path) -> int:
    """Run the notebooks, at most until the deadline, and print the score card.

    All of them at a preset for the paper's notebooks alone: our own are then run at OWN_PRESET, after the others.
    """
    preset = chosen_preset(arguments.preset)
    paths = (notebook_runner.sources(root, arguments.only) if arguments.only
             else notebook_runner.notebooks_of(root, preset, arguments.all))
    own = [path for path in notebook_runner.sources(root, []) if path not in paths] if arguments.all else []
    if arguments.list:
        for path in (*paths, *own):
            print(f"{path.stem:<26}{notebook_runner.title(path)}".rstrip())
        return 0
    runs = {preset: paths} | ({OWN_PRESET: own} if own else {})
    until = deadline_in(arguments.minutes)
    for name, of_it in runs.items():
        if code := _run_at(name, of_it, until, arguments, root):
            return code
    for name, of_it in runs.items():  # all are complete: the next call is a new run
        _forget(root / "build" / name / COMPLETE, of_it)
    return 0


def _run_at(preset: str, paths: list[Path], until: str | None, arguments: Namespace, root: Path) -> int:
    """Run notebooks at one preset, at most ``until`` the deadline; return 0, or TIME_IS_OVER."""
    from evae_companion import bundle  # here: --list answers at once

    folder = _folder(preset)
    for path in paths:
        notebook_runner.check_parameter(path)
    settings = {places.RECORDED: "off", preview.ENV: None, deadline.ENV: until}
    if arguments.minutes is None:
        (root / "build" / preset / COMPLETE).unlink(missing_ok=True)
        with notebook_runner.kernel_environment(preset, settings):
            if not arguments.only:
                with user_errors():
                    bundle.train_all(preset, FEW_STEPS)
            for path in paths:
                _run(path, root, preset)
        return print_card(folder, preset)
    with notebook_runner.kernel_environment(preset, settings):
        over = _in_a_box(paths, root / "build" / preset, root, preset, arguments.minutes, train=not arguments.only)
    return over or print_card(folder, preset)


def _run(path: Path, root: Path, preset: str) -> None:
    """Run one notebook and list what it asks the store for, which ``evae publish`` records."""
    from evae_companion import bundle

    requests = notebook_runner.requests_file(root, preset, path.stem)
    partial = requests.with_suffix(".partial")  # a notebook that fails, or is stopped, has not asked for everything
    for file in (requests, partial):
        file.unlink(missing_ok=True)
    with notebook_runner.environment({preview.REQUESTS: str(partial)}):
        notebook_runner.run(path, root / "build" / preset / path.name, root, {"preset": preset})
    if partial.is_file():
        partial.replace(requests)
    with user_errors():
        bundle.thin_preset(preset)


def _in_a_box(paths: list[Path], built: Path, root: Path, preset: str, minutes: float, train: bool) -> int:
    """Train, if asked to, and run what earlier calls have not completed, at most until the deadline.

    Returns 0 if all is complete. Otherwise prints what is next and returns TIME_IS_OVER.
    """
    from evae_companion import bundle
    from evae_companion.store.serialization import read_json, write_json
    from evae_companion.store.store import Store

    with user_errors():
        store = Store()
    before = store.names()
    code = _digest(*sorted((Path(__file__).parents[1]).rglob("*.py"))) + f" {store.root} {_folder(preset)} "
    stamps = {path.stem: code + _digest(path) for path in paths}
    done = {}
    if (built / COMPLETE).is_file():
        try:
            done = dict(read_json(built / COMPLETE))
        except (ValueError, TypeError):
            print(f"{built / COMPLETE} is damaged; every notebook is looked at again", flush=True)
    if train and any(done.get(name) != stamp for name, stamp in stamps.items()):
        try:
            bundle.train_all(preset, FEW_STEPS)
        except deadline.DeadlineExceeded as over:
            say_what_was_done(store, before)
            print(f"complete: no notebook; in the trainings: {over}")
            print(f"the {minutes:g} minutes are over; the same command goes on from here", flush=True)
            return TIME_IS_OVER
    for path in paths:
        if done.get(path.stem) == stamps[path.stem]:
            print(f"{path.stem} is complete", flush=True)
            continue
        try:
            if deadline.passed():
                raise deadline.DeadlineExceeded(f"next is {path.stem}")
            _run(path, root, preset)
        except deadline.DeadlineExceeded as over:
            complete = [p.stem for p in paths if done.get(p.stem) == stamps[p.stem]]
            say_what_was_done(store, before)
            print(f"complete: {', '.join(complete) or 'no notebook yet'}; in {path.stem}: {over}")
            print(f"the {minutes:g} minutes are over; the same command goes on from here", flush=True)
            return TIME_IS_OVER
        done[path.stem] = stamps[path.stem]
        write_json(built / COMPLETE, done)
    say_what_was_done(store, before)
    return 0


def _forget(complete: Path, paths: list[Path]) -> None:
    """Remove notebooks from the file ``complete``, if there is one."""
    from evae_companion.store.serialization import read_json, write_json

    if complete.is_file():
        names = {path.stem for path in paths}
        write_json(complete, {name: stamp for name, stamp in read_json(complete).items() if name not in names})


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def claims(arguments: Namespace, root: Path) -> int:
    """Print the score card of what has been measured."""
    preset = chosen_preset(arguments.preset)
    folder = _folder(preset)
    if not folder.is_dir():
        raise Failure(f"nothing is measured yet at preset {preset!r}: {folder} does not exist; "
                      f"run evae figures --preset {preset}")
    return print_card(folder, preset)


def notebooks(arguments: Namespace, root: Path) -> int:
    """Rebuild the .ipynb from the .py: pair, execute into build/, and only then put the result beside the .py."""
    import nbformat
    from jupytext.cli import jupytext

    built = root / "build" / "notebooks"
    built.mkdir(parents=True, exist_ok=True)
    records = root / "data" / "recorded"
    for path in notebook_runner.sources(root, arguments.only):
        at = DEFAULT_PRESET if path.stem[:2] <= notebook_runner.LAST_OF_THE_PAPER else OWN_PRESET
        preset = chosen_preset(arguments.preset or at)
        settings = ({places.RECORDED: str(records), preview.ENV: str(records / preset)} if arguments.recorded else
                    {places.RECORDED: "off", preview.ENV: None}) | {deadline.ENV: None}
        with notebook_runner.kernel_environment(preset, settings):
            source, target = path.with_suffix(".py"), path.with_suffix(".ipynb")
            if not source.is_file():
                raise Failure(f"{target.name} has no source {source.name} beside it; "
                              f"make one with jupytext --to py:percent {target}")
            paired = built / f"{path.stem}.paired.ipynb"
            if target.is_file():  # --update keeps its cells' ids, so that a changed notebook has a short diff
                shutil.copyfile(target, paired)
            jupytext(["--quiet", "--to", "ipynb", "--update", "--output", str(paired), str(source)])
            notebook_runner.check_parameter(paired)
            executed = built / target.name
            notebook_runner.run(paired, executed, root, None)
            notebook = nbformat.read(executed, as_version=4)
            notebook_runner.strip(notebook)
            nbformat.write(notebook, executed)
            os.replace(executed, target)
            paired.unlink()
    return 0


def _folder(preset: str) -> Path:
    from evae_companion.places import figures_folder
    from evae_companion.presets import PRESETS

    return figures_folder(PRESETS[preset])

"""The command ``evae publish``: copies a finished run to data/recorded/<preset> and figures/<preset>."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

from evae_companion.cli import notebook_runner
from evae_companion.cli.errors import Failure, chosen_preset, user_errors

# The figures that a notebook's source saves; one within an "if" (indented) is not made in every run.
_FIGURE = re.compile(r'^( *)plotting\.save\(\w+, figures, "([^"]+)"', re.MULTILINE)
_CLAIMS = re.compile(r'\bclaims\.save\(figures, "([^"]+)"')
CARD = "claims.md"


def publish(arguments: Namespace, root: Path) -> int:
    """Check that a run is complete, write its record, and copy its figures and claims to figures/<preset>.

    With ``--own`` the run is that of our own notebooks alone.
    """
    from evae_companion import publish
    from evae_companion.places import figures_folder
    from evae_companion.presets import PRESETS
    from evae_companion.store.store import Store

    preset = PRESETS[chosen_preset(arguments.preset)]
    if arguments.stages:
        with user_errors():
            print(*publish.record_stages(preset, Store()), sep="\n")
        return 0
    made, target = figures_folder(preset), root / "figures" / preset.name
    if made.resolve() == target.resolve():
        raise Failure(f"EVAE_FIGURES puts the run's figures into {target}, where they are published; "
                      "unset it, and run figures again")
    with user_errors():
        paths = _run_of(root, preset.name, arguments.own)
        contents, unchanged = _contents(preset.name, paths, made, target)
        requests = _requests(root, preset.name, paths)
        for line in (publish.record_notebooks(preset, Store(), requests) if arguments.own
                     else publish.record(preset, Store(), made, requests)):
            print(line)
        print(f"a preview shows {', '.join(requests) or 'what earlier records showed'}")
    _replace(target, contents)
    if unchanged:
        print(f"not made in this run, so left as published: {', '.join(unchanged)}")
    print(f"{len(contents)} files in {target}, compared with {made}")
    return 0


def _run_of(root: Path, preset: str, own_alone: bool) -> list[Path]:
    """Return the notebooks of the run that is published."""
    paths = notebook_runner.notebooks_of(root, preset, own=True)
    if not own_alone:
        return paths
    own = [path for path in paths if path.stem[:2] > notebook_runner.LAST_OF_THE_PAPER]
    if not own:
        raise Failure(f"preset {preset} is for the paper's notebooks alone; publish without --own")
    return own


def _requests(root: Path, preset: str, paths: list[Path]) -> dict[str, list[str]]:
    """Return {notebook: names of the artifacts it asked for} of the notebooks that a run has listed."""
    files = {path.stem: notebook_runner.requests_file(root, preset, path.stem) for path in paths}
    return {name: file.read_text(encoding="utf-8").split() for name, file in files.items() if file.is_file()}


def saved(paths: list[Path]) -> tuple[dict[str, bool], list[str]]:
    """Return what notebooks save: {figure: whether every run makes it}, and the files of claims."""
    sources = [path.with_suffix(".py").read_text(encoding="utf-8") for path in paths]
    figures = {name: not indent for text in sources for indent, name in _FIGURE.findall(text)}
    return figures, [name for text in sources for name in _CLAIMS.findall(text)]


def _contents(preset: str, paths: list[Path], made: Path, target: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return {name in figures/<preset>: its bytes}, and which of them stay as published before.

    The latter are figures that not every run makes, and this one did not. Raises Failure if a file is missing.
    """
    from evae_companion import claims
    from evae_companion.presets import PRESETS

    figures, claimed = saved(paths)
    files = {f"claims/{name}.json": made / "claims" / f"{name}.json" for name in claimed}
    unchanged = []
    for figure, always in figures.items():
        for name in (f"{figure}.png", f"{figure}.pdf", f"{figure}.txt"):
            if always or (made / name).is_file():
                files[name] = made / name
            elif (target / name).is_file():
                files[name] = target / name
                unchanged.append(name)
    if missing := [name for name, path in files.items() if not path.is_file()]:
        raise Failure(f"the run in {made} is not complete: {len(missing)} files missing, first {missing[0]}; "
                      f"run evae figures --all --preset {preset}")
    card = {CARD: claims.card(made, PRESETS[preset].small).encode()} if claimed else {}
    return {name: path.read_bytes() for name, path in files.items()} | card, unchanged


def _replace(folder: Path, contents: dict[str, bytes]) -> None:
    """Replace ``folder`` by ``contents``. Raises Failure if its files differ afterwards."""
    from evae_companion.store.serialization import replaced_folder

    with replaced_folder(folder) as partial:
        for name, content in contents.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
    if wrong := [name for name, content in contents.items() if (folder / name).read_bytes() != content]:
        raise Failure(f"{folder / wrong[0]} is not what was made; run the same command again")

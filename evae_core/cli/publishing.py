"""The command that puts a finished run into the repository: data/recorded/<preset> and figures/<preset>."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from evae_core.cli import running
from evae_core.cli.words import Failure, chosen_preset, plainly

# What a notebook's source saves; a figure within an "if" is not made in every run.
_FIGURE = re.compile(r'^( *)plotting\.save\(\w+, figures, "([^"]+)"', re.MULTILINE)
_CLAIMS = re.compile(r'\bclaims\.save\(figures, "([^"]+)"')
CARD = "claims.md"


def publish(arguments: Namespace, root: Path) -> int:
    """Check that a run is complete, then write its record, and copy its figures and claims to figures/<preset>."""
    from evae_core import recording
    from evae_core.presets import PRESETS, figures_folder
    from evae_core.store import Store

    preset = PRESETS[chosen_preset(arguments.preset)]
    made, target = figures_folder(preset), root / "figures" / preset.name
    if made.resolve() == target.resolve():
        raise Failure(f"EVAE_FIGURES puts the run's figures into {target}, where they are published; "
                      "unset it, and run figures again")
    files = _files(preset.name, root, made, target)
    with plainly():
        for line in recording.record(preset, Store(), made):
            print(line)
        for line in _copy(files, made, target):
            print(line)
    return 0


def saved(root: Path) -> tuple[dict[str, bool], list[str]]:
    """What the notebooks save: {figure: whether every run makes it}, and the files of claims."""
    sources = [path.with_suffix(".py").read_text(encoding="utf-8") for path in running.sources(root, [])]
    figures = {name: not indent for text in sources for indent, name in _FIGURE.findall(text)}
    return figures, [name for text in sources for name in _CLAIMS.findall(text)]


def _files(preset: str, root: Path, made: Path, target: Path) -> dict[str, Path]:
    """{name in figures/<preset>: the file to copy}; Failure where one is missing.

    A figure that not every run makes, and this one did not, stays as it was published before.
    """
    figures, claimed = saved(root)
    files = {f"claims/{name}.json": made / "claims" / f"{name}.json" for name in claimed}
    for figure, always in figures.items():
        for name in (f"{figure}.png", f"{figure}.pdf"):
            if always or (made / name).is_file():
                files[name] = made / name
            elif (target / name).is_file():
                files[name] = target / name
    if missing := [name for name, path in files.items() if not path.is_file()]:
        raise Failure(f"the run in {made} is not complete: {len(missing)} files missing, first {missing[0]}; "
                      f"run python -m evae_core figures --preset {preset}")
    return files


def _copy(files: dict[str, Path], made: Path, target: Path) -> Iterator[str]:
    """Put ``files`` and the score card of their claims in place of ``target``; yield a line about it.

    RuntimeError where what lies there afterwards is not what was made.
    """
    from evae_core import claims
    from evae_core.files import replaced_folder

    contents = {name: path.read_bytes() for name, path in files.items()}
    contents[CARD] = claims.card(made).encode()
    kept = sorted(name for name, path in files.items() if path.parent == target)
    with replaced_folder(target) as partial:
        for name, content in contents.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
    if wrong := [name for name, content in contents.items() if (target / name).read_bytes() != content]:
        raise RuntimeError(f"{target / wrong[0]} is not what was made; run the same command again")
    if kept:
        yield f"not made in this run, so left as published: {', '.join(kept)}"
    yield f"{len(contents)} files in {target}, the same bytes as in {made}"

"""Execution of the notebooks: papermill runs the .ipynb in order, and errors become messages for the user."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evae_companion import progress
from evae_companion.cli.errors import DEFAULT_PRESET, Failure
from evae_companion.store.deadline import DeadlineExceeded

# papermill and the like are imported where they are needed, so that --help answers at once.

_NOTEBOOK = re.compile(r"\d\d_.+")
# ipykernel warns at each start that it listens on this machine without encryption; its errors are still shown. Its own
# watch over its parent only recognises process 1 as the one that adopts orphans, hence the extension.
KERNEL_ARGUMENTS = ["--log-level=ERROR", "--IPKernelApp.extra_extensions=evae_companion.parent_watchdog"]
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
LAST_OF_THE_PAPER = "07"  # 00, the one to start with, to 07 show the paper's figures; those above are our own


def sources(root: Path, only: Sequence[str]) -> list[Path]:
    """Return the notebooks in order, as .ipynb paths that may not exist yet; if ``only`` is given, those numbers."""
    folder = root / "notebooks"
    files = [*folder.glob("*.py"), *folder.glob("*.ipynb")] if folder.is_dir() else []
    stems = sorted({path.stem for path in files if _NOTEBOOK.fullmatch(path.stem)})
    if not stems:
        raise Failure(f"there are no notebooks NN_*.ipynb in {folder}")
    numbers = [number.zfill(2) for number in only]
    unknown = [number for number in numbers if number not in {stem[:2] for stem in stems}]
    if unknown:
        raise Failure(f"--only must be numbers among {', '.join(stem[:2] for stem in stems)}, "
                      f"got {', '.join(unknown)}", code=2)
    return [folder / f"{stem}.ipynb" for stem in stems if not numbers or stem[:2] in numbers]


def notebooks_of(root: Path, preset: str, own: bool) -> list[Path]:
    """Return the paper's notebooks, with our own (``own``) where the preset is for them too; paths as of `sources`."""
    from evae_companion.presets import PRESETS

    everything = own and not PRESETS[preset].paper_only
    return [path for path in sources(root, []) if everything or path.stem[:2] <= LAST_OF_THE_PAPER]


def requests_file(root: Path, preset: str, notebook: str) -> Path:
    """Return the file in which a run lists the artifacts that a notebook asks for."""
    return root / "build" / preset / "requests" / f"{notebook}.txt"


def title(path: Path) -> str:
    """Return the heading of a notebook, from its .py; empty if it has none."""
    source = path.with_suffix(".py")
    match = re.search(r"^# # (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE) if source.is_file() else None
    return match[1] if match else ""


def _escape(path: Path) -> str:
    """Return the path escaped for papermill, which takes braces in paths for fields to fill in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def check_parameter(path: Path) -> None:
    """Raise Failure unless the notebook has a parameter "preset".

    papermill only logs an unknown parameter and runs on with the notebook's own preset.
    """
    import papermill
    from nbformat import ValidationError

    if not path.is_file():
        raise Failure(f"{path.name} is missing, its source {path.stem}.py is there; "
                      f"make it with evae notebooks --only {path.stem[:2]}")
    try:
        known = papermill.inspect_notebook(_escape(path))
    except (ValueError, ValidationError) as error:  # not a notebook, or one that does not say its language
        raise Failure(f"{path.name} cannot be run: {error}") from error
    if "preset" not in known:
        raise Failure(f'{path.name} has no parameter "preset": give the tag "parameters" to the cell that says '
                      f'preset = "{DEFAULT_PRESET}", and keep plain constants in it')


@contextmanager
def kernel_environment(preset: str, settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set what kernels inherit: EVAE_PRESET (overrides the parameter), ``settings``, no MPLBACKEND, no bars."""
    if backend := os.environ.get("MPLBACKEND"):  # Agg, for example, gives executed notebooks without figures
        print(f"MPLBACKEND={backend} is left out: notebooks draw with the inline backend", flush=True)
    with environment({"EVAE_PRESET": preset, "MPLBACKEND": None, progress.ENV: "lines", **settings}):
        yield


@contextmanager
def environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables (None unsets one), and restore them at the end."""
    before = {name: os.environ.get(name) for name in settings}
    _set(settings)
    try:
        yield
    finally:
        _set(before)


def _set(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def run(path: Path, output: Path, root: Path, parameters: dict[str, Any] | None, alone: bool = True) -> None:
    """Execute one notebook into ``output``; with others beside (not ``alone``) its line is printed at its end.

    Raises
    ------
    Failure
        an error in the notebook; the message names the notebook, the cell and the error.
    DeadlineExceeded
        the deadline stopped it.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    from evae_companion.cli.kernel_client import Manager
    from evae_companion.store.serialization import partial_path

    output.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(output)  # a folder: papermill wants the name to end in .ipynb
    partial.mkdir()
    name, terminal = path.stem.removesuffix(".paired"), alone and sys.stderr.isatty()
    if alone:
        print(f"{name} ...", end="\n" if terminal else " ", flush=True)
    again = f"{name} " if terminal or not alone else ""
    start = time.perf_counter()
    try:
        try:
            papermill.execute_notebook(_escape(path), _escape(partial / output.name), parameters,
                                       kernel_name="python3", cwd=str(root), progress_bar=terminal,
                                       extra_arguments=KERNEL_ARGUMENTS, kernel_manager_class=Manager)
        finally:
            if (partial / output.name).is_file():
                (partial / output.name).replace(output)
            shutil.rmtree(partial, ignore_errors=True)
    except (papermill.PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        if getattr(error, "ename", "") == DeadlineExceeded.__name__:
            print(f"{again}stopped", flush=True)
            raise DeadlineExceeded(getattr(error, "evalue", "")) from error
        print(f"{again}failed", flush=True)
        if isinstance(error, papermill.PapermillExecutionError):
            what = f"{error.ename}: {_ANSI.sub('', error.evalue)}"
        elif isinstance(error, DeadKernelError):
            what = "the kernel died (out of memory, or a crash in compiled code)"
        else:
            what = str(error)
        raise Failure(f"{path.name} failed in {_failed_cell(output)}: {what}\n"
                      f"the partial copy, with the whole traceback: {output}") from error
    print(f"{again}{time.perf_counter() - start:.1f} s", flush=True)


def _failed_cell(output: Path) -> str:
    """Return the last cell started in the partial copy: its number among the code cells, and its first line."""
    import nbformat

    cells = [cell for cell in nbformat.read(output, as_version=4).cells
             if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])]
    # After a dead kernel papermill calls every cell completed; only those that were started carry a time.
    begun = [number for number, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    if not begun:
        return "its first cell"
    return f"code cell {begun[-1] + 1} ({(cells[begun[-1]].source.strip().splitlines() or ['empty'])[0]!r})"


def strip(notebook: Any) -> None:
    """Remove from an executed notebook, in place, what must not be committed: widget state, times, paths."""
    for name in ("widgets", "papermill"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)

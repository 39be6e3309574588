"""``python -m evae_core``: run the notebooks in order, print the score card, look after the store.

::

    python -m evae_core figures [--preset smoke|laptop|paper] [--only 03 06 ...] [--list]
    python -m evae_core claims [--preset ...]      the paper's claims, measured: the score card
    python -m evae_core notebooks [--only ...]     make the .ipynb anew from the .py, executed at the laptop preset
    python -m evae_core clean [--yes]              remove every artefact of the store
    python -m evae_core info                       versions, device, store

Exit codes: 0 done, 1 something failed (the last line says what), 2 the command line is wrong, 130 stopped by hand.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# torch, papermill and the like are imported by the command that needs them, so that --help answers at once.

DEFAULT_PRESET = "laptop"
_NOTEBOOK = re.compile(r"\d\d_.+")
# ipykernel warns at each start that it listens on this machine without encryption; its errors are still shown.
KERNEL_ARGUMENTS = ["--log-level=ERROR"]
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Failure(Exception):
    """What went wrong, in words for the reader; ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def main(argv: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Run one command and return its exit code.

    ``root`` is the folder that holds notebooks/ and build/: the repository unless a test says otherwise. Artefacts and
    figures lie where ``store.default_root`` and ``presets.figures_folder`` say.
    """
    root = Path(__file__).resolve().parents[1] if root is None else Path(root)
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments, root)
    except Failure as failure:
        print(f"evae_core: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:  # a full or read-only disk, say
        print(f"evae_core: {error}; free room there, or set EVAE_FIGURES and EVAE_STORE to other folders",
              file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evae_core: stopped; the next run goes on from the artefacts that are complete", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evae_core", description="Figures, claims and store of the E-VAE "
                                     "companion.")
    commands = parser.add_subparsers(required=True, metavar="command")
    preset = {"help": "smoke, laptop or paper (default: EVAE_PRESET where it is set, else laptop)"}
    only = {"nargs": "+", "metavar": "NN", "default": [], "help": "numbers of the notebooks to run (default: all)"}

    figures = commands.add_parser("figures", help="run the notebooks in order and write the figures")
    figures.add_argument("--preset", **preset)
    figures.add_argument("--only", **only)
    figures.add_argument("--list", action="store_true", help="list the notebooks and run none")
    figures.set_defaults(run=_run_figures)

    claims = commands.add_parser("claims", help="print the score card: the paper's claims, measured")
    claims.add_argument("--preset", **preset)
    claims.set_defaults(run=_claims)

    notebooks = commands.add_parser("notebooks", help="make the .ipynb anew from the .py, executed at laptop preset")
    notebooks.add_argument("--only", **only)
    notebooks.set_defaults(run=_notebooks)

    clean = commands.add_parser("clean", help="remove every artefact of the store")
    clean.add_argument("--yes", action="store_true", help="do not ask")
    clean.set_defaults(run=_clean)

    commands.add_parser("info", help="versions, device, store").set_defaults(run=_info)
    return parser


# The commands ------------------------------------------------------------------------------------------------------

def _run_figures(arguments, root: Path) -> int:
    preset = _preset(arguments.preset)
    if arguments.list:
        for path in _sources(root, arguments.only):
            print(path.stem)
        return 0
    folder = _figures(preset)
    paths = _sources(root, arguments.only)
    for path in paths:
        _check_parameter(path)
    with _kernel_environment(preset):
        for path in paths:
            _run(path, root / "build" / preset / path.name, root, {"preset": preset})
    return _print_card(folder)


def _claims(arguments, root: Path) -> int:
    preset = _preset(arguments.preset)
    folder = _figures(preset)
    if not folder.is_dir():
        raise Failure(f"nothing is measured yet at preset {preset!r}: {folder} does not exist; "
                      f"run python -m evae_core figures --preset {preset}")
    return _print_card(folder)


def _notebooks(arguments, root: Path) -> int:
    """The .py is the source: pair, execute into build/, and only then put the result beside the .py."""
    import nbformat
    from jupytext.cli import jupytext

    built = root / "build" / "notebooks"
    built.mkdir(parents=True, exist_ok=True)
    with _kernel_environment(DEFAULT_PRESET):
        for path in _sources(root, arguments.only):
            source, target = path.with_suffix(".py"), path.with_suffix(".ipynb")
            if not source.is_file():
                raise Failure(f"{target.name} has no source {source.name} beside it; "
                              f"make one with jupytext --to py:percent {target}")
            paired = built / f"{path.stem}.paired.ipynb"
            if target.is_file():  # --update keeps its cells' ids, so that a changed notebook has a short diff
                shutil.copyfile(target, paired)
            jupytext(["--quiet", "--to", "ipynb", "--update", "--output", str(paired), str(source)])
            _check_parameter(paired)
            executed = built / target.name
            _run(paired, executed, root, None)
            notebook = nbformat.read(executed, as_version=4)
            strip(notebook)
            nbformat.write(notebook, executed)
            os.replace(executed, target)
            paired.unlink()
    return 0


def _clean(arguments, root: Path) -> int:
    from evae_core.store import Store

    with _plainly():
        store = Store()
    size = store.size()
    if not size:
        print(f"{store.root} holds no artefacts")
        return 0
    if not arguments.yes:
        question = f"remove every artefact, {human_size(size)}, from {store.root}?"
        if not sys.stdin.isatty():
            raise Failure(f"{question} Say so with --yes", code=2)
        if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing removed")
            return 0
    with _plainly():
        removed = store.clean()
    for name, bytes_ in removed.items():
        print(f"{human_size(bytes_):>10}  {name}")
    print(f"{human_size(sum(removed.values())):>10}  removed from {store.root}")
    return 0


def _info(arguments, root: Path) -> int:
    from importlib import metadata

    import torch

    from evae_core.store import Store

    def version(package):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "not installed"

    print(f"{'python':<16}{sys.version.split()[0]}  {sys.executable}")
    packages = ("evae-core", "torch", "numpy", "numba", "matplotlib", "ipywidgets", "papermill", "jupyterlab")
    cupy = [name for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy") if version(name) != "not installed"]
    for package in (*packages, *(cupy or ["cupy"])):
        print(f"{package:<16}{version(package)}")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    print(f"{'device':<16}{device}, {torch.get_num_threads()} CPU threads")
    print(f"{'preset':<16}{os.environ.get('EVAE_PRESET') or DEFAULT_PRESET}")
    with _plainly():
        store = Store()
    print(f"{'store':<16}{store.root}, {human_size(store.size())}")
    return 0


# What they share ---------------------------------------------------------------------------------------------------

def _preset(chosen: str | None) -> str:
    """The preset's name, checked. --preset goes before EVAE_PRESET, and says so where they differ."""
    from evae_core.presets import PRESETS

    named = os.environ.get("EVAE_PRESET") or None
    preset = chosen or named or DEFAULT_PRESET
    if preset not in PRESETS:
        where = "--preset" if chosen else "EVAE_PRESET"
        raise Failure(f"{where} must be one of {', '.join(PRESETS)}, got {preset!r}", code=2)
    if named and named != preset:
        print(f"EVAE_PRESET is {named} in your environment; --preset {preset} goes before it in this run", flush=True)
    return preset


@contextmanager
def _plainly() -> Iterator[None]:
    """The store's errors are sentences for the reader: show them without a traceback."""
    try:
        yield
    except RuntimeError as error:
        raise Failure(str(error)) from error


def _figures(preset: str) -> Path:
    from evae_core.presets import PRESETS, figures_folder

    return figures_folder(PRESETS[preset])


def _sources(root: Path, only: Sequence[str]) -> list[Path]:
    """The notebooks, as .ipynb paths that may not exist yet, in order; those numbered in ``only`` where it is given."""
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


def _escape(path: Path) -> str:
    """The path for papermill, which takes braces in paths for fields to fill in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _check_parameter(path: Path) -> None:
    """papermill only logs an unknown parameter and runs on with the notebook's own preset: look before."""
    import papermill
    from nbformat import ValidationError

    if not path.is_file():
        raise Failure(f"{path.name} is missing, its source {path.stem}.py is there; "
                      f"make it with python -m evae_core notebooks --only {path.stem[:2]}")
    try:
        known = papermill.inspect_notebook(_escape(path))
    except (ValueError, ValidationError) as error:  # not a notebook, or one that does not say its language
        raise Failure(f"{path.name} cannot be run: {error}") from error
    if "preset" not in known:
        raise Failure(f'{path.name} has no parameter "preset": give the tag "parameters" to the cell that says '
                      f'preset = "{DEFAULT_PRESET}", and keep plain constants in it')


@contextmanager
def _kernel_environment(preset: str) -> Iterator[None]:
    """Set what the kernels inherit: EVAE_PRESET, which goes before the parameter, and no MPLBACKEND."""
    before = {name: os.environ.get(name) for name in ("EVAE_PRESET", "MPLBACKEND")}
    os.environ["EVAE_PRESET"] = preset
    if os.environ.pop("MPLBACKEND", None):  # Agg, say, gives executed notebooks without figures
        print(f"MPLBACKEND={before['MPLBACKEND']} is left out: notebooks draw with the inline backend", flush=True)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _run(path: Path, output: Path, root: Path, parameters: dict | None) -> None:
    """Execute one notebook into ``output``; raise Failure with the notebook, the cell and the error in plain words."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    output.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr.isatty()
    print(f"{path.stem.removesuffix('.paired')} ...", end="\n" if terminal else " ", flush=True)
    start = time.perf_counter()
    try:
        papermill.execute_notebook(_escape(path), _escape(output), parameters, kernel_name="python3", cwd=str(root),
                                   progress_bar=terminal, extra_arguments=KERNEL_ARGUMENTS)
    except (papermill.PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        print("failed", flush=True)
        if isinstance(error, papermill.PapermillExecutionError):
            what = f"{error.ename}: {_ANSI.sub('', error.evalue)}"
        elif isinstance(error, DeadKernelError):
            what = "the kernel died (out of memory, or a crash in compiled code)"
        else:
            what = str(error)
        raise Failure(f"{path.name} failed in {_failed_cell(output)}: {what}\n"
                      f"the partial copy, with the whole traceback: {output}") from error
    print(f"{path.stem.removesuffix('.paired')} {time.perf_counter() - start:.1f} s" if terminal
          else f"{time.perf_counter() - start:.1f} s", flush=True)


def _failed_cell(output: Path) -> str:
    """The cell of the partial copy that was begun last: its number among the notebook's code cells, its first line."""
    import nbformat

    cells = [cell for cell in nbformat.read(output, as_version=4).cells
             if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])]
    # After a dead kernel papermill calls every cell completed; only those that were begun carry a time.
    begun = [number for number, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    if not begun:
        return "its first cell"
    return f"code cell {begun[-1] + 1} ({(cells[begun[-1]].source.strip().splitlines() or ['empty'])[0]!r})"


def strip(notebook) -> None:
    """Remove from an executed notebook what a committed one must not carry: widget state, times, paths (in place)."""
    for name in ("widgets", "papermill"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)


def _print_card(folder: Path) -> int:
    from evae_core import claims

    try:
        card = claims.card(folder)
    except ValueError as error:  # a damaged record of claims
        raise Failure(str(error)) from error
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "claims.md.partial"
    partial.write_text(card, encoding="utf-8")
    os.replace(partial, folder / "claims.md")
    print(card)
    print(f"written to {folder / 'claims.md'}")
    return 0


def human_size(count: int) -> str:
    """Bytes in words: 0 B, 1.5 KiB, 3.2 GiB."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, _ = size / 1024, units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


if __name__ == "__main__":
    sys.exit(main())

"""Commands that manage computed results: pack, unpack, search, clean, info."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from evae_companion.cli.errors import COMPLETE, DEFAULT_PRESET, Failure, chosen_preset, human_size, user_errors


def pack(arguments: Namespace, root: Path) -> int:
    """Write what a later call on another machine needs, in files small enough to copy by hand."""
    from evae_companion import bundle
    from evae_companion.presets import PRESETS
    from evae_companion.store.store import Store

    with user_errors():
        for line in bundle.pack(PRESETS[chosen_preset(arguments.preset)], Store(), Path(arguments.folder)):
            print(line)
    return 0


def unpack(arguments: Namespace, root: Path) -> int:
    """Import a packed folder into the store."""
    from evae_companion import bundle
    from evae_companion.store.store import Store

    with user_errors():
        for line in bundle.unpack(Path(arguments.folder), Store()):
            print(line)
    return 0


def search(arguments: Namespace, root: Path) -> int:
    """Search for the lowest-energy state of a preset's periodic box; print the candidates and write data/known."""
    from evae_companion import publish_known
    from evae_companion.data_specs import data_spec
    from evae_companion.experiments.ground_state import cached_candidates, search_of, spec
    from evae_companion.presets import PRESETS
    from evae_companion.store.store import Store

    preset = PRESETS[chosen_preset(arguments.preset)]
    data = data_spec(preset)
    with user_errors():
        result = cached_candidates(data.hamiltonian, data.shape, search_of(preset), report=print)
        for number, c in enumerate(result.candidates, 1):
            print(f"{number:3d}  {c.energy:.9f} J  charge {round(c.charge, 2) + 0.0:7.2f}  torque {c.torque:.1e} J  "
                  f"found {c.found:4d} times  {c.kind}: {c.description}")
        for line in publish_known.record_search(preset, Store(), spec(data.hamiltonian, data.shape, search_of(preset))):
            print(line)
    return 0


def study(arguments: Namespace, root: Path) -> int:
    """Train what answers one question of ours, which no run of the notebooks trains.

    Every part is written into data/known as soon as it is there, so that whoever stops this goes on from there.
    """
    from evae_companion import publish_known, published
    from evae_companion.experiments import data_order, training_choices
    from evae_companion.experiments.study import Part
    from evae_companion.presets import PRESETS
    from evae_companion.store.store import Store

    preset = PRESETS[chosen_preset(arguments.preset)]
    module = {"data_order": data_order, "training_choices": training_choices}[arguments.what]
    current = [part.spec for part in module.parts(preset).values()]

    def done(part: Part) -> None:
        if published.find(preset.name, part.spec) is None:
            for line in publish_known.record_part(preset, Store(), part.spec, current):
                print(line, flush=True)

    with user_errors():
        module.run(preset, report=print, done=done)
    return 0


def clean(arguments: Namespace, root: Path) -> int:
    """Remove every artifact of the store, after asking."""
    from evae_companion.store.store import Store

    with user_errors():
        store = Store()
    size = store.size()
    if not size:
        print(f"{store.root} holds no artifacts")
        return 0
    if not arguments.yes:
        question = f"remove every artifact, {human_size(size)}, from {store.root}?"
        if not sys.stdin.isatty():
            raise Failure(f"{question} Say so with --yes", code=2)
        if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing removed")
            return 0
    with user_errors():
        removed = store.clean()
    for mark in (root / "build").glob(f"*/{COMPLETE}"):  # without artifacts no notebook is complete
        mark.unlink()
    for name, bytes_ in removed.items():
        print(f"{human_size(bytes_):>10}  {name}")
    print(f"{human_size(sum(removed.values())):>10}  removed from {store.root}")
    return 0


def info(arguments: Namespace, root: Path) -> int:
    """Print versions, device and store."""
    from importlib import metadata

    import torch

    from evae_companion.store.store import Store

    def version(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "not installed"

    print(f"{'python':<16}{sys.version.split()[0]}  {sys.executable}")
    packages = ("evae", "torch", "numpy", "numba", "matplotlib", "ipywidgets", "papermill", "jupyterlab")
    cupy = [name for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy") if version(name) != "not installed"]
    for package in (*packages, *(cupy or ["cupy"])):
        print(f"{package:<16}{version(package)}")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    print(f"{'device':<16}{device}, {torch.get_num_threads()} CPU threads")
    print(f"{'preset':<16}{os.environ.get('EVAE_PRESET') or DEFAULT_PRESET}")
    with user_errors():
        store = Store()
    print(f"{'store':<16}{store.root}, {human_size(store.size())}")
    return 0

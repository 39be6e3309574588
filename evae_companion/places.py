"""Paths of the repository, the store, the published results and the figures.

All other modules get their paths here, so that the package works from a checkout and from a wheel alike.
"""

from __future__ import annotations

import os
from pathlib import Path

from evae_core.presets import Preset

PACKAGES = Path(__file__).resolve().parents[1]  # the folder that holds this package and the core
RECORDED, FIGURES = "EVAE_RECORDED", "EVAE_FIGURES"


def repository() -> Path | None:
    """Return the checkout that this package is used from, or None if it was installed on its own."""
    return PACKAGES if (PACKAGES / "pyproject.toml").is_file() and (PACKAGES / "notebooks").is_dir() else None


def need_repository(what: str) -> Path:
    """Return the checkout; without one, raise a RuntimeError that says that ``what`` needs it."""
    if (root := repository()) is None:
        raise RuntimeError(f"{what} needs the repository, and evae is installed on its own in {PACKAGES}; clone the "
                           "repository and install it from there (make .venv)")
    return root


def store_root() -> Path:
    """Return the folder of the artifacts: $EVAE_STORE, else data/store in the checkout, else the user's cache folder.

    In that cache folder it is ``evae/store``.
    """
    if chosen := os.environ.get("EVAE_STORE"):
        return Path(chosen).expanduser().absolute()
    if (root := repository()) is not None:
        return root / "data" / "store"
    import platformdirs  # here: a bare machine that trains from a checkout may lack it

    return platformdirs.user_cache_path("evae") / "store"


def record_folder(preset: str) -> Path | None:
    """Return the folder of a preset's published results: $EVAE_RECORDED/<preset>, else data/recorded/<preset>.

    It is None if EVAE_RECORDED is "off", or if it is not set and there is no checkout.
    """
    chosen, root = os.environ.get(RECORDED), repository()
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen) / preset
    return None if root is None else root / "data" / "recorded" / preset


def known_folder(preset: str, kind: str) -> Path:
    """Return the folder of a published result that is only made on request: data/known/<preset>/<kind>."""
    return PACKAGES / "data" / "known" / preset / kind


def figures_folder(preset: Preset) -> Path:
    """Return the folder for the figures and claims of a run: $EVAE_FIGURES/<name>, else build/<name>/figures.

    The latter is in the checkout, or without one in the current folder. The committed figures are in figures/<name>,
    where only ``evae publish`` writes.
    """
    if root := os.environ.get(FIGURES):
        return Path(root) / preset.name
    return (repository() or Path.cwd()) / "build" / preset.name / "figures"

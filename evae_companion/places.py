"""Where things lie: the repository, the store, records and figures.

Everything else of the package asks here, so that it works from a checkout and from a wheel alike.
"""

from __future__ import annotations

import os
from pathlib import Path

from evae_core.presets import Preset

PACKAGES = Path(__file__).resolve().parents[1]  # the folder that holds this package and the core
RECORDED = "EVAE_RECORDED"


def repository() -> Path | None:
    """The checkout that this package is used from; None where it was installed on its own."""
    return PACKAGES if (PACKAGES / "pyproject.toml").is_file() and (PACKAGES / "notebooks").is_dir() else None


def need_repository(what: str) -> Path:
    """The checkout; RuntimeError where there is none, which says that ``what`` needs one."""
    if (root := repository()) is None:
        raise RuntimeError(f"{what} needs the repository, and evae is installed on its own in {PACKAGES}; clone the "
                           "repository and install it from there (make .venv)")
    return root


def store_root() -> Path:
    """Where artifacts live: $EVAE_STORE, or data/store in the checkout, or ``evae/store`` in the user's cache folder.
    """
    if chosen := os.environ.get("EVAE_STORE"):
        return Path(chosen).expanduser().absolute()
    if (root := repository()) is not None:
        return root / "data" / "store"
    import platformdirs  # here: a bare machine that trains from a checkout may lack it

    return platformdirs.user_cache_path("evae") / "store"


def record_folder(preset: str) -> Path | None:
    """The record of a preset: $EVAE_RECORDED/<preset>, or data/recorded/<preset> in the checkout.

    None where EVAE_RECORDED is "off", and where there is no checkout.
    """
    chosen, root = os.environ.get(RECORDED), repository()
    if chosen == "off" or not chosen and root is None:
        return None
    return (Path(chosen) if chosen else Path(str(root)) / "data" / "recorded") / preset


def known_folder(preset: str) -> Path:
    """Where the search for the lowest state of a preset's periodic box is recorded: data/known/<preset>."""
    return PACKAGES / "data" / "known" / preset


def figures_folder(preset: Preset) -> Path:
    """Where a run's figures and claims go: $EVAE_FIGURES/<name>, or build/<name>/figures in the checkout.

    Without a checkout they go below the current folder. The committed ones lie in figures/<name>; only
    ``evae publish`` writes there.
    """
    if root := os.environ.get("EVAE_FIGURES"):
        return Path(root) / preset.name
    return (repository() or Path.cwd()) / "build" / preset.name / "figures"

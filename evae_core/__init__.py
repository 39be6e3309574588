"""E-VAE: a variational autoencoder guided by the magnetic Hamiltonian (Kwon et al., Advanced Science 2021)."""

from importlib import import_module
from typing import Any

# Where each public name lives. They are imported when first asked for: torch takes seconds, --help needs none of it.
_HOME = {"VAE": "model", "VAEConfig": "presets", "Annealing": "annealing", "Hamiltonian": "hamiltonian",
         "Losses": "losses", "Schedule": "annealing", "anneal": "annealing", "heat_bath": "annealing",
         "load_preset": "presets", "relax": "textures", "skyrmion_lattice": "textures",
         "topological_charge": "observables"}

__all__ = ["VAE", "VAEConfig", "Annealing", "Hamiltonian", "Losses", "Schedule", "anneal", "heat_bath",
           "load_preset", "relax", "skyrmion_lattice", "topological_charge"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _HOME.values():
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

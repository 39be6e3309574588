"""E-VAE: a variational autoencoder guided by the magnetic Hamiltonian (Kwon et al., Advanced Science 2021)."""

from evae_core.annealing import Annealing, Schedule, anneal, heat_bath
from evae_core.hamiltonian import Hamiltonian
from evae_core.model import VAE, Losses
from evae_core.observables import topological_charge
from evae_core.presets import load_preset
from evae_core.textures import relax, skyrmion_lattice

__all__ = ["VAE", "Annealing", "Hamiltonian", "Losses", "Schedule", "anneal", "heat_bath", "load_preset", "relax",
           "skyrmion_lattice", "topological_charge"]

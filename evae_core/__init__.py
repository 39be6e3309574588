"""E-VAE: a variational autoencoder guided by the magnetic Hamiltonian (Kwon et al., Advanced Science 2021)."""

from evae_core.hamiltonian import Hamiltonian

__all__ = ["Hamiltonian"]

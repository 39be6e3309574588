"""Experiments with learned spin-lattice potentials, as notebook 10 shows them."""

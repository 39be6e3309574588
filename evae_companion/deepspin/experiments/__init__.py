"""Experiments with learned spin-lattice potentials, shown in notebook 12."""

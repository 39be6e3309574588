"""Interactive explorers for the notebooks: sliders above a picture, in plain ipywidgets, so that they work anywhere.

``explorer`` puts sliders above any figure function. The others respond faster than matplotlib draws: they colour spins
themselves and send small pictures. Each takes what a notebook has already loaded, or finds it in the store and in
data/recorded (``loaders``); none of them trains. An error in a callback is shown below the picture and raised.
"""

from evae_companion.widgets.annealing import AnnealingExplorer
from evae_companion.widgets.axes import along, axes_of
from evae_companion.widgets.collapse import CollapseExplorer
from evae_companion.widgets.confined import ConfinedExplorer
from evae_companion.widgets.explorer import explorer
from evae_companion.widgets.latent import LatentExplorer
from evae_companion.widgets.latent_interpolation import LatentInterpolationExplorer
from evae_companion.widgets.loaders import finished_sweeps, latent_network
from evae_companion.widgets.sweeps import SweepExplorer

__all__ = ["AnnealingExplorer", "CollapseExplorer", "ConfinedExplorer", "LatentInterpolationExplorer", "SweepExplorer",
           "LatentExplorer", "along", "axes_of", "finished_sweeps", "explorer", "latent_network"]

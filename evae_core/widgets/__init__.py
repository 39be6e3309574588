"""Interactive explorers for the notebooks: sliders above a picture, in plain ipywidgets, so that they work anywhere.

``explorer`` puts sliders above any figure function. The others answer faster than matplotlib draws: they colour spins
themselves and send small pictures. Each takes what a notebook has loaded already, or finds it in the store and in
data/recorded (``at_hand``); none of them trains. An error in a callback is shown below the picture and raised.
"""

from evae_core.widgets.at_hand import climbed, latent_network
from evae_core.widgets.axes import along, axes_of
from evae_core.widgets.choosing import explorer
from evae_core.widgets.collapse import CollapseExplorer
from evae_core.widgets.confined import ConfinedExplorer
from evae_core.widgets.interpolation import InterpolationExplorer
from evae_core.widgets.ladder import LadderExplorer
from evae_core.widgets.latent import LatentExplorer
from evae_core.widgets.live import AnnealingExplorer

__all__ = ["AnnealingExplorer", "CollapseExplorer", "ConfinedExplorer", "InterpolationExplorer", "LadderExplorer",
           "LatentExplorer", "along", "axes_of", "climbed", "explorer", "latent_network"]

"""Many ladders at once: seeds, betas, Hamiltonians and sizes, on one machine or on the workers of a Dask scheduler.

The unit of work is what the store knows already: artefacts (:mod:`~evae_core.ensemble.work`), done by one map on any
executor (:mod:`~evae_core.ensemble.mapping`, :mod:`~evae_core.ensemble.executors`).
"""

from evae_core.ensemble.executors import dask, local
from evae_core.ensemble.mapping import Outcome, Place, Receipt, fulfil, perform
from evae_core.ensemble.work import Climb, Ending, Shard, Unit, units

__all__ = ["Climb", "Ending", "Outcome", "Place", "Receipt", "Shard", "Unit", "dask", "fulfil", "local", "perform",
           "units"]

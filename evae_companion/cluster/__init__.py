"""Many ladders at once: seeds, betas, Hamiltonians and sizes, on one machine or on the workers of a Dask scheduler.

The unit of work is what the store knows already: artefacts (:mod:`~evae_companion.cluster.tasks`), done by one map on
any executor (:mod:`~evae_companion.cluster.scheduler`, :mod:`~evae_companion.cluster.executors`).
"""

from evae_companion.cluster.executors import dask, local
from evae_companion.cluster.scheduler import RunReport, TaskReport, run_task, run_tasks
from evae_companion.cluster.tasks import Climb, Shard, Summary, Unit, units

__all__ = ["Climb", "RunReport", "Shard", "Summary", "TaskReport", "Unit", "dask", "local", "run_task", "run_tasks",
           "units"]

"""Ensembles of sweeps over seeds, betas, Hamiltonians and sizes, on one machine or on workers of a Dask scheduler.

A task (:mod:`~evae_companion.cluster.tasks`) makes artifacts of the store. The scheduler
(:mod:`~evae_companion.cluster.scheduler`) maps all tasks onto any executor (:mod:`~evae_companion.cluster.executors`).
"""

from evae_companion.cluster.executors import dask, local
from evae_companion.cluster.scheduler import RunReport, TaskReport, run_task, run_tasks
from evae_companion.cluster.tasks import Climb, Shard, Summary, Unit, units

__all__ = ["Climb", "RunReport", "Shard", "Summary", "TaskReport", "Unit", "dask", "local", "run_task", "run_tasks",
           "units"]

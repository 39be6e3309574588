"""Executors that run tasks: processes of this machine, or the workers of a Dask scheduler.

    local(2)                                   two processes, one thread each, that end with this one
    dask("tcp://127.0.0.1:8786")               the workers of a scheduler that runs already
    dask("tls://head:8786", gpus=True)         one GPU per task: workers started with --resources "GPU=1"
    slurm_script(...)                          the job script that dask-jobqueue submits

Dask is the extra ``cluster``. Whoever reaches a scheduler can run any code on its workers. So a scheduler is bound to
this machine unless told otherwise, and crosses a network with TLS (docs/CLUSTER.md).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any
from urllib.parse import urlsplit

from evae_companion.processes import pool

HOST = "127.0.0.1"
SCHEDULER_TIMEOUT = "60s"  # time allowed for a scheduler to answer, or to come back


def local(workers: int | None = None) -> Callable[[], Executor]:
    """Return a function that starts ``workers`` processes on this machine (default: one per core), one thread each."""
    return lambda: pool(workers)


def dask(address: str, gpus: bool = False, security: Any = None) -> Callable[[], Executor]:
    """Return a function that connects to the Dask scheduler at ``address``: one task per worker thread.

    Parameters
    ----------
    address : tcp://host:port or tls://host:port.
    gpus : every task holds one GPU.
    security : a ``distributed.Security``; None: as Dask's own configuration says.

    Raises
    ------
    ValueError
        an address of another form.
    RuntimeError
        Dask is missing, or nobody answers.
    """
    check_address(address)
    distributed = _distributed()

    def start() -> Executor:
        try:
            client = distributed.Client(address, security=security, set_as_default=False, timeout=SCHEDULER_TIMEOUT)
        except (OSError, TimeoutError) as error:
            raise RuntimeError(f"no scheduler answers at {address} ({error}); start one with\n"
                               f"  dask scheduler --host {HOST} --port 8786 --dashboard-address {HOST}:8787") from error
        # A task may be resubmitted after its worker died. With pure=True Dask would answer with the old future.
        executor: Executor = client.get_executor(pure=False, **({"resources": {"GPU": 1}} if gpus else {}))
        shutdown = executor.shutdown

        def close(wait: bool = True, *, cancel_futures: bool = False) -> None:
            shutdown(wait=wait and not cancel_futures)
            client.close()

        def idle() -> str | None:
            return None if client.scheduler_info(n_workers=-1)["workers"] else f"no worker is connected to {address}"

        executor.shutdown = close  # type: ignore[method-assign]  # the client is this executor's alone
        executor.idle = idle  # type: ignore[attr-defined]
        return executor

    return start


def check_address(address: str) -> None:
    """Raise ValueError unless ``address`` is tcp://host:port or tls://host:port."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        port = None
    if port is None or parts.scheme not in ("tcp", "tls") or not parts.hostname:
        raise ValueError(f"the scheduler must be tcp://host:port or tls://host:port, got {address!r}")


def exposed(address: str) -> bool:
    """Return whether an address is reached unencrypted beyond this machine: tcp, and not a loopback address."""
    parts = urlsplit(address)
    try:
        loopback = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = parts.hostname == "localhost"
    return parts.scheme == "tcp" and not loopback


def local_cluster(workers: int, host: str = HOST, **settings: Any) -> Any:
    """Start a Dask scheduler and ``workers`` one-thread processes on this machine, for trials, bound to ``host``."""
    distributed = _distributed()
    # By default Dask gives up a worker for good if its nanny has not restarted it within 15 seconds.
    _imported("dask").config.set({"distributed.deploy.lost-worker-timeout": "1h"})
    # Without an address of its own the scheduler's web server would listen on every network, dashboard or not.
    return distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, host=host,
                                    dashboard_address=f"{host}:0", **settings)


def slurm_script(queue: str, walltime: str, cores: int = 1, memory: str = "16GB", gpus: int = 0,
                 store: str | None = None, **settings: Any) -> str:
    """Return the job script that ``dask_jobqueue.SLURMCluster`` submits for one worker; Slurm is not needed.

    With ``gpus`` a job asks Slurm for them (--gres) and tells Dask so (--resources GPU=...).
    """
    jobqueue = _imported("dask_jobqueue")
    prologue = ["export OMP_NUM_THREADS=1", *([f"export EVAE_STORE={store}"] if store else [])]
    extra = ["--resources", f"GPU={gpus}"] if gpus else []
    with jobqueue.SLURMCluster(
            queue=queue, walltime=walltime, cores=1, processes=1, job_cpu=cores,  # one thread, whatever the job has
            memory=memory, job_script_prologue=prologue,
            worker_extra_args=extra, job_extra_directives=[f"--gres=gpu:{gpus}"] if gpus else [],
            scheduler_options={"host": HOST, "dashboard_address": f"{HOST}:0"}, **settings) as cluster:
        return str(cluster.job_script())


def _distributed() -> Any:
    return _imported("distributed")


def _imported(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise RuntimeError(f"{name} is not installed; pip install -e '.[cluster]'") from error

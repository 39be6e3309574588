"""Watchdog that ends a process when its parent process ends, even if the parent was killed.

Without it the workers of a killed training, and the kernel of a killed notebook run, would run on for hours. They
would hold the locks of the artifacts they make.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK = 0.5  # seconds between two checks of the parent's process id


def end_with_parent() -> None:
    """From now on, end this process as soon as its parent is gone, without cleanup.

    A process started by multiprocessing waits on a pipe, whose other end the system closes when the parent ends. Any
    other process, such as a notebook's kernel, checks whether it has been given another parent. Windows gives none;
    there it is left alone.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait: Callable[[], object] = parent.join
    elif os.name == "posix":
        wait = _until_adopted
    else:
        return
    threading.Thread(target=lambda: (wait(), os._exit(1)), name="parent watchdog", daemon=True).start()


def _until_adopted() -> None:
    # jupyter_client records which process started a kernel; it may have died before this line was reached.
    parent = int(os.environ.get("JPY_PARENT_PID") or os.getppid())
    while os.getppid() == parent:
        time.sleep(LOOK)


def load_ipython_extension(shell: Any) -> None:
    """Start the watchdog in a kernel run with ``--IPKernelApp.extra_extensions=evae_companion.parent_watchdog``."""
    end_with_parent()

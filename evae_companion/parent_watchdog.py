"""A process that ends when the one that started it does, even where that was killed.

Without it the workers of a killed training, and the kernel of a killed notebook run, would go on for hours and hold
the locks of what they make.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any

LOOK = 0.5  # seconds between two looks at who the parent is


def end_with_parent() -> None:
    """From now on end this process, at once and without cleaning up, when its parent is gone.

    A process that multiprocessing started waits for its parent's end of a pipe, which the system closes. Any other,
    as a notebook's kernel, looks whether it has been given another parent; Windows gives none, there it is left alone.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait: Callable[[], object] = parent.join
    elif os.name == "posix":
        wait = _until_adopted
    else:
        return
    threading.Thread(target=lambda: (wait(), os._exit(1)), name="lifeline", daemon=True).start()


def _until_adopted() -> None:
    # jupyter_client says who started a kernel: that one may have died before this line was reached.
    parent = int(os.environ.get("JPY_PARENT_PID") or os.getppid())
    while os.getppid() == parent:
        time.sleep(LOOK)


def load_ipython_extension(shell: Any) -> None:
    """What a kernel started with ``--IPKernelApp.extra_extensions=evae_companion.parent_watchdog`` does first."""
    end_with_parent()

"""What the CPU backends share: pieces of work on threads, and the random streams of replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
import torch


def splitmix(x: np.ndarray) -> np.ndarray:
    """splitmix64's output for the uint64 states x (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def seed_streams(seed: int, replicas: np.ndarray, columns: int) -> np.ndarray:
    """(4, columns, len(replicas)) uint32: the streams' states, hashed from (seed, replica, column)."""
    key = splitmix(splitmix(np.array([seed], np.uint64)) + replicas.astype(np.uint64))
    words = splitmix(key + np.arange(2 * columns, dtype=np.uint64).reshape(2, columns, 1))
    high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    return np.stack((high[0], low[0], high[1], low[1])).astype(np.uint32)


def in_threads(work: Callable[[Any], Any], items: Sequence[Any], threads: int,
               finished: Callable[[Any], None] | None = None) -> list[Any]:
    """[work(item) for item in items] on ``threads`` threads; ``finished(result)`` is called here as each is done.

    A failure, and the user's interrupt, cancels what has not begun. A single thread is the caller's own, which an
    interrupt reaches at once.
    """
    if threads == 1:
        results = []
        for item in items:
            results.append(work(item))
            if finished is not None:
                finished(results[-1])
        return results
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                if finished is not None:
                    finished(future.result())
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def workers() -> int:
    """Pieces that are computed at a time: as many as torch uses threads."""
    return torch.get_num_threads()

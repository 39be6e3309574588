"""The state of a stage in the middle of its training, kept in the store so that a killed run loses a minute at most."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from evae_companion.store.artifact import identity
from evae_companion.store.serialization import atomic_write
from evae_companion.store.store import Store

FOLDER = "progress"
EVERY = 60.0  # seconds between two snapshots; one of the paper's network takes some 0.1 s


class StageProgress:
    """Snapshots of the stage ``spec``: ``<store>/progress/<artifact>.safetensors``.

    ``how`` is what decides about the bytes besides the spec, the learning rate first: a snapshot of another is not
    used. ``seconds`` is how long the stage has been trained, by all runs together.
    """

    def __init__(self, store: Store, spec: Mapping[str, Any], *how: float | str | bool | None):
        self.path = store.root / FOLDER / f"{identity(spec)[1]}.safetensors"
        self.how, self.begun, self.before = list(how), time.monotonic(), 0.0
        self.next = self.begun + EVERY

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.begun

    def load(self, report: Callable[[str], None]) -> dict[str, Tensor] | None:
        """Return the last snapshot; None where there is none, one of another ``how``, or a damaged one (reported)."""
        if not self.path.is_file():
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                said = json.loads((file.metadata() or {}).get("progress", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 no mapping
            intact = said.get("sha256") == _hash(tensors)
        except (safetensors.SafetensorError, ValueError, OSError):
            intact = False
        if not intact:
            report(f"{self.path} is damaged; the stage is trained from its start")
            self.remove()
            return None
        if said["how"] != self.how:
            return None
        self.before = float(said["seconds"])
        return tensors

    def after_step(self, snapshot: Callable[[], dict[str, Tensor]]) -> None:
        """Keep a snapshot if the last one is EVERY seconds old. A full disk stops no training."""
        if time.monotonic() < self.next:
            return
        tensors = {name: value.contiguous() for name, value in snapshot().items()}
        about = {"progress": json.dumps({"how": self.how, "seconds": self.seconds, "sha256": _hash(tensors)})}
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path, safetensors.torch.save(tensors, about))
        self.next = time.monotonic() + EVERY

    def remove(self) -> None:
        """Remove the snapshot of a stage that is trained."""
        self.path.unlink(missing_ok=True)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

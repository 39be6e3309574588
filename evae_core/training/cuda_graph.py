"""The loop of a stage as a CUDA graph: data, schedule, losses and the step live on one device, which never waits.

On a GPU the step is captured once as a CUDA graph (hundreds of kernels, launched as one) and replayed; the same
:meth:`GraphLoop.advance` runs uncaptured anywhere, which is how it is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from evae_core.losses import LOSSES
from evae_core.training.numerics import numerics

if TYPE_CHECKING:
    from evae_core.training.batch_schedule import BatchSchedule
    from evae_core.training.step import Step

UNCAPTURED = 3  # first steps of a stage, taken before the capture: libraries and Adam set themselves up in them
CHECK = 100  # steps between two looks at the losses: each look waits for the device


def upload(spins: Any, device: torch.device, piece: int = 1000) -> Tensor:
    """The configurations of a set (or tensor) on the device, (n, 3, Ny, Nx) float16: 2.9 GB for the paper's 30 000.

    A component is then off by up to 2.4e-4; :meth:`GraphLoop.advance` brings the spins back to unit length.
    """
    first = spins[0:1]
    there = torch.empty(len(spins), *first.shape[1:], dtype=torch.float16, device=device)
    for start in range(0, len(spins), piece):
        there[start:start + piece] = spins[start:start + piece].to(device, torch.float16)
    return there


class GraphLoop:
    """A stage's steps on the device of ``step``; ``spins``: the training set, from :func:`upload` or not there yet.

    ``history`` (steps, 4) float32: the losses of the steps taken so far, NaN beyond.
    """

    def __init__(self, step: Step, spins: Any, schedule: BatchSchedule):
        device = step.device
        spins = spins if isinstance(spins, Tensor) and spins.dtype == torch.float16 else upload(spins, device)
        self.step, self.spins = step, spins
        self.indices = torch.from_numpy(schedule.indices).to(device)
        self.shifts = None if schedule.shifts is None else torch.from_numpy(schedule.shifts).to(device)
        self.rates = torch.from_numpy(schedule.rates).to(device, torch.float32)
        self.history = torch.full((len(schedule.rates), len(LOSSES)), float("nan"), device=device)
        self.number = torch.zeros(1, dtype=torch.int64, device=device)  # of the next step
        ny, nx = spins.shape[-2:]
        self.y, self.x = torch.arange(ny, device=device), torch.arange(nx, device=device)
        for group in step.optimizer.param_groups:  # a tensor: a captured step reads its value anew each time
            group["lr"] = torch.tensor(float(schedule.rates[0]), device=device)

    def advance(self) -> None:
        """One step: batch, translation, losses, gradients, Adam, history. Everything is read and written on the device.

        No shape, address or branch depends on a value, so that it may be captured.
        """
        spins = self.spins.index_select(0, self.indices.index_select(0, self.number)[0])
        if self.shifts is not None:
            spins = self._translate(spins, self.shifts.index_select(0, self.number)[0])
        batch = F.normalize(spins.float(), dim=1)  # zero, a non-magnetic site, stays zero
        for group in self.step.optimizer.param_groups:
            group["lr"].copy_(self.rates.index_select(0, self.number)[0])
        losses = self.step.update(batch)
        self.history.index_copy_(0, self.number, torch.stack(losses)[None])
        self.number += 1

    def _translate(self, spins: Tensor, shifts: Tensor) -> Tensor:
        """Every configuration rolled by its own (y, x), as torch.roll(one, (y, x), (-2, -1))."""
        ny, nx = spins.shape[-2:]
        y = (self.y - shifts[:, :1]) % ny  # (n, Ny)
        x = (self.x - shifts[:, 1:]) % nx
        sites = (y[:, :, None] * nx + x[:, None, :]).flatten(1)[:, None]  # (n, 1, Ny Nx)
        return spins.flatten(2).gather(2, sites.expand(-1, 3, -1)).view_as(spins)

    def capture(self) -> Callable[[], None]:
        """:meth:`advance` as a CUDA graph; returns what replays it. To be called after a few uncaptured steps."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.step.generator)  # a replay then draws new numbers
        self.step.optimizer.zero_grad(set_to_none=True)
        for group in self.step.optimizer.param_groups:
            group["capturable"] = True  # only now: a fused Adam's state is on the device anyway, uncaptured it warns
        with torch.cuda.graph(graph):
            self.advance()
        return graph.replay

    def run(self, captured: bool, check: Callable[[Tensor], None]) -> Tensor:
        """All steps; returns the history on the CPU. ``check`` gets the losses so far every CHECK steps and at the end.

        The first UNCAPTURED steps are taken on a stream of their own, as capturing asks for.
        """
        steps = len(self.rates)
        go, early = self.advance, min(UNCAPTURED, steps) if captured else 0
        with numerics(self.step.device, self.step.precision):
            if captured:
                here, side = torch.cuda.current_stream(), torch.cuda.Stream()
                side.wait_stream(here)
                with torch.cuda.stream(side):
                    for _ in range(early):
                        self.advance()
                here.wait_stream(side)
                if early < steps:
                    go = self.capture()
            for number in range(early, steps):
                go()
                if (number + 1) % CHECK == 0:
                    check(self.history[:number + 1])
        check(self.history)
        return self.history.cpu()

"""A training that goes wrong: what counts as diverged, and how a stage is then begun again.

A stage diverges when a loss, its last weights or what they give is not finite, or when L_KL explodes. It is then
trained from its start with a lower learning rate, RETRIES times at most; what happened goes into its measured.json
under ``diverged``. A stage that never diverges takes no part in any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from evae_core.losses import LOSSES
from evae_core.training.stages import Stage

# Nats. L_KL of 100 latents lies below 1e4 after every stage seen so far, collapsed ones included. Before log sigma^2
# was bounded (model.bounded) single steps reached 1e12, after which a model had left its collapsed state.
EXPLODED = 1e6
RETRIES = 2
LOWER = 0.3  # the learning rate's factor from one attempt to the next

Result = TypeVar("Result")


class Diverged(RuntimeError):
    """What is wrong, at which step (None: in the weights), and the losses there."""

    def __init__(self, what: str, step: int | None = None, losses: Mapping[str, float] | None = None):
        super().__init__(what + ("" if step is None else f" at step {step}") + (
            f" ({', '.join(f'{name} {value:g}' for name, value in losses.items())})" if losses else ""))
        self.what, self.step, self.losses = what, step, dict(losses or {})


def check(losses: Tensor, first: int = 0) -> None:
    """Raise :class:`Diverged` at the first of the steps ``first``, ... whose losses (steps, 4) are not as they should.
    """
    finite = torch.isfinite(losses).all(1)
    wrong = ~finite | (losses[:, LOSSES.index("kl")] > EXPLODED)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        what = f"L_KL exceeds {EXPLODED:g}" if bool(finite[row]) else "a loss is not finite"
        raise Diverged(what, first + row, dict(zip(LOSSES, losses[row].tolist(), strict=True)))


def check_state(state: Mapping[str, Tensor]) -> None:
    """Raise :class:`Diverged` where weights or batch norm's averages are not finite."""
    for name, value in state.items():
        if not bool(torch.isfinite(value).all()):
            raise Diverged(f"the weights {name} are not finite")


def with_lr_backoff(stage: Stage, attempt: Callable[[float], Result],
                    report: Callable[[str], None]) -> tuple[Result, list[dict[str, Any]]]:
    """``attempt(learning_rate)``, again at a lower rate for as long as it diverges; its result, and what failed before.

    Each failure is a dict: learning_rate, what, step, losses.

    Raises
    ------
    Diverged
        the last attempt diverged too; the message names the stage, the rates and the numbers.
    """
    failures: list[dict[str, Any]] = []
    while True:
        rate = stage.learning_rate * LOWER ** len(failures)
        try:
            return attempt(rate), failures
        except Diverged as error:
            failures.append({"learning_rate": rate, "what": error.what, "step": error.step, "losses": error.losses})
            if len(failures) > RETRIES:
                rates = ", ".join(f"{failure['learning_rate']:g}" for failure in failures)
                raise Diverged(f"stage ({stage}) diverged at every learning rate tried ({rates}), at last: {error}; "
                               "lower learning_rate") from error
            report(f"{stage}: diverged, {error}; begun again with learning rate {rate * LOWER:g} instead of {rate:g}")

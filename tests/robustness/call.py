"""What is tried with wrong arguments: a function, and arguments that are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Call:
    """A function, arguments that are right, and other words that may stand for an argument in a message.

    ``nan``: it may answer NaN, which its description says.
    """

    function: Callable
    right: dict
    words: dict[str, str] = dataclasses.field(default_factory=dict)
    nan: bool = False

"""A kernel client that looks again while it waits.

Seen a few times in some hundred headless notebooks, with two versions of ipykernel: a cell is running as far as the
client knows, the kernel is idle and answers others, and nothing moves any more. asyncio is told of changes of a ZeroMQ
socket only, and a change that it misses leaves a message unread that the socket has; asked anew the socket gives it.
So waiting is cut into pieces.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

LOOK = 1.0  # seconds between two looks; below the 4 s in which a cell's outputs must have come after its reply


class Channel(AsyncZMQSocketChannel):
    """A channel on which endless waiting is waiting of LOOK seconds, again and again."""

    async def get_msg(  # type: ignore[override]  # as that of the class itself, which its own parent's is not
            self, timeout: float | None = None) -> dict[str, Any]:
        while timeout is None:
            with suppress(Empty):
                return await super().get_msg(LOOK)
        return await super().get_msg(timeout)


class Client(AsyncKernelClient):
    """A client with such channels."""

    shell_channel_class = Type(Channel)
    iopub_channel_class = Type(Channel)


class Manager(AsyncKernelManager):
    """What starts a kernel and such a client."""

    client_factory = Type(Client)

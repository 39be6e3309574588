"""Kernel client that polls while it waits, so that a missed socket event does not stop a notebook.

Seen a few times in some hundred headless notebooks, with two versions of ipykernel: the client takes a cell for
running, the kernel is idle and answers others, and the run hangs. asyncio is notified only of changes of a ZeroMQ
socket. If it misses one, a message stays unread in the socket; asked again, the socket delivers it. So waiting is cut
into pieces.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

LOOK = 1.0  # seconds between two polls; below the 4 s within which a cell's outputs must follow its reply


class Channel(AsyncZMQSocketChannel):
    """Channel on which waiting without a timeout is repeated waiting of LOOK seconds."""

    async def get_msg(  # type: ignore[override]  # matches the class itself, which differs from its own parent
            self, timeout: float | None = None) -> dict[str, Any]:
        while timeout is None:
            with suppress(Empty):
                return await super().get_msg(LOOK)
        return await super().get_msg(timeout)


class Client(AsyncKernelClient):
    """Kernel client whose shell and IOPub channels are of type :class:`Channel`."""

    shell_channel_class = Type(Channel)
    iopub_channel_class = Type(Channel)


class Manager(AsyncKernelManager):
    """Kernel manager that starts a kernel and a :class:`Client`."""

    client_factory = Type(Client)

"""The kernel client that looks again: a message that asyncio was not told of is found, and endings end."""

import asyncio
from queue import Empty

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import Session

from evae_companion.cli import kernel_client


class Deaf(zmq.asyncio.Socket):
    """A socket that is never woken: only asking it with an end to the waiting finds what it holds."""

    async def poll(self, timeout=None, flags=zmq.POLLIN):
        if timeout is None:
            await asyncio.Event().wait()
        await asyncio.sleep(timeout / 1000)
        return await super().poll(0, flags)


def test_a_missed_message_is_found(monkeypatch):
    monkeypatch.setattr(kernel_client, "LOOK", 0.02)

    async def exchange():
        context, session = zmq.asyncio.Context(), Session(key=b"")
        one, other = Deaf(context, zmq.PAIR), context.socket(zmq.PAIR)
        try:
            one.bind("inproc://here")
            other.connect("inproc://here")
            channel = kernel_client.Channel(one, session)
            waiter = asyncio.create_task(channel.get_msg())
            await asyncio.sleep(0.1)
            assert not waiter.done()
            await other.send_multipart([*session.serialize(session.msg("execute_reply", {"n": 1}))])
            assert (await asyncio.wait_for(waiter, 5))["content"] == {"n": 1}
            with pytest.raises(Empty):
                await channel.get_msg(timeout=0.05)
        finally:
            one.close(0)
            other.close(0)
            context.term()
    asyncio.run(exchange())


def test_notebooks_are_run_with_it():
    manager = kernel_client.Manager()
    client = manager.client()
    assert isinstance(client, kernel_client.Client)
    assert client.shell_channel_class is client.iopub_channel_class is kernel_client.Channel

"""D8: a cancellation that arrives together with a result of nats-py is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import nats.aio.transport
import pytest
from nats.aio.client import Client as Nats
from nats.aio.transport import TcpTransport

from penstock import Client
from penstock.bus.nats_patches import install

install()


class CancelAfter:
    """Cancels `task` as soon as the first call of an asynchronous function has its result."""

    task: asyncio.Task[Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._is_first = True

    def method(self) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            result = await self._function(*arguments, **options)
            if self._is_first:
                self._is_first = False
                self._cancel()
            return result

        return call

    def _cancel(self) -> None:
        """A task cancels itself at its next step: `asyncio.wait_for` of Python 3.11 runs `function` in a task apart."""
        if asyncio.current_task() is self.task:
            asyncio.get_running_loop().call_soon(self.task.cancel)
        else:
            self.task.cancel()


STEPS = {"socket": (nats.aio.transport.asyncio, "open_connection"), "info": (TcpTransport, "readline")}


@pytest.mark.parametrize("step", STEPS)
async def test_d8_a_connect_cancelled_at_any_step_ends(nats_server, monkeypatch, step):
    owner, name = STEPS[step]
    cancel = CancelAfter(getattr(owner, name))
    monkeypatch.setattr(owner, name, cancel.method())
    cancel.task = asyncio.create_task(Client.connect(nats_server.url))
    with pytest.raises(asyncio.CancelledError):
        await cancel.task


async def test_d8_a_flush_cancelled_with_its_pong_ends(nc, monkeypatch):
    cancel = CancelAfter(Nats._process_pong)
    monkeypatch.setattr(Nats, "_process_pong", cancel.method())
    cancel.task = asyncio.create_task(nc.flush())
    with pytest.raises(asyncio.CancelledError):
        await cancel.task

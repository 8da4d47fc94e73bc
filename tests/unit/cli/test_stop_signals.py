"""SIGINT at the moment in which a command creates its event loop."""

from __future__ import annotations

import asyncio
import signal

import pytest

from penstock.cli.stop_signals import run


class InterruptedPolicy(asyncio.DefaultEventLoopPolicy):
    """SIGINT arrives before each new event loop is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[asyncio.AbstractEventLoop] = []

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        signal.raise_signal(signal.SIGINT)
        self.created.append(super().new_event_loop())
        return self.created[-1]


def test_sigint_while_the_event_loop_is_created_waits_until_the_loop_can_be_closed():
    before, handler = asyncio.get_event_loop_policy(), signal.getsignal(signal.SIGINT)
    policy = InterruptedPolicy()
    asyncio.set_event_loop_policy(policy)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(lambda: pytest.fail("nothing starts after SIGINT"))
    finally:
        asyncio.set_event_loop_policy(before)
    assert [loop.is_closed() for loop in policy.created] == [True]
    assert signal.getsignal(signal.SIGINT) == handler

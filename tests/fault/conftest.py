"""Fixtures that build on the `system` of each module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.client.client import Client
from tests.harness.processes.system import System
from tests.harness.requests.replies import RawPublisher


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def publisher(system: System) -> AsyncIterator[RawPublisher]:
    async for opened in RawPublisher.opened(system):
        yield opened

"""Fixtures that build on the `system` of each module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.client.client import Client
from tests.harness.replies import RawPublisher
from tests.harness.system import System


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def publisher(system: System) -> AsyncIterator[RawPublisher]:
    async for opened in RawPublisher.opened(system):
        yield opened

"""Each module here defines `system`; what it needs beside that is the same everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.client.client import Client
from tests.harness.asking import Post
from tests.harness.system import System


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture
async def post(system: System) -> AsyncIterator[Post]:
    async for opened in Post.opened(system):
        yield opened

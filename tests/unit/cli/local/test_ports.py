"""Ports that `penstock up` gives to its services stay theirs until they listen, and over their restarts."""

from __future__ import annotations

import socket
import sys

import pytest

from penstock.cli.local.ports import PortAllocator, port_is_free
from penstock.runtime.serving.listening import bound_socket

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports are not kept")


def is_kept(port: int) -> bool:
    """Whether the system keeps the port from a program that asks for any, as it does while a socket has it."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def serve_once(port: int) -> None:
    """Listen as a service does, and answer one connection."""
    with bound_socket("127.0.0.1", port) as server:
        server.listen()
        with socket.create_connection(("127.0.0.1", port), 10), server.accept()[0]:
            pass


def test_each_port_is_given_out_once() -> None:
    ports = PortAllocator()
    assert len({ports.take() for _ in range(50)}) == 50


@needs_linux
def test_a_port_is_kept_from_other_programs_until_its_service_listens_and_between_restarts() -> None:
    ports = PortAllocator()
    port = ports.take()
    for _ in range(3):
        assert is_kept(port)
        assert port_is_free(port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 10)
        serve_once(port)


@needs_linux
def test_ports_are_returned_with_their_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may give the port to another program at once: whether it is free does not tell."""
    opened: list[socket.socket] = []

    def bound(host: str, port: int) -> socket.socket:
        opened.append(bound_socket(host, port))
        return opened[-1]

    monkeypatch.setattr("penstock.cli.local.ports.bound_socket", bound)
    ports = PortAllocator()
    ports.take()
    ports.take()
    assert all(each.fileno() >= 0 for each in opened)
    del ports
    assert [each.fileno() for each in opened] == [-1, -1]

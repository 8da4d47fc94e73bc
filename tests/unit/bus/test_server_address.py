"""An address that nats-py cannot use is rejected before a connection is made (D10)."""

from __future__ import annotations

import pytest

from penstock.bus.server_address import is_server_address, servers_of


def test_a_url_names_several_servers_separated_by_commas():
    assert servers_of("nats://a:4222, nats://b") == ["nats://a:4222", "nats://b"]
    assert servers_of("nats://a:4222") == ["nats://a:4222"]


@pytest.mark.parametrize(
    "address",
    [
        "nats://host:4222",
        "host",
        "host:4222",
        "tls://me:secret@host:65535/",
        "nats://[::1]:4222",
        "[fe80::1%eth0]:4222",
        "ws://host",
        "wss://host:443/nats/a",
    ],
)
def test_an_address_that_nats_py_can_use_is_accepted(address):
    assert is_server_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nats://",
        "http://host:4222",
        "NATS://host:4222",
        "nats://host:65536",
        "nats://host:port",
        "nats://host/path",
        "nats://a b",
        "nats://me@you@host",
        "nats://[host]:4222",
        "nats://::1:4222",
    ],
)
def test_d10_another_address_is_rejected(address):
    assert not is_server_address(address)

"""K5: an edge without keys serves this machine only."""

from __future__ import annotations

import logging

import pytest

from penstock.runtime.api_keys.format import make_key
from penstock.runtime.config.problems import ConfigurationRefused
from services.edge.auth.identity import Identity
from services.edge.auth.known_keys import KnownKeys
from services.edge.auth.open_access import sender_without_keys
from tests.unit.edge.auth.key_requests import record_of

LOCAL = ("127.0.0.1", "127.1.2.3", "::1")
BEYOND = ("0.0.0.0", "::", "10.0.0.1", "192.168.1.2", "fe80::1%2", "2001:db8::1")  # noqa: S104 - not listened on
NO_KEYS = KnownKeys()
NO_KEYS.replace([])
ONE_KEY = KnownKeys()
ONE_KEY.replace([record_of(make_key(), revoked_ms=1)])


@pytest.mark.parametrize("address", LOCAL)
def test_k5_on_loopback_it_serves_the_account_of_the_settings_and_says_so(
    address: str, caplog: pytest.LogCaptureFixture
):
    assert sender_without_keys(NO_KEYS, address, "demo") == Identity(account="demo")
    (line,) = caplog.messages
    assert address in line
    assert "no API key exists" in line
    assert "`penstock keys create`" in line


@pytest.mark.parametrize("address", BEYOND)
def test_k5_beyond_loopback_it_refuses_to_start(address: str):
    with pytest.raises(ConfigurationRefused) as refused:
        sender_without_keys(NO_KEYS, address, "demo")
    assert "PENSTOCK_EDGE_HOST" in str(refused.value)
    assert address in str(refused.value)
    assert "`penstock keys create`" in str(refused.value)


@pytest.mark.parametrize("address", BEYOND)
def test_k5_with_a_key_it_starts_anywhere_and_requires_one(address: str, caplog: pytest.LogCaptureFixture):
    assert sender_without_keys(ONE_KEY, address, "demo") is None
    assert caplog.messages == []


@pytest.mark.parametrize("address", [*LOCAL, *BEYOND])
def test_k5_with_keys_that_cannot_be_read_it_starts(address: str, caplog: pytest.LogCaptureFixture):
    found = sender_without_keys(KnownKeys(), address, "demo")
    assert (found is None) == (address in BEYOND)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "503" in caplog.text

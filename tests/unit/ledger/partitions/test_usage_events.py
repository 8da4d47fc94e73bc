"""F1: usage events that are forged or damaged are told from those that can be booked."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased, UsageRecorded
from services.ledger.partitions.usage_events import InvalidUsage, read_usage

USAGE: dict[str, Any] = {
    "id": "r",
    "attempt": 1,
    "account": "shop",
    "user": "",
    "role": "chat",
    "lane": "interactive",
    "complexity": "simple",
    "provider": "p",
    "model": "m",
    "credential": "",
    "outcome": "completed",
    "input_tokens": 1,
    "output_tokens": 1,
    "hold_id": "shop.client.r",
}


@pytest.mark.parametrize(
    "event", [UsageRecorded(**USAGE), HoldReleased(hold_id="shop.client.r", account="shop", why="cancelled")]
)
def test_f1_events_of_workers_and_routers_are_read(event: UsageRecorded | HoldReleased) -> None:
    assert read_usage(subjects.usage("shop"), codec.encode(event)) == event


@pytest.mark.parametrize(
    "changed",
    [
        {"account": "other"},
        {"account": "a.b"},
        {"hold_id": "other.client.r"},
        {"input_tokens": -1},
        {"output_tokens": 2**60},
        {"attempt": -1},
        {"cost_picousd": -1},
        {"cost_picousd": 10**17 + 1},
        {"user": "x" * 2_000},
    ],
    ids="-".join,
)
def test_f1_an_event_for_another_account_or_with_absurd_figures_is_not_booked(
    changed: dict[str, Any],
) -> None:
    with pytest.raises(InvalidUsage):
        read_usage(subjects.usage("shop"), codec.encode(UsageRecorded(**(USAGE | changed))))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"type":"usage_recorded"}', b"[" * 100_000])
def test_f1_bytes_that_are_no_event_are_not_booked(data: bytes) -> None:
    with pytest.raises(InvalidUsage):
        read_usage(subjects.usage("shop"), data)

"""How long a request waits for the bus to accept it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw

from penstock.contract.request import ChatRequest
from services.edge.requests.accounts import Account


@pytest.mark.parametrize(("wanted_s", "waits_s"), [(None, 60.0), (5.0, 5.0), (3_600.0, 60.0)])
def test_d9_a_request_waits_for_a_router_for_a_minute_and_for_nats_for_20_s_at_most(
    wanted_s: float | None, waits_s: float
):
    unused: Any = SimpleNamespace(nc=None, account="demo")
    account = Account(unused, unused, unused, unused)
    request = ChatRequest(id="r", client="c", body=Raw(b"{}"))
    streamed = account.stream(request, wanted_s, cancel_on_exit=True, parent=None)
    assert (streamed.timeout_s, streamed.submit_s) == (waits_s, 20.0)

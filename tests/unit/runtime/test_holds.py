"""Asking the ledger for a hold, with a scripted connection and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import nats.errors
import pytest
from msgspec.structs import replace
from nats.aio.msg import Msg

from penstock.bus.freezes import note_received
from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.names import Lane
from penstock.runtime.holds import HoldClient, LedgerUnavailable, traffic_of

_REQUEST = HoldRequest(
    id="acme.api-1.r1",
    account="acme",
    role="chat",
    picousd=5_000_000,
    tokens=1_200,
    deadline_ms=1_800_000_000_000,
    wait_s=2.0,
)
_GRANTED = HoldGranted(id=_REQUEST.id)
_Behaviour = HoldAnswer | bytes | Exception | None
"""None: the request is received, and no answer comes."""


class _Connection:
    """Answers each request with the next behaviour, and all further ones with the last."""

    def __init__(self, *behaviours: _Behaviour) -> None:
        self._behaviours = list(behaviours)
        self.asked: list[HoldRequest] = []
        self.subjects: list[str] = []
        self.headers: list[dict[str, str] | None] = []

    async def request(
        self, subject: str, payload: bytes, timeout: float, headers: dict[str, str] | None = None
    ) -> Msg:
        asked = codec.HOLD_REQUEST.decode(payload)
        assert isinstance(asked, HoldRequest)
        self.asked.append(asked)
        self.subjects.append(subject)
        self.headers.append(headers)
        behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
        if behaviour is None:
            await asyncio.sleep(timeout)
            raise nats.errors.TimeoutError
        if isinstance(behaviour, Exception):
            raise behaviour
        data = behaviour if isinstance(behaviour, bytes) else codec.encode(behaviour)
        return Msg(_client=self, data=data)  # type: ignore[arg-type]


def _client(connection: _Connection, patience_s: float = 5.0) -> HoldClient:
    return HoldClient(connection, patience_s)  # type: ignore[arg-type]


def _elapsed() -> Callable[[], float]:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    return lambda: loop.time() - began_s


async def test_a_hold_is_asked_of_the_owner_of_the_account_with_the_trace_of_the_request() -> None:
    connection = _Connection(_GRANTED)
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert await _client(connection).hold(_REQUEST, trace) == _GRANTED
    assert connection.subjects == [subjects.ledger_hold(subjects.partition_of("acme"))]
    assert connection.headers == [trace]
    assert connection.asked == [_REQUEST]


async def test_a_refusal_is_an_answer_and_not_asked_again() -> None:
    refused = HoldRefused(id=_REQUEST.id, code="budget_exceeded", message="used up")
    connection = _Connection(refused)
    assert await _client(connection).hold(_REQUEST) == refused
    assert len(connection.asked) == 1


async def test_an_owner_that_is_being_replaced_is_asked_again_until_it_answers() -> None:
    connection = _Connection(*[nats.errors.NoRespondersError()] * 8, _GRANTED)
    elapsed = _elapsed()
    assert await _client(connection).hold(_REQUEST) == _GRANTED
    assert elapsed() < 3.0
    assert {asked.id for asked in connection.asked} == {_REQUEST.id}


async def test_a_frozen_owner_is_given_up_after_the_wait_that_it_was_asked_for() -> None:
    connection = _Connection(None, _GRANTED)
    elapsed = _elapsed()
    assert await _client(connection).hold(_REQUEST) == _GRANTED
    assert 3.0 <= elapsed() < 3.2
    assert connection.asked[1].wait_s == 0.0


async def test_time_spent_without_a_ledger_is_taken_off_the_wait_for_room() -> None:
    connection = _Connection(nats.errors.NoRespondersError(), _GRANTED)
    await _client(connection).hold(_REQUEST)
    assert connection.asked[1].wait_s == pytest.approx(1.95, abs=0.01)


@pytest.mark.parametrize(
    "garbled",
    [b"", b"\xff", b"[]", codec.encode(HoldGranted(id="acme.api-1.other"))],
    ids=["empty", "not UTF-8", "not an answer", "for another request"],
)
async def test_a_garbled_answer_counts_as_none(garbled: bytes) -> None:
    connection = _Connection(garbled, _GRANTED)
    assert await _client(connection).hold(_REQUEST) == _GRANTED
    assert len(connection.asked) == 2


@pytest.mark.parametrize("behaviour", [nats.errors.NoRespondersError(), None, b"?"])
async def test_without_any_answer_the_client_gives_up_after_its_patience(behaviour: _Behaviour) -> None:
    elapsed = _elapsed()
    with pytest.raises(LedgerUnavailable):
        await _client(_Connection(behaviour)).hold(_REQUEST)
    assert 3.0 <= elapsed() <= 5.3


async def test_a_partition_that_was_silent_is_asked_once_until_it_answers_again() -> None:
    connection = _Connection(nats.errors.NoRespondersError())
    client = _client(connection)
    with pytest.raises(LedgerUnavailable):
        await client.hold(_REQUEST)
    asked_before, elapsed = len(connection.asked), _elapsed()
    with pytest.raises(LedgerUnavailable):
        await client.hold(_REQUEST)
    assert len(connection.asked) == asked_before + 1
    assert elapsed() < 0.1

    answers = _Connection(_GRANTED, nats.errors.NoRespondersError(), _GRANTED)
    connection.request = answers.request  # type: ignore[method-assign]
    assert await client.hold(_REQUEST) == _GRANTED
    assert await client.hold(replace(_REQUEST, id=_REQUEST.id)) == _GRANTED, "it is patient again"


async def test_what_is_no_matter_of_the_ledger_is_raised() -> None:
    closed: Any = nats.errors.ConnectionClosedError()
    with pytest.raises(nats.errors.ConnectionClosedError):
        await _client(_Connection(closed)).hold(_REQUEST)


def _name_in(partition: str) -> str:
    return next(name for name in map(str, range(1_000)) if subjects.partition_of(name) == partition)


_SILENT, _HEALTHY = _name_in("0"), _name_in("1")


class _OneSilent(_Connection):
    """The owner of one partition does not answer."""

    async def request(
        self, subject: str, payload: bytes, timeout: float, headers: dict[str, str] | None = None
    ) -> Msg:
        if subject == subjects.ledger_hold("0"):
            return await super().request(subject, payload, timeout, headers)
        data = codec.encode(HoldGranted(id=codec.HOLD_REQUEST.decode(payload).id))
        return Msg(_client=self, data=data)  # type: ignore[arg-type]


def _of(account: str, number: int, wait_s: float) -> HoldRequest:
    return replace(_REQUEST, id=f"{account}.api-1.r{number}", account=account, wait_s=wait_s)


@pytest.mark.parametrize(
    ("behaviour", "known_after_s"), [(nats.errors.NoRespondersError(), 0.1), (None, 1.1)]
)
async def test_f1_only_so_many_requests_wait_for_a_silent_partition(
    behaviour: _Behaviour, known_after_s: float
) -> None:
    connection: Any = _OneSilent(behaviour)
    client = HoldClient(connection, 5.0, most_waiting=6)
    waiting = [asyncio.create_task(client.hold(_of(_SILENT, each, 2.0 * (each < 4)))) for each in range(20)]
    await asyncio.sleep(known_after_s)
    assert sum(not task.done() for task in waiting) == 6
    elapsed = _elapsed()
    with pytest.raises(LedgerUnavailable) as raised:
        await client.hold(_of(_SILENT, 20, 2.0))
    assert not raised.value.may_be_held
    assert isinstance(await client.hold(_of(_HEALTHY, 0, 2.0)), HoldGranted)
    assert elapsed() == 0
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, LedgerUnavailable) for each in results)


async def test_f1_any_number_may_ask_a_partition_that_answers_again() -> None:
    connection: Any = _OneSilent(nats.errors.NoRespondersError(), HoldGranted(id=f"{_SILENT}.api-1.r0"))
    client = HoldClient(connection, 5.0, most_waiting=1)
    await client.hold(_of(_SILENT, 0, 0.0))
    answers = await asyncio.gather(*(client.hold(_of(_SILENT, 0, 0.0)) for _ in range(5)))
    assert all(isinstance(each, HoldGranted) for each in answers)


@pytest.mark.parametrize(
    ("lane", "role", "traffic"),
    [
        ("interactive", "chat", "chat"),
        ("interactive", "embed", "embed"),
        ("batch", "embed", "background"),
        ("batch", "chat", "background"),
    ],
)
def test_f3_embeddings_and_the_batch_lane_count_to_their_own_limits(
    lane: Lane, role: str, traffic: str
) -> None:
    assert traffic_of(lane, role) == traffic


async def test_time_in_which_the_server_is_silent_is_not_held_against_the_ledger() -> None:
    """A frozen nats-server: no answer, and no heartbeat either."""
    connection = _Connection(*[None] * 14, _GRANTED)
    note_received(connection)  # type: ignore[arg-type]
    elapsed = _elapsed()
    assert await _client(connection).hold(_REQUEST) == _GRANTED
    assert elapsed() > 10.0

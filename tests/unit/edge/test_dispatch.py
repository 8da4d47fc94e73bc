"""Every exception of an endpoint becomes an answer, and every request is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM
from penstock.errors import NoReply
from penstock.runtime.byte_budget import ByteBudget
from services.edge.dialects.dialect import InvalidField
from services.edge.dispatch import Dispatcher
from services.edge.http.connection import STATE_KEY
from services.edge.http.cors import Cors
from services.edge.http.errors import ClientDisconnected, HttpError
from services.edge.http.exchange import Exchange, HttpLimits
from services.edge.http.operation import Operation
from services.edge.http.routes import Routes
from services.edge.metrics import EdgeMetrics

LIMITS = HttpLimits(body_bytes=100, body_s=5.0, write_s=3.0, memory=ByteBudget(0))


class FakeConnection:
    is_lost = is_backed_up = is_aborted = False

    def begin_stream(self) -> None:
        """The client speaks HTTP/1.1."""

    def abort(self) -> None:
        self.is_aborted = True

    def discard_body(self, seconds: float) -> None:
        """The request has no body."""


class Answered:
    """One request to an endpoint that raises `error`, after the start of a stream where `streaming` says so."""

    def __init__(self, error: Exception, *, streaming: bool = False) -> None:
        self.connection = FakeConnection()
        self.sent: list[Any] = []
        self.registry = CollectorRegistry()
        self._error = error
        self._streaming = streaming

    async def run(self, path: str = "/x") -> None:
        routes = Routes()
        operation = Operation(method="GET", path="/x", id="x", group="", summary="")
        routes.add(operation, self._endpoint)
        dispatcher = Dispatcher(routes, LIMITS, Cors(()), EdgeMetrics(self.registry), SYSTEM)
        scope = {
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [],
            "state": {STATE_KEY: self.connection},
        }
        await dispatcher(scope, self._receive, self._send)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.sent[1]["body"])["error"]
        return error

    def counted(self, route: str, status: int) -> float | None:
        labels = {"route": route, "status": str(status)}
        return self.registry.get_sample_value("penstock_edge_requests_total", labels)

    async def _endpoint(self, exchange: Exchange) -> None:
        if self._streaming:
            await exchange.start_stream()
        raise self._error

    async def _receive(self) -> Any:
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.mark.parametrize(
    ("error", "status", "code", "param"),
    [
        (HttpError(418, "teapot", "why", param="p"), 418, "teapot", "p"),
        (InvalidField("messages[0]", "why"), 400, "invalid_request", "messages[0]"),
        (NoReply("why"), 504, "deadline_exceeded", None),
    ],
)
async def test_d10_an_exception_of_an_endpoint_is_an_answer(
    error: Exception, status: int, code: str, param: str | None
):
    answered = Answered(error)
    await answered.run()
    assert answered.status == status
    assert answered.error == {**answered.error, "message": "why", "code": code, "param": param}
    assert answered.counted("/x", status) == 1


async def test_d10_a_fault_of_the_edge_tells_no_detail(caplog: pytest.LogCaptureFixture):
    answered = Answered(KeyError("secret"))
    await answered.run()
    assert (answered.status, answered.error["code"]) == (500, "internal")
    assert "secret" not in str(answered.error)
    assert "secret" in caplog.text
    assert answered.counted("/x", 500) == 1


async def test_d6_a_fault_after_the_status_cuts_the_response():
    """So that no client takes it for complete."""
    answered = Answered(KeyError("fault"), streaming=True)
    await answered.run()
    assert answered.connection.is_aborted
    assert [message["type"] for message in answered.sent] == ["http.response.start"]


async def test_d8_a_client_that_left_is_counted_as_499():
    answered = Answered(ClientDisconnected())
    await answered.run()
    assert answered.sent == []
    assert answered.counted("/x", 499) == 1
    assert answered.registry.get_sample_value("penstock_edge_open_requests", {"route": "/x"}) == 0


async def test_k4_unknown_paths_are_one_label():
    answered = Answered(ClientDisconnected())
    await answered.run("/anything/else")
    assert answered.status == 404
    assert answered.counted("unknown", 404) == 1


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/messages", {"details": {"error_code": "not_found"}}),
        ("/v1/messages/batches", {"details": {"error_code": "not_found"}}),
        ("/v1/messagesx", {"code": "not_found"}),
        ("/v1/chat", {"code": "not_found"}),
    ],
)
async def test_d10_an_error_has_the_shape_of_the_dialect_of_its_path(path: str, detail: dict[str, Any]):
    answered = Answered(ClientDisconnected())
    await answered.run(path)
    assert answered.status == 404
    assert answered.error.items() >= detail.items()


async def test_k4_a_rejected_request_has_one_line_with_the_id_of_its_response(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("INFO")
    answered = Answered(InvalidField("messages[0]", "secret content"))
    await answered.run()
    headers = dict(answered.sent[0]["headers"])
    request_id = headers[b"x-request-id"].decode()
    assert headers[b"request-id"].decode() == request_id
    assert caplog.messages == [f"GET /x: 400 invalid_request (request {request_id})"]


async def test_k4_a_fault_is_logged_under_the_id_of_its_response(caplog: pytest.LogCaptureFixture):
    answered = Answered(KeyError("fault"))
    await answered.run()
    assert dict(answered.sent[0]["headers"])[b"x-request-id"].decode() in caplog.messages[0]

"""The body that an attempt sends, what it announces, and what it learns from a refused parameter."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.contract.errors import ErrorCode
from penstock.contract.names import Rescue
from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import (
    Catalogue,
    Model,
    Parameters,
    ProviderConfig,
    RoleConfig,
    StreamFormat,
)
from penstock.runtime.config.parameter_mapping import SentAs
from penstock.runtime.pricing import PriceTable
from penstock.runtime.reply_publisher import AnnouncedAttempt
from services.worker.execution.attempt import Spent, Success
from services.worker.execution.state import Execution, GaveUp
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import ProviderError
from services.worker.rate_limit.quota import QuotaKey
from tests.unit.worker.worker_parts import NAMES, AmpleRoom, Endpoint, UnstoredUsage, WorkerParts

ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
}


class Reply(AmpleRoom):
    """Records what each attempt announces."""

    attempt = 0

    def __init__(self) -> None:
        self.adapted: list[tuple[Adapted, ...]] = []
        self.taken = False
        """Another worker has taken the next number."""
        self.restarts: list[str] = []

    async def begin_attempt(self, announced: AnnouncedAttempt, **_yields: bool) -> bool:
        self.attempt += 1
        self.adapted.append(announced.adapted)
        return self.taken

    async def restarted(self, code: ErrorCode, message: str) -> None:
        self.restarts.append(f"{code}: {message}")


class Answer:
    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012 - never written

    async def pieces(self) -> AsyncIterator[bytes]:
        yield json.dumps(ANSWER).encode()

    async def close(self) -> None: ...


class RefusingEndpoint(Endpoint):
    """Refuses bodies that contain one of these parameters."""

    stream_format = StreamFormat()

    def __init__(self, refused: dict[str, ProviderError]) -> None:
        super().__init__(NAMES)
        self.sent: list[dict[str, Any]] = []
        self._refused = refused

    async def chat(self, _credential: str, body: bytes, _label: str) -> Answer:
        fields = json.loads(body)
        self.sent.append(fields)
        for name, error in self._refused.items():
            if name in fields:
                raise ProviderFailure("parameter", error.message, status=400, error=error)
        return Answer()

    def redact_keys(self, failure: ProviderFailure) -> None: ...


class _Attempts:
    def __init__(self, mapping: dict[str, SentAs], *refused: str) -> None:
        self.reply = Reply()
        self.endpoint = RefusingEndpoint(
            {
                name: ProviderError(
                    message=f"Unsupported parameter: {name}",
                    parameter=name,
                    path=name,
                    trusted_parameter=name,
                    trusted_names=("unsupported_parameter",),
                )
                for name in refused
            }
        )
        role = RoleConfig(chain=("m",), parameters=Parameters(temperature=0.3, max_tokens=20))
        catalogue = Catalogue(
            name="t",
            providers={"p": ProviderConfig(api_key_env=NAMES)},
            models={"m": Model(provider="p", parameter_mapping=mapping)},
            roles={"chat": role},
        )
        self.recorder = UnstoredUsage(catalogue)
        self.parts = WorkerParts(catalogue, provider=self.endpoint, recorder=self.recorder)

    def execution(self, rescue: Rescue = "restart", **asked: Any) -> Execution:
        body = {"messages": [], **asked}
        return self.parts.execution(self.reply, lasts_s=5, rescue=rescue, body=body)

    async def run(
        self, execution: Execution | None = None, rescue: Rescue = "restart", **asked: Any
    ) -> Success:
        execution = execution or self.execution(rescue, **asked)
        return await self.parts.attempts.run(execution, QuotaKey(NAMES[0], "m"), Spent(0))


async def test_parameters_of_request_and_role_are_adapted_and_reported() -> None:
    attempts = _Attempts({"max_tokens": "max_completion_tokens", "temperature": False, "user": False})
    success = await attempts.run(user="u", top_p=0.5)
    (sent,) = attempts.endpoint.sent
    assert sent == {"messages": [], "model": "m", "stream": False, "top_p": 0.5, "max_completion_tokens": 20}
    assert [(each.parameter, each.change, each.sent) for each in success.adapted] == [
        ("max_tokens", "renamed", "max_completion_tokens"),
        ("temperature", "omitted", ""),
        ("user", "omitted", ""),
    ]
    assert attempts.reply.adapted == [success.adapted]


async def test_f1_an_attempt_costs_the_prices_that_its_hold_was_checked_against() -> None:
    attempts = _Attempts({})
    execution = attempts.execution()
    execution.prices = PriceTable({})
    await attempts.run(execution)
    assert [record.prices for record in attempts.recorder.records] == [execution.prices]


async def test_a_refused_parameter_is_learned_once_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    attempts = _Attempts({}, "temperature", "seed")
    with caplog.at_level(logging.WARNING):
        execution = attempts.execution(seed=5)
        for _ in range(2):
            with pytest.raises(ProviderFailure) as refused:
                await attempts.run(execution)
            assert refused.value.kind == "parameter", "the same model is called once more"
        success = await attempts.run(execution)
        neighbour = await attempts.run(seed=6)
    for each in (success, neighbour):
        assert [change.parameter for change in each.adapted] == ["seed", "temperature"]
    assert [sorted(sent.keys() & {"temperature", "seed"}) for sent in attempts.endpoint.sent] == [
        ["seed", "temperature"],
        ["seed"],
        [],
        [],
    ]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].endswith("models.m.parameter_mapping: {temperature: no}")
    assert lines[1].endswith("models.m.parameter_mapping: {seed: no}")


async def test_a_refused_parameter_that_the_request_needs_is_a_refusal() -> None:
    attempts = _Attempts({}, "tools")
    with pytest.raises(ProviderFailure) as refused:
        await attempts.run(tools=[{"type": "function"}])
    assert (refused.value.kind, refused.value.status) == ("refused", 400)
    assert refused.value.error is not None
    assert refused.value.error.parameter == "tools"


@pytest.mark.parametrize("rescue", ["none", "before_output"])
async def test_rescue_forbids_a_call_after_another_workers_attempt(rescue: Rescue) -> None:
    attempts = _Attempts({})
    attempts.reply.taken = True
    with pytest.raises(GaveUp) as ended:
        await attempts.run(rescue=rescue)
    assert ended.value.code == "provider_unavailable"
    assert "another worker has begun an attempt" in str(ended.value)
    assert f"rescue: {rescue}" in str(ended.value)
    assert attempts.endpoint.sent == []
    assert attempts.reply.restarts == []


async def test_rescue_restart_withdraws_another_workers_text() -> None:
    attempts = _Attempts({})
    attempts.reply.taken = True
    await attempts.run(rescue="restart")
    assert len(attempts.endpoint.sent) == 1
    assert attempts.reply.restarts == ["provider_unavailable: the worker stopped responding"]


@pytest.mark.parametrize("rescue", ["none", "before_output"])
async def test_the_first_attempt_is_made_with_any_rescue_setting(rescue: Rescue) -> None:
    attempts = _Attempts({})
    await attempts.run(rescue=rescue)
    assert len(attempts.endpoint.sent) == 1

"""Tables of provider behaviour, run end to end: the responses of a provider and the expected reply.

All rows of a file share one system. They are distributed over the roles of its catalogue, each of which has its own
provider, models and credentials. The roles run concurrently, the rows of one role in sequence.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml
from msgspec import Struct, field, structs

from penstock.client.client import Client
from penstock.client.reply import Reply, ReplyBuilder
from penstock.contract.errors import ErrorCode
from penstock.contract.events import (
    BreakerChanged,
    CredentialAvailabilityChanged,
    Event,
    ModelAvailabilityChanged,
    QuotaPaused,
)
from tests.fault.worker.providers.rows.wire import Answer, completion, data, delta, sized, stream
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import shared_system
from tests.harness.providers.scripted_provider import Call, Part, ScriptedProvider, scripted_provider
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask

__all__ = [
    "BOTH",
    "LANES",
    "MODELS",
    "STREAMED",
    "WHOLE",
    "Both",
    "Outcome",
    "Row",
    "Table",
    "all_models",
    "check",
    "healthy",
    "in_200",
    "row_ids",
    "run_rows",
]

LANES = ("chat", "logic", "coding", "vision", "long_context", "fast", "creative", "reasoning", "safety")
"""Roles: the state of the models of one role does not affect another."""
MODELS = {"first": 8_192, "second": 8_192, "long": 131_072}
"""The chain of each lane, with the context lengths of its models."""
AT_ONCE_S = 2.0
TIMEOUTS = {"total_s": 8.0, "non_streaming_s": 3.0, "first_token_s": 2.0, "between_tokens_s": 1.0}
OFF = {"on_high_latency": {"enabled": False}, "on_errors": {"enabled": False}}
SHARED = (BreakerChanged, QuotaPaused, ModelAvailabilityChanged, CredentialAvailabilityChanged)

Mode = Literal["streamed", "whole"]
STREAMED: tuple[Mode, ...] = ("streamed",)
WHOLE: tuple[Mode, ...] = ("whole",)
BOTH: tuple[Mode, ...] = ("streamed", "whole")


class Both(Struct, frozen=True):
    """Different responses for a streamed and a whole request."""

    streamed: Answer
    whole: Answer


Script = Sequence[Answer | Both | Callable[[Call], Iterable[Part]]]
Count = int | tuple[int, int]


class Row(Struct, frozen=True, kw_only=True):
    """One behaviour of a provider, and the expected outcome."""

    name: str
    script: Mapping[str, Script]
    """The responses by model and call; the last repeats. Models without a script are healthy."""
    modes: tuple[Mode, ...] = BOTH
    lane: str | None = None
    """The lane in which the row must run; None: any."""
    bad_keys: int = 0
    """The number of credentials to which the script applies, in order of first use; 0: all."""
    times: int = 1
    """The number of requests, each with different content."""
    body: Mapping[str, Any] = field(default_factory=dict)
    before: Sequence[Mapping[str, Any]] = ()
    """Messages before the prompt."""

    text: str | None = "Hello world"
    model: str = "first"
    """The model that answers."""
    calls: Mapping[str, Count] = field(default_factory=lambda: {"first": 1})
    """The number of calls by model for each request; 0 for other models."""
    restarts: int | None = 0
    """None: any number."""
    usage: Mapping[str, int] | None = None
    estimated: bool | None = None
    more: Mapping[str, Any] | None = None
    """Content of the choice objects of a stream, or of the message of a whole completion."""
    adapted: Mapping[str, str] | None = None
    """The changes of the successful attempt by parameter."""
    last_sent: Mapping[str, Any] | None = None
    """Parameters in the last body sent for the request; `...` for a parameter that was not sent."""

    code: ErrorCode | None = None
    """The error code of the expected failure."""
    message_has: tuple[str, ...] = ()
    """Texts in the message of `failed`."""
    provider_code: str | None = None
    provider_message_has: str | None = None
    """A text in the provider's message in `failed`."""
    took_s: tuple[float, float] = (0.0, 4.0)

    quiet: bool = True
    """Shared state (breaker, pause, credential, model) is unchanged."""
    neighbour: str | None = "first"
    """The model that answers a following plain request at once with one call; None: no such request."""
    neighbour_body: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that request, all of which are sent."""
    paused_s: tuple[float, float] | None = None
    """Bounds of the pause of the first model."""
    rest_s: float = 0.0
    """The wait of the lane after the row."""


class Outcome(Struct):
    """The outcome of a row in one mode."""

    row: Row
    mode: Mode
    lane: str
    received: list[ReceivedReply] = field(default_factory=list)
    calls: list[list[Call]] = field(default_factory=list)
    neighbour: ReceivedReply | None = None
    neighbour_calls: list[Call] = field(default_factory=list)
    error: str = ""
    from_ms: float = 0.0
    until_ms: float = 0.0
    events: list[Event] = field(default_factory=list)


class Table(Struct, kw_only=True):
    """Rows with the catalogue in which they run."""

    rows: Sequence[Row]
    keys: int = 0
    """The number of credentials of each lane's provider."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """Settings of all providers."""
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of one lane's provider; only rows that name the lane run there."""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of a model, by its name or as `lane-name`."""
    role: Mapping[str, Any] = field(default_factory=dict)
    """Settings of all roles."""
    roles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of one role."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Further sections and settings of the catalogue."""

    def catalogue(self, url: str) -> str:
        names = {lane: tuple(f"{lane}-{model}" for model in MODELS) for lane in LANES}
        models = {
            f"{lane}-{model}": {
                "provider": f"p-{lane}",
                "name": model,
                "context_tokens": context,
                **self.models.get(model, {}),
                **self.models.get(f"{lane}-{model}", {}),
            }
            for lane in LANES
            for model, context in MODELS.items()
        }
        role = {"timeouts": TIMEOUTS, "retry": {"initial_backoff_s": 0.05, "max_backoff_s": 0.3}, **self.role}
        config = yaml.safe_load(catalogue(names, models=models, role=role, roles=self.roles, degradation=OFF))
        config |= self.sections
        config["providers"] |= {
            f"p-{lane}": {
                "base_url": f"{url.removesuffix('/v1')}/{lane}/v1",
                "api_key_env": [_variable(lane, number) for number in range(self.keys)],
                **self.provider,
                **self.providers.get(lane, {}),
            }
            for lane in LANES
        }
        return yaml.safe_dump(config)

    @property
    def env(self) -> dict[str, str]:
        return {
            _variable(lane, number): f"sk-{lane}-{number}" for lane in LANES for number in range(self.keys)
        }

    def plan(self) -> dict[str, list[tuple[Row, Mode]]]:
        """The rows of each lane, both modes of a row in sequence; rows that disable the first model come last."""
        free = [lane for lane in LANES if lane not in self.providers]
        planned: dict[str, list[tuple[Row, Mode]]] = {lane: [] for lane in LANES}
        disabled: Counter[str] = Counter()
        for row in sorted(self.rows, key=_disables):
            lane = row.lane or min(free, key=lambda name: (disabled[name], len(planned[name])))
            planned[lane] += [(row, mode) for mode in row.modes]
            disabled[lane] += _disables(row)
        return planned


def _disables(row: Row) -> bool:
    return row.neighbour not in {None, "first"}


def _variable(lane: str, number: int) -> str:
    return f"KEY_{lane.upper()}_{number}"


def row_ids(table: Table) -> list[str]:
    """One test for each row and mode."""
    ids = [f"{row.name} | {mode}" for row in table.rows for mode in row.modes]
    assert len(ids) == len(set(ids)), [name for name, count in Counter(ids).items() if count > 1]
    return ids


@contextmanager
def run_rows(table: Table, directory: Path) -> Iterator[dict[str, Outcome]]:
    """Run all rows; the outcomes by the ids of `row_ids`."""
    with scripted_provider(*MODELS) as provider:
        actor = _Actor(table.rows)
        provider.answer = actor.answer
        with shared_system(
            directory, ",".join(LANES), config=table.catalogue(provider.url), env=table.env
        ) as system:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                outcomes = runner.run(_Run(table, provider, system).all_rows())
            yield {f"{outcome.row.name} | {outcome.mode}": outcome for outcome in outcomes}


class _Actor:
    """Responds according to the last message: `<row> | <mode> | <number>`, else as a healthy model."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {row.name: row for row in rows}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._bad: dict[str, list[str]] = defaultdict(list)

    def answer(self, call: Call) -> Iterable[Part]:
        prompt = prompt_of(call)
        row = self._rows.get(prompt.partition(" | ")[0])
        script = () if row is None else row.script.get(call.model, ())
        if row is None or not script or self._is_good_key(row, prompt, call):
            return healthy(call)
        number = self._asked[prompt, call.model]
        self._asked[prompt, call.model] += 1
        answer = script[min(number, len(script) - 1)]
        if callable(answer):
            return answer(call)
        if isinstance(answer, Both):
            return answer.streamed if call.body.get("stream") else answer.whole
        return answer

    def _is_good_key(self, row: Row, prompt: str, call: Call) -> bool:
        bad = self._bad[prompt]
        if row.bad_keys and call.key not in bad and len(bad) < row.bad_keys:
            bad.append(call.key)
        return bool(row.bad_keys) and call.key not in bad


def prompt_of(call: Call) -> str:
    content = call.body["messages"][-1]["content"]
    return content if isinstance(content, str) else str(content[0].get("text"))


def healthy(call: Call) -> Answer:
    text = f"from {call.model}"
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    if not call.body.get("stream"):
        return completion(text, usage=usage)
    return stream(delta(text), delta(None, "stop"), {"choices": [], "usage": usage})


class _Run:
    def __init__(self, table: Table, provider: ScriptedProvider, system: Any) -> None:
        self._table = table
        self._provider = provider
        self._system = system

    async def all_rows(self) -> list[Outcome]:
        async with await self._system.client() as client:
            lanes = (self._lane(client, lane, rows) for lane, rows in self._table.plan().items())
            outcomes = [outcome for done in await asyncio.gather(*lanes) for outcome in done]
        events = [event for kind in SHARED for event in await stored_events(self._system, kind)]
        for outcome in outcomes:
            outcome.events = [event for event in events if _belongs(event, outcome)]
        return outcomes

    async def _lane(self, client: Client, lane: str, rows: list[tuple[Row, Mode]]) -> list[Outcome]:
        return [await self._row(client, Outcome(row, mode, lane)) for row, mode in rows]

    async def _row(self, client: Client, outcome: Outcome) -> Outcome:
        row, lane = outcome.row, outcome.lane
        outcome.from_ms = time.time() * 1000
        try:
            for number in range(row.times):
                prompt = f"{row.name} | {outcome.mode} | {number}"
                streamed = outcome.mode == "streamed"
                messages = [*row.before, {"role": "user", "content": prompt}]
                outcome.received.append(
                    await ask(client, messages, role=lane, **{"stream": streamed, **row.body})
                )
                outcome.calls.append(self._calls(lane, prompt))
            if row.neighbour is not None:
                prompt = f"neighbour of {row.name} | {outcome.mode}"
                outcome.neighbour = await ask(client, prompt, role=lane, **row.neighbour_body)
                outcome.neighbour_calls = self._calls(lane, prompt)
        except Exception as error:  # noqa: BLE001 - reported by the test of the row
            outcome.error = repr(error)
        outcome.until_ms = time.time() * 1000
        await asyncio.sleep(row.rest_s)
        return outcome

    def _calls(self, lane: str, prompt: str) -> list[Call]:
        return [call for call in self._provider.calls if call.provider == lane and prompt_of(call) == prompt]


def _belongs(event: Any, outcome: Outcome) -> bool:
    return (
        event.model.startswith(f"{outcome.lane}-")
        and outcome.from_ms - 1 <= event.at_ms <= outcome.until_ms + 1
    )


def check(outcome: Outcome) -> None:
    """Assert that the outcome of a row is the expected one."""
    row = outcome.row
    assert not outcome.error, outcome.error
    for received, calls in zip(outcome.received, outcome.calls, strict=True):
        _check_calls(row, calls)
        if row.code is None:
            _check_answer(outcome, received)
        else:
            _check_failure(outcome, received)
        assert row.took_s[0] <= received.took_s <= row.took_s[1], f"took {received.took_s:.2f} s"
        _check_sent(row, calls)
    if row.quiet:
        assert outcome.events == [], "shared state has changed"
    if row.paused_s is not None:
        _check_pause(outcome)
    if row.neighbour is not None:
        _check_neighbour(outcome)


def _check_calls(row: Row, calls: list[Call]) -> None:
    made = Counter(call.model for call in calls)
    for model in MODELS:
        wanted = row.calls.get(model, 0)
        low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
        assert low <= made[model] <= high, f"calls {dict(made)}, wanted {dict(row.calls)}"


def _reply(received: ReceivedReply) -> Reply:
    builder = ReplyBuilder()
    [reply] = [made for event in received.events if (made := builder.add(event)) is not None]
    return reply


def _check_answer(outcome: Outcome, received: ReceivedReply) -> None:
    row = outcome.row
    assert received.code is None, structs.asdict(received.failed.error)
    reply = _reply(received)
    if row.text is not None:
        assert reply.text == row.text
        if outcome.mode == "streamed":
            assert received.text == row.text
    assert received.completed.model == f"{outcome.lane}-{row.model}"
    if row.restarts is not None:
        assert len(received.restarts) == (row.restarts if outcome.mode == "streamed" else 0)
    if row.usage is not None:
        usage = structs.asdict(received.completed.usage)
        assert {name: usage[name] for name in row.usage} == row.usage
    if row.estimated is not None:
        assert received.completed.estimated == row.estimated
    if row.more is not None:
        _check_more(row.more, received)
    if row.adapted is not None:
        assert {each.parameter: each.change for each in received.completed.adapted} == row.adapted


def _check_more(more: Mapping[str, Any], received: ReceivedReply) -> None:
    """`more`: by key, its values in the choices of all deltas in order, joined if they are texts."""
    found: dict[str, list[Any]] = defaultdict(list)
    for choice in received.choices or [{"delta": received.response["choices"][0]["message"]}]:
        for name, value in {**choice, **choice.get("delta", {})}.items():
            found[name].append(value)
    for name, value in more.items():
        held = found[name]
        joined = "".join(held) if held and all(isinstance(each, str) for each in held) else held
        assert joined in (value, [value]), f"{name}: {held}"


def _check_failure(outcome: Outcome, received: ReceivedReply) -> None:
    row = outcome.row
    assert received.code == row.code, received.end
    error = received.failed.error
    for text in row.message_has:
        assert text in error.message, error.message
    assert len(error.message) < 4_000
    if row.provider_code is not None:
        assert error.provider_code == row.provider_code
    if row.provider_message_has is not None:
        assert row.provider_message_has in (error.provider_message or "")
        assert len(error.provider_message or "") < 4_000


def _check_sent(row: Row, calls: list[Call]) -> None:
    for name, value in (row.last_sent or {}).items():
        if value is ...:
            assert name not in calls[-1].body, calls[-1].body
        else:
            assert calls[-1].body.get(name) == value, calls[-1].body


def _check_pause(outcome: Outcome) -> None:
    low, high = outcome.row.paused_s or (0, 0)
    paused = [event for event in outcome.events if isinstance(event, QuotaPaused)]
    lengths = [(event.until_ms - event.at_ms) / 1000 for event in paused]
    assert lengths
    assert low <= max(lengths) <= high, lengths


def _check_neighbour(outcome: Outcome) -> None:
    received = outcome.neighbour
    assert received is not None
    assert received.code is None, received.end
    assert received.completed.model == f"{outcome.lane}-{outcome.row.neighbour}", "answered by another model"
    assert received.text == f"from {outcome.row.neighbour}"
    assert len(outcome.neighbour_calls) == 1
    sent = outcome.neighbour_calls[0].body
    assert {name: sent.get(name) for name in outcome.row.neighbour_body} == outcome.row.neighbour_body
    assert outcome.row.neighbour_body.keys().isdisjoint(each.parameter for each in received.completed.adapted)
    assert received.took_s < AT_ONCE_S


def in_200(body: object, *, event: object = None) -> Both:
    """An error in a response with status 200: the first event of a stream, or the whole body."""
    first = data(body if event is None else event)
    return Both(stream(first, done=False), sized(json.dumps(body).encode()))


def all_models(answer: Answer | Both) -> dict[str, Script]:
    """The same response from all models."""
    return {model: [answer] for model in MODELS}

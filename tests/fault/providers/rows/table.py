"""Tables of provider behaviour, run end to end: what a provider sends, and what the application then sees.

All rows of a file share one system. They are spread over the roles of its catalogue, which have nothing in common: a
provider, models and credentials each. The roles run at the same time, the rows of one role after another.
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
from tests.fault.providers.rows.wire import Answer, completion, data, delta, sized, stream
from tests.harness.catalogues import catalogue
from tests.harness.replies import ReceivedReply, ask
from tests.harness.scripted_provider import Call, Part, ScriptedProvider, scripted_provider
from tests.harness.stored_events import stored_events
from tests.harness.system import shared_system

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
    "params",
    "ran",
]

LANES = ("chat", "logic", "coding", "vision", "long_context", "fast", "creative", "reasoning", "safety")
"""Roles: what is learned of the models of one touches no other."""
MODELS = {"first": 8_192, "second": 8_192, "long": 131_072}
"""Each lane's chain, with what its models read."""
AT_ONCE_S = 2.0
TIMEOUTS = {"total_s": 8.0, "whole_s": 3.0, "first_token_s": 2.0, "between_tokens_s": 1.0}
OFF = {"on_high_latency": {"enabled": False}, "on_errors": {"enabled": False}}
SHARED = (BreakerChanged, QuotaPaused, ModelAvailabilityChanged, CredentialAvailabilityChanged)

Mode = Literal["streamed", "whole"]
STREAMED: tuple[Mode, ...] = ("streamed",)
WHOLE: tuple[Mode, ...] = ("whole",)
BOTH: tuple[Mode, ...] = ("streamed", "whole")


class Both(Struct, frozen=True):
    """An answer that differs with what was asked for."""

    streamed: Answer
    whole: Answer


Script = Sequence[Answer | Both | Callable[[Call], Iterable[Part]]]
Count = int | tuple[int, int]


class Row(Struct, frozen=True, kw_only=True):
    """One behaviour of a provider, and the right outcome."""

    name: str
    script: Mapping[str, Script]
    """By model, call by call; the last answer repeats. Models that are not named are healthy."""
    modes: tuple[Mode, ...] = BOTH
    lane: str | None = None
    """Where the row must run; None: anywhere."""
    bad_keys: int = 0
    """The script is for the first so many credentials that call, and all others get healthy answers; 0: for all."""
    times: int = 1
    """The same request is made so often, each time with other content."""
    body: Mapping[str, Any] = field(default_factory=dict)
    before: Sequence[Mapping[str, Any]] = ()
    """Messages that stand before the prompt."""

    text: str | None = "Hello world"
    model: str = "first"
    """Which answers, by its name here."""
    calls: Mapping[str, Count] = field(default_factory=lambda: {"first": 1})
    """Of each request; models that are not named get none."""
    restarts: int | None = 0
    """None: any number."""
    usage: Mapping[str, int] | None = None
    estimated: bool | None = None
    more: Mapping[str, Any] | None = None
    """What some choice object of a delta holds, or the message of the whole answer."""
    adapted: Mapping[str, str] | None = None
    """Of the answering attempt: change by parameter."""
    last_sent: Mapping[str, Any] | None = None
    """What the last body of the request holds; a parameter that is `...` was not sent."""

    code: ErrorCode | None = None
    """It fails with this one."""
    says: tuple[str, ...] = ()
    """Words of the message of `failed`."""
    provider_code: str | None = None
    provider_says: str | None = None
    """Words of the provider's own message in `failed`."""
    took_s: tuple[float, float] = (0.0, 4.0)

    quiet: bool = True
    """Nothing that other requests share was touched: breaker, pause, credential, model."""
    neighbour: str | None = "first"
    """Which model then answers a plain request, at once and with one call; None: not asked."""
    neighbour_body: Mapping[str, Any] = field(default_factory=dict)
    """What that request says besides. All of it is sent."""
    paused_s: tuple[float, float] | None = None
    """For how long the first model pauses."""
    rest_s: float = 0.0
    """How long the lane waits afterwards."""


class Outcome(Struct):
    """What became of a row in one mode."""

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
    """Credentials of each lane's provider."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """Added to every provider."""
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Added to the provider of one lane; rows go there only if they name it."""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Added to a model, by its name here or as `lane-name`."""
    role: Mapping[str, Any] = field(default_factory=dict)
    """Added to every role."""
    roles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Added to one."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Further ones of the catalogue, and its figures."""

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
        role = {"timeouts": TIMEOUTS, "retry": {"base_s": 0.05, "cap_s": 0.3}, **self.role}
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
        """Which rows each lane runs, both modes of one together; those that spoil the first model come last."""
        free = [lane for lane in LANES if lane not in self.providers]
        planned: dict[str, list[tuple[Row, Mode]]] = {lane: [] for lane in LANES}
        spoilt: Counter[str] = Counter()
        for row in sorted(self.rows, key=_spoils):
            lane = row.lane or min(free, key=lambda name: (spoilt[name], len(planned[name])))
            planned[lane] += [(row, mode) for mode in row.modes]
            spoilt[lane] += _spoils(row)
        return planned


def _spoils(row: Row) -> bool:
    return row.neighbour not in {None, "first"}


def _variable(lane: str, number: int) -> str:
    return f"KEY_{lane.upper()}_{number}"


def params(table: Table) -> list[str]:
    """One test for each row and mode."""
    ids = [f"{row.name} | {mode}" for row in table.rows for mode in row.modes]
    assert len(ids) == len(set(ids)), [name for name, count in Counter(ids).items() if count > 1]
    return ids


@contextmanager
def ran(table: Table, directory: Path) -> Iterator[dict[str, Outcome]]:
    """Run all rows; outcomes by the names of `params`."""
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
    """Answers by the last words of a request: `<row> | <mode> | <number>`, else as a healthy model."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {row.name: row for row in rows}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._bad: dict[str, list[str]] = defaultdict(list)

    def answer(self, call: Call) -> Iterable[Part]:
        words = words_of(call)
        row = self._rows.get(words.partition(" | ")[0])
        script = () if row is None else row.script.get(call.model, ())
        if row is None or not script or self._good_key(row, words, call):
            return healthy(call)
        number = self._asked[words, call.model]
        self._asked[words, call.model] += 1
        answer = script[min(number, len(script) - 1)]
        if callable(answer):
            return answer(call)
        if isinstance(answer, Both):
            return answer.streamed if call.body.get("stream") else answer.whole
        return answer

    def _good_key(self, row: Row, words: str, call: Call) -> bool:
        bad = self._bad[words]
        if row.bad_keys and call.key not in bad and len(bad) < row.bad_keys:
            bad.append(call.key)
        return bool(row.bad_keys) and call.key not in bad


def words_of(call: Call) -> str:
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
                words = f"{row.name} | {outcome.mode} | {number}"
                streamed = outcome.mode == "streamed"
                prompt = [*row.before, {"role": "user", "content": words}]
                outcome.received.append(
                    await ask(client, prompt, role=lane, **{"stream": streamed, **row.body})
                )
                outcome.calls.append(self._calls(lane, words))
            if row.neighbour is not None:
                words = f"neighbour of {row.name} | {outcome.mode}"
                outcome.neighbour = await ask(client, words, role=lane, **row.neighbour_body)
                outcome.neighbour_calls = self._calls(lane, words)
        except Exception as error:  # noqa: BLE001 - told by the row's own test
            outcome.error = repr(error)
        outcome.until_ms = time.time() * 1000
        await asyncio.sleep(row.rest_s)
        return outcome

    def _calls(self, lane: str, words: str) -> list[Call]:
        return [call for call in self._provider.calls if call.provider == lane and words_of(call) == words]


def _belongs(event: Any, outcome: Outcome) -> bool:
    return (
        event.model.startswith(f"{outcome.lane}-")
        and outcome.from_ms - 1 <= event.at_ms <= outcome.until_ms + 1
    )


def check(outcome: Outcome) -> None:
    """Hold a row's outcome against what it promises."""
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
        assert outcome.events == [], "what requests share was touched"
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
        said = structs.asdict(received.completed.usage)
        assert {name: said[name] for name in row.usage} == row.usage
    if row.estimated is not None:
        assert received.completed.estimated == row.estimated
    if row.more is not None:
        _check_more(row.more, received)
    if row.adapted is not None:
        assert {each.parameter: each.change for each in received.completed.adapted} == row.adapted


def _check_more(more: Mapping[str, Any], received: ReceivedReply) -> None:
    """`more`: by key, what the choices of all deltas hold for it in their order, joined if they are texts."""
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
    for words in row.says:
        assert words in error.message, error.message
    assert len(error.message) < 4_000
    if row.provider_code is not None:
        assert error.provider_code == row.provider_code
    if row.provider_says is not None:
        assert row.provider_says in (error.provider_message or "")
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
    assert received.completed.model == f"{outcome.lane}-{outcome.row.neighbour}", "another model than before"
    assert received.text == f"from {outcome.row.neighbour}"
    assert len(outcome.neighbour_calls) == 1
    sent = outcome.neighbour_calls[0].body
    assert {name: sent.get(name) for name in outcome.row.neighbour_body} == outcome.row.neighbour_body
    assert outcome.row.neighbour_body.keys().isdisjoint(each.parameter for each in received.completed.adapted)
    assert received.took_s < AT_ONCE_S


def in_200(body: object, *, event: object = None) -> Both:
    """As the first event of a stream, and as the whole body."""
    first = data(body if event is None else event)
    return Both(stream(first, done=False), sized(json.dumps(body).encode()))


def all_models(answer: Answer | Both) -> dict[str, Script]:
    """A script by which no model does better than the first."""
    return {model: [answer] for model in MODELS}

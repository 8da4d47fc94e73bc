"""Many providers with one model each, all of which must answer a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field

from penstock.client.client import Client
from penstock.contract.events import Event
from tests.fault.worker.providers.rows.table import LANES, healthy
from tests.fault.worker.providers.rows.wire import error
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import shared_system
from tests.harness.providers.scripted_provider import Call, Part, scripted_provider
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask

__all__ = ["Single", "ask_each"]


class Single(Struct, frozen=True):
    """A provider and its model."""

    model: str
    """The model's name at the provider."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """The provider's section of the catalogue, without its address."""
    listing: Iterable[Part] | None = None
    """The response to `GET /models`; None: a list with another model."""


@contextmanager
def ask_each(
    directory: Path,
    singles: Mapping[str, Single],
    *,
    env: Mapping[str, str] | None = None,
    kind: type[Event],
    answer: Callable[[Call], Iterable[Part]] = healthy,
) -> Iterator[tuple[dict[str, ReceivedReply], list[Event], list[Call]]]:
    """The replies by model, the events of a kind, and all calls.

    A role has two models of two providers: the first answers one request and rejects another, which the second answers.
    """
    names = list(singles)
    half = -(-len(names) // 2)
    chains = {lane: [*names[number::half]] for number, lane in enumerate(LANES) if number < half}
    firsts = {f"p{number}" for number in range(half)}

    def act(call: Call) -> Iterable[Part]:
        if call.provider in firsts and call.body["messages"][-1]["content"] == "the second":
            return error(400, {"error": {"message": "not today", "type": "invalid_request_error"}})
        return answer(call)

    with scripted_provider("some-other-model") as provider:
        provider.answer = act
        base = provider.url.removesuffix("/v1")
        config = yaml.safe_load(catalogue(chains))
        for number, (name, single) in enumerate(singles.items()):
            config["providers"][f"p{number}"] = {**single.provider, "base_url": f"{base}/p{number}/v1"}
            config["models"][name] |= {"provider": f"p{number}", "name": single.model}
            if single.listing is not None:
                provider.listings[f"p{number}"] = single.listing
        with (
            shared_system(directory, ",".join(chains), config=yaml.safe_dump(config), env=env) as system,
            asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        ):
            received = runner.run(_ask_all(system.client(), chains))
            yield received, runner.run(stored_events(system, kind)), provider.calls


async def _ask_all(connecting: Any, chains: Mapping[str, list[str]]) -> dict[str, ReceivedReply]:
    client: Client
    received: dict[str, ReceivedReply] = {}
    async with await connecting as client:
        for place, prompt in enumerate(("the first", "the second")):
            lanes = [lane for lane, chain in chains.items() if place < len(chain)]
            replies = await asyncio.gather(*(ask(client, prompt, role=lane) for lane in lanes))
            received |= {chains[lane][place]: reply for lane, reply in zip(lanes, replies, strict=True)}
    return received

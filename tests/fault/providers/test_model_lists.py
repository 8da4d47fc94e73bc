"""A5, A9: a provider's list of models proves what it serves, and nothing of what it does not: the model is tried.

Each provider has one model and a list of its own; only a call that is refused for the model withdraws it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence

import pytest
import yaml
from msgspec import Struct

from schemas.events import ModelAvailabilityChanged
from tests.fault.providers.table import LANES, healthy
from tests.fault.providers.wire import RESET, Answer, error, sized, until_closed
from tests.harness.asking import Heard, ask
from tests.harness.catalogues import catalogue
from tests.harness.events import stored_events
from tests.harness.hostile import hostile_provider
from tests.harness.shared import shared


class Listed(Struct, frozen=True):
    """How the catalogue names a model, and what its provider lists."""

    name: str
    listing: Answer


def models(*names: str, **top: object) -> Answer:
    entries = [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in names]
    return sized(json.dumps({"object": "list", "data": entries, **top}).encode())


LISTS = {
    "as it is": Listed("m-1", models("m-1", "m-2")),
    "another": Listed("m-1", models("m-2")),
    "empty": Listed("m-1", models()),
    "null": Listed("m-1", sized(b'{"object":"list","data":null}')),  # Ollama without a model
    "ollama, a tag": Listed("llama3.2", models("llama3.2:latest", "qwen3:8b")),
    "gemini, a prefix": Listed(
        "gemini-2.5-flash", models("models/gemini-2.5-flash", "models/gemini-2.5-pro")
    ),
    "more pages": Listed(
        "claude-x", models("claude-a", has_more=True, first_id="a", last_id="b")
    ),  # Anthropic
    "a bare list": Listed("m-1", sized(b'[{"id":"m-2","type":"chat"}]')),  # Together
    "under models": Listed("m-1", sized(b'{"models":[{"name":"m-2","model":"m-2"}]}')),
    "a file's path": Listed("qwen3", models("/models/Qwen3-8B-Q4_K_M.gguf")),  # llama.cpp
    "other letters": Listed("meta-llama/llama-3.3-70b", models("meta-llama/Llama-3.3-70B")),
    "a date": Listed("gpt-x", models("gpt-x-2026-01-01")),
    "an account's path": Listed("m-9", models("accounts/fireworks/models/m-9")),
    "404": Listed("m-1", error(404, {"detail": "Not Found"})),
    "401": Listed("m-1", error(401, {"error": {"message": "no", "code": "invalid_api_key"}})),
    "500": Listed("m-1", error(500, "oops")),
    "html": Listed("m-1", until_closed(b"<html></html>", content_type="text/html")),
    "a reset": Listed("m-1", RESET),
}
HALF = len(LISTS) // 2
_NAMES = list(LISTS)
CHAINS: Mapping[str, Sequence[str]] = {
    lane: (_NAMES[number], _NAMES[HALF + number]) for number, lane in enumerate(LANES)
}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Heard]]:
    """Each role asks its first model, and then, with a request that this one refuses, its second."""
    with hostile_provider() as provider:
        provider.listings = {f"p{number}": listed.listing for number, listed in enumerate(LISTS.values())}
        provider.answer = lambda call: (
            error(400, {"error": {"message": "not today", "type": "invalid_request_error"}})
            if int(call.provider[1:]) < HALF and call.body["messages"][-1]["content"] == "the second"
            else healthy(call)
        )
        config = yaml.safe_load(catalogue(CHAINS))
        config["providers"] |= {
            f"p{number}": {"base_url": f"{provider.url.removesuffix('/v1')}/p{number}/v1"}
            for number in range(len(LISTS))
        }
        for number, (key, listed) in enumerate(LISTS.items()):
            config["models"][key] |= {"provider": f"p{number}", "name": listed.name}
        with shared(
            tmp_path_factory.mktemp("lists"), ",".join(LANES), config=yaml.safe_dump(config)
        ) as system:

            async def asked() -> dict[str, Heard]:
                async with await system.client() as client:
                    first = await asyncio.gather(*(ask(client, "the first", role=lane) for lane in LANES))
                    second = await asyncio.gather(*(ask(client, "the second", role=lane) for lane in LANES))
                withdrawn = [event.model for event in await stored_events(system, ModelAvailabilityChanged)]
                assert withdrawn == [], "a list withdrew a model"
                return dict(zip(LISTS, (*first, *second), strict=True))

            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                yield runner.run(asked())


@pytest.mark.parametrize("name", LISTS)
def test_a5_a_model_that_a_list_lacks_is_tried(heard: dict[str, Heard], name: str) -> None:
    assert heard[name].code is None, heard[name].end
    assert heard[name].completed.model == name
    assert heard[name].text == f"from {LISTS[name].name}"

"""A5, A9: a model that is missing from its provider's model list is called anyway.

Each provider has one model and its own list. Only a rejected call withdraws the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.contract.events import Event, ModelAvailabilityChanged
from tests.fault.worker.providers.rows.single_models import Single, ask_each
from tests.fault.worker.providers.rows.wire import RESET, Answer, error, sized, until_closed
from tests.harness.requests.replies import ReceivedReply


def single(model: str, listing: Answer) -> Single:
    return Single(model, {}, listing)


def models(*names: str, **top: object) -> Answer:
    entries = [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in names]
    return sized(json.dumps({"object": "list", "data": entries, **top}).encode())


LISTS = {
    "listed": single("m-1", models("m-1", "m-2")),
    "another model": single("m-1", models("m-2")),
    "empty": single("m-1", models()),
    "null": single("m-1", sized(b'{"object":"list","data":null}')),  # Ollama without a model
    "ollama, a tag": single("llama3.2", models("llama3.2:latest", "qwen3:8b")),
    "gemini, a prefix": single(
        "gemini-2.5-flash", models("models/gemini-2.5-flash", "models/gemini-2.5-pro")
    ),
    "more pages": single(
        "claude-x", models("claude-a", has_more=True, first_id="a", last_id="b")
    ),  # Anthropic
    "a JSON list": single("m-1", sized(b'[{"id":"m-2","type":"chat"}]')),  # Together
    "under the key models": single("m-1", sized(b'{"models":[{"name":"m-2","model":"m-2"}]}')),
    "a file's path": single("qwen3", models("/models/Qwen3-8B-Q4_K_M.gguf")),  # llama.cpp
    "another case": single("meta-llama/llama-3.3-70b", models("meta-llama/Llama-3.3-70B")),
    "a date": single("gpt-x", models("gpt-x-2026-01-01")),
    "an account's path": single("m-9", models("accounts/fireworks/models/m-9")),
    "404": single("m-1", error(404, {"detail": "Not Found"})),
    "401": single("m-1", error(401, {"error": {"message": "no", "code": "invalid_api_key"}})),
    "500": single("m-1", error(500, "oops")),
    "html": single("m-1", until_closed(b"<html></html>", content_type="text/html")),
    "a connection reset": single("m-1", RESET),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists")


@pytest.fixture(scope="module")
def done(directory: Path) -> Iterator[tuple[dict[str, ReceivedReply], list[Event]]]:
    with ask_each(directory, LISTS, kind=ModelAvailabilityChanged) as (
        received,
        events,
        _,
    ):
        yield received, events


@pytest.mark.parametrize("name", LISTS)
def test_a5_a_model_that_a_list_lacks_is_tried(
    done: tuple[dict[str, ReceivedReply], list[Event]], name: str
) -> None:
    received, events = done

    assert received[name].code is None, received[name].end
    assert received[name].completed.model == name
    assert received[name].text == f"from {LISTS[name].model}"
    assert [event for event in events if event.model == name] == []


def test_a5_a_model_that_its_provider_does_not_list_is_logged_once(
    done: tuple[dict[str, ReceivedReply], list[Event]], directory: Path
) -> None:
    assert done
    [path] = directory.glob("worker-*.log")
    log = path.read_text(encoding="utf-8")
    assert log.count("does not list another model; it is called anyway") == 1
    for name in ("listed", "ollama, a tag", "gemini, a prefix", "another case"):
        assert f"does not list {name}" not in log

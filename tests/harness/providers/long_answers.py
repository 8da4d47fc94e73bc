"""A provider whose answers are as long as the prompts say, and a system in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from tests.harness.processes.catalogues import catalogue
from tests.harness.providers.scripted_provider import DONE, Call, Part, ScriptedProvider, chunk, head, whole

__all__ = ["answer_at_length", "config_of"]

_PIECE = 16 * 1024


def answer_at_length(call: Call) -> Iterator[Part]:
    """The answer to `x 5000` is 5,000 times x."""
    letter, size = call.body["messages"][-1]["content"].split()
    if not call.body.get("stream"):
        body = whole(letter * int(size))
        yield head("200 OK", "application/json", f"Content-Length: {len(body)}")
        yield body
        return
    yield head()
    piece = chunk(letter * _PIECE)
    for _ in range(int(size) // _PIECE):
        yield piece
    yield chunk(letter * (int(size) % _PIECE))
    yield chunk(None, "stop")
    yield DONE


def config_of(provider: ScriptedProvider, slots: int) -> str:
    """A catalogue whose model of the role chat is the provider's; a worker has so many slots for it."""
    config = yaml.safe_load(catalogue(roles={"chat": {"slots_per_worker": slots}}))
    config["providers"]["simulator"]["base_url"] = provider.url
    return yaml.safe_dump(config)

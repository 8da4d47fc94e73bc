"""`penstock search`: the passages of a collection that answer a question best."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec import Struct, field

from penstock.cli.commands.question import read_prompt
from penstock.cli.connection import command_settings, open_client
from penstock.cli.render.retrieval.passages import passages_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract.retrieval.search import Filters, SearchAnswer, SearchMode
from penstock.runtime.config.settings import Settings

__all__ = ["SearchCommand", "search"]


class SearchCommand(Struct, frozen=True, kw_only=True):
    """The options of `penstock search`."""

    query: str
    """`-`: stdin."""
    collection: str
    top_k: int
    min_score: float
    mode: SearchMode
    filters: Filters = field(default_factory=dict)
    user: str = ""
    timeout_s: float
    as_json: bool = False


def search(command: SearchCommand, data: Path) -> int:
    """Exit code 1 if nothing was found. Raises BrokerUnreachable, ConfigurationRefused, CommandError, PenstockError."""
    query = read_prompt(command.query, sys.stdin.buffer, "question")
    answer = asyncio.run(_search(command, query, command_settings(data)))
    print(as_ascii_json(answer) if command.as_json else passages_text(answer))
    return 0 if answer.passages else 1


async def _search(command: SearchCommand, query: str, settings: Settings) -> SearchAnswer:
    async with open_client(settings) as client:
        return await client.search(
            command.collection,
            query,
            mode=command.mode,
            top_k=command.top_k,
            min_score=command.min_score,
            filters=command.filters,
            user=command.user,
            timeout_s=command.timeout_s,
        )

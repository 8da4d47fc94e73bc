"""The documents step of the demo: pages are indexed by meaning without a network, a question is answered from them, and
indexing them again calls no provider.
"""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import urllib.request
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from penstock.cli.connection import open_client
from penstock.cli.demo.catalogue import LIBRARY
from penstock.cli.demo.steps import DemoContext, StepResult
from penstock.cli.errors import CommandError
from penstock.cli.render.answer import AnswerPrinter
from penstock.cli.render.retrieval.passages import sources_text
from penstock.cli.retrieval.files import FileSelection, find_files
from penstock.cli.retrieval.sending import IndexTarget, send_files
from penstock.cli.retrieval.totals import IndexTotals
from penstock.client.client import Client
from penstock.client.reply import Reply
from penstock.contract.retrieval.search import Rag

__all__ = ["EXPECTED", "documents", "index_pages", "shipped_pages"]

_COLLECTION: Final = "docs"
_QUESTION: Final = "What happens to a running answer when the machine of its worker dies?"
EXPECTED: Final = "failure.md"
"""The page that answers it, in other words."""
_TIMEOUT_S: Final = 45.0
_SHOWN_SOURCES: Final = 3
_COUNTER: Final = "penstock_encoder_texts_total"


def shipped_pages() -> Path:
    """The folder of Penstock's own pages. Raises CommandError where they are not installed."""
    checkout = Path(__file__).resolve().parents[3] / "docs"
    installed = Path(sysconfig.get_path("data")) / "share" / "penstock" / "docs"
    for folder in (checkout, installed):
        if folder.is_dir():
            return folder
    raise CommandError(f"there are no pages to index: neither {checkout} nor {installed} exists")


async def index_pages(context: DemoContext) -> IndexTotals:
    """Index the pages for the first time, which takes some seconds."""
    async with open_client(replace(context.settings, account=LIBRARY)) as client:
        return await _index(client)


async def documents(context: DemoContext, indexed: Awaitable[IndexTotals]) -> StepResult:
    """Index the pages again once they are `indexed`, and ask about them."""
    first = await indexed
    async with open_client(replace(context.settings, account=LIBRARY)) as client:
        encoded = await _encoded_texts(context)
        again = await _index(client)
        calls = await _encoded_texts(context) - encoded
        print(f"    [{_COLLECTION}] {_QUESTION}", flush=True)
        reply = await _ask(client)
    print(_indented(sources_text(reply.citations[:_SHOWN_SOURCES])), flush=True)
    best = reply.citations[0].document if reply.citations else "nothing"
    cited = sum(citation.cited for citation in reply.citations)
    pages = first.report.indexed
    held = {
        f"{pages} pages in {first.report.chunks:,} chunks": first.is_complete and pages > 0,
        f"indexed again with {calls} provider calls": not calls and again.report.unchanged == pages,
        f"{best} was found": best == EXPECTED,
        f"the answer cites {cited} of {len(reply.citations)} passages": cited > 0,
    }
    text = ", ".join(what if is_held else f"NOT: {what}" for what, is_held in held.items())
    return StepResult(held=all(held.values()), text=text)


async def _index(client: Client) -> IndexTotals:
    found = find_files(FileSelection(paths=(shipped_pages(),), globs=("*.md",), exclude=("decisions",)))
    totals = IndexTotals.of_collection(_COLLECTION)
    target = IndexTarget(collection=_COLLECTION, metadata={})
    await send_files(client, target, found.files, totals, _Silent())
    return totals


async def _ask(client: Client) -> Reply:
    answer = AnswerPrinter(sys.stdout, sys.stdout, indent="    │ ")
    rag = Rag(collection=_COLLECTION)
    async with client.stream(_QUESTION, role="chat", timeout_s=_TIMEOUT_S, rag=rag) as events:
        async for event in events:
            answer.show(event)
    if answer.reply is None:
        raise CommandError("the answer from documents has no end")
    return answer.reply


async def _encoded_texts(context: DemoContext) -> int:
    """How many texts the local encoder has been given."""

    def read() -> str:
        url = f"{context.system.plan.encoder_url}/metrics"
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - an address of our own
            return str(answer.read(), "utf-8")

    lines = (await asyncio.to_thread(read)).splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(_COUNTER))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


class _Silent:
    """The step is short: it shows no progress."""

    def advance(self, documents: int, chunks: int) -> None:
        """Do nothing."""

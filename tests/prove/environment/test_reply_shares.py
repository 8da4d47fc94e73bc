"""Large replies of one account: all of them arrive, no other account loses its reply, and memory stays bounded."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from penstock.client.client import Client
from penstock.contract.reply import Completed, Delta, Restarted
from penstock.contract.streams import REPLIES
from tests.harness.processes.system import System, running_system
from tests.harness.providers.long_answers import answer_at_length, config_of
from tests.harness.providers.scripted_provider import scripted_provider
from tests.harness.requests.edge_client import chat_body
from tests.harness.requests.replies import ask, text_of
from tests.harness.suite.proofs import report_figures

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]

MIB = 1024 * 1024
LARGE = 15 * MIB
AT_ONCE = 40
SMALL = 40_000
MEMORY_MB = 300
"""How much the reading process may grow; the answers have 600 MiB."""
BESIDE = 10
"""Large answers beside a slow reader: with its own they are within the share of a lone account."""
SLOW_PIECE, SLOW_EVERY_S = 192 * 1024, 0.1


async def is_whole(client: Client, letter: str) -> bool:
    """Reads an answer as an application does that keeps none of it."""
    size, end = 0, None
    async for end in client.stream(f"{letter} {LARGE}", role="chat"):
        size = 0 if isinstance(end, Restarted) else size + (len(end.text) if isinstance(end, Delta) else 0)
    return isinstance(end, Completed) and size == LARGE


async def stored_share(system: System) -> str:
    metrics = await system.metrics(system.router)
    found = re.search(r"^penstock_replies_fill (\S+)", metrics, re.MULTILINE)
    assert found is not None
    return found[1][:4]


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_e2_forty_answers_of_15_mib_cost_no_other_account_its_reply(
    tmp_path: Path, workers: int
) -> None:
    with scripted_provider("m-chat") as provider:
        provider.answer = answer_at_length
        async with (
            running_system(
                tmp_path, *["chat"] * workers, config=config_of(provider, AT_ONCE // workers), fresh=True
            ) as system,
            await system.client(account="small") as other,
            await system.client(account="large") as client,
        ):
            mine = await ask(other, f"s {SMALL}", role="chat")
            process, began_s = psutil.Process(), time.monotonic()
            before_mb = process.memory_info().rss / 1e6
            whole = await asyncio.gather(*(is_whole(client, "l") for _ in range(AT_ONCE)))
            took_s, grown_mb = time.monotonic() - began_s, process.memory_info().rss / 1e6 - before_mb
            again = [event async for event in other.resume(mine.id)]
            report_figures(
                f"{AT_ONCE} answers of 15 MiB at once, {workers} workers: {sum(whole)} whole in {took_s:.0f} s, "
                f"{len(provider.calls) - 1} calls; {await stored_share(system)} of {REPLIES.name} used; memory of the "
                f"readers +{grown_mb:.0f} MB, workers {[round(each.rss_mb()) for each in system.workers]} MB"
            )
    assert all(whole)
    assert text_of(again) == "s" * SMALL
    assert grown_mb < MEMORY_MB


async def read_slowly(url: str) -> bytes:
    body = chat_body(f"s {LARGE}", model="chat", stream=True)
    async with (
        aiohttp.ClientSession(read_bufsize=SLOW_PIECE) as session,
        session.post(f"{url}/v1/chat/completions", json=body) as answer,
    ):
        received = bytearray()
        while piece := await answer.content.read(SLOW_PIECE):
            received += piece
            await asyncio.sleep(SLOW_EVERY_S)
        return bytes(received)


async def test_e2_a_slow_reader_gets_its_reply_within_the_share_of_its_account(tmp_path: Path) -> None:
    with scripted_provider("m-chat") as provider:
        provider.answer = answer_at_length
        async with (
            running_system(tmp_path, "chat", config=config_of(provider, AT_ONCE), fresh=True) as system,
            await system.client() as client,
        ):
            edge = system.new_edge()
            await edge.start()
            before_mb, began_s = edge.rss_mb(), time.monotonic()
            slow = asyncio.create_task(read_slowly(edge.ready["url"]))
            assert all(await asyncio.gather(*(is_whole(client, "l") for _ in range(BESIDE))))
            written_s = time.monotonic() - began_s
            received = await slow
            report_figures(
                f"an HTTP client that read 15 MiB in {time.monotonic() - began_s:.0f} s beside {BESIDE} answers of 15 "
                f"MiB of its account in {written_s:.0f} s: memory of the edge +{edge.rss_mb() - before_mb:.0f} MB"
            )
    assert sum(map(len, re.findall(rb'"content": ?"(s+)"', received))) == LARGE
    assert received.rstrip().endswith(b"data: [DONE]")

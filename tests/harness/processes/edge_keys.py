"""API keys, made and revoked by the command line, and when the edges know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System
from tests.harness.requests.edge_client import request
from tests.harness.suite.waiting import until

__all__ = ["PROMISED_S", "answers", "new_key", "revoke", "status_of", "until_all_answer", "usable_key"]

PROMISED_S = 2.0
"""A new key works, and a revoked one ends, within this time at every edge."""


async def new_key(system: System, *arguments: str) -> str:
    made = await run_command(system, "keys", "create", *arguments)
    assert made.code == 0, made.notes
    return made.out.strip()


async def revoke(system: System, key: str) -> None:
    revoked = await run_command(system, "keys", "revoke", key[4:12])
    assert revoked.code == 0, revoked.notes


async def status_of(url: str, key: str | None) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return (await request("GET", f"{url}/v1/models", headers=headers)).status


def answers(url: str, key: str | None, status: int) -> Callable[[], Awaitable[bool]]:
    async def answered() -> bool:
        return await status_of(url, key) == status

    return answered


async def until_all_answer(urls: tuple[str, ...], key: str | None, status: int) -> None:
    for url in urls:
        await until(answers(url, key, status), PROMISED_S)


async def usable_key(system: System, urls: tuple[str, ...], *arguments: str) -> str:
    key = await new_key(system, *arguments)
    await until_all_answer(urls, key, 200)
    return key

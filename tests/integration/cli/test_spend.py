"""F5: requests of a running system are in `penstock spend` at once, and `penstock ledger verify` agrees."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, running_system
from tests.harness.records.ledger_books import nothing_held, provider_attempts
from tests.harness.suite.waiting import until

CONFIG = catalogue(
    {"chat": ["m-chat"]},
    models={"m-chat": {"price": {"input": 75_000, "output": 300_000}}},
    budgets={"every_account": {"microusd_per_day": 1_000_000}},
)


async def test_f2_f4_f5_what_users_asked_is_in_the_report_to_the_token_and_the_books_agree(
    tmp_path: Path,
) -> None:
    async with running_system(tmp_path, "chat", config=CONFIG, ledgers=1) as system:
        client = await system.client(account="shop")
        asked = [("anna", 3), ("bob", 1)]
        await asyncio.gather(
            *(
                client.chat("Why is the sky blue?", role="chat", user=user)
                for user, count in asked
                for _ in range(count)
            )
        )
        await client.close()
        await nothing_held(system, "shop", 10)
        spent = (
            await run_command(system, "spend", "--since", "1d", "--by", "account,user,model", "--json")
        ).json
        used = await provider_attempts(system)
        assert {row["user"]: row["requests"] for row in spent["rows"]} == dict(asked)
        assert {(row["account"], row["model"]) for row in spent["rows"]} == {("shop", "m-chat")}
        total = spent["total"]
        assert total["input_tokens"] == sum(each.prompt_tokens for each in used)
        assert total["output_tokens"] == sum(each.completion_tokens for each in used)
        exact = total["input_tokens"] * 75_000 + total["output_tokens"] * 300_000
        assert total["spent_picousd"] == exact == sum(row["spent_picousd"] for row in spent["rows"])
        await until(lambda: books_agree(system), 10)


async def books_agree(system: System) -> bool:
    verified = await run_command(system, "ledger", "verify", "--json")
    bookings = sum(each["bookings"] for each in verified.json["partitions"] if each["partition"] != "system")
    return verified.code == 0 and bookings == 4

"""The budget step of the demo: one user is stopped at a daily budget while another goes on, and what all spent."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from typing import Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.cli.connection import open_connection
from penstock.cli.demo.steps import DemoContext, StepResult
from penstock.cli.errors import CommandError
from penstock.cli.render.costs import picousd_text
from penstock.cli.render.spend import spend_text
from penstock.contract import codec, subjects
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from penstock.contract.ledger.spend import SpendQuery, SpendReport
from penstock.errors import RequestFailed
from penstock.runtime.buckets.changes import Author
from penstock.runtime.budgets.changes import change_policy
from services.ledger.spend.grouping import month_start_s

__all__ = ["budget"]

_STOPPED, _OTHER = "ben", "ada"
_BUDGET_MICROUSD: Final = 50
"""A day's budget for a few short answers of the role `fast`."""
_ROLE: Final = "fast"
_MOST: Final = 30
_ANSWERS_OF_OTHER: Final = 3
_OUTPUT_TOKENS: Final = 40
_TIMEOUT_S: Final = 45.0
_BOOKED_S: Final = 10.0
_POLL_S: Final = 0.1


async def budget(context: DemoContext) -> StepResult:
    """Set a budget for one user, use it up, and compare what the ledger booked with the provider's own count."""
    async with open_connection(context.settings, "penstock-demo-budget") as nc:
        account = context.settings.account
        await _set_budget(nc, account)
        before = await _provider_tokens(context)
        answers, refusal = await _ask_until_refused(context)
        for number in range(_ANSWERS_OF_OTHER):
            await _ask(context, _OTHER, number)
        used = await _provider_tokens(context) - before
        report = await _booked(nc, account, answers + _ANSWERS_OF_OTHER)
        booked = sum(_tokens(each) for each in report)
        await _print_spend(nc, account)
    held = refusal == "budget_exceeded" and 0 < answers < _MOST and booked == used
    spent = sum(each.total.picousd for each in report)
    text = (
        f"{_STOPPED}: {answers} answers, then {refusal} at ${_BUDGET_MICROUSD / 1e6:.6f} a day; {_OTHER}: "
        f"{_ANSWERS_OF_OTHER} answers; booked {booked} tokens for {picousd_text(spent)}, counted by the provider {used}"
    )
    return StepResult(held=held, text=text)


async def _set_budget(nc: Nats, account: str) -> None:
    limits = BudgetLimits(microusd_per_day=_BUDGET_MICROUSD)
    policy = BudgetPolicy(scope="user", account=account, name=_STOPPED, limits=limits)
    author = Author(name="penstock demo", at_ms=SYSTEM.unix_ms())
    await change_policy(nc.jetstream(), policy, lambda _: policy, author)


async def _ask_until_refused(context: DemoContext) -> tuple[int, str]:
    """The number of answers, and the code of the refusal; empty if there was none."""
    for number in range(_MOST):
        try:
            await _ask(context, _STOPPED, number)
        except RequestFailed as refused:
            print(f"    {refused}", flush=True)
            return number, refused.code
    return _MOST, ""


async def _ask(context: DemoContext, user: str, number: int) -> None:
    await context.client.chat(
        f"What is {number} + {number}? [[tokens={_OUTPUT_TOKENS}]]",
        role=_ROLE,
        user=user,
        max_tokens=_OUTPUT_TOKENS,
        timeout_s=_TIMEOUT_S,
    )


async def _provider_tokens(context: DemoContext) -> int:
    """All tokens that the simulator has counted."""
    url = f"{context.system.plan.simulator_url}/sim/counts"

    def read() -> Any:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - an address of our own
            return msgspec.json.decode(answer.read())

    models = (await asyncio.to_thread(read))["models"].values()
    return sum(model["prompt_tokens"] + model["completion_tokens"] for model in models)


async def _booked(nc: Nats, account: str, attempts: int) -> list[SpendReport]:
    """The spend of both users, once the ledger has booked so many attempts."""
    give_up_s = time.monotonic() + _BOOKED_S
    while True:
        report = [await _spend(nc, account, user) for user in (_STOPPED, _OTHER)]
        if sum(each.total.attempts for each in report) >= attempts or time.monotonic() > give_up_s:
            return report
        await asyncio.sleep(_POLL_S)


async def _print_spend(nc: Nats, account: str) -> None:
    report = await _spend(nc, account, "")
    text = spend_text(report, ("user", "model"), title="Spend by user and model", outlook=None)
    print("\n".join(f"    {line}" for line in text.splitlines()), flush=True)


async def _spend(nc: Nats, account: str, user: str) -> SpendReport:
    now_s = int(SYSTEM.unix_s())
    query = SpendQuery(
        since_s=month_start_s(now_s),
        until_s=now_s + 1,
        by=("user", "model"),
        account=account,
        user=user,
    )
    try:
        msg = await nc.request(subjects.LEDGER_SPEND, codec.encode(query), timeout=_TIMEOUT_S)
    except (nats.errors.NoRespondersError, nats.errors.TimeoutError) as error:
        raise CommandError("the ledger does not answer") from error
    return codec.SPEND_REPORT.decode(msg.data)


def _tokens(report: SpendReport) -> int:
    return report.total.input_tokens + report.total.output_tokens

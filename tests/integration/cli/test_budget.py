"""F3: budgets and prices are shown and changed by commands, completely or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.bucket import read_records
from penstock.bus.connection import close, connect
from penstock.cli.__main__ import main
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetAlerted
from penstock.contract.keys import ApiKey
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy, PriceOverride
from penstock.contract.ledger.status import BudgetReport, BudgetStatus
from penstock.contract.streams import BUDGETS
from penstock.runtime.api_keys.bucket import store_key
from penstock.runtime.budgets.records import BudgetRecords, decoded, records_of
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.unit.runtime.config.example import RIGHT

SECTION = "budgets: {tiers: {free: {requests_per_hour: 10}}}\n"
Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def admin(own_nats_server: NatsServer) -> AsyncIterator[Nats]:
    nc = await connect(own_nats_server.url, name="test-admin")
    await ensure(nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    yield nc
    await close(nc)


@pytest.fixture
def run(
    admin: Nats,
    own_nats_server: NatsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    (tmp_path / "mine.yaml").write_text(RIGHT + SECTION)
    monkeypatch.setenv("NATS_URL", own_nats_server.url)
    monkeypatch.setenv("PENSTOCK_CATALOGUE", str(tmp_path / "mine.yaml"))
    monkeypatch.setenv("PENSTOCK_ACCOUNT", "shop")

    async def command(line: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        capsys.readouterr()
        code = await asyncio.to_thread(main, line.split())
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


async def stored(nc: Nats) -> BudgetRecords:
    return records_of(await read_records(nc, BUDGETS), BudgetRecords())


async def test_f3_a_budget_is_set_changed_disabled_and_removed(admin: Nats, run: Run):
    code, out, err = await run("budget set --account shop --usd-per-day 10 --tier free --by ann --note trial")
    assert (code, err) == (0, "")
    assert out == (
        "Budget of account shop: no limits -> tier free, requests_per_hour 10, usd_per_day $10.00, by ann.\n"
    )
    assert (
        await run("budget set --account shop --usd-per-day none --concurrency 4 --soft concurrency --by bob")
    )[0] == 0
    (policy,) = (await stored(admin)).policies.values()
    assert (policy.limits, policy.tier, policy.soft) == (
        BudgetLimits(concurrency=4),
        "free",
        ("concurrency",),
    )
    assert (policy.version, policy.changed_by, policy.note) == (2, "bob", "")
    assert (await run("budget disable --account shop"))[0] == 0
    (policy,) = (await stored(admin)).policies.values()
    assert (policy.disabled, policy.limits.concurrency) == (True, 4)
    assert (await run("budget enable --account shop"))[0] == 0
    code, _, err = await run("budget enable --account shop")
    assert code == 1
    assert "is not disabled" in err
    assert "account shop" in (await run("budget list"))[1]
    assert (await run("budget unset --account shop"))[0] == 0
    assert (await stored(admin)).policies == {}
    assert "Nothing to change" in (await run("budget unset --account shop"))[1]
    history = json.loads((await run("budget history --json"))[1])
    assert [change["changed_by"] for change in history[:2]] == ["ann", "bob"]
    assert len(history) == 5
    assert (await run("budget history --account other"))[1].startswith("No budget or price was changed")


@pytest.mark.parametrize(
    ("options", "scope", "account", "name"),
    [
        ("--user u@x.org", "user", "shop", "u@x.org"),
        ("--account a --user u", "user", "a", "u"),
        ("--every user", "user", "*", "*"),
        ("--every key --account a", "key", "a", "*"),
        ("--every account", "account", "*", ""),
        ("--tier-definition pro", "tier", "", "pro"),
        ("--system", "system", "", ""),
        ("--key abcd2345", "key", "store", "abcd2345"),
        ("--key abcd2345 --account store", "key", "store", "abcd2345"),
    ],
)
async def test_f3_each_scope_has_a_budget(
    admin: Nats, run: Run, options: str, scope: str, account: str, name: str
):
    key = ApiKey(prefix="abcd2345", sha256="0" * 64, account="store", created_ms=1)
    await store_key(admin.jetstream(), key)
    assert (await run(f"budget set {options} --concurrency 3"))[0] == 0
    (policy,) = (await stored(admin)).policies.values()
    assert (policy.scope, policy.account, policy.name) == (scope, account, name)


async def test_f3_a_part_of_the_traffic_has_limits_of_its_own(admin: Nats, run: Run):
    await run("budget set --system --traffic chat --requests-per-second 10")
    await run("budget set --system --traffic embed --requests-per-second 50")
    await run("budget set --system --traffic embed --requests-per-second none")
    (policy,) = (await stored(admin)).policies.values()
    assert (policy.chat, policy.embed) == (BudgetLimits(requests_per_second=10), None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("budget set --account shop --tier fre", "there is no tier fre: write free"),
        ("budget set --key zzzz2345 --concurrency 1", "there is no key with the prefix zzzz2345"),
        ("budget set --key zzzz2345 --account a --concurrency 1", "`penstock keys list`"),
        ("prices set small --input 1", "has no price yet: give --output"),
        ("prices set smal --input 1 --output 1", "has no model smal: write small"),
        ("prices unset smal", "has no model smal: write small"),
    ],
)
async def test_f3_a_rejected_change_stores_nothing(admin: Nats, run: Run, line: str, reason: str):
    code, out, err = await run(line)
    assert (code, out) == (1, "")
    assert reason in err
    assert await stored(admin) == BudgetRecords()


async def test_f3_a_tier_that_a_command_defined_can_be_used(run: Run):
    await run("budget set --tier-definition gold --concurrency 9")
    assert (await run("budget set --account shop --tier gold"))[0] == 0


async def test_f3_without_a_section_budgets_the_command_says_that_nothing_applies(run: Run, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    code, _, err = await run("budget set --account shop --concurrency 1")
    assert code == 0
    assert "has no section budgets" in err
    code, _, err = await run("prices set large --input 1")
    assert code == 0
    assert "has no section budgets" in err
    code, out, err = await run("ledger status")
    assert code == 1
    assert "no live ledger owns any partition" in out
    assert "has no section budgets" in err


async def test_f3_show_asks_the_ledger_of_the_account(admin: Nats, run: Run):
    code, _, err = await run("budget show")
    assert code == 1
    assert "no ledger answers" in err

    async def answer(msg: Msg) -> None:
        query = codec.BUDGET_QUERY.decode(msg.data)
        status = BudgetStatus(
            scope=query.scope,
            account=query.account,
            name=query.name,
            policy=BudgetPolicy(scope=query.scope),
            limits=(LimitStatus(scope=query.scope, limit="concurrency", allowed=4, left=4),),
        )
        await msg.respond(codec.encode(BudgetReport(status=status, at_ms=0)))

    for partition in (subjects.partition_of("shop"), subjects.SYSTEM_PARTITION):
        await admin.subscribe(subjects.ledger_budget(partition), cb=answer)
    await admin.flush()
    _, out, _ = await run("budget show --user u")
    assert "account shop" in out
    assert "user u of shop" in out
    shown = json.loads((await run("budget show --system --json"))[1])
    assert [report["status"]["scope"] for report in shown] == ["system"]


async def test_f3_tiers_and_every_user_are_shown_with_what_they_inherit(run: Run):
    await run("budget set --every user --tier free")
    await run("budget set --tier-definition free --concurrency 2")
    out = (await run("budget show --every user --account shop"))[1]
    assert out.startswith("every user of shop (tier free)\n")
    assert out.count("tier free") == 3
    rows = [line.split() for line in (await run("budget show --tier-definition free"))[1].splitlines()[3:]]
    assert rows == [["requests_per_hour", "10", "catalogue"], ["concurrency", "2", "set"]]
    code, _, err = await run("budget show --tier-definition fre")
    assert code == 1
    assert "there is no tier fre: write free" in err
    shown = json.loads((await run("budget show --every user --json"))[1])
    assert shown["limits"] == {"requests_per_hour": 10, "concurrency": 2}


async def test_f3_the_history_of_one_user_or_of_the_system_is_shown_alone(run: Run):
    for options in ("--system", "--account shop --user ann", "--account shop"):
        await run(f"budget set {options} --concurrency 3")
    await run("prices set small --input 1 --output 1")

    async def scopes(options: str) -> list[str]:
        changes = json.loads((await run(f"budget history --json {options}"))[1])
        return [change["after"].get("scope", "price") for change in changes]

    assert await scopes("") == ["system", "user", "account", "price"]
    assert await scopes("--system") == ["system"]
    assert await scopes("--user ann") == ["user"]
    assert await scopes("--account shop") == ["user", "account"]


async def test_f3_alerts_are_listed_newest_first(admin: Nats, run: Run):
    assert (await run("budget alerts"))[1].startswith("No budget has reached")
    for percent, at_ms in ((80, 1_000), (100, 2_000)):
        alert = BudgetAlerted(
            scope="account",
            account="shop",
            limit="tokens_per_day",
            percent=percent,
            spent=percent,
            allowed=100,
            period_start_ms=0,
            resets_at_ms=0,
            at_ms=at_ms,
        )
        subject = subjects.budget_event("account", "shop.", 0, "tokens_per_day", percent)
        await admin.jetstream().publish(subject, codec.encode(alert))
    rows = (await run("budget alerts"))[1].splitlines()[2:]
    assert ["100%" in row for row in rows] == [True, False]
    assert (await run("budget alerts --since 1d"))[1].startswith("No budget has reached")


async def test_f4_a_price_is_replaced_and_listed_with_its_source(admin: Nats, run: Run):
    code, out, _ = await run(
        "prices set small --input 0.15 --output 0.6 --cached-input 0.075 --as-of 2026-11-30 --source list --by ann"
    )
    assert code == 0
    assert "input $0.15, output $0.60, cached input $0.075 per million tokens, by ann" in out
    (override,) = (await stored(admin)).prices.values()
    assert isinstance(override, PriceOverride)
    assert (override.prices.cached_input, override.version) == (75_000, 1)
    listed = {row["model"]: row for row in json.loads((await run("prices list --json"))[1])}
    assert listed["small"]["changed_by"] == "ann"
    assert listed["large"]["prices"]["input"] == 100
    assert "price of small" in (await run("budget history"))[1]
    assert (await run("prices unset small"))[0] == 0
    assert (await stored(admin)).prices == {}
    assert "Nothing to change" in (await run("prices unset small"))[1]


async def test_f4_a_price_that_is_not_named_stays_as_it_is(admin: Nats, run: Run):
    await run("prices set large --cached-input 0.00001 --as-of 2026-11-30 --source list")
    (override,) = (await stored(admin)).prices.values()
    assert (override.prices.input, override.prices.cached_input, override.source) == (100, 10, "list")
    _, out, _ = await run("prices set large --output 0.3 --by ann")
    before, after = out.split(" -> ")
    assert "output $0.0002" in before
    assert "output $0.30, cached input $0.00001 per million tokens, by ann" in after
    (override,) = (await stored(admin)).prices.values()
    assert (override.prices.cached_input, override.as_of, override.source) == (10, "", "")
    await run("prices set large --cached-input none")
    assert "Nothing to change" in (await run("prices set large --output 0.3"))[1]
    (override,) = (await stored(admin)).prices.values()
    assert (override.prices.cached_input, override.version) == (None, 3)


async def test_f3_a_tier_in_use_is_not_removed(admin: Nats, run: Run):
    await run("budget set --tier-definition gold --concurrency 9")
    await run("budget set --account shop --user ann --tier gold")
    code, out, err = await run("budget unset --tier-definition gold")
    assert (code, out) == (1, "")
    assert "the tier gold is in use" in err
    assert "user ann of shop" in err
    await run("budget set --account shop --user ann --tier free")
    assert (await run("budget unset --tier-definition gold"))[0] == 0
    _, out, _ = await run("budget set --tier-definition free --requests-per-hour 1 --by ann")
    assert out == "Budget of tier free: requests_per_hour 10 -> requests_per_hour 1, by ann.\n"
    await run("budget set --account shop --tier free")
    assert (await run("budget unset --tier-definition free"))[0] == 0, "the catalogue still defines it"


async def test_f3_a_soft_limit_stays_soft_until_it_is_named_hard(admin: Nats, run: Run, tmp_path: Path):
    soft = "budgets: {accounts: {shop: {usd_per_month: 500, soft: [usd_per_month]}}}\n"
    (tmp_path / "mine.yaml").write_text(RIGHT + soft)
    code, _, err = await run("budget set --account shop --hard usd_per_month")
    assert code == 1
    assert "give its amount too, with --usd-per-month" in err
    _, out, _ = await run("budget set --account shop --usd-per-month 60 --by ann")
    assert out == (
        "Budget of account shop: usd_per_month $500.00 (soft) -> usd_per_month $60.00 (soft), by ann.\n"
    )
    _, out, _ = await run("budget set --account shop --hard usd_per_month")
    assert "$60.00 (soft) -> usd_per_month $60.00, by" in out


async def test_f3_a_key_has_the_account_of_its_record(admin: Nats, run: Run):
    key = ApiKey(prefix="abcd2345", sha256="0" * 64, account="demo", created_ms=1)
    await store_key(admin.jetstream(), key)
    code, _, err = await run("budget set --key abcd2345 --account shop --concurrency 1")
    assert code == 1
    assert "belongs to the account demo, not to shop" in err
    assert await stored(admin) == BudgetRecords()


async def test_f3_a_note_is_of_one_change_and_a_change_of_nothing_is_none(admin: Nats, run: Run):
    await run("budget disable --account shop --note unpaid")
    await run("budget enable --account shop")
    (policy,) = (await stored(admin)).policies.values()
    assert (policy.note, policy.version) == ("", 2)
    assert (await run("budget list"))[1].count("unpaid") == 0
    await run("budget set --account shop --concurrency 2 --note trial")
    assert "Nothing to change" in (await run("budget set --account shop --concurrency 2"))[1]
    (policy,) = (await stored(admin)).policies.values()
    assert (policy.note, policy.version) == ("trial", 3)
    assert (await run("budget history"))[1].count("budget of account shop") == 3


async def test_f3_a_record_that_is_not_valid_is_repaired_by_the_next_change(admin: Nats, run: Run):
    await admin.jetstream().publish(f"$KV.{BUDGETS.name}.policy.account.shop", b"{")
    assert (await run("budget set --account shop --concurrency 1"))[0] == 0
    (record,) = await read_records(admin, BUDGETS)
    assert isinstance(decoded(record), BudgetPolicy)

"""G1, G2: guard policies are shown and changed by commands, and a running guard is asked about texts."""

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
from penstock.contract.events import GuardDecided
from penstock.contract.guard.checks import DetectorFailure, Finding, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import EVERY, GUARD_ACCOUNT, GuardPolicy
from penstock.contract.streams import GUARD_POLICIES
from penstock.runtime.guard.records import records_of
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.unit.runtime.config.example import RIGHT

SECTION = "guard: {accounts: {bank: {mode: off}}}\n"
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

    async def command(line: str, *more: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        capsys.readouterr()
        code = await asyncio.to_thread(main, [*line.split(), *more])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return command


async def stored(nc: Nats) -> dict[str, GuardPolicy]:
    return records_of(await read_records(nc, GUARD_POLICIES), {})


async def answer_checks(nc: Nats) -> list[GuardCheck]:
    """A guard that finds `@` in texts; with a policy, an input with it is blocked. Returns the checks that it gets."""
    checks: list[GuardCheck] = []

    async def answer(msg: Msg) -> None:
        check = codec.GUARD_CHECK.decode(msg.data)
        checks.append(check)
        action = "block" if check.apply_policy and check.direction == "input" else "flag"
        found = tuple(
            Finding(
                text=number,
                start=text.text.index("@"),
                end=text.text.index("@") + 1,
                category="personal_data",
                kind="email",
                detector="personal_data",
                action=action,
            )
            for number, text in enumerate(check.texts)
            if "@" in text.text
        )
        failures = (
            (DetectorFailure(detector="secrets", why="timeout"),) if "fail" in check.texts[0].text else ()
        )
        verdict = GuardVerdict(
            id=check.id, action=action if found else "allow", findings=found, failures=failures, guard="g1"
        )
        await msg.respond(codec.encode(verdict))

    await nc.subscribe(subjects.GUARD_CHECK, queue="guard", cb=answer)
    return checks


async def test_g2_a_policy_is_set_changed_and_removed(admin: Nats, run: Run):
    code, out, err = await run(
        "guard set shop --mode before --input personal_data=redact --no-restore --by ann --note trial"
    )
    assert (code, err) == (0, "")
    assert out == (
        "Guard policy of account shop: mode beside -> before, input personal_data flag -> redact, restore yes -> no, "
        "by ann.\n"
    )
    code, out, _ = await run("guard set shop --mode inherit --output personal_data/email=block --by bob")
    assert "mode before -> beside, output personal_data/email not set -> block, by bob" in out
    assert await stored(admin) == {
        "shop": GuardPolicy(
            account="shop",
            input={"personal_data": "redact"},
            output={"personal_data/email": "block"},
            restore=False,
            version=2,
            changed_by="bob",
            changed_ms=(await stored(admin))["shop"].changed_ms,
        )
    }
    assert "Nothing to change" in (await run("guard set shop --no-restore"))[1]
    shown = (await run("guard show shop"))[1]
    assert "version 2, changed by bob" in shown
    assert "output personal_data/email    block   own" in shown
    assert (await run("guard unset shop --by eve"))[0] == 0
    assert await stored(admin) == {}
    assert "Nothing to change" in (await run("guard unset shop"))[1]
    history = json.loads((await run("guard history shop --json"))[1])
    assert [change["changed_by"] for change in history] == ["ann", "bob", "eve"]
    assert (await run("guard history bank"))[1].startswith("No guard policy was changed")
    assert (await run("guard history"))[1].count("guard policy of account shop") == 3


async def test_g2_every_account_has_a_policy_too(admin: Nats, run: Run):
    code, out, _ = await run("guard set --every --mode before --when-unavailable prompt_injection=allow")
    assert code == 0
    assert (
        "Guard policy of every account: mode beside -> before, prompt_injection unavailable refuse -> allow"
        in out
    )
    assert list(await stored(admin)) == [EVERY]
    code, out, _ = await run("guard show")
    assert code == 0
    assert "every account without its own, version 1" in out
    assert "bank" in out
    fields = json.loads((await run("guard show bank --json"))[1])
    assert (fields["in_force"]["mode"], fields["from"]["mode"]) == ("before", "every account")
    assert [each["account"] for each in json.loads((await run("guard show --json"))[1])] == ["*", "bank"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("guard set shop --input hate=block", "no enabled detector finds hate"),
        ("guard set shop --when-unavailable safety_model=refuse", "safety_model is not enabled"),
        (f"guard set {GUARD_ACCOUNT} --mode before", "never checked"),
    ],
)
async def test_g2_a_change_without_effect_stores_nothing(admin: Nats, run: Run, line: str, reason: str):
    code, out, err = await run(line)
    assert (code, out) == (1, "")
    assert reason in err
    assert await stored(admin) == {}


async def test_g2_without_a_section_guard_the_command_says_that_nothing_is_checked(run: Run, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    code, _, err = await run("guard set shop --mode off")
    assert code == 0
    assert "has no section guard" in err
    assert "has no section guard" in (await run("guard show"))[2]


async def test_g2_a_record_that_is_not_valid_is_repaired_by_the_next_change(admin: Nats, run: Run):
    await admin.jetstream().publish(f"$KV.{GUARD_POLICIES.name}.account.shop", b"{")
    assert (await run("guard set shop --mode off"))[0] == 0
    assert (await stored(admin))["shop"].mode == "off"


async def test_g1_try_shows_each_finding_and_its_place(admin: Nats, run: Run, tmp_path: Path):
    checks = await answer_checks(admin)
    (tmp_path / "mail.txt").write_text("Hello\nann@example.org")
    code, out, err = await run("guard try --file", str(tmp_path / "mail.txt"))
    assert (code, err) == (0, "")
    assert "personal_data/email  2:4  @     personal_data   1.00  -\n" in out
    assert (checks[0].apply_policy, checks[0].direction, checks[0].texts[0].origin) == (
        False,
        "input",
        "user",
    )
    code, out, _ = await run("guard try --json", "a@b")
    assert (
        json.loads(out)["findings"][0] | {"line": 1, "column": 2, "span": "@"}
        == json.loads(out)["findings"][0]
    )
    code, out, _ = await run("guard try", "all is well")
    assert (code, out) == (0, "nothing found: allow, 0.0 ms by g1\n")
    code, out, err = await run("guard try", "fail")
    assert (code, "not checked by secrets (timeout)" in out) == (1, True)
    assert "not completely checked" in err


async def test_g1_try_for_an_account_exits_3_where_its_policy_blocks(admin: Nats, run: Run):
    checks = await answer_checks(admin)
    code, out, _ = await run("guard try a@b --account store")
    assert (code, "1 finding: block" in out) == (3, True)
    assert (checks[0].account, checks[0].apply_policy) == ("store", True)
    assert (await run("guard try a@b --account store --output"))[0] == 0
    assert (checks[1].direction, checks[1].texts[0].origin) == ("output", "output")
    assert "account bank is off" in (await run("guard try hello --account bank"))[2]


async def test_g1_a_text_that_cannot_be_checked_is_an_error(run: Run, tmp_path: Path):
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    (tmp_path / "long.txt").write_text("x" * (1024 * 1024 + 1))
    for more, reason in (
        (["--file", str(tmp_path / "none.txt")], "cannot be read: no such file"),
        (["--file", str(tmp_path / "latin.txt")], "not UTF-8"),
        (["--file", str(tmp_path / "long.txt")], "at most 1 MiB"),
        ([" "], "the text is empty"),
    ):
        code, out, err = await run("guard try", *more)
        assert (code, out) == (1, "")
        assert reason in err


async def test_g4_without_a_guard_the_commands_say_so(run: Run, tmp_path: Path):
    code, out, err = await run("guard try hello")
    assert (code, out) == (1, "")
    assert "no guard answers" in err


async def test_g1_test_measures_a_labelled_set(admin: Nats, run: Run, tmp_path: Path):
    checks = await answer_checks(admin)
    lines = [
        {"text": "ann@example.org", "findings": [{"start": 0, "end": 15, "kind": "email"}]},
        {"text": "no address", "kinds": ["email"]},
        {"text": "2 @ 3", "kinds": []},
    ]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, lines)))
    code, out, err = await run("guard test", str(tmp_path / "set.jsonl"))
    assert (code, err) == (0, "")
    assert "personal_data/email   1   1   1      50.0%   50.0%" in out
    assert "missed (1):\n  line 2  personal_data/email  no address" in out
    assert "false alarms (1):\n  line 3  personal_data/email  @" in out
    assert all(not check.apply_policy for check in checks)
    fields = json.loads((await run("guard test --json", str(tmp_path / "set.jsonl")))[1])
    assert (fields["texts"], fields["total"]["precision"], fields["missed"][0]["line"]) == (3, 0.5, 2)
    with (tmp_path / "set.jsonl").open("a") as file:
        file.write('\n{"text": "fail", "kinds": []}\n')
    code, _, err = await run("guard test", str(tmp_path / "set.jsonl"))
    assert code == 1
    assert "the detector secrets could not check all texts: 1 (timeout)" in err


async def test_g1_verdicts_lists_what_was_decided(admin: Nats, run: Run):
    assert "found nothing" in (await run("guard verdicts"))[1]
    for number, account in enumerate(("shop", "bank", "shop")):
        event = GuardDecided(
            id=f"r{number}", account=account, direction="input", action="block", findings={"secrets": 1}
        )
        await admin.jetstream().publish(subjects.event("guard", account), codec.encode(event))
    listed = json.loads((await run("guard verdicts shop --json"))[1])
    assert [event["id"] for event in listed] == ["r0", "r2"]
    out = (await run("guard verdicts --last 2"))[1]
    assert ("r0" in out, "r1" in out, "r2" in out) == (False, True, True)

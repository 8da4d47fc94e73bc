"""G1, G2: the input is checked beside the provider call or before it, and nothing is shown before the verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.contract.guard.checks import DetectorFailure, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import GUARD_ACCOUNT, GuardPolicy
from penstock.contract.reply import Delta, Started
from penstock.runtime.buckets.changes import Author
from penstock.runtime.guard.changes import change_guard_policy
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_guard import FakeGuard, finding, verdict
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

LONG = "Tell me of the river. [[tokens=300]]"
GUARD = {
    "input": {"prompt_injection": "block", "secrets": "flag", "personal_data": "flag"},
    "output": {"secrets": "allow"},
    "wait_s": 0.6,
    "detectors": {"openai_moderation": {"enabled": True}},
    "accounts": {
        "careful": {"mode": "before"},
        "unchecked": {"mode": "off"},
        "moderated": {
            "input": {
                "prompt_injection": "allow",
                "secrets": "allow",
                "personal_data": "allow",
                "hate": "block",
            }
        },
        "trusting": {"input": {"prompt_injection": "allow", "secrets": "allow", "personal_data": "allow"}},
    },
}
CHAINS = {"logic": ("unavailable--503", "m-logic"), "coding": ("refuser--429-bare",)}
PRICED = {"m-chat": {"price": {"input": 1_000_000, "output": 2_000_000}, "context_tokens": 4_000_000}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        CHAINS,
        models=PRICED,
        breaker={"failure_threshold": 10_000},
        budgets={"ledger_wait_s": 0.4},
        guard=GUARD,
    )
    with shared_system(tmp_path_factory.mktemp("guarded"), "chat,logic,coding", config=config) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client() as connected:
        yield connected


@pytest.fixture(autouse=True)
async def ledger(system: System) -> AsyncIterator[FakeLedger]:
    async with FakeLedger.running(system.nats.url) as running:
        yield running


@pytest.fixture
async def guard(system: System) -> AsyncIterator[FakeGuard]:
    await system.sim("POST", "reset")
    async with FakeGuard.running(system.nats.url) as running:
        yield running


def blocks(check: GuardCheck) -> GuardVerdict:
    return verdict(check, finding(0, 0, 0, "block", "prompt_injection"), language="tr")


async def test_g2_output_is_held_back_until_the_verdict_and_then_complete(
    client: Client, guard: FakeGuard, system: System
) -> None:
    plain = await ask(client, LONG, role="chat", max_tokens=400)
    guard.takes_s = 0.3
    received = await ask(client, LONG, role="chat", max_tokens=400)
    assert received.text == plain.text
    assert received.completed.timings.first_token_ms is not None
    assert received.completed.timings.first_token_ms >= 280
    (_, check) = guard.checks
    assert (check.id, check.account, check.direction) == (received.id, "demo", "input")
    assert check.detectors == ("secrets", "personal_data", "prompt_injection")
    assert [(text.origin, text.text) for text in check.texts] == [("user", LONG)]
    assert await system.attempts("m-chat") == 2
    assert "penstock_worker_guard_held_back_seconds_count" in await system.metrics()


@pytest.mark.parametrize("stream", [True, False])
async def test_g2_a_block_cancels_the_call_and_the_client_sees_nothing(
    client: Client, guard: FakeGuard, ledger: FakeLedger, system: System, *, stream: bool
) -> None:
    await system.sim("PUT", "speed", {"tokens_per_second": 100})
    guard.decide, guard.takes_s = blocks, 0.3
    received = await ask(client, LONG, role="chat", max_tokens=400, stream=stream)
    error = received.failed.error
    assert (error.code, error.categories, error.retry) == ("blocked", ("prompt_injection",), "never")
    assert error.message.startswith("Üzgünüz")
    assert not [event for event in received.events if isinstance(event, Delta)]
    assert received.failed.timings.total_ms < 1_500
    await until(lambda: ledger.why_released(received.id) == ["blocked"])
    (used,) = ledger.settled
    assert (used.outcome, used.estimated) == ("blocked", True)
    assert used.cost_picousd > 0
    if stream:
        assert 0 < used.output_tokens < 100
    counts = (await system.sim("GET", "counts"))["models"]["m-chat"]
    assert (counts["cancelled"], counts["in_flight"]) == (1, 0)
    await system.sim("PUT", "speed", {"tokens_per_second": 0})


async def test_g2_a_block_of_an_answer_that_was_complete_records_its_usage(
    client: Client, guard: FakeGuard, ledger: FakeLedger
) -> None:
    guard.decide, guard.takes_s = blocks, 0.3
    for stream in (True, False):
        received = await ask(client, LONG, role="chat", max_tokens=400, stream=stream)
        assert received.code == "blocked"
    await until(lambda: len(ledger.settled) == 2)
    used = [(usage.outcome, usage.estimated, usage.output_tokens) for usage in ledger.settled]
    assert used == [("blocked", False, 300)] * 2
    await until(lambda: len(ledger.released) == 2)


async def test_g2_before_nothing_is_sent_until_the_verdict(guard: FakeGuard, system: System) -> None:
    async with await system.client(account="careful") as careful:
        guard.decide = blocks
        received = await ask(careful, LONG, role="chat")
        assert received.code == "blocked"
        assert await system.attempts() == 0
        assert not [event for event in received.events if isinstance(event, Started)]
        guard.decide = verdict
        assert (await ask(careful, LONG, role="chat")).completed
        assert [check.detectors for check in guard.checks] == [
            ("secrets", "personal_data", "prompt_injection")
        ] * 2


@pytest.mark.parametrize("account", ["unchecked", "trusting", GUARD_ACCOUNT])
async def test_g2_an_account_without_checks_asks_nothing(
    guard: FakeGuard, system: System, account: str
) -> None:
    async with await system.client(account=account) as client:
        assert (await ask(client, LONG, role="chat")).completed
    assert guard.checks == []


async def test_g2_a_policy_that_changes_applies_to_the_next_requests(
    guard: FakeGuard, system: System
) -> None:
    async with await system.client(account="changing") as client:
        assert (await ask(client, LONG, role="chat")).completed
        assert len(guard.checks) == 1
        off = GuardPolicy(account="changing", mode="off")
        await change_guard_policy(client._nc.jetstream(), "changing", lambda _: off, Author("test", 0))

        async def not_asked() -> bool:
            before = len(guard.checks)
            assert (await ask(client, LONG, role="chat")).completed
            return len(guard.checks) == before

        await until(not_asked)


async def test_g1_what_is_flagged_passes_and_is_reported(client: Client, guard: FakeGuard) -> None:
    def flags(check: GuardCheck) -> GuardVerdict:
        return verdict(check, finding(0, 0, 4, "flag"), finding(0, 5, 7, "flag"))

    guard.decide = flags
    received = await ask(client, "Tell me", role="chat")
    (reported,) = received.completed.guarded
    assert (reported.direction, reported.name, reported.action, reported.count) == (
        "input", "personal_data/email", "flag", 2,
    )  # fmt: skip


async def test_g2_a_request_of_several_attempts_is_checked_once(client: Client, guard: FakeGuard) -> None:
    guard.takes_s = 0.1
    received = await ask(client, LONG, role="logic", max_tokens=400)
    assert received.models[-1] == "m-logic"
    assert len(received.models) > 1
    assert len(guard.checks) == 1


async def test_g2_a_failed_attempt_is_not_repeated_once_the_request_is_blocked(
    client: Client, guard: FakeGuard
) -> None:
    guard.decide, guard.takes_s = blocks, 0.3
    received = await ask(client, LONG, role="coding", timeout_s=20)
    assert received.code == "blocked"
    assert received.failed.timings.total_ms < 1_000


@pytest.mark.parametrize("stream", [True, False])
async def test_g4_without_a_guard_content_passes_only_where_the_policy_says_so(
    client: Client, system: System, *, stream: bool
) -> None:
    received = await ask(client, LONG, role="chat", max_tokens=400, stream=stream)
    assert (received.code, received.failed.error.retry) == ("guard_unavailable", "later")
    assert not [event for event in received.events if isinstance(event, Delta)]
    async with await system.client(account="moderated") as moderated:
        before = await system.metrics()
        passed = await ask(moderated, LONG, role="chat", max_tokens=400, stream=stream)
        assert passed.completed.unchecked == ("input",)
        counted = 'penstock_worker_guard_unchecked_total{direction="input",why="no_verdict"}'
        assert counter(await system.metrics(), counted) == counter(before, counted) + 1


@pytest.mark.parametrize(("refuses", "code"), [(True, "guard_unavailable"), (False, None)])
async def test_g4_a_failed_detector_refuses_or_passes_by_the_policy(
    client: Client, guard: FakeGuard, *, refuses: bool, code: str | None
) -> None:
    failure = DetectorFailure(detector="personal_data", why="timeout", refuses=refuses)
    guard.decide = lambda check: verdict(check, failures=(failure,))
    assert (await ask(client, LONG, role="chat")).code == code


async def test_g2_the_deadline_ends_a_request_whose_verdict_is_late(client: Client, guard: FakeGuard) -> None:
    guard.takes_s = 0.5
    guard.decide = lambda _: None
    received = await ask(client, LONG, role="chat", timeout_s=0.55)
    assert received.code == "deadline_exceeded"
    assert not [event for event in received.events if isinstance(event, Delta)]


async def test_g1_a_body_stored_apart_is_checked_whole_in_several_checks(
    client: Client, guard: FakeGuard, system: System
) -> None:
    long = "The river is long and slow. \n" * 300_000 + "It ends here."
    received = await ask(client, long, role="chat", max_tokens=5)
    assert received.completed
    texts = [text.text for check in guard.checks for text in check.texts]
    assert len(guard.checks) > 8
    assert max(map(len, texts)) <= 1024 * 1024
    assert texts[0].startswith("The river")
    assert texts[-1].endswith("It ends here.")
    assert len(long) <= sum(map(len, texts)) < len(long) + 300 * len(texts)


def counter(metrics: str, name: str) -> float:
    return next((float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(name)), 0)

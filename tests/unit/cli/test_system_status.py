"""`penstock status`: presence and queues folded into one status, and its text."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.cli.render.status import limits_text, status_text
from penstock.cli.system_status import StreamCounts, fold_status, without_idle_models
from penstock.contract.presence import (
    BreakerStatus,
    CredentialStatus,
    DegradedModel,
    LearnedLimit,
    LimitStatus,
    PastUsage,
    Presence,
    RoleStatus,
)

NOW_MS = 1_000_000_000


def worker(instance: str, silent_ms: int = 1000, **more) -> Presence:
    return Presence(
        service="worker",
        instance=instance,
        at_ms=NOW_MS - silent_ms,
        http=f"http://127.0.0.1/{instance}",
        roles=(RoleStatus(role="coding", slots=16, running=3),),
        **more,
    )


def test_a_system_without_live_services_is_reported():
    text = status_text(fold_status("nats://here", [], StreamCounts(), NOW_MS))

    assert "No service is alive" in text
    assert "penstock up" in text


def test_k2_a_service_that_penstock_up_still_starts_is_not_called_missing():
    needed = ["ledger", "guard", "indexer"]
    router = Presence(service="router", instance="r1", at_ms=NOW_MS)
    starting = status_text(
        fold_status("nats://here", [worker("w1"), router], StreamCounts(), NOW_MS, needed, starting=True)
    )
    assert starting.count("none running: `penstock up` is starting or stopping") == len(needed)
    assert "and the catalogue has" not in starting
    running = status_text(fold_status("nats://here", [worker("w1")], StreamCounts(), NOW_MS, needed))
    assert "none running, and the catalogue has a guard" in running
    assert "starting" not in running


@pytest.mark.parametrize("known", [[], [worker("w1")]], ids=["no service", "a service"])
def test_k2_the_command_is_named_as_it_was_called(known, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("sys.argv", [str(tmp_path / "penstock")])
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    text = status_text(fold_status("nats://here", known, StreamCounts(), NOW_MS, ["ledger"], starting=True))
    assert f"`{tmp_path / 'penstock'} up` is starting or stopping" in text


def test_workers_are_summed_per_role_and_queues_per_lane():
    streams = StreamCounts(
        work={
            "llm.work.coding.batch.0.a7c": 3,
            "llm.work.coding.batch.2.a7c": 4,
            "llm.work.chat.interactive.0.000": 2,
            "llm.work.chat": 9,
        },
        dead=5,
        waiting_for_router=1,
    )

    status = fold_status("nats://here", [worker("w1"), worker("w2")], streams, NOW_MS)
    text = status_text(status)

    coding = next(line for line in status.roles if line.role == "coding")
    assert (coding.workers, coding.running, coding.slots) == (2, 6, 32)
    assert coding.queued == {"interactive": 0, "batch": 7}
    chat = next(line.split() for line in text.splitlines() if line.startswith("chat"))
    assert chat == ["chat", "none", "0/0", "2", "0"], "work without a worker must be seen"
    assert "Dead letters: 5" in text
    assert "Waiting for a router: 1" in text


def test_k2_implicit_roles_are_hidden_while_they_have_no_work():
    def listed(running: int = 0, **queued: int) -> list[str]:
        statuses = (
            RoleStatus(role="chat", slots=4, running=0),
            RoleStatus(role="model-m", slots=4, running=running),
        )
        work = {f"llm.work.model-m.{lane}.0.f": count for lane, count in queued.items()}
        known = [replace(worker("w1"), roles=statuses)]
        status = fold_status("nats://here", known, StreamCounts(work=work), NOW_MS)
        assert [view.role for view in status.roles] == ["chat", "model-m"]
        return [view.role for view in without_idle_models(status).roles]

    assert listed() == ["chat"]
    assert listed(running=1) == listed(batch=2) == ["chat", "model-m"]


def test_limits_breakers_and_withdrawn_models_are_shown():
    presence = worker(
        "w1",
        limits=(
            LimitStatus(credential="k", model="m1", limit="requests_per_minute", used=27, allowed=30),
            LimitStatus(credential="k", model="m2", limit="tokens_per_day", used=0, allowed=1000),
        ),
        breakers=(BreakerStatus(model="m3", state="open", retry_at_ms=NOW_MS + 42_000),),
        withdrawn_models=("m4",),
        degraded=(DegradedModel(role="coding", model="m5", rule="errors"),),
    )

    text = status_text(fold_status("nats://here", [presence], StreamCounts(), NOW_MS))

    assert "90%" in text
    assert "m2" not in text, "an unused limit only counts"
    assert "1 more limits" in text
    assert "Breaker open: m3 at w1, next attempt in 42 s" in text
    assert "Withdrawn by their provider: m4" in text
    assert "Degraded: coding with m5 at w1, which fails too often: less history is sent" in text


def test_a_catalogue_without_limits_is_said_to_have_none_where_a_worker_is_alive():
    text = status_text(fold_status("nats://here", [worker("w1")], StreamCounts(), NOW_MS))
    assert "Limits: none in the catalogue for the models of the live workers." in text
    text = status_text(fold_status("nats://here", [worker("w1", silent_ms=20_000)], StreamCounts(), NOW_MS))
    assert "Limits:" not in text, "a silent worker is not known to have none"


def test_c4_learned_limits_are_shown_with_their_catalogue_line():
    bucket = LearnedLimit(credential="k", model="m", requests_per_minute=240, kind="token_bucket")
    window = LearnedLimit(credential="k", model="n", requests_per_minute=60, tokens_per_minute=9000)
    workers = [worker("w1", learned=(bucket, window)), worker("w2", learned=(bucket,))]

    status = fold_status("nats://here", workers, StreamCounts(), NOW_MS)

    assert [each.write for each in status.learned] == [
        "limits: {requests_per_minute: 240, kind: token_bucket}",
        "limits: {requests_per_minute: 60, tokens_per_minute: 9000}",
    ]
    text = status_text(status)
    assert "m refuses more than about 240 requests/min of key k" in text
    assert "add to the model: limits: {requests_per_minute: 240, kind: token_bucket}" in text
    assert text.count("Learned:") == 2


def test_a_missing_router_or_worker_is_listed():
    router = Presence(service="router", instance="r1", at_ms=NOW_MS)
    text = status_text(fold_status("nats://here", [router], StreamCounts(), NOW_MS))
    assert "none running: requests are not answered" in text
    text = status_text(
        fold_status("nats://here", [worker("w1"), worker("w2", 20_000)], StreamCounts(), NOW_MS)
    )
    assert "none running: requests wait" in text
    assert "are not answered" not in text


def test_a_silent_service_is_marked():
    silent = Presence(service="router", instance="r1", at_ms=NOW_MS - 12_000)

    assert "silent for 12 s" in status_text(fold_status("nats://here", [silent], StreamCounts(), NOW_MS))


@pytest.mark.parametrize(
    ("offset_s", "text"),
    [
        (0.9, "alive"),
        (-0.9, "alive"),
        (600.2, "alive, clock 600 s ahead"),
        (-3_600.0, "alive, clock 3,600 s behind"),
    ],
)
def test_a_clock_that_is_off_is_shown(offset_s: float, text: str):
    status = fold_status("nats://here", [worker("w1", clock_offset_s=offset_s)], StreamCounts(), NOW_MS)
    (row,) = (line for line in status_text(status).splitlines() if line.startswith("worker"))
    assert row.endswith(f"  {text}")


def test_a_dead_worker_is_listed_and_its_reports_are_ignored():
    breakers = (BreakerStatus(model="m3", state="open", retry_at_ms=NOW_MS + 42_000),)
    limits = (LimitStatus(credential="k", model="m1", limit="concurrency", used=3, allowed=4),)
    dead = worker("w1", 7_000, breakers=breakers, limits=limits, withdrawn_models=("m4",))

    status = fold_status("nats://here", [dead, worker("w2", 5_900)], StreamCounts(), NOW_MS)

    coding = next(line for line in status.roles if line.role == "coding")
    assert (coding.workers, coding.running, coding.slots) == (1, 3, 16)
    assert (status.breakers, status.limits, status.withdrawn_models) == ((), (), ())
    assert [service.alive for service in status.services] == [False, True]
    assert "silent for 7 s" in status_text(status)


def test_a6_only_faulty_credentials_are_shown():
    def key(**more) -> tuple[CredentialStatus, ...]:
        return (CredentialStatus(credential="A_KEY", provider="groq", **more),)

    fine = worker("w0", credentials=(CredentialStatus(credential="B_KEY", provider="groq", age_days=90),))
    known = [
        fine,
        worker("w1", credentials=key(age_days=91, refused_for=("m1",))),
        worker("w2", credentials=key(file_problem="is gone", refused_for=("m2", "m1"))),
    ]

    status = fold_status("nats://here", known, StreamCounts(), NOW_MS)
    lines = [line for line in status_text(status).splitlines() if line.startswith("Key ")]

    assert [each.credential for each in status.credentials] == ["A_KEY", "B_KEY"]
    assert lines == [
        "Key A_KEY of groq: 91 days old, more than 90: replace it",
        "Key A_KEY of groq: refused for m1, m2",
        "Key A_KEY of groq: its file is gone; the last readable key stays in use",
    ]


SHARED = {"credential": "k", "limit": "requests_per_minute", "allowed": 30, "record": "k.m"}


def test_c7_a_shared_limit_is_one_row_with_the_refusals_of_all_workers():
    long = LimitStatus(
        model="m",
        used=29,
        watched_s=3000,
        hour=PastUsage(full_s=1320, throttled=100, peak=30, unmet=20),
        **SHARED,
    )
    newcomer = LimitStatus(
        model="m",
        used=30,
        watched_s=60,
        warned=True,
        hour=PastUsage(full_s=9, throttled=40, peak=30, unmet=10),
        full_at_ms=NOW_MS + 12_000,
        **SHARED,
    )

    status = fold_status(
        "nats://here",
        [worker("w1", limits=(newcomer,)), worker("w2", limits=(long,))],
        StreamCounts(),
        NOW_MS,
    )

    (limit,) = status.limits
    assert (limit.worker, limit.used, limit.headroom, limit.watched_s) == ("", 30, 0, 3000)
    assert limit.warned
    assert limit.hour == PastUsage(full_s=1320, throttled=140, peak=30, unmet=30)
    text = status_text(status)
    (row,) = (line.split() for line in text.splitlines() if line.startswith("m "))
    assert row == ["m", "requests/min", "30", "0", "30", "100%", "0", "-", "22", "min,", "140", "held"]
    assert "Advice: requests/min of m was full for 22 min of the last 50 min; 140 requests" in text
    assert "about twice the limit" in text


def test_c7_a_shared_quota_is_one_limit_and_a_local_one_is_per_worker():
    pair = tuple(
        LimitStatus(model="m", used=3, hour=PastUsage(throttled=2), **(SHARED | {"credential": key}))
        for key in ("k1", "k2")
    )
    own = LimitStatus(credential="k", model="n", limit="tokens_per_day", used=5, allowed=10)

    status = fold_status(
        "nats://here",
        [worker("w1", limits=(*pair, own)), worker("w2", limits=(own,))],
        StreamCounts(),
        NOW_MS,
    )

    assert [(limit.model, limit.worker, limit.hour.throttled) for limit in status.limits] == [
        ("n", "w1", 0),
        ("n", "w2", 0),
        ("m", "", 2),
    ]


def test_c7_the_outlook_is_a_time_and_the_table_fits_100_columns():
    def row(full_in_s: int, **more) -> LimitStatus:
        known = {
            "credential": "k",
            "limit": "tokens_per_minute",
            "used": 189_000,
            "allowed": 200_000,
            "record": f"k.{full_in_s}",
            "full_at_ms": NOW_MS + full_in_s * 1000,
            "hour": PastUsage(full_s=7100, throttled=9999, peak=1),
        }
        return LimitStatus(**(known | more))

    limits = (
        row(12, model="m1"),
        row(1200, model="m2" + "x" * 60),
        row(7200, model="m3"),
        row(0, model="m4", full_at_ms=0),
    )
    local = row(1, model="m5", record="")
    for shown in (limits, (*limits, local)):
        status = fold_status(
            "nats://here", [worker("worker-with-a-long-name", limits=shown)], StreamCounts(), NOW_MS
        )
        text = limits_text(status.limits, NOW_MS)
        assert "full in 12 s" in text
        assert "full in 20 min" in text
        at = time.strftime("%H:%M", time.localtime(NOW_MS / 1000 + 7200))
        assert f"full at {at}" in text
        assert ("\nHeld: requests that had to wait, or went to another model" in text) is (shown is limits)
        table = text.partition("\nAdvice")[0]
        assert max(map(len, table.splitlines())) <= 100
        assert "m2" in text


def test_c7_two_keys_of_one_model_are_distinguished():
    limits = tuple(
        LimitStatus(
            model="a-model-with-a-long-name",
            limit="requests_per_minute",
            used=9,
            allowed=10,
            credential=key,
            record=f"{key}.m",
            watched_s=90,
            hour=PastUsage(throttled=2, full_s=30, peak=10, unmet=2),
        )
        for key in ("PROVIDER_API_KEY_1", "PROVIDER_API_KEY_2")
    )
    text = status_text(fold_status("nats://here", [worker("w1", limits=limits)], StreamCounts(), NOW_MS))
    assert "a-model-w… …PI_KEY_1" in text
    assert "a-model-w… …PI_KEY_2" in text
    assert "Advice (PROVIDER_API_KEY_2): requests/min" in text


def test_c1_an_unreachable_quota_record_is_shown():
    unreachable = worker("w1", unreachable_quotas=("KEY.model",))
    status = fold_status("nats://here", [unreachable, worker("w2")], StreamCounts(), NOW_MS)

    assert "quota records cannot be reached, their requests wait: KEY.model" in status_text(status)


def test_d10_a_provider_without_a_key_is_named():
    status = fold_status(
        "nats://here", [worker("w1", providers_without_key=("groq",)), worker("w2")], StreamCounts(), NOW_MS
    )

    assert status.providers_without_key == ("groq",)
    assert "Providers without a key: groq; `penstock config check` names the variables" in status_text(status)
    assert "without a key" not in status_text(
        fold_status("nats://here", [worker("w2")], StreamCounts(), NOW_MS)
    )


def test_c7_leased_and_used_are_shown_apart():
    """A shared limit with nothing used and a lease out is in use."""
    limit = LimitStatus(model="m", used=7, leased=4, **SHARED)
    leased_only = LimitStatus(
        credential="k", model="n", limit="concurrency", used=2, leased=2, allowed=4, record="k.n"
    )

    status = fold_status("nats://here", [worker("w1", limits=(limit, leased_only))], StreamCounts(), NOW_MS)
    rows = [line.split()[:6] for line in limits_text(status.limits, NOW_MS).splitlines()]

    assert rows[0][:5] == ["model", "limit", "used", "leased", "of"]
    assert ["m", "requests/min", "3", "4", "30", "23%"] in rows
    assert ["n", "calls", "at", "once", "0", "2"] in rows


def test_d10_a_worker_with_another_catalogue_than_the_router_is_named():
    router = Presence(service="router", instance="r1", at_ms=NOW_MS, catalogue="aa")
    workers = [worker("w1", catalogue="aa"), worker("w2", catalogue="bb"), worker("w3")]
    guards = [Presence(service="guard", instance="g1", at_ms=NOW_MS, catalogue="cc")]

    status = fold_status("nats://here", [router, *workers, *guards], StreamCounts(), NOW_MS)

    assert status.other_catalogues == ("w2", "g1")
    assert "Warning: w2, g1 runs with another catalogue than the router" in status_text(status)
    assert fold_status("nats://here", workers, StreamCounts(), NOW_MS).other_catalogues == ()


def test_f1_a_ledger_shows_how_many_partitions_it_owns():
    known = [
        Presence(service="ledger", instance=name, at_ms=NOW_MS, partitions=owned)
        for name, owned in (("ledger-a", ("0", "3", "system")), ("ledger-b", ("1",)))
    ]
    text = status_text(fold_status("nats://here", known, StreamCounts(), NOW_MS))
    assert "alive, owns 3 partitions" in text
    assert "alive, owns 1 partition\n" in text


def test_f2_a_ledger_that_the_budgets_need_and_that_does_not_run_is_a_row():
    dead = Presence(service="ledger", instance="ledger-a", at_ms=NOW_MS - 9_000)
    status = fold_status("nats://here", [worker("w1"), dead], StreamCounts(), NOW_MS, ["ledger"])
    assert status.lacks_ledger
    assert "none running, and the catalogue has budgets" in status_text(status)
    assert not fold_status("nats://here", [dead], StreamCounts(), NOW_MS).lacks_ledger
    alive = replace(dead, at_ms=NOW_MS)
    assert not fold_status("nats://here", [alive], StreamCounts(), NOW_MS, ["ledger"]).lacks_ledger


def test_g4_a_guard_that_the_catalogue_needs_and_that_does_not_run_is_a_row():
    dead = Presence(service="guard", instance="guard-a", at_ms=NOW_MS - 9_000)
    status = fold_status("nats://here", [worker("w1"), dead], StreamCounts(), NOW_MS, ["guard"])
    assert (status.lacks_guard, status.lacks_ledger) == (True, False)
    assert "none running, and the catalogue has a guard" in status_text(status)
    alive = replace(dead, at_ms=NOW_MS)
    assert not fold_status("nats://here", [alive], StreamCounts(), NOW_MS, ["guard"]).lacks_guard


def test_h3_an_indexer_that_the_catalogue_needs_and_that_does_not_run_is_a_row():
    dead = Presence(service="indexer", instance="indexer-a", at_ms=NOW_MS - 9_000)
    status = fold_status("nats://here", [worker("w1"), dead], StreamCounts(), NOW_MS, ["indexer"])
    assert (status.lacks_indexer, status.lacks_guard) == (True, False)
    assert "none running, and the catalogue has a section retrieval" in status_text(status)
    alive = replace(dead, at_ms=NOW_MS)
    assert not fold_status("nats://here", [alive], StreamCounts(), NOW_MS, ["indexer"]).lacks_indexer

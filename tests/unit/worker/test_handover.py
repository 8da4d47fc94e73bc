"""D3: which requests go back into the queue, and what keeps them from going round in circles."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from schemas.presence import BreakerStatus, Presence, RoleStatus
from services.worker.candidates import Standing
from services.worker.failures import ProviderFailure
from services.worker.handover import Handover
from services.worker.job import Job
from services.worker.peers import Peers
from tests.unit.worker.equipped import catalogue_of, equipped, job_of

NOBODY: Any = None
BEHIND_BREAKER = Standing(20.0, "breaker")
LATER = Standing(5.0, "backoff")


def beat(instance: str = "other", **about: Any) -> Presence:
    role = RoleStatus(role="chat", slots=16, running=0)
    return Presence(**({"service": "worker", "instance": instance, "at_ms": 0, "roles": (role,)} | about))


OPEN = beat(breakers=(BreakerStatus(model="m", state="open", retry_at_ms=0),))


def peers(*beats: Presence) -> Peers:
    found = Peers(catalogue_of(), "w")
    for each in beats:
        found.heard(each.instance, each, 0.0)
    return found


@pytest.fixture
async def job() -> Job:
    return job_of(equipped(catalogue_of()), NOBODY, lasts_s=60)


async def test_d3_what_only_this_workers_breakers_hold_back_goes_to_a_worker_that_can_serve_it(
    job: Job,
) -> None:
    assert Handover(peers(beat()), 5).wanted(job, [BEHIND_BREAKER], 1.0)
    assert Handover(peers(beat()), 5).wanted(job, [Standing(inf, "excluded"), BEHIND_BREAKER], 1.0)
    assert not Handover(peers(beat()), 5).wanted(job, [Standing(3.0, "quota"), BEHIND_BREAKER], 1.0)
    assert not Handover(peers(beat()), 5).wanted(job, [Standing(inf, "excluded")], 1.0)


@pytest.mark.parametrize(
    "others",
    [(), (OPEN,), (beat("w"),), (beat(keyless=("p",)),), (beat(withdrawn=("m",)),), (beat(roles=()),)],
)
async def test_d3_without_another_worker_that_can_serve_it_it_is_kept(job: Job, others: Any) -> None:
    assert not Handover(peers(*others), 5).wanted(job, [BEHIND_BREAKER], 1.0)


async def test_a_worker_that_fell_silent_or_stopped_is_not_counted_on(job: Job) -> None:
    others = peers(beat())
    assert others.can_serve("chat", 5.9)
    assert not others.can_serve("chat", 6.0)
    others.heard("other", None, 1.0)
    assert not others.can_serve("chat", 1.0)


async def test_two_deliveries_are_left_for_workers_that_die(job: Job) -> None:
    handover = Handover(peers(beat()), 5)
    wanted = []
    for job.delivery in range(1, 6):
        wanted.append(handover.wanted(job, [BEHIND_BREAKER], 1.0))
    assert wanted == [True, True, True, False, False]
    job.delivery = 1
    assert not Handover(peers(beat()), 2).wanted(job, [BEHIND_BREAKER], 1.0)


async def test_a_connection_that_cannot_be_made_hands_back_once(job: Job) -> None:
    handover = Handover(peers(beat()), 5)
    job.last_failure = ProviderFailure("connection", "reset")
    assert not handover.wanted(job, [LATER], 1.0)
    job.last_failure = ProviderFailure("connection", "refused", reached=False)
    assert handover.wanted(job, [LATER], 1.0)
    job.delivery = 2
    assert not handover.wanted(job, [LATER], 1.0), "the provider is away for the second worker as well"


async def test_after_handing_back_nothing_more_is_taken_while_another_worker_can_serve_it() -> None:
    others = peers(beat())
    handover = Handover(others, 5)
    told: list[bool] = []
    handover.on_return(lambda: told.append(True))
    assert handover.pause_s("chat", 1.0) == 0
    handover.handed_back("chat", 1.0)
    assert told == [True]
    assert handover.pause_s("chat", 1.5) == 1.5
    assert handover.pause_s("fast", 1.5) == 0
    assert handover.pause_s("chat", 3.0) == 0
    others.heard("other", None, 1.6)
    assert handover.pause_s("chat", 1.6) == 0


async def test_the_workers_that_are_remembered_are_bounded() -> None:
    others = peers(*(beat(f"w{n}") for n in range(1_200)))
    assert len(others._peers) == 1_000

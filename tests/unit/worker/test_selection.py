"""D3: when a request leaves this worker's hands instead of being tried here again."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.contract.presence import Presence, RoleStatus
from services.worker.execution.equipment import Equipment
from services.worker.execution.handover import Handover
from services.worker.execution.next_attempt import NextAttempt
from services.worker.execution.selection import Selection
from services.worker.execution.state import GaveUp, HandBack, Job
from services.worker.execution.wait_queue import Waiting
from services.worker.models.peers import Peers
from services.worker.providers.errors.failures import ProviderFailure
from tests.unit.worker.equipped import catalogue_of, equipped, job_of

NOBODY: Any = None


class _Case:
    """A request for one model, in the hands of a worker beside another one."""

    def __init__(self, *, beside: bool = True) -> None:
        equipment = equipped(catalogue_of(), ("A_KEY",))
        self.peers = Peers(equipment.catalogue, "w")
        if beside:
            self.hear()
        self.equipment: Equipment = replace(equipment, handover=Handover(self.peers, 5))
        self.selection = Selection(self.equipment, Waiting())
        self.next = NextAttempt(equipment.catalogue, equipment.availability, lambda: 0.5)
        self.job: Job = job_of(self.equipment, NOBODY, lasts_s=60)
        self.job.opened_s = loop_now_s()

    def hear(self, **about: Any) -> None:
        role = RoleStatus(role="chat", slots=8, running=0)
        beat = Presence(service="worker", instance="other", at_ms=0, roles=(role,), **about)
        self.peers.heard("other", beat, loop_now_s())

    def fails(self, kind: Any, **about: Any) -> None:
        self.next.after(self.job, "m", ProviderFailure(kind, "so it was", **about))

    async def next_model(self) -> str:
        return await self.selection.next_model(self.job, ("m",))


@pytest.mark.parametrize("kind", ["credentials", "budget_spent", "not_found"])
async def test_d3_a_key_that_is_no_use_here_or_a_model_that_is_not_there_is_left_to_another_worker(
    kind: Any,
) -> None:
    case = _Case()
    now_s = loop_now_s()
    case.equipment.availability.refusals.spent("A_KEY", ("m",), began_s=now_s, now_s=now_s)
    case.fails(kind)
    with pytest.raises(HandBack):
        await case.next_model()
    case.hear(withdrawn=("m",))
    with pytest.raises(GaveUp):
        await case.next_model()


async def test_d3_what_concerns_the_request_ends_it_here() -> None:
    case = _Case()
    case.fails("refused")
    with pytest.raises(GaveUp):
        await case.next_model()


async def test_d3_what_could_not_be_reached_is_not_tried_here_again_while_another_worker_can() -> None:
    case = _Case()
    case.fails("connection", reached=False)
    with pytest.raises(HandBack):
        await case.next_model()
    alone = _Case(beside=False)
    alone.fails("connection", reached=False)
    assert await alone.next_model() == "m"


@pytest.mark.parametrize("other_is_cut_off", [True, False])
async def test_d3_two_workers_that_are_cut_off_do_not_send_a_request_to_and_fro(
    *, other_is_cut_off: bool
) -> None:
    case = _Case()
    case.job.delivery = 2
    case.fails("connection", reached=False)
    if other_is_cut_off:
        case.hear(unreachable=("p",))
        assert await case.next_model() == "m"
        return
    began_s = loop_now_s()
    with pytest.raises(HandBack):
        await case.next_model()
    assert loop_now_s() - began_s > 0.4

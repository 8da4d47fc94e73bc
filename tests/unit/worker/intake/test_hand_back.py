"""D3: which requests return to the queue, and what prevents them from circulating."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from penstock.contract.presence import BreakerStatus, CredentialStatus, Presence, RoleStatus
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig
from services.worker.execution.selection import held_back_here
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.models.choose import ModelState
from services.worker.models.peers import Peers
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of, ignore

BEHIND_BREAKER = ModelState(20.0, "breaker")
LATER = ModelState(5.0, "backoff")


def heartbeat(instance: str = "other", **about: Any) -> Presence:
    role = RoleStatus(role="chat", slots=16, running=0)
    return Presence(**({"service": "worker", "instance": instance, "at_ms": 0, "roles": (role,)} | about))


OPEN = heartbeat(breakers=(BreakerStatus(model="m", state="open", retry_at_ms=0),))


def peers(*heartbeats: Presence) -> Peers:
    found = Peers(catalogue_of(), "w")
    for each in heartbeats:
        found.observe(each.instance, each, 0.0)
    return found


CHAIN = Catalogue(
    name="test",
    providers={"p": ProviderConfig(api_key_env=("A_KEY",)), "q": ProviderConfig(api_key_env=("A_KEY",))},
    models={"m": Model(provider="p"), "n": Model(provider="q")},
    roles={"chat": RoleConfig(chain=("m", "n"))},
)


class _Held:
    """A request whose models have the given states, in a worker beside others."""

    def __init__(self, *others: Presence) -> None:
        self.parts = WorkerParts(CHAIN, ("A_KEY",))
        self.execution = self.parts.execution(lasts_s=60)
        self.peers = Peers(CHAIN, "w")
        for each in others:
            self.peers.observe(each.instance, each, 0.0)

    def back(self, m: ModelState, n: ModelState) -> bool:
        here = held_back_here(self.execution, {"m": m, "n": n}, self.parts.availability, 1.0)
        return HandBackPolicy(self.peers, 5, ignore).wanted("chat", self.execution.delivery, here, 1.0)


QUOTA = ModelState(3.0, "quota")
NEVER = ModelState(inf, "never")


@pytest.mark.parametrize("reason", ["breaker", "withdrawn", "credentials"])
@pytest.mark.parametrize("other", [QUOTA, NEVER, ModelState(inf, "excluded")])
async def test_d3_a_model_that_only_this_worker_cannot_call_hands_back(
    reason: Any, other: ModelState
) -> None:
    assert _Held(heartbeat()).back(ModelState(inf, reason), other)
    assert not _Held(heartbeat()).back(other, other), "what all workers share does not count"


async def test_d2_a_request_that_backs_off_is_not_handed_back() -> None:
    assert not _Held(heartbeat()).back(BEHIND_BREAKER, LATER)


@pytest.mark.parametrize(
    "other",
    [
        heartbeat(breakers=(BreakerStatus(model="m", state="open", retry_at_ms=0),)),
        heartbeat(withdrawn_models=("m",)),
        heartbeat(providers_without_key=("p",)),
        heartbeat(unreachable_providers=("p",)),
        heartbeat(credentials=(CredentialStatus(credential="A_KEY", provider="p", refused_for=("m",)),)),
    ],
)
async def test_d3_another_worker_without_the_model_does_not_count(other: Presence) -> None:
    assert not _Held(other).back(BEHIND_BREAKER, QUOTA)
    assert _Held(other, heartbeat("third")).back(BEHIND_BREAKER, QUOTA)


async def test_d3_refused_keys_and_lost_connections_concern_this_worker() -> None:
    held = _Held(heartbeat())
    excluded = ModelState(inf, "excluded")
    held.execution.history.excluded = {"m", "n"}
    assert not held.back(excluded, excluded)
    held.execution.history.excluded_here = {"m"}
    assert held.back(excluded, excluded)
    held = _Held(heartbeat())
    assert not held.back(LATER, QUOTA)
    held.parts.availability.connect_failures.record_failure("p", 0.0)
    assert held.back(LATER, QUOTA)
    held.execution.delivery = 3
    assert held.back(LATER, QUOTA), "on any delivery, as long as two are left"
    held.execution.delivery = 4
    assert not held.back(LATER, QUOTA)


async def test_d3_a_silent_model_hands_the_request_back_once() -> None:
    held = _Held(heartbeat())
    held.execution.history.silent_model = "m"
    assert held.back(LATER, QUOTA)
    held.execution.delivery = 2
    assert not held.back(LATER, QUOTA)


@pytest.mark.parametrize(
    "others",
    [
        (),
        (OPEN,),
        (heartbeat("w"),),
        (heartbeat(providers_without_key=("p",)),),
        (heartbeat(withdrawn_models=("m",)),),
        (heartbeat(roles=()),),
    ],
)
async def test_d3_without_another_able_worker_a_request_is_kept(others: Any) -> None:
    assert not HandBackPolicy(peers(*others), 5, ignore).wanted("chat", 1, ("m",), 1.0)


async def test_d3_a_silent_or_stopped_worker_does_not_count() -> None:
    others = peers(heartbeat())
    assert others.can_serve("chat", 5.9)
    assert not others.can_serve("chat", 6.0)
    others.observe("other", None, 1.0)
    assert not others.can_serve("chat", 1.0)


async def test_d3_handing_back_leaves_two_deliveries() -> None:
    hand_back = HandBackPolicy(peers(heartbeat()), 5, ignore)
    wanted = [hand_back.wanted("chat", delivery, ("m",), 1.0) for delivery in range(1, 6)]
    assert wanted == [True, True, True, False, False]
    assert not HandBackPolicy(peers(heartbeat()), 2, ignore).wanted("chat", 1, ("m",), 1.0)


async def test_d3_a_redelivered_request_is_kept_for_half_a_second() -> None:
    hand_back = HandBackPolicy(peers(heartbeat()), 5, ignore)
    assert hand_back.keeps_until_s(7.0, delivery=1) == 7.0
    assert hand_back.keeps_until_s(7.0, delivery=2) == 7.5


async def test_d3_handing_back_pauses_pulls_while_another_worker_is_able() -> None:
    others = peers(heartbeat())
    calls: list[bool] = []
    hand_back = HandBackPolicy(others, 5, lambda: calls.append(True))
    assert hand_back.pause_s("chat", 1.0) == 0
    hand_back.record_hand_back("chat", 1.0)
    assert calls == [True]
    assert hand_back.pause_s("chat", 1.5) == 1.5
    assert hand_back.pause_s("fast", 1.5) == 0
    assert hand_back.pause_s("chat", 3.0) == 0
    others.observe("other", None, 1.6)
    assert hand_back.pause_s("chat", 1.6) == 0
    hand_back = HandBackPolicy(peers(heartbeat()), 5, ignore)
    hand_back.record_hand_back("chat", 1.0, pauses=False)
    assert hand_back.pause_s("chat", 1.5) == 0


async def test_the_number_of_known_workers_is_bounded() -> None:
    others = peers(*(heartbeat(f"w{n}") for n in range(1_200)))
    assert len(others._peers) == 1_000

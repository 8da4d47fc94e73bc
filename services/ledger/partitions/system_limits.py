"""The limits of the whole system, asked of the owner of the partition `system` for a group of holds at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.ledger.holds import HoldAnswer, HoldBatch, HoldRefused, HoldRequest
from penstock.contract.ledger.policies import LIMIT_NAMES, TRAFFIC_CLASSES, BudgetLimits, BudgetPolicy
from services.ledger.budget.policies import Policies

__all__ = ["SystemLimits", "unavailable"]

_log: Final = rate_limited_logger(__name__)
_ANSWER_S: Final = 1.0
_GIVE_UP_S: Final = 4.0
"""Seconds for which the owner is asked again: a takeover needs 3."""
_PAUSE_S: Final = 0.05
_RETRY_AFTER_S: Final = 1.0
_SUBJECT: Final = subjects.ledger_hold(subjects.SYSTEM_PARTITION)
_MOST_RELEASED: Final = 1_000
"""Of one question."""


def _has_limits(policy: BudgetPolicy) -> bool:
    """Whether the policy can refuse anything."""
    parts: list[BudgetLimits | None] = [policy.limits, *(getattr(policy, each) for each in TRAFFIC_CLASSES)]
    return policy.disabled or any(
        getattr(part, name) is not None for part in parts if part is not None for name in LIMIT_NAMES
    )


def unavailable(hold_id: str, message: str) -> HoldRefused:
    """The answer where a hold can be neither granted nor refused by a limit."""
    return HoldRefused(id=hold_id, code="budget_unavailable", message=message, retry_after_s=_RETRY_AFTER_S)


class SystemLimits:
    def __init__(self, nc: Nats, policies: Policies) -> None:
        self._nc = nc
        self._policies = policies
        self._policy: BudgetPolicy | None = None
        self._applies = False
        self._released: dict[str, None] = {}
        """Holds that were granted and not used; if this process ends before it releases them, they expire."""

    @property
    def applies(self) -> bool:
        """Whether the system has any limit."""
        policy = self._policies.system()
        if policy is not self._policy:
            self._policy, self._applies = policy, _has_limits(policy)
        return self._applies

    @property
    def has_releases(self) -> bool:
        """Whether there are holds to be released."""
        return bool(self._released)

    def release(self, hold_ids: Iterable[str]) -> None:
        """Release these holds with the next question."""
        self._released |= dict.fromkeys(hold_ids)

    async def ask(self, requests: list[HoldRequest]) -> Mapping[str, HoldAnswer]:
        """The answer for each request, by its id; `budget_unavailable` if the owner does not answer."""
        # They are released first: one that is asked for again is then granted anew.
        released = tuple(self._released)[:_MOST_RELEASED]
        question = codec.encode(HoldBatch(holds=tuple(requests), released=released))
        give_up_s = loop_now_s() + _GIVE_UP_S
        while True:
            try:
                msg = await self._nc.request(_SUBJECT, question, timeout=_ANSWER_S)
                answers = codec.HOLD_BATCH_ANSWER.decode(msg.data).answers
            except (nats.errors.Error, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                _log.warning("the limits of the system cannot be checked yet: %r", error)
            else:
                if len(answers) == len(requests):
                    done = {*released, *(request.id for request in requests)}
                    self._released = {each: None for each in self._released if each not in done}
                    return {request.id: answer for request, answer in zip(requests, answers, strict=True)}
            if loop_now_s() > give_up_s:
                message = "no ledger answers for the limits of the whole system"
                return {request.id: unavailable(request.id, message) for request in requests}
            await asyncio.sleep(_PAUSE_S)

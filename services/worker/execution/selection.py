"""Which model is next for a request: the chain for it, what may be called now, what to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.runtime.model_chain import needs_of, order, shortfall
from services.worker.execution.equipment import Equipment
from services.worker.execution.handover import held_back_here
from services.worker.execution.next_attempt import in_words
from services.worker.execution.state import GaveUp, HandBack, Job
from services.worker.execution.wait_queue import Waiting
from services.worker.models.choose import Choice, Nothing, Reason, Standing, Wait, choose
from services.worker.models.open_breakers import last_resort
from services.worker.models.weighted_choice import draw, set_back
from services.worker.rate_limit.quota import Need, Permit

__all__ = ["Selection"]

_LEASE_S: Final = 0.25
"""A share of the quota comes within milliseconds. After this long the whole chain is looked at again."""
_WORDS: Final[dict[Reason, str]] = {
    "breaker": "the circuit breaker",
    "quota": "the quota",
    "backoff": "another try",
}


class Selection:
    def __init__(self, equipment: Equipment, waiting: Waiting) -> None:
        self._equipment = equipment
        self._availability = equipment.availability
        self._waiting = waiting

    def chain(self, job: Job) -> tuple[str, ...]:
        """The models that could serve the request, in order. Raises GaveUp when there is none."""
        work = job.work
        models = self._equipment.catalogue.models
        needs = needs_of(job.estimated_tokens, vision=work.vision)
        chain = order(job.role, models, work.complexity, needs)
        if chain:
            chain = self._by_standing(
                job, draw(chain, job.role.weighted, self._equipment.random), loop_now_s()
            )
            job.chain, job.first_choice = chain, chain[0]
            return chain
        if shortfall(job.role, models, needs) == "vision":
            raise GaveUp("invalid_request", f"no model of the role {work.role} reads images")
        longest = max(models[key].context_tokens for key in job.role.chain)
        message = f"about {job.estimated_tokens:,} tokens; the role {work.role} reads {longest:,} at most"
        raise GaveUp("context_length_exceeded", message)

    async def next_model(self, job: Job, chain: tuple[str, ...]) -> str:
        """The first model that may be called now; waits while there is hope. Raises GaveUp when there is none."""
        while True:
            now_s = loop_now_s()
            job.last_resort = False
            choice = (
                self._for_another_worker(job, chain, now_s)
                or self._same_model(job, now_s)
                or self._of_chain(job, chain, now_s)
            )
            if isinstance(choice, Choice):
                job.waits_for = ""
                return choice.model
            if not isinstance(choice, Wait):
                raise self._hopeless(job, chain, choice.reason)
            job.waits_for = f"the request waited for {_WORDS[choice.reason]} of {choice.model}"
            await self._wait(job, choice.until_s)

    def _for_another_worker(self, job: Job, chain: tuple[str, ...], now_s: float) -> Wait | None:
        """What could not be reached is tried again by a worker that can reach it, if there is one. As `_hand_back`."""
        if job.stay is None or job.last_failure is None or job.last_failure.reached:
            return None
        unreachable, providers = self._availability.unreachable, self._availability.providers
        standings: dict[str, Standing] = {}
        for model in chain:
            standing = self._standing(job, model, now_s)
            if standing.available_at_s <= now_s:
                if not unreachable.is_out_of_reach(providers[model], now_s):
                    return None
                standing = Standing(now_s, "backoff")
            standings[model] = standing
        return self._hand_back(job, standings, now_s)

    def _hand_back(self, job: Job, standings: Mapping[str, Standing], now_s: float) -> Wait | None:
        """Raises HandBack where another worker can serve the request now, and this one cannot. A wait: that is known
        by then.
        """
        here = held_back_here(job, standings, self._availability, now_s)
        if not self._equipment.handover.wanted(job, here, now_s):
            return None
        until_s = self._equipment.handover.listens_until_s(job)
        if now_s < until_s:
            return Wait(until_s, "backoff", next(model for model in standings if model in here))
        raise HandBack(pauses=here != {job.unheard})

    def _same_model(self, job: Job, now_s: float) -> Choice | Wait | None:
        """The model that the last failure gives another try; None: the chain goes on."""
        stay = job.stay
        if stay is None:
            return None
        standing = self._standing(job, stay.model, now_s)
        if max(standing.available_at_s, now_s) > stay.until_s or standing.reason == "excluded":
            job.stay = None
            return None
        if standing.available_at_s <= now_s:
            job.passed_over = ()
            return Choice(stay.model)
        return Wait(standing.available_at_s, standing.reason, stay.model)

    def _of_chain(self, job: Job, chain: tuple[str, ...], now_s: float) -> Choice | Wait | Nothing:
        """Raises HandBack as `_hand_back`."""
        standings: dict[str, Standing] = {}
        for model in self._by_standing(job, chain, now_s):
            standing = standings[model] = self._standing(job, model, now_s)
            if standing.available_at_s <= now_s:
                break  # nobody looks at those behind it
            if standing.reason == "quota":
                self._equipment.tiers.held_back(job, model, self._need(job, model), now_s)
                if not job.rules.on_rate_limit.enabled:
                    break
        choice = choose(tuple(standings), standings, now_s)
        job.passed_over = tuple(each for each in standings if standings[each].reason == "quota")
        if isinstance(choice, Choice):
            return choice
        wait = self._hand_back(job, standings, now_s)
        if wait is not None:
            return wait
        breakers = self._availability.breakers
        choice = last_resort(
            choice,
            standings,
            lambda model: self._standing(job, model, now_s, last_resort=True),
            lambda model: breakers[model].success_share(now_s),
            now_s=now_s,
            patience_s=job.role.wait_s,
        )
        job.last_resort = isinstance(choice, Choice)
        return choice

    async def acquire(self, job: Job, model: str) -> Permit | None:
        """A permit from a credential that has one to give, or will have in a moment."""
        need = self._need(job, model)
        patient_until_s = loop_now_s() + _LEASE_S
        while True:
            leasing = False
            keys = self._availability.in_turn(model, loop_now_s())
            if job.refused_keys:
                keys = tuple(sorted(keys, key=job.refused_keys.__contains__))
            for key in keys:
                permit = self._availability.quota.try_acquire(key, need, loop_now_s())
                if isinstance(permit, Permit):
                    job.waits_for = ""
                    self.withdraw(job)
                    return permit
                leasing = leasing or permit.leasing
            if not leasing or loop_now_s() >= patient_until_s:
                return None
            job.waits_for = f"the request waited for a share of the quota of {model}"
            await self._wait(job, patient_until_s)

    def withdraw(self, job: Job) -> None:
        """The request waits for no model any longer: nobody shall wait behind it."""
        self._availability.quota.withdraw(job.turn)

    async def _wait(self, job: Job, until_s: float) -> None:
        began_s = loop_now_s()
        await self._waiting.until(job.work.role, job.work.lane, until_s, job.turn)
        job.calls.waited_s += loop_now_s() - began_s

    def retry_after_s(self, job: Job) -> float | None:
        """When some model of the role's chain may be called again; None when that is now or never."""
        now_s = loop_now_s()
        standings = (
            self._availability.standing(model, self._need(job, model), now_s) for model in job.role.chain
        )
        earliest_s = min((standing.available_at_s for standing in standings), default=inf)
        return round(earliest_s - now_s, 3) if now_s < earliest_s < inf else None

    def _need(self, job: Job, model: str) -> Need:
        tokens, output_tokens = self._equipment.degrading.expected(job, model, loop_now_s())
        estimate = self._equipment.calibration.corrected(model, tokens)
        return Need(estimate + output_tokens, job.work.lane, job.turn)

    def _standing(self, job: Job, model: str, now_s: float, *, last_resort: bool = False) -> Standing:
        if model in job.excluded:
            return Standing(inf, "excluded")
        standing = self._availability.standing(model, self._need(job, model), now_s, last_resort=last_resort)
        again_s = job.not_before_s.get(model, 0.0)
        return Standing(again_s, "backoff") if standing.available_at_s < again_s else standing

    def _by_standing(self, job: Job, chain: tuple[str, ...], now_s: float) -> tuple[str, ...]:
        """Providers that failed a moment ago stand behind the others of their step."""
        if not job.role.weighted:
            return chain
        sit_out = self._availability.sit_out
        return set_back(chain, job.role.weighted, lambda model: sit_out.rank(model, now_s))

    def _hopeless(self, job: Job, chain: tuple[str, ...], reason: Reason | None) -> GaveUp:
        failure = job.last_failure
        if reason == "excluded" and failure is not None:
            words = f"no model of {', '.join(chain)} can answer: {in_words(job.failed_attempts)}"
            return GaveUp(failure.verdict.code, words)
        if reason == "withdrawn":
            message = f"the provider no longer serves {', '.join(chain)}"
            return GaveUp("provider_unavailable", message, self.retry_after_s(job))
        if reason == "credentials":
            return GaveUp("provider_credentials", f"no credential is set for {', '.join(chain)}")
        tokens = job.estimated_tokens + job.output_tokens
        message = f"about {tokens:,} tokens are more than the quota of any model of the chain can ever give"
        return GaveUp("request_too_large", message)

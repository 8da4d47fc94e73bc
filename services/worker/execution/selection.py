"""Which model may be called for a request now: the first of its chain for which breaker and quota give a permit."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from math import inf
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.runtime.outbound.breaker import BreakerAdmission
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.attempt import Spent
from services.worker.execution.model_chains import failed_last
from services.worker.execution.next_attempt import describe_failures
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.state import CallState, GaveUp, HandBack
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.intake.wait_queue import WaitQueue
from services.worker.models.availability import Availability
from services.worker.models.choose import Choice, ModelState, NoModel, Reason, Wait, choose, last_resort
from services.worker.quota_monitor.monitor import QuotaMonitor
from services.worker.rate_limit.quota import Need, Permit, QuotaKey

__all__ = ["CallPermit", "NeedEstimator", "Selection", "held_back_here"]

_LEASE_S: Final = 0.25
"""Seconds to wait for a share of the quota, which usually comes within milliseconds; after them the whole chain is
considered again."""
_RETRY_SOON_S: Final = 1.0
"""`retry_after_s` of a missed deadline where no known limit stands in the way any more."""
_WORDS: Final[dict[Reason, str]] = {
    "breaker": "the circuit breaker",
    "quota": "the quota",
    "backoff": "another try",
}


class CallPermit(Struct, frozen=True):
    """The right to make one call. Give it to `Selection.settle` and `Outcomes.report_health`, however the call ends."""

    admission: BreakerAdmission
    quota: Permit

    @property
    def key(self) -> QuotaKey:
        return self.quota.key


class NeedEstimator(Struct, frozen=True):
    """Estimates the tokens of a call."""

    degradation: DegradationMonitor
    calibration: TokenCalibration

    def need(self, execution: CallState, model: str, now_s: float) -> Need:
        """The need of a call of `model` for the request now."""
        input_tokens, output_tokens = self.degradation.expected_tokens(execution.size, model, now_s)
        input_tokens = self.calibration.corrected(model, input_tokens)
        return Need(input_tokens + output_tokens, execution.work.lane, execution.arrival)


class Selection(Struct, frozen=True):
    """Chooses a model for each call, and takes the permit for it."""

    availability: Availability
    needs: NeedEstimator
    outcomes: Outcomes
    quota_monitor: QuotaMonitor
    hand_back: HandBackPolicy
    waiting: WaitQueue

    async def next_call(self, execution: CallState) -> CallPermit:
        """A permit for the first model that may be called now; waits while some model may become callable.

        Raises GaveUp when none ever will be for this request, and HandBack when another worker can serve it now.
        """
        while True:
            permit = await self._permit(execution, await self._next_model(execution))
            if permit is not None:
                return permit

    def settle(self, permit: CallPermit, spent: Spent) -> None:
        """Charge what the call used, apply what the provider reported of its limits, and wake waiting requests."""
        quota, now_s = self.availability.quota, loop_now_s()
        quota.settle(permit.quota, spent.tokens, now_s)
        for observation in spent.observations:
            quota.correct(permit.key, observation, now_s)
        self.waiting.wake()

    def stop_waiting(self, execution: CallState) -> None:
        """Remove the request from the queues of the quotas, so that no other request waits behind it."""
        self.availability.quota.withdraw(execution.arrival)

    def retry_after_s(self, execution: CallState) -> float | None:
        """Seconds until some model of the role's chain may be called; None when that is now or never."""
        now_s = loop_now_s()
        states = (
            self.availability.state(model, self.needs.need(execution, model, now_s), now_s)
            for model in execution.role.chain
        )
        earliest_s = min((state.available_at_s for state in states), default=inf)
        return round(earliest_s - now_s, 3) if now_s < earliest_s < inf else None

    def deadline_passed(self, execution: CallState, when: str) -> GaveUp:
        """The error of a request whose deadline passed; `when`: what it did or waited for, in words."""
        retry_after_s = self.retry_after_s(execution) or _RETRY_SOON_S
        failures = describe_failures(execution.history.failed)
        message = f"the deadline passed {when}" + (f", after {failures}" if failures else "")
        return GaveUp("deadline_exceeded", message, retry_after_s)

    async def _next_model(self, execution: CallState) -> str:
        while True:
            now_s = loop_now_s()
            execution.last_resort = False
            choice: Choice | Wait | NoModel | None = None
            if execution.history.same_model is not None:
                choice = self._left_to_another_worker(execution, now_s) or self._same_model(execution, now_s)
            choice = choice or self._of_chain(execution, now_s)
            if isinstance(choice, Choice):
                execution.waits_for = ""
                return choice.model
            if not isinstance(choice, Wait):
                raise self._hopeless(execution, choice.reason)
            execution.waits_for = f"the request waited for {_WORDS[choice.reason]} of {choice.model}"
            await self._wait(execution, choice.until_s)

    async def _permit(self, execution: CallState, model: str) -> CallPermit | None:
        """None: the breaker or the quota let another request go first since the model was chosen."""
        now_s = loop_now_s()
        admission = self.availability.breakers[model].admit(now_s, trial=execution.last_resort)
        if not admission.admitted:
            return None
        if admission.transition is not None:
            self.outcomes.announce_transition(model, admission.transition)
        quota: Permit | None = None
        try:
            quota = await self._acquire(execution, model, now_s)
        finally:
            if quota is None:
                self.outcomes.report_health(model, admission, "neutral")
        return None if quota is None else CallPermit(admission, quota)

    async def _acquire(self, execution: CallState, model: str, now_s: float) -> Permit | None:
        """A permit for a credential that has quota now, or is about to receive a share of it."""
        need = self.needs.need(execution, model, now_s)
        give_up_s = now_s + _LEASE_S
        refused = execution.history.refused_keys
        while True:
            leasing = False
            keys = self.availability.in_turn(model, now_s)
            if refused:
                keys = tuple(sorted(keys, key=refused.__contains__))
            for key in keys:
                permit = self.availability.quota.try_acquire(key, need, now_s)
                if isinstance(permit, Permit):
                    execution.waits_for = ""
                    self.stop_waiting(execution)
                    return permit
                leasing = leasing or permit.leasing
            if not leasing or now_s >= give_up_s:
                return None
            execution.waits_for = f"the request waited for a share of the quota of {model}"
            await self._wait(execution, give_up_s)
            now_s = loop_now_s()

    async def _wait(self, execution: CallState, until_s: float) -> None:
        began_s = loop_now_s()
        try:
            await self.waiting.wait_until(
                execution.work.role, execution.work.lane, until_s, execution.arrival
            )
        finally:
            execution.calls.waited_s += loop_now_s() - began_s

    def _left_to_another_worker(self, execution: CallState, now_s: float) -> Wait | None:
        """After a failed connection the next attempt belongs to a worker that can connect, if there is one.

        Raises HandBack as `_hand_back` does.
        """
        failure = execution.history.last_failure
        if execution.history.same_model is None or failure is None or failure.connected:
            return None
        unreachable, providers = self.availability.connect_failures, self.availability.providers
        states: dict[str, ModelState] = {}
        for model in execution.chain:
            state = self._state(execution, model, now_s)
            if state.available_at_s <= now_s:
                if not unreachable.is_unreachable(providers[model], now_s):
                    return None
                state = ModelState(now_s, "backoff")
            states[model] = state
        return self._hand_back(execution, states, now_s)

    def _hand_back(self, execution: CallState, states: Mapping[str, ModelState], now_s: float) -> Wait | None:
        """Raises HandBack where another worker can serve the request now, and this one cannot.

        A Wait lasts until the other workers have reported what they can serve; None: the request stays here.
        """
        here = held_back_here(execution, states, self.availability, now_s)
        work, delivery = execution.work, execution.delivery
        if not self.hand_back.wanted(work.role, delivery, here, now_s):
            return None
        until_s = self.hand_back.keeps_until_s(execution.started_s, delivery)
        if now_s < until_s:
            return Wait(until_s, "backoff", next(model for model in states if model in here))
        raise HandBack(pauses=here != {execution.history.silent_model})

    def _same_model(self, execution: CallState, now_s: float) -> Choice | Wait | None:
        """The model that is to be called once more after the last failure; None: the chain goes on."""
        retry = execution.history.same_model
        if retry is None:
            return None
        state = self._state(execution, retry.model, now_s)
        if max(state.available_at_s, now_s) > retry.until_s or state.reason == "excluded":
            execution.history.same_model = None
            return None
        if state.available_at_s <= now_s:
            execution.models_without_quota = ()
            return Choice(retry.model)
        return Wait(state.available_at_s, state.reason, retry.model)

    def _of_chain(self, execution: CallState, now_s: float) -> Choice | Wait | NoModel:
        """Raises HandBack as `_hand_back` does."""
        failed, states = execution.history.not_before_s, self._states_in_turn(execution, now_s)
        choice = choose(sorted(states, key=failed.__contains__), states, now_s)
        execution.models_without_quota = _without_quota(states, choice)
        if isinstance(choice, Choice):
            return choice
        wait = self._hand_back(execution, states, now_s)
        if wait is not None:
            return wait
        breakers = self.availability.breakers
        choice = last_resort(
            choice,
            states,
            lambda model: self._state(execution, model, now_s, last_resort=True),
            lambda model: breakers[model].success_share(now_s),
            now_s=now_s,
            max_wait_s=execution.role.max_model_wait_s,
        )
        execution.last_resort = isinstance(choice, Choice)
        return choice

    def _states_in_turn(self, execution: CallState, now_s: float) -> dict[str, ModelState]:
        """The models of the chain, in order, up to the first that can be called now and has not failed for the request,
        or that the settings say to wait for: the models behind it do not matter.

        A failed model does not end the walk: others come before it also where its backoff has ended before this process
        came to choose.
        """
        states: dict[str, ModelState] = {}
        chain, role, history = execution.chain, execution.role, execution.history
        if role.weighted:
            chain = failed_last(chain, role, self.availability.provider_cooldown, now_s)
        for model in chain:
            state = states[model] = self._state(execution, model, now_s)
            if state.available_at_s <= now_s:
                if model not in history.not_before_s:
                    break
            elif state.reason == "quota":
                need = self.needs.need(execution, model, now_s)
                self.quota_monitor.record_blocked(
                    execution.work.role, execution.throttled_quotas, model, need, now_s
                )
                if not execution.degradation.on_rate_limit.enabled:
                    break
        return states

    def _state(
        self, execution: CallState, model: str, now_s: float, *, last_resort: bool = False
    ) -> ModelState:
        if model in execution.history.excluded:
            return ModelState(inf, "excluded")
        need = self.needs.need(execution, model, now_s)
        state = self.availability.state(model, need, now_s, last_resort=last_resort)
        again_s = execution.history.not_before_s.get(model, 0.0)
        return ModelState(again_s, "backoff") if state.available_at_s < again_s else state

    def _hopeless(self, execution: CallState, reason: Reason | None) -> GaveUp:
        history, chain = execution.history, ", ".join(execution.chain)
        if reason == "excluded" and history.last_failure is not None:
            message = f"no model of {chain} can answer: {describe_failures(history.failed)}"
            return GaveUp(history.last_failure.handling.code, message)
        if reason == "withdrawn":
            message = f"the provider no longer serves {chain}"
            return GaveUp("provider_unavailable", message, self.retry_after_s(execution))
        if reason == "credentials":
            return GaveUp("provider_credentials", f"no credential is set for {chain}")
        tokens = execution.size.input_tokens + execution.size.output_tokens
        message = f"about {tokens:,} tokens are more than the quota of any model of the chain can ever give"
        return GaveUp("request_too_large", message)


def _without_quota(states: Mapping[str, ModelState], choice: Choice | Wait | NoModel) -> tuple[str, ...]:
    """The models without quota before the chosen one; all of them where none is chosen."""
    chosen = choice.model if isinstance(choice, Choice) else None
    before = takewhile(lambda model: model != chosen, states)
    return tuple(model for model in before if states[model].reason == "quota")


def held_back_here(
    execution: CallState, states: Mapping[str, ModelState], availability: Availability, now_s: float
) -> frozenset[str]:
    """The models that, as far as is known, only this worker cannot call now. Quota, which all workers share, does not
    count. Empty while the request backs off after a failed call: another worker does not know of the backoff, and would
    use up the attempts on a provider that is restarting.
    """
    silent_model = execution.history.silent_model

    def is_here(model: str, state: ModelState) -> bool:
        match state.reason:
            case "breaker" | "withdrawn" | "credentials":
                return True
            case "excluded":
                return model in execution.history.excluded_here
            case "backoff":
                return availability.connect_failures.is_unreachable(availability.providers[model], now_s) or (
                    model == silent_model and execution.delivery == 1
                )
        return False

    here = frozenset(model for model, state in states.items() if is_here(model, state))
    backs_off = any(each.reason == "backoff" and model not in here for model, each in states.items())
    return frozenset() if backs_off else here

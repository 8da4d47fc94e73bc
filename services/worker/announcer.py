"""Events about models, quotas and credentials, stored in the background."""

from __future__ import annotations

from typing import Any, Final

from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.ids import new_id
from penstock.bus.jetstream_errors import is_conflict
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import store
from penstock.bus.retry import read_from_leader
from penstock.contract import subjects
from penstock.contract.codec import EVENT, INVALID, encode
from penstock.contract.events import (
    BreakerChanged,
    CredentialAged,
    CredentialAvailabilityChanged,
    CredentialRotated,
    Event,
    ModelAvailabilityChanged,
    QuotaEased,
    QuotaPaused,
    QuotaWarned,
)
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.names import Role
from penstock.contract.presence import LimitStatus
from penstock.contract.streams import AUDIT
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.outbound.breaker import State
from penstock.runtime.text.limit_advice import advice
from services.worker.credentials.keyring import OverdueKey
from services.worker.pending_events import PendingEvents
from services.worker.rate_limit.limit_set import LimitUse
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["Announcer", "store_notice"]

_log: Final = rate_limited_logger(__name__)
_KINDS: Final = {
    BreakerChanged: "breaker",
    QuotaPaused: "quota",
    QuotaWarned: "quota",
    QuotaEased: "quota",
    ModelAvailabilityChanged: "model",
}
_TIMEOUT_S: Final = 30.0
_OfModel = BreakerChanged | QuotaPaused | QuotaWarned | QuotaEased | ModelAvailabilityChanged
_OfCredential = CredentialAged | CredentialAvailabilityChanged | CredentialRotated


class Announcer:
    """Stores this worker's events."""

    def __init__(self, events: PendingEvents, catalogue: Catalogue, clock: Clock, instance: str) -> None:
        self._events = events
        self._catalogue = catalogue
        self._clock = clock
        self._instance = instance

    def breaker_changed(self, model: str, before: State, after: State) -> None:
        self.announce(BreakerChanged(before=before, after=after, **self._of_model(model)))

    def quota_paused(self, key: QuotaKey, pause_s: float, reason: str) -> None:
        until_ms = self._clock.unix_ms() + int(pause_s * 1000)
        common = self._of_model(key.model)
        self.announce(QuotaPaused(credential=key.credential, until_ms=until_ms, reason=reason, **common))

    def quota_warned(self, key: QuotaKey, use: LimitUse, record: str, status: LimitStatus) -> None:
        """`record`: of a limit that workers share; empty for a limit of this worker alone."""
        common = self._of_limit(key, use)
        event = QuotaWarned(full_at_ms=status.full_at_ms, advice=advice(status), **common)
        self._announce_crossing(event, record)

    def quota_eased(self, key: QuotaKey, use: LimitUse, record: str) -> None:
        """`record` as in `quota_warned`."""
        self._announce_crossing(QuotaEased(**self._of_limit(key, use)), record)

    def model_availability_changed(self, model: str, roles: tuple[Role, ...], *, served: bool) -> None:
        """`roles`: those whose chain contains the model."""
        self.announce(ModelAvailabilityChanged(served=served, roles=roles, **self._of_model(model)))

    def credential_availability_changed(self, key: QuotaKey, *, usable: bool, why: str = "") -> None:
        common = self._of_model(key.model)
        event = CredentialAvailabilityChanged(credential=key.credential, usable=usable, why=why, **common)
        self.announce(event)

    def credential_rotated(self, provider: str, credential: str) -> None:
        at_ms = self._clock.unix_ms()
        self.announce(
            CredentialRotated(worker=self._instance, provider=provider, credential=credential, at_ms=at_ms)
        )

    def credential_aged(self, provider: str, old: OverdueKey, max_age_days: float) -> None:
        event = CredentialAged(
            worker=self._instance,
            provider=provider,
            credential=old.credential,
            age_days=old.age_days,
            max_age_days=max_age_days,
            at_ms=self._clock.unix_ms(),
        )
        self.announce(event)

    def announce(self, event: _OfModel | _OfCredential) -> None:
        if isinstance(event, _OfCredential):
            subject = subjects.event("credential", event.credential)
        else:
            subject = subjects.event(_KINDS[type(event)], event.model)
        storing = store(self._events.js, subject, encode(event), message_id=new_id(), timeout_s=_TIMEOUT_S)
        self._events.start(event, storing)

    def _announce_crossing(self, event: QuotaWarned | QuotaEased, record: str) -> None:
        if not record:
            self.announce(event)
            return
        subject = subjects.limit_event(record, event.limit)
        self._events.start(event, store_notice(self._events.js, subject, event, timeout_s=_TIMEOUT_S))

    def _of_model(self, model: str) -> dict[str, Any]:
        provider = self._catalogue.models[model].provider
        return {
            "worker": self._instance,
            "provider": provider,
            "model": model,
            "at_ms": self._clock.unix_ms(),
        }

    def _of_limit(self, key: QuotaKey, use: LimitUse) -> dict[str, Any]:
        used = {"credential": key.credential, "limit": use.name, "used": use.used, "allowed": use.limit}
        return used | self._of_model(key.model)


async def store_notice(
    js: JetStreamContext, subject: str, event: QuotaWarned | QuotaEased, *, timeout_s: float
) -> bool:
    """Store `event` unless the last message of the subject has the same type; returns whether it was stored.

    Warnings and their ends alternate on the subject, whichever worker writes them, so a warning outlives its worker.
    Reading and writing together take at most `timeout_s`; the caller does not repeat the report. Raises the errors of
    `store` and `read_from_leader`.
    """
    give_up_s = loop_now_s() + timeout_s
    while True:
        sequence, last = await _last(js, subject, give_up_s - loop_now_s())
        if isinstance(last, type(event)) or (last is None and isinstance(event, QuotaEased)):
            return False
        try:
            return await store(
                js,
                subject,
                encode(event),
                message_id=f"{subject}.{sequence}",
                headers={EXPECTED_LAST: str(sequence)},
                timeout_s=give_up_s - loop_now_s(),
            )
        except APIError as error:
            if not is_conflict(error):
                raise


async def _last(js: JetStreamContext, subject: str, timeout_s: float) -> tuple[int, Event | None]:
    """Sequence and content of the subject's last message, from the stream leader because a replica may lag; the content
    is None if it is not an event.
    """
    msg = await read_from_leader(lambda: js.get_last_msg(AUDIT.name, subject), subject, timeout_s=timeout_s)
    if msg is None:
        return 0, None
    try:
        return msg.seq or 0, EVENT.decode(msg.data or b"")
    except INVALID as error:
        _log.warning("the last message of %s is not a valid event: %s", subject, error)
        return msg.seq or 0, None

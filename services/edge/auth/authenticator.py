"""Who sends a request, from its API key; and whether the key allows what the request names."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from penstock.bus.clock import Clock
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.contract.keys import ApiKey
from penstock.runtime.api_keys.format import digest, prefix_of
from services.edge.auth.identity import Identity
from services.edge.auth.key_slots import KeySlots
from services.edge.auth.known_keys import KnownKeys
from services.edge.auth.local_host import refuse_foreign_host
from services.edge.auth.misplaced_keys import refuse_misplaced_keys
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.listing.target import Target

__all__ = ["Authenticator"]

Rejection = Literal[
    "missing", "malformed", "unknown", "revoked", "expired", "not_allowed", "too_many_requests", "not_read"
]
"""Why a request was not let in; a metric label."""
_UNAUTHORIZED: Final[Mapping[Rejection, str]] = {
    "missing": "there is no API key: send it in the header authorization (Bearer) or x-api-key",
    "malformed": "the API key is incomplete or mistyped, or not one of this gateway",
    "unknown": "the API key is not valid",
    "revoked": "the API key was revoked",
    "expired": "the API key has expired",
}
_NO_SCHEME: Final = "the header authorization must be the word Bearer, a blank and the API key"
_NO_DIGEST: Final = "0" * 64
"""Compared with where no key has the prefix, so that the time of an answer does not tell which prefixes exist."""


class Authenticator:
    def __init__(
        self,
        keys: KnownKeys,
        slots: KeySlots,
        without_keys: Identity | None,
        clock: Clock,
        report: Callable[[Rejection], None],
    ) -> None:
        """`without_keys`: the sender of every request while no key exists; None: a key is required nevertheless."""
        self._keys = keys
        self._slots = slots
        self._without_keys = without_keys
        self._clock = clock
        self._report = report

    @property
    def requires_key(self) -> bool:
        return self._without_keys is None or self._keys.are_required

    def authenticate(self, exchange: Exchange) -> Identity:
        """The sender. The request counts against its key until its end. Raises HttpError (400, 401, 421, 429, 503)."""
        refuse_misplaced_keys(exchange)
        if not self._keys.are_read:
            raise self._not_read()
        if self._without_keys is not None and not self._keys.are_required:
            refuse_foreign_host(exchange)
            exchange.sender = f"account {self._without_keys.account}"
            return self._without_keys
        text = _presented(exchange)
        if not text and exchange.header(b"authorization").partition(" ")[0].lower() not in {"", "bearer"}:
            raise self._unauthorized("missing", _NO_SCHEME)
        prefix = prefix_of(text)
        if prefix is not None:
            exchange.sender = f"key {prefix}"
        key = self._verified(text)
        if key.account == GUARD_ACCOUNT:  # written past `penstock keys`, which refuses it
            self._report("not_allowed")
            raise HttpError.of("not_allowed", f"no key can stand for the account {GUARD_ACCOUNT}")
        exchange.sender = f"account {key.account}, key {key.prefix}"
        exchange.memory_owner = f"key {key.prefix}"
        if not self._slots.try_acquire(key.prefix):
            raise self._too_many()
        exchange.on_end(partial(self._slots.release, key.prefix))
        return Identity(
            account=key.account,
            key=key.prefix,
            user=key.user,
            roles=key.roles,
            models=key.models,
            rescue=key.rescue,
        )

    def authorize(self, identity: Identity, target: Target, needed_for: str = "") -> None:
        """Raises HttpError (403) where the key does not allow this role or model. `needed_for`: what asks for it, where
        the request does not name it.
        """
        if identity.allows(target):
            return
        self._report("not_allowed")
        allowed = ", ".join((*identity.roles, *identity.models))
        message = f"the API key does not allow {target.name!r}: use one of {allowed}"
        if needed_for:
            message = (
                f"{needed_for} needs the role {target.name!r}, and the API key does not allow {target.name!r}: "
                f"use a key that does (this one allows {allowed})"
            )
        raise HttpError.of("not_allowed", message, param="model")

    def _verified(self, text: str) -> ApiKey:
        if not text:
            raise self._unauthorized("missing")
        prefix = prefix_of(text)
        if prefix is None:
            raise self._unauthorized("malformed")
        key = self._keys.find(prefix)
        is_same = hmac.compare_digest(digest(text), _NO_DIGEST if key is None else key.sha256)
        if key is None or not is_same:
            raise self._unauthorized("unknown")
        if key.revoked_ms is not None:
            raise self._unauthorized("revoked")
        if key.expires_ms is not None and self._clock.unix_ms() >= key.expires_ms:
            raise self._unauthorized("expired")
        return key

    def _unauthorized(self, why: Rejection, message: str = "") -> HttpError:
        self._report(why)
        challenge = (b"www-authenticate", b"Bearer")
        return HttpError.of("invalid_api_key", message or _UNAUTHORIZED[why], headers=(challenge,))

    def _too_many(self) -> HttpError:
        self._report("too_many_requests")
        message = (
            f"{self._slots.limit} requests with this API key are in progress, which is the limit: try again when one "
            "has ended"
        )
        return HttpError.of("too_many_requests", message)

    def _not_read(self) -> HttpError:
        self._report("not_read")
        message = "the API keys cannot be read from NATS yet: send the request again"
        return HttpError.of("keys_unavailable", message)


def _presented(exchange: Exchange) -> str:
    """The key of OpenAI's clients, else that of Anthropic's; empty: there is none."""
    scheme, _, key = exchange.header(b"authorization").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else exchange.header(b"x-api-key")

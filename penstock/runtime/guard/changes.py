"""Changes of guard policies: compare-and-set in the bucket, then an event for the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nats.js import JetStreamContext

from penstock.contract import subjects
from penstock.contract.events import GuardPolicyChanged
from penstock.contract.guard.policies import GuardPolicy
from penstock.contract.streams import GUARD_POLICIES
from penstock.runtime.buckets.changes import AuditedRecords, Author
from penstock.runtime.guard.records import decoded, policy_key

__all__ = ["GUARD_POLICY_EVENTS", "change_guard_policy"]

_KIND: Final = "guard_policy"
GUARD_POLICY_EVENTS: Final = subjects.EVENT.format(kind=_KIND, scope="*")
_POLICIES: Final = AuditedRecords(
    bucket=GUARD_POLICIES,
    kind=GuardPolicy,
    decoded=decoded,
    event=lambda before, after, author: GuardPolicyChanged(
        before=before, after=after, changed_by=author.name, at_ms=author.at_ms
    ),
    event_kind=_KIND,
)


async def change_guard_policy(
    js: JetStreamContext,
    account: str,
    change: Callable[[GuardPolicy | None], GuardPolicy | None],
    author: Author,
) -> GuardPolicyChanged | None:
    """Replace the policy of `account` by the result of `change`, which gets the stored one. None: there is none, or it
    is removed. Returns None, and stores nothing, where nothing would change.

    Raises RecordChanged when another process changed it at the same time, ValueError for a name that no account has,
    StreamFull, and nats errors.
    """
    return await _POLICIES.change(js, policy_key(account), change, author)

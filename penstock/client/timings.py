"""The waiting times of a client that no argument sets."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ClientTimings"]


class ClientTimings(Struct, frozen=True, kw_only=True):
    """Seconds on the loop's clock. Tests pass shorter ones to the constructor of `Client`."""

    submit_s: float = 60.0
    """To wait for JetStream's acknowledgement of a job."""
    accept_s: float = 120.0
    """To wait for `accepted` when the request has no timeout; then the deadline of the role counts."""
    grace_s: float = 10.0
    """After the deadline, in which a terminal event may still arrive."""
    silence_s: float = 5.0
    """Without an event, after which the stored events are read: one may have been lost with a connection."""
    read_again_s: float = 0.25
    """Until the stored events are read again when they did not fill a gap."""
    missing_s: float = 3.0
    """To wait for the missing events of an answer whose end is stored. The worker publishes events that may have been
    lost again once it has stored the end, which may be long after the end arrived live: a cluster without a leader
    stores nothing."""

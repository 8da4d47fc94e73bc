"""How long an edge tries to store a request, and thus how old an id can be whose request is not stored yet."""

from __future__ import annotations

from typing import Final

from penstock.contract.streams import REQUESTS

__all__ = ["CLAIM_S", "RESUBMITTED_S", "SUBMIT_S", "UNSTORED_S"]

CLAIM_S: Final = 20.0
"""To store an idempotency key, in seconds."""
SUBMIT_S: Final = 20.0
"""To wait until NATS has stored a request with its body, in seconds: longer than a restart of NATS, or the election of
a leader. Then a client can send the request again, to another edge too."""
UNSTORED_S: Final = CLAIM_S + SUBMIT_S + 20.0
"""From the time in an id to the moment when its request is stored, or never will be, in seconds. Includes what happens
between the steps, such as the checksum of a large body."""
RESUBMITTED_S: Final = float(REQUESTS.duplicate_window_s) - UNSTORED_S
"""From the time in an id, in seconds: for so long a request without any stored reply is submitted again, because NATS
drops it where it was stored before. Later it could be called a second time: its reply may have been deleted."""

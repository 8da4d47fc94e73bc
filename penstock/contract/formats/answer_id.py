"""How the id of an answer over HTTP looks: a prefix, two digits, and the address of its reply."""

from __future__ import annotations

from typing import Final

__all__ = ["ADDRESS", "CHAT", "DIGIT", "MESSAGE", "PREFIX", "RESPONSE"]

CHAT: Final = "chatcmpl-"
RESPONSE: Final = "resp_"
MESSAGE: Final = "msg_"
PREFIX: Final = f"(?:{CHAT}|{RESPONSE}|{MESSAGE})"
"""A regular expression, as the following ones."""
DIGIT: Final = "[0-9a-z]"
"""First the form of the answer, then a check digit."""
ADDRESS: Final = "([A-Za-z0-9_]{1,64})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
"""The client name of the edge process, and the id of the request."""

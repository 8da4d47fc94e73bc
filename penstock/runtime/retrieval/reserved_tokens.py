"""The tokens that a chat request may get before its own: the router counts them, and the worker takes back what is not
used.
"""

from __future__ import annotations

from typing import Final

from penstock.contract.request import ChatRequest
from penstock.contract.work import ChatWork
from penstock.runtime.config.retrieval import Retrieval

__all__ = ["RULES_TOKENS", "reserved_tokens"]

RULES_TOKENS: Final = 250
"""The most tokens of the sentences around passages, and of those around earlier conversations."""


def reserved_tokens(request: ChatRequest | ChatWork, config: Retrieval | None) -> int:
    """The most tokens of passages and excerpts of earlier conversations; 0 without a section `retrieval`."""
    if config is None:
        return 0
    tokens = 0
    if request.rag is not None:
        tokens += request.rag.budget_tokens + RULES_TOKENS
    if request.conversation and request.user:
        tokens += config.memory.budget_tokens + RULES_TOKENS
    return tokens

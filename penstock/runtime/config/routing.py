"""When the router chooses a role or a complexity: keywords of a role, and the section `routing`."""

from __future__ import annotations

from msgspec import Struct

from penstock.runtime.config.bounds import PositiveInt

__all__ = ["AutoRule", "Routing"]


class AutoRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The condition under which the router may choose a role for a request whose role is `auto`."""

    keywords: tuple[str, ...]
    """Words or phrases; one of them in the last user message is enough. Case is ignored, and only whole words match."""


class Routing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds by which the router chooses a role and a complexity (B1, B2)."""

    long_context_tokens: PositiveInt = 30_000
    """A request with more tokens of text uses the role `long_context`."""
    simple_max_characters: PositiveInt = 200
    """A request whose last user message is longer is not simple."""
    classify_unclear: bool = True
    """Whether the guard is asked for the topic of a request in which the rules recognise none, for up to 15 ms; without
    a section `guard` it never is."""

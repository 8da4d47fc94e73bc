"""Model names that select a behaviour: `<base>`, `<base>--<behaviour>` or `<base>--<behaviour>=<value>`."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, Literal, cast, get_args

from msgspec import Struct

__all__ = [
    "HEALTHY",
    "Behaviour",
    "Kind",
    "ModelName",
    "UnknownBehaviourError",
    "parse_behaviour",
    "parse_model",
]

Kind = Literal[
    "healthy",
    "cached",
    "slow",
    "flaky",
    "flapping",
    "429",
    "429-bare",
    "500",
    "503",
    "unauthorized",
    "forbidden",
    "bad-request",
    "context-length",
    "content-filter",
    "too-large",
    "withdrawn",
    "reset",
    "silent",
    "slow-first-token",
    "html",
    "empty",
    "cut",
    "stall",
    "malformed",
    "no-done",
    "no-finish",
    "error-event",
]

_DEFAULTS: Final[dict[Kind, float]] = {
    "cached": 0.5,
    "slow": 5,
    "flaky": 0.3,
    "flapping": 10,
    "429": 2,
    "slow-first-token": 30,
    "cut": 5,
    "stall": 5,
    "malformed": 5,
    "error-event": 5,
}
"""Default value of each behaviour that takes one."""

_SHARES: Final[frozenset[Kind]] = frozenset({"cached", "flaky"})
_SEPARATOR: Final = "--"


class UnknownBehaviourError(ValueError):
    """The text names an unknown behaviour or an invalid value for it."""


class Behaviour(Struct, frozen=True):
    kind: Kind
    value: float = 0.0
    """Seconds, tokens or a share, depending on the kind; 0 if the kind takes no value."""

    def __str__(self) -> str:
        """The text that `parse_behaviour` parses."""
        return f"{self.kind}={self.value:g}" if self.kind in _DEFAULTS else self.kind


class ModelName(Struct, frozen=True):
    full: str
    base: str
    behaviour: Behaviour | None
    """None: the name selects none, so a behaviour set at run time applies."""


HEALTHY: Final = Behaviour("healthy")


def parse_behaviour(text: str) -> Behaviour:
    """Parse `kind` or `kind=value`; raises UnknownBehaviourError with a message that lists the known kinds."""
    kind_text, equals, value_text = text.partition("=")
    if kind_text not in get_args(Kind):
        raise UnknownBehaviourError(f"unknown behaviour {kind_text!r}; known: {', '.join(get_args(Kind))}")
    kind = cast("Kind", kind_text)
    if not equals:
        return Behaviour(kind, _DEFAULTS.get(kind, 0.0))
    if kind not in _DEFAULTS:
        raise UnknownBehaviourError(f"behaviour {kind!r} takes no value")
    return Behaviour(kind, _value(kind, value_text))


def _value(kind: Kind, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UnknownBehaviourError(f"behaviour {kind!r} needs a number, not {text!r}") from None
    if not math.isfinite(value) or value < 0 or (kind in _SHARES and value > 1):
        raise UnknownBehaviourError(f"behaviour {kind!r} cannot have the value {text!r}")
    if kind == "flapping" and value == 0:
        raise UnknownBehaviourError("behaviour 'flapping' needs a period above 0")
    return value


@lru_cache(maxsize=4096)
def parse_model(name: str) -> ModelName:
    """Split a requested model name; raises UnknownBehaviourError, so that a mistyped behaviour is not served as
    healthy.
    """
    base, separator, suffix = name.partition(_SEPARATOR)
    if not separator:
        return ModelName(name, name, None)
    return ModelName(name, base, parse_behaviour(suffix))

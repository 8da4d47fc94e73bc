"""The settings of the simulator, from SIMULATOR_* variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import SOURCE, EnvironmentReader
from services.simulator.rate_limits.limiter import ModelLimits

__all__ = ["HeaderStyle", "Settings", "Speed", "load"]

HeaderStyle = Literal["openai", "groq"]
Amount = Annotated[float, Meta(ge=0)]
_ContextTokens = dict[str, Annotated[int, Meta(ge=1)]]


class Speed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast answers are generated."""

    latency_ms: Amount = 0.0
    """Delay before any answer, error answers included."""
    first_token_ms: Amount = 0.0
    """Further delay before the first token."""
    tokens_per_second: Amount = 0.0
    """0: unlimited."""


class Settings(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 9100
    """0: any free port."""
    api_keys: frozenset[str] = frozenset()
    """Empty: every key is valid."""
    models: tuple[str, ...] = ()
    """Empty: every model name is valid."""
    limits: dict[str, ModelLimits] = {}
    """By model name, full or base; `*` applies to the models without an entry."""
    context_tokens: dict[str, int] = {}
    """By model name, full or base; a model without an entry accepts any length."""
    speed: Speed = Speed()
    header_style: HeaderStyle = "openai"


_LIMITS: Final = 'write JSON, as {"*": {"requests_per_minute": 30}}'
_CONTEXT: Final = 'write JSON, as {"small": 8192}'
_MOST: Final = 1e9
"""The largest delay in milliseconds, and the largest number of tokens per second."""


def load(variables: Mapping[str, str]) -> Settings:
    """The settings in SIMULATOR_* variables; an empty one counts as not set.

    Raises ConfigurationRefused with every mistake in them.
    """
    reader, usual = EnvironmentReader(variables), Settings()

    def amount(name: str) -> float:
        return reader.number(name, 0.0, low=0, high=_MOST)

    settings = Settings(
        host=variables.get("SIMULATOR_HOST") or usual.host,
        port=reader.port("SIMULATOR_PORT", usual.port),
        api_keys=frozenset(_names(variables.get("SIMULATOR_API_KEYS") or "")),
        models=_names(variables.get("SIMULATOR_MODELS") or ""),
        limits=reader.json("SIMULATOR_LIMITS", {}, dict[str, ModelLimits], _LIMITS),
        context_tokens=reader.json("SIMULATOR_CONTEXT", {}, _ContextTokens, _CONTEXT),
        speed=Speed(
            latency_ms=amount("SIMULATOR_LATENCY_MS"),
            first_token_ms=amount("SIMULATOR_FIRST_TOKEN_MS"),
            tokens_per_second=amount("SIMULATOR_TOKENS_PER_SECOND"),
        ),
        header_style=reader.choice("SIMULATOR_HEADER_STYLE", usual.header_style, get_args(HeaderStyle)),
    )
    if reader.problems:
        raise ConfigurationRefused(SOURCE, reader.problems)
    return settings


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())

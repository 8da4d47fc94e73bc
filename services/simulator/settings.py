"""The settings of the simulator, from SIMULATOR_* variables; all errors are reported together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from penstock.runtime.serving.provider_server import HIGHEST_PORT
from services.simulator.rate_limits.limiter import ModelLimits

__all__ = ["HeaderStyle", "Settings", "SettingsError", "Speed", "load"]

HeaderStyle = Literal["openai", "groq"]
Amount = Annotated[float, Meta(ge=0)]


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


class SettingsError(ValueError):
    """All errors in the settings, one per line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "the simulator's settings are wrong:\n" + "\n".join(f"- {line}" for line in problems)
        )
        self.problems = problems


Value = TypeVar("Value")
_PREFIX: Final = "SIMULATOR_"


class _Reader:
    """Parses variables and collects the errors."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.problems: list[str] = []

    def read(self, name: str, default: Value, parse: Callable[[str], Any]) -> Value:
        """The parsed value; `default` if the variable is absent, empty or invalid."""
        text = self._variables.get(_PREFIX + name, "").strip()
        if not text:
            return default
        try:
            value: Value = parse(text)
        except (ValueError, msgspec.MsgspecError) as error:
            self.problems.append(f"{_PREFIX}{name}: {error} (got {text!r})")
            return default
        return value


def load(variables: Mapping[str, str]) -> Settings:
    """Settings from SIMULATOR_*; raises SettingsError with all errors."""
    reader, amount = _Reader(variables), _converted(Amount)
    settings = Settings(
        host=reader.read("HOST", "127.0.0.1", str),
        port=reader.read("PORT", 9100, _converted(Annotated[int, Meta(ge=0, le=HIGHEST_PORT)])),
        api_keys=frozenset(reader.read("API_KEYS", (), _names)),
        models=reader.read("MODELS", (), _names),
        limits=reader.read("LIMITS", {}, _json(dict[str, ModelLimits])),
        context_tokens=reader.read("CONTEXT", {}, _json(dict[str, Annotated[int, Meta(ge=1)]])),
        speed=Speed(
            latency_ms=reader.read("LATENCY_MS", 0.0, amount),
            first_token_ms=reader.read("FIRST_TOKEN_MS", 0.0, amount),
            tokens_per_second=reader.read("TOKENS_PER_SECOND", 0.0, amount),
        ),
        header_style=reader.read("HEADER_STYLE", "openai", _converted(HeaderStyle)),
    )
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _converted(shape: Any) -> Callable[[str], Any]:
    return lambda text: msgspec.convert(text, shape, strict=False)


def _json(shape: Any) -> Callable[[str], Any]:
    return lambda text: msgspec.json.decode(text, type=shape)

"""The settings of the simulator, from SIMULATOR_* variables; every mistake is told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from services.simulator.rate_limits.limits import Limit

__all__ = ["HeaderStyle", "Settings", "SettingsError", "Speed", "load"]

HeaderStyle = Literal["openai", "groq"]
Amount = Annotated[float, Meta(ge=0)]


class Speed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast answers come; a rate of 0 is no limit at all."""

    latency_ms: Amount = 0.0
    """Before anything is answered, errors too."""
    first_token_ms: Amount = 0.0
    """From there to the first token."""
    tokens_per_second: Amount = 0.0


class Settings(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 9100
    """0: any free port."""
    api_keys: frozenset[str] = frozenset()
    """Empty: every key is right."""
    models: tuple[str, ...] = ()
    """Empty: every model name is right."""
    limits: dict[str, Limit] = {}
    """By model name, full or base; `*` is for the models that have no entry."""
    context_tokens: dict[str, int] = {}
    """By model name, full or base; a model without an entry takes any length."""
    speed: Speed = Speed()
    header_style: HeaderStyle = "openai"


class SettingsError(ValueError):
    """All that is wrong with the settings, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "the simulator's settings are wrong:\n" + "\n".join(f"- {line}" for line in problems)
        )
        self.problems = problems


Value = TypeVar("Value")
_PREFIX: Final = "SIMULATOR_"


class _Reader:
    """Reads one variable after another and gathers what is wrong."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.problems: list[str] = []

    def read(self, name: str, default: Value, parse: Callable[[str], Any]) -> Value:
        """The parsed value; `default` when the variable is absent, empty or wrong."""
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
    """Settings out of SIMULATOR_*; raises SettingsError with every mistake in it."""
    reader = _Reader(variables)
    settings = Settings(
        host=reader.read("HOST", "127.0.0.1", str),
        port=reader.read("PORT", 9100, _port),
        api_keys=frozenset(reader.read("API_KEYS", (), _names)),
        models=reader.read("MODELS", (), _names),
        limits=reader.read("LIMITS", {}, _json(dict[str, Limit])),
        context_tokens=reader.read("CONTEXT", {}, _json(dict[str, Annotated[int, Meta(ge=1)]])),
        speed=Speed(
            latency_ms=reader.read("LATENCY_MS", 0.0, _amount),
            first_token_ms=reader.read("FIRST_TOKEN_MS", 0.0, _amount),
            tokens_per_second=reader.read("TOKENS_PER_SECOND", 0.0, _amount),
        ),
        header_style=reader.read("HEADER_STYLE", "openai", _style),
    )
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _port(text: str) -> int:
    port: int = msgspec.convert(text, Annotated[int, Meta(ge=0, le=65535)], strict=False)
    return port


def _amount(text: str) -> float:
    amount: float = msgspec.convert(text, Amount, strict=False)
    return amount


def _style(text: str) -> HeaderStyle:
    style: HeaderStyle = msgspec.convert(text, HeaderStyle)
    return style


def _json(shape: Any) -> Callable[[str], Any]:
    return lambda text: msgspec.json.decode(text, type=shape)

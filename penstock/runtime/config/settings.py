"""Process settings from the environment, read once in `__main__` and handed down."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import Struct

from penstock.bus.auth import NatsAuth, NatsAuthError
from penstock.bus.masking import without_userinfo
from penstock.bus.server_address import is_server_address, servers_of
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.contract.subjects import is_token
from penstock.runtime.config.problems import ConfigurationRefused, Problem, nearest

__all__ = [
    "HIGHEST_PORT",
    "MIN_STORE_SCALE",
    "SOURCE",
    "EnvironmentReader",
    "LogLevel",
    "Settings",
    "Traces",
    "load_settings",
]

LogLevel = Literal["debug", "info", "warning", "error"]
Traces = Literal["off", "otlp", "file"]
Quota = Literal["local", "shared"]
_Value = TypeVar("_Value")
TailSampling = Literal["on", "off"]

_RENAMED: Final = {
    "PENSTOCK_REPLICAS": "PENSTOCK_STREAM_REPLICAS",
    "PENSTOCK_TRACE_RATIO": "PENSTOCK_TRACE_SAMPLE_RATIO",
}
"""Variables of version 0.1.0 that have new names."""
MIN_STORE_SCALE = 0.1
"""The least PENSTOCK_STORE_SCALE."""

SOURCE: Final = "environment"
HIGHEST_PORT: Final = 65_535
_AUTH_FIX = "see docs/configuration.md, NATS credentials"


class Settings(Struct, frozen=True, kw_only=True):
    """The settings of one process; what it serves is in the catalogue."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Or several, with commas between (NATS_URL)."""
    nats_auth: NatsAuth = NatsAuth()
    """NATS_CREDS, NATS_NKEY_SEED, NATS_USER, NATS_PASSWORD, NATS_TOKEN, NATS_CA, NATS_CERT, NATS_KEY and
    NATS_TLS_HOSTNAME."""
    account: str = "demo"
    """PENSTOCK_ACCOUNT; a token of subjects."""
    instance: str | None = None
    """PENSTOCK_INSTANCE; a token of subjects; None: the process generates a name."""
    http_host: str = "127.0.0.1"
    http_port: int = 0
    """0: any free port."""
    traces: Traces = "off"
    trace_file: str | None = None
    """Set if and only if `traces` is `file`."""
    trace_sample_ratio: float = 1.0
    """The share of the traces started here that is recorded, 0 to 1."""
    trace_tail_sampling: TailSampling = "on"
    """`on`: traces that are not sampled are recorded all the same if they have an error or are slow."""
    trace_slow_s: float = 10.0
    """A trace is slow if one of its spans takes longer."""
    log_level: LogLevel = "info"
    drain_s: float = 25.0
    """How long a stopping process waits for running work."""
    ack_wait_s: float = 10.0
    max_deliver: int = 5
    stream_replicas: int = 1
    """Copies of each stream and bucket, on as many nodes of a cluster."""
    store_scale: float = 1.0
    """Factor for the size of the streams, which is 4.4 GiB at 1."""
    quota: Quota = "shared"
    """`shared`: all workers count together in the bucket `llm_quota`; `local`: each worker counts alone."""
    secrets_dir: str | None = None
    """The directory with one file per key, named like its variable; None: keys come from the environment only."""
    secrets_poll_s: float = 5.0
    """Seconds between two reads of these files."""
    key_max_age_days: float = 90.0
    """Age above which a key is reported as old."""


def load_settings(env: Mapping[str, str]) -> Settings:
    """The settings in `env`; an empty variable counts as not set.

    Raises ConfigurationRefused with every mistake in it.
    """
    reading = EnvironmentReader(env)
    usual = Settings()
    traces, trace_file = reading.traces()
    settings = Settings(
        nats_url=reading.servers("NATS_URL", usual.nats_url),
        nats_auth=reading.nats_auth(),
        account=reading.account("PENSTOCK_ACCOUNT") or usual.account,
        instance=reading.token("PENSTOCK_INSTANCE"),
        http_host=env.get("PENSTOCK_HTTP_HOST") or usual.http_host,
        http_port=reading.port("PENSTOCK_HTTP_PORT", usual.http_port),
        traces=traces,
        trace_file=trace_file,
        trace_sample_ratio=reading.number(
            "PENSTOCK_TRACE_SAMPLE_RATIO", usual.trace_sample_ratio, low=0, high=1
        ),
        trace_tail_sampling=reading.choice(
            "PENSTOCK_TRACE_TAIL_SAMPLING", usual.trace_tail_sampling, get_args(TailSampling)
        ),
        trace_slow_s=reading.number("PENSTOCK_TRACE_SLOW_S", usual.trace_slow_s, low=0.1, high=600),
        log_level=reading.level("PENSTOCK_LOG_LEVEL", usual.log_level),
        drain_s=reading.number("PENSTOCK_DRAIN_S", usual.drain_s, low=0, high=3_600),
        # Below a second, jitter of this process alone would cause redeliveries.
        ack_wait_s=reading.number("PENSTOCK_ACK_WAIT_S", usual.ack_wait_s, low=1, high=3_600),
        max_deliver=reading.whole("PENSTOCK_MAX_DELIVER", usual.max_deliver, low=1, high=1_000),
        stream_replicas=reading.whole("PENSTOCK_STREAM_REPLICAS", usual.stream_replicas, low=1, high=5),
        store_scale=reading.number("PENSTOCK_STORE_SCALE", usual.store_scale, low=MIN_STORE_SCALE, high=100),
        quota=reading.choice("PENSTOCK_QUOTA", usual.quota, get_args(Quota)),
        secrets_dir=env.get("PENSTOCK_SECRETS_DIR") or None,
        secrets_poll_s=reading.number("PENSTOCK_SECRETS_POLL_S", usual.secrets_poll_s, low=0.1, high=3_600),
        key_max_age_days=reading.number(
            "PENSTOCK_KEY_MAX_AGE_DAYS", usual.key_max_age_days, low=1, high=3_650
        ),
    )
    reading.renamed()
    if reading.problems:
        raise ConfigurationRefused(SOURCE, reading.problems)
    return settings


class EnvironmentReader:
    """Reads each value of the environment or its default, and collects the mistakes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.problems: list[Problem] = []

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        text = self._env.get(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if low <= value <= high:
            return value
        self._add(name, f"must be a number between {low:g} and {high:g}", f"leave it out for {default:g}")
        return default

    def port(self, name: str, default: int) -> int:
        """To listen on; 0: any free one."""
        return self.whole(name, default, low=0, high=HIGHEST_PORT)

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        text = self._env.get(name)
        if not text:
            return default
        # Ten digits hold every bound here; int() is slow on very long numbers.
        if re.fullmatch(r"[0-9]{1,10}", text) and low <= int(text) <= high:
            return int(text)
        self._add(name, f"must be a whole number between {low} and {high}", f"leave it out for {default}")
        return default

    def token(self, name: str) -> str | None:
        text = self._env.get(name)
        if text and not is_token(text):
            self._add(name, "cannot stand in a NATS subject", "use 1 to 64 of A-Z a-z 0-9 _ -")
        return text or None

    def account(self, name: str) -> str | None:
        account = self.token(name)
        if account == GUARD_ACCOUNT:
            self._add(
                name,
                "is the guard's own account, whose requests are not checked",
                "use another name",
            )
        return account

    def json(self, name: str, default: _Value, kind: Any, fix: str) -> _Value:
        """The value of JSON text as `kind`."""
        text = (self._env.get(name) or "").strip()
        if not text:
            return default
        try:
            value: _Value = msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError as error:
            self._add(name, f"is not valid: {error}", fix)
            return default
        return value

    def level(self, name: str, default: LogLevel) -> Any:
        text = (self._env.get(name) or default).lower()
        if text not in get_args(LogLevel):
            self._add(name, "is not a log level", nearest(text, get_args(LogLevel)))
        return text

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> Any:
        text = self._env.get(name) or default
        if text not in choices:
            self._add(name, f"is neither {' nor '.join(choices)}", f"leave it out for {default}")
        return text

    def servers(self, name: str, default: str) -> str:
        text = self._env.get(name) or default
        if not all(map(is_server_address, servers_of(text))):
            self._add(name, "is not the address of a NATS server", "write nats://host:4222")
        return text

    def nats_auth(self) -> NatsAuth:
        auth = NatsAuth.from_env(self._env)
        try:
            auth.options()
        except NatsAuthError as error:
            self.problems.append(
                Problem(key=error.variable, value=None, problem=error.problem, fix=_AUTH_FIX)
            )
        return auth

    def traces(self) -> tuple[Traces, str | None]:
        otlp = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        default = "otlp" if any(self._env.get(name) for name in otlp) else "off"
        text = self._env.get("PENSTOCK_TRACES") or default
        if text == "otlp":
            return "otlp", None
        if text.startswith("file:") and text != "file:":
            return "file", text.removeprefix("file:")
        if text != "off":
            self._add("PENSTOCK_TRACES", "is not a destination for traces", "write off, otlp or file:PATH")
        return "off", None

    def renamed(self) -> None:
        """Report variables of earlier versions, whose values would be ignored."""
        for old, new in _RENAMED.items():
            if self._env.get(old):
                self._add(old, "has a new name", f"set {new}")

    def _add(self, name: str, problem: str, fix: str) -> None:
        shown = without_userinfo(self._env[name])
        # An invalid address may still contain a password.
        value = None if "@" in shown and "…@" not in shown else f'"{shown}"'
        self.problems.append(Problem(key=name, value=value, problem=problem, fix=fix))

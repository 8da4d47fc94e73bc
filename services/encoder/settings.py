"""The settings of the encoder, from PENSTOCK_ENCODER_* variables."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import SOURCE, EnvironmentReader

__all__ = ["EncoderSettings", "load_encoder_settings"]


class EncoderSettings(Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    """The encoder asks for no key: beyond loopback, let only workers reach it."""
    port: int = 9200
    """0: any free port."""
    threads: int = 1
    """Threads of the matrix library in one step. Two make a step a little faster and take two cores for it."""
    body_bytes: int = 16 * 1024 * 1024
    """The largest body of a request."""
    queue_characters: int = 1_500_000
    """Characters of all requests in progress: 22 s of work, less than the 28 s that a call may take in the shipped
    catalogue. A request beyond them is a 429.
    """
    read_s: float = 30.0
    """To receive the body of a request."""
    drain_s: float = 25.0
    """How long a stopping encoder goes on with the requests in progress."""


def load_encoder_settings(env: Mapping[str, str]) -> EncoderSettings:
    """The settings in `env`; an empty variable counts as not set.

    Raises ConfigurationRefused with every mistake in it.
    """
    reader, usual = EnvironmentReader(env), EncoderSettings()
    settings = EncoderSettings(
        host=env.get("PENSTOCK_ENCODER_HOST") or usual.host,
        port=reader.port("PENSTOCK_ENCODER_PORT", usual.port),
        threads=reader.whole("PENSTOCK_ENCODER_THREADS", usual.threads, low=1, high=64),
        body_bytes=reader.whole("PENSTOCK_ENCODER_BODY_BYTES", usual.body_bytes, low=1_024, high=2**28),
        queue_characters=reader.whole(
            "PENSTOCK_ENCODER_QUEUE_CHARACTERS", usual.queue_characters, low=1_000, high=10**9
        ),
        read_s=reader.number("PENSTOCK_ENCODER_READ_S", usual.read_s, low=0.1, high=3_600),
        drain_s=reader.number("PENSTOCK_DRAIN_S", usual.drain_s, low=0, high=3_600),
    )
    if reader.problems:
        raise ConfigurationRefused(SOURCE, reader.problems)
    return settings

"""Loads and connects the detectors of the configuration, once, before the guard takes checks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.client.client import Client
from penstock.contract.guard.policies import DetectorName
from penstock.runtime.config import guard as config
from penstock.runtime.config.secrets import Found, read_secret
from penstock.runtime.periodic_loop import PeriodicLoop
from services.guard.classifier.batching import BatchingEncoder
from services.guard.classifier.encoder import Encoder
from services.guard.classifier.topics import TopicClassifier
from services.guard.detectors.detector import Detector, TextDetector
from services.guard.detectors.fair_threads import FairThreads
from services.guard.detectors.local import ThreadedDetector
from services.guard.detectors.remembered import Remembered, RememberingDetector
from services.guard.handlers import Topics
from services.guard.injection.detector import InjectionDetector
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.remote.call_limits import CallLimits
from services.guard.remote.detector import RemoteDetector
from services.guard.remote.rater import Rater
from services.guard.safety_model.rater import SafetyModelRater
from services.guard.secrets.detector import SecretDetector

__all__ = ["DetectorLoader", "Loaded", "LoadedLocally", "ModerationKey", "load_locally", "timeouts_s"]

_log: Final = logging.getLogger(__name__)
_THREADS: Final = 1
"""Threads for long texts. More would not be faster: they compete with the event loop and the encoder for the
interpreter, and slices of 20 ms are fair already."""


class ModerationKey(Struct, frozen=True):
    """Of the moderation endpoint, and where it is read again: keys are rotated while the guard runs."""

    value: str
    name: str
    directory: str | None
    every_s: float


class LoadedLocally(Struct, frozen=True):
    """Detectors in this process."""

    texts: tuple[TextDetector, ...] = ()
    others: tuple[Detector, ...] = ()
    topics: Topics | None = None
    close: Callable[[], Awaitable[None]] | None = None


class Loaded(Struct, frozen=True):
    detectors: tuple[Detector, ...]
    topics: Topics | None


def load_locally(cache_dir: Path, detectors: config.Detectors) -> LoadedLocally:
    """Takes about a second, and some seconds more while the cache is empty."""
    encoder = BatchingEncoder(Encoder())
    return LoadedLocally(
        (SecretDetector(cache_dir, detectors.secrets.timeout_s), PersonalDataDetector()),
        (RememberingDetector(InjectionDetector(encoder), Remembered(loop_now_s)),),
        TopicClassifier(encoder),
        encoder.close,
    )


class DetectorLoader:
    def __init__(
        self,
        local: Callable[[config.Detectors], LoadedLocally],
        moderation_key: ModerationKey | None,
        connect: Callable[[], Awaitable[Client]],
    ) -> None:
        """`connect`: a client of the guard's account, for its safety model."""
        self._local = local
        self._moderation_key = moderation_key
        self._connect = connect

    async def load(self, detectors: config.Detectors, closing: AsyncExitStack) -> Loaded:
        """`closing`: gets what has to be closed when the guard stops."""
        local = await asyncio.to_thread(self._local, detectors)
        if local.close is not None:
            closing.push_async_callback(local.close)
        threads = FairThreads(_THREADS, "long texts")
        closing.callback(threads.close)
        found: list[Detector] = [ThreadedDetector(each, threads) for each in local.texts]
        found += [*local.others, *await self._remote(detectors, closing)]
        _log.info("detectors: %s", ", ".join(each.name for each in found) or "none")
        return Loaded(tuple(found), local.topics)

    async def _remote(self, detectors: config.Detectors, closing: AsyncExitStack) -> Sequence[Detector]:
        found: list[Detector] = []
        if detectors.safety_model.enabled:
            client = await self._connect()
            closing.push_async_callback(client.close)
            found.append(_limited(SafetyModelRater(client, detectors.safety_model), detectors.safety_model))
        key = self._moderation_key
        if detectors.openai_moderation.enabled and key is not None:
            # Imported only where it is used: the SDK takes 30 MB.
            from services.guard.openai_moderation.rater import ModerationRater  # noqa: PLC0415

            moderation = ModerationRater(detectors.openai_moderation, key.value)
            closing.push_async_callback(moderation.close)
            found.append(_limited(moderation, detectors.openai_moderation))
            if key.directory is not None:
                following = _following(key, key.directory, moderation.set_key)
                closing.push_async_callback(following.stop)
                following.start()
        return found


def _limited(rater: Rater, settings: config.SafetyModel | config.OpenAIModeration) -> RemoteDetector:
    per_minute = settings.requests_per_minute if isinstance(settings, config.OpenAIModeration) else None
    limits = CallLimits(settings.max_concurrency, per_minute, settings.timeout_s, loop_now_s)
    return RemoteDetector(rater, limits, Remembered(loop_now_s))


def _following(key: ModerationKey, directory: str, set_key: Callable[[str], None]) -> PeriodicLoop:
    async def read() -> None:
        found = await asyncio.to_thread(read_secret, Path(directory), key.name)
        if isinstance(found, Found):
            set_key(found.value)

    return PeriodicLoop("reading the key of the moderation endpoint", key.every_s, read)


def timeouts_s(detectors: config.Detectors) -> dict[DetectorName, float]:
    return {
        "secrets": detectors.secrets.timeout_s,
        "personal_data": detectors.personal_data.timeout_s,
        "prompt_injection": detectors.prompt_injection.timeout_s,
        "safety_model": detectors.safety_model.timeout_s,
        "openai_moderation": detectors.openai_moderation.timeout_s,
    }

"""What every rung of the ladder works with; made once, in app.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from penstock.clock import Clock
from penstock.config.catalogue import Catalogue
from penstock.telemetry.tracing import Tracer
from services.worker.announcing import Announcer
from services.worker.availability import Availability
from services.worker.background import Background
from services.worker.calibration import Calibration
from services.worker.degrading import Degrading
from services.worker.handover import Handover
from services.worker.keys.keyring import Keyring
from services.worker.metrics import WorkerMetrics
from services.worker.pace import Pace
from services.worker.provider import Provider
from services.worker.recording import Recorder
from services.worker.tiers.monitor import Tiers

__all__ = ["Equipment"]


class Equipment(Struct, frozen=True, kw_only=True):
    instance: str
    catalogue: Catalogue
    providers: Mapping[str, Provider]
    availability: Availability
    handover: Handover
    keyring: Keyring
    calibration: Calibration
    degrading: Degrading
    tiers: Tiers
    recorder: Recorder
    announcer: Announcer
    pace: Pace
    background: Background
    metrics: WorkerMetrics
    tracer: Tracer
    clock: Clock
    random: Callable[[], float]
    """In [0, 1); for jitter."""

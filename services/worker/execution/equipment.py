"""What every rung of the ladder works with; made once, in app.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.bus.tracing import Tracer
from penstock.runtime.config.catalogue import Catalogue
from services.worker.accounting.usage_recorder import Recorder
from services.worker.announcer import Announcer
from services.worker.credentials.keyring import Keyring
from services.worker.degradation.monitor import Degrading
from services.worker.estimates.service_times import Pace
from services.worker.estimates.token_calibration import Calibration
from services.worker.execution.handover import Handover
from services.worker.metrics import WorkerMetrics
from services.worker.models.availability import Availability
from services.worker.providers.protocol import Provider
from services.worker.quota_monitor.monitor import Tiers
from services.worker.redelivery.job_record import Background

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

"""What all detectors of one check made of its texts."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Detection

__all__ = ["Outcome"]


class Outcome(Struct, frozen=True):
    detections: tuple[Detection, ...] = ()
    failures: dict[DetectorName, str] = {}
    """Why a detector could not check the texts, without content."""

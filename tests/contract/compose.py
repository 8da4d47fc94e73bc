"""docker-compose.yml as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
PROVIDERS = {name: OURS[name] for name in ("encoder", "simulator")}
"""Services that workers call as providers; they do not connect to NATS."""
ON_NATS = {name: service for name, service in OURS.items() if name not in PROVIDERS}
WORKERS = {name: service for name, service in OURS.items() if name.startswith("worker-")}


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables that Compose sets when the environment of the user is empty."""
    written = service.get("environment", {})
    return {
        name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        for name, value in written.items()
        if value is not None
    }

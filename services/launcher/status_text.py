"""A status as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from services.launcher.invoked import command_name
from services.launcher.limits_text import limits_text
from services.launcher.status_report import Status
from services.launcher.table import table

__all__ = ["status_text"]


def status_text(status: Status) -> str:
    return "\n\n".join(_sections(status))


def _sections(status: Status) -> Iterator[str]:
    yield f"NATS {status.nats}"
    if status.services:
        yield _services(status)
    else:
        yield f"Nothing is alive: no service has said so within 30 s. Start them with `{command_name()} up`."
    if status.roles:
        yield _roles(status)
    if status.limits:
        yield limits_text(status.limits, status.now_ms)
    yield "\n".join(_lines(status))


def _services(status: Status) -> str:
    rows = [
        (
            service.service,
            service.instance,
            service.http or "-",
            "alive" if service.alive else f"silent for {service.silent_s:.0f} s",
        )
        for service in status.services
    ]
    return table(("service", "instance", "http (/health, /metrics)", "state"), rows)


def _roles(status: Status) -> str:
    rows = [
        (
            line.role,
            str(line.workers) if line.workers else "none",
            f"{line.running}/{line.slots}",
            *(str(line.queued[lane]) for lane in sorted(line.queued, reverse=True)),
        )
        for line in status.roles
    ]
    lanes = sorted(status.roles[0].queued, reverse=True)
    titles = ("role", "workers", "running", *(f"in queue, {lane}" for lane in lanes))
    return table(titles, rows, right=frozenset(range(1, len(titles))))


def _lines(status: Status) -> Iterator[str]:
    if status.waiting_for_router:
        yield f"Waiting for a router: {status.waiting_for_router:,}"
    for breaker in status.breakers:
        yield (
            f"Breaker {breaker.state}: {breaker.model} at {breaker.worker}, "
            f"tried again in {breaker.retry_in_s:.0f} s"
        )
    if not status.breakers:
        yield "Breakers: all closed"
    if status.withdrawn:
        yield f"Not listed by their provider: {', '.join(status.withdrawn)}"
    yield f"Dead letters: {status.dead_letters:,}"

"""A status as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.cli.commands.status_report import Status
from penstock.cli.program_name import command_name
from penstock.cli.render.limits import learned_text, limits_text
from penstock.cli.render.table import table
from penstock.cli.render.terminal_safe import shown

__all__ = ["status_text"]


_RULES: Final = {
    "high_latency": "which is slow: answers may be less long",
    "errors": "which fails too often: less history is sent",
}


def status_text(status: Status) -> str:
    """Anybody may publish a presence: what it says is made visible before anything is laid out."""
    return "\n\n".join(_sections(shown(status)))


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
    if status.learned:
        yield learned_text(status.learned)
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
    for each in status.degraded:
        yield f"Degraded: {each.role} with {each.model} at {each.worker}, {_RULES.get(each.rule, each.rule)}"
    if status.withdrawn:
        yield f"Withdrawn by their provider: {', '.join(status.withdrawn)}"
    if status.keyless:
        yield f"Providers without any key: {', '.join(status.keyless)}; `{command_name()} config check` names it"
    yield from _credentials(status)
    yield f"Dead letters: {status.dead_letters:,}"


def _credentials(status: Status) -> Iterator[str]:
    """Those of which there is something to say."""
    for each in status.credentials:
        name = f"Key {each.credential} of {each.provider}"
        if each.is_old:
            yield f"{name}: {each.age_days} days old, more than {each.max_age_days:g}: change it"
        if each.refused_for:
            yield f"{name}: refused for {', '.join(each.refused_for)}"
        for trouble in each.troubles:
            yield f"{name}: its file {trouble}; a key known before stays in use"

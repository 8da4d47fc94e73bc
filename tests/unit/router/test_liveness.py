"""C3: a word that cannot be taken up harms nobody else's."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from penstock.clock import Clock
from penstock.config.catalogue import Batch, RoleConfig
from schemas.presence import Presence, QuotaForecast, RoleStatus
from services.router.capacity import Capacity
from services.router.liveness import Liveness


def beat(instance: str, paused_ms: Any = 0) -> Presence:
    forecast = QuotaForecast(model="m", source=instance, paused_ms=paused_ms)
    return Presence(
        service="worker",
        instance=instance,
        at_ms=0,
        roles=(RoleStatus(role="chat", slots=1, running=0),),
        forecasts=(forecast,),
    )


def test_c3_a_beat_that_cannot_be_taken_up_is_told_of_and_its_worker_and_the_others_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    roles = {"chat": RoleConfig(chain=("m",))}
    capacity = Capacity(roles, Batch())
    liveness = Liveness(Clock(lambda: 1000.0, lambda: 1e9), capacity, roles)
    for each in (beat("w1"), beat("w2"), beat("w1", paused_ms="soon")):  # no decoder lets this through
        liveness._on_beat(each.instance, each)

    prospect = capacity.prospect("chat", 1000.0, 1000.0)

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "w1" in caplog.text
    assert liveness.served(1000.0) == {"chat"}
    assert prospect is not None
    assert prospect.lanes["interactive"].slots == 1, "of w1 nothing is known any more"

"""K7: a machine that is too busy for a measurement."""

from __future__ import annotations

import logging

import httpx
import pytest
from openai import APITimeoutError

from penstock.bus.freezes import Freezes
from tests.bench.busy import MachineTooBusy, bare_call, explain_stalls, finished_rounds
from tests.bench.load import run


async def timed_out() -> None:
    with bare_call():
        raise APITimeoutError(httpx.Request("POST", "http://127.0.0.1:9/v1"))


async def test_k7_a_bare_call_that_times_out_is_explained_and_ends_the_others() -> None:
    with pytest.raises(MachineTooBusy, match="the bare call timed out: the machine is too busy"):
        await run(timed_out, at_once=4, total=8)


async def test_k7_rounds_that_are_finished_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    measured = iter((1.0, 2.0))

    async def measure() -> float:
        figure = next(measured, None)
        if figure is None:
            await timed_out()
        return figure or 0.0

    assert await finished_rounds(3, measure) == [1.0, 2.0]
    assert "the figures are those of 2 of 3 rounds" in capsys.readouterr().err


async def test_k7_without_a_finished_round_there_is_no_figure() -> None:
    with pytest.raises(MachineTooBusy):
        await finished_rounds(3, timed_out)


def test_k7_a_freeze_is_explained_by_what_it_means_for_the_figures(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("penstock.bus.freezes"), "filters", [])
    explain_stalls()
    freezes = Freezes(now_s=0.0)
    freezes.observe(9.0)
    with caplog.at_level(logging.WARNING):
        freezes.report()
    assert "the benchmark stood still for 9.0 s" in caplog.text
    assert "CPU is right" in caplog.text

"""A command that waits says so, and one that does not is silent."""

from __future__ import annotations

import asyncio

import pytest

from penstock.cli.waiting_note import waiting_note
from tests.harness.suite.waiting import until


async def test_f2_a_command_that_waits_says_for_what(capsys: pytest.CaptureFixture[str]):
    shown = ""

    def note() -> str:
        nonlocal shown
        shown += capsys.readouterr().err
        return shown

    async with waiting_note("waiting for a ledger", after_s=0.01):
        await until(lambda: note() == "[waiting for a ledger]\n", 2)


async def test_a_command_that_does_not_wait_is_silent(capsys: pytest.CaptureFixture[str]):
    async with waiting_note("waiting"):
        await asyncio.sleep(0)
    assert capsys.readouterr().err == ""

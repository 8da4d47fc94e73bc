"""An answer is not torn apart by log lines when NATS goes away."""

from __future__ import annotations

import io
import logging

import nats.errors

from penstock.bus.connection import Reconnects
from penstock.cli.commands.connection_notes import noting
from penstock.cli.render.answer import AnswerText
from penstock.contract.reply import Delta


async def test_a_lost_connection_is_one_note_on_its_own_line_and_so_is_the_new_one():
    terminal = io.StringIO()
    answer = AnswerText(terminal, terminal)
    reconnects = Reconnects()

    with noting(answer.note):
        answer.show(Delta(id="r", seq=1, attempt=1, text="The sky"))
        await reconnects.error(nats.errors.UnexpectedEOF())
        await reconnects.lost()
        await reconnects.error(OSError("Connect call failed"))
        await reconnects.lost()
        await reconnects.announce()
        answer.show(Delta(id="r", seq=2, attempt=1, text=" is blue"))

    assert terminal.getvalue() == (
        "The sky\n[the connection to NATS is lost; waiting for it]\n[connected again]\n is blue"
    )


async def test_what_the_server_refuses_is_told():
    said: list[str] = []

    with noting(said.append):
        await Reconnects().error(nats.errors.Error("Permissions Violation for Publish"))

    assert said == ["NATS: Permissions Violation for Publish"]


def test_other_warnings_are_notes_and_less_is_silence():
    said: list[str] = []
    log = logging.getLogger("elsewhere")

    with noting(said.append):
        log.info("nothing new")
        log.warning("the disk is %s", "full")
    log.warning("nobody reads this here")

    assert said == ["the disk is full"]

"""Notes about the connection replace log lines while an answer is printed."""

from __future__ import annotations

import io
import logging

import nats.errors

from penstock.bus.connection import ConnectionEvents
from penstock.cli.connection_notes import connection_notes
from penstock.cli.render.answer import AnswerPrinter
from penstock.contract.reply import Delta


async def test_a_lost_and_a_restored_connection_are_one_note_each():
    terminal = io.StringIO()
    answer = AnswerPrinter(terminal, terminal)
    connection_events = ConnectionEvents()

    with connection_notes(answer.note):
        answer.show(Delta(id="r", seq=1, attempt=1, text="The sky"))
        await connection_events.error(nats.errors.UnexpectedEOF())
        await connection_events.lost()
        await connection_events.error(OSError("Connect call failed"))
        await connection_events.lost()
        await connection_events.reconnected()
        answer.show(Delta(id="r", seq=2, attempt=1, text=" is blue"))

    assert terminal.getvalue() == (
        "The sky\n[the connection to NATS is lost; waiting for it]\n[connected again]\n is blue"
    )


async def test_an_error_of_the_server_is_a_note():
    notes: list[str] = []

    with connection_notes(notes.append):
        await ConnectionEvents().error(nats.errors.Error("Permissions Violation for Publish"))

    assert notes == ["NATS: Permissions Violation for Publish"]


def test_warnings_are_notes_and_lower_levels_are_dropped():
    notes: list[str] = []
    log = logging.getLogger("elsewhere")

    with connection_notes(notes.append):
        log.info("nothing new")
        log.warning("the disk is %s", "full")
    log.warning("logged outside the context")

    assert notes == ["the disk is full"]

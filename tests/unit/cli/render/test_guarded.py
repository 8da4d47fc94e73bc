"""What the safety guard did, at the terminal."""

from __future__ import annotations

import io

import pytest

from penstock.cli.render.answer import AnswerPrinter, failure_text
from penstock.cli.render.guarded import blocked_text, guarded_lines, left_out_lines, unchecked_lines
from penstock.contract.guard.places import ContentPlace, LeftOut
from penstock.contract.guard.policies import CATEGORIES, KINDS
from penstock.contract.reply import Completed, Delta, Failed, Failure, GuardedContent
from penstock.errors import RequestFailed


def found(name, action="redact", direction="input", count=1):
    return GuardedContent(direction=direction, name=name, action=action, count=count)


def test_g6_what_was_replaced_and_what_was_found_are_told_apart():
    guarded = (
        found("personal_data/email", count=2),
        found("personal_data/payment_card"),
        found("prompt_injection", "flag"),
        found("secrets/openai_key", direction="output"),
    )
    assert guarded_lines(guarded) == [
        "safety guard, replaced by placeholders in the request: e-mail address (2), payment card",
        "safety guard, found in the request: prompt injection",
        "safety guard, replaced by placeholders in the answer: OpenAI key",
    ]
    assert guarded_lines(()) == []


def test_g1_a_note_says_where_something_was_found_and_what_was_left_out():
    places = (
        ContentPlace(kind="passage", number=2, name="a.md"),
        ContentPlace(kind="turn", name="trip"),
        ContentPlace(kind="message", number=1),
    )
    flagged = GuardedContent(
        direction="input", name="prompt_injection", action="flag", count=3, places=places
    )
    assert guarded_lines((flagged,)) == [
        "safety guard, found in the request: prompt injection (3, passage 2 of a.md, earlier turn of trip, message 1)"
    ]
    out = [LeftOut(kind="passage", name=f"{each}.md", findings=("prompt_injection",)) for each in range(6)]
    turn = LeftOut(kind="turn", name="trip", findings=("hate", "violence"))
    assert left_out_lines([*out[:2], turn]) == [
        "safety guard, 2 passages were left out: 0.md (prompt injection), 1.md (prompt injection)",
        "safety guard, 1 earlier turn was left out: trip (hate, violence)",
    ]
    assert left_out_lines(out)[0].endswith("4.md (prompt injection), …")
    assert left_out_lines(()) == []


def test_g6_an_answer_ends_with_a_note_on_what_was_replaced():
    out, notes = io.StringIO(), io.StringIO()
    printer = AnswerPrinter(out, notes)
    printer.show(Delta(id="r", seq=1, attempt=1, text="Hello"))
    printer.show(
        Completed(
            id="r",
            seq=2,
            attempt=1,
            role="chat",
            model="m",
            provider="p",
            finish_reason="stop",
            guarded=(found("personal_data/email"),),
        )
    )
    assert out.getvalue() == "Hello\n"
    assert notes.getvalue() == "[safety guard, replaced by placeholders in the request: e-mail address]\n"
    assert printer.reply is not None
    assert printer.reply.guarded[0].name == "personal_data/email"


def test_g4_a_note_says_where_content_passed_unchecked():
    assert unchecked_lines(()) == []
    assert unchecked_lines(("input", "output")) == [
        "safety guard, not completely checked: the request",
        "safety guard, not completely checked: the answer",
    ]


def test_g1_a_refusal_says_what_was_found_and_how_it_is_called_in_policies():
    failure = Failure(
        code="blocked",
        message="Sorry.",
        retry="never",
        categories=("prompt_injection", "secrets/jwt", "hate/threatening", "violence"),
    )
    failed = RequestFailed("r", Failed(id="r", seq=1, attempt=1, error=failure).error)
    assert failed.categories == failure.categories
    lines = failure_text(failed).splitlines()
    assert lines[0] == "Sorry. (blocked)"
    assert lines[1] == (
        "  The safety guard found: prompt injection (prompt_injection), JSON web token (secrets/jwt), "
        "hate, threatening (hate/threatening), violence."
    )
    assert "penstock guard" in lines[2]


@pytest.mark.parametrize(
    "name", [*CATEGORIES, *(f"{category}/{kind}" for category, kinds in KINDS.items() for kind in kinds)]
)
def test_g1_every_category_and_kind_has_a_plain_name(name):
    text = blocked_text([name])
    assert "_" not in text.partition(" (")[0]

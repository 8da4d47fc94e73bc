"""A5: a call that was refused withdraws a model; a list only says what is there."""

from __future__ import annotations

import pytest

from penstock.runtime.config.catalogue import Model
from services.worker.models.roster import RECHECK_S, Change, Roster
from services.worker.providers.model_list import ModelList, read_model_list

MODELS = {
    "maverick": Model(provider="groq", name="meta-llama/llama-4-maverick"),
    "gpt-oss": Model(provider="groq", name="openai/gpt-oss-120b"),
    "gpt-4o": Model(provider="openai"),
}
STILL_SERVED = ModelList(frozenset({"openai/gpt-oss-120b"}))
BOTH = ModelList(frozenset({"openai/gpt-oss-120b", "meta-llama/llama-4-maverick"}))
GONE, BACK = Change("maverick", withdrawn=True), Change("maverick", withdrawn=False)


@pytest.fixture
def roster() -> Roster:
    return Roster(MODELS)


@pytest.mark.parametrize("served", [None, ModelList(), STILL_SERVED])
def test_a5_no_list_withdraws_a_model(roster: Roster, served: ModelList | None) -> None:
    assert roster.listed("groq", served, 0.0) == ()
    assert not any(roster.is_withdrawn(model, 0.0) for model in MODELS)


def test_a5_a_model_that_is_not_listed_is_told_once(roster: Roster) -> None:
    assert roster.newly_unlisted("groq", STILL_SERVED) == ("maverick",)
    assert roster.newly_unlisted("groq", STILL_SERVED) == ()
    assert roster.newly_unlisted("openai", ModelList(frozenset({"gpt-4o"}))) == (), "another provider's"
    assert roster.newly_unlisted("groq", BOTH) == ()
    assert roster.newly_unlisted("groq", STILL_SERVED) == ("maverick",)


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":[{"id":"other"}],"has_more":true}',
        b'{"models":[{"name":"models/other"}],"nextPageToken":"t"}',
        b'{"data":[]}',
        b'{"data":null}',
        b"[]",
    ],
)
def test_a5_a_list_that_is_cut_or_empty_says_nothing_of_what_is_missing(roster: Roster, body: bytes) -> None:
    assert roster.newly_unlisted("groq", read_model_list(body)) == ()
    assert roster.newly_unlisted("groq", None) == ()


def test_a5_a_404_withdraws_a_model_and_is_told_once(roster: Roster) -> None:
    assert roster.not_found("maverick", 0.0) == GONE
    assert roster.is_withdrawn("maverick", 0.0)
    assert not roster.is_withdrawn("gpt-4o", 0.0), "another provider's"
    assert roster.not_found("maverick", 20.0) is None
    assert roster.not_found("maverick", 20.0 + 2 * RECHECK_S) is None


def test_a5_a_404_outweighs_a_list_until_it_lapses(roster: Roster) -> None:
    roster.not_found("maverick", 0.0)
    assert roster.listed("groq", BOTH, RECHECK_S - 1) == ()
    assert roster.is_withdrawn("maverick", RECHECK_S - 1)
    assert roster.listed("groq", BOTH, RECHECK_S) == (BACK,)
    assert roster.listed("groq", BOTH, RECHECK_S) == ()


def test_a5_after_the_interval_it_may_be_asked_again(roster: Roster) -> None:
    roster.not_found("maverick", 0.0)
    assert not roster.is_withdrawn("maverick", RECHECK_S)
    roster.not_found("maverick", RECHECK_S)
    assert roster.is_withdrawn("maverick", RECHECK_S + 1)
    assert roster.answered("maverick") == BACK
    assert roster.answered("maverick") is None
    assert not roster.is_withdrawn("maverick", RECHECK_S + 1)


def test_a_model_the_catalogue_does_not_know_is_an_error(roster: Roster) -> None:
    with pytest.raises(KeyError):
        roster.not_found("gpt-9", 0.0)

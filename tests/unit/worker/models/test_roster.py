"""A5: a rejected call withdraws a model, a model list does not."""

from __future__ import annotations

import pytest

from penstock.runtime.config.catalogue import Model
from services.worker.models.roster import RECHECK_S, Roster, RosterChange
from services.worker.providers.model_list import ModelList, read_model_list

MODELS = {
    "maverick": Model(provider="groq", name="meta-llama/llama-4-maverick"),
    "gpt-oss": Model(provider="groq", name="openai/gpt-oss-120b"),
    "gpt-4o": Model(provider="openai"),
}
STILL_SERVED = ModelList(frozenset({"openai/gpt-oss-120b"}))
BOTH = ModelList(frozenset({"openai/gpt-oss-120b", "meta-llama/llama-4-maverick"}))
WITHDRAWN, RESTORED = RosterChange("maverick", withdrawn=True), RosterChange("maverick", withdrawn=False)


@pytest.fixture
def roster() -> Roster:
    return Roster(MODELS)


@pytest.mark.parametrize("served", [None, ModelList(), STILL_SERVED])
def test_a5_a_list_never_withdraws_a_model(roster: Roster, served: ModelList | None) -> None:
    assert roster.observe_list("groq", served, 0.0) == ()
    assert not any(roster.is_withdrawn(model, 0.0) for model in MODELS)


def test_a5_an_unlisted_model_is_reported_once(roster: Roster) -> None:
    assert roster.newly_unlisted("groq", STILL_SERVED) == ("maverick",)
    assert roster.newly_unlisted("groq", STILL_SERVED) == ()
    assert roster.newly_unlisted("openai", ModelList(frozenset({"gpt-4o"}))) == (), (
        "a model of another provider"
    )
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
def test_a5_a_partial_or_empty_list_reports_no_unlisted_model(roster: Roster, body: bytes) -> None:
    assert roster.newly_unlisted("groq", read_model_list(body)) == ()
    assert roster.newly_unlisted("groq", None) == ()


def test_a5_a_404_withdraws_a_model_and_is_reported_once(roster: Roster) -> None:
    assert roster.record_not_found("maverick", 0.0) == WITHDRAWN
    assert roster.is_withdrawn("maverick", 0.0)
    assert not roster.is_withdrawn("gpt-4o", 0.0), "a model of another provider"
    assert roster.record_not_found("maverick", 20.0) is None
    assert roster.record_not_found("maverick", 20.0 + 2 * RECHECK_S) is None


def test_a5_a_list_restores_a_model_only_after_the_withdrawal_lapsed(roster: Roster) -> None:
    roster.record_not_found("maverick", 0.0)
    assert roster.observe_list("groq", BOTH, RECHECK_S - 1) == ()
    assert roster.is_withdrawn("maverick", RECHECK_S - 1)
    assert roster.observe_list("groq", BOTH, RECHECK_S) == (RESTORED,)
    assert roster.observe_list("groq", BOTH, RECHECK_S) == ()


def test_a5_a_withdrawn_model_is_called_again_after_the_interval(roster: Roster) -> None:
    roster.record_not_found("maverick", 0.0)
    assert not roster.is_withdrawn("maverick", RECHECK_S)
    roster.record_not_found("maverick", RECHECK_S)
    assert roster.is_withdrawn("maverick", RECHECK_S + 1)
    assert roster.record_answer("maverick") == RESTORED
    assert roster.record_answer("maverick") is None
    assert not roster.is_withdrawn("maverick", RECHECK_S + 1)


def test_a_model_that_is_not_in_the_catalogue_is_an_error(roster: Roster) -> None:
    with pytest.raises(KeyError):
        roster.record_not_found("gpt-9", 0.0)

from __future__ import annotations

import pytest

from penstock.config.catalogue import Model
from services.worker.withdrawn import RECHECK_S, Change, Roster, split

MODELS = {
    "maverick": Model(provider="groq", name="meta-llama/llama-4-maverick"),
    "gpt-oss": Model(provider="groq", name="openai/gpt-oss-120b"),
    "gpt-4o": Model(provider="openai"),
}
STILL_SERVED = frozenset({"openai/gpt-oss-120b"})
BOTH = STILL_SERVED | {"meta-llama/llama-4-maverick"}
GONE, BACK = Change("maverick", withdrawn=True), Change("maverick", withdrawn=False)


@pytest.fixture
def roster() -> Roster:
    return Roster(MODELS)


def test_a5_the_list_names_models_as_the_provider_does() -> None:
    assert split(("maverick", "gpt-oss"), MODELS, STILL_SERVED) == (("gpt-oss",), ("maverick",))
    assert split(("gpt-4o",), MODELS, frozenset({"gpt-4o"})) == (("gpt-4o",), ())


def test_a5_a_provider_that_could_not_be_asked_withdraws_nothing(roster: Roster) -> None:
    assert split(("maverick", "gpt-oss"), MODELS, None) == (("maverick", "gpt-oss"), ())
    roster.not_found("maverick", 0.0)
    assert roster.listed("groq", None, 0.0) == ()
    assert roster.is_withdrawn("maverick", 0.0)
    assert not roster.is_withdrawn("gpt-oss", 0.0)


def test_a5_a_withdrawn_model_is_told_once(roster: Roster) -> None:
    assert roster.listed("groq", STILL_SERVED, 0.0) == (GONE,)
    assert roster.is_withdrawn("maverick", 0.0)
    assert not roster.is_withdrawn("gpt-4o", 0.0), "another provider's"
    assert roster.listed("groq", STILL_SERVED, 10.0) == ()
    assert roster.not_found("maverick", 20.0) is None
    assert roster.not_found("maverick", 20.0 + 2 * RECHECK_S) is None


def test_a5_a_model_that_is_listed_again_is_back_at_once(roster: Roster) -> None:
    roster.listed("groq", STILL_SERVED, 0.0)
    assert roster.listed("groq", BOTH, 10.0) == (BACK,)
    assert not roster.is_withdrawn("maverick", 10.0)
    assert roster.listed("groq", BOTH, 20.0) == ()


def test_a5_a_404_at_run_time_withdraws_it_and_outweighs_the_list(roster: Roster) -> None:
    assert roster.not_found("maverick", 0.0) == GONE
    assert roster.listed("groq", BOTH, RECHECK_S - 1) == ()
    assert roster.is_withdrawn("maverick", RECHECK_S - 1)
    assert roster.listed("groq", BOTH, RECHECK_S) == (BACK,)


def test_a5_after_the_interval_it_may_be_asked_again(roster: Roster) -> None:
    roster.not_found("maverick", 0.0)
    assert not roster.is_withdrawn("maverick", RECHECK_S)
    roster.not_found("maverick", RECHECK_S)
    assert roster.is_withdrawn("maverick", RECHECK_S + 1)
    assert roster.answered("maverick") == BACK
    assert roster.answered("maverick") is None
    assert not roster.is_withdrawn("maverick", RECHECK_S + 1)


def test_a_404_that_lapsed_no_longer_outweighs_the_list(roster: Roster) -> None:
    roster.not_found("maverick", 0.0)
    roster.listed("groq", STILL_SERVED, RECHECK_S)
    assert roster.listed("groq", BOTH, RECHECK_S + 1) == (BACK,)


def test_a_model_the_catalogue_does_not_know_is_an_error(roster: Roster) -> None:
    with pytest.raises(KeyError):
        roster.not_found("gpt-9", 0.0)

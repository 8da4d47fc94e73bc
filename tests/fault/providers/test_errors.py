"""D11, A6, A9: one meaning for every shape in which a provider says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.contract.events import CredentialAvailabilityChanged
from tests.fault.providers.rows.context import CONTEXT, SIZE
from tests.fault.providers.rows.keys import KEYS, MONEY, SIT_OUT_S
from tests.fault.providers.rows.rejections import AT_RANDOM, CONTENT, REFUSED, REPORTED
from tests.fault.providers.rows.table import Outcome, Table, check, params, ran

ROWS = (*CONTEXT, *SIZE, *CONTENT, *REFUSED, *AT_RANDOM, *REPORTED)
TABLE = Table(rows=ROWS, keys=2, sections={"breaker": {"failures": 2}})
KEYED = Table(rows=(*MONEY, *KEYS), keys=2, sections={"sit_out_s": SIT_OUT_S})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("errors")) as done:
        yield done


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(KEYED, tmp_path_factory.mktemp("keys")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_d11_an_error_means_the_same_in_every_shape(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


@pytest.mark.parametrize("name", params(KEYED))
def test_a6_a_key_without_money_or_rights_is_set_aside(keyed: dict[str, Outcome], name: str) -> None:
    outcome = keyed[name]
    check(outcome)
    assert {type(event) for event in outcome.events} <= {CredentialAvailabilityChanged}


def test_a6_credentials_that_are_set_aside_are_told_of(keyed: dict[str, Outcome]) -> None:
    told = {event.model for outcome in keyed.values() for event in outcome.events if not event.usable}

    assert told >= {f"{outcome.lane}-first" for outcome in keyed.values()}

"""D11, A6, A9: an error has the same effect in every shape in which providers report it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.contract.events import CredentialAvailabilityChanged
from tests.fault.worker.providers.rows.context import CONTEXT, SIZE
from tests.fault.worker.providers.rows.keys import BILLING, COOLDOWN_S, KEYS
from tests.fault.worker.providers.rows.rejections import CONTENT, RANDOM_OUTPUT, REJECTED, REPORTED
from tests.fault.worker.providers.rows.table import Outcome, Table, check, row_ids, run_rows

ROWS = (*CONTEXT, *SIZE, *CONTENT, *REJECTED, *RANDOM_OUTPUT, *REPORTED)
TABLE = Table(rows=ROWS, keys=2, sections={"breaker": {"failure_threshold": 2}})
KEYED = Table(rows=(*BILLING, *KEYS), keys=2, sections={"credential_cooldown_s": COOLDOWN_S})


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with run_rows(KEYED, tmp_path_factory.mktemp("keys")) as done:
        yield done


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_d11_an_error_has_the_same_effect_in_every_shape(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


@pytest.mark.parametrize("name", row_ids(KEYED))
def test_a6_a_key_without_budget_or_permission_is_withdrawn(keyed: dict[str, Outcome], name: str) -> None:
    outcome = keyed[name]
    check(outcome)
    assert {type(event) for event in outcome.events} <= {CredentialAvailabilityChanged}


def test_a6_withdrawn_credentials_are_reported(keyed: dict[str, Outcome]) -> None:
    reported = {event.model for outcome in keyed.values() for event in outcome.events if not event.usable}
    assert reported >= {f"{outcome.lane}-first" for outcome in keyed.values()}

"""K2: what an application imports comes from one place."""

from __future__ import annotations

import penstock
from penstock import errors


def test_every_error_an_application_can_meet_is_at_the_top() -> None:
    for name in errors.__all__:
        assert getattr(penstock, name) is getattr(errors, name)


def test_all_it_promises_is_there() -> None:
    for name in penstock.__all__:
        assert getattr(penstock, name).__name__ == name

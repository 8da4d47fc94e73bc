"""K2: the implicit roles of models: one for each, and a valid name everywhere."""

from __future__ import annotations

import re
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.names import Role, implicit_role, is_implicit
from penstock.contract.subjects import is_token, work, work_address

ROLE = re.compile(get_args(Role)[1].pattern)
MODELS = st.text(min_size=0, max_size=80) | st.text("ab-_./:2e", max_size=90)


@given(MODELS)
def test_the_role_of_any_model_is_a_role_a_token_and_part_of_a_subject(model: str) -> None:
    role = implicit_role(model)
    assert ROLE.fullmatch(role)
    assert is_token(role)
    assert is_implicit(role)
    address = work_address(work(role, "batch", 3, "flow"))
    assert address is not None
    assert address.role == role


@given(st.lists(MODELS, min_size=2, max_size=50, unique=True))
def test_no_two_models_share_a_role(models: list[str]) -> None:
    assert len(set(map(implicit_role, models))) == len(models)


@given(st.from_regex(r"\A[a-z][a-z0-9_]{0,31}\Z"), MODELS)
def test_no_role_of_a_catalogue_is_the_role_of_a_model(configured: str, model: str) -> None:
    assert not is_implicit(configured)
    assert configured != implicit_role(model)


def test_names_stay_readable() -> None:
    names = ("gpt-oss-120b", "llama-3.1-8b", "openai/gpt-oss", "gpt_4", "")
    assert [implicit_role(name) for name in names] == [
        "model-gpt-oss-120b",
        "model-llama-3_2e1-8b",
        "model-openai_2fgpt-oss",
        "model-gpt_5f4",
        "model-_",
    ]


def test_names_that_are_alike_to_the_end_of_a_long_text_differ() -> None:
    assert implicit_role("m" * 58) == "model-" + "m" * 58
    assert len({implicit_role("m" * length) for length in range(50, 80)}) == 30

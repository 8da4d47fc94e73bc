"""K2: keywords of the OpenAI body are not taken for misspelled arguments."""

from __future__ import annotations

import re

import pytest

from penstock.client.arguments import check_body, check_role_or_model

PARAMETERS = re.findall(
    r"\w+",
    """
frequency_penalty logit_bias logprobs max_completion_tokens max_tokens metadata modalities n parallel_tool_calls
prediction presence_penalty prompt_cache_key reasoning_effort reasoning_format response_format safety_identifier seed
service_tier stop store stream stream_options temperature tool_choice tools top_k top_logprobs top_p verbosity
web_search_options min_p repetition_penalty extra_body documents functions function_call audio thinking
""",
)


@pytest.mark.filterwarnings("error")
def test_k2_parameters_of_providers_do_not_warn() -> None:
    check_body(dict.fromkeys(PARAMETERS))


@pytest.mark.parametrize(
    "name", ["timeout", "timeout_ms", "roles", "usr", "rescu", "degraded", "complexty", "system"]
)
def test_k2_misspelled_arguments_warn(name: str) -> None:
    with pytest.warns(UserWarning, match=name):
        check_body({name: 1})


def test_k2_a_role_and_a_model_cannot_both_be_named() -> None:
    check_role_or_model("auto", "gpt-4o")
    check_role_or_model("chat", "")
    with pytest.raises(ValueError, match="role is 'chat' and model is 'gpt-4o': name one of them"):
        check_role_or_model("chat", "gpt-4o")

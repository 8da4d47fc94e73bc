"""The error codes and message texts by which providers report each kind of failure.

Codes are compared in lower case; patterns are searched in messages in lower case. Collected in November 2026 from the
providers' documentation and from errors that users reported to public projects; the test data name the source of each.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "ACCOUNT_CLOSED_PATTERN",
    "AMBIGUOUS_CREDENTIAL_CODES",
    "BUDGET_CODES",
    "BUDGET_PATTERN",
    "CONTENT_CODES",
    "CONTENT_PATTERN",
    "CONTEXT_CODES",
    "CONTEXT_PATTERN",
    "CREDENTIAL_CODES",
    "CREDENTIAL_PATTERN",
    "DEVELOPER_ROLE_PATTERN",
    "FAILURE_FINISH_REASONS",
    "INVALID_FIELD_PATTERN",
    "LIMIT_AND_REQUESTED_PATTERN",
    "MESSAGE_INDEX_PATTERN",
    "MODEL_404_PATTERN",
    "MODEL_CODES",
    "MODEL_MISSING_PATTERN",
    "NO_ENDPOINT_PATTERN",
    "PARAMETER_CODES",
    "PARAMETER_PATTERNS",
    "PERMISSION_PATTERN",
    "PLAN_QUOTA_PATTERN",
    "RANDOM_REFUSAL_CODES",
    "RANDOM_REFUSAL_PATTERN",
    "RATE_LIMIT_CODES",
    "RATE_LIMIT_PATTERN",
    "REFERENCED_OBJECT_PATTERN",
    "STATUS_OF_CODE",
    "TEXT_TOO_LONG_CODE",
    "TOO_LARGE_CODES",
    "TOO_LARGE_PATTERN",
    "UNVERIFIED_ACCOUNT_PATTERN",
]


def _codes(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


CONTEXT_CODES: Final = _codes(
    "context_length_exceeded exceed_context_size_error context_window_exceeded contextwindowexceedederror",
    "model_context_window_exceeded model_max_prompt_tokens_exceeded prompt_too_long input_too_long",
    "max_context_length_exceeded",
)
TEXT_TOO_LONG_CODE: Final = "string_above_max_length"
"""OpenAI's code for a message that is too long, and for any other text of the request."""
CONTENT_CODES: Final = _codes(
    "content_filter content_filtered content_policy_violation contentpolicyviolationerror",
    "responsibleaipolicyviolation contentfilterresult contentfilterresults contentfilter flaggedinput",
    "reasons prohibited_content safety blocklist spii image_safety moderation_blocked invalid_prompt",
    "data_inspection_failed datainspectionfailed sensitive_words_detected",
)
BUDGET_CODES: Final = _codes(
    "insufficient_quota insufficient_balance insufficient_credits insufficient_funds",
    "insufficient_user_quota billing_hard_limit_reached billing_not_active billing_error budget_exceeded",
    "payment_required credit_limit_exceeded exceeded_current_quota_error spend_limit_reached arrearage",
)
CREDENTIAL_CODES: Final = _codes(
    "invalid_api_key api_key_invalid incorrect_api_key api_key_expired api_key_service_blocked",
    "authentication_error authenticationerror invalid_authentication_error unauthenticated unauthorized",
    "permission_denied permission_error permission_denied_error access_denied accessdeniedexception",
    "unrecognizedclientexception expiredtokenexception account_deactivated organization_restricted",
    "mismatched_project mismatched_organization",
)
AMBIGUOUS_CREDENTIAL_CODES: Final = _codes(
    "permission_denied permission_error permission_denied_error access_denied accessdeniedexception",
)
"""The credential codes that are also used for a file that the request names."""
RATE_LIMIT_CODES: Final = _codes(
    "rate_limit_exceeded rate_limit_error rate_limited rate_limit_reached_error ratelimitexceeded",
    "ratelimiterror ratelimitreached resource_exhausted too_many_requests toomanyrequests",
    "too_many_requests_error throttlingexception userratelimitexceeded engine_overloaded_error",
)
TOO_LARGE_CODES: Final = frozenset({"request_too_large", "tokens_limit_reached", "payload_too_large"})
MODEL_CODES: Final = _codes(
    "model_not_found model_not_found_error model_not_exist model_decommissioned model_deprecated",
    "model_retired model_terms_required invalid_model deploymentnotfound modeldeprecated unknown_model",
    "modelnotfound unsupported_model model_not_supported",
)
PARAMETER_CODES: Final = _codes(
    "unsupported_parameter unsupported_value unknown_parameter extra_forbidden unrecognized_parameter",
)
_UNUSABLE_OUTPUT_REASONS: Final = _codes(
    # Gemini: ai.google.dev/api/generate-content, FinishReason; its compatible endpoint sends
    # "function_call_filter: MALFORMED_FUNCTION_CALL" (hermes-agent PR 83882, req_llm issue 935).
    "function_call_filter malformed_function_call unexpected_tool_call too_many_tool_calls",
    "malformed_response missing_thought_signature",
    # Bedrock: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (pydantic-ai PR 5640).
    "malformed_model_output malformed_tool_use",
)
"""Finish reasons for output of the model that cannot be used: the same request may succeed."""
FAILURE_FINISH_REASONS: Final = (
    _UNUSABLE_OUTPUT_REASONS
    | _codes(
        "error",  # OpenRouter and Mistral (API references), Cohere, Together (together-python PR 153)
        "error_limit timeout user_cancel",  # Cohere: docs.cohere.com/reference/chat
        "network_error",  # Zhipu: docs.z.ai/api-reference/llm/chat-completion (pi issue 2313, hermes-agent PR 92161)
        "abort aborted",  # vLLM issue 57082, SGLang PR 22535, Zhipu (pi issue 1750)
        "insufficient_system_resource",  # DeepSeek: api-docs.deepseek.com/api/create-chat-completion
        "other",  # Gemini: "all other reasons that stopped the token generation"
    )
)
"""Finish reasons of an answer that broke off, which is not whole (D6). Reasons that end it as requested or
by a rule (`length`, `content_filter`, `sensitive`) are passed to the application."""
RANDOM_REFUSAL_CODES: Final = _UNUSABLE_OUTPUT_REASONS | {
    "tool_use_failed",
    "json_validate_failed",
    "output_parse_failed",
}
STATUS_OF_CODE: Final = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "bad_request": 400,
    "bad request": 400,
    "badrequest": 400,
    "invalid_argument": 400,
    "invalid_request": 400,
    "failed_precondition": 400,
    "validationexception": 400,
    "validation_error": 422,
    "unprocessableentityerror": 422,
    "not_found_error": 404,
    "notfounderror": 404,
    "not_found": 404,
    "permission_error": 403,
    "permission_denied": 403,
    "authentication_error": 401,
    "authenticationerror": 401,
    "unauthenticated": 401,
    "too many requests": 429,
}
"""The HTTP status that a code stands for, used where an error inside a 200 names no number."""

CONTEXT_PATTERN: Final = re.compile(
    r"maximum (?:context|prompt|model|input) (?:length|limit|size|window)"
    r"|context[ _-]?(?:length|size|window|limit)s?\b.{0,40}exceed"
    r"|exceed\w*.{0,60}\bcontext[ _-]?(?:length|size|window|limit)"
    r"|(?:longer|greater|larger|more) than the (?:model'?s? |available |max\w* )*context"
    r"|larger than the max(?:imum)? context"
    r"|when context the overflows|context (?:length )?overflow"
    r"|(?:prompt|input|request|conversation) (?:is |was )?too long"
    r"|input is too large to process"
    r"|input token count.{0,40}(?:exceeds|but (?:the )?model only supports)"
    r"|exceeds the max(?:imum)?(?: allowed)? number of (?:input )?tokens"
    r"|number of (?:input )?tokens.{0,20}exceed"
    r"|input tokens exceed"
    r"|`?inputs`? tokens \+ `?max_new_tokens`? must be"
    r"|too many tokens: "
    r"|exceeded model token limit"
    r"|range of input length should be"
    r"|(?:prompt|input|messages?|conversation)\b[^.]{0,40}exceeds? (?:the )?(?:max(?:imum)? |allowed |input )*length"
    r"|expected maxlength: \d+, actual: \d+"
    r"|context (?:length|window|size) is (?:only )?[\d,]+"
    r"|reduce the length of (?:the |your )?(?:messages|prompt|input)"
)
CONTENT_PATTERN: Final = re.compile(
    r"content[ _-]?(?:management )?(?:policy|policies|filter)"
    r"|usage (?:polic(?:y|ies)|guidelines)"
    r"|\bflagged\b|\bmoderation\b|prohibited[ _]content|content exists risk|inappropriate content"
    r"|safety (?:system|filter|settings?|reasons?|policy|guidelines|check)"
    r"|sensitive (?:content|words)|blocked (?:by|due to|because of|for) .{0,40}(?:safety|polic|filter|prohibited)"
    r"|violat\w+ .{0,40}(?:polic|terms|guidelines)|unsafe content|considered unsafe"
)
ACCOUNT_CLOSED_PATTERN: Final = re.compile(
    r"\b(?:account|organi[sz]ation|team|project|(?:api )?key|access)\b.{0,30}"
    r"\b(?:suspended|terminated|deactivated|disabled|restricted|banned|revoked|blocked)"
)
"""A provider account or a key that was closed, for any reason."""
BUDGET_PATTERN: Final = re.compile(
    r"insufficient[ _-](?:quota|balance|credits?|funds)|credit balance is|not enough (?:credits?|balance|funds)"
    r"|(?:run |ran )?out of (?:credits|funds|balance)|(?:used|exhausted) all .{0,30}credits"
    r"|credits? (?:have been |has been |are |is )?(?:exhausted|depleted|used up)|credit limit exceeded"
    r"|requires more credits|negative (?:credit )?balance|account balance (?:is )?(?:too low|insufficient|negative)"
    r"|(?:monthly|account|spend(?:ing)?|hard|billing|key)(?: spending| usage)? (?:limit|cap|budget)\b.{0,40}"
    r"(?:reached|exceeded|exhausted)"
    r"|(?:reached|reaching|exceeded|hit) (?:its|your|the|a) (?:\w+ )?(?:spend(?:ing)?|billing|monthly(?: spending)?)"
    r" (?:limit|cap|budget)"
    r"|reached your specified api usage limits|exceeded your monthly included credits"
    r"|payment required|billing (?:is )?not active"
    r"|(?<!thinking )(?<!reasoning )(?<!token )budget (?:has been )?exceeded|exceeded (?:your|the|its) budget"
    r"|recharge your account|overdue[ -]payment|account is in arrears|in good standing"
)
PLAN_QUOTA_PATTERN: Final = re.compile(r"exceeded your current quota.{0,40}(?:plan|billing)")
CREDENTIAL_PATTERN: Final = re.compile(
    r"api[ _-]?key\b.{0,40}(?:not valid|invalid|incorrect|expired|not found|missing|revoked|disabled|required)"
    r"|(?:invalid|incorrect|expired|missing|bad|unknown|revoked|wrong|no)\b.{0,20}\bapi[ _-]?key"
    r"|no auth credentials found|invalid (?:authentication|bearer|access token|credentials?)"
)
PERMISSION_PATTERN: Final = re.compile(
    r"api[ _-]?key|\btoken\b|credential|permission|not authori[sz]ed|unauthori[sz]ed|access denied|have access"
    r"|\baccount\b|organi[sz]ation|\bproject\b|subscription|\bteam\b|not allowed to (?:use|access|sample)"
)
RATE_LIMIT_PATTERN: Final = re.compile(
    r"rate[ _-]?limit|too many requests|resource (?:has been )?exhausted|quota exceeded|throttled"
)
TOO_LARGE_PATTERN: Final = re.compile(
    r"request too large|request (?:entity|body|payload) (?:is )?too large|payload too large"
)
LIMIT_AND_REQUESTED_PATTERN: Final = re.compile(
    r"\blimit(?: of| is|:)? ?(?P<limit>\d[\d,]{0,18})\b.{0,120}?\brequested:? ?(?:about )?(?P<requested>\d[\d,]{0,18})"
)
NO_ENDPOINT_PATTERN: Final = re.compile(
    r"no (?:allowed )?(?:endpoints|providers)\b.{0,20}(?:that |which )?(?:support|match|are available|can handle|meet)"
)
"""OpenRouter's message when it serves the model, but not with the features this request asks for."""
MODEL_MISSING_PATTERN: Final = re.compile(
    r"not a valid model|model not exist|invalid model\b|unknown model\b|no such model|model identifier is invalid"
    r"|\bmodels?\b.{0,120}(?:does ?n[o']t exist|do not exist|has been (?:decommissioned|deprecated|retired|removed"
    r"|shut ?down)|is no longer|not found)"
)
"""Messages about a missing model that are sent with any status."""
MODEL_404_PATTERN: Final = re.compile(
    r"\b(?:models?|deployment)\b.{0,120}"
    r"(?:not (?:be )?(?:found|exist|available|supported|served|accessible|ready|deployed|loaded)|does ?n[o']t exist"
    r"|do not exist|no longer|unknown|invalid|deprecated|decommissioned|retired|unavailable|inaccessible)"
    r"|(?:no such|unknown|invalid|unable to (?:find|access)|could not find|cannot find|not find|not found|access to) "
    r".{0,40}\b(?:model|deployment)"
    r"|no endpoints found for|(?:^|; )model: "
)
"""Messages about a missing model that count only with a status of 404 or 410."""
UNVERIFIED_ACCOUNT_PATTERN: Final = re.compile(
    r"organi[sz]ation must be verified|must (?:be verified|verify)"
)
"""OpenAI's message for a model that only verified organizations may use."""
RANDOM_REFUSAL_PATTERN: Final = re.compile(
    r"failed to call a function\. please adjust|failed to (?:generate|validate) json\. please adjust"
)
MESSAGE_INDEX_PATTERN: Final = re.compile(r"\bmessages\W{1,3}\d")
"""The refusal concerns one entry of `messages`."""
DEVELOPER_ROLE_PATTERN: Final = re.compile(
    r"\brole\b.{0,60}\bdeveloper\b|\bdeveloper\b.{0,60}\brole\b|[`'\"]?developer[`'\"]? is not one of"
    r"|unexpected (?:message )?role\b|incorrect role information|unknown variant `developer`|unsupported role\b"
)
_PARAMETER_NAME: Final = r"[`'\"“]?([A-Za-z][\w.\[\]]{0,63}?)[`'\"”]?"
_QUOTED: Final = r"[`'\"“]([A-Za-z][\w.]{0,63})[`'\"”]"
_NOUN: Final = r"(?:parameter|argument|field|property|name)"
_KNOWN: Final = (
    r"(temperature|top_p|top_k|min_p|max_tokens|max_completion_tokens|frequency_penalty|presence_penalty"
    r"|repetition_penalty|logprobs|top_logprobs|logit_bias|seed|stream_options|parallel_tool_calls|reasoning_effort"
    r"|service_tier|verbosity)"
)
"""Parameters that are recognized without quotes."""
_NOT_SUPPORTED: Final = (
    r"(?:deprecated|unsupported|unrecognized|not (?:supported|permitted|allowed|recognized|a valid))"
)
PARAMETER_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"unrecognized request arguments? supplied: ([\w.]{1,64})",
        rf"(?:unsupported|unknown|unrecognized|unexpected) {_NOUN}s?(?:\(s\))?:? {_QUOTED}(?! at 'messages)",
        r"unsupported parameters?(?:\(s\))?: ?[`'\"]?([\w.]{1,64})",
        rf"unsupported value: {_QUOTED} does not support",
        rf"unexpected keyword(?: argument)? {_PARAMETER_NAME}(?![\w.])",
        r"argument not supported on this model: ([\w.]{1,64})",
        rf"does not support (?:the )?parameters?:? {_PARAMETER_NAME}(?![\w.])",
        rf"does not support (?:the )?{_QUOTED}",
        rf"parameters? {_PARAMETER_NAME} (?:is|are) (?:not|un)[ -]?supported",
        rf"(?<!model ){_QUOTED} (?:{_NOUN} )?(?:is|are) {_NOT_SUPPORTED}",
        r"([\w.]{1,64}): extra inputs are not permitted",
        r"([a-z_][\w.]{1,63}) extra inputs are not permitted",
        r"extra_forbidden.{0,60}'loc': [\[(]'body', '(\w{1,64})'[\])]",
        r"extra inputs are not permitted, field: [`'\"]([\w.]{1,64})",
        rf"{_QUOTED} cannot both be specified",
        rf"\b{_KNOWN} (?:{_NOUN} )?(?:is|are) {_NOT_SUPPORTED}",
        rf"does not support (?:the )?(?:{_NOUN} )?{_KNOWN}\b",
        rf"invalid {_KNOWN}: only ",
        r"(?:fields|parameters|arguments|properties) are not supported[^:]{0,60}: ?[`'\"\[]*([\w.]{1,64})",
        r"additional properties are not allowed \('([\w.]{1,64})' was unexpected",
        r"unknown field:? (?:parameter )?[`'\"]([\w.]{1,64})[`'\"]",
        rf"unknown (?:field|option|setting):? {_KNOWN}\b",
        rf"(?:not|n't|cannot) (?:accept|take|allow|use|recogni[sz]e) (?:the |a |any )?(?:{_NOUN} )?{_KNOWN}\b",
        rf"\b{_KNOWN} (?:{_NOUN} )?not (?:allowed|accepted|supported|permitted|available)\b",
        rf"\b(?:has|have|takes|accepts|supports) no (?:\w+ (?:called|named) )?{_KNOWN}\b",
        rf"\b(?:remove|omit|drop|leave out) (?:the )?(?:{_NOUN} )?{_KNOWN}\b",
    )
)
REFERENCED_OBJECT_PATTERN: Final = re.compile(
    r"\b(?:file|cachedcontent|cached content|image|audio|video|document|url|uri|thread|assistant|vector store"
    r"|prompt|attachment|download|fetch|schema|function|tools?)\b"
)
"""The refusal concerns an object that the request refers to, not the key."""
INVALID_FIELD_PATTERN: Final = re.compile(
    r"extra inputs are not permitted|additional propert(?:y|ies)|unexpected keyword|invalid (?:value|schema|type)"
    r"|(?:unknown|unsupported|unexpected|unrecognized) (?:request )?(?:name|field|parameter|argument|property|key)"
    r"|(?:property|parameter|argument|field) \S{0,80} ?is (?:unsupported|not)|could not parse"
)
"""The refusal concerns one field of the request: the rest of the message may be an echo of the request."""

"""kingfisher's rules for the secrets of some 400 vendors, in this process. Its validator, which calls the vendors with
what it found, is never used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kingfisher_sdk import Rules, Scanner

from penstock.contract.guard.checks import CONTEXT_CHARACTERS, TIMEOUT
from services.guard.detectors.detector import DetectorUnavailable
from services.guard.matching.encoded_text import EncodedText
from services.guard.matching.overlaps import Found
from services.guard.secrets.randomness import bits_per_character, is_masked, is_structured

__all__ = ["KingfisherRules"]

_RANK: Final = 20
_CONTEXT_BYTES: Final = CONTEXT_CHARACTERS
"""Bytes before a finding with which alone it must be found too: findings do not depend on what is farther away."""
_LEAST_BITS: Final = 2.8
_SECRET_SETTING: Final = re.compile(
    rb"\w[\w .-]{0,40}=[^;\n]*;(?:[^;\n]*;)*?"
    rb"(?:SharedAccessKey|SharedSecretValue|SharedAccessSignature|AccountKey|AccessKey|SharedKey|password|pwd|secret)"
    rb" {0,2}= {0,2}([^;\s\"'`]+)",
    re.IGNORECASE,
)
_KINDS: Final = (
    (re.compile(r"betterleaks\.anthropic-"), "anthropic_key"),
    (re.compile(r"betterleaks\.gitlab-"), "gitlab_token"),
    (re.compile(r"betterleaks\.(?:gcp-api-key|gcp-gemini-api)"), "google_api_key"),
    (re.compile(r"betterleaks\.groq-"), "groq_key"),
    (re.compile(r"betterleaks\.huggingface-"), "hugging_face_token"),
    (re.compile(r"betterleaks\.openai-"), "openai_key"),
    (re.compile(r"betterleaks\.slack-|veles\.secrets/slack"), "slack_token"),
    (re.compile(r"betterleaks\.stripe-"), "stripe_key"),
    (re.compile(r"betterleaks\.telegram-"), "telegram_bot_token"),
    (re.compile(r"betterleaks\.azure-storage-account-key"), "generic_secret"),
)
_UNUSED: Final = re.compile(
    # Rules of this project are more exact: check digits, decoded headers, whole blocks, only the password of a URL.
    r"betterleaks\.(?:aws-access-token|github-|npm-|jwt|private-key|generic-credential-uri|mongodb-connection|stripe-|telegram-)"
    r"|veles\.secrets/(?:npmjs|bitbucketcred|codecatalyst|codecommit)"
    # They cover whole documents or commands.
    r"|betterleaks\.(?:gcp-service-account|gcp-application-default|kubernetes-secret-yaml|curl-|hashicorp-tf-password|nuget-config)"
    # What they find is no secret: names, ids, hosts, public keys.
    r"|.*(?:client-id|account-id|tenant-id|user-?name|cloud-name|token-name|-host|-domain|public|pub-key|-address|application-id|app-id"
    r"|instance-url|project-url|rest-url|jfrog-url|access-key-id|-auth-id|access-id|account-name|api-id|-repository)"
)


class KingfisherRules:
    """The scanner with its rules. `cache_dir`: where the compiled rules are kept, 4 s of CPU to make and 0.4 s to read;
    None: the user's cache directory, or that of `KF_RULE_CACHE_DIR`.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        rules = Rules(confidence="medium", cache_dir=None if cache_dir is None else str(cache_dir))
        self._scanner = Scanner(rules, base64=False)

    def find(self, text: EncodedText, scan_s: float) -> Iterator[Found | None]:
        """The findings; and None for a candidate that is none.

        `scan_s`: how long one scan may take. Raises DetectorUnavailable when one takes longer.
        """
        data = text.data
        for start, end, kind in self._scan(data, scan_s):
            value = text[start:end]
            if is_masked(value) or is_structured(value) or bits_per_character(value) < _LEAST_BITS:
                yield None
                continue
            first = text.boundary(start - _CONTEXT_BYTES)
            if first and (start - first, end - first, kind) not in self._scan(data[first : end + 1], scan_s):
                yield None
                continue
            yield Found(start, end, kind, _RANK)

    def _scan(self, data: bytes, scan_s: float) -> list[tuple[int, int, str]]:
        try:
            found = self._scanner.scan(data, timeout=scan_s)
        except TimeoutError as error:
            raise DetectorUnavailable(TIMEOUT) from error
        places = []
        for finding in found:
            if finding.visible and not _UNUSED.match(finding.rule_id):
                location = finding.location
                start, end = _without_quotes(data, location["start_offset"], location["end_offset"])
                start, end = _without_settings(data, start, end)
                places.append((start, end, _kind(finding.rule_id)))
        return places


def _without_quotes(data: bytes, start: int, end: int) -> tuple[int, int]:
    value = data[start:end]
    start += len(value) - len(value.lstrip(b" \t\r\n\"'`"))
    return start, start + len(value.strip(b" \t\r\n\"'`"))


def _without_settings(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Of a whole connection string (`Endpoint=…;SharedAccessKeyName=…;SharedAccessKey=…`) only the secret."""
    secret = _SECRET_SETTING.match(data, start, end)
    return (start, end) if secret is None else secret.span(1)


def _kind(rule: str) -> str:
    return next((kind for pattern, kind in _KINDS if pattern.match(rule)), "other_secret")

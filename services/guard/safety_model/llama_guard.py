"""The format of Llama Guard 3 and 4.

Their chat template, which the provider applies, turns a conversation into the question whether its last message is
safe; the answer is `safe`, or `unsafe` and a line with categories. In practice answers begin with blank lines, write
`unsafe ` or `Unsafe`, have blanks and a last comma in `S1, S2,`, put the categories on the first line, or go on with an
explanation (ogx issue 4476, modelbench issue 1004, agent-service-toolkit issue 122, garak pull request 2127).
"""

from __future__ import annotations

import re
from typing import Any, Final

from services.guard.remote.rater import UNNAMED, CallFailed, Piece, Rating
from services.guard.safety_model.answer_format import AnswerFormat
from services.guard.safety_model.hazards import HAZARDS, rating_of

__all__ = ["LLAMA_GUARD"]

_PARAMETERS: Final[dict[str, Any]] = {"temperature": 0, "max_tokens": 64}
_BEFORE_OUTPUT: Final = "Please go on."
"""The turn before an answer: the template wants turns to alternate, and a model that sees an answer alone tends to call
everything safe or to invent a category."""
_VERDICT: Final = re.compile(r"[\s\W_]*(safe|unsafe)\b(.*)", re.IGNORECASE | re.DOTALL)
_UNSAFE_LINE: Final = re.compile(r"^\W*unsafe\b", re.IGNORECASE | re.MULTILINE)
_SPECIAL_TOKEN: Final = re.compile(r"<\|[a-z_]{1,40}\|>")
_CODE: Final = re.compile(r"\bS(\d{1,2})\b", re.IGNORECASE)
_MOST_CHARACTERS: Final = 2_000


def _messages(piece: Piece, policy: str) -> list[dict[str, str]]:
    """`policy`: other definitions of the categories S1 to S14, which keep their counterparts (HAZARDS); empty: those of
    the model.
    """
    if policy:
        return [{"role": "user", "content": _task(piece, policy)}]
    if piece.by_model:
        return [
            {"role": "user", "content": _BEFORE_OUTPUT},
            {"role": "assistant", "content": piece.text},
        ]
    return [{"role": "user", "content": piece.text}]


def _task(piece: Piece, policy: str) -> str:
    """The prompt that the template would make (Meta, "Llama Guard 3: Model Cards and Prompt formats")."""
    role = "Agent" if piece.by_model else "User"
    before = f"User: {_BEFORE_OUTPUT}\n\n" if piece.by_model else ""
    return (
        f"Task: Check if there is unsafe content in '{role}' messages in conversations according to our safety policy "
        f"with the below categories.\n\n<BEGIN UNSAFE CONTENT CATEGORIES>\n{policy.strip()}\n"
        f"<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\n{before}{role}: {_without_marks(piece.text)}\n\n"
        f"<END CONVERSATION>\n\nProvide your safety assessment for ONLY THE LAST {role} message in the above "
        "conversation:\n - First line must read 'safe' or 'unsafe'.\n - If unsafe, a second line must include a "
        "comma-separated list of violated categories."
    )


def _without_marks(text: str) -> str:
    """The text cannot end the conversation that the model judges."""
    return re.sub(r"<(?=\s*(?:BEGIN|END)\b)", "‹", text, flags=re.IGNORECASE)


def _read_rating(answer: str) -> Rating:
    """Raises CallFailed for an answer that is no verdict."""
    text = _SPECIAL_TOKEN.sub(" ", answer[:_MOST_CHARACTERS].rpartition("</think>")[2])
    verdict = _VERDICT.match(text)
    if verdict is None:
        raise CallFailed("outage", "the answer of the safety model is neither safe nor unsafe")
    word, rest = verdict[1].lower(), verdict[2]
    if word == "safe":
        return _safe(rest)
    codes = {int(code) for code in _CODE.findall(_categories(rest))}
    named = [category for code in sorted(codes) for category in HAZARDS.get(code, (UNNAMED,))]
    return rating_of(named if codes else [UNNAMED])


def _safe(rest: str) -> Rating:
    """`safe` and then nothing on its line; prose as `safe to proceed` is no verdict, and a later `unsafe` wins."""
    if re.match(r"[^\w\n]*(\n|$)", rest) is None or _UNSAFE_LINE.search(rest):
        raise CallFailed("outage", "the answer of the safety model contradicts itself")
    return rating_of(())


def _categories(rest: str) -> str:
    """The first line with categories: those of an explanation after it are not meant."""
    return next((line for line in rest.splitlines() if _CODE.search(line)), "")


LLAMA_GUARD: Final = AnswerFormat(_PARAMETERS, _messages, _read_rating)

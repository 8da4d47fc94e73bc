"""H2: what a reply is that has no vectors."""

from __future__ import annotations

import pytest
from msgspec import Raw

from penstock.client.embedding import EmbeddingsBuilder
from penstock.contract.reply import NO_RESPONSE, Completed
from penstock.errors import ReplyIncomplete


@pytest.mark.parametrize("response", [NO_RESPONSE, Raw(b'{"choices":[]}')])
def test_h2_a_reply_that_is_no_answer_to_an_embed_request_is_an_error(response: Raw) -> None:
    completed = Completed(
        id="r", seq=1, role="chat", model="m", provider="p", finish_reason="stop", response=response
    )
    with pytest.raises(ReplyIncomplete, match="the answer of request r has no vectors"):
        EmbeddingsBuilder().add(completed)

"""`penstock memory list` and `forget`: what is remembered of the conversations of a user."""

from __future__ import annotations

from pathlib import Path

from penstock.cli.confirmation import confirmed
from penstock.cli.connection import with_client
from penstock.cli.errors import CommandError
from penstock.cli.render.counting import counted
from penstock.cli.render.retrieval.collections import memory_text, remembered_conversations
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.cli.retrieval.listing import every_document
from penstock.client.client import Client
from penstock.contract.retrieval.documents import conversation_of, turn_id
from penstock.contract.retrieval.search import DocumentStatus

__all__ = ["forget", "list_memory"]


def list_memory(user: str, conversation: str, data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused, CommandError and PenstockError."""
    turns = with_client(data, lambda client: _turns(client, user, conversation))
    conversations = remembered_conversations(turns)
    print(as_ascii_json(conversations) if as_json else memory_text(conversations, user))
    return 0


def forget(user: str, conversation: str, data: Path, *, without_question: bool) -> int:
    """Delete what is remembered of a user, or one conversation, and wait until it is gone. Raises as `list_memory`."""
    turns = with_client(data, lambda client: _turns(client, user, conversation))
    of_whom = f"conversation {visible(conversation)} of " if conversation else ""
    whose = f"{of_whom}{visible(user)}"
    # Also without a listed turn: one that waits to be stored is in no list.
    what = counted(len(turns), "turn") if turns else "what waits to be stored"
    if not without_question and not confirmed(f"Forget {what} of {whose} for good?"):
        print("Nothing was deleted.")
        return 1
    report = with_client(data, lambda client: client.forget(user, conversation))
    if report.refused:
        raise CommandError(
            f"{counted(len(report.refused), 'turn')} of later requests cannot be deleted: forget again, in a minute "
            "if a clock was set back"
        )
    if report.deleted_unknown:
        print(f"Forgotten of {whose}: an unknown number of turns, because their table could not be read.")
        return 0
    if not report.deleted:
        print(f"Nothing is remembered of {whose}.")
        return 0
    deleted = f"{counted(report.deleted, 'turn')} in {counted(report.chunks_deleted, 'chunk')}"
    print(f"Forgotten of {whose}: {deleted}, with their vectors.")
    return 0


async def _turns(client: Client, user: str, conversation: str) -> list[DocumentStatus]:
    if not conversation:
        return await every_document(client, "", user=user)
    found = await every_document(client, "", user=user, prefix=turn_id(conversation, ""))
    return [turn for turn in found if conversation_of(turn.id) == conversation]

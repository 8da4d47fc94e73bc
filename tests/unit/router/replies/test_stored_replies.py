"""Which accounts have too many bytes in the stream of replies, from the reports of workers."""

from __future__ import annotations

import pytest

from penstock.contract.presence import REPLY_SLOT_S, AccountReplies
from services.router.replies.stored_replies import AccountBytes, StoredReplies, deletions, level

STORED_LATE_S = 3
"""Seconds by which the server may store a message later than its worker counted it."""


def steady(account: str, per_s: int, unfinished_s: int = 0) -> AccountReplies:
    """An account that has stored so many bytes a second for as long as replies are kept."""
    stored = tuple((age_s, REPLY_SLOT_S * per_s) for age_s in range(REPLY_SLOT_S, 901, REPLY_SLOT_S))
    return AccountReplies(account=account, stored=stored, unfinished_s=unfinished_s)


def account(per_s: int) -> AccountBytes:
    replies = StoredReplies()
    replies.observe("w", (steady("a", per_s),), 0.0)
    return replies.accounts(0.0)["a"]


@pytest.mark.parametrize(
    ("stored", "most"),
    [
        ({"a": 900}, 100),
        ({"a": 40, "b": 30}, 100),
        ({"a": 900, "b": 30}, 70),
        ({"a": 900, "b": 800, "c": 10}, 45),
        ({"a": 900, "b": 800, "c": 700}, 100 / 3),
        ({str(number): 900 for number in range(50)}, 6),
        ({}, 100),
    ],
)
def test_accounts_with_little_keep_everything_and_the_others_the_same(
    stored: dict[str, int], most: float
) -> None:
    assert level(stored.values(), room=100, least=6) == pytest.approx(most)


def test_the_age_that_is_kept_follows_from_the_bytes_that_are() -> None:
    assert account(10).kept_s(600) == pytest.approx(60 - STORED_LATE_S)
    assert account(10).kept_s(10**6) == 900


def test_of_many_bytes_at_once_none_are_kept_if_not_all_can_be() -> None:
    burst = AccountBytes([(100.0, 10), (110.0, 10_000), (300.0, 10)])
    assert burst.kept_s(9_000) == pytest.approx(110 - STORED_LATE_S)
    assert burst.kept_s(10_010) == pytest.approx(300 - STORED_LATE_S)


def test_what_the_server_stored_after_the_slot_of_its_worker_ended_is_deleted_with_it() -> None:
    """Else a busy server keeps it for ever: the slot still counts, and nothing of it is deleted any more."""
    late = AccountBytes([(9.0, 400), (39.0, 20_000)])
    assert late.kept_s(1_000) == 39 - STORED_LATE_S
    late.forget_before(39 - STORED_LATE_S - 0.1)
    assert late.total == 400


def test_what_was_deleted_counts_no_more() -> None:
    found = account(10)
    found.forget_before(100)
    assert found.total == pytest.approx(1000, rel=0.15)


def test_nothing_young_and_no_large_reply_in_progress_is_deleted() -> None:
    def kept_s(writing: AccountBytes) -> float:
        return deletions({"a": writing}, stored=900, bound=1000, unread_s={}).kept_s["a"]

    assert kept_s(account(10_000)) == 10
    writing = account(10_000)
    writing.unfinished_s = 50
    assert kept_s(writing) == 50
    writing.unfinished_s = 500
    assert kept_s(writing) == 10, "one that is written for so long does not keep everything else"


def test_a_slow_reply_keeps_little_while_others_wait_for_room() -> None:
    def kept_s(unfinished_s: float, stored: int, *others: str) -> float:
        writing = account(10_000)
        writing.unfinished_s = unfinished_s
        accounts = {"a": writing, **{name: account(1) for name in others}}
        return deletions(accounts, stored, bound=1000, unread_s={}).kept_s["a"]

    assert kept_s(50, 900, "b") == 50
    assert kept_s(50, 920, "b") == 10, "the large replies of others would wait for it"
    assert kept_s(25, 920, "b") == 25, "replies of ordinary speed stay whole"
    assert kept_s(50, 920) == 50, "nobody waits for a lone account"


def test_reports_of_all_workers_add_up_and_age_also_after_a_worker_is_gone() -> None:
    replies = StoredReplies()
    replies.observe("w1", (steady("a", 10), steady("b", 1)), 0.0)
    replies.observe("w2", (steady("a", 20, unfinished_s=4),), 0.0)

    now = replies.accounts(0.0)
    assert now["a"].total == 900 * 30
    assert now["b"].total == 900
    assert now["a"].unfinished_s == 4

    later = replies.accounts(400.0)
    assert later["a"].total == 500 * 30
    assert later["a"].slots[0][0] == 400, "nothing is known to have been stored since"
    assert later["a"].unfinished_s == 0
    assert replies.accounts(901.0) == {}


def test_a_report_for_no_account_is_ignored() -> None:
    """A name with a wildcard would delete the replies of others."""
    replies = StoredReplies()
    replies.observe("w1", (steady("*", 10), steady(">", 10), steady("a.>", 10)), 0.0)
    assert replies.accounts(0.0) == {}


def test_e2_a_reader_of_one_account_stops_no_deletion_of_the_oldest_for_which_large_replies_wait() -> None:
    accounts = {str(number): AccountBytes([(100.0, 50)]) for number in range(18)}
    assert deletions(accounts, 900, 1000, {"0": 905.0}).all_kept_s == 905
    assert deletions(accounts, 920, 1000, {"0": 905.0}).all_kept_s == 10


def test_e2_a_reader_keeps_what_its_account_has_above_its_share_while_no_other_one_waits() -> None:
    heavy, other = AccountBytes([(30.0, 400), (100.0, 480)]), AccountBytes([(30.0, 40)])
    unread_s = {"a": 905.0}
    assert deletions({"a": heavy, "b": other}, 890, 1000, unread_s).kept_s == {"a": 905}
    assert deletions({"a": heavy, "b": other}, 920, 1000, unread_s).kept_s == {"a": 100 - STORED_LATE_S}
    assert deletions({"a": heavy}, 920, 1000, unread_s).kept_s == {"a": 905}

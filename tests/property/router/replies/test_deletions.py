"""Which stored replies are deleted, over minutes of accounts that write and readers that are behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from penstock.contract.streams import REPLIES_LEAST_AGE_S
from services.router.replies.readers_behind import ReadersBehind
from services.router.replies.stored_replies import FULL, TARGET, AccountBytes, StoredReplies, deletions
from services.worker.replies.stored_bytes import StoredBytes
from tests.harness.suite.examples import examples

BOUND = 1_000_000
SHARE = BOUND // 16
"""What every account may have, however much the others write."""
LARGE_STOP = BOUND * 15 // 16
"""Large replies wait for room from here on, as in a worker."""
SCARCE = BOUND * 29 // 32
"""From here on readers keep only what their account has within its share, unless it is the only one."""
PRESSING = BOUND * 63 // 64
PHASE_S = 10
SMALL_PER_S = BOUND // 400
"""The most that all small replies together add in a second."""


class Writer(Struct, frozen=True):
    """Bytes a second in each phase."""

    rates: tuple[int, ...]
    is_large: bool
    """It writes large replies, which wait for room."""


class Message(Struct, frozen=True):
    at_s: float
    size: int


class Stream:
    """The stream, one worker that counts what it stores, and one router that deletes."""

    def __init__(self, accounts: Sequence[str]) -> None:
        self.messages: dict[str, deque[Message]] = {account: deque() for account in accounts}
        self.written = dict.fromkeys(accounts, 0)
        self.worker = StoredBytes(least_reported=1)
        self.router = StoredReplies()
        self.readers = ReadersBehind()
        self.now_s = 1_000.0

    @property
    def stored(self) -> int:
        return sum(message.size for account in self.messages.values() for message in account)

    def write(self, account: str, size: int) -> None:
        if size:
            self.messages[account].append(Message(self.now_s, size))
            self.written[account] += size
            self.worker.add(account, size, self.now_s)

    def delete(self) -> dict[str, list[Message]]:
        """One round of the router; what it deleted of each account."""
        self.router.observe("w", self.worker.report({}, self.now_s), self.now_s)
        accounts = self.router.accounts(self.now_s)
        for name, account in list(accounts.items()):
            if not self.messages[name]:
                del accounts[name]
                continue
            account.forget_before(self.now_s - self.messages[name][0].at_s)
        found = deletions(accounts, self.stored, BOUND, self.readers.oldest_s(self.now_s))
        if found.kept_s:
            return {name: self._delete_of(name, kept_s) for name, kept_s in found.kept_s.items()}
        return {name: self._delete_of(name, found.all_kept_s) for name in self.messages}

    def _delete_of(self, name: str, kept_s: float) -> list[Message]:
        messages, deleted = self.messages[name], []
        while messages and messages[0].at_s < self.now_s - kept_s:
            deleted.append(messages.popleft())
        return deleted


small = st.builds(
    Writer,
    st.lists(st.sampled_from([0, 10, SMALL_PER_S // 8]), min_size=12, max_size=12).map(tuple),
    st.just(False),
)
large = st.builds(
    Writer,
    st.lists(st.integers(0, BOUND // 20), min_size=12, max_size=12).map(tuple),
    st.just(True),
)


@settings(max_examples=examples(150), deadline=None)
@given(
    writers=st.lists(st.one_of(small, large), min_size=1, max_size=6),
    behind=st.dictionaries(st.integers(0, 5), st.integers(1, 100), max_size=3),
)
def test_e2_what_is_needed_stays_and_the_stream_never_overflows(
    writers: list[Writer], behind: dict[int, int]
) -> None:
    """`behind`: readers of the account with this number, which from that second on are a second further behind with
    each second.
    """
    names = [f"a{number}" for number in range(len(writers))]
    stream = Stream(names)
    for second in range(12 * PHASE_S):
        stream.now_s += 1.0
        for name, writer in zip(names, writers, strict=True):
            size = writer.rates[second // PHASE_S]
            if not writer.is_large or stream.stored + size <= LARGE_STOP:
                stream.write(name, size)
        reading = {names[number]: since for number, since in behind.items() if number < len(names)}
        for name, since in reading.items():
            stream.readers.observe(name, "c", second - since, stream.now_s)
        before = stream.stored
        readers_count_to = PRESSING if sum(map(bool, stream.messages.values())) == 1 else SCARCE
        assert before <= BOUND
        if before < FULL * BOUND:
            continue
        deleted = stream.delete()
        for name, messages in deleted.items():
            assert all(stream.now_s - each.at_s > REPLIES_LEAST_AGE_S for each in messages)
            if messages:
                assert stream.written[name] > SHARE, "an account below its share lost a reply"
            if messages and before <= readers_count_to and second > reading.get(name, second):
                unread_s = second - reading[name]
                assert all(stream.now_s - each.at_s > unread_s for each in messages)


@given(st.lists(st.integers(0, BOUND // 100), min_size=120, max_size=120))
@settings(max_examples=examples(125), deadline=None)
def test_e2_one_round_frees_what_is_old_of_a_lone_account_down_to_the_target(sizes: list[int]) -> None:
    stream = Stream(["a"])
    for size in sizes:
        stream.now_s += 1.0
        stream.write("a", size)
        if stream.stored >= FULL * BOUND:
            young = sum(
                each.size for each in stream.messages["a"] if stream.now_s - each.at_s <= REPLIES_LEAST_AGE_S
            )
            stream.delete()
            assert stream.stored <= max(TARGET * BOUND, young)


slots = st.lists(st.tuples(st.integers(0, 880), st.integers(1, BOUND // 4)), min_size=1, max_size=8)
ages = st.dictionaries(st.integers(0, 19).map(str), st.floats(0.1, 910.0), max_size=5)


@settings(max_examples=examples(300), deadline=None)
@given(
    found=st.lists(slots, min_size=2, max_size=20),
    fill=st.floats(FULL, 1.0),
    unread_s=ages,
    reported_s=st.floats(0.1, 910.0),
)
def test_e2_no_report_of_a_reader_changes_what_other_accounts_keep(
    found: list[list[tuple[int, int]]], fill: float, unread_s: dict[str, float], reported_s: float
) -> None:
    """The readers of account 0 report whatever they want, the others report `unread_s`."""
    accounts = {
        str(number): AccountBytes(sorted((float(age_s), size) for age_s, size in each))
        for number, each in enumerate(found)
    }
    stored = round(fill * BOUND)
    without = deletions(accounts, stored, BOUND, unread_s | {"0": 0.0})
    reported = deletions(accounts, stored, BOUND, unread_s | {"0": reported_s})

    assert reported.kept_s.keys() == without.kept_s.keys()
    assert {**reported.kept_s, "0": 0} == {**without.kept_s, "0": 0}
    assert reported.all_kept_s >= without.all_kept_s
    assert not [name for name in reported.kept_s if accounts[name].total <= SHARE]
    if stored > SCARCE:
        assert reported == without, "all of what would be deleted without the reports is"


@settings(max_examples=examples(125), deadline=None)
@given(
    rates=st.lists(st.integers(BOUND // 200, BOUND // 20), min_size=12, max_size=12),
    behind_s=st.lists(st.floats(0.0, 900.0), min_size=12, max_size=12),
)
def test_e2_deletion_goes_on_whatever_the_readers_of_one_account_report(
    rates: list[int], behind_s: list[float]
) -> None:
    stream = Stream(["a", "b"])
    for second in range(12 * PHASE_S):
        stream.now_s += 1.0
        if stream.stored + rates[second // PHASE_S] <= LARGE_STOP:
            stream.write("a", rates[second // PHASE_S])
        stream.write("b", SHARE // (12 * PHASE_S))
        stream.readers.observe("a", "c", behind_s[second // PHASE_S], stream.now_s)
        if stream.stored < FULL * BOUND:
            continue
        is_scarce = stream.stored > SCARCE
        assert not stream.delete().get("b")
        young = sum(
            each.size for each in stream.messages["a"] if stream.now_s - each.at_s <= REPLIES_LEAST_AGE_S
        )
        if is_scarce:
            assert stream.stored <= max(TARGET * BOUND, young + SHARE)

"""C1: real renewers on one record behind a network that loses, delays, repeats and disorders.

Old answers, lost acknowledgements, writes that land late, entries deleted and made anew, news that comes late, twice or
out of order, outages, crashes, steps of the server's clock and the provider's words: in no minute more is let through
than the limit. What is left out is what docs/decisions/0010 says is not exact.
"""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.quota import Need
from tests.harness.examples import examples
from tests.property.worker.rate_limit.quota_world import KEY, Fate, Process, QuotaWorld

FATES = st.lists(
    st.builds(
        Fate,
        lands=st.sampled_from(["now", "now", "late", "never"]),
        answered=st.booleans(),
        slow_s=st.sampled_from([0.0, 0.05, 0.7]),
        back=st.sampled_from([0, 0, 1, 3]),
    ),
    min_size=1,
    max_size=4,
)
SHORT_S = st.sampled_from([0.0, 0.02, 0.15, 0.5, 1.5, 4.0])
LONG_S = st.sampled_from([6.0, 21.0, 45.0, 61.0, 75.0])
TOKENS = st.lists(st.integers(0, 40), min_size=1, max_size=5)
_SOON_S = 0.1
"""Half of what a newcomer waits for the time."""
_APART_S = 0.002
"""Of two words that were said in the same millisecond none is the last."""
_TOLD_S = 0.4
"""A word is in the record and known to all, where nothing is lost."""


class NetworkMachine(RuleBasedStateMachine):
    limits = Limits(requests_per_minute=9, tokens_per_minute=120)

    def __init__(self) -> None:
        super().__init__()
        self.world = QuotaWorld(self.limits)
        self.forgotten = False
        """The record was lost, and nobody who remembers it has written since."""
        self.ceiling: tuple[int, float] | None = None
        """The provider's last word on the requests, and when it was said."""
        self.paused_until_s = 0.0
        for skew_s in (0.0, 5000.0):
            self.world.join(skew_s)
            self.world.advance(1.0)

    def teardown(self) -> None:
        self.world.close()

    def one(self, data: st.DataObject) -> Process:
        """Of those that run."""
        return data.draw(st.sampled_from([each for each in self.world.processes if not each.is_frozen]))

    def two(self, data: st.DataObject) -> tuple[Process, Process]:
        """Whatever state they are in."""
        first, second, *_ = data.draw(st.permutations(self.world.processes))
        return first, second

    @property
    def is_quiet(self) -> bool:
        """Whatever is said now gets through."""
        return not (
            self.world.is_dark
            or self.forgotten
            or self.world.is_unreachable_for_some
            or self.world.somebody_is_disturbed
        )

    @property
    def is_calm(self) -> bool:
        """Nothing is on its way, and everybody has observe everything."""
        return self.is_quiet and all(
            process.renewer._joined and process.renewer._replica.revision == self.world.revision
            for process in self.world.processes
        )

    # -- the world

    @rule(seconds=st.one_of(SHORT_S, SHORT_S, LONG_S))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: len(self.world.processes) < 4 and not self.world.is_dark)
    @rule(skew_s=st.integers(-10_000, 10_000))
    def join(self, skew_s: int) -> None:
        """Those who know the record's time are there to tell it: else the server's clock is believed, which steps."""
        self.rest_until_all_can_answer()
        if all(each.renewer._joined for each in self.world.processes) and self.is_quiet:
            self.world.join(float(skew_s))
            self.world.advance(_TOLD_S)

    def rest_until_all_can_answer(self) -> None:
        """Who waits longer for an answer of its own tells a newcomer the time too late: not exact (decision 0010)."""
        late_s = max(each.answer_due_s for each in self.world.processes) - _SOON_S - self.world.now_s
        if late_s > 0 and not self.world.is_dark:
            self.world.advance(late_s)

    @property
    def deaf(self) -> list[Process]:
        return [process for process in self.world.processes if process.is_deaf]

    @property
    def frozen(self) -> list[Process]:
        return [process for process in self.world.processes if process.is_frozen]

    @precondition(lambda self: len(self.world.processes) - len(self.frozen) > 1)
    @rule(data=st.data(), seconds=st.one_of(SHORT_S, LONG_S))
    def freeze(self, data: st.DataObject, seconds: float) -> None:
        """The process stands still while the world goes on."""
        self.one(data).is_frozen = True
        self.world.advance(seconds)

    @precondition(lambda self: self.frozen)
    @rule(data=st.data(), tokens=TOKENS)
    def thaw(self, data: st.DataObject, tokens: list[int]) -> None:
        """Requests come before anything else is looked at."""
        process = data.draw(st.sampled_from(self.frozen))
        for each in tokens:
            process.ask(each)
        process.is_frozen = False
        self.world.settle()

    @precondition(lambda self: len(self.world.processes) - len(self.frozen) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.world.crash(self.one(data))
        self.ceiling = None

    @precondition(lambda self: len(self.world.processes) - len(self.frozen) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        process = self.one(data)
        if process.permits:
            return
        self.world.leave(process)
        self.ceiling = None

    @rule(seconds=st.integers(-100_000, 100_000))
    def the_servers_clock_steps(self, seconds: int) -> None:
        if all(process.renewer._joined for process in self.world.processes):
            self.world.wall_ahead_s += seconds

    # -- the network

    @precondition(lambda self: not self.world.is_dark)
    @rule(data=st.data(), fates=FATES)
    def faults(self, data: st.DataObject, fates: list[Fate]) -> None:
        process = self.one(data)
        process.fates.clear()
        process.fates.extend(fates)

    @rule(data=st.data())
    def news_is_late(self, data: st.DataObject) -> None:
        if not self.world.is_dark:
            self.one(data).is_deaf = True

    @precondition(lambda self: any(process.unheard for process in self.world.processes))
    @rule(data=st.data(), stays=st.booleans())
    def news_comes_in_any_order(self, data: st.DataObject, stays: bool) -> None:
        process = data.draw(st.sampled_from([each for each in self.world.processes if each.unheard]))
        stored = process.unheard[data.draw(st.integers(0, len(process.unheard) - 1))]
        if not stays:
            process.unheard.remove(stored)
        process.hear(stored)
        self.world.settle()

    @precondition(lambda self: self.deaf)
    @rule(data=st.data(), lost=st.booleans())
    def news_comes_again(self, data: st.DataObject, lost: bool) -> None:
        process = data.draw(st.sampled_from(self.deaf))
        process.is_deaf = False
        for stored in () if lost else reversed(process.unheard):
            process.hear(stored)
        process.unheard.clear()
        self.world.settle()

    @precondition(lambda self: self.world.flying and not self.world.is_dark)
    @rule(data=st.data())
    def a_write_lands_late(self, data: st.DataObject) -> None:
        """Also one that was sent before an outage, or in it."""
        self.world.land(data.draw(st.sampled_from(self.world.flying)))
        self.world.settle()

    @precondition(lambda self: self.is_calm)
    @rule(how=st.sampled_from(["marked", "purged", "anew"]))
    def the_record_is_lost(self, how: str) -> None:
        self.world.lose(how)
        self.forgotten = True

    @precondition(lambda self: self.is_calm)
    @rule()
    def the_record_is_out_of_reach(self) -> None:
        self.world.is_dark = True

    @precondition(lambda self: self.world.is_dark)
    @rule(lost=st.sampled_from(["", "", "marked", "purged", "anew"]))
    def it_is_back(self, lost: str) -> None:
        self.bring_back(lost)

    def bring_back(self, lost: str) -> None:
        """Answer again; `lost`: without what was stored before."""
        if not self.world.is_dark:
            return
        for process in self.frozen:
            process.is_frozen = False
        if lost:
            self.world.lose(lost)
            self.forgotten = True
        self.world.is_dark = False

    # -- requests

    @rule(data=st.data(), tokens=TOKENS, seconds=SHORT_S)
    def ask(self, data: st.DataObject, tokens: list[int], seconds: float) -> None:
        process = self.one(data)
        for each in tokens:
            process.ask(each)
        self.world.advance(seconds)

    @rule(tokens=TOKENS, seconds=SHORT_S)
    def all_ask(self, tokens: list[int], seconds: float) -> None:
        for process in self.world.processes:
            for each in () if process.is_frozen else tokens:
                process.ask(each)
        self.world.advance(seconds)

    @rule(seconds=SHORT_S, tokens=st.sampled_from([0, 1, 13]))
    def all_want_all_there_is(self, seconds: float, tokens: int) -> None:
        for process in [each for each in self.world.processes if not each.is_frozen]:
            for _ in range((self.limits.requests_per_minute or 0) - len(process.waiting)):
                process.ask(tokens)
        self.world.advance(seconds)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        process = self.one(data)
        if process.waiting:
            process.withdraw(data.draw(st.sampled_from(sorted(process.waiting))))
            self.world.settle()

    @rule(data=st.data(), share=st.integers(0, 7))
    def settle(self, data: st.DataObject, share: int) -> None:
        process = self.one(data)
        if process.permits:
            place = data.draw(st.sampled_from(sorted(process.permits)))
            process.settle(place, self.world.log[place].tokens * share // 4)
            self.world.settle()

    # -- the provider's word

    @rule(
        data=st.data(),
        limit=st.none() | st.integers(1, 20),
        remaining=st.none() | st.integers(0, 20),
        reset_s=st.none() | st.sampled_from([0.0, 2.0, 59.0]),
    )
    def the_provider_says(
        self, data: st.DataObject, limit: int | None, remaining: int | None, reset_s: float | None
    ) -> None:
        word = Observation(
            kind="requests", window="minute", limit=limit, remaining=remaining, reset_s=reset_s
        )
        process, calm = self.one(data), self.is_calm
        process.run_now(lambda: process.quota.correct(KEY, word, process.now_s))
        if limit is not None:
            self.ceiling = (limit, self.world.now_s)
        if calm:
            self.world.advance(_TOLD_S)
            assert self.is_calm
            self.the_word_is_kept()
        else:
            self.world.advance(_APART_S)

    # -- what goes wrong at the worst moment; whatever came before

    def quiet(self, rest_s: float = 0.0) -> None:
        """Nothing is on its way any more; then a minute, in which everything is given back."""
        self.world.nobody_is_disturbed()
        self.bring_back("")
        self.forgotten = False
        self.world.advance(3.0)
        self.world.all_is_told()
        self.world.advance(rest_s)

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), late=st.booleans())
    def one_dies_with_permits_spent_and_not_told(self, data: st.DataObject, late: bool) -> None:
        first, _ = self.two(data)
        self.quiet(61.0)
        self.world.lend(first)
        if late:
            first.fates.extend([Fate(lands="never", answered=False)] * 5)
            self.world.advance(4.0)
        for _ in range(4):
            first.ask(0)
        self.world.crash(first)
        self.ceiling = None
        self.world.advance(57.0 if late else 6.0)
        self.world.squeeze()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data())
    def one_wakes_up_long_after_its_lease_and_dies(self, data: st.DataObject) -> None:
        first, _ = self.two(data)
        self.quiet(61.0)
        self.world.lend(first)
        first.is_frozen = True
        self.world.advance(30.0)
        for _ in range(4):
            first.ask(0)
        self.world.crash(first)
        self.ceiling = None
        self.world.advance(37.0)
        self.world.squeeze()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), fate=st.sampled_from(["never", "now", "late"]))
    def what_was_spent_is_told_into_the_void(self, data: st.DataObject, fate: str) -> None:
        """And another has written before it is told again."""
        first, second = self.two(data)
        self.quiet(61.0)
        self.world.lend(first)
        for _ in range(4):
            first.ask(0)
        first.fates.append(Fate(lands=fate, answered=False))
        self.world.advance(0.7)
        second.ask(0)
        self.world.advance(3.0)
        self.world.squeeze()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(
        data=st.data(), slow_s=st.sampled_from([0.3, 0.7]), wait_s=st.sampled_from([0.9, 1.0, 1.1, 1.2, 1.3])
    )
    def what_is_given_back_is_asked_for(self, data: st.DataObject, slow_s: float, wait_s: float) -> None:
        """The answer is slow: another may have it already."""
        first, second = self.two(data)
        self.quiet(61.0)
        self.world.lend(first)
        first.fates.extend([Fate(slow_s=slow_s)] * 4)
        self.world.advance(wait_s)
        for _ in range(9):
            second.ask(0)
        self.world.advance(0.15)
        for _ in range(4):
            first.ask(0)
        self.world.advance(2.0)
        self.world.squeeze()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data())
    def one_answer_is_lost_after_a_quiet_time(self, data: st.DataObject) -> None:
        first, _ = self.two(data)
        self.quiet(61.0)
        first.fates.append(Fate(lands="never", answered=False))
        self.world.squeeze()
        self.world.advance(2.0)

    @rule(
        tokens=st.sampled_from([0, 13, 40]),
        lasts_s=st.sampled_from([4.0, 8.0, 30.0]),
        lost=st.sampled_from(["", "", "marked", "purged", "anew"]),
        data=st.data(),
    )
    def an_outage_while_all_ask(self, tokens: int, lasts_s: float, lost: str, data: st.DataObject) -> None:
        self.quiet(data.draw(st.sampled_from([21.0, 61.0])))  # who has nothing to do writes every 20 s
        self.world.is_dark = True
        for process in self.world.processes:
            for _ in range(data.draw(st.integers(0, 3))):
                process.ask(tokens)
        self.world.advance(lasts_s)
        for process in data.draw(st.permutations(self.world.processes))[:2]:
            for _ in range(9):
                process.ask(tokens)
        self.bring_back(lost)
        self.world.squeeze(tokens)

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), tokens=st.sampled_from([13, 40]), seen=st.booleans())
    def what_is_given_back_is_told_into_an_outage(self, data: st.DataObject, tokens: int, seen: bool) -> None:
        """It lands when the record is back; whoever told it has seen it by then, or not."""
        first, second = self.two(data)
        self.quiet(61.0)
        for process in (first, second, second):
            process.ask(tokens)
        self.world.advance(1.5)
        first.fates.append(Fate(lands="late", answered=False))
        for place in tuple(first.permits):
            first.settle(place, 0)
        self.world.advance(0.7)
        self.world.is_dark = True
        self.world.advance(1.0)
        while not all(process.renewer.is_unreachable for process in self.world.processes):
            self.world.advance(1.0)
        second.is_frozen, first.is_deaf = True, not seen
        first.failing_since_s = None
        first.fates.append(Fate(slow_s=0.3))
        self.world.is_dark = False
        while first.fates:
            self.world.advance(0.05)
        for flight in tuple(self.world.flying):
            self.world.land(flight)
        self.world.advance(2.0)
        self.quiet()
        self.world.squeeze(tokens)

    @rule(data=st.data(), used=st.sampled_from([41, 80, 200]), told=st.sampled_from(["now", "never", "late"]))
    def more_is_used_than_was_estimated(self, data: st.DataObject, used: int, told: str) -> None:
        """Once it is told nobody spends it again; before that, what was leased already is spent."""
        self.quiet(61.0)
        process = self.one(data)
        before = set(process.permits)
        process.ask(40)
        self.world.advance(1.5)
        process.fates.append(Fate(lands=told, answered=False))
        for place in set(process.permits) - before:
            process.settle(place, used)
        self.world.advance(3.0)
        self.quiet()
        self.world.squeeze(40)

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), limit=st.integers(1, 4), old=st.integers(5, 8))
    def an_older_word_is_told_last(self, data: st.DataObject, limit: int, old: int) -> None:
        """Whoever observe it first could not tell it before another had told a newer one."""
        first, second = self.two(data)
        self.quiet(61.0)
        first.fates.append(Fate(lands="never", answered=False))
        for process, said in ((first, old), (second, limit)):
            word = Observation(kind="requests", window="minute", limit=said, remaining=None)
            process.run_now(lambda each=process, word=word: each.quota.correct(KEY, word, each.now_s))
            self.world.advance(0.15)
        self.ceiling = (limit, self.world.now_s)
        self.world.advance(1.5)
        first.fates.clear()
        self.world.advance(1.5)
        assert self.is_calm
        self.the_word_is_kept()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), seconds=st.sampled_from([8.0, 30.0]))
    def the_provider_sends_away(self, data: st.DataObject, seconds: float) -> None:
        """Then a call of an earlier window comes back, and was sent away for less."""
        first, second = self.two(data)
        self.quiet()
        until_s = self.world.now_s + seconds
        first.run_now(lambda: first.quota.pause(KEY, first.now_s + seconds, "429"))
        self.world.advance(_TOLD_S)
        for each in (second, first):
            each.run_now(lambda each=each: each.quota.pause(KEY, each.now_s + 1.0, "429"))
            self.world.advance(_TOLD_S)
        for each in self.world.processes:
            assert each.quota.wait_s(KEY, Need(0), each.now_s) >= until_s - self.world.now_s - 0.1
        self.world.advance(seconds)

    @invariant()
    def the_word_is_kept(self) -> None:
        if self.ceiling is None or not self.is_calm or self.world.now_s > self.ceiling[1] + 290:
            return
        if any(
            process.renewer._writer.corrections or process.renewer.view.superseded(process.now_s)
            for process in self.world.processes
        ):
            return
        for process in self.world.processes:
            uses = {use.name: use for use in process.quota.usage(KEY, process.now_s)}
            assert uses["requests_per_minute"].limit == min(9, self.ceiling[0])

    @invariant()
    def no_more_than_the_limit(self) -> None:
        assert not self.world.broken, self.world.broken
        if self.forgotten and self.world.history and self.world.history[-1].data:
            self.forgotten = False


NetworkMachine.TestCase.settings = settings(
    max_examples=examples(60),
    stateful_step_count=25,
    deadline=None,
    # A failure is told at once: to shrink it takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestNetwork = NetworkMachine.TestCase

"""C1: real renewers on one record behind a network that loses, delays, repeats and reorders.

Old answers, lost acknowledgements, writes that are stored late, entries deleted and created anew, entries that arrive
late, twice or out of order, outages, crashes, steps of the server's clock and headers of the provider: in no minute is
more admitted than the limit. Excluded is what docs/decisions/0010 lists as an exception.
"""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.quota import Need
from tests.harness.suite.examples import examples
from tests.property.worker.rate_limit.shared.quota_world import KEY, Fate, Process, QuotaWorld

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
"""Half of the time in seconds that a newcomer waits for the record's time."""
_APART_S = 0.002
"""Seconds between two headers: of two in the same millisecond neither is the latest."""
_REPORTED_S = 0.4
"""Seconds until a header is in the record and known to all, where nothing is lost."""


class NetworkMachine(RuleBasedStateMachine):
    limits = Limits(requests_per_minute=9, tokens_per_minute=120)

    def __init__(self) -> None:
        super().__init__()
        self.world = QuotaWorld(self.limits)
        self.record_lost = False
        """The record was lost, and no worker that knows it has written since."""
        self.ceiling: tuple[int, float] | None = None
        """The limit of the provider's latest header, and when it came."""
        self.paused_until_s = 0.0
        for skew_s in (0.0, 5000.0):
            self.world.join(skew_s)
            self.world.advance(1.0)

    def teardown(self) -> None:
        self.world.close()

    def one(self, data: st.DataObject) -> Process:
        """One of the running processes."""
        return data.draw(st.sampled_from([each for each in self.world.processes if not each.is_frozen]))

    def two(self, data: st.DataObject) -> tuple[Process, Process]:
        """Two processes in any state."""
        first, second, *_ = data.draw(st.permutations(self.world.processes))
        return first, second

    @property
    def is_undisturbed(self) -> bool:
        """Whether a report gets through now."""
        return not (
            self.world.is_down
            or self.record_lost
            or self.world.is_unreachable_for_some
            or self.world.is_disturbed
        )

    @property
    def is_settled(self) -> bool:
        """Whether nothing is in flight and all have the latest entry."""
        return self.is_undisturbed and all(
            process.renewer._joined and process.renewer._replica.revision == self.world.revision
            for process in self.world.processes
        )

    # -- the world

    @rule(seconds=st.one_of(SHORT_S, SHORT_S, LONG_S))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: len(self.world.processes) < 4 and not self.world.is_down)
    @rule(skew_s=st.integers(-10_000, 10_000))
    def join(self, skew_s: int) -> None:
        """A newcomer joins while workers that know the record's time can answer: the server's clock may step."""
        self.wait_until_all_can_answer()
        if all(each.renewer._joined for each in self.world.processes) and self.is_undisturbed:
            self.world.join(float(skew_s))
            self.world.advance(_REPORTED_S)

    def wait_until_all_can_answer(self) -> None:
        """A worker that waits for an answer of its own answers a newcomer too late: an exception of decision 0010."""
        late_s = max(each.answer_due_s for each in self.world.processes) - _SOON_S - self.world.now_s
        if late_s > 0 and not self.world.is_down:
            self.world.advance(late_s)

    @property
    def delayed_processes(self) -> list[Process]:
        return [process for process in self.world.processes if process.is_delayed]

    @property
    def frozen(self) -> list[Process]:
        return [process for process in self.world.processes if process.is_frozen]

    @precondition(lambda self: len(self.world.processes) - len(self.frozen) > 1)
    @rule(data=st.data(), seconds=st.one_of(SHORT_S, LONG_S))
    def freeze(self, data: st.DataObject, seconds: float) -> None:
        """The process is suspended while time passes for the others."""
        self.one(data).is_frozen = True
        self.world.advance(seconds)

    @precondition(lambda self: self.frozen)
    @rule(data=st.data(), tokens=TOKENS)
    def thaw(self, data: st.DataObject, tokens: list[int]) -> None:
        """Let requests arrive before any other event."""
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

    @precondition(lambda self: not self.world.is_down)
    @rule(data=st.data(), fates=FATES)
    def faults(self, data: st.DataObject, fates: list[Fate]) -> None:
        process = self.one(data)
        process.fates.clear()
        process.fates.extend(fates)

    @rule(data=st.data())
    def entries_are_delayed(self, data: st.DataObject) -> None:
        if not self.world.is_down:
            self.one(data).is_delayed = True

    @precondition(lambda self: any(process.delayed for process in self.world.processes))
    @rule(data=st.data(), stays=st.booleans())
    def delayed_entries_arrive_in_any_order(self, data: st.DataObject, stays: bool) -> None:
        process = data.draw(st.sampled_from([each for each in self.world.processes if each.delayed]))
        stored = process.delayed[data.draw(st.integers(0, len(process.delayed) - 1))]
        if not stays:
            process.delayed.remove(stored)
        process.deliver(stored)
        self.world.settle()

    @precondition(lambda self: self.delayed_processes)
    @rule(data=st.data(), lost=st.booleans())
    def delivery_resumes(self, data: st.DataObject, lost: bool) -> None:
        process = data.draw(st.sampled_from(self.delayed_processes))
        process.is_delayed = False
        for stored in () if lost else reversed(process.delayed):
            process.deliver(stored)
        process.delayed.clear()
        self.world.settle()

    @precondition(lambda self: self.world.flying and not self.world.is_down)
    @rule(data=st.data())
    def a_write_is_stored_late(self, data: st.DataObject) -> None:
        """Also one that was sent before or during an outage."""
        self.world.land(data.draw(st.sampled_from(self.world.flying)))
        self.world.settle()

    @precondition(lambda self: self.is_settled)
    @rule(how=st.sampled_from(["marked", "purged", "anew"]))
    def the_record_is_lost(self, how: str) -> None:
        self.world.lose(how)
        self.record_lost = True

    @precondition(lambda self: self.is_settled)
    @rule()
    def the_record_is_unreachable(self) -> None:
        self.world.is_down = True

    @precondition(lambda self: self.world.is_down)
    @rule(lost=st.sampled_from(["", "", "marked", "purged", "anew"]))
    def the_record_is_reachable_again(self, lost: str) -> None:
        self.bring_back(lost)

    def bring_back(self, lost: str) -> None:
        """Answer again; `lost`: without what was stored before."""
        if not self.world.is_down:
            return
        for process in self.frozen:
            process.is_frozen = False
        if lost:
            self.world.lose(lost)
            self.record_lost = True
        self.world.is_down = False

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

    # -- the provider's header

    @rule(
        data=st.data(),
        limit=st.none() | st.integers(1, 20),
        remaining=st.none() | st.integers(0, 20),
        reset_s=st.none() | st.sampled_from([0.0, 2.0, 59.0]),
    )
    def a_header_arrives(
        self, data: st.DataObject, limit: int | None, remaining: int | None, reset_s: float | None
    ) -> None:
        header = Observation(
            kind="requests", window="minute", limit=limit, remaining=remaining, reset_s=reset_s
        )
        process, settled = self.one(data), self.is_settled
        process.run_now(lambda: process.quota.correct(KEY, header, process.now_s))
        if limit is not None:
            self.ceiling = (limit, self.world.now_s)
        if settled:
            self.world.advance(_REPORTED_S)
            assert self.is_settled
            self.the_latest_header_is_in_force()
        else:
            self.world.advance(_APART_S)

    # -- faults at the worst moment, after any other events

    def settle_down(self, rest_s: float = 0.0) -> None:
        """End all disturbances, then wait until every lease is returned."""
        self.world.end_disturbances()
        self.bring_back("")
        self.record_lost = False
        self.world.advance(3.0)
        self.world.all_is_reported()
        self.world.advance(rest_s)

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), late=st.booleans())
    def a_worker_dies_with_unreported_spending(self, data: st.DataObject, late: bool) -> None:
        first, _ = self.two(data)
        self.settle_down(61.0)
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
    def a_worker_resumes_long_after_its_lease_and_dies(self, data: st.DataObject) -> None:
        first, _ = self.two(data)
        self.settle_down(61.0)
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
    def a_report_is_lost(self, data: st.DataObject, fate: str) -> None:
        """Another worker writes before it is reported again."""
        first, second = self.two(data)
        self.settle_down(61.0)
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
    def returned_quota_is_requested(self, data: st.DataObject, slow_s: float, wait_s: float) -> None:
        """The answer is slow: another worker may have the returned quota already."""
        first, second = self.two(data)
        self.settle_down(61.0)
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
    def an_answer_is_lost_after_an_idle_time(self, data: st.DataObject) -> None:
        first, _ = self.two(data)
        self.settle_down(61.0)
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
        self.settle_down(data.draw(st.sampled_from([21.0, 61.0])))  # an idle worker writes every 20 s
        self.world.is_down = True
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
    def a_refund_is_reported_during_an_outage(self, data: st.DataObject, tokens: int, seen: bool) -> None:
        """It is stored when the record is reachable again, whether or not its writer has seen that."""
        first, second = self.two(data)
        self.settle_down(61.0)
        for process in (first, second, second):
            process.ask(tokens)
        self.world.advance(1.5)
        first.fates.append(Fate(lands="late", answered=False))
        for place in tuple(first.permits):
            first.settle(place, 0)
        self.world.advance(0.7)
        self.world.is_down = True
        self.world.advance(1.0)
        while not all(process.renewer.is_unreachable for process in self.world.processes):
            self.world.advance(1.0)
        second.is_frozen, first.is_delayed = True, not seen
        first.failing_since_s = None
        first.fates.append(Fate(slow_s=0.3))
        self.world.is_down = False
        while first.fates:
            self.world.advance(0.05)
        for flight in tuple(self.world.flying):
            self.world.land(flight)
        self.world.advance(2.0)
        self.settle_down()
        self.world.squeeze(tokens)

    @rule(
        data=st.data(), used=st.sampled_from([41, 80, 200]), outcome=st.sampled_from(["now", "never", "late"])
    )
    def a_call_uses_more_than_estimated(self, data: st.DataObject, used: int, outcome: str) -> None:
        """Once it is reported no worker spends it again; before that, leases are spent."""
        self.settle_down(61.0)
        process = self.one(data)
        before = set(process.permits)
        process.ask(40)
        self.world.advance(1.5)
        process.fates.append(Fate(lands=outcome, answered=False))
        for place in set(process.permits) - before:
            process.settle(place, used)
        self.world.advance(3.0)
        self.settle_down()
        self.world.squeeze(40)

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), limit=st.integers(1, 4), old=st.integers(5, 8))
    def an_older_header_is_written_last(self, data: st.DataObject, limit: int, old: int) -> None:
        """The worker that received it first could not write it before another wrote a newer one."""
        first, second = self.two(data)
        self.settle_down(61.0)
        first.fates.append(Fate(lands="never", answered=False))
        for process, header_limit in ((first, old), (second, limit)):
            header = Observation(kind="requests", window="minute", limit=header_limit, remaining=None)
            process.run_now(lambda each=process, header=header: each.quota.correct(KEY, header, each.now_s))
            self.world.advance(0.15)
        self.ceiling = (limit, self.world.now_s)
        self.world.advance(1.5)
        first.fates.clear()
        self.world.advance(1.5)
        assert self.is_settled
        self.the_latest_header_is_in_force()

    @precondition(lambda self: len(self.world.processes) > 1)
    @rule(data=st.data(), seconds=st.sampled_from([8.0, 30.0]))
    def a_429_pauses_all(self, data: st.DataObject, seconds: float) -> None:
        """Then a call of an earlier window returns with a shorter pause."""
        first, second = self.two(data)
        self.settle_down()
        until_s = self.world.now_s + seconds
        first.run_now(lambda: first.quota.pause(KEY, first.now_s + seconds, "429"))
        self.world.advance(_REPORTED_S)
        for each in (second, first):
            each.run_now(lambda each=each: each.quota.pause(KEY, each.now_s + 1.0, "429"))
            self.world.advance(_REPORTED_S)
        for each in self.world.processes:
            assert each.quota.wait_s(KEY, Need(0), each.now_s) >= until_s - self.world.now_s - 0.1
        self.world.advance(seconds)

    @invariant()
    def the_latest_header_is_in_force(self) -> None:
        if self.ceiling is None or not self.is_settled or self.world.now_s > self.ceiling[1] + 290:
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
        if self.record_lost and self.world.history and self.world.history[-1].data:
            self.record_lost = False


NetworkMachine.TestCase.settings = settings(
    max_examples=examples(60),
    stateful_step_count=25,
    deadline=None,
    # A failure is reported at once: shrinking it takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestNetwork = NetworkMachine.TestCase

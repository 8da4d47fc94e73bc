"""A simulated mailbox: the real ranks of a router and the real scheduler of each worker; the server is exact."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping

from msgspec import Struct

from penstock.contract.names import RANKS
from penstock.contract.subjects import WorkAddress, flow, work
from penstock.runtime.consumer.scheduler import PullScheduler, Source, slots_beside
from services.router.queues.backlog import Backlog
from services.router.queues.priority import AccountShare

__all__ = ["RoundRobin", "SimulatedMailbox"]

_ROLE, _LANE = "chat", "interactive"


class _Message(Struct):
    number: int
    address: WorkAddress


class _Worker:
    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.scheduler = PullScheduler(len(RANKS))
        self.sources = [Source() for _ in RANKS]
        self.held: list[_Message] = []
        self.first_after = [0] * len(RANKS)
        """By rank: the number of the latest message that this worker received."""


class SimulatedMailbox:
    """Requests have the numbers 0, 1, 2, ...; `started` has them in the order of their starts."""

    def __init__(self, workers: int, slots: int, weights: Mapping[str, float] | None = None) -> None:
        self._workers = [_Worker(slots) for _ in range(workers)]
        self._share = {account: AccountShare(0, weight) for account, weight in (weights or {}).items()}
        self._backlog = Backlog()
        self._waiting: list[deque[_Message]] = [deque() for _ in RANKS]
        self._taken = [0] * len(RANKS)
        self._stored = 0
        self.started: list[int] = []
        self._settle()

    @property
    def waits(self) -> bool:
        return any(self._waiting)

    def publish(self, account: str, user: str) -> int:
        """Returns the number of the request."""
        number, of_user = self._stored, flow(account, user)
        rank = self._backlog.rank_for(_ROLE, _LANE, of_user, self._share.get(account, AccountShare()))
        address = WorkAddress(_ROLE, _LANE, rank, of_user)
        self._backlog.reserve(address)
        self._backlog.commit(address)
        self._stored += 1
        self._waiting[rank].append(_Message(number, address))
        self._settle()
        return number

    def finish(self, worker: int, count: int) -> None:
        """The worker ends its first `count` requests."""
        del self._workers[worker % len(self._workers)].held[:count]
        self._settle()

    def finish_all(self) -> None:
        for each in self._workers:
            each.held.clear()
        self._settle()

    def count(self) -> None:
        """The router counts the mailbox."""
        left = [each for queue in self._waiting for each in queue]
        left += [each for worker in self._workers for each in worker.held]
        taken = {
            (_ROLE, _LANE, rank): self._taken[rank] if self._waiting[rank] else self._stored for rank in RANKS
        }
        self._backlog.begin_count()
        self._backlog.snapshot(Counter(work(*each.address) for each in left), 1, self._stored, taken)

    def _settle(self) -> None:
        """Let every worker request what it wants, and answer."""
        while sum(self._step(worker) for worker in self._workers):
            pass

    def _step(self, worker: _Worker) -> bool:
        """Whether anything happened."""
        came = self._deliver(worker)
        turn, reserve = self._turn(worker)
        held = Counter(each.address.rank for each in worker.held)
        beside = slots_beside(worker.slots, [held[rank] for rank in RANKS])
        plan = worker.scheduler.plan(
            worker.sources, worker.slots, len(worker.held), turn=turn, reserve=reserve, beside=beside
        )
        for rank in plan.withdrawn:
            worker.sources[rank] = Source(batch=worker.sources[rank].batch)
        for request in plan.requests:
            source = worker.sources[request.rank]
            assert source.outstanding == 0
            source.outstanding, source.long_poll = request.batch, request.waits_s > 0
            self._deliver(worker)
        outstanding = sum(source.outstanding for source in worker.sources)
        assert len(worker.held) + outstanding <= worker.slots + worker.slots // 4 + len(RANKS) - 1
        return bool(came or plan.withdrawn or plan.requests)

    def _turn(self, worker: _Worker) -> tuple[int | None, bool]:
        if not worker.scheduler.is_due:
            return None, False
        first = worker.scheduler.first(worker.sources)
        found, oldest = None, worker.first_after[first]
        for rank in RANKS[first + 1 :]:
            head = self._waiting[rank][0].number if self._waiting[rank] else oldest
            found, oldest = (rank, head) if head < oldest else (found, oldest)
        if found is None:
            worker.scheduler.skip_turn()
            return None, False
        if len(worker.held) >= worker.slots:
            return None, True
        return found, False

    def _deliver(self, worker: _Worker) -> bool:
        came = False
        for rank, source in enumerate(worker.sources):
            while source.outstanding and self._waiting[rank]:
                message = self._waiting[rank].popleft()
                self.started.append(message.number)
                worker.held.append(message)
                worker.scheduler.record(rank)
                worker.first_after[rank] = message.number
                self._taken[rank] = max(self._taken[rank], message.number + 1)
                source.outstanding -= 1
                source.pending, source.is_known = len(self._waiting[rank]), True
                came = True
            if source.outstanding and not source.long_poll:
                source.outstanding, source.pending, source.is_known = 0, 0, True
                came = True
        return came


class RoundRobin:
    """The ideal: accounts take turns, an account of weight 2 has two turns at once, and so do users of an account."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._accounts: dict[str, dict[str, deque[int]]] = {}

    def add(self, account: str, user: str, number: int) -> None:
        self._accounts.setdefault(account, {}).setdefault(user, deque()).append(number)

    def take(self, count: int) -> Iterator[int]:
        """The next requests to start."""
        while count > 0 and self._accounts:
            account, users = next(iter(self._accounts.items()))
            del self._accounts[account]
            for _ in range(min(count, int(self._weights.get(account, 1.0)))):
                if users:
                    user, queue = next(iter(users.items()))
                    del users[user]
                    yield queue.popleft()
                    count -= 1
                    if queue:
                        users[user] = queue
            if users:
                self._accounts[account] = users

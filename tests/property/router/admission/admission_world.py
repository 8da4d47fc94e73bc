"""A simulated world: real admission control, quotas and forecasts; requests and calls are events in time.

The network, JetStream and the provider are delays.
"""

from __future__ import annotations

import random
from collections import Counter, deque

from msgspec import Struct, field

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.names import RANKS
from penstock.contract.presence import Presence, QuotaForecast, RoleStatus
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Batch, Limits, RoleConfig
from penstock.runtime.consumer.scheduler import EVERY
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.admission.wait_estimate import WaitEstimate
from services.router.queues.backlog import Backlog
from services.worker.estimates.service_times import RequestCalls, ServiceTimes
from services.worker.rate_limit.quota import LocalQuota, Need, Permit, QuotaKey
from tests.harness.requests.routed_requests import chat_work

__all__ = ["Load", "Waited", "World"]

KEY = QuotaKey("key", "m")
STEP_S = 0.02
HEARTBEAT_S, PRESSED_HEARTBEAT_S, COUNT_S = 2.0, 0.25, 1.0
FLOOD_AT_S = 20.0
FRESH_S = 0.1
"""Age of a count, in seconds, up to which it may lead to a rejection."""


class Load(Struct, frozen=True, kw_only=True):
    """Demand and capacity."""

    per_s: float
    timeout_s: float
    limits: Limits = field(default_factory=Limits)
    shared: bool = True
    """True: one quota for all workers; False: a quota of `limits` for each worker."""
    workers: int = 2
    slots: int = 32
    service_s: tuple[float, float] = (0.2, 0.5)
    overhead_s: float = 0.02
    """Seconds between two requests in one slot."""
    users: int = 40
    seed: int = 1
    routers: int = 1
    """Number of routers; each request goes to a random one."""
    burst_s: float = 0.0
    """Period in seconds; all its requests arrive within its first tenth. 0: they arrive evenly."""
    flood: int = 0
    """Number of additional requests of one user, sent together after FLOOD_AT_S."""
    flood_again_s: float = 0.0
    """Period in seconds after which the flood is repeated; 0: never."""
    flood_timeout_s: float = 90.0


class Waited(Struct, frozen=True):
    """The estimate and the actual wait of a request whose call started."""

    user: str
    asked_s: float
    estimate: WaitEstimate
    wait_s: float


class _Request(Struct):
    work: ChatWork
    subject: str
    sequence: int
    deadline_s: float
    calls: RequestCalls = field(default_factory=RequestCalls)
    asked_s: float = 0.0
    estimate: WaitEstimate | None = None
    taken_s: float = 0.0
    ends_s: float | None = None
    permit: Permit | None = None


class _Worker:
    def __init__(self, name: str, load: Load, quota: LocalQuota, rng: random.Random) -> None:
        self.name, self.load, self.random = name, load, rng
        self.quota = quota
        self.pace = ServiceTimes()
        self.held_requests: list[_Request] = []
        self.waited: list[Waited] = []
        self.free_at_s: list[float] = []
        self.heartbeat_s = -rng.random() * HEARTBEAT_S

    @property
    def waiting(self) -> int:
        return sum(request.ends_s is None for request in self.held_requests)

    def room(self, now_s: float) -> int:
        """Pull as a mailbox does: half of the slots may wait, and none is pulled without quota."""
        self.free_at_s = [at_s for at_s in self.free_at_s if at_s > now_s]
        if self.waiting >= self.load.slots // 2 or self.quota.wait_s(KEY, Need(0), now_s) > 0:
            return 0
        return self.load.slots - len(self.held_requests) - len(self.free_at_s)

    def work(self, now_s: float, ends: Counter[str]) -> list[_Request]:
        """Start calls as the quota allows; returns the requests that ended."""
        over = []
        for request in self.held_requests:
            if request.ends_s is None and now_s < request.deadline_s:
                permit = self.quota.try_acquire(KEY, Need(0), now_s)
                if isinstance(permit, Permit):
                    self.pace.record_call_start("chat", request.calls)
                    request.calls.waited_s = now_s - request.taken_s
                    request.permit, request.ends_s = permit, now_s + self.random.uniform(*self.load.service_s)
                    if request.estimate is not None:
                        self.waited.append(
                            Waited(
                                request.work.user, request.asked_s, request.estimate, now_s - request.asked_s
                            )
                        )
            if now_s >= min(request.deadline_s, request.ends_s or request.deadline_s):
                over.append(request)
        for request in over:
            done = request.ends_s is not None and request.ends_s <= request.deadline_s
            ends["completed" if done else "late"] += 1
            if request.permit is not None:
                self.quota.settle(request.permit, 0, now_s)
            held_s = now_s - request.taken_s + self.load.overhead_s
            self.pace.record_end("chat", request.calls, held_s, cut=not done)
            self.held_requests.remove(request)
            self.free_at_s.append(now_s + self.load.overhead_s)
        return over

    def heartbeat(self, now_s: float) -> Presence | None:
        due_s = PRESSED_HEARTBEAT_S if self.waiting else HEARTBEAT_S
        if now_s < self.heartbeat_s + due_s:
            return None
        self.heartbeat_s = now_s
        forecast, tempo = self.quota.forecast(KEY, now_s), self.pace.statistics("chat")
        role = RoleStatus(
            role="chat",
            slots=self.load.slots,
            running=len(self.held_requests),
            calling=self.pace.calling_now("chat"),
            ended=self.pace.ended_count("chat"),
            service_ms=None if tempo is None else round(tempo.mean_s * 1000),
            service_p95_ms=None if tempo is None else round(tempo.p95_s * 1000),
        )
        forecast = QuotaForecast(
            model="m",
            source="record" if self.load.shared else self.name,
            recoveries=forecast.recoveries,
            paused_ms=round(forecast.paused_s * 1000),
        )
        return Presence(service="worker", instance=self.name, at_ms=0, roles=(role,), forecasts=(forecast,))


class _Router:
    """A router, which knows its own admissions and learns those of others from the counts."""

    def __init__(self, clock: Clock, routers: int, counted_s: float) -> None:
        self.backlog = Backlog()
        self.backlog.snapshot({}, routers)
        self.routers = routers
        self.capacity = Capacity({"chat": RoleConfig(chain=("m",))}, Batch())
        self.controller = AdmissionController(self.capacity, self.backlog, clock)
        self.counted_s = counted_s


class World:
    """Runs a load; `ends` counts the ends of requests, `calls` the calls that started."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.now_s = 1000.0
        self.random = random.Random(load.seed)
        clock = Clock(lambda: self.now_s, lambda: self.now_s + 1e9)
        self.clock = clock
        self.routers = [
            _Router(clock, load.routers, self.now_s + COUNT_S * number / load.routers)
            for number in range(load.routers)
        ]
        one = LocalQuota({KEY: load.limits}, batch=Batch())
        self.workers = [
            _Worker(
                f"w{number}",
                load,
                one if load.shared else LocalQuota({KEY: load.limits}, batch=Batch()),
                self.random,
            )
            for number in range(load.workers)
        ]
        self.mailbox: dict[int, deque[_Request]] = {rank: deque() for rank in RANKS}
        self.stored = 0
        self.taken = dict.fromkeys(RANKS, 0)
        """By rank: the sequence of the last request that left the mailbox."""
        self.ends: Counter[str] = Counter()
        self.flooded: Counter[str] = Counter()
        """Decisions on the flood."""
        self.met_flood: Counter[str] = Counter()
        """Decisions on the other requests since the flood began."""
        self.floods = 0
        self.retry_delays_s: list[float] = []

    def run(self, lasts_s: float) -> None:
        began_s, asked = self.now_s, 0
        while self.now_s < began_s + lasts_s:
            while asked < self._asked_by(self.now_s - began_s):
                asked += 1
                user = f"u{self.random.randrange(self.load.users)}"
                verdict = self._ask(user, self.load.timeout_s)
                self.met_flood[verdict] += self.now_s >= began_s + FLOOD_AT_S
            self._flood(self.now_s - began_s)
            self._deal()
            for worker in self.random.sample(self.workers, len(self.workers)):
                worker.work(self.now_s, self.ends)
                if (presence := worker.heartbeat(self.now_s)) is not None:
                    for router in self.routers:
                        router.capacity.observe(worker.name, presence, self.now_s)
            for router in self.routers:
                if self.now_s >= router.counted_s + COUNT_S:
                    self._count(router)
            self.now_s += STEP_S

    def _asked_by(self, after_s: float) -> float:
        burst_s = self.load.burst_s
        if burst_s <= 0:
            return after_s * self.load.per_s
        whole, part_s = divmod(after_s, burst_s)
        return self.load.per_s * burst_s * (whole + min(1.0, part_s / burst_s * 10))

    @property
    def calls(self) -> int:
        return sum(
            worker.pace.ended_count("chat") + worker.pace.calling_now("chat") for worker in self.workers
        )

    def _flood(self, after_s: float) -> None:
        if not self.load.flood or after_s < FLOOD_AT_S + self.load.flood_again_s * self.floods:
            return
        if self.floods and not self.load.flood_again_s:
            return
        self.floods += 1
        for _ in range(self.load.flood):
            self.flooded[self._ask("flood", self.load.flood_timeout_s)] += 1

    def _ask(self, user: str, timeout_s: float) -> str:
        """`accepted` or `rejected`."""
        now_ms = self.clock.unix_ms()
        work = chat_work(user=user, deadline_ms=now_ms + round(timeout_s * 1000), accepted_ms=now_ms)
        router = self.routers[0] if len(self.routers) == 1 else self.random.choice(self.routers)
        forecast = router.controller.forecast(work)
        if forecast.retry_after_s is not None and self.now_s >= router.counted_s + FRESH_S:
            self._count(router)
            forecast = router.controller.forecast(work)
        if forecast.retry_after_s is not None:
            self.ends["rejected"] += 1
            self.retry_delays_s.append(forecast.retry_after_s)
            return "rejected"
        address = router.controller.reserve(work)
        router.controller.commit(address)
        self.stored += 1
        request = _Request(
            work, subjects.work(*address), self.stored, self.now_s + timeout_s, asked_s=self.now_s
        )
        request.estimate = forecast.estimate
        self.mailbox[address.rank].append(request)
        return "accepted"

    def _deal(self) -> None:
        """Hand requests to the workers in turn: first ranks first, and one of eight turns to a later rank
        whose first request is older.
        """
        room = {worker.name: worker.room(self.now_s) for worker in self.workers}
        for worker in self.workers * self.load.slots:
            if room[worker.name] <= 0:
                continue
            request = self._next()
            if request is None:
                return
            room[worker.name] -= 1
            request.taken_s = self.now_s
            worker.held_requests.append(request)

    def _next(self) -> _Request | None:
        waiting = {rank: queue for rank, queue in self.mailbox.items() if self._drop_late(rank)}
        if not waiting:
            return None
        first = min(waiting)
        rank = first
        if self.random.random() < 1 / EVERY:
            asked_s, turns = waiting[first][0].asked_s, []
            for later in range(first + 1, len(RANKS)):
                if later in waiting and waiting[later][0].asked_s < asked_s:
                    asked_s = waiting[later][0].asked_s
                    turns.append(later)
            rank = self.random.choice(turns or [first])
        return self._take(rank)

    def _take(self, rank: int) -> _Request:
        request = self.mailbox[rank].popleft()
        self.taken[rank] = request.sequence
        return request

    def _drop_late(self, rank: int) -> bool:
        """Whether any request is left whose deadline has not passed."""
        queue = self.mailbox[rank]
        while queue and queue[0].deadline_s <= self.now_s:
            self._take(rank)
            self.ends["late"] += 1
        return bool(queue)

    def _count(self, router: _Router) -> None:
        held = [request for queue in self.mailbox.values() for request in queue]
        held += [request for worker in self.workers for request in worker.held_requests]
        router.backlog.begin_count()
        taken = {
            ("chat", "interactive", rank): self.taken[rank] if queue else self.stored
            for rank, queue in self.mailbox.items()
        }
        counts = Counter(request.subject for request in held)
        router.backlog.snapshot(counts, router.routers, self.stored, taken)
        router.backlog.record_departures(self.ends["completed"] + self.ends["late"], self.now_s)
        router.backlog.counted_s = router.counted_s = self.now_s

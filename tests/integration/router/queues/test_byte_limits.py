"""C6: a stream that large jobs would fill keeps space for others, whatever their role and lane."""

from __future__ import annotations

import asyncio

import msgspec

from penstock.bus.clock import SYSTEM
from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.names import Lane, Role
from penstock.contract.streams import WORK
from penstock.runtime.config.catalogue import Batch
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from penstock.runtime.service import Bus
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.admission.gate import AdmissionGate
from services.router.queues.backlog import Backlog
from services.router.queues.backlog_poller import BacklogPoller
from services.router.queues.byte_limits import ByteLimits
from services.router.queues.enqueue import enqueue
from services.router.queues.roles_in_use import RolesInUse
from services.router.routing.outcome import Enqueued, Rejected
from tests.harness.requests.routed_requests import chat_work, routed

MIB = 2**20
BOUND = 16 * MIB


async def test_c6_large_jobs_leave_space_for_small_requests_of_every_role(
    own_nats_server: NatsServer,
) -> None:
    nc = await connect(own_nats_server.url, name="room")
    js = nc.jetstream()
    await ensure(js, JetStreamPlan(roles=(), ack_wait_s=10))
    await js.update_stream((await js.stream_info(WORK.name)).config.evolve(max_bytes=BOUND))
    bus = Bus(nc, js, ConnectionEvents(), DeliveryEpochs(nc))
    backlog = Backlog()
    limits = ByteLimits(backlog)
    poller = BacklogPoller(bus, backlog, limits, SYSTEM, lambda: 1)
    await poller.poll()
    in_use = RolesInUse((), backlog, asyncio.Event(), SYSTEM)
    gate = AdmissionGate(AdmissionController(Capacity({}, Batch()), backlog, SYSTEM), limits, poller, in_use)
    asked = 0

    async def ask(user: str, size: int, role: Role, lane: Lane, account: str = "a") -> Rejected | None:
        nonlocal asked
        asked += 1
        now_ms = SYSTEM.unix_ms()
        work = chat_work(
            id=f"r{asked}",
            account=account,
            user=user,
            role=role,
            lane=lane,
            deadline_ms=now_ms + 60_000,
            accepted_ms=now_ms,
            body=msgspec.Raw(msgspec.json.encode("x" * size)),
        )
        wanted = routed(work)
        reservation = await gate.admit(wanted, accepted_before=False)
        if isinstance(reservation, Rejected):
            return reservation
        with reservation:
            queued = await enqueue(bus, wanted, reservation.subject, {}, repeated=False)
            assert isinstance(queued, Enqueued)
            assert queued.new
            reservation.commit()
            return None

    greedy = [await ask("greedy", MIB // 2, "fast", "batch") for _ in range(40)]
    assert greedy.count(None) == 3, "an eighth is 2 MiB"
    await poller.poll()
    again = await ask("greedy", MIB // 2, "chat", "batch")
    assert again is not None
    assert (again.code, again.retry_after_s) == ("overloaded", 10.0)
    many = [await ask(f"u{n}", MIB, "fast", "batch") for n in range(40)]
    assert many.count(None) == 2, "a quarter, which one account has at most, is 4 MiB"
    others = [await ask(f"u{n}", MIB, "fast", "batch", f"b{n}") for n in range(40)]
    assert others.count(None) == 4, "half is 8 MiB"
    await poller.poll()
    assert await ask("large", MIB, "chat", "interactive") is not None
    small = [await ask(f"v{n}", 100_000, "chat", "interactive") for n in range(40)]
    assert small == [None] * 40
    await js.purge_stream(WORK.name)
    await poller.poll()
    assert await ask("greedy", MIB // 2, "fast", "batch") is None
    await close(nc)

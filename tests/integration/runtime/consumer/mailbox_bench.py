"""A separate work queue with any number of mailboxes, each with its own connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy

from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.publish import store
from penstock.contract.streams import Consumer
from penstock.runtime.consumer.delivery import ACK, Delivery, Unprocessable, Verdict
from penstock.runtime.consumer.mailbox import Mailbox, MailboxPolicy

Handle = Callable[[Delivery], Awaitable[Verdict]]
StoreDeadLetter = Callable[[Delivery, Unprocessable], Awaitable[None]]


class Box:
    """One mailbox with its connection, and a record of its deliveries and verdicts."""

    def __init__(self, nc, events: ConnectionEvents) -> None:
        self.nc = nc
        self.js = nc.jetstream()
        self.connection_events = events
        self.mailbox: Any = None
        self.seen: list[tuple[bytes, int]] = []
        """Body and delivery number of every message a handler was given."""
        self.done: list[bytes] = []
        """Bodies of the messages whose handler ended with Ack."""
        self.most_running = 0
        self.dead_lettered: list[tuple[Delivery, Unprocessable]] = []
        self.repairs = 0


class MailboxBench:
    def __init__(self, url: str, name: str, *, ack_wait_s: float, ranks: int = 1, replicas: int = 1) -> None:
        self.url = url
        """Of the server to which the next mailbox connects."""
        self._ack_wait_s = ack_wait_s
        self._replicas = replicas
        self.consumers = [
            Consumer(stream=name, durable=f"box-{rank}", filter_subject=f"{name}.work.{rank}")
            for rank in range(ranks)
        ]
        self.consumer = self.consumers[0]
        self.boxes: list[Box] = []

    async def open(self) -> None:
        self._nc = await connect(self.url, name="bench")
        self.js = self._nc.jetstream()
        await self.provision(self.js)

    async def provision(self, js) -> None:
        name = self.consumer.stream
        await js.add_stream(
            name=name,
            subjects=[f"{name}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            allow_direct=True,
            num_replicas=self._replicas,
        )
        for consumer in self.consumers:
            await js.add_consumer(
                name,
                ConsumerConfig(
                    durable_name=consumer.durable,
                    filter_subject=consumer.filter_subject,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=self._ack_wait_s,
                ),
            )

    async def close(self) -> None:
        for box in self.boxes:
            await box.mailbox.drain(0)
            await box.nc.close()
        await self._nc.close()

    async def fill(self, count: int, prefix: str = "m", rank: int | None = None) -> set[bytes]:
        """Publish to `rank`, or to all ranks in turn."""
        bodies = [f"{prefix}-{number}".encode() for number in range(count)]
        ranks = self.consumers if rank is None else [self.consumers[rank]]
        await asyncio.gather(
            *(
                store(self.js, ranks[n % len(ranks)].filter_subject, body, message_id=body.decode())
                for n, body in enumerate(bodies)
            )
        )
        return set(bodies)

    async def left(self) -> int:
        return (await self.js.stream_info(self.consumer.stream)).state.messages

    async def is_empty(self) -> bool:
        return await self.left() == 0

    async def in_flight(self) -> int:
        """Messages the server counts as delivered and without a verdict."""
        infos = [await self.js.consumer_info(each.stream, each.durable) for each in self.consumers]
        return sum(info.num_ack_pending or 0 for info in infos)

    async def box(
        self, handle: Handle | None = None, *, dead_letter: StoreDeadLetter | None = None, **policy: Any
    ) -> Box:
        """A mailbox with the handler `handle`; without one, it acknowledges every message."""
        connection_events = ConnectionEvents()
        box = Box(
            await connect(self.url, name=f"box-{len(self.boxes)}", events=connection_events),
            connection_events,
        )

        async def judged(delivery: Delivery) -> Verdict:
            box.seen.append((delivery.data, delivery.number))
            box.most_running = max(box.most_running, box.mailbox.running)
            verdict = ACK if handle is None else await handle(delivery)
            if verdict == ACK:
                box.done.append(delivery.data)
            return verdict

        async def note(delivery: Delivery, dead: Unprocessable) -> None:
            box.dead_lettered.append((delivery, dead))

        async def repair() -> None:
            box.repairs += 1
            await self.provision(box.js)

        settings = MailboxPolicy(**{"slots": 8, "ack_wait_s": self._ack_wait_s, **policy})
        box.mailbox = Mailbox(
            box.nc, self.consumers, settings, handle=judged, dead_letter=dead_letter or note, repair=repair
        )
        self.boxes.append(box)
        await box.mailbox.start(connection_events)
        return box

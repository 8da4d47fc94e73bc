"""Requests that were sent before: the status and answer of jobs, replies that are resumed, and cancels."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from penstock.bus.clock import loop_now_s
from penstock.client.arguments import check_choice, check_position, check_text, check_token, check_wait
from penstock.client.follow import Followed, follow, is_at_end
from penstock.client.jobs import JobReader
from penstock.client.lost_request import LostRequestCheck, is_reply_lost
from penstock.client.reply import Reply
from penstock.client.session import Session
from penstock.client.stream import cancel
from penstock.contract import subjects
from penstock.contract.jobs import JOB_STATES, Job, JobState
from penstock.contract.reply import TERMINAL, ReplyEvent
from penstock.errors import UnknownReply

__all__ = ["JobMethods"]


class JobMethods(Session):
    """The part of a client that needs no more of a request than its id."""

    async def job(self, request_id: str) -> Job:
        """The status of a job, whichever client of the account submitted it.

        Right after `submit` it waits until a router has taken the request, at most 3 s.

        Raises UnknownJob, StoreUnavailable within seconds while NATS does not answer, ClientClosed, and ValueError for
        an invalid request id.
        """
        self._check_open()
        check_token("the id of a request", request_id)
        return await JobReader(self._nc, self._subscription.account).get(request_id)

    async def jobs(self, *, state: JobState | None = None, user: str | None = None) -> list[Job]:
        """The jobs of the account, or those in `state` and of `user`; the least recently changed first.

        Raises StoreUnavailable and ClientClosed as `job` does, and ValueError for an unknown state.
        """
        self._check_open()
        if state is not None:
            check_choice("state", state, JOB_STATES)
        return await JobReader(self._nc, self._subscription.account).list_all(state, user)

    async def result(self, request_id: str) -> Reply | None:
        """The answer of a job, stored for 48 hours after its end; None while the job has not ended.

        Raises RequestFailed and ResultGone, and as `job` does.
        """
        job = await self.job(request_id)
        return await JobReader(self._nc, self._subscription.account).result(job)

    def resume(
        self, request_id: str, *, after_seq: int = -1, client: str | None = None, timeout_s: float = 900.0
    ) -> AsyncGenerator[ReplyEvent, None]:
        """The events of a reply after `after_seq`: first the stored ones, then the live ones, each once and in order.

        Works from any process while the reply is stored, for 15 minutes. `client` is the name of the client that sent
        the request, if it was another one. Yields nothing when `after_seq` is the end. Leaving the iteration does not
        cancel the request. Raises NoReply when no terminal event came within `timeout_s`, UnknownReply after some
        seconds when none can come, StoreUnavailable when NATS lacks the streams, BeyondTheEnd, ReplyIncomplete,
        ClientClosed, and ValueError at once for an invalid argument.
        """
        self._check_open()
        owner = self.name if client is None else client
        check_token("the name of a client", owner)
        check_token("the id of a request", request_id)
        check_wait(timeout_s)
        check_position(after_seq)
        return self._resume(request_id, owner, after_seq, timeout_s)

    async def _resume(
        self, request_id: str, owner: str, after_seq: int, timeout_s: float
    ) -> AsyncGenerator[ReplyEvent, None]:
        subject = subjects.reply(self._subscription.account, owner, request_id)
        check = LostRequestCheck()

        async def give_up_if_lost() -> None:
            if await is_reply_lost(self._nc, check, subject):
                raise UnknownReply(request_id, owner)

        began_s = loop_now_s()
        followed = Followed(
            subject=subject,
            until_s=began_s + timeout_s,
            began_s=began_s,
            timings=self._timings,
            after_seq=after_seq,
            from_store=True,
            on_silence=give_up_if_lost,
        )
        if await is_at_end(self._nc, followed):
            return
        async with self._subscription.feed(request_id, owner) as feed:
            async for event in follow(self._nc, feed, followed):
                yield event
                if isinstance(event, TERMINAL):
                    return
        raise followed.no_end(
            f"request {request_id} had no terminal event within {timeout_s:g} s",
            "Resume it again while it may still run",
        )

    async def cancel(self, request_id: str, reason: str = "") -> None:
        """Stop a request: its provider call at once, or the wait in its mailbox. It then ends in `failed`.

        The cancel is not acknowledged, and is sent later while the connection is lost. Raises NotAccepted when the
        buffer of a lost connection is full, ClientClosed, and ValueError for an invalid request id or reason.
        """
        self._check_open()
        check_token("the id of a request", request_id)
        check_text("reason", reason)
        await cancel(self._nc, self._subscription.account, request_id, reason)

"""C6: limits on bytes in the mailboxes; large bodies and jobs leave room for small interactive requests."""

from __future__ import annotations

import pytest

from penstock.contract import subjects
from penstock.contract.names import Lane
from services.router.queues.backlog import Backlog
from services.router.queues.byte_limits import ByteLimits
from services.router.queues.stream_bytes import ByteClaim, StreamFill

MIB = 2**20
BOUND = 80 * MIB


class Scene:
    def __init__(self) -> None:
        self.backlog = Backlog()
        self.limits = ByteLimits(self.backlog)

    def count(self, held: int, lane: Lane = "batch", *, bodies: int = 0, **flows: int) -> None:
        self.backlog.begin_count()
        self.limits.begin_count()
        self.backlog.snapshot(
            {subjects.work("chat", lane, 0, each): n for each, n in flows.items()}, routers=1
        )
        self.limits.snapshot(StreamFill(held, BOUND), StreamFill(bodies, BOUND))

    def puts(self, flow: str, size: int, lane: Lane = "batch", *, body: int = 0) -> bool:
        wanted = ByteClaim("chat", lane, flow, size, body)
        if self.limits.rejection_reason(wanted) is not None:
            return False
        self.limits.reserve(wanted)
        self.limits.commit(wanted)
        return True


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.count(0)
    return made


def test_c6_nothing_is_rejected_before_the_first_count() -> None:
    assert Scene().limits.rejection_reason(ByteClaim("chat", "batch", "f", 10 * BOUND)) is None


def test_c6_one_flow_gets_an_eighth_per_lane_independent_of_other_flows(
    scene: Scene,
) -> None:
    assert [scene.puts("greedy", MIB) for _ in range(12)] == [True] * 10 + [False] * 2
    assert scene.puts("greedy", 1000, "interactive")
    assert scene.puts("other", MIB)


def test_c6_large_requests_fill_half_and_leave_space_for_small_ones(scene: Scene) -> None:
    assert sum(scene.puts(f"f{n}", 5 * MIB) for n in range(20)) == 8
    assert not scene.puts("late", MIB, "interactive"), "it is large"
    assert scene.puts("late", 200_000, "interactive")


def test_c6_a_reservation_counts_through_a_snapshot_until_released(scene: Scene) -> None:
    wanted = ByteClaim("chat", "batch", "f", 8 * MIB)
    scene.limits.reserve(wanted)
    scene.count(34 * MIB, f=1)
    assert not scene.puts("g", MIB)
    scene.limits.release(wanted)
    assert scene.puts("g", MIB)
    assert scene.puts("f", MIB)


def test_c6_bytes_of_a_flow_follow_its_number_of_queued_requests(
    scene: Scene,
) -> None:
    assert all(scene.puts("f", MIB) for _ in range(10))
    scene.count(20 * MIB, f=20)
    assert not scene.puts("f", MIB)
    scene.count(5 * MIB, f=5)
    assert [scene.puts("f", MIB) for _ in range(6)] == [True] * 5 + [False]
    scene.count(0)
    assert scene.limits._flows == scene.limits._accounts == {}, (
        "flows and accounts without requests are forgotten"
    )


def test_c6_large_requests_of_one_account_fill_at_most_a_quarter(scene: Scene) -> None:
    """A flow begins with the eight digits of its account."""
    assert sum(scene.puts(f"acme0000{n}", 5 * MIB) for n in range(20)) == 4, "a quarter is 20 MiB"
    assert not scene.puts("acme0000x", MIB, "interactive"), "it is large"
    assert scene.puts("acme0000x", 200_000, "interactive")
    assert sum(scene.puts(f"other000{n}", 5 * MIB) for n in range(20)) == 3, "half of all is taken then"


def test_c6_small_requests_of_one_account_fill_at_most_half(scene: Scene) -> None:
    flows = [f"acmeacme{n:03}" for n in range(300)]
    assert sum(scene.puts(flow, 200_000, "interactive") for flow in flows) == BOUND // 2 // 200_000
    assert scene.puts("otherother1", 200_000, "interactive")
    assert not scene.puts("acmeacme300", 200_000, "interactive")


def test_c6_bytes_of_an_account_follow_its_number_of_queued_requests(scene: Scene) -> None:
    assert scene.puts("acme00001", 4 * MIB)
    scene.count(16 * MIB, acme00001=1, acme00002=1, acme00003=2)
    assert not scene.puts("acme00004", 5 * MIB)
    assert scene.puts("other0004", 5 * MIB)
    scene.count(4 * MIB, acme00003=1)
    assert scene.puts("acme00004", 5 * MIB)


def test_c6_small_requests_that_end_do_not_reduce_another_mailbox(
    scene: Scene,
) -> None:
    assert all(scene.puts(f"acme0000{n}", 5 * MIB) for n in range(4))
    assert all(scene.puts(f"acme000{n}", 1000, "interactive") for n in range(1000, 3000))
    scene.count(20 * MIB, **{f"acme0000{n}": 1 for n in range(4)})
    assert not scene.puts("acme0000x", 5 * MIB)


def test_c6_bodies_that_are_stored_apart_have_the_same_shares_of_their_own_stream(scene: Scene) -> None:
    def puts(flow: str, size: int, lane: Lane = "interactive") -> bool:
        return scene.puts(flow, 1000, lane, body=size)

    assert [puts("acme0000x", 4 * MIB) for _ in range(4)] == [True] * 2 + [False] * 2, "an eighth is 10 MiB"
    assert puts("acme0000x", 4 * MIB, "batch"), "per lane"
    assert [puts(f"acme0000{n}", 4 * MIB) for n in range(4)] == [True] * 2 + [False] * 2, (
        "a quarter is 20 MiB"
    )
    assert puts("other0000", 4 * MIB)
    reason = scene.limits.rejection_reason(ByteClaim("chat", "interactive", "acme0000y", 1000, 4 * MIB))
    assert (
        reason
        == "a quarter of the 80 MiB for bodies that exceed a message is used by requests of this account"
    )
    assert scene.puts("acme0000x", 200_000, "interactive"), "it has no body there"


def test_c6_jobs_fill_at_most_half_of_the_stream_of_bodies(scene: Scene) -> None:
    """The server has the body of a request when its router decides."""
    assert scene.puts("a1", 1000, body=70 * MIB), "the only body"
    scene.count(0, bodies=45 * MIB)
    assert not scene.puts("b1", 1000, body=5 * MIB)
    assert scene.puts("b1", 1000, body=6 * MIB)
    assert scene.puts("b1", 1000)
    assert scene.puts("c1", 1000, "interactive", body=5 * MIB)


def test_c6_bytes_of_bodies_follow_the_number_of_queued_requests_of_every_size(scene: Scene) -> None:
    assert scene.puts("f", 1000, body=8 * MIB)
    assert all(scene.puts("f", 1000) for _ in range(99))
    assert not scene.puts("f", 1000, body=3 * MIB)
    scene.count(0, f=200)
    assert not scene.puts("f", 1000, body=1 * MIB), "those of other routers have bodies of the same mean size"
    scene.count(0, f=10)
    assert scene.puts("f", 1000, body=8 * MIB)

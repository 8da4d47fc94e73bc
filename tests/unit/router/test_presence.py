from __future__ import annotations

from services.router.presence import Presence


def test_a_role_is_served_while_any_of_its_workers_lives() -> None:
    presence = Presence()
    presence.seen("a", ["chat", "coding"], now_s=0)
    presence.seen("b", ["chat"], now_s=15)
    assert presence.served(20) == {"chat", "coding"}
    assert presence.served(21) == {"chat"}
    assert presence.served(35) == {"chat"}
    assert presence.served(35.1) == frozenset()


def test_a_worker_can_drop_a_role() -> None:
    presence = Presence()
    presence.seen("a", ["chat", "coding"], now_s=0)
    presence.seen("a", ["coding"], now_s=1)
    assert presence.served(1) == {"coding"}


def test_nobody_seen_means_nobody_serves() -> None:
    assert Presence().served(0) == frozenset()


def test_instances_that_died_unannounced_do_not_pile_up() -> None:
    presence = Presence(ttl_s=20)
    for start in range(1_000):
        presence.seen(f"instance-{start}", ["chat"], now_s=start * 10.0)
    assert len(presence._instances) <= 3

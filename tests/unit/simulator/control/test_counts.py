from services.simulator.control.counts import Counts


def test_every_attempt_is_counted_under_one_outcome():
    counts = Counts()
    outcomes = ["ok", "broken", "cancelled", 429, 503, 503]
    attempts = [counts.begin("m", f"req_{i}", "", 0.0) for i in range(len(outcomes) + 1)]
    for attempt, outcome in zip(attempts, outcomes, strict=False):
        attempt.outcome = outcome
        counts.end(attempt)
    model = counts.report()["models"]["m"]
    assert (model.ok, model.broken, model.cancelled, model.in_flight) == (1, 1, 1, 1)
    assert (model.attempts, model.max_in_flight, model.errors) == (7, 7, {"429": 1, "503": 2})


def test_an_attempt_from_before_a_reset_is_not_counted():
    counts = Counts()
    old = counts.begin("m", "req_1", "", 0.0)
    counts.reset()
    counts.begin("m", "req_2", "", 0.0)
    counts.end(old)
    model = counts.report()["models"]["m"]
    assert (model.attempts, model.in_flight, model.cancelled) == (1, 1, 0)

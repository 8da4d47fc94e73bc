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


def test_an_ended_attempt_with_a_label_is_listed_with_its_tokens():
    counts = Counts()
    labelled, other, open_one = (counts.begin("m", f"req_{i}", "", 0.0) for i in range(3))
    counts.record_label(labelled, "request-1.2")
    counts.record_label(other, "")
    counts.record_label(open_one, "request-2.1")
    labelled.prompt_tokens, labelled.completion_tokens, labelled.outcome = 5, 7, "ok"
    counts.end(labelled)
    counts.end(other)
    (ended,) = counts.ended()
    assert (ended.label, ended.model, ended.outcome) == ("request-1.2", "m", "ok")
    assert (ended.prompt_tokens, ended.completion_tokens) == (5, 7)

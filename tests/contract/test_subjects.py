"""Subjects, streams and channels fit together, and no text breaks a subject."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract import codec, streams, subjects
from penstock.contract.channels import CHANNELS
from penstock.contract.codec import encode
from penstock.contract.errors import ERRORS, ErrorCode
from penstock.contract.generate import examples
from penstock.contract.intake.subjects import published_request, sender_of
from penstock.contract.names import LANES, RANKS, ROLES, Kind
from penstock.contract.request import LONGEST_S, LONGEST_WAIT_S
from penstock.contract.subjects import ReplyAddress

tokens = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def matches(pattern: str, subject: str) -> bool:
    """Match like nats-server: `*` is one token, `>` is one or more."""
    wanted, got = pattern.split("."), subject.split(".")
    for position, part in enumerate(wanted):
        if part == ">":
            return len(got) > position
        if position >= len(got) or part not in {"*", got[position]}:
            return False
    return len(wanted) == len(got)


def wildcards(template: str) -> str:
    return re.sub(r"\{\w+\}", "*", template)


BUILT = [
    (subjects.request("demo", "chat"), subjects.REQUEST, streams.REQUESTS),
    (subjects.request("demo", "chat", "batch"), subjects.BATCH_REQUEST, streams.REQUESTS),
    (subjects.work("coding", "batch", 2, subjects.flow("demo", "eve")), subjects.WORK, streams.WORK),
    (subjects.reply("demo", "web-7", "id-1"), subjects.REPLY, streams.REPLIES),
    (ReplyAddress("demo", "web-7", "id-1").subject, subjects.REPLY, streams.REPLIES),
    (subjects.cancel("demo", "id-1"), subjects.CANCEL, streams.CANCELS),
    (subjects.event("quota", "a b.c"), subjects.EVENT, streams.AUDIT),
    (subjects.usage("demo"), subjects.USAGE, streams.EVENTS),
    (subjects.dead("a.b"), subjects.DEAD, streams.DEAD),
    (subjects.job("demo", "web-7", "id-1"), subjects.JOB, streams.JOBS),
    (subjects.result("demo", "web-7", "id-1", 2), subjects.RESULT, streams.RESULTS),
]


@pytest.mark.parametrize(("subject", "template", "stream"), BUILT)
def test_a_subject_matches_its_template_and_exactly_its_stream(subject, template, stream):
    assert matches(wildcards(template), subject)
    keeping = [
        each for each in streams.STREAMS if any(matches(pattern, subject) for pattern in each.subjects)
    ]
    assert keeping == [stream]


def test_streams_and_channels_name_the_same_subjects():
    for stream in streams.STREAMS:
        channels = [channel for channel in CHANNELS if channel.stream == stream.name]
        for pattern in stream.subjects:
            assert any(matches(pattern, wildcards(channel.subject)) for channel in channels), pattern
        for channel in channels:
            assert any(matches(pattern, wildcards(channel.subject)) for pattern in stream.subjects), (
                channel.name
            )
    known = {stream.name for stream in streams.STREAMS}
    assert {channel.stream for channel in CHANNELS if channel.stream} == known


def test_mailboxes_read_from_their_stream_and_do_not_overlap():
    by_name = {stream.name: stream for stream in streams.STREAMS}
    mailboxes = streams.mailboxes(ROLES)
    for consumer in mailboxes:
        assert any(matches(pattern, consumer.filter_subject) for pattern in by_name[consumer.stream].subjects)
    assert len({box.filter_subject for box in mailboxes}) == len({box.durable for box in mailboxes})
    assert len(mailboxes) == len(ROLES) * len(LANES) * len(RANKS)


@pytest.mark.parametrize(
    ("lane", "queues"), [("interactive", streams.INTAKE_INTERACTIVE), ("batch", streams.INTAKE_BATCH)]
)
def test_a_stored_request_is_in_one_queue_of_its_lane_and_names_its_sender(lane, queues):
    published = subjects.request("demo", "chat", lane)
    stored = published.replace("llm.request.", "llm.intake.31.3.")
    assert sum(matches(consumer.filter_subject, stored) for consumer in streams.INTAKE) == 1
    assert any(matches(consumer.filter_subject, stored) for consumer in queues)
    for subject in (stored, published):
        assert published_request(subject) == published
        assert sender_of(subject) == ("demo", lane)
    assert subjects.request_address(published) == ("demo", "chat")


def test_e4_a_waiting_message_is_stored_longer_than_it_may_wait():
    """The sweep ends it first; its cancel mark, status and result are stored until then."""
    hour_s, day_s = 3_600, 86_400
    for stream in (streams.REQUESTS, streams.WORK, streams.JOBS, streams.RESULTS):
        assert stream.max_age_s >= LONGEST_WAIT_S + day_s
    assert streams.CANCELS.max_age_s >= LONGEST_WAIT_S + hour_s
    assert set(LONGEST_S) == set(LANES)


def test_e4_the_job_stream_has_space_for_every_record():
    """At the limit of records a new job is rejected; at a limit of bytes no job could end."""
    stored_headers, longest_user, longest_message = 300, 256 * 6, 500 * 4
    largest = (
        len(encode(codec.JOB.decode(msgspec.json.encode(examples()["job"])))) + longest_user + longest_message
    )
    room = streams.JOBS.max_bytes / streams.JOBS.max_messages
    assert largest + stored_headers <= room
    assert (streams.JOBS.discard, streams.JOBS.max_per_subject) == ("new", 1)


def test_every_bucket_has_a_channel():
    for bucket in streams.BUCKETS:
        assert any(channel.subject.startswith(f"$KV.{bucket.name}.") for channel in CHANNELS)


def test_names_are_subject_tokens():
    assert all(subjects.is_token(name) for name in (*ROLES, *LANES, *get_args(Kind)))


def test_d10_every_error_code_has_status_level_and_meaning():
    assert set(ERRORS) == set(get_args(ErrorCode))
    for code, spec in ERRORS.items():
        assert 400 <= spec.http_status < 600, code
        assert spec.meaning.endswith("."), code
        assert (spec.level == "error") <= (spec.http_status >= 500), code


@given(st.text())
def test_k5_any_text_becomes_a_token_and_a_token_is_unchanged(text: str):
    made = subjects.token(text)
    assert subjects.is_token(made)
    assert subjects.token(made) == made
    assert made == text or not subjects.is_token(text)


@given(st.text())
def test_k5_a_token_is_one_token_for_the_server(text: str):
    if subjects.is_token(text):
        assert matches("llm.request.*.chat", f"llm.request.{text}.chat")
        assert not set(text) & set(" .*>\t\r\n")
        assert 1 <= len(text.encode()) <= 64


@given(account=tokens, kind=tokens)
def test_a_request_subject_is_parsed_to_its_address(account: str, kind: str):
    assert subjects.request_address(subjects.request(account, kind)) == (account, kind)


parts_of_a_subject = st.lists(st.sampled_from(["llm", "request", "reply", "a", ""]), max_size=3)


@given(
    parts_of_a_subject.map(".".join)
    | parts_of_a_subject.map(lambda parts: ".".join(["llm", "request", *parts]))
    | st.text()
)
def test_only_a_request_subject_has_a_request_address(subject: str):
    parts = subject.split(".")
    is_job = len(parts) == 5 and parts[4] == "batch"
    if (len(parts) == 4 or is_job) and all(parts) and parts[:2] == ["llm", "request"]:
        lane = "batch" if is_job else "interactive"
        assert subjects.request(*subjects.request_address(subject), lane) == subject
    else:
        with pytest.raises(ValueError, match="not a request subject"):
            subjects.request_address(subject)


@given(account=tokens, client=tokens, request_id=tokens)
def test_k5_an_inbox_receives_the_replies_of_one_client(account: str, client: str, request_id: str):
    inbox = subjects.reply_inbox(account, client)
    assert matches(inbox, subjects.reply(account, client, request_id))
    assert not matches(inbox, subjects.reply(account, client + "x", request_id))


@given(scope=st.text())
def test_an_event_subject_has_four_tokens_for_any_scope(scope: str):
    assert matches(wildcards(subjects.EVENT), subjects.event("usage", scope))
    assert matches(wildcards(subjects.DEAD), subjects.dead(scope))


@given(account=tokens, user=st.text(), rank=st.sampled_from(RANKS))
def test_c6_a_work_subject_is_parsed_to_its_address(account: str, user: str, rank: int):
    flow = subjects.flow(account, user)
    assert re.fullmatch("[0-9a-f]{20}", flow)
    subject = subjects.work("chat", "batch", rank, flow)
    assert subjects.work_address(subject) == ("chat", "batch", rank, flow)
    boxes = [box for box in streams.mailboxes(ROLES) if matches(box.filter_subject, subject)]
    assert boxes == [streams.mailbox("chat", "batch")[rank]]


@given(account=tokens, other=tokens, user=st.text(), another=st.text())
def test_c6_the_flows_of_an_account_share_its_prefix(
    account: str, other: str, user: str, another: str
) -> None:
    own = subjects.account_of_flow(subjects.flow(account, user))
    assert own == subjects.account_of_flow(subjects.flow(account, another))
    assert (own == subjects.account_of_flow(subjects.flow(other, user))) == (account == other)


@pytest.mark.parametrize(
    "subject",
    ["llm.work.chat.batch", "llm.work.chat.batch.5.a", "llm.work.chat.batch.0", "llm.work..batch.0.a"],
)
def test_another_subject_has_no_work_address(subject: str):
    assert subjects.work_address(subject) is None
    assert any(matches(pattern, subject) for pattern in streams.WORK.subjects) or ".." in subject


def test_e2_replies_are_stored_for_fifteen_minutes() -> None:
    assert streams.REPLIES.max_age_s == 15 * 60

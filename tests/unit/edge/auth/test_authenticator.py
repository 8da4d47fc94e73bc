"""K5: who sends a request, and what its key allows."""

from __future__ import annotations

from collections import Counter

import pytest

from penstock.bus.clock import Clock
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.contract.keys import ApiKey
from penstock.runtime.api_keys.format import make_key
from services.edge.auth.authenticator import Authenticator
from services.edge.auth.identity import Identity
from services.edge.auth.key_slots import KeySlots
from services.edge.auth.known_keys import KnownKeys
from services.edge.http.errors import HttpError
from services.edge.http.headers import Header
from services.edge.listing.target import Target
from tests.unit.edge.auth.key_requests import bearer, received, record_of

KEY = make_key()
OTHER = make_key()
LOCAL = Identity(account="demo")


class Parts:
    def __init__(self, *records: ApiKey, read: bool = True, without_keys: Identity | None = None) -> None:
        self.now_s = 1_000.0
        self.keys = KnownKeys()
        if read:
            self.keys.replace(records)
        self.reasons: Counter[str] = Counter()
        self.authenticator = Authenticator(
            self.keys,
            KeySlots(2),
            without_keys,
            Clock(lambda: 0.0, lambda: self.now_s),
            lambda reason: self.reasons.update([reason]),
        )

    def refusal(self, *headers: Header, path: str = "/v1/models", query: bytes = b"") -> HttpError:
        with pytest.raises(HttpError) as refused:
            self.authenticator.authenticate(received(*headers, path=path, query=query))
        error = refused.value
        for key in (KEY, OTHER):
            assert key[13:] not in f"{error.message} {error.param} {error.headers} {error!r}"
        return error


@pytest.mark.parametrize(
    "header",
    [
        bearer(KEY),
        (b"authorization", f"bearer {KEY}".encode()),
        (b"authorization", f"BEARER   {KEY} ".encode()),
        (b"x-api-key", KEY.encode()),
    ],
    ids=("bearer", "lower case", "blanks", "x-api-key"),
)
def test_k5_a_key_stands_for_its_account_and_user(header: Header):
    parts = Parts(record_of(KEY, user="ada", roles=("coding",)))
    identity = parts.authenticator.authenticate(received(header))
    assert identity == Identity(account="shop", key=KEY[4:12], user="ada", roles=("coding",))
    assert not parts.reasons


def test_k5_another_scheme_leaves_the_key_of_anthropics_clients():
    parts = Parts(record_of(KEY))
    headers = ((b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", KEY.encode()))
    assert parts.authenticator.authenticate(received(*headers)).account == "shop"


@pytest.mark.parametrize(
    ("headers", "reason", "words"),
    [
        ((), "missing", "there is no API key"),
        (((b"authorization", b"Bearer"),), "missing", "there is no API key"),
        (((b"authorization", KEY.encode()),), "missing", "must be the word Bearer"),
        (((b"authorization", b"Basic dXNlcjpwYXNz"),), "missing", "must be the word Bearer"),
        ((bearer("sk-1234"),), "malformed", "incomplete or mistyped"),
        ((bearer(KEY[:-1]),), "malformed", "incomplete or mistyped"),
        ((bearer(KEY.swapcase()),), "malformed", "incomplete or mistyped"),
        (((b"x-api-key", "ключ".encode()),), "malformed", "incomplete or mistyped"),
        ((bearer(OTHER),), "unknown", "not valid"),
    ],
    ids=(
        "none",
        "empty",
        "no scheme",
        "another scheme",
        "not ours",
        "cut",
        "swapped case",
        "not ASCII",
        "unknown",
    ),
)
def test_k5_a_request_without_a_valid_key_gets_a_401(headers: tuple[Header, ...], reason: str, words: str):
    parts = Parts(record_of(KEY))
    error = parts.refusal(*headers)
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert words in error.message
    assert (b"www-authenticate", b"Bearer") in error.headers
    assert parts.reasons == {reason: 1}


def test_k5_the_prefix_of_a_key_is_not_enough():
    parts = Parts(record_of(KEY, sha256=record_of(OTHER).sha256))
    assert parts.refusal(bearer(KEY)).status == 401
    assert parts.reasons == {"unknown": 1}


def test_k5_a_revoked_key_gets_a_401():
    parts = Parts(record_of(KEY, revoked_ms=1))
    assert (error := parts.refusal(bearer(KEY))).status == 401
    assert "revoked" in error.message


def test_k5_a_key_ends_with_its_expiry():
    parts = Parts(record_of(KEY, expires_ms=1_000_500))
    assert parts.authenticator.authenticate(received(bearer(KEY)))
    parts.now_s = 1_000.5
    assert (error := parts.refusal(bearer(KEY))).status == 401
    assert "expired" in error.message


def test_k5_a_key_that_is_gone_from_the_bucket_is_rejected():
    parts = Parts(record_of(KEY), record_of(OTHER))
    parts.keys.replace([record_of(OTHER)])
    assert parts.refusal(bearer(KEY)).status == 401
    assert parts.authenticator.authenticate(received(bearer(OTHER)))


@pytest.mark.parametrize("without_keys", [None, LOCAL])
def test_k5_until_the_keys_are_read_the_answer_is_503(without_keys: Identity | None):
    parts = Parts(read=False, without_keys=without_keys)
    error = parts.refusal(bearer(KEY))
    assert (error.status, error.code) == (503, "keys_unavailable")
    assert (b"retry-after", b"1") in error.headers


def test_k5_without_any_key_a_local_edge_serves_everyone():
    parts = Parts(without_keys=LOCAL)
    for headers in ((), (bearer("any"),), (bearer(KEY),)):
        assert parts.authenticator.authenticate(received(*headers)) == LOCAL


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LocalHost:1", "127.0.0.1", "127.0.0.1:65535", "127.1.2.3:80"),
        *("[::1]", "[::1]:8080"),
    ],
)
def test_k5_without_any_key_an_edge_is_reached_by_the_names_of_loopback(host: str):
    assert Parts(without_keys=LOCAL).authenticator.authenticate(received(hosts=(host,))) == LOCAL


FOREIGN = [
    *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost"),
    *("localhost:8080.evil.example", "evil.example:localhost", "user@localhost", "10.0.0.1", "[::2]", "::1"),
    *("127.evil.example", "localhost,evil.example", ""),
]


@pytest.mark.parametrize("hosts", [(), *((host,) for host in FOREIGN), ("localhost", "evil.example")])
def test_k5_without_any_key_another_host_is_refused(hosts: tuple[str, ...]):
    """A page whose name was rebound to 127.0.0.1 has the origin of the edge, and its requests have that name."""
    parts = Parts(without_keys=LOCAL)
    with pytest.raises(HttpError) as refused:
        parts.authenticator.authenticate(received(hosts=hosts))
    error = refused.value
    assert (error.status, error.code, error.param) == (421, "misdirected_request", "host")
    assert "penstock keys create" in error.message


def test_k5_with_keys_the_host_does_not_matter():
    for without_keys in (LOCAL, None):
        parts = Parts(record_of(KEY), without_keys=without_keys)
        request = received(bearer(KEY), hosts=("gateway.example",))
        assert parts.authenticator.authenticate(request).account == "shop"


def test_k5_from_the_first_key_on_one_is_required():
    parts = Parts(without_keys=LOCAL)
    assert not parts.authenticator.requires_key
    parts.keys.replace([record_of(KEY)])
    assert parts.authenticator.requires_key
    assert parts.refusal().status == 401
    parts.keys.replace([])  # the bucket was deleted
    assert parts.refusal().status == 401
    assert parts.refusal(bearer(KEY)).status == 401


def test_k5_without_any_key_an_edge_beyond_loopback_serves_no_request():
    assert Parts().authenticator.requires_key
    assert Parts().refusal().status == 401
    assert Parts().refusal(bearer(KEY)).status == 401


@pytest.mark.parametrize(
    ("path", "query", "headers"),
    [
        ("/v1/models", f"api_key={KEY}".encode(), ()),
        (f"/v1/models/{KEY}", b"", ()),
        ("/v1/models", b"", ((b"api-key", KEY.encode()),)),
        ("/v1/models", b"", ((b"x-penstock-user", KEY.encode()),)),
        ("/v1/models", b"", ((b"cookie", f"key={KEY}".encode()),)),
        ("/v1/models", b"", ((KEY.lower().encode(), b"1"),)),
    ],
    ids=("query", "path", "other header", "user", "cookie", "name of a header"),
)
def test_k5_a_key_in_another_place_is_refused_even_beside_a_valid_one(
    path: str, query: bytes, headers: tuple[Header, ...]
):
    parts = Parts(record_of(KEY))
    for more in ((), (bearer(KEY),)):
        error = parts.refusal(*headers, *more, path=path, query=query)
        assert (error.status, error.code) == (400, "misplaced_api_key")
        assert "revoke" in error.message


def test_k5_requests_in_progress_with_one_key_are_bounded():
    parts = Parts(record_of(KEY), record_of(OTHER))
    running = [received(bearer(KEY)) for _ in range(2)]
    for exchange in running:
        parts.authenticator.authenticate(exchange)
    error = parts.refusal(bearer(KEY))
    assert (error.status, error.code) == (429, "too_many_requests")
    assert (b"retry-after", b"1") in error.headers
    assert parts.authenticator.authenticate(received(bearer(OTHER)))

    running[0].finish()
    parts.authenticator.authenticate(received(bearer(KEY)))
    assert parts.refusal(bearer(KEY)).status == 429
    assert parts.reasons == {"too_many_requests": 2}


@pytest.mark.parametrize(
    ("roles", "allowed", "refused"),
    [
        ((), ("coding", "auto", "no-such"), ()),
        (("coding",), ("coding",), ("auto", "chat", "gpt-4o")),
        (("auto",), ("auto",), ("coding", "gpt-4o")),
        (("coding", "auto"), ("coding", "auto"), ("chat", "coding:simple", "")),
    ],
)
def test_k5_a_key_allows_its_roles(
    roles: tuple[str, ...], allowed: tuple[str, ...], refused: tuple[str, ...]
):
    parts = Parts(record_of(KEY, roles=roles))
    identity = parts.authenticator.authenticate(received(bearer(KEY)))
    for name in allowed:
        parts.authenticator.authorize(identity, Target(role=name))
    for name in refused:
        with pytest.raises(HttpError) as raised:
            parts.authenticator.authorize(identity, Target(role=name))
        error = raised.value
        assert (error.status, error.code, error.param) == (403, "not_allowed", "model")
        assert error.message.endswith(", ".join(roles))
    assert parts.reasons["not_allowed"] == len(refused)


@pytest.mark.parametrize(
    ("roles", "models", "allowed", "refused"),
    [
        ((), (), (Target(model="gpt-4o"), Target()), ()),
        (("coding",), (), (Target(role="coding"),), (Target(model="gpt-4o"), Target(model="coding"))),
        ((), ("gpt-4o",), (Target(model="gpt-4o"),), (Target(), Target(role="gpt-4o"), Target(model="o3"))),
        (
            ("auto",),
            ("gpt-4o",),
            (Target(), Target(model="gpt-4o")),
            (Target(role="coding"), Target(role="model-gpt-4o")),
        ),
    ],
)
def test_k5_a_key_for_roles_allows_only_the_models_that_it_lists(
    roles: tuple[str, ...],
    models: tuple[str, ...],
    allowed: tuple[Target, ...],
    refused: tuple[Target, ...],
):
    parts = Parts(record_of(KEY, roles=roles, models=models))
    identity = parts.authenticator.authenticate(received(bearer(KEY)))
    for target in allowed:
        parts.authenticator.authorize(identity, target)
    for target in refused:
        with pytest.raises(HttpError) as raised:
            parts.authenticator.authorize(identity, target)
        error = raised.value
        assert (error.status, error.code, error.param) == (403, "not_allowed", "model")
        assert error.message.endswith(", ".join((*roles, *models)))


def test_k4_the_sender_of_a_rejected_request_is_known_by_account_and_prefix():
    parts = Parts(record_of(KEY))
    for header, sender in (
        (bearer(KEY), f"account shop, key {KEY[4:12]}"),
        (bearer(OTHER), f"key {OTHER[4:12]}"),
        (bearer("sk-1234"), ""),
    ):
        exchange = received(header)
        if sender.startswith("account"):
            parts.authenticator.authenticate(exchange)
        else:
            with pytest.raises(HttpError):
                parts.authenticator.authenticate(exchange)
        assert exchange.sender == sender


def test_g4_no_key_stands_for_the_account_of_the_guard():
    parts = Parts(record_of(KEY, account=GUARD_ACCOUNT))
    assert parts.refusal(bearer(KEY)).status == 403
    assert parts.reasons == {"not_allowed": 1}

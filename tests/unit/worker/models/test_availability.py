"""A6, A7, D3: what prevents a call of a model, which credential is used next, and unreachable providers."""

from __future__ import annotations

from collections import Counter
from math import inf

from penstock.runtime.config.catalogue import (
    Batch,
    Catalogue,
    Limits,
    Model,
    ProviderConfig,
    RoleConfig,
    WeightedStep,
)
from services.worker.models.availability import Availability, ConnectFailures
from services.worker.models.choose import ModelState
from services.worker.models.roster import Roster
from services.worker.rate_limit.quota import LocalQuota, Need, QuotaKey
from services.worker.rate_limit.quota_keys import keys_of

NAMES = ("A_KEY", "B_KEY", "C_KEY")
KEYS = {name: QuotaKey(name, "m") for name in NAMES}
ONE = Need(1)
STEP = WeightedStep(models=("m", "other"), weights=(1, 1))


def availability(*names: str, limits: Limits | None = None, **cooldowns_s: float) -> Availability:
    models = {"m": Model(provider="p"), "other": Model(provider="o")}
    catalogue = Catalogue(
        name="c",
        providers={"p": ProviderConfig(api_key_env=NAMES), "o": ProviderConfig()},
        models=models,
        roles={"chat": RoleConfig(chain=("m", "other"), weighted=(STEP,))},
        **cooldowns_s,
    )
    quota = LocalQuota({KEYS[name]: limits or Limits() for name in names}, batch=Batch())
    return Availability(catalogue, keys_of(catalogue, {"p": names}), quota, Roster(models))


def test_a6_credentials_are_used_in_turn() -> None:
    models = availability(*NAMES)
    firsts = Counter(models.in_turn("m", 0.0)[0].credential for _ in range(30))
    assert firsts == dict.fromkeys(NAMES, 10)
    assert set(models.in_turn("m", 0.0)) == set(KEYS.values()), "the others follow it"


def test_a6_a_refused_credential_is_left_out_of_the_turns() -> None:
    models = availability(*NAMES)
    models.refusals.record_refusal(KEYS["B_KEY"], began_s=0.0, now_s=0.0)
    firsts = Counter(models.in_turn("m", 1.0)[0].credential for _ in range(30))
    assert firsts == {"A_KEY": 15, "C_KEY": 15}
    assert len(models.in_turn("m", 60.0)) == 3


def test_a6_a7_a_refused_key_and_a_failed_provider_have_their_own_cooldown() -> None:
    models = availability(*NAMES, credential_cooldown_s=5.0, provider_cooldown_s=20.0)
    models.refusals.record_refusal(KEYS["B_KEY"], began_s=0.0, now_s=0.0)
    models.provider_cooldown.record_failure("m", 0.0)
    assert [len(models.usable("m", now_s)) for now_s in (4.9, 5.0)] == [2, 3]
    assert [models.provider_cooldown.rank("m", now_s) for now_s in (19.9, 20.0)] == [2, 0]


def test_a6_a_model_is_ready_while_any_accepted_key_has_quota() -> None:
    models = availability("A_KEY", "B_KEY", limits=Limits(requests_per_minute=1))
    models.quota.try_acquire(KEYS["A_KEY"], ONE, 0.0)
    assert models.state("m", ONE, 1.0) == ModelState(1.0)
    models.refusals.record_refusal(KEYS["B_KEY"], began_s=1.0, now_s=1.0)
    state = models.state("m", ONE, 2.0)
    assert state.reason == "quota", "the remaining key has no quota"
    assert state.available_at_s > 59.0


def test_a6_a_model_without_any_key_reports_missing_credentials() -> None:
    assert availability().state("m", ONE, 0.0) == ModelState(inf, "credentials")
    models = availability("A_KEY")
    models.refusals.record_missing_key("A_KEY")
    assert models.state("m", ONE, 0.0) == ModelState(inf, "credentials")
    assert models.opens_in_s(["m"], 0.0) == 0.0, "such work is pulled and fails with the reason"
    models.refusals.record_rotation("A_KEY", 1.0)
    assert models.state("m", ONE, 1.0) == ModelState(1.0)


def test_a_failed_connection_makes_a_provider_unreachable_for_30_s() -> None:
    known = ConnectFailures()
    assert not known.is_unreachable("p", 0.0)
    known.record_failure("p", 10.0)
    assert known.is_avoided("p", 14.9)
    assert not known.is_avoided("p", 15.0)
    assert known.is_unreachable("p", 39.9)
    assert not known.is_unreachable("p", 40.0)
    assert not known.is_unreachable("q", 10.0)
    assert known.unreachable(12.0) == ("p",)
    known.record_connection("p")
    assert known.unreachable(12.0) == ()

"""A6: refused credentials are excluded, but never leave a model without any."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.worker.credentials.refusals import CredentialRefusals
from services.worker.rate_limit.quota import QuotaKey

COOLDOWN_S = 60.0
CREDENTIALS = ("A", "B", "C")
MODELS = ("m", "n")
KEYS = {model: tuple(QuotaKey(name, model) for name in CREDENTIALS) for model in MODELS}
PAIRS = st.builds(QuotaKey, st.sampled_from(CREDENTIALS), st.sampled_from(MODELS))


class Refusing(RuleBasedStateMachine):
    """Compares with the times of all refusals and rotations."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = CredentialRefusals(COOLDOWN_S)
        self.now_s = 1000.0
        self.refused: dict[QuotaKey, float] = {}
        self.spent: dict[str, float] = {}
        self.rotated: dict[str, float] = {}
        self.keyless: set[str] = set()

    @rule(key=PAIRS, took_s=st.sampled_from([0.0, 0.5, 30.0]))
    def is_refused(self, key: QuotaKey, took_s: float) -> None:
        began_s = self.now_s - took_s
        stale = began_s < self.rotated.get(key.credential, began_s)
        first = self.refusals.record_refusal(key, began_s=began_s, now_s=self.now_s)
        assert first == (not stale and key not in self.refused)
        if not stale:
            self.refused[key] = self.now_s

    @rule(credential=st.sampled_from(CREDENTIALS), took_s=st.sampled_from([0.0, 0.5, 30.0]))
    def has_a_spent_budget(self, credential: str, took_s: float) -> None:
        began_s = self.now_s - took_s
        stale = began_s < self.rotated.get(credential, began_s)
        first = self.refusals.record_spent_budget(credential, MODELS, began_s=began_s, now_s=self.now_s)
        assert first == (not stale and credential not in self.spent)
        if not stale:
            self.spent[credential] = self.now_s

    @rule(key=PAIRS, took_s=st.sampled_from([0.0, 0.5, 30.0]))
    def is_answered(self, key: QuotaKey, took_s: float) -> None:
        began_s = self.now_s - took_s
        ended = key in self.refused and began_s >= self.refused[key]
        assert self.refusals.end_refusal(key, began_s=began_s) == ended
        if ended:
            del self.refused[key]
        funded = key.credential in self.spent and began_s >= self.spent[key.credential]
        assert self.refusals.end_spent_budget(key.credential, began_s=began_s) == (MODELS if funded else ())
        if funded:
            del self.spent[key.credential]

    @rule(credential=st.sampled_from(CREDENTIALS))
    def gets_a_new_key(self, credential: str) -> None:
        ended = {key for key in self.refused if key.credential == credential}
        if self.spent.pop(credential, None) is not None:
            ended |= {QuotaKey(credential, model) for model in MODELS}
        assert set(self.refusals.record_rotation(credential, self.now_s)) == ended
        self.refused = {key: at_s for key, at_s in self.refused.items() if key not in ended}
        self.rotated[credential] = self.now_s
        self.keyless.discard(credential)

    @rule(credential=st.sampled_from(CREDENTIALS))
    def has_no_key(self, credential: str) -> None:
        self.refusals.record_missing_key(credential)
        self.keyless.add(credential)

    @rule(by_s=st.sampled_from([0.001, 1.0, 59.999, 60.0]))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s

    @invariant()
    def refused_credentials_are_excluded_while_others_are_accepted(self) -> None:
        for model, keys in KEYS.items():
            with_key = tuple(key for key in keys if key.credential not in self.keyless)
            accepted = tuple(key for key in with_key if self.now_s >= self._last_s(key) + COOLDOWN_S)
            assert self.refusals.accepted(keys, self.now_s) == accepted
            assert self.refusals.usable(keys, self.now_s) == (accepted or with_key), model
        for credential in CREDENTIALS:
            known = {key.model for key in self.refused if key.credential == credential}
            known |= set(MODELS) if credential in self.spent else set()
            assert set(self.refusals.refused_models(credential)) == known

    def _last_s(self, key: QuotaKey) -> float:
        """Time of the last refusal of the credential, for this model or for a spent budget."""
        return max(self.refused.get(key, -1e9), self.spent.get(key.credential, -1e9))


TestRefusing = Refusing.TestCase

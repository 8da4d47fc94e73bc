"""The smallest catalogue that is right, and a way to spoil it."""

from __future__ import annotations

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.problems import ConfigurationRefused, Problem

RIGHT = """\
name: mine
providers:
  here:
    base_url: https://here.example/v1
    api_key_env: [HERE_KEY]
models:
  large:
    provider: here
    price: {input: 100, output: 200}
  small:
    provider: here
    limits: {requests_per_minute: 30}
roles:
  chat:
    chain: [large, small]
    parameters: {temperature: 0.2}
    ceilings: {temperature: 0.4}
"""


def load(text: str, env: dict[str, str] | None = None) -> Catalogue:
    return load_catalogue(text, source="mine.yaml", env=env or {})


def refused(text: str, env: dict[str, str] | None = None) -> tuple[Problem, ...]:
    try:
        load(text, env)
    except ConfigurationRefused as refusal:
        return refusal.problems
    return ()


def spoiled(right: str, wrong: str) -> str:
    assert RIGHT.count(right) == 1, f"{right!r} must stand in the example exactly once"
    return RIGHT.replace(right, wrong)

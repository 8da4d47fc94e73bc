"""A10: a role that the catalogue defines itself works like the shipped ones, by name and by `auto`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from penstock import RequestFailed
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system

KEYWORDS = ["contract", "statute of limitations"]


def with_legal_role() -> str:
    config = yaml.safe_load(catalogue())
    config["models"]["m-legal"] = {"provider": "simulator"}
    config["roles"]["legal"] = {"chain": ["m-legal"], "auto": {"keywords": KEYWORDS}}
    return yaml.safe_dump(config)


async def test_a10_a_role_of_the_catalogue_is_served_by_name_and_by_auto(tmp_path: Path) -> None:
    async with (
        running_system(tmp_path, config=with_legal_role()) as system,
        await system.client() as client,
    ):
        by_name = await client.chat("May I terminate it?", role="legal")
        assert (by_name.role, by_name.model) == ("legal", "m-legal")
        by_keyword = await client.chat("May I terminate this Contract early?")
        assert (by_keyword.role, by_keyword.model) == ("legal", "m-legal")
        part_of_a_word = await client.chat("Where do two contractors meet?")
        assert part_of_a_word.role == "chat"
        assert 'penstock_requests_total{outcome="completed",role="legal"} 2.0' in await system.metrics()
        with pytest.raises(RequestFailed) as caught:
            await client.chat("Hello?", role="lawful")
        assert caught.value.code == "unknown_role"

"""What infra/ grants is what the product used: runs after the stories, on the record of all their calls.

A new step or target needs no change here: its story's calls are in the journals. A right that no story can
show is listed in ``rights.json`` with the reason; so is a call that needs none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import rights, together
from tests.e2e.conftest import LAST
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

HERE = Path(__file__).parent
EXCEPTIONS = json.loads((HERE / "rights.json").read_text(encoding="utf-8"))


def all_stories_run(request: pytest.FixtureRequest) -> bool:
    """Say whether this run has every story, so that a right nobody used is one nobody needs."""
    files = {path.name for path in HERE.glob("test_*.py")} - set(LAST)
    chosen = request.config.option.keyword or any("::" in arg for arg in request.config.args)
    return not chosen and files <= {item.path.name for item in request.session.items}


async def calls_of_the_app(world: World, part: str) -> list[dict[str, Any]]:
    await together.all_told()
    journal = await world.control("GET", "calls", url=world.contract.framed_parts[part])
    return [one for one in journal if one["caller"] == world.contract.app_principal_id]


async def test_no_call_of_the_app_needs_an_action_that_infra_does_not_grant(world: World):
    used = rights.arm_actions(await calls_of_the_app(world, "arm"))
    assert rights.missing(used, rights.arm_granted(), EXCEPTIONS["arm"]["free"]) == []


async def test_no_call_of_the_app_needs_a_verb_that_infra_does_not_grant(world: World):
    used = rights.kubernetes_verbs(await calls_of_the_app(world, "kubernetes"))
    assert rights.missing(used, rights.kubernetes_granted(), EXCEPTIONS["kubernetes"]["free"]) == []


async def test_infra_grants_no_action_that_no_story_needed(world: World, request: pytest.FixtureRequest):
    if not all_stories_run(request):
        pytest.skip("not all stories were told")
    used = rights.arm_actions(await calls_of_the_app(world, "arm"))
    assert rights.needless(used, rights.arm_granted(), EXCEPTIONS["arm"]["unseen"]) == []


async def test_infra_grants_no_verb_that_no_story_needed(world: World, request: pytest.FixtureRequest):
    if not all_stories_run(request):
        pytest.skip("not all stories were told")
    used = rights.kubernetes_verbs(await calls_of_the_app(world, "kubernetes"))
    assert rights.needless(used, rights.kubernetes_granted(), EXCEPTIONS["kubernetes"]["unseen"]) == []

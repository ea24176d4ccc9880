"""What becomes of events that cannot be told from earlier ones: no id, one that was used before, a replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import PermanentError
from shared.event_intake import OPENINGS
from tests.fakes.aftermath import NOTHING, made, prunes, tell
from tests.fakes.azure_events import cloud, dead_letter, event
from tests.fakes.local_app import STORAGE, LocalApp, make_app
from tests.fakes.scripted_step import script

LATER = "2026-01-06T08:00:00Z"


@pytest.fixture
def hasty(tmp_path: Path) -> LocalApp:
    """An app without a grace period."""
    return make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")


def without(told: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: part for name, part in told.items() if name not in names}


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no id": (without(event(STORAGE), "id"), {**without(event(STORAGE), "id"), "eventTime": LATER}),
    "an id that is a number": ({**event(STORAGE), "id": 7}, {**event(STORAGE), "id": 8, "eventTime": LATER}),
    "an id used again": (cloud(STORAGE), {**cloud(STORAGE), "time": LATER}),
    "neither id nor time": (without(event(STORAGE), "id", "eventTime"),) * 2,
    "the very same": (event(STORAGE), event(STORAGE)),
}


@pytest.mark.parametrize("what", PAIRS)
async def test_a_deletion_is_not_swallowed_by_an_earlier_event_that_found_the_resource_alive(
    hasty: LocalApp, what: str
):
    connection_id = await made(hasty)
    early, genuine = PAIRS[what]
    await tell(hasty, early)
    await hasty.settle()
    assert [one.code for one in await prunes(hasty, connection_id)] == ["resource-alive"]
    hasty.world.remove(STORAGE)
    await tell(hasty, genuine, genuine)
    await hasty.settle(seconds=3600)
    assert (await hasty.state(connection_id), hasty.leftovers()) == ("pruned", NOTHING)
    assert len(await prunes(hasty, connection_id)) == 2, "delivered twice, it is one prune"


async def test_an_event_that_is_replayed_after_its_prune_failed_opens_another(hasty: LocalApp):
    connection_id = await made(hasty)
    hasty.world.remove(STORAGE)
    confirm = hasty.services.engine.steps["confirm_gone"].apply
    script(hasty, "confirm_gone", PermanentError("forbidden"), confirm, confirm, confirm)
    await tell(hasty, event(STORAGE))
    await hasty.settle(seconds=3600)
    [failed] = await prunes(hasty, connection_id)
    assert (failed.state, failed.code) == ("failed", "forbidden")
    for _ in range(2):
        hasty.dead_letters.blobs["a.json"] = str(dead_letter(event(STORAGE))).replace("'", '"').encode()
        await hasty.services.dead_letters.run()
    await hasty.settle(seconds=3600)
    assert (await hasty.state(connection_id), hasty.leftovers()) == ("pruned", NOTHING)
    assert len(await prunes(hasty, connection_id)) == 2


async def test_one_event_opens_no_more_prunes_of_a_connection_than_a_few(app: LocalApp):
    connection_id = await made(app)
    for _ in range(OPENINGS + 3):
        await tell(app, event(STORAGE))
        await app.settle()
    found = await prunes(app, connection_id)
    assert [one.code for one in found] == ["resource-alive"] * OPENINGS
    assert len({one.operation_id for one in found}) == OPENINGS


async def test_a_prune_that_ended_otherwise_is_not_opened_again(app: LocalApp):
    connection_id = await made(app)
    app.world.remove(STORAGE)
    await tell(app, event(STORAGE))
    await app.settle(seconds=120)
    [held] = await prunes(app, connection_id)
    assert held.state == "held"
    await tell(app, event(STORAGE))
    await app.settle(seconds=120)
    assert [one.operation_id for one in await prunes(app, connection_id)] == [held.operation_id]

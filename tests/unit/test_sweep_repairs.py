"""With ``MOORING_DRIFT=repair`` what we made and somebody changed is made as it was."""

from pathlib import Path

import pytest

from shared import naming
from shared.steps.base import LABEL_CONNECTION
from tests.fakes.azure_world import StoredObject
from tests.fakes.local_app import CLUSTER, LocalApp, make_app
from tests.fakes.sweeps import connected, put_linker, swept

SECRET = ("Secret", "shop", "sc-ordersblob-secret")


@pytest.fixture
def repairing(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_DRIFT="repair")


def objects_of(app: LocalApp) -> dict[tuple[str, str, str], StoredObject]:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects


async def kinds(app: LocalApp, connection_id: str) -> list[tuple[str, str]]:
    return [(one.kind.value, one.state.value) for one in await app.operations(connection_id)]


async def test_what_is_gone_or_was_edited_is_made_as_it_was(repairing: LocalApp):
    app = repairing
    connection_id = await connected(app)
    del objects_of(app)[SECRET]
    app.world.assignments.clear()
    found = await swept(app)
    # What the second slice would find is not looked for: the repair that is under way mends all of it.
    assert found["totals"]["drift"] == {"object-missing": 1}
    assert found["totals"]["repairs"] == 1
    await app.settle()
    assert await kinds(app, connection_id) == [("create", "succeeded"), ("repair", "succeeded")]
    assert SECRET in objects_of(app)
    assert len(app.world.assignments) == 1
    assert await app.state(connection_id) == "configured"
    assert "drift" not in (await swept(app))["totals"]


@pytest.mark.parametrize("what", ["label", "value"])
async def test_what_was_edited_is_repaired_and_repaired_again_when_it_is_edited_again(
    repairing: LocalApp, what: str
):
    app = repairing
    connection_id = await connected(app)
    for number in range(2):
        secret = objects_of(app)[SECRET]
        if what == "label":
            secret.labels[LABEL_CONNECTION] = "another"
        else:
            secret.data["AZURE_STORAGEBLOB_CLIENTID"] = "another"
        secret.resource_version = str(app.world.number())
        assert (await swept(app))["totals"]["repairs"] == 1
        await app.settle()
        assert len(await kinds(app, connection_id)) == 2 + number
        app.clock.advance(3600)
        assert "drift" not in (await swept(app))["totals"]


async def test_what_is_somebody_elses_is_told_and_left(repairing: LocalApp):
    app = repairing
    connection_id = await connected(app)
    del objects_of(app)[SECRET]
    app.clusters.put_object(CLUSTER, *SECRET)
    found = await swept(app)
    assert found["totals"]["drift"] == {"object-replaced": 1}
    assert await kinds(app, connection_id) == [("create", "succeeded")]


async def test_what_service_connector_makes_is_its_own_to_mend(repairing: LocalApp):
    app = repairing
    put_linker(app)
    await swept(app)
    del objects_of(app)["Secret", "shop", "sc-theirs-secret"]
    found = await swept(app)
    assert found["totals"]["drift"] == {"object-missing": 1}
    assert "repairs" not in found["totals"]


async def test_a_repair_under_way_is_not_opened_twice(repairing: LocalApp):
    app = repairing
    connection_id = await connected(app)
    del objects_of(app)[SECRET]
    assert (await swept(app))["totals"]["repairs"] == 1
    assert "repairs" not in (await swept(app))["totals"]
    assert await kinds(app, connection_id) == [("create", "succeeded"), ("repair", "running")]


async def test_a_role_that_is_taken_away_again_is_given_again_the_next_day(repairing: LocalApp):
    """Its assignment has the same name for ever, so nothing but the day tells the two losses apart."""
    app = repairing
    connection_id = await connected(app)
    for number in range(2):
        app.world.assignments.clear()
        assert (await swept(app))["totals"]["repairs"] == 1
        await app.settle()
        assert len(await kinds(app, connection_id)) == 2 + number
        assert len(app.world.assignments) == 1
        app.clock.advance(86_400)

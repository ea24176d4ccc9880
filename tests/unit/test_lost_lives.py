"""A table of connections that was lost begins lives anew; who used things in those before keeps nothing."""

from pathlib import Path

import pytest

from shared import naming
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body, make_app
from tests.fakes.recoveries import recovered
from tests.fakes.sweeps import connected

OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")
MORE = naming.connection_id(CLUSTER, "shop", "orders-more")
WAYS = ["a recovery", "a create"]


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path)


async def generation(app: LocalApp) -> int:
    stored = await app.services.state.connection(OURS)
    assert stored is not None
    return stored.value.generation


async def in_its_second_life(app: LocalApp) -> None:
    await connected(app)
    await app.send(delete_body(), message_id="delete-first")
    await app.settle()
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await generation(app) == 2


async def begun_anew(app: LocalApp, how: str) -> None:
    for table in ("connections", "openoperations"):
        app.store._tables[table].clear()
    if how == "a recovery":
        await recovered(app)
    else:
        for name in ("orders-blob", "orders-more") if how == "creates" else ("orders-blob",):
            await app.send(create_body(name), message_id=f"anew-{name}")
            await app.settle()
    assert (await generation(app), await app.state(OURS)) == (1, "configured")


@pytest.mark.parametrize("how", WAYS)
async def test_a_delete_after_lives_began_anew_leaves_nothing(app: LocalApp, how: str):
    await in_its_second_life(app)
    await begun_anew(app, how)
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert await app.state(OURS) == "deleted"
    assert app.store.rows("users") == []
    assert app.world.identities == {}
    assert app.world.assignments == {}
    assert app.world.clusters[naming.fold_id(CLUSTER)].objects == {}


@pytest.mark.parametrize("how", ["a recovery", "creates"])
async def test_what_another_uses_stays_when_lives_began_anew(app: LocalApp, how: str):
    await in_its_second_life(app)
    await connected(app, "orders-more")
    identities, roles = set(app.world.identities), set(app.world.assignments)
    await begun_anew(app, how)
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert (await app.state(OURS), await app.state(MORE)) == ("deleted", "configured")
    assert (set(app.world.identities), set(app.world.assignments)) == (identities, roles)

"""Whatever a slice is at when its time is up, it goes on from there and finds all there is, once."""

import dataclasses
from collections.abc import Callable

import pytest

from shared import naming
from shared.inventory import Inventory
from shared.models import Connection
from shared.orphans import Orphans
from shared.ports import Credential
from shared.sweeping import cluster_orphans, identity_orphans, pages
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, IDENTITY_GROUP, LocalApp
from tests.fakes.sweeps import connected, put_linker, swept

IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def hasty(app: LocalApp, monkeypatch: pytest.MonkeyPatch) -> LocalApp:
    """Two things make a page, and each call takes forty seconds."""
    for module in (cluster_orphans, identity_orphans, pages):
        monkeypatch.setattr(module, "PAGE", 2)
    return app


def slow(app: LocalApp, *names: str) -> Callable[[Call], None]:
    def tick(call: Call) -> None:
        if call.name in names:
            app.clock.advance(40)

    return tick


def messages(found: dict[str, object], kind: str) -> int:
    return next(one["messages"] for one in found["slices"] if one["kind"] == kind)  # type: ignore[attr-defined,no-any-return]


async def test_new_linkers(hasty: LocalApp):
    for name in ("a", "b", "c", "d"):
        put_linker(hasty, name, client_id="")
    hasty.journal.before = slow(hasty, "linkers.get")
    found = await swept(hasty)
    assert found["totals"]["linkers"] == {"observed": 4}
    assert messages(found, "cluster") > 2
    assert found["totals"]["objects"] == 4


async def test_connections_of_a_gone_cluster(hasty: LocalApp):
    names = [f"orders-{n}" for n in range(5)]
    ids = [await connected(hasty, name) for name in names]
    hasty.world.remove(CLUSTER)
    hasty.journal.before = slow(hasty, "state.transact")
    found = await swept(hasty)
    assert found["totals"]["prunes"] == {"cluster": 5}
    assert found["totals"]["connections"] == len(ids)
    assert found["totals"]["clusters"] == 1
    assert messages(found, "cluster") > 1


async def test_orphans_of_a_cluster(hasty: LocalApp):
    for n in range(7):
        hasty.clusters.put_object(CLUSTER, "Secret", "shop", f"sc-old{n}-secret")
    hasty.journal.before = slow(hasty, "state.transact")
    found = await swept(hasty)
    assert found["totals"]["orphans"] == {"secret": {"new": 7}}
    assert messages(found, "cluster") > 2
    assert len(await Orphans(hasty.store).list(CLUSTER)) == 7


async def test_identities_and_credentials(hasty: LocalApp):
    await connected(hasty)
    await swept(hasty)
    dead = hasty.world.clusters[naming.fold_id(CLUSTER)].described.issuer
    identities = hasty.services.engine.outside.identities
    for n in range(5):
        ours = f"{IDENTITY_GROUP}/{IDENTITIES}/mooring-{n}"
        theirs = f"{GROUP}/{IDENTITIES}/theirs-{n}"
        await identities.ensure(ours, location="w", tags={"mooring-workload": "abc"})
        await identities.ensure(theirs, location="w", tags={})
        await identities.ensure_credential(
            theirs, Credential(name="c", issuer=dead, subject="s", audiences=("a",))
        )
    await Inventory(hasty.store).saw_issuer(CLUSTER, "https://new/")
    cluster = hasty.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer="https://new/")
    hasty.journal.before = slow(hasty, "identities.get", "identities.list_credentials")
    found = await swept(hasty)
    assert found["totals"]["orphans"] == {"credential": {"new": 5}, "identity": {"new": 5}}
    assert messages(found, "subscription") > 4
    hasty.clock.advance(3600)
    hasty.world.credentials = {key: {} for key in hasty.world.credentials}
    found = await swept(hasty)
    assert found["totals"]["orphans"]["credential"] == {"gone": 5}
    assert found["totals"]["orphans"]["identity"] == {"known": 5}


async def test_connections_of_a_subscription_and_their_history(hasty: LocalApp):
    names = [f"orders-{n}" for n in range(5)]
    ids = [await connected(hasty, name) for name in names]
    hasty.world.assignments.clear()
    hasty.journal.before = slow(hasty, "state.query")
    found = await swept(hasty, patience_seconds=36_000)
    assert found["state"] == "done"
    assert found["totals"]["drift"] == {"role-missing": len(ids)}
    assert min(messages(found, kind) for kind in ("cluster", "subscription", "housekeeping")) > 2


async def test_a_connection_of_more_lives_than_a_page_holds(hasty: LocalApp):
    connection_id = await connected(hasty)
    inventory = Inventory(hasty.store)
    [(_, entry)] = await inventory.page(CLUSTER, limit=9)
    stored = await hasty.services.state.connection(naming.connection_of(connection_id))
    assert stored is not None
    assert isinstance(stored.value, Connection)
    for number in range(2, 7):
        await inventory.note(entry.model_copy(update={"resource_id": f"{CLUSTER}", "generation": -number}))
    found = await swept(hasty)
    assert found["totals"]["connections"] == 1
    assert [one.generation for _, one in await inventory.page(CLUSTER, limit=9)] == [1]
